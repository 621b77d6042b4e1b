//! One connection's handlers: start, simple and extended protocol.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use arrow_pg::datatypes::{df::deserialize_parameters, into_pg_type};
use async_trait::async_trait;
use datafusion::{
    common::{
        ParamValues,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
    sql::sqlparser::ast,
};
use ebap_sql::{Parsed, Statement, parse};
use futures::{Sink, SinkExt, StreamExt, stream};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, ErrorHandler, PgWireConnectionState, Type,
        auth::{ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation},
        cancel::CancelHandler,
        portal::{Format, Portal, PortalExecutionState},
        query::{
            ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_partial_query_response,
            send_query_response, send_ready_for_query,
        },
        results::{FieldInfo, QueryResponse, Response, Tag},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage,
        cancel::CancelRequest,
        extendedquery::Execute,
        response::{EmptyQueryResponse, NoticeResponse, TransactionStatus},
        simplequery::Query,
        startup::{ParameterStatus, SecretKey, Startup},
    },
};

use super::{
    encode,
    sessions::{Entry, Sessions},
    sqlstate::{SqlError, from_query},
};
use crate::{
    session::{Output, Planned, Session, on_own_task},
    system::DATABASE,
};

pub(super) struct Connection {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    parser: Arc<StatementParser>,
}

impl Connection {
    pub(super) fn new(session: Session, sessions: Arc<Sessions>) -> Self {
        let session = Arc::new(session);
        let parser = Arc::new(StatementParser { session: Arc::clone(&session) });
        Self { session, sessions, parser }
    }

    /// Runs a statement up to its first rows.
    async fn answer(
        &self,
        parsed: &Arc<Parsed>,
        planned: Option<(Planned, ParamValues)>,
        format: &Format,
    ) -> Result<Response, SqlError> {
        let (session, statement) = (Arc::clone(&self.session), Arc::clone(parsed));
        let run = on_own_task(async move { session.run(&statement, planned).await });
        let output = match changes(&parsed.statement) {
            // What changes the catalog is done or not done, and the client is told which.
            true => run.await?,
            false => self.session.interrupts.current().or(run).await?,
        };
        Ok(match output {
            Output::Empty => Response::EmptyQuery,
            Output::Done(tag) => Response::Execution(Tag::new(&tag)),
            Output::Begun(tag) => Response::TransactionStart(Tag::new(&tag)),
            Output::Ended(tag) => Response::TransactionEnd(Tag::new(&tag)),
            Output::Rows { schema, rows, tag } => {
                let fields =
                    encode::fields(&schema, format).map_err(|error| SqlError::new("0A000", error.to_string()))?;
                let fields = Arc::new(fields);
                let encoded = Arc::clone(&fields);
                let rows = rows.flat_map(move |batch| {
                    let rows = batch.map_err(PgWireError::from).and_then(|batch| encode::rows(batch, &encoded));
                    stream::iter(rows.unwrap_or_else(|error| vec![Err(error)]))
                });
                let mut answer = QueryResponse::new(fields, rows);
                answer.set_command_tag(&tag);
                Response::Query(answer)
            }
        })
    }

    /// Notices of the statement, and settings it has changed.
    async fn notify<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        for notice in self.session.take_notices() {
            let info = SqlError::new("00000", notice).info("NOTICE");
            client.feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await?;
        }
        for (name, value) in self.session.settings.untold() {
            let status = ParameterStatus::new(name.to_owned(), value);
            client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(())
    }

    /// The statements of one message, one after the other; each answer is sent before the next begins.
    async fn simple<C>(&self, client: &mut C, text: &str) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let owned = text.to_owned();
        let all = on_own_task(async move { Ok(parse(&owned)?) }).await?;
        if all.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
            return Ok(());
        }
        if all.len() > 1 {
            self.session.begin_implicit();
        }
        let last = all.len() - 1;
        for (at, parsed) in all.into_iter().enumerate() {
            let before = text[..parsed.start].chars().count();
            self.session.interrupts.begin(self.session.settings.statement_timeout());
            let answer = self.answer(&Arc::new(parsed), None, &Format::UnifiedText).await;
            let answer = answer.map_err(|error| error.shifted(before))?;
            match answer {
                Response::Query(rows) => {
                    self.notify(client).await?;
                    send_query_response(client, rows, true).await?;
                    // `set_config` runs as its row is made, which may have been just now.
                    self.notify(client).await?;
                }
                Response::Execution(tag) | Response::TransactionStart(tag) | Response::TransactionEnd(tag) => {
                    if at == last {
                        // Before the client is told that all is done.
                        self.session.end_implicit(true).await?;
                    }
                    self.notify(client).await?;
                    send_execution_response(client, tag).await?;
                }
                _ => client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?,
            }
        }
        Ok(self.session.end_implicit(true).await?)
    }

    /// Runs a portal, or runs it on. Rows are sent as they come; pgwire's own would first keep them all.
    async fn execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = client.portal_store().get_portal(name);
        let portal = portal.ok_or_else(|| PgWireError::PortalNotFound(name.to_owned()))?;
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            match ExtendedQueryHandler::do_query(self, client, &portal, 0).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                Response::Execution(tag) | Response::TransactionStart(tag) | Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                }
                _ => client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?,
            }
        } else if matches!(*state, PortalExecutionState::Finished) {
            send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?;
        }
        if let PortalExecutionState::Suspended(rows) = &mut *state {
            let rows_max = usize::try_from(message.max_rows).unwrap_or(0);
            let sent = send_partial_query_response(client, rows, rows_max).await;
            if !matches!(sent, Ok(true)) {
                *state = PortalExecutionState::Finished;
            }
            sent?;
            self.notify(client).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    fn status(&self) -> TransactionStatus {
        if self.session.in_block() { TransactionStatus::Transaction } else { TransactionStatus::Idle }
    }
}

