//! `CREATE`, `ALTER` and `DROP` of roles, and `GRANT` and `REVOKE` of memberships. Those of privileges are in `grant`.
//!
//! An error never shows a word of a statement that has a password in it.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::Token;
use ebap_catalog::{SecurableKind, Verifier};
use ebap_values::time::{Zone, parse_timestamptz};

use super::{
    Statement,
    cursor::Cursor,
    grant::{self, Grant, On},
    object::kind_and_length_at,
    policy::{self, PolicyChange},
};
use crate::{Error, Result};

/// A password in clear text, until it is made into a verifier.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The words behind `PASSWORD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPassword {
    Null,
    Clear(Password),
    Verifier(Verifier),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    Named(String),
    CurrentUser,
    SessionUser,
}

/// `NOLOGIN` is `Login(false)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleOption {
    Login(bool),
    Superuser(bool),
    Inherit(bool),
    CreateRole(bool),
    CreateDb(bool),
    Replication(bool),
    BypassRls(bool),
    /// `None` for `-1`.
    ConnectionLimit(Option<u32>),
    Password(NewPassword),
    /// `None` for `infinity`.
    ValidUntil(Option<i64>),
    InRoles(Vec<RoleName>),
    Members {
        names: Vec<RoleName>,
        admin: bool,
    },
}

impl RoleOption {
    /// Options of one kind may stand once.
    fn word(&self) -> &'static str {
        match self {
            Self::Login(_) => "LOGIN",
            Self::Superuser(_) => "SUPERUSER",
            Self::Inherit(_) => "INHERIT",
            Self::CreateRole(_) => "CREATEROLE",
            Self::CreateDb(_) => "CREATEDB",
            Self::Replication(_) => "REPLICATION",
            Self::BypassRls(_) => "BYPASSRLS",
            Self::ConnectionLimit(_) => "CONNECTION LIMIT",
            Self::Password(_) => "PASSWORD",
            Self::ValidUntil(_) => "VALID UNTIL",
            Self::InRoles(_) => "IN ROLE",
            Self::Members { admin: false, .. } => "ROLE",
            Self::Members { admin: true, .. } => "ADMIN",
        }
    }
}

#[derive(Clone, Debug)]
pub struct RoleStatement(pub(crate) RoleChange);

#[derive(Clone, Debug)]
pub(crate) enum RoleChange {
    Create {
        name: String,
        if_not_exists: bool,
        options: Vec<RoleOption>,
    },
    Alter {
        name: RoleName,
        if_exists: bool,
        options: Vec<RoleOption>,
    },
    Drop {
        names: Vec<RoleName>,
        if_exists: bool,
    },
    Grant {
        roles: Vec<String>,
        members: Vec<RoleName>,
        admin: bool,
    },
    Revoke {
        roles: Vec<String>,
        members: Vec<RoleName>,
        admin_only: bool,
    },
    Privileges {
        grant: Grant,
        on: On,
    },
    /// Without owners of the current role; without schemas of all.
    Defaults {
        grant: Grant,
        kind: SecurableKind,
        owners: Vec<RoleName>,
        schemas: Vec<String>,
    },
    ReassignOwned {
        roles: Vec<RoleName>,
        to: RoleName,
    },
    DropOwned {
        roles: Vec<RoleName>,
        cascade: bool,
    },
    Policy(PolicyChange),
}

impl RoleStatement {
    /// The password in clear text that the statement sets.
    pub fn clear_password(&self) -> Option<&Password> {
        let (RoleChange::Create { options, .. } | RoleChange::Alter { options, .. }) = &self.0 else { return None };
        options.iter().find_map(|option| {
            let RoleOption::Password(NewPassword::Clear(password)) = option else { return None };
            Some(password)
        })
    }

    /// The relation whose rows it gives a condition, with the condition.
    pub fn policy_condition(&self) -> Option<(&str, &str)> {
        let RoleChange::Policy(change) = &self.0 else { return None };
        Some((&change.relation, change.condition()?))
    }

    /// Tables of the schema `ebap` that it grants on.
    pub fn system_tables(&self) -> Vec<&str> {
        let RoleChange::Privileges { on: On::Relations(names), .. } = &self.0 else { return Vec::new() };
        let of_ebap = names.iter().filter(|(schema, _)| schema.as_deref() == Some("ebap"));
        of_ebap.map(|(_, name)| name.as_str()).collect()
    }

