//! How a session begins, and how its statement is cancelled from another connection.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use ebap_catalog::{Privilege, Securable};
use futures::{Sink, SinkExt};
use pgwire::{
    api::{
        ClientInfo, PgWireConnectionState,
        auth::{ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation},
        cancel::CancelHandler,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage,
        cancel::CancelRequest,
        startup::{Authentication, PasswordMessageFamily, SecretKey, Startup},
    },
};

use super::{handlers::Connection, sessions::Entry, sqlstate::SqlError};
use crate::{
    auth::{AuthMethod, Challenged, MECHANISM, Offered, Proved},
    system::DATABASE,
};

/// What the client is told of the server as its session begins.
struct Parameters(HashMap<String, String>);

impl ServerParameterProvider for Parameters {
    fn server_parameters<C>(&self, _: &C) -> Option<HashMap<String, String>>
    where
        C: ClientInfo,
    {
        Some(self.0.clone())
    }
}

/// A client that says who it is.
pub(super) struct Attempt {
    startup: Startup,
    user: String,
    exchange: Exchange,
}

enum Exchange {
    Offered(Offered),
    Challenged(Challenged),
}

fn malformed(message: &str) -> PgWireError {
    SqlError::new("08P01", message).fatal()
}

/// # Errors
/// 28000 where the client names nobody.
fn user(startup: &Startup) -> Result<&str, SqlError> {
    let user = startup.parameters.get("user").filter(|user| !user.is_empty());
    user.map(String::as_str)
        .ok_or_else(|| SqlError::new("28000", "no PostgreSQL user name specified in startup packet"))
}

impl Connection {
    /// # Errors
    /// 28000 where the connection has to be encrypted, or the client's certificate is not the user's.
    fn check_channel(&self, user: &str) -> Result<(), SqlError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        match self.channel.get() {
            None if tls.required || tls.wants_client_certificate() => {
                Err(SqlError::new("28000", "the connection is not encrypted")
                    .hint("Use sslmode=require, or a stricter one."))
            }
            Some(channel) if tls.wants_client_certificate() && channel.common_name.as_deref() != Some(user) => {
                tracing::warn!(user, found = channel.common_name, "certificate authentication failed");
                Err(SqlError::new("28000", format!("certificate authentication failed for user \"{user}\"")))
            }
            None | Some(_) => Ok(()),
        }
    }

    /// Takes over what the client asks for as it connects.
    fn begin(&self, startup: &Startup) -> Result<(), SqlError> {
        let (settings, user) = (&self.session.settings, user(startup)?);
        // PostgreSQL's default is the database of the user's name, and here there is one.
        if let Some(database) = startup.parameters.get("database").filter(|name| !name.is_empty() && *name != user)
            && database != DATABASE
        {
            return Err(SqlError::new("3D000", format!("database \"{database}\" does not exist"))
                .hint(format!("There is one database: {DATABASE}.")));
        }
        for (name, value) in startup.parameters.get("options").map_or_else(Vec::new, |text| options(text)) {
            settings.start(&name, &value)?;
        }
        for (name, value) in &startup.parameters {
            if !["user", "database", "options", "replication"].contains(&name.as_str()) {
                settings.start(name, value)?;
            }
        }
        Ok(())
    }
}

/// The settings in `-c name=value --other=value`. A backslash keeps a space within a value.
fn options(text: &str) -> Vec<(String, String)> {
    let (mut words, mut escaped) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            c if c.is_whitespace() && !escaped => words.push(String::new()),
            c => {
                escaped = false;
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    let settings = words.iter().map(|word| word.strip_prefix("-c").or(word.strip_prefix("--")).unwrap_or(word));
    let pairs = settings.filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.replace('-', "_"), value.to_owned())).collect()
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                let user = user(&startup).map_err(SqlError::fatal)?.to_owned();
                self.check_channel(&user).map_err(SqlError::fatal)?;
                match self.gate.method {
                    AuthMethod::Trust => self.enter(client, &startup, &user).await,
                    AuthMethod::Scram => {
                        self.gate.wait(client.socket_addr().ip()).await;
                        let exchange = Exchange::Offered(self.gate.offer(&self.session.app.catalog(), &user));
                        *self.attempt.lock() = Some(Attempt { startup, user, exchange });
                        client.set_state(PgWireConnectionState::AuthenticationInProgress);
                        send(client, Authentication::SASL(vec![MECHANISM.to_owned()])).await
                    }
                }
            }
            PgWireFrontendMessage::PasswordMessageFamily(PasswordMessageFamily::Raw(body)) => {
                let attempt = self.attempt.lock().take();
                match attempt {
                    Some(attempt) => self.prove(client, attempt, body).await,
                    None => Err(malformed("nobody was asked for a password")),
                }
            }
            _ => Err(malformed("expected a SASL response")),
        }
    }
}

