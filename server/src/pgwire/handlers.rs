//! What a connection answers with, and the simple protocol.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use datafusion::{common::ParamValues, sql::sqlparser::ast};
use ebap_sql::{Parsed, Statement};
use futures::{Sink, SinkExt, StreamExt, stream};
use parking_lot::Mutex;
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, ErrorHandler, PgWireConnectionState,
        portal::Format,
        query::{SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query},
        results::{QueryResponse, Response, Tag},
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        response::{EmptyQueryResponse, NoticeResponse, TransactionStatus},
        simplequery::Query,
        startup::ParameterStatus,
    },
};

use super::{encode, extended::StatementParser, kept::Kept, sessions::Sessions, sqlstate::SqlError};
use crate::session::{Output, Planned, Session, on_own_task, parse};

pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) parser: Arc<StatementParser>,
    /// Names of what the client has prepared.
    pub(super) kept: Mutex<Kept>,
}

impl Connection {
    pub(super) fn new(session: Session, sessions: Arc<Sessions>) -> Self {
        let session = Arc::new(session);
        let parser = Arc::new(StatementParser::new(Arc::clone(&session)));
        let kept = Mutex::new(Kept::new(session.app.config.message_bytes_max));
        Self { session, sessions, parser, kept }
    }

    /// Runs a statement up to its first rows.
    pub(super) async fn answer(
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
                let zone = self.session.settings.zone();
                let fields = Arc::new(encode::fields(&schema, format));
                let encoded = Arc::clone(&fields);
                let rows = rows.flat_map(move |batch| match batch {
                    Ok(batch) => stream::iter(encode::rows(&batch, &schema, &encoded, &zone)).left_stream(),
                    Err(error) => stream::iter([Err(error.into())]).right_stream(),
                });
                let mut answer = QueryResponse::new(fields, rows);
                answer.set_command_tag(&tag);
                Response::Query(answer)
            }
        })
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
            let answer = self.answer(&parsed, None, &Format::UnifiedText).await;
            let answer = answer.map_err(|error| error.shifted(before))?;
            self.forget(client.portal_store(), &parsed.statement);
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

    /// Follows `DEALLOCATE` and `DISCARD ALL`, which are for statements of the extended protocol too.
    pub(super) fn forget(&self, store: &impl PortalStore, statement: &Statement) {
        let Statement::Query(query) = statement else { return };
        let mut kept = self.kept.lock();
        let names = match query.as_ref() {
            ast::Statement::Deallocate { name, .. } if !name.value.eq_ignore_ascii_case("all") => {
                kept.close_statement(&name.value);
                vec![name.value.clone()]
            }
            ast::Statement::Deallocate { .. } | ast::Statement::Discard { object_type: ast::DiscardObject::ALL } => {
                kept.close_statements()
            }
            _ => return,
        };
        names.iter().for_each(|name| store.rm_statement(name));
    }

    pub(super) fn status(&self) -> TransactionStatus {
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
