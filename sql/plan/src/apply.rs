//! What a DDL statement does to the catalog: a new value of it, or an error. Nothing is stored here.

use ebap_catalog::{Catalog, Object, ObjectId, ObjectKind};

use crate::{
    Error, Result, Statement,
    alter::alter,
    error::unknown,
    macros::functions_used,
    names::{literal, nearest, quoted},
    parser::{
        AlertBody, Body, Create, OptionValue, Parsed, SecretBody, SinkBody, SourceBody, ViewBody, WindowClause, parse,
    },
    planner,
    policies::check_uncalled,
    rights::{check_create, check_owner},
    roles::{self, Actor},
};

/// A catalog with the statement's effect in it.
#[derive(Clone, Debug)]
pub struct Applied {
    pub catalog: Catalog,
    /// As PostgreSQL answers: `CREATE STREAM`.
    pub tag: String,
    pub notices: Vec<String>,
}

/// Where a secret's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Env(String),
    File(String),
    Literal(String),
}

/// Applies a statement as a superuser would: see `apply_by`.
///
/// # Errors
/// Those of `apply_by`.
pub fn apply(catalog: &Catalog, statement: &Statement, text: &str, now_us: i64) -> Result<Applied> {
    apply_by(catalog, statement, text, now_us, &Actor::SUPERUSER)
}

/// Applies `CREATE`, `ALTER`, `DROP`, `COMMENT ON` or a change of roles. Plans what it creates, so that every error shows now.
///
/// # Errors
/// With SQLSTATE and, where one character is at fault, its position in `text`, the text the statement
/// was parsed from. 42501 where `actor` may not do it.
pub fn apply_by(catalog: &Catalog, statement: &Statement, text: &str, now_us: i64, actor: &Actor) -> Result<Applied> {
    match statement {
        Statement::Create(create) => create_object(catalog, create, text, now_us, actor),
        Statement::Alter { kind, name, if_exists, action } => {
            alter(catalog, *kind, name, *if_exists, action, now_us, actor)
        }
        Statement::Drop { kind, names, if_exists, cascade } => {
            drop_objects(catalog, *kind, names, *if_exists, *cascade, actor)
        }
        Statement::Comment { kind, name, column, text } => {
            comment(catalog, *kind, name, column.as_deref(), text.clone(), actor)
        }
        Statement::Role(statement) => roles::apply(catalog, statement, actor),
        Statement::Show(_)
        | Statement::ShowCreate { .. }
        | Statement::Describe { .. }
        | Statement::Flush
        | Statement::Explain { .. }
        | Statement::ExplainView { .. }
        | Statement::ExplainAlert { .. }
        | Statement::Copy(_)
        | Statement::Declare(_)
        | Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::Prepare(_)
        | Statement::Execute { .. }
        | Statement::Query(_) => Err(Error::new("XX000", "the statement does not change the catalog")),
    }
}

fn create_object(catalog: &Catalog, create: &Create, text: &str, now_us: i64, actor: &Actor) -> Result<Applied> {
    let kind = create.body.kind();
    let tag = format!("CREATE {}", kind.to_string().to_uppercase());
    let mut next = catalog.clone();
    let mut notices = Vec::new();
    let existing = if kind.is_relation() { catalog.relation(&create.name) } else { catalog.find(kind, &create.name) };
    if let Some(existing) = existing {
        if create.if_not_exists && existing.kind == kind {
            notices.push(format!("{kind} \"{}\" already exists, skipping", create.name));
            return Ok(Applied { catalog: next, tag, notices });
        }
        if create.or_replace && existing.kind == kind {
            check_owner(catalog, actor, existing)?;
            next.drop(kind, &create.name, false)?;
        }
    }
    let depends_on = dependencies(&next, &create.body)?;
    check_create(&next, actor, create, &depends_on, text)?;
    let id = next.create(kind, &create.name, canonical(create), depends_on, now_us)?;
    match existing {
        Some(replaced) => next.replace_owned(id, catalog, replaced.id),
        None => next.begin_owned(id, actor.current),
    }
    planner::plan_new(&next, id, create, text)?;
    if let Body::Source(source) = &create.body
        && has_pii(source)
    {
        notices.push("PII columns are masked for roles without UNMASK; sinks write them as they are".to_owned());
    }
    Ok(Applied { catalog: next, tag, notices })
}

