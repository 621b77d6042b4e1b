//! One client's session: its settings, its transaction block, and what each statement does.

mod bounds;
mod change;
mod cursors;
mod functions;
mod interrupt;
mod parameters;
mod rights;
mod set;
mod settings;
mod show;
mod sized;
mod transaction;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, SchemaRef},
};
use datafusion::{
    common::{ParamValues, runtime::SpawnedTask},
    error::Result as DataFusionResult,
    execution::SessionState,
    logical_expr::LogicalPlan,
    prelude::DataFrame,
    sql::{parser::Statement as DataFusionStatement, sqlparser::ast},
};
use ebap_catalog::{BOOTSTRAP_ROLE, Catalog, RoleId};
use ebap_sql::{Copy, CopyOptions, Parsed, ShowKind, Statement};
use ebap_stream::MemoryBudget;
use ebap_values::time::Zone;
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    app::App,
    memory::exhausted,
    pgwire::sqlstate::{SqlError, from_query},
    system::Surroundings,
};
pub(crate) use bounds::parse;
use cursors::Cursors;
pub(crate) use functions::probe;
pub(crate) use interrupt::{Interrupts, guarded, on_own_task};
pub(crate) use parameters::parameter_number;
pub(crate) use settings::Settings;
pub(crate) use show::type_name;
use transaction::Transaction;

type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Batches that a query computes before they are asked for.
const BATCHES_AHEAD: usize = 1;

/// Notices of one statement, at the most.
const NOTICES_MAX: usize = 1_000;

/// What a statement answers with.
pub(crate) enum Output {
    Rows {
        /// As the client is told of the columns.
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
        tag: String,
        /// In the binary format, whatever the client has asked for.
        binary: bool,
    },
    /// The rows of `COPY … TO STDOUT`.
    Copy {
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
        options: CopyOptions,
    },
    Done(String),
    /// The session is in a transaction block that has not failed.
    Begun(String),
    /// It is in none.
    Ended(String),
    Empty,
}

/// A query that can run.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) plan: LogicalPlan,
    /// As the client is told of the columns.
    pub(crate) schema: SchemaRef,
    /// Whose clock its operators read.
    pub(crate) zone: Zone,
    /// That of the relations that it reads: see `Engine::generation`.
    pub(crate) generation: u64,
}

pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    surroundings: Surroundings,
    pub(crate) settings: Arc<Settings>,
    pub(crate) interrupts: Arc<Interrupts>,
    transaction: Mutex<Option<Transaction>>,
    cursors: Arc<Mutex<Cursors>>,
    /// Notices of the statement that runs.
    notices: Mutex<Vec<String>>,
}

impl Session {
    pub(crate) fn new(app: Arc<App>, surroundings: Surroundings, settings: Arc<Settings>) -> Self {
        Self {
            app,
            surroundings,
            settings,
            interrupts: Arc::default(),
            transaction: Mutex::default(),
            cursors: Arc::default(),
            notices: Mutex::default(),
        }
    }

