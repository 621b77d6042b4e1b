//! `GRANT` and `REVOKE` of privileges, `ALTER DEFAULT PRIVILEGES`, and statements about all that a role owns.

use datafusion::sql::sqlparser::tokenizer::Token;
use ebap_catalog::{ObjectKind, Privilege, SecurableKind};

use super::{
    cursor::Cursor,
    object::kind_and_length_at,
    role::{RoleChange, RoleName, refuse_granted_by, role_name, role_names},
};
use crate::{Error, Result};

/// `SELECT (a, b)`; no columns where it is of the whole. `None` for `ALL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) privilege: Option<Privilege>,
    pub(crate) columns: Vec<String>,
}

/// The words behind `ON`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Streams, tables and views; a schema where one is written.
    Relations(Vec<(Option<String>, String)>),
    Objects(ObjectKind, Vec<String>),
    AllRelations(Vec<String>),
    AllFunctions(Vec<String>),
    Schemas(Vec<String>),
    Databases(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grantee {
    Public,
    Role(RoleName),
}

/// A grant or what takes one back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) revokes: bool,
    pub(crate) granted: Vec<Granted>,
    pub(crate) grantees: Vec<Grantee>,
    /// `WITH GRANT OPTION`, `GRANT OPTION FOR`.
    pub(crate) option: bool,
    pub(crate) cascade: bool,
}

/// `GRANT … ON … TO …`, `REVOKE … ON … FROM …`
pub(super) fn grant(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    let mut on = None;
    let grant = clauses(cursor, |cursor| {
        on = Some(securables(cursor)?);
        Ok(())
    })?;
    match on {
        Some(on) => Ok(RoleChange::Privileges { grant, on }),
        None => Err(cursor.unexpected()),
    }
}

fn clauses(cursor: &mut Cursor<'_>, mut on: impl FnMut(&mut Cursor<'_>) -> Result<()>) -> Result<Grant> {
    let revokes = cursor.word(0).as_deref() == Some("REVOKE");
    cursor.skip(1);
    let mut option = revokes && cursor.take(&["GRANT", "OPTION", "FOR"]);
    let granted = privileges(cursor)?;
    cursor.expect(&["ON"])?;
    on(cursor)?;
    cursor.expect(&[if revokes { "FROM" } else { "TO" }])?;
    let grantees = grantees(cursor)?;
    option |= !revokes && cursor.take(&["WITH", "GRANT", "OPTION"]);
    refuse_granted_by(cursor)?;
    let cascade = revokes && cursor.take(&["CASCADE"]);
    if revokes && !cascade {
        cursor.take(&["RESTRICT"]);
    }
    Ok(Grant { revokes, granted, grantees, option, cascade })
}

fn privileges(cursor: &mut Cursor<'_>) -> Result<Vec<Granted>> {
    let mut all = Vec::new();
    loop {
        let position = cursor.position();
        let word = cursor.word(0).ok_or_else(|| cursor.unexpected())?;
        cursor.skip(1);
        let privilege = match word.as_str() {
            "ALL" => {
                cursor.take(&["PRIVILEGES"]);
                None
            }
            word => match Privilege::parse(word) {
                Some(privilege) => Some(privilege),
                None => {
                    let message = format!("unrecognized privilege type \"{}\"", word.to_lowercase());
                    return Err(Error::syntax(message).at(position));
                }
            },
        };
        let columns = if cursor.is(&Token::LParen) { columns(cursor)? } else { Vec::new() };
        all.push(Granted { privilege, columns });
        if !cursor.take_token(&Token::Comma) {
            return Ok(all);
        }
    }
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let inside = cursor.group()?;
    let mut list = cursor.inside(inside);
    let names = names(&mut list)?;
    list.end()?;
    Ok(names)
}

fn names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut all = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Comma) {
        all.push(cursor.identifier()?);
    }
    Ok(all)
}

fn object_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut all = vec![cursor.object_name()?];
    while cursor.take_token(&Token::Comma) {
        all.push(cursor.object_name()?);
    }
    Ok(all)
}

