//! `information_schema`: the part of it that clients ask for.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    error::Result as DataFusionResult,
};
use ebap_catalog::{ObjectKind, PUBLIC, Securable};
use ebap_stream::Engine;
use ebap_values::PgType;

use super::{DATABASE, memory, roles, strings};
use crate::{app::App, session::type_name, wire_types};

const TABLES: [&str; 5] = ["columns", "role_table_grants", "schemata", "table_privileges", "tables"];

/// The part of `information_schema` that clients ask for.
#[derive(Debug)]
pub(super) struct Information {
    pub(super) app: Arc<App>,
}

impl Information {
    /// Schema, name, kind for `table_type`, columns.
    fn relations(&self) -> Vec<(&'static str, String, &'static str, SchemaRef)> {
        let catalog = self.app.catalog();
        let kind = |name: &str| match catalog.relation(name).map(|object| object.kind) {
            Some(ObjectKind::MaterializedView) => "VIEW",
            _ => "BASE TABLE",
        };
        let mut names = self.app.engine.relation_names();
        names.sort();
        let public = names.into_iter().filter_map(|name| {
            let engine = &self.app.engine;
            let columns = engine.stream_columns(&name).or_else(|| Some(engine.relation(&name)?.schema()))?;
            Some(("public", name.clone(), kind(&name), columns))
        });
        let own = Engine::system_table_names().iter();
        let own = own.filter_map(|name| {
            Some(("ebap", (*name).to_owned(), "VIEW", self.app.engine.system_table(name)?.schema()))
        });
        public.chain(own).collect()
    }

    fn tables(&self) -> DataFusionResult<RecordBatch> {
        let all = self.relations();
        let columns = vec![
            ("table_catalog", strings(all.iter().map(|_| DATABASE))),
            ("table_schema", strings(all.iter().map(|one| one.0))),
            ("table_name", strings(all.iter().map(|one| &one.1))),
            ("table_type", strings(all.iter().map(|one| one.2))),
            ("is_insertable_into", strings(all.iter().map(|_| "NO"))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn columns(&self) -> DataFusionResult<RecordBatch> {
        let relations = self.relations();
        let all: Vec<_> = relations
            .iter()
            .flat_map(|(schema, name, _, columns)| {
                columns.fields().iter().enumerate().map(move |(at, field)| (*schema, name, at, field))
            })
            .collect();
        let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
        let precision = |pick: fn(u8, i8) -> i32| -> ArrayRef {
            let values = all.iter().map(|one| match one.3.data_type() {
                DataType::Decimal128(precision, scale) => Some(pick(*precision, *scale)),
                _ => None,
            });
            Arc::new(values.collect::<Int32Array>())
        };
        let ordinals = all.iter().map(|one| i32::try_from(one.2 + 1).unwrap_or(count));
        let ordinals: ArrayRef = Arc::new(Int32Array::from_iter_values(ordinals));
        let columns = vec![
            ("table_catalog", strings(all.iter().map(|_| DATABASE))),
            ("table_schema", strings(all.iter().map(|one| one.0))),
            ("table_name", strings(all.iter().map(|one| one.1))),
            ("column_name", strings(all.iter().map(|one| one.3.name()))),
            ("ordinal_position", ordinals),
            ("column_default", Arc::new(StringArray::new_null(all.len())) as ArrayRef),
            ("is_nullable", strings(all.iter().map(|one| if one.3.is_nullable() { "YES" } else { "NO" }))),
            ("data_type", strings(all.iter().map(|one| short_type(one.3)))),
            ("udt_name", strings(all.iter().map(|one| udt_name(one.3)))),
            ("numeric_precision", precision(|precision, _| i32::from(precision))),
            ("numeric_scale", precision(|_, scale| i32::from(scale))),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
    }

    /// By grantee, as `table_privileges` and `role_table_grants` have them.
    fn table_privileges(&self) -> DataFusionResult<RecordBatch> {
        let catalog = self.app.catalog();
        let name = |role| if role == PUBLIC { "PUBLIC".to_owned() } else { roles::name(&catalog, roles::oid(role)) };
        let mut all: Vec<[String; 6]> = Vec::new();
        for (schema, table, _, _) in self.relations() {
            let securable = match catalog.relation(&table).filter(|_| schema == "public") {
                Some(object) => Securable::Object(object.id),
                None => Securable::System(table.clone()),
            };
            for item in catalog.acl(&securable).items() {
                for (privilege, option) in &item.privileges {
                    let option = if *option || item.grantee == catalog.owner(&securable) { "YES" } else { "NO" };
                    let names = [name(item.grantor), name(item.grantee), schema.to_owned(), table.clone()];
                    let [grantor, grantee, schema, table] = names;
                    all.push([grantor, grantee, schema, table, privilege.name().to_owned(), option.to_owned()]);
                }
            }
        }
        let column = |at: usize| strings(all.iter().map(|one| &one[at]));
        let columns = vec![
            ("grantor", column(0)),
            ("grantee", column(1)),
            ("table_catalog", strings(all.iter().map(|_| DATABASE))),
            ("table_schema", column(2)),
            ("table_name", column(3)),
            ("privilege_type", column(4)),
            ("is_grantable", column(5)),
            ("with_hierarchy", strings(all.iter().map(|one| if one[4] == "SELECT" { "YES" } else { "NO" }))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn schemata(&self) -> DataFusionResult<RecordBatch> {
        let all = self.table_schemas();
        let columns = vec![
            ("catalog_name", strings(all.iter().map(|_| DATABASE))),
            ("schema_name", strings(all.iter())),
            ("schema_owner", strings(all.iter().map(|_| DATABASE))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn table_schemas(&self) -> [&'static str; 4] {
        ["ebap", "information_schema", "pg_catalog", "public"]
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(match name {
            "columns" => Some(memory(self.columns()?)?),
            "schemata" => Some(memory(self.schemata()?)?),
            "role_table_grants" | "table_privileges" => Some(memory(self.table_privileges()?)?),
            "tables" => Some(memory(self.tables()?)?),
            _ => None,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

/// `data_type` has no precision; clients pick operators by it.
fn short_type(field: &Field) -> String {
    let name = type_name(field);
    if name.starts_with("numeric") { "numeric".to_owned() } else { name }
}

fn udt_name(field: &Field) -> String {
    match wire_types::of_field(field) {
        PgType::Composite => "json".to_owned(),
        of => wire_types::on_wire(&of).name().to_owned(),
    }
}