async fn send<C>(client: &mut C, message: Authentication) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    Ok(client.send(PgWireBackendMessage::Authentication(message)).await?)
}

/// The data of a client's first message: behind the name of its mechanism and a length.
fn initial_response(mut body: BytesMut) -> Result<BytesMut, PgWireError> {
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(|| malformed("invalid message format"))?;
    let mechanism = body.split_to(end);
    body.advance(1);
    if mechanism != MECHANISM.as_bytes() {
        return Err(malformed("client selected an invalid SASL authentication mechanism"));
    }
    let length = body.try_get_i32().map_err(|_| malformed("invalid message format"))?;
    match usize::try_from(length) {
        Ok(length) if length == body.len() => Ok(body),
        _ => Err(malformed("invalid message format")),
    }
}

impl Connection {
    /// One step of the exchange.
    async fn prove<C>(&self, client: &mut C, attempt: Attempt, body: BytesMut) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Attempt { startup, user, exchange } = attempt;
        match exchange {
            Exchange::Offered(offered) => {
                let first = initial_response(body)?;
                let (challenge, challenged) = offered.first(&first).map_err(SqlError::fatal)?;
                let exchange = Exchange::Challenged(challenged);
                *self.attempt.lock() = Some(Attempt { startup, user, exchange });
                send(client, Authentication::SASLContinue(Bytes::from(challenge))).await
            }
            Exchange::Challenged(challenged) => {
                let from = client.socket_addr().ip();
                match challenged.last(&body).map_err(SqlError::fatal)? {
                    Proved::Right(signature) => {
                        self.gate.succeeded(from);
                        send(client, Authentication::SASLFinal(Bytes::from(signature))).await?;
                        self.enter(client, &startup, &user).await
                    }
                    Proved::Wrong => Err(self.gate.failed(&user, from).fatal()),
                }
            }
        }
    }

    /// Lets a client in that is who it says.
    async fn enter<C>(&self, client: &mut C, startup: &Startup, user: &str) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let catalog = self.session.app.catalog();
        let role = self.gate.role(&catalog, user).map_err(SqlError::fatal)?;
        if let Some(role) = role
            && !catalog.may(role.id, Privilege::Connect, &Securable::Database)
        {
            let mut error = SqlError::new("42501", format!("permission denied for database \"{DATABASE}\""));
            error.detail = Some("User does not have CONNECT privilege.".to_owned());
            return Err(error.fatal());
        }
        let entered = self.sessions.enter(Arc::clone(&self.session.interrupts), role);
        let (pid, key, entry) = entered.map_err(SqlError::fatal)?;
        self.session.log_in(user, role.map(|role| role.id));
        self.begin(startup).map_err(SqlError::fatal)?;
        client.set_pid_and_secret_key(pid, SecretKey::I32(key));
        client.session_extensions().insert::<Entry>(entry);
        let told = self.session.settings.untold().into_iter().map(|(name, value)| (name.to_owned(), value));
        finish_authentication(client, &Parameters(told.collect())).await
    }
}

#[async_trait]
impl CancelHandler for Connection {
    async fn on_cancel_request(&self, request: CancelRequest) {
        if let Some(key) = request.secret_key.as_i32() {
            self.sessions.cancel(request.pid, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn startup_options_are_settings() {
        let pairs = |text: &str| {
            options(text).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
        };
        assert_eq!(pairs("-c statement_timeout=5s"), "statement_timeout=5s");
        assert_eq!(pairs("-cDateStyle=ISO --search-path=ebap"), "DateStyle=ISO;search_path=ebap");
        assert_eq!(pairs("-c  application_name=two\\ words"), "application_name=two words");
        assert_eq!(pairs(""), "");
    }
}
