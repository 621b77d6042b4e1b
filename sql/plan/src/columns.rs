//! Streams and tables whose columns a schema registry knows: `CREATE STREAM s WITH (…)`, and `*` in a list of columns.
//!
//! What the registry says at the time is put into the statement, so that the catalog holds the columns themselves: they
//! are what `SHOW CREATE` prints, and no later schema changes them.

use std::collections::BTreeMap;

use ebap_catalog::Catalog;

use crate::{
    Error, Result, SourceKind, Statement,
    parser::{Body, ColumnDef, parsed_type},
    planner::merged_options,
};

/// Columns that somebody has to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnsWanted {
    /// Of the stream, those of its connection merged in; a secret is `secret:name`.
    pub options: BTreeMap<String, String>,
}

/// What is wanted for this statement to be applied; none where all is there, or nothing will be created.
///
/// # Errors
/// Where a connection is unknown, or the format is none that a registry describes.
pub fn columns_wanted(catalog: &Catalog, statement: &Statement) -> Result<Option<ColumnsWanted>> {
    let Statement::Create(create) = statement else { return Ok(None) };
    let Body::Source(source) = &create.body else { return Ok(None) };
    if !source.inferred || (create.if_not_exists && catalog.relation(&create.name).is_some()) {
        return Ok(None);
    }
    let (_, options) = merged_options(catalog, &source.options)?;
    let format = options.get("format").map_or("json", String::as_str);
    if !["avro", "json-schema", "protobuf", "debezium-avro"].contains(&format) {
        let error = Error::syntax(format!("the columns of \"{}\" are not declared", create.name));
        return Err(error.hint(format!(
            "With format '{format}' write them: CREATE STREAM {} (column TYPE, ...) WITH (...). They can be left out \
             with avro, json-schema, protobuf and debezium-avro, whose schemas are in a registry.",
            create.name
        )));
    }
    Ok(Some(ColumnsWanted { options }))
}

/// The statement with these columns, names and types, before those that it declares itself. A column that it declares is
/// as it says.
///
/// # Errors
/// Where a type is none of ours.
pub fn with_columns(mut statement: Statement, columns: &[(String, String)]) -> Result<Statement> {
    let Statement::Create(create) = &mut statement else { return Ok(statement) };
    let Body::Source(source) = &mut create.body else { return Ok(statement) };
    let declared = std::mem::take(&mut source.columns);
    let is_declared = |name: &str| declared.iter().any(|column| column.name == name);
    for (name, of) in columns.iter().filter(|(name, _)| !is_declared(name)) {
        source.columns.push(ColumnDef {
            name: name.clone(),
            column_type: parsed_type(of)?,
            not_null: false,
            pii: None,
            checks: Vec::new(),
            computed: None,
            primary_key: false,
        });
    }
    source.columns.extend(declared);
    source.inferred = false;
    if source.kind == SourceKind::Stream && source.columns.is_empty() {
        return Err(Error::syntax("the schema in the registry has no columns"));
    }
    Ok(statement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{apply::canonical, parse};

    fn statement(sql: &str) -> Statement {
        parse(sql).expect("it parses").remove(0).statement
    }

    fn with(sql: &str, columns: &[(&str, &str)]) -> String {
        let columns: Vec<(String, String)> =
            columns.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect();
        match with_columns(statement(sql), &columns).expect("types are ours") {
            Statement::Create(create) => canonical(&create),
            _ => panic!("a CREATE stays one"),
        }
    }

    #[test]
    fn what_the_registry_says_is_in_the_statement_and_what_is_declared_stays() {
        let all = with(
            "CREATE STREAM s (*, amount NUMERIC(10, 2) NOT NULL PII HASH, WATERMARK FOR at AS at) WITH (format = 'avro')",
            &[("at", "TIMESTAMPTZ"), ("amount", "DOUBLE PRECISION"), ("Odd Name", "STRUCT<a BIGINT, b TEXT[]>")],
        );
        assert_eq!(
            all,
            "CREATE STREAM s (\n    at TIMESTAMPTZ,\n    \"Odd Name\" STRUCT<a BIGINT, b TEXT[]>,\n    \
             amount NUMERIC(10, 2) NOT NULL PII HASH,\n    WATERMARK FOR at AS at\n) WITH (format = 'avro')"
        );
        assert!(with("CREATE STREAM s WITH (format = 'avro')", &[("a", "TEXT")]).contains("(\n    a TEXT\n)"));
    }

    #[test]
    fn columns_are_wanted_only_where_a_registry_can_know_them() {
        let catalog = Catalog::default();
        let wanted = |sql: &str| columns_wanted(&catalog, &statement(sql)).map(|wanted| wanted.is_some());
        assert_eq!(wanted("CREATE STREAM s WITH (connector = 'kafka', format = 'avro')"), Ok(true));
        assert_eq!(wanted("CREATE STREAM s (a TEXT) WITH (connector = 'kafka', format = 'avro')"), Ok(false));
        let error = wanted("CREATE STREAM s WITH (connector = 'kafka')").expect_err("json has no schema");
        assert_eq!(error.message, "the columns of \"s\" are not declared");
        assert!(error.hint.is_some_and(|hint| hint.contains("CREATE STREAM s (column TYPE, ...)")));
    }
}