/// Whether the statement changes the catalog.
fn changes(statement: &Statement) -> bool {
    match statement {
        Statement::Create(_) | Statement::Alter { .. } | Statement::Drop { .. } | Statement::Comment { .. } => true,
        Statement::Query(query) => matches!(query.as_ref(), ast::Statement::Commit { .. } | ast::Statement::Insert(_)),
        _ => false,
    }
}

/// A statement of the extended protocol; empty text has none.
#[derive(Clone)]
pub(super) struct Prepared {
    parsed: Option<Arc<Parsed>>,
    planned: Option<Planned>,
    schema: Option<SchemaRef>,
}

pub(super) struct StatementParser {
    session: Arc<Session>,
}

async fn prepare(session: Arc<Session>, text: String) -> Result<Prepared, SqlError> {
    let mut all = parse(&text)?;
    if all.len() > 1 {
        return Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement"));
    }
    let Some(parsed) = all.pop() else { return Ok(Prepared { parsed: None, planned: None, schema: None }) };
    let mut prepared = Prepared { schema: session.answer_schema(&parsed.statement), parsed: None, planned: None };
    if let Statement::Query(query) = &parsed.statement
        && matches!(query.as_ref(), ast::Statement::Query(_))
    {
        session.refuse_in_failed_block(&parsed.statement)?;
        let before = text[..parsed.start].chars().count();
        let planned = session.plan(query, &parsed.text).await.map_err(|error| error.shifted(before))?;
        prepared.schema = Some(Arc::clone(&planned.schema));
        prepared.planned = Some(planned);
    }
    prepared.parsed = Some(Arc::new(parsed));
    Ok(prepared)
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Prepared>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        Ok(on_own_task(prepare(Arc::clone(&self.session), sql.to_owned())).await?)
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        let Some(planned) = &statement.planned else { return Ok(Vec::new()) };
        parameters(&planned.plan)?.iter().map(|of| of.as_ref().map_or(Ok(Type::TEXT), into_pg_type)).collect()
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        match &statement.schema {
            Some(schema) => encode::fields(schema, format.unwrap_or(&Format::UnifiedText)),
            None => Ok(Vec::new()),
        }
    }
}

/// Types of `$1`, `$2`, … as the plan infers them; that of a cast around one is its type, as in
/// PostgreSQL.
fn parameters(plan: &LogicalPlan) -> PgWireResult<Vec<Option<DataType>>> {
    let mut found = plan.get_parameter_types().map_err(|error| from_query(error, ""))?;
    let casts = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    let of = found.entry(placeholder.id.clone()).or_default();
                    of.get_or_insert_with(|| cast.data_type.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    casts.map_err(|error| from_query(error, ""))?;
    let mut numbered: Vec<(usize, Option<DataType>)> =
        found.into_iter().filter_map(|(name, of)| Some((name.trim_start_matches('$').parse().ok()?, of))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    let count = numbered.last().map_or(0, |(number, _)| *number);
    let mut types = vec![None; count];
    for (number, of) in numbered {
        if number > 0 {
            types[number - 1] = of;
        }
    }
    Ok(types)
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let done = self.simple(client, &query.query).await;
        self.session.interrupts.end();
        if let Err(error) = done {
            self.session.failed();
            self.session.end_implicit(false).await?;
            client.set_transaction_status(self.status());
            // What a rolled back block had set.
            self.notify(client).await?;
            return Err(error);
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        client.set_transaction_status(self.status());
        send_ready_for_query(client, self.status()).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(SqlError::new("XX000", "a simple query is answered in on_query").into())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Prepared;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.session.interrupts.begin(self.session.settings.statement_timeout());
        let done = self.execute(client, message).await;
        self.session.interrupts.end();
        if done.is_err() {
            self.session.failed();
            self.notify(client).await?;
        }
        client.set_transaction_status(self.status());
        done
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &portal.statement.statement;
        let Some(parsed) = &statement.parsed else { return Ok(Response::EmptyQuery) };
        let planned = match &statement.planned {
            Some(planned) => {
                let types = parameters(&planned.plan)?;
                let inferred: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
                Some((planned.clone(), deserialize_parameters(portal, &inferred)?))
            }
            None => None,
        };
        let answer = self.answer(parsed, planned, &portal.result_column_format).await?;
        self.notify(client).await?;
        Ok(answer)
    }
}

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

/// Errors of the protocol itself fail a transaction block like any other.
impl ErrorHandler for Connection {
    fn on_error<C>(&self, _: &C, error: &mut PgWireError)
    where
        C: ClientInfo,
    {
        self.session.failed();
        let name = |name: &str| name.replace(DEFAULT_NAME, "");
        let own = match error {
            PgWireError::StatementNotFound(found) => {
                SqlError::new("26000", format!("prepared statement \"{}\" does not exist", name(found)))
            }
            PgWireError::PortalNotFound(found) => {
                SqlError::new("34000", format!("portal \"{}\" does not exist", name(found)))
            }
            _ => return,
        };
        *error = own.into();
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