    /// The same statement with this in the place of its password.
    #[must_use]
    pub fn with_password(mut self, new: &NewPassword) -> Self {
        if let RoleChange::Create { options, .. } | RoleChange::Alter { options, .. } = &mut self.0 {
            for option in options.iter_mut().filter(|option| matches!(option, RoleOption::Password(_))) {
                *option = RoleOption::Password(new.clone());
            }
        }
        self
    }
}

const KINDS: [&str; 3] = ["ROLE", "USER", "GROUP"];

/// `None` where the statement is about something else.
pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    let verb = cursor.word(0).unwrap_or_default();
    let is_kind = cursor.word(1).is_some_and(|word| KINDS.contains(&word.as_str()));
    let has_password = (0..cursor.rest().len()).any(|ahead| cursor.word(ahead).as_deref() == Some("PASSWORD"));
    let is_policy = cursor.word(1).as_deref() == Some("POLICY");
    let altered = match verb.as_str() {
        "ALTER" => kind_and_length_at(cursor, 1),
        _ => None,
    };
    if let Some((kind, length)) = altered
        && let Some(change) = policy::security(cursor, kind, length)?
    {
        cursor.end()?;
        return Ok(Some(Statement::Role(Box::new(RoleStatement(change)))));
    }
    let change = match verb.as_str() {
        "CREATE" | "ALTER" | "DROP" if is_policy => policy::policy(cursor),
        "CREATE" if is_kind => create(cursor),
        "ALTER" if is_kind => alter(cursor),
        "DROP" if is_kind => drop(cursor),
        "ALTER" if cursor.at(&["ALTER", "DEFAULT", "PRIVILEGES"]) => grant::defaults(cursor),
        "GRANT" | "REVOKE" if is_membership(cursor) => membership(cursor, verb == "GRANT"),
        "GRANT" | "REVOKE" => grant::grant(cursor),
        "REASSIGN" | "DROP"
            if cursor.word(1).as_deref() == Some("OWNED") && cursor.word(2).as_deref() == Some("BY") =>
        {
            grant::owned(cursor)
        }
        _ => return Ok(None),
    };
    match change.and_then(|change| cursor.end().map(|()| change)) {
        Ok(change) => Ok(Some(Statement::Role(Box::new(RoleStatement(change))))),
        Err(error) if has_password && error.sqlstate == "42601" => {
            let mut plain = Error::syntax("syntax error in a statement with a password");
            plain.position = error.position;
            Err(plain)
        }
        Err(error) => Err(error),
    }
}

fn create(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    let can_login = cursor.word(1).as_deref() == Some("USER");
    cursor.skip(2);
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = new_name(cursor)?;
    cursor.take(&["WITH"]);
    let mut options = options(cursor, true)?;
    if can_login && !options.iter().any(|option| matches!(option, RoleOption::Login(_))) {
        options.push(RoleOption::Login(true));
    }
    Ok(RoleChange::Create { name, if_not_exists, options })
}

/// # Errors
/// 42939 for the names that PostgreSQL keeps for itself.
fn new_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let position = cursor.position();
    let is_quoted = matches!(cursor.rest().first().map(|token| &token.token),
        Some(Token::Word(word)) if word.quote_style.is_some());
    let name = cursor.identifier()?;
    let refused = |code, message: String| Err(Error::new(code, message).at(position));
    if name == "public" || name == "none" || name.starts_with("pg_") {
        let error = refused("42939", format!("role name \"{name}\" is reserved"));
        return error.map_err(|error: Error| match name.starts_with("pg_") {
            true => error.detail("Role names starting with \"pg_\" are reserved."),
            false => error,
        });
    }
    if !is_quoted && ["current_user", "current_role", "session_user", "user"].contains(&name.as_str()) {
        return refused("42939", format!("{} cannot be used as a role name here", name.to_uppercase()));
    }
    if name.len() > NAME_BYTES_MAX {
        return refused("42622", format!("identifier is longer than {NAME_BYTES_MAX} bytes"));
    }
    Ok(name)
}

/// Bytes of a name in PostgreSQL, which cuts longer ones off.
const NAME_BYTES_MAX: usize = 63;

