//! `CREATE SINK`.

use std::sync::Arc;

use ebap_catalog::{Catalog, Object};

use super::merged_options;
use crate::{Emit, Error, PartitionPlan, Plans, Result, SinkPlan, SourceKind, parser::SinkBody};

pub(super) fn plan(catalog: &Catalog, object: &Object, body: &SinkBody, plans: &Plans) -> Result<SinkPlan> {
    let (connector, options) = merged_options(catalog, &body.options)?;
    let view = plans.views.iter().find(|view| view.name == body.from);
    let source = plans.sources.iter().find(|source| source.name == body.from);
    let (from, schema, upsert_key, on_view, time_column) = match (view, source) {
        (Some(view), _) => (view.id, &view.schema, view.upsert_key.clone(), true, None),
        (None, Some(source)) if source.kind == SourceKind::Table => {
            (source.id, &source.schema, source.primary_key.clone(), true, None)
        }
        (None, Some(source)) => {
            (source.id, &source.schema, Vec::new(), false, source.watermark.map(|watermark| watermark.column))
        }
        (None, None) => return Err(Error::unknown_relation(&body.from)),
    };
    for (column, _) in &body.partitions {
        if schema.index_of(column).is_err() {
            return Err(Error::new("42703", format!("column \"{column}\" does not exist")));
        }
    }
    let partitions = body.partitions.iter();
    Ok(SinkPlan {
        id: object.id,
        name_outside: object.id.to_string(),
        first_version: 0,
        name: object.name.clone(),
        from,
        from_name: body.from.clone(),
        on_view,
        on_close: view.is_some_and(|view| view.emit == Emit::WindowClose),
        connector,
        options,
        partitions: partitions
            .map(|(column, transform)| PartitionPlan { column: column.clone(), transform: transform.clone() })
            .collect(),
        schema: Arc::clone(schema),
        upsert_key,
        time_column,
        run: super::run(object),
    })
}
