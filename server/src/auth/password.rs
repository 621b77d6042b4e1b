//! From a password to its verifier, as soon as a statement brings one.

use ebap_catalog::Verifier;
use ebap_sql::{NewPassword, RoleStatement, Statement};

use crate::pgwire::sqlstate::SqlError;

/// Bytes of a password, at the most.
const PASSWORD_BYTES_MAX: usize = 1_024;

/// The statement without a password in clear text, and a notice where it had one that cannot be.
///
/// # Errors
/// 22023 for a password that is too long.
pub(crate) fn hashed(statement: Statement) -> Result<(Statement, Option<&'static str>), SqlError> {
    let Statement::Role(role) = statement else { return Ok((statement, None)) };
    let Some(password) = role.clear_password() else { return Ok((Statement::Role(role), None)) };
    if is_empty(password.as_str()) {
        let cleared = role.with_password(&NewPassword::Null);
        return Ok((of(cleared), Some("empty string is not a valid password, clearing password")));
    }
    let verifier = verifier(password.as_str())?;
    Ok((of(role.with_password(&NewPassword::Verifier(verifier))), None))
}

fn of(statement: RoleStatement) -> Statement {
    Statement::Role(Box::new(statement))
}

/// Also where SASLprep leaves nothing of it, as some clients would log in with no password then.
fn is_empty(password: &str) -> bool {
    password.is_empty() || stringprep::saslprep(password).is_ok_and(|prepared| prepared.is_empty())
}

pub(super) fn verifier(password: &str) -> Result<Verifier, SqlError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(SqlError::new("22023", format!("a password is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    let text = postgres_protocol::password::scram_sha_256(password.as_bytes());
    Verifier::parse(&text).ok_or_else(|| SqlError::new("XX000", "a verifier has a form of its own"))
}
