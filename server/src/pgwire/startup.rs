//! How a session begins, and how its statement is cancelled from another connection.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::Sink;
use pgwire::{
    api::{
        ClientInfo,
        auth::{ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation},
        cancel::CancelHandler,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage,
        cancel::CancelRequest,
        startup::{SecretKey, Startup},
    },
};

use super::{handlers::Connection, sessions::Entry, sqlstate::SqlError};
use crate::system::DATABASE;

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

impl Connection {
    /// Takes over what the client asks for as it connects.
    fn begin(&self, startup: &Startup) -> Result<(), SqlError> {
        let settings = &self.session.settings;
        let Some(user) = startup.parameters.get("user").filter(|user| !user.is_empty()) else {
            return Err(SqlError::new("28000", "no PostgreSQL user name specified in startup packet"));
        };
        // PostgreSQL's default is the database of the user's name, and here there is one.
        if let Some(database) = startup.parameters.get("database").filter(|name| !name.is_empty() && *name != user)
            && database != DATABASE
        {
            return Err(SqlError::new("3D000", format!("database \"{database}\" does not exist"))
                .hint(format!("There is one database: {DATABASE}.")));
        }
        settings.authorize(user);
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
        let PgWireFrontendMessage::Startup(startup) = &message else { return Ok(()) };
        protocol_negotiation(client, startup).await?;
        self.begin(startup).map_err(SqlError::fatal)?;
        let (pid, key, entry) = self.sessions.enter(Arc::clone(&self.session.interrupts));
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
