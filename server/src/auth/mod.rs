//! Who a client is: methods, passwords, and what slows down whoever guesses them. What a role may do is in `ebap_sql`.

mod delays;
mod password;
mod scram;

use std::{net::IpAddr, sync::Arc, time::Duration};

use ebap_catalog::{BOOTSTRAP_ROLE, Catalog, MockKey, Role, RoleId};
use ebap_connector::time;
use uuid::Uuid;

use crate::{app::App, pgwire::sqlstate::SqlError};
use delays::Delays;
pub(crate) use password::hashed;
pub(crate) use scram::{Challenged, MECHANISM, Offered, Proved};

/// The way in which clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// They do not.
    Trust,
    Scram,
}

/// Lets clients in, or does not.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) method: AuthMethod,
    /// From the first byte of a client until it is let in.
    pub(crate) limit: Duration,
    delays: Delays,
}

impl Gate {
    pub(crate) fn new(method: AuthMethod, limit: Duration) -> Self {
        Self { method, limit, delays: Delays::default() }
    }

    /// Waits where others have failed from this address before.
    pub(crate) async fn wait(&self, from: IpAddr) {
        let pause = self.delays.turn(from, time::instant());
        if !pause.is_zero() {
            time::sleep(pause).await;
        }
    }

    /// Begins the exchange. Of a user who cannot log in by a password it looks as that of one who can.
    pub(crate) fn offer(&self, catalog: &Catalog, user: &str) -> Offered {
        let role = catalog.roles.find(user);
        match role.filter(|role| is_in_time(role)).and_then(|role| role.verifier.clone()) {
            Some(verifier) => Offered::of(verifier),
            None => Offered::doomed(catalog.roles.mock_key(), user),
        }
    }

    /// Counts a wrong password.
    pub(crate) fn failed(&self, user: &str, from: IpAddr) -> SqlError {
        self.delays.failed(from, time::instant());
        tracing::warn!(user, address = %from, "password authentication failed");
        SqlError::new("28P01", format!("password authentication failed for user \"{user}\""))
    }

    pub(crate) fn succeeded(&self, from: IpAddr) {
        self.delays.succeeded(from);
    }

    /// The role that a client who said this name acts as; `None` where anybody may come and no role has the name.
    ///
    /// # Errors
    /// 28000 where it may not log in.
    pub(crate) fn role<'a>(&self, catalog: &'a Catalog, user: &str) -> Result<Option<&'a Role>, SqlError> {
        match (catalog.roles.find(user), self.method) {
            (Some(role), _) if !role.can_login => {
                Err(SqlError::new("28000", format!("role \"{user}\" is not permitted to log in")))
            }
            (Some(role), _) => Ok(Some(role)),
            (None, AuthMethod::Trust) => Ok(None),
            (None, AuthMethod::Scram) => Err(SqlError::new("28000", format!("role \"{user}\" does not exist"))),
        }
    }
}

/// Makes a catalog fit to log in by: the key of mock salts, and a password for `ebap` where no superuser can log in.
/// Gives that password, which nobody can be told again.
///
/// # Errors
/// Where the catalog cannot be made durable.
pub(crate) async fn prepare(app: &Arc<App>) -> Result<Option<String>, SqlError> {
    app.change(|catalog| {
        let mut next = catalog.clone();
        if next.roles.mock_key().is_none() {
            next.roles.set_mock_key(MockKey::new(format!("{}{}", random(), random())));
        }
        let can_enter = |role: &Role| role.superuser && role.can_login && role.verifier.is_some() && is_in_time(role);
        if next.roles.iter().any(can_enter) {
            return Ok((next, None));
        }
        let password = random();
        let id: RoleId = BOOTSTRAP_ROLE;
        if let Some(role) = next.roles.get_mut(id) {
            role.verifier = Some(password::verifier(&password)?);
            (role.can_login, role.valid_until_us) = (true, None);
        }
        Ok((next, Some(password)))
    })
    .await
}

/// Whether its password is taken still.
fn is_in_time(role: &Role) -> bool {
    role.valid_until_us.is_none_or(|until| time::now_us() < until)
}

/// 122 random bits.
fn random() -> String {
    Uuid::new_v4().simple().to_string()
}
