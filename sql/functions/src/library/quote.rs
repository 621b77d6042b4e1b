//! Texts as literals and names of SQL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use ebap_values::{PgType, Result};

use crate::array::operand;
use crate::cast::Printer;
use crate::kernel::{Call, Opt};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::values::Text;

pub(super) fn register(book: &mut Book) {
    book.add::<(Text,), Text>("quote_ident", |(s,)| Ok(quote_ident(s)));
    book.add::<(Text,), Text>("quote_literal", |(s,)| Ok(quote_literal(s)));
    book.add::<(Opt<Text>,), Text>("quote_nullable", |(s,)| Ok(s.map_or_else(|| "NULL".to_owned(), quote_literal)));
    for (name, null) in [("quote_literal", None), ("quote_nullable", Some("NULL"))] {
        let shape = Shape { args: vec![Arg::AnyElement], variadic: None, returns: Returns::Of(PgType::Text) };
        book.add_body(name, shape, Arc::new(move |call| quote_any(call, null)));
    }
}

fn quote_any(call: &Call<'_>, null: Option<&str>) -> Result<ArrayRef> {
    let argument = operand(call, 0)?;
    let printer = Printer::new(&argument.array, &argument.of, call.session)?;
    let (mut texts, mut text) = (StringBuilder::new(), String::new());
    for row in 0..call.rows {
        let at = argument.at(row);
        if argument.array.is_null(at) {
            texts.append_option(null);
            continue;
        }
        text.clear();
        printer.print(at, &mut text)?;
        texts.append_value(quote_literal(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// A literal. A backslash needs the form that knows escapes.
pub(super) fn quote_literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// A name, in quotes where it would be read as something else.
pub(super) fn quote_ident(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && RESERVED.binary_search(&text).is_err();
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The keywords that PostgreSQL quotes: all that are reserved, or may be no name everywhere.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];
