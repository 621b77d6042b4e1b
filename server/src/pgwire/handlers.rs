//! One connection's handlers: start, simple and extended protocol.

use std::{fmt::Debug, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use arrow_pg::datatypes::{df::deserialize_parameters, into_pg_type};
use async_trait::async_trait;
use datafusion::{common::ParamValues, logical_expr::LogicalPlan};
use ebap_sql::{Parsed, Statement, parse};
use futures::{Sink, SinkExt, StreamExt};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, ConnectionManager, PgWireServerHandlers, Type,
        auth::{DefaultServerParameterProvider, StartupHandler},
        cancel::{CancelHandler, DefaultCancelHandler},
        portal::{Format, Portal},
        query::{ExtendedQueryHandler, SimpleQueryHandler},
        results::{FieldInfo, QueryResponse, Response, Tag},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, response::NoticeResponse},
};

use super::{
    encode,
    sqlstate::{SqlError, from_query},
};
use crate::{
    session::{Output, Session},
    system::SERVER_VERSION,
};

pub(super) struct Connection {
    session: Arc<Session>,
    manager: Arc<ConnectionManager>,
    parser: Arc<StatementParser>,
}

impl Connection {
    pub(super) fn new(session: Session, manager: Arc<ConnectionManager>) -> Self {
        let session = Arc::new(session);
        let parser = Arc::new(StatementParser { session: Arc::clone(&session) });
        Self { session, manager, parser }
    }
}

/// A statement of the extended protocol; empty text has none.
#[derive(Clone)]
pub(super) struct Prepared {
    parsed: Option<Arc<Parsed>>,
    plan: Option<LogicalPlan>,
    schema: Option<SchemaRef>,
}

pub(super) struct StatementParser {
    session: Arc<Session>,
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Prepared>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut all = parse(sql).map_err(SqlError::from)?;
        if all.len() > 1 {
            return Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        let Some(parsed) = all.pop() else { return Ok(Prepared { parsed: None, plan: None, schema: None }) };
        let mut schema = self.session.answer_schema(&parsed.statement);
        let mut plan = None;
        if let Statement::Query(query) = &parsed.statement
            && matches!(query.as_ref(), datafusion::sql::sqlparser::ast::Statement::Query(_))
        {
            let planned = self.session.plan(query, &parsed.text).await?;
            schema = Some(Arc::new(planned.schema().as_arrow().clone()));
            plan = Some(planned);
        }
        Ok(Prepared { parsed: Some(Arc::new(parsed)), plan, schema })
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        let Some(plan) = &statement.plan else { return Ok(Vec::new()) };
        parameters(plan)?.iter().map(|of| of.as_ref().map_or(Ok(Type::TEXT), into_pg_type)).collect()
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        match &statement.schema {
            Some(schema) => encode::fields(schema, format.unwrap_or(&Format::UnifiedText)),
            None => Ok(Vec::new()),
        }
    }
}

/// Types of `$1`, `$2`, … as the plan infers them.
fn parameters(plan: &LogicalPlan) -> PgWireResult<Vec<Option<DataType>>> {
    let found = plan.get_parameter_types().map_err(|error| from_query(error, ""))?;
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
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let all = parse(query).map_err(|error| {
            self.session.failed();
            SqlError::from(error)
        })?;
        if all.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        if all.len() > 1 {
            self.session.begin_implicit();
        }
        let mut answers = Vec::with_capacity(all.len());
        for parsed in &all {
            let before = query[..parsed.start].chars().count();
            match self.answer(parsed, None, &Format::UnifiedText).await {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    self.session.failed();
                    self.session.end_implicit(false).await?;
                    return Err(error.shifted(before).into());
                }
            }
            self.notify(client).await?;
        }
        self.session.end_implicit(true).await?;
        Ok(answers)
    }
}

impl Connection {
    async fn answer(
        &self,
        parsed: &Parsed,
        planned: Option<(LogicalPlan, ParamValues)>,
        format: &Format,
    ) -> Result<Response, SqlError> {
        let timeout = self.session.statement_timeout();
        let cancelled = || SqlError::new("57014", "canceling statement due to statement timeout");
        let run = self.session.run(parsed, planned);
        let output = match timeout {
            Some(limit) => tokio::time::timeout(limit, run).await.map_err(|_| cancelled())??,
            None => run.await?,
        };
        Ok(match output {
            Output::Empty => Response::EmptyQuery,
            Output::Done(tag) => Response::Execution(Tag::new(&tag)),
            Output::Begun => Response::TransactionStart(Tag::new("BEGIN")),
            Output::Ended(tag) => Response::TransactionEnd(Tag::new(&tag)),
            Output::Rows { schema, rows, tag } => {
                let fields =
                    encode::fields(&schema, format).map_err(|error| SqlError::new("0A000", error.to_string()))?;
                let fields = Arc::new(fields);
                let (text, encoded) = (parsed.text.clone(), Arc::clone(&fields));
                let rows = rows.flat_map(move |batch| {
                    let rows = batch
                        .map_err(|error| PgWireError::from(from_query(error, &text)))
                        .and_then(|batch| encode::rows(batch, &encoded));
                    futures::stream::iter(rows.unwrap_or_else(|error| vec![Err(error)]))
                });
                let mut answer = QueryResponse::new(fields, rows);
                answer.set_command_tag(&tag);
                Response::Query(answer)
            }
        })
    }

    async fn notify<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        for notice in self.session.take_notices() {
            let info = SqlError::new("00000", notice).info("NOTICE");
            client.feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Prepared;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
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
        let planned = match &statement.plan {
            Some(plan) => {
                let types = parameters(plan)?;
                let inferred: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
                Some((plan.clone(), deserialize_parameters(portal, &inferred)?))
            }
            None => None,
        };
        let answer = self.answer(parsed, planned, &portal.result_column_format).await;
        if answer.is_err() {
            self.session.failed();
        }
        self.notify(client).await?;
        Ok(answer?)
    }
}

/// Tells the client who it talks to.
fn parameters_of_server() -> DefaultServerParameterProvider {
    let mut provider = DefaultServerParameterProvider::default();
    provider.server_version = SERVER_VERSION.to_owned();
    provider
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: pgwire::messages::PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        use pgwire::api::auth::{finish_authentication, protocol_negotiation, save_startup_parameters_to_metadata};
        if let pgwire::messages::PgWireFrontendMessage::Startup(startup) = &message {
            protocol_negotiation(client, startup).await?;
            save_startup_parameters_to_metadata(client, startup);
            for (name, value) in &startup.parameters {
                if !["user", "database", "options", "replication"].contains(&name.as_str()) {
                    self.session.set(name, value);
                }
            }
            let (handle, guard) = {
                finish_authentication(client, &parameters_of_server()).await?;
                let (pid, key) = client.pid_and_secret_key();
                self.manager.register(pid, key)
            };
            client.session_extensions().insert(handle);
            client.session_extensions().insert(guard);
        }
        Ok(())
    }
}

/// Handlers shared by reference: a connection has one of each.
pub(super) struct Handlers(pub(super) Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.0.manager)))
    }
}