fn securables(cursor: &mut Cursor<'_>) -> Result<On> {
    if cursor.take(&["ALL", "TABLES", "IN", "SCHEMA"]) {
        return Ok(On::AllRelations(names(cursor)?));
    }
    let functions = [["ALL", "FUNCTIONS"], ["ALL", "ROUTINES"], ["ALL", "PROCEDURES"]];
    if functions.iter().any(|words| cursor.take(words)) {
        cursor.expect(&["IN", "SCHEMA"])?;
        return Ok(On::AllFunctions(names(cursor)?));
    }
    for word in ["ALL", "SEQUENCE", "TYPE", "DOMAIN", "LANGUAGE", "LARGE", "TABLESPACE", "PARAMETER", "FOREIGN"] {
        if cursor.at(&[word]) && !matches!(cursor.rest().get(1).map(|token| &token.token), Some(Token::Comma) | None) {
            let hint =
                "Grant on tables, streams, views, functions, secrets, connections, SCHEMA public or DATABASE ebap.";
            return Err(Error::unsupported(format!("privileges on {word}"), hint).at(cursor.position()));
        }
    }
    if cursor.take(&["SCHEMA"]) {
        return Ok(On::Schemas(names(cursor)?));
    }
    if cursor.take(&["DATABASE"]) {
        return Ok(On::Databases(names(cursor)?));
    }
    // `ON table TO anna` is of a relation called "table": a kind is followed by a name.
    if let Some((kind, length)) = kind_and_length_at(cursor, 0).filter(|(_, length)| !is_end(cursor, *length)) {
        cursor.skip(length);
        if kind.is_relation() {
            return relations(cursor);
        }
        let names = if kind == ObjectKind::Function { functions_named(cursor)? } else { object_names(cursor)? };
        return Ok(On::Objects(kind, names));
    }
    if cursor.at(&["VIEW"]) && !is_end(cursor, 1) {
        cursor.skip(1);
    }
    relations(cursor)
}

/// Whether the names have ended before this token.
fn is_end(cursor: &Cursor<'_>, ahead: usize) -> bool {
    let next = cursor.rest().get(ahead).map(|token| &token.token);
    matches!(next, None | Some(Token::Comma | Token::Period))
        || matches!(cursor.word(ahead).as_deref(), Some("TO" | "FROM"))
}

fn relations(cursor: &mut Cursor<'_>) -> Result<On> {
    let mut all = Vec::new();
    loop {
        let first = cursor.identifier()?;
        all.push(match cursor.take_token(&Token::Period) {
            true => (Some(first), cursor.identifier()?),
            false => (None, first),
        });
        if !cursor.take_token(&Token::Comma) {
            return Ok(On::Relations(all));
        }
    }
}

/// Names of functions. One name is one function, so types of arguments say nothing.
pub(super) fn functions_named(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    loop {
        all.push(cursor.object_name()?);
        if cursor.is(&Token::LParen) {
            cursor.group()?;
        }
        if !cursor.take_token(&Token::Comma) {
            return Ok(all);
        }
    }
}

pub(super) fn grantees(cursor: &mut Cursor<'_>) -> Result<Vec<Grantee>> {
    let mut all = vec![grantee(cursor)?];
    while cursor.take_token(&Token::Comma) {
        all.push(grantee(cursor)?);
    }
    Ok(all)
}

fn grantee(cursor: &mut Cursor<'_>) -> Result<Grantee> {
    cursor.take(&["GROUP"]);
    if cursor.take(&["PUBLIC"]) {
        return Ok(Grantee::Public);
    }
    role_name(cursor).map(Grantee::Role)
}

/// `ALTER DEFAULT PRIVILEGES [FOR ROLE r] [IN SCHEMA public] GRANT … ON TABLES TO …`
pub(super) fn defaults(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    cursor.skip(3);
    let (mut owners, mut schemas) = (Vec::new(), Vec::new());
    loop {
        if cursor.take(&["FOR", "ROLE"]) || cursor.take(&["FOR", "USER"]) {
            owners = role_names(cursor)?;
        } else if cursor.take(&["IN", "SCHEMA"]) {
            schemas = names(cursor)?;
        } else {
            break;
        }
    }
    if !cursor.at(&["GRANT"]) && !cursor.at(&["REVOKE"]) {
        return Err(cursor.unexpected());
    }
    let mut kind = SecurableKind::Relation;
    let grant = clauses(cursor, |cursor| {
        let position = cursor.position();
        kind = match cursor.word(0).as_deref() {
            Some("TABLES") => SecurableKind::Relation,
            Some("FUNCTIONS" | "ROUTINES") => SecurableKind::Function,
            Some(word @ ("SEQUENCES" | "TYPES" | "SCHEMAS")) => {
                let hint = "There are default privileges ON TABLES and ON FUNCTIONS.";
                return Err(Error::unsupported(format!("default privileges on {word}"), hint).at(position));
            }
            _ => return Err(cursor.unexpected()),
        };
        cursor.skip(1);
        Ok(())
    })?;
    if grant.granted.iter().any(|one| !one.columns.is_empty()) {
        return Err(Error::new("0LP01", "default privileges cannot be set for columns"));
    }
    Ok(RoleChange::Defaults { grant, kind, owners, schemas })
}

/// `REASSIGN OWNED BY r TO s`, `DROP OWNED BY r`
pub(super) fn owned(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    let reassigns = cursor.word(0).as_deref() == Some("REASSIGN");
    cursor.skip(3);
    let roles = role_names(cursor)?;
    if reassigns {
        cursor.expect(&["TO"])?;
        return Ok(RoleChange::ReassignOwned { roles, to: role_name(cursor)? });
    }
    let cascade = cursor.take(&["CASCADE"]);
    if !cascade {
        cursor.take(&["RESTRICT"]);
    }
    Ok(RoleChange::DropOwned { roles, cascade })
}
