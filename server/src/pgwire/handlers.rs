//! What a connection answers with, and the simple protocol.

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{common::ParamValues, sql::sqlparser::ast};
use ebap_sql::{Parsed, Statement};
use futures::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, ErrorHandler, PgWireConnectionState,
        portal::Format,
        query::{SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query},
        results::{FieldInfo, QueryResponse, Response, Tag},
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        data::DataRow,
        response::{EmptyQueryResponse, NoticeResponse, TransactionStatus},
        simplequery::Query,
        startup::ParameterStatus,
    },
};

use super::{
    connection::Channel,
    copy::{self, CopyOut},
    encode,
    extended::StatementParser,
    prepared::Named,
    sessions::Sessions,
    sqlstate::SqlError,
    startup::Attempt,
    tls::Tls,
};
use crate::auth::Gate;
use crate::session::{Output, Planned, Session, on_own_task, parse};

pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) gate: Arc<Gate>,
    pub(super) tls: Option<Arc<Tls>>,
    /// Set where the connection is encrypted.
    pub(super) channel: OnceLock<Channel>,
    /// A client that is not let in yet.
    pub(super) attempt: Mutex<Option<Attempt>>,
    pub(super) parser: Arc<StatementParser>,
    /// Statements that the client has prepared.
    pub(super) named: Arc<Mutex<Named>>,
}

/// The answer to a statement.
pub(super) enum Answer {
    Rows(QueryResponse),
    Copy(CopyOut),
    Done(Tag),
    Empty,
}

impl Connection {
    pub(super) fn new(session: Session, sessions: Arc<Sessions>, gate: Arc<Gate>, tls: Option<Arc<Tls>>) -> Self {
        let session = Arc::new(session);
        let named = Arc::new(Mutex::new(Named::new(session.app.config.message_bytes_max)));
        let parser = Arc::new(StatementParser::new(Arc::clone(&session), Arc::clone(&named)));
        let (channel, attempt) = (OnceLock::new(), Mutex::default());
        Self { session, sessions, gate, tls, channel, attempt, parser, named }
    }

    /// Runs a statement up to its first rows.
    pub(super) async fn answer(
        &self,
        parsed: &Arc<Parsed>,
        planned: Option<(Planned, ParamValues)>,
        format: &Format,
    ) -> Result<Answer, SqlError> {
        let (session, statement) = (Arc::clone(&self.session), Arc::clone(parsed));
        let run = on_own_task(async move { session.run(&statement, planned).await });
        let output = match changes(&parsed.statement) {
            // What changes the catalog is done or not done, and the client is told which.
            true => run.await?,
            false => self.session.interrupts.current().or(run).await?,
        };
        Ok(match output {
            Output::Empty => Answer::Empty,
            Output::Done(tag) | Output::Begun(tag) | Output::Ended(tag) => Answer::Done(Tag::new(&tag)),
            Output::Rows { schema, rows, tag, binary } => {
                let format = if binary { &Format::UnifiedBinary } else { format };
                let fields = Arc::new(encode::fields(&schema, format));
                let rows = self.encoded(schema, Arc::clone(&fields), rows);
                let mut answer = QueryResponse::new(fields, rows);
                answer.set_command_tag(&tag);
                Answer::Rows(answer)
            }
            Output::Copy { schema, rows, options } => {
                let fields = Arc::new(encode::fields(&schema, &copy::format_of(&options)));
                let rows = self.encoded(Arc::clone(&schema), fields, rows).boxed();
                Answer::Copy(CopyOut::new(&schema, options, rows)?)
            }
        })
    }

    fn encoded(
        &self,
        schema: SchemaRef,
        fields: Arc<Vec<FieldInfo>>,
        rows: BoxStream<'static, Result<RecordBatch, SqlError>>,
    ) -> impl Stream<Item = PgWireResult<DataRow>> + Send + use<> {
        let zone = self.session.settings.zone();
        rows.flat_map(move |batch| match batch {
            Ok(batch) => stream::iter(encode::rows(&batch, &schema, &fields, &zone)).left_stream(),
            Err(error) => stream::iter([Err(error.into())]).right_stream(),
        })
    }

    /// Runs any statement, those too that need what the connection keeps.
    pub(super) async fn perform(
        &self,
        parsed: &Arc<Parsed>,
        planned: Option<(Planned, ParamValues)>,
        format: &Format,
    ) -> Result<Answer, SqlError> {
        match &parsed.statement {
            Statement::Prepare(prepare) => {
                self.session.refuse_in_failed_block(&parsed.statement)?;
                self.prepare(parsed, prepare).await?;
                Ok(Answer::Done(Tag::new("PREPARE")))
            }
            Statement::Execute { name, values } => {
                self.session.refuse_in_failed_block(&parsed.statement)?;
                self.execute_named(name, values, format).await
            }
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
            | Statement::Declare(_)
            | Statement::Fetch { .. }
            | Statement::Close { .. }
            | Statement::Query(_) => self.answer(parsed, planned, format).await,
        }
    }

    /// Notices of the statement, and settings it has changed.
    pub(super) async fn notify<C>(&self, client: &mut C) -> PgWireResult<()>
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
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let owned = text.to_owned();
        let all = on_own_task(async move { parse(&owned) }).await?;
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
            let parsed = Arc::new(parsed);
            let answer = self.perform(&parsed, None, &Format::UnifiedText).await;
            let answer = answer.map_err(|error| error.shifted(before))?;
            for name in self.forgotten(&parsed.statement)? {
                client.portal_store().rm_statement(&name);
            }
            match answer {
                Answer::Copy(copy) => {
                    self.notify(client).await?;
                    copy.send(client).await?;
                    self.notify(client).await?;
                }
                Answer::Rows(rows) => {
                    self.notify(client).await?;
                    send_query_response(client, rows, true).await?;
                    // `set_config` runs as its row is made, which may have been just now.
                    self.notify(client).await?;
                }
                Answer::Done(tag) => {
                    if at == last {
                        // Before the client is told that all is done.
                        self.session.end_implicit(true).await?;
                    }
                    self.notify(client).await?;
                    send_execution_response(client, tag).await?;
                }
                Answer::Empty => {
                    client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                }
            }
        }
        Ok(self.session.end_implicit(true).await?)
    }

    pub(super) fn status(&self) -> TransactionStatus {
        if self.session.in_block() { TransactionStatus::Transaction } else { TransactionStatus::Idle }
    }
}

/// Whether the statement changes the catalog.
fn changes(statement: &Statement) -> bool {
    match statement {
        Statement::Create(_) | Statement::Alter { .. } | Statement::Drop { .. } | Statement::Comment { .. } => true,
        Statement::Role(_) => true,
        Statement::Query(query) => matches!(query.as_ref(), ast::Statement::Commit { .. } | ast::Statement::Insert(_)),
        _ => false,
    }
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