    /// Takes over who the client is, once it is known. Where anybody may come in, those of no role are superusers.
    pub(crate) fn log_in(&self, user: &str, role: Option<RoleId>) {
        let role = role.unwrap_or(BOOTSTRAP_ROLE);
        self.settings.authorize(user, role, self.app.catalog().roles.is_superuser(role));
    }

    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock())
    }

    fn notice(&self, text: impl Into<String>) {
        let mut notices = self.notices.lock();
        if notices.len() < NOTICES_MAX {
            notices.push(text.into());
        }
    }

    /// The catalog as this session's next DDL sees it.
    fn catalog(&self) -> Arc<Catalog> {
        match self.transaction.lock().as_ref() {
            Some(block) => Arc::new(block.catalog().clone()),
            None => self.app.catalog(),
        }
    }

    /// Whether a transaction block is open; it may have failed.
    pub(crate) fn in_block(&self) -> bool {
        self.transaction.lock().as_ref().is_some_and(|block| !block.implicit)
    }

    /// # Errors
    /// 25P02 where the transaction block has failed and the statement does not end it.
    pub(crate) fn refuse_in_failed_block(&self, statement: &Statement) -> Result<()> {
        let ends = matches!(statement, Statement::Query(query)
            if matches!(query.as_ref(), ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }));
        if !ends && self.transaction.lock().as_ref().is_some_and(|block| block.failed) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new("25P02", message));
        }
        Ok(())
    }

    /// The plan of a query; what else sqlparser knows is not supported. `declared`: types of parameters, where the
    /// client has declared them.
    pub(crate) async fn plan(
        &self,
        statement: &ast::Statement,
        text: &str,
        declared: &[Option<FieldRef>],
    ) -> Result<Planned> {
        // Before anything is looked up.
        let generation = self.app.engine.generation();
        let mut understood = self.surroundings.understood(statement, text, &self.catalog())?;
        ebap_sql::desugar(&mut understood)?;
        // Behind it, as two spellings may have become one.
        let understood = ebap_sql::distinct_columns(understood);
        let zone = self.settings.zone();
        let plan = self.logical_plan(understood.clone()).await;
        let plan = match plan.and_then(|plan| parameters::declare(plan, declared)) {
            Ok(plan) => ebap_sql::resolve(&self.zoned_state(&zone), plan, text)?,
            Err(error) => {
                let error = from_query(error, text);
                return Err(match functions::unknown(&error) {
                    Some(name) => self.with_argument_types(&name, understood, error).await,
                    None => self.not_yet(error),
                });
            }
        };
        if matches!(&plan, LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_)) {
            return Err(SqlError::new("0A000", "the statement is not supported")
                .hint("Data come in through streams and tables."));
        }
        let plan = sized::bounded(plan, &self.app.config.engine.memory).map_err(|error| from_query(error, text))?;
        let schema = ebap_sql::named_columns(statement, plan.schema().as_arrow());
        Ok(Planned { plan, schema, zone, generation })
    }

    /// What plans and runs a query. Types of columns do not depend on the zone, operators and functions do.
    fn zoned_state(&self, zone: &Zone) -> SessionState {
        let mut state = self.surroundings.context.state();
        state.config_mut().options_mut().execution.time_zone = Some(zone.name().to_owned());
        // Functions over columns see the settings of when the execution began.
        state.mark_start_execution();
        state
    }

    async fn logical_plan(&self, statement: ast::Statement) -> DataFusionResult<LogicalPlan> {
        let state = self.surroundings.context.state();
        state.statement_to_plan(DataFusionStatement::Statement(Box::new(statement))).await
    }

    /// Names the arguments of a function that does not exist: the types are what is wrong, often. They are
    /// found by planning the call as one of a function that takes anything.
    async fn with_argument_types(&self, name: &str, statement: ast::Statement, error: SqlError) -> SqlError {
        let call = self.logical_plan(functions::probing(name, statement)).await;
        match call.err().and_then(|found| functions::probed(&found)) {
            Some(types) => functions::does_not_exist(name, &types, error.position),
            None => error,
        }
    }

    /// A relation made in this block cannot be read before it is there for all.
    fn not_yet(&self, error: SqlError) -> SqlError {
        let transaction = self.transaction.lock();
        let Some(block) = transaction.as_ref().filter(|_| error.code == "42P01") else { return error };
        let durable = self.app.catalog();
        let made = block.catalog().objects().filter(|object| object.kind.is_relation());
        let mut made = made.filter(|object| durable.relation(&object.name).is_none());
        let Some(object) = made.find(|object| error.message == format!("relation \"{}\" does not exist", object.name))
        else {
            return error;
        };
        let message = format!("{} \"{}\" cannot be read in the transaction that creates it", object.kind, object.name);
        SqlError { position: error.position, ..SqlError::new("0A000", message).hint("Read it after COMMIT.") }
    }

    /// Runs one statement. `planned`: its plan, where the extended protocol has made it already.
    pub(crate) async fn run(&self, parsed: &Parsed, planned: Option<(Planned, ParamValues)>) -> Result<Output> {
        self.refuse_in_failed_block(&parsed.statement)?;
        match &parsed.statement {
            Statement::Create(_)
            | Statement::Alter { .. }
            | Statement::Drop { .. }
            | Statement::Comment { .. }
            | Statement::Role(_) => self.change(parsed).await,
            Statement::Show(ShowKind::Objects(kind)) => self.show_objects(*kind),
            Statement::Show(ShowKind::Jobs) => {
                self.select("SELECT name, kind, source, state, message FROM ebap.jobs ORDER BY name").await
            }
            Statement::Show(ShowKind::Alerts) => {
                let columns = "name, key, state, CAST(since AS TEXT) AS since, CAST(value AS TEXT) AS value, summary";
                self.select(&format!("SELECT {columns} FROM ebap.alerts ORDER BY name, key")).await
            }
            Statement::ShowCreate { kind, name } => self.show_create(*kind, name),
            Statement::Describe { name } => self.describe(name).await,
            Statement::Flush => {
                self.app.engine.flush().await?;
                Ok(Output::Done("FLUSH".to_owned()))
            }
            Statement::Explain { analyze, verbose, statement } => {
                self.explain(*analyze, *verbose, statement, &parsed.text).await
            }
            Statement::ExplainAlert { name } => self.explain_alert(name),
            Statement::ExplainView { analyze, name } => self.explain_view(*analyze, name),
            Statement::Copy(copy) => self.copy(copy, &parsed.text).await,
            Statement::Declare(declare) => self.declare(declare, planned, &parsed.text).await,
            Statement::Fetch { name, direction, moves } => self.fetch(name, *direction, *moves).await,
            Statement::Close { name } => self.close(name.as_deref()),
            // Whoever has the connection keeps what is prepared.
            Statement::Prepare(_) | Statement::Execute { .. } => {
                Err(SqlError::new("0A000", "PREPARE and EXECUTE within another statement are not supported"))
            }
            Statement::Query(query) => match planned {
                Some((Planned { plan, schema, zone, generation }, values)) => {
                    let plan = plan.with_param_values(values).map_err(|error| from_query(error, &parsed.text))?;
                    self.execute(Planned { plan, schema, zone, generation }, &parsed.text).await
                }
                None => self.query(query, &parsed.text).await,
            },
        }
    }

    /// Whether the plan is what the same text would give now.
    pub(crate) fn is_fresh(&self, planned: &Planned) -> bool {
        planned.zone == self.settings.zone() && planned.generation == self.app.engine.generation()
    }

    async fn query(&self, query: &ast::Statement, text: &str) -> Result<Output> {
        match query {
            ast::Statement::StartTransaction { .. } => Ok(self.begin()),
            ast::Statement::Commit { .. } => self.commit().await,
            ast::Statement::Rollback { savepoint, .. } => self.roll_back(savepoint.as_ref()),
            ast::Statement::Savepoint { name } => self.savepoint(name),
            ast::Statement::ReleaseSavepoint { name } => self.release(name),
            ast::Statement::Set(set) => self.set_statement(set),
            ast::Statement::Reset(reset) => self.reset(&reset.reset),
            ast::Statement::Discard { object_type } => {
                if matches!(object_type, ast::DiscardObject::ALL) {
                    self.settings.reset_all();
                    self.cursors.lock().close_all();
                }
                Ok(Output::Done(format!("DISCARD {object_type}")))
            }
            ast::Statement::Deallocate { name, .. } => {
                let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                Ok(Output::Done(if all { "DEALLOCATE ALL" } else { "DEALLOCATE" }.to_owned()))
            }
            // Nobody listens; asyncpg says it as a connection goes back into its pool.
            ast::Statement::UNLISTEN { .. } => Ok(Output::Done("UNLISTEN".to_owned())),
            ast::Statement::ShowVariable { variable } => self.show_setting(variable),
            ast::Statement::Insert(insert) => self.insert(insert).await,
            query => {
                let planned = self.plan(query, text, &[]).await?;
                self.execute(planned, text).await
            }
        }
    }

    /// By the durable catalog alone: a block that began before a `REVOKE` must not read on.
    ///
    /// # Errors
    /// 42501 where the session's current role may not read what the query names.
    pub(super) async fn permitted(&self, plan: LogicalPlan, text: &str) -> Result<LogicalPlan> {
        rights::permitted(self, plan, text).await
    }

    /// Starts the query on a task of its own. Whoever reads the rows stops at an interrupt, and the
    /// task ends with the reader.
    async fn execute(&self, planned: Planned, text: &str) -> Result<Output> {
        let failed = |error| from_query(error, text);
        // Whoever has values of parameters has put them in before.
        if let Some(name) = planned.plan.get_parameter_names().map_err(failed)?.into_iter().min() {
            return Err(SqlError::new("42P02", format!("there is no parameter {name}")));
        }
        let plan = self.permitted(planned.plan, text).await?;
        let plan = self.app.engine.at_one_step(plan).map_err(failed)?;
        let state = self.zoned_state(&planned.zone);
        let mut stream = DataFrame::new(state, plan).execute_stream().await.map_err(failed)?;
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let task = SpawnedTask::spawn(async move {
            while let Some(batch) = stream.next().await {
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
        });
        let reader = Reader {
            batches: receiver,
            task: Some(task),
            interrupts: Arc::clone(&self.interrupts),
            memory: self.app.config.engine.memory.clone(),
            text: text.to_owned(),
        };
        let rows = futures::stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Output::Rows { schema: planned.schema, rows: rows.boxed(), tag: "SELECT".to_owned(), binary: false })
    }

    async fn copy(&self, copy: &Copy, text: &str) -> Result<Output> {
        let planned = match &copy.text {
            None => self.plan(&copy.query, text, &[]).await?,
            // The query is ours, and so are its positions.
            Some(own) => {
                self.plan(&copy.query, own, &[]).await.map_err(|error| SqlError { position: None, ..error })?
            }
        };
        match self.execute(planned, text).await? {
            Output::Rows { schema, rows, .. } => Ok(Output::Copy { schema, rows, options: copy.options.clone() }),
            other => Ok(other),
        }
    }

    async fn select(&self, text: &str) -> Result<Output> {
        match parse(text)?.into_iter().next() {
            Some(Parsed { statement: Statement::Query(query), text, .. }) => {
                let planned = self.plan(&query, &text, &[]).await?;
                self.execute(planned, &text).await
            }
            _ => Ok(Output::Empty),
        }
    }
}

/// The rows of a query that runs.
struct Reader {
    batches: mpsc::Receiver<DataFusionResult<RecordBatch>>,
    task: Option<SpawnedTask<()>>,
    interrupts: Arc<Interrupts>,
    memory: MemoryBudget,
    /// Of the statement, for positions.
    text: String,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        // The one of now: a cursor is read by several statements.
        let interrupt = self.interrupts.current();
        let Self { batches, task, text, memory, .. } = self;
        let batch = interrupt.or(async {
            match batches.recv().await {
                Some(batch) => batch.map(Some).map_err(|error| from_query(error, text)),
                None => Ok(None),
            }
        });
        // What functions make is in no reservation, and shows here.
        if memory.is_exceeded_by(0) {
            return Err(from_query(exhausted("the server", memory.limit(), "memory_limit"), text));
        }
        let Some(batch) = batch.await? else {
            return match task.take() {
                Some(task) => task.join().await.map(|()| None).map_err(interrupt::panicked),
                None => Ok(None),
            };
        };
        Ok(Some(batch))
    }
}
