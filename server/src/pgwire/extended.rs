//! The extended protocol: statements that are prepared, given their parameters, and run.

use std::{fmt::Debug, ops::ControlFlow, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::sql::sqlparser::ast;
use ebap_sql::{Parsed, Statement};
use futures::{Sink, SinkExt};
use parking_lot::Mutex;
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type,
        portal::{Format, Portal, PortalExecutionState},
        query::{
            ExtendedQueryHandler, send_describe_response, send_execution_response, send_partial_query_response,
            send_ready_for_query,
        },
        results::{DescribePortalResponse, FieldInfo, Response, Tag},
        stmt::{QueryParser, StoredStatement},
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        extendedquery::{
            Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, Sync,
            TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
        },
        response::EmptyQueryResponse,
    },
};

use super::{
    encode,
    handlers::{Answer, Connection},
    parameters::{self, PARAMETERS_MAX, Parameter},
    prepared::Named,
    sqlstate::SqlError,
};
use crate::session::{Planned, Session, guarded, on_own_task, parameter_number, parse};

/// A statement of the extended protocol; empty text has none.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) parsed: Option<Arc<Parsed>>,
    /// Made anew where it has become old.
    pub(super) planned: Option<Arc<Mutex<Planned>>>,
    schema: Option<SchemaRef>,
    pub(super) parameters: Vec<Parameter>,
}

pub(super) struct StatementParser {
    session: Arc<Session>,
    named: Arc<Mutex<Named>>,
}

impl StatementParser {
    pub(super) fn new(session: Arc<Session>, named: Arc<Mutex<Named>>) -> Self {
        Self { session, named }
    }

    /// The columns of what the statement answers with. Those of a cursor, and of what EXECUTE names, may be others by now.
    fn schema(&self, statement: &Prepared) -> Option<SchemaRef> {
        match statement.parsed.as_ref().map(|parsed| &parsed.statement) {
            Some(fetch @ Statement::Fetch { .. }) => self.session.answer_schema(fetch),
            Some(Statement::Execute { name, .. }) => self.named.lock().get(name)?.schema,
            Some(_) | None => statement.schema.clone(),
        }
    }
}

async fn prepare(session: Arc<Session>, text: String, declared: Vec<Option<Parameter>>) -> Result<Prepared, SqlError> {
    let mut all = parse(&text)?;
    if all.len() > 1 {
        return Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement"));
    }
    match all.pop() {
        Some(parsed) => {
            let before = text[..parsed.start].chars().count();
            prepare_query(session, parsed, declared).await.map_err(|error| error.shifted(before))
        }
        None => Ok(Prepared { parsed: None, planned: None, schema: None, parameters: Vec::new() }),
    }
}

/// The query of a statement, and of a cursor, is planned here; what else there is when it runs.
pub(super) async fn prepare_query(
    session: Arc<Session>,
    parsed: Parsed,
    declared: Vec<Option<Parameter>>,
) -> Result<Prepared, SqlError> {
    let mut prepared = Prepared { parsed: None, planned: None, schema: None, parameters: Vec::new() };
    prepared.schema = session.answer_schema(&parsed.statement);
    if let Some(query) = query_of(&parsed.statement) {
        session.refuse_in_failed_block(&parsed.statement)?;
        let declared = with_numbers(query, declared)?;
        let types: Vec<_> = declared.iter().map(|one| one.as_ref().map(Parameter::field)).collect();
        let planned = session.plan(query, &parsed.text, &types).await?;
        prepared.parameters = parameters::found(&planned.plan, &declared)?;
        if matches!(parsed.statement, Statement::Query(_)) {
            prepared.schema = Some(Arc::clone(&planned.schema));
        }
        prepared.planned = Some(Arc::new(Mutex::new(planned)));
    }
    prepared.parsed = Some(Arc::new(parsed));
    Ok(prepared)
}