fn alter(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    cursor.skip(2);
    let position = cursor.position();
    if cursor.at(&["ALL"]) {
        return Err(Error::unsupported("ALTER ROLE ALL", "Change roles one by one.").at(position));
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = role_name(cursor)?;
    for (words, what) in [
        (&["RENAME"][..], "ALTER ROLE … RENAME"),
        (&["SET"], "ALTER ROLE … SET"),
        (&["RESET"], "ALTER ROLE … RESET"),
        (&["IN", "DATABASE"], "ALTER ROLE … IN DATABASE"),
        (&["ADD", "USER"], "ALTER GROUP … ADD USER"),
        (&["DROP", "USER"], "ALTER GROUP … DROP USER"),
    ] {
        if cursor.at(words) {
            return Err(
                Error::unsupported(what, "Use ALTER ROLE with options, GRANT and REVOKE.").at(cursor.position())
            );
        }
    }
    cursor.take(&["WITH"]);
    let options = options(cursor, false)?;
    if options.is_empty() {
        return Err(cursor.unexpected());
    }
    Ok(RoleChange::Alter { name, if_exists, options })
}

fn drop(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    cursor.skip(2);
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    Ok(RoleChange::Drop { names: role_names(cursor)?, if_exists })
}

/// `GRANT a, b TO c`: what is granted on something has an `ON` before it says to whom.
fn is_membership(cursor: &Cursor<'_>) -> bool {
    let words = (1..cursor.rest().len()).map_while(|ahead| match &cursor.rest()[ahead].token {
        Token::Word(_) => Some(cursor.word(ahead).unwrap_or_default()),
        Token::Comma => Some(String::new()),
        _ => None,
    });
    let mut ends = words.filter(|word| ["ON", "TO", "FROM"].contains(&word.as_str()));
    ends.next().is_some_and(|word| word != "ON")
}

fn membership(cursor: &mut Cursor<'_>, grants: bool) -> Result<RoleChange> {
    cursor.skip(1);
    let admin_only = !grants && cursor.take(&["ADMIN", "OPTION", "FOR"]);
    let mut roles = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Comma) {
        roles.push(cursor.identifier()?);
    }
    cursor.expect(&[if grants { "TO" } else { "FROM" }])?;
    cursor.take(&["GROUP"]);
    let members = role_names(cursor)?;
    if grants {
        let admin = cursor.take(&["WITH", "ADMIN", "OPTION"]) || cursor.take(&["WITH", "ADMIN", "TRUE"]);
        refuse_granted_by(cursor)?;
        return Ok(RoleChange::Grant { roles, members, admin });
    }
    refuse_granted_by(cursor)?;
    let _ = cursor.take(&["CASCADE"]) || cursor.take(&["RESTRICT"]);
    Ok(RoleChange::Revoke { roles, members, admin_only })
}

/// Whoever grants is the grantor.
pub(super) fn refuse_granted_by(cursor: &mut Cursor<'_>) -> Result<()> {
    if cursor.at(&["GRANTED", "BY"]) {
        return Err(Error::unsupported("GRANTED BY", "The grantor is the current role.").at(cursor.position()));
    }
    Ok(())
}

pub(super) fn role_name(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    let special = match cursor.word(0).as_deref() {
        Some("CURRENT_USER" | "CURRENT_ROLE") => Some(RoleName::CurrentUser),
        Some("SESSION_USER") => Some(RoleName::SessionUser),
        _ => None,
    };
    match special {
        Some(name) => {
            cursor.skip(1);
            Ok(name)
        }
        None => Ok(RoleName::Named(cursor.identifier()?)),
    }
}

