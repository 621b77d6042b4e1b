//! What a role may do with objects: the checks of statements that change them, and of queries that read them.

use ebap_catalog::{Catalog, Object, ObjectId, ObjectKind, Privilege, READ_SERVER_FILES, Securable};

use crate::{
    Error, Result,
    parser::{Body, Create, OptionValue, SecretBody},
    pii,
    policies::check_unrestricted,
    roles::{Actor, denied},
};

/// Kind and name, as messages have them.
pub(crate) fn described(catalog: &Catalog, securable: &Securable) -> String {
    let object = |id: &ObjectId| match catalog.get(*id) {
        Some(object) => format!("{} {}", object.kind, object.name),
        None => format!("object {id}"),
    };
    match securable {
        Securable::Database => "database ebap".to_owned(),
        Securable::Schema => "schema public".to_owned(),
        Securable::Object(id) => object(id),
        Securable::Column(id, column) => format!("column {column} of {}", object(id)),
        Securable::System(name) => format!("table {name}"),
    }
}

/// 42501
pub(crate) fn denied_on(catalog: &Catalog, securable: &Securable) -> Error {
    let of = match securable {
        Securable::Column(id, _) => described(catalog, &Securable::Object(*id)),
        of => described(catalog, of),
    };
    Error::new("42501", format!("permission denied for {of}"))
}

/// # Errors
/// 42501
fn check(catalog: &Catalog, actor: &Actor, privilege: Privilege, securable: &Securable) -> Result<()> {
    match catalog.may(actor.current, privilege, securable) {
        true => Ok(()),
        false => Err(denied_on(catalog, securable)),
    }
}

/// # Errors
/// 42501 for whoever has not the rights of the owner.
pub(crate) fn check_owner(catalog: &Catalog, actor: &Actor, object: &Object) -> Result<()> {
    match catalog.roles.has_rights_of(actor.current, object.owner) {
        true => Ok(()),
        false => Err(Error::new("42501", format!("must be owner of {} {}", object.kind, object.name))),
    }
}

/// # Errors
/// 42501 where the role may not make the object, or read what it reads.
pub(crate) fn check_create(
    catalog: &Catalog,
    actor: &Actor,
    create: &Create,
    needs: &[ObjectId],
    text: &str,
) -> Result<()> {
    check(catalog, actor, Privilege::Create, &Securable::Schema)?;
    for id in needs {
        let Some(object) = catalog.get(*id) else { continue };
        let privilege = match object.kind {
            ObjectKind::Stream | ObjectKind::Table | ObjectKind::MaterializedView => Privilege::Select,
            ObjectKind::Function => Privilege::Execute,
            ObjectKind::Secret | ObjectKind::Connection => Privilege::Usage,
            ObjectKind::Sink | ObjectKind::Alert => continue,
        };
        check(catalog, actor, privilege, &Securable::Object(*id)).map_err(|error| match object.kind.is_relation() {
            true => error.hint("What reads it for others needs SELECT on all of its columns."),
            false => error,
        })?;
    }
    check_unrestricted(catalog, actor, needs)?;
    if let Some((id, column)) = pii::unseen(catalog, actor, &create.body, needs, text)? {
        let name = described(catalog, &Securable::Object(id));
        return Err(Error::new("42501", format!("permission denied for column {column} of {name}"))
            .detail("It is personal data, which the role may not see.")
            .hint("What reads it for others needs UNMASK on it."));
    }
    match touches_files(&create.body) && !catalog.roles.has_rights_of(actor.current, READ_SERVER_FILES) {
        true => Err(denied(
            format!("permission denied to create {} \"{}\"", create.body.kind(), create.name),
            "Only roles with privileges of role \"pg_read_server_files\" may name files and variables of the server.",
        )),
        false => Ok(()),
    }
}

/// Parts of names of options by which a connector reads a file of the server, loads one or runs a program.
const OF_FILES: [&str; 7] = ["file", "path", "location", "plugin", "library", "command", "cmd"];

/// Whether the server would read or write its own files, or its environment.
fn touches_files(body: &Body) -> bool {
    let names_file = |option: &OptionValue| {
        let (name, value) = (option.name.to_ascii_lowercase(), option.value.trim().to_ascii_lowercase());
        let is_path = value.starts_with('/') || value.starts_with("file:") || value.starts_with('.');
        // `target_file_size` is of the files that a sink makes.
        let is_of_files = !name.ends_with("_size") && OF_FILES.iter().any(|part| name.contains(part));
        is_of_files || !option.secret && (is_path || (name == "connector" && value == "file"))
    };
    match body {
        Body::Secret(SecretBody::Env(_) | SecretBody::File(_)) => true,
        Body::Secret(SecretBody::Literal(_)) | Body::Function(_) => false,
        Body::Connection { kind, options } => kind == "file" || options.iter().any(names_file),
        Body::Source(source) => source.options.iter().any(names_file),
        Body::View(view) => view.options.iter().any(names_file),
        Body::Sink(sink) => sink.options.iter().any(names_file),
        Body::Alert(alert) => alert.options.iter().any(names_file),
    }
}

/// Lets the owner alone see the statement that made an object: its options may hold passwords. Queries are for everybody.
///
/// # Errors
/// 42501 for whoever has not the rights of the owner.
pub fn check_definition(catalog: &Catalog, actor: &Actor, object: &Object) -> Result<()> {
    match object.kind {
        ObjectKind::MaterializedView | ObjectKind::Function => Ok(()),
        ObjectKind::Secret
        | ObjectKind::Connection
        | ObjectKind::Stream
        | ObjectKind::Table
        | ObjectKind::Sink
        | ObjectKind::Alert => check_owner(catalog, actor, object),
    }
}

/// A query's use of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads<'a> {
    /// These columns of a relation. None where it only counts rows.
    Columns(ObjectId, &'a [String]),
    /// Records as they came in, and rows that failed, which are kept beside a relation.
    Raw(ObjectId),
    /// A table of the schema `ebap`.
    System(&'a str),
}

/// # Errors
/// 42501 where the role may not read it.
pub fn check_read(catalog: &Catalog, actor: &Actor, reads: &Reads<'_>) -> Result<()> {
    match reads {
        Reads::System(name) => check(catalog, actor, Privilege::Select, &Securable::System((*name).to_owned())),
        Reads::Raw(id) => {
            check(catalog, actor, Privilege::Usage, &Securable::Schema)?;
            check(catalog, actor, Privilege::Select, &Securable::Object(*id))
        }
        Reads::Columns(id, columns) => {
            check(catalog, actor, Privilege::Usage, &Securable::Schema)?;
            let whole = Securable::Object(*id);
            if catalog.may(actor.current, Privilege::Select, &whole) {
                return Ok(());
            }
            let may = |column: &str| {
                catalog.may(actor.current, Privilege::Select, &Securable::Column(*id, column.to_owned()))
            };
            let allowed = match columns {
                [] => catalog.privileges.columns(*id).any(|(column, _)| may(column)),
                columns => columns.iter().all(|column| may(column)),
            };
            if allowed { Ok(()) } else { Err(denied_on(catalog, &whole)) }
        }
    }
}

/// # Errors
/// 42501 where the role may not write rows into a table of the schema `ebap`.
pub fn check_write(catalog: &Catalog, actor: &Actor, table: &str) -> Result<()> {
    check(catalog, actor, Privilege::Insert, &Securable::System(table.to_owned()))
}