/// Declares parameters that the statement casts to `oid`, where the client has not: an `oid` has four bytes, and is a BIGINT here.
fn with_numbers(
    query: &ast::Statement,
    mut declared: Vec<Option<Parameter>>,
) -> Result<Vec<Option<Parameter>>, SqlError> {
    let mut found = Vec::new();
    let _ = ast::visit_expressions(query, |expr| {
        if let ast::Expr::Cast { expr: of, data_type, .. } = expr
            && let ast::Expr::Value(value) = of.as_ref()
            && let ast::Value::Placeholder(id) = &value.value
            && let Some(at) = parameter_number(id)
        {
            match data_type.to_string().to_lowercase().as_str() {
                "oid" => found.push((at, Type::OID)),
                "oid[]" => found.push((at, Type::OID_ARRAY)),
                _ => {}
            }
        }
        ControlFlow::<()>::Continue(())
    });
    for (at, wire) in found.into_iter().filter(|(at, _)| *at < PARAMETERS_MAX) {
        if declared.len() <= at {
            declared.resize(at + 1, None);
        }
        if declared[at].is_none() {
            declared[at] = Parameter::declared(&wire)?;
        }
    }
    Ok(declared)
}

/// The query that parameters are of.
fn query_of(statement: &Statement) -> Option<&ast::Statement> {
    match statement {
        Statement::Query(query) => matches!(query.as_ref(), ast::Statement::Query(_)).then_some(query),
        Statement::Declare(declare) => Some(&declare.query),
        Statement::Create(_)
        | Statement::Alter { .. }
        | Statement::Drop { .. }
        | Statement::Comment { .. }
        | Statement::Role(_)
        | Statement::Show(_)
        | Statement::ShowCreate { .. }
        | Statement::Describe { .. }
        | Statement::Flush
        | Statement::Explain { .. }
        | Statement::ExplainView { .. }
        | Statement::ExplainAlert { .. }
        | Statement::Copy(_)
        | Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::Prepare(_)
        | Statement::Execute { .. } => None,
    }
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Prepared>
    where
        C: ClientInfo + Unpin + Send + std::marker::Sync,
    {
        let declared = types.iter().map(|of| of.as_ref().map_or(Ok(None), Parameter::declared));
        let declared = declared.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(on_own_task(prepare(Arc::clone(&self.session), sql.to_owned(), declared)).await?)
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameters.iter().map(|parameter| parameter.wire.clone()).collect())
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        Ok(self.schema(statement).map_or_else(Vec::new, |schema| encode::fields(&schema, format)))
    }
}

/// # Errors
/// 08P01 for counts that do not fit the statement, 22023 for a format that there is not.
fn check_bind(message: &Bind, statement: &Prepared, columns: usize) -> Result<(), SqlError> {
    let malformed = |message: String| Err(SqlError::new("08P01", message));
    let (formats, sent) = (message.parameter_format_codes.len(), message.parameters.len());
    if formats > 1 && formats != sent {
        return malformed(format!("bind message has {formats} parameter formats but {sent} parameters"));
    }
    let needed = statement.parameters.len();
    if sent != needed {
        return malformed(format!("bind message supplies {sent} parameters, but prepared statement requires {needed}"));
    }
    let formats = message.result_column_format_codes.len();
    if formats > 1 && formats != columns {
        return malformed(format!("bind message has {formats} result formats but query has {columns} columns"));
    }
    let codes = message.parameter_format_codes.iter().chain(&message.result_column_format_codes);
    match codes.copied().find(|code| !(0..=1).contains(code)) {
        Some(code) => Err(SqlError::new("22023", format!("unsupported format code: {code}"))),
        None => Ok(()),
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Prepared;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        self.named.lock().kept.room_for_statement(&name, message.query.len())?;
        let statement = StoredStatement::parse(client, &message, self.query_parser()).await?.statement;
        let types = statement.parameters.iter().map(|parameter| Some(parameter.wire.clone())).collect();
        self.named.lock().put(&name, message.query.len(), statement.clone());
        client.portal_store().put_statement(Arc::new(StoredStatement::new(name, statement, types)));
        client.send(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let statement = match client.portal_store().get_statement(name) {
            Some(statement) => statement,
            None => self.prepared_in_sql(name)?,
        };
        let columns = self.parser.schema(&statement.statement).map_or(0, |schema| schema.fields().len());
        check_bind(&message, &statement.statement, columns)?;
        let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let bytes = message.parameters.iter().flatten().map(bytes::Bytes::len).sum();
        self.named.lock().kept.portal(portal, bytes)?;
        client.portal_store().put_portal(Arc::new(Portal::try_new(&message, statement)?));
        client.send(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.named.lock().close(name);
                client.portal_store().rm_statement(name);
            }
            _ => {
                self.named.lock().kept.close_portal(name);
                client.portal_store().rm_portal(name);
            }
        }
        client.send(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _: Sync) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Outside of a block the transaction ends here, and a portal ends with its transaction.
        if !self.session.in_block() {
            self.named.lock().kept.close_portals();
            client.portal_store().clear_portals();
        }
        send_ready_for_query(client, client.transaction_status()).await
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
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

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        // A cursor of SQL is a portal too, and a statement of SQL one of the protocol.
        if message.target_type == TARGET_TYPE_BYTE_PORTAL {
            if let Some(schema) = self.session.cursor_schema(name) {
                let columns = encode::fields(&schema, &Format::UnifiedText);
                return send_describe_response(client, &DescribePortalResponse::new(columns)).await;
            }
        } else if client.portal_store().get_statement(name).is_none() {
            client.portal_store().put_statement(self.prepared_in_sql(name)?);
        }
        self._on_describe(client, message).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(SqlError::new("XX000", "a portal is run in on_execute").into())
    }
}