pub(super) fn role_names(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>> {
    let mut names = vec![role_name(cursor)?];
    while cursor.take_token(&Token::Comma) {
        names.push(role_name(cursor)?);
    }
    Ok(names)
}

fn options(cursor: &mut Cursor<'_>, creates: bool) -> Result<Vec<RoleOption>> {
    let mut found: Vec<RoleOption> = Vec::new();
    while !cursor.finished() {
        let position = cursor.position();
        let Some(option) = option(cursor, creates)? else { continue };
        if found.iter().any(|other| other.word() == option.word()) {
            return Err(Error::syntax("conflicting or redundant options").at(position));
        }
        found.push(option);
    }
    Ok(found)
}

/// A word, and the option that it is with and without `NO`.
type Flag = (&'static str, fn(bool) -> RoleOption);

/// `None` for one that PostgreSQL takes and ignores.
fn option(cursor: &mut Cursor<'_>, creates: bool) -> Result<Option<RoleOption>> {
    let flags: [Flag; 7] = [
        ("LOGIN", RoleOption::Login),
        ("SUPERUSER", RoleOption::Superuser),
        ("INHERIT", RoleOption::Inherit),
        ("CREATEROLE", RoleOption::CreateRole),
        ("CREATEDB", RoleOption::CreateDb),
        ("REPLICATION", RoleOption::Replication),
        ("BYPASSRLS", RoleOption::BypassRls),
    ];
    let word = cursor.word(0).unwrap_or_default();
    if let Some((_, make)) = flags.iter().find(|(flag, _)| *flag == word) {
        cursor.skip(1);
        return Ok(Some(make(true)));
    }
    if let Some((_, make)) = flags.iter().find(|(flag, _)| word.strip_prefix("NO") == Some(*flag)) {
        cursor.skip(1);
        return Ok(Some(make(false)));
    }
    if cursor.take(&["CONNECTION", "LIMIT"]) {
        return connection_limit(cursor).map(Some);
    }
    if cursor.at(&["UNENCRYPTED"]) {
        let hint = "Remove UNENCRYPTED to store the password in encrypted form instead.";
        return Err(Error::unsupported("UNENCRYPTED PASSWORD", hint).at(cursor.position()));
    }
    if cursor.take(&["ENCRYPTED", "PASSWORD"]) || cursor.take(&["PASSWORD"]) {
        return Ok(Some(RoleOption::Password(password(cursor)?)));
    }
    if cursor.take(&["VALID", "UNTIL"]) {
        return valid_until(cursor).map(Some);
    }
    if creates && cursor.take(&["SYSID"]) {
        cursor.next()?;
        return Ok(None);
    }
    if creates && (cursor.take(&["IN", "ROLE"]) || cursor.take(&["IN", "GROUP"])) {
        return Ok(Some(RoleOption::InRoles(role_names(cursor)?)));
    }
    if creates && (cursor.take(&["ROLE"]) || cursor.take(&["USER"])) {
        return Ok(Some(RoleOption::Members { names: role_names(cursor)?, admin: false }));
    }
    if creates && cursor.take(&["ADMIN"]) {
        return Ok(Some(RoleOption::Members { names: role_names(cursor)?, admin: true }));
    }
    Err(cursor.unexpected())
}

fn connection_limit(cursor: &mut Cursor<'_>) -> Result<RoleOption> {
    let position = cursor.position();
    let is_negative = cursor.take_token(&Token::Minus);
    let Token::Number(digits, _) = cursor.next()? else { return Err(Error::syntax("syntax error").at(position)) };
    match (digits.parse::<u32>(), is_negative) {
        (Ok(limit), false) => Ok(RoleOption::ConnectionLimit(Some(limit))),
        (Ok(1), true) => Ok(RoleOption::ConnectionLimit(None)),
        _ => Err(Error::new("22023", format!("invalid connection limit: -{digits}")).at(position)),
    }
}

fn password(cursor: &mut Cursor<'_>) -> Result<NewPassword> {
    if cursor.take(&["NULL"]) {
        return Ok(NewPassword::Null);
    }
    let position = cursor.position();
    let text = cursor.string()?;
    let is_md5 =
        text.strip_prefix("md5").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_md5 {
        let hint = "Give the password itself, or its SCRAM-SHA-256 verifier.";
        return Err(Error::unsupported("an MD5 password", hint).at(position));
    }
    Ok(match Verifier::parse(&text) {
        Some(verifier) => NewPassword::Verifier(verifier),
        None => NewPassword::Clear(Password(text)),
    })
}

fn valid_until(cursor: &mut Cursor<'_>) -> Result<RoleOption> {
    let position = cursor.position();
    let text = cursor.string()?;
    if text.trim().eq_ignore_ascii_case("infinity") {
        return Ok(RoleOption::ValidUntil(None));
    }
    let time = parse_timestamptz(&text, &Zone::utc());
    time.map(|us| RoleOption::ValidUntil(Some(us)))
        .map_err(|error| Error::new(error.sqlstate, error.message).at(position))
}