fn has_pii(source: &SourceBody) -> bool {
    source.columns.iter().any(|column| column.pii.is_some() || column.column_type.text.contains(" PII "))
}

fn dependencies(catalog: &Catalog, body: &Body) -> Result<Vec<ObjectId>> {
    let mut found = Vec::new();
    let options = match body {
        Body::Secret(_) => return Ok(found),
        Body::Connection { options, .. } => options,
        Body::Function(function) => return Ok(functions_used(catalog, &function.expr)),
        Body::Source(source) => {
            found.extend(source.expressions().flat_map(|expr| functions_used(catalog, expr)));
            &source.options
        }
        Body::View(view) => {
            found.extend(relations(catalog, view)?);
            found.extend(functions_used(catalog, &view.query));
            &view.options
        }
        Body::Sink(sink) => {
            found.push(relation(catalog, &sink.from)?);
            &sink.options
        }
        Body::Alert(alert) => {
            found.push(relation(catalog, &alert.from)?);
            found.extend(functions_used(catalog, &alert.condition));
            &alert.options
        }
    };
    for option in options {
        let kind = match option {
            OptionValue { secret: true, .. } => ObjectKind::Secret,
            OptionValue { name, .. } if name == "connection" => ObjectKind::Connection,
            _ => continue,
        };
        found.push(catalog.find(kind, &option.value).ok_or_else(|| unknown(kind, &option.value))?.id);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What a view reads.
pub(crate) fn relations(catalog: &Catalog, view: &ViewBody) -> Result<Vec<ObjectId>> {
    let names = planner::relation_names(view).into_iter();
    // A name of `WITH` may be that of a relation as well, which its own query then reads.
    let read = names.filter(|(name, with)| !with || catalog.relation(name).is_some());
    read.map(|(name, _)| relation(catalog, &name)).collect()
}

pub(crate) fn relation(catalog: &Catalog, name: &str) -> Result<ObjectId> {
    match catalog.relation(name) {
        Some(object) => Ok(object.id),
        None => {
            let names = catalog.objects().filter(|object| object.kind.is_relation()).map(|object| object.name.as_str());
            let error = Error::unknown_relation(name);
            Err(match nearest(name, names) {
                Some(other) => error.hint(format!("Perhaps you meant \"{other}\".")),
                None => error,
            })
        }
    }
}

fn drop_objects(
    catalog: &Catalog,
    kind: ObjectKind,
    names: &[String],
    if_exists: bool,
    cascade: bool,
    actor: &Actor,
) -> Result<Applied> {
    let mut next = catalog.clone();
    let mut notices = Vec::new();
    for name in names {
        if next.find(kind, name).is_none() {
            if let Some(other) = next.relation(name).filter(|_| kind.is_relation()) {
                return Err(wrong_kind(name, kind, other, "DROP", "remove"));
            }
            if if_exists {
                notices.push(format!("{kind} \"{name}\" does not exist, skipping"));
                continue;
            }
        }
        if let Some(object) = next.find(kind, name) {
            check_owner(&next, actor, object)?;
            if kind == ObjectKind::Function {
                check_uncalled(&next, object)?;
            }
        }
        let gone = next.drop(kind, name, cascade)?;
        for object in gone.iter().filter(|object| object.name != *name || object.kind != kind) {
            notices.push(format!("drop cascades to {} {}", object.kind, object.name));
        }
    }
    Ok(Applied { catalog: next, tag: format!("DROP {}", kind.to_string().to_uppercase()), notices })
}

/// A relation, and of another kind than the statement says.
pub(crate) fn wrong_kind(name: &str, kind: ObjectKind, found: &Object, statement: &str, to: &str) -> Error {
    let (upper, found) = (found.kind.to_string().to_uppercase(), found.kind);
    let error = Error::new("42809", format!("\"{name}\" is not a {kind}"));
    error.hint(format!("Use {statement} {upper} to {to} a {found}."))
}

fn comment(
    catalog: &Catalog,
    kind: ObjectKind,
    name: &str,
    column: Option<&str>,
    text: Option<String>,
    actor: &Actor,
) -> Result<Applied> {
    let mut next = catalog.clone();
    let id = match column {
        Some(_) => relation(catalog, name)?,
        None => catalog.find(kind, name).ok_or_else(|| unknown(kind, name))?.id,
    };
    if let Some(object) = catalog.get(id) {
        check_owner(catalog, actor, object)?;
    }
    if let Some(column) = column {
        let schema = planner::relation_schema(catalog, id)?;
        if schema.field_with_name(column).is_err() {
            return Err(Error::new("42703", format!("column \"{column}\" of relation \"{name}\" does not exist")));
        }
    }
    if let Some(object) = next.get_mut(id) {
        match (column, text) {
            (None, text) => object.comment = text,
            (Some(column), Some(text)) => {
                object.column_comments.insert(column.to_owned(), text);
            }
            (Some(column), None) => {
                object.column_comments.remove(column);
            }
        }
    }
    Ok(Applied { catalog: next, tag: "COMMENT".to_owned(), notices: Vec::new() })
}

/// The statement as `SHOW CREATE` prints it; parses again to the same.
pub(crate) fn canonical(create: &Create) -> String {
    let name = quoted(&create.name);
    match &create.body {
        Body::Secret(SecretBody::Env(variable)) => format!("CREATE SECRET {name} AS ENV {}", literal(variable)),
        Body::Secret(SecretBody::File(path)) => format!("CREATE SECRET {name} AS FILE {}", literal(path)),
        Body::Secret(SecretBody::Literal(value)) => format!("CREATE SECRET {name} AS {}", literal(value)),
        Body::Connection { kind, options } => {
            format!("CREATE CONNECTION {name} TO {} ({})", quoted(kind), options_text(options))
        }
        Body::Function(function) => {
            let (signature, returns) = (function.signature(), &function.returns.text);
            format!("CREATE FUNCTION {name}{signature} RETURNS {returns} AS {}", literal(function.text.trim()))
        }
        Body::Source(source) => canonical_source(&name, source),
        Body::View(view) => canonical_view(&name, view),
        Body::Sink(sink) => canonical_sink(&name, sink),
        Body::Alert(alert) => canonical_alert(&name, alert),
    }
}

fn options_text(options: &[OptionValue]) -> String {
    let one = |option: &OptionValue| {
        let name = option.name.split('.').map(quoted).collect::<Vec<_>>().join(".");
        match option.secret {
            true => format!("{name} = SECRET {}", quoted(&option.value)),
            false if option.name == "connection" => format!("{name} = {}", quoted(&option.value)),
            false => format!("{name} = {}", literal(&option.value)),
        }
    };
    options.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn canonical_source(name: &str, source: &SourceBody) -> String {
    let check = |(name, expr): &(Option<String>, _)| match name {
        Some(name) => format!("CONSTRAINT {} CHECK ({expr})", quoted(name)),
        None => format!("CHECK ({expr})"),
    };
    let mut lines: Vec<String> = Vec::new();
    for column in &source.columns {
        let mut line = format!("{} {}", quoted(&column.name), column.column_type.text);
        if let Some(expr) = &column.computed {
            line.push_str(&format!(" AS ({expr})"));
        }
        if column.not_null {
            line.push_str(" NOT NULL");
        }
        if column.primary_key {
            line.push_str(" PRIMARY KEY");
        }
        if let Some(pii) = column.pii {
            line.push_str(&format!(" PII {pii}"));
        }
        for one in &column.checks {
            line.push(' ');
            line.push_str(&check(one));
        }
        lines.push(line);
    }
    lines.extend(source.checks.iter().map(check));
    if !source.primary_key.is_empty() {
        let columns: Vec<String> = source.primary_key.iter().map(|column| quoted(column)).collect();
        lines.push(format!("PRIMARY KEY ({})", columns.join(", ")));
    }
    if let Some((column, delay_us)) = &source.watermark {
        let column = quoted(column);
        lines.push(match delay_us {
            0 => format!("WATERMARK FOR {column} AS {column}"),
            _ => format!("WATERMARK FOR {column} AS {column} - INTERVAL '{} seconds'", *delay_us as f64 / 1e6),
        });
    }
    let kind = if source.kind == crate::SourceKind::Stream { "STREAM" } else { "TABLE" };
    format!("CREATE {kind} {name} (\n    {}\n) WITH ({})", lines.join(",\n    "), options_text(&source.options))
}

fn canonical_view(name: &str, view: &ViewBody) -> String {
    let mut text = format!("CREATE MATERIALIZED VIEW {name}");
    if !view.options.is_empty() {
        text.push_str(&format!(" WITH ({})", options_text(&view.options)));
    }
    text.push_str(" AS\n");
    text.push_str(&canonical_query(view));
    text
}

/// What follows `AS`.
pub(crate) fn canonical_query(view: &ViewBody) -> String {
    let mut text = view.query.to_string();
    if let Some(WindowClause { kind, time, args }) = &view.window {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        text.push_str(&format!("\nWINDOW {} ({time}, {})", kind.name(), args.join(", ")));
    }
    text.push_str(match view.emit {
        crate::Emit::Update => "\nEMIT ON UPDATE",
        crate::Emit::WindowClose => "\nEMIT ON WINDOW CLOSE",
    });
    text
}

fn canonical_sink(name: &str, sink: &SinkBody) -> String {
    let mut text = format!("CREATE SINK {name} FROM {}", quoted(&sink.from));
    if !sink.partitions.is_empty() {
        let one = |(column, transform): &(String, String)| match transform.as_str() {
            "identity" => quoted(column),
            transform => format!("{transform}({})", quoted(column)),
        };
        text.push_str(&format!(" PARTITIONED BY ({})", sink.partitions.iter().map(one).collect::<Vec<_>>().join(", ")));
    }
    format!("{text} WITH ({})", options_text(&sink.options))
}

fn canonical_alert(name: &str, alert: &AlertBody) -> String {
    let mut text = format!("CREATE ALERT {name} ON {} WHEN {}", quoted(&alert.from), alert.condition);
    let clauses = [("FOR", &alert.hold), ("KEEP FIRING FOR", &alert.keep), ("NO DATA AFTER", &alert.no_data)];
    for (clause, interval) in clauses {
        if let Some((interval, _)) = interval {
            text.push_str(&format!(" {clause} {interval}"));
        }
    }
    if let Some(by) = &alert.by {
        text.push_str(&format!(" BY ({})", by.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")));
    }
    if !alert.options.is_empty() {
        text.push_str(&format!(" WITH ({})", options_text(&alert.options)));
    }
    text
}

/// An object's stored statement, parsed.
pub(crate) fn reparse(object: &Object) -> Result<(Create, String)> {
    let parsed = parse(&object.sql)?;
    match parsed.into_iter().next() {
        Some(Parsed { statement: Statement::Create(create), text, .. }) => Ok((*create, text)),
        _ => Err(Error::new("XX001", format!("the catalog's statement of \"{}\" is no CREATE", object.name))),
    }
}

/// What `SHOW CREATE` prints: never the value of a secret.
pub fn printable_sql(object: &Object) -> String {
    match secret_source(object) {
        Some(SecretSource::Literal(_)) => format!("CREATE SECRET {} AS '***'", quoted(&object.name)),
        _ => object.sql.clone(),
    }
}

/// `None` where the object is no secret.
pub fn secret_source(object: &Object) -> Option<SecretSource> {
    if object.kind != ObjectKind::Secret {
        return None;
    }
    match reparse(object).ok()?.0.body {
        Body::Secret(SecretBody::Env(name)) => Some(SecretSource::Env(name)),
        Body::Secret(SecretBody::File(path)) => Some(SecretSource::File(path)),
        Body::Secret(SecretBody::Literal(value)) => Some(SecretSource::Literal(value)),
        _ => None,
    }
}