impl Connection {
    /// A statement of `PREPARE` as the protocol's store has it.
    fn prepared_in_sql(&self, name: &str) -> PgWireResult<Arc<StoredStatement<Prepared>>> {
        let statement = self.named.lock().get(name);
        let statement = statement.ok_or_else(|| PgWireError::StatementNotFound(name.to_owned()))?;
        let types = statement.parameters.iter().map(|parameter| Some(parameter.wire.clone())).collect();
        Ok(Arc::new(StoredStatement::new(name.to_owned(), statement, types)))
    }

    /// Runs a portal up to its first rows.
    async fn run_portal<C>(&self, client: &mut C, portal: &Portal<Prepared>) -> PgWireResult<Answer>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &portal.statement.statement;
        let Some(parsed) = &statement.parsed else { return Ok(Answer::Empty) };
        let planned = match &statement.planned {
            Some(planned) => {
                let planned = self.fresh(planned, statement, parsed).await?;
                let zone = self.session.settings.zone();
                let format = &portal.parameter_format;
                let values = guarded(|| parameters::values(&portal.parameters, format, &statement.parameters, &zone))?;
                Some((planned, values))
            }
            None => None,
        };
        let answer = self.perform(parsed, planned, &portal.result_column_format).await?;
        for name in self.forgotten(&parsed.statement)? {
            client.portal_store().rm_statement(&name);
        }
        self.notify(client).await?;
        Ok(answer)
    }

    /// The plan, made anew where the session has another time zone now, or a name may stand for another relation.
    ///
    /// # Errors
    /// 0A000 where it has other columns now than the client was told of, as PostgreSQL has it.
    pub(super) async fn fresh(
        &self,
        kept: &Mutex<Planned>,
        statement: &Prepared,
        parsed: &Arc<Parsed>,
    ) -> Result<Planned, SqlError> {
        let planned = kept.lock().clone();
        if self.session.is_fresh(&planned) {
            return Ok(planned);
        }
        let types: Vec<_> = statement.parameters.iter().map(|parameter| Some(parameter.field())).collect();
        let (session, parsed) = (Arc::clone(&self.session), Arc::clone(parsed));
        let anew = on_own_task(async move {
            match query_of(&parsed.statement) {
                Some(query) => session.plan(query, &parsed.text, &types).await,
                None => Err(SqlError::new("XX000", "a statement without a plan was planned")),
            }
        })
        .await?;
        let columns = |planned: &Planned| {
            let fields = planned.schema.fields().iter();
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
        };
        if columns(&anew) != columns(&planned) {
            return Err(SqlError::new("0A000", "cached plan must not change result type"));
        }
        kept.lock().clone_from(&anew);
        Ok(anew)
    }

    /// Runs a portal, or runs it on. Rows are sent as they come; pgwire's own would first keep them all.
    async fn execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
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
            match self.run_portal(client, &portal).await? {
                Answer::Rows(rows) => *state = PortalExecutionState::Suspended(rows),
                Answer::Done(tag) => send_execution_response(client, tag).await?,
                Answer::Copy(copy) => {
                    *state = PortalExecutionState::Finished;
                    copy.send(client).await?;
                    self.notify(client).await?;
                }
                Answer::Empty => {
                    client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                }
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
}
