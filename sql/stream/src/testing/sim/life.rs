//! One process from its start to its death or its end, on one thread under the simulated clock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};
use datafusion::{execution::SessionState, prelude::SessionContext};
use ebap_catalog::Catalog;
use ebap_connector::time::Clock;
use ebap_sql::{apply, parse, plan_catalog, session_config, session_state};
use futures::FutureExt;

use super::{
    cases,
    connectors::SimConnectors,
    oracle,
    store::{Shown, SimStore},
    world::{Kill, Process, World},
};
use crate::{Engine, EngineConfig};

/// Attempts of `FLUSH` before it counts as never succeeding.
const FLUSHES_MAX: usize = 300;
/// Longer than an alert waits for data.
const SILENCE: Duration = Duration::from_secs(8);
/// Between two looks at a view.
const LOOK: Duration = Duration::from_millis(2_300);

/// How a process ended.
#[derive(Debug)]
pub(super) enum End {
    Killed,
    /// All was read; what readers saw last.
    Finished(Box<Ending>),
}

/// What there is to see when all has been read and nothing runs any more.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) shown: Vec<Shown>,
    /// `SELECT … FROM events` as the engine answers it.
    pub(super) events: String,
    /// `events$late`, its ids.
    pub(super) late: String,
    /// `events$dlq`: partition and offset.
    pub(super) dead_letters: String,
    /// Jobs and sinks that are not running.
    pub(super) stopped: String,
    /// `alert_history`, in its order.
    pub(super) alerts: Vec<Decided>,
    /// Keys of an alert that are in another state than the last of their history, or not silent where all is.
    pub(super) odd_alerts: String,
}

/// A change of state of one key of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) alert: String,
    pub(super) key: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) at_us: i64,
    pub(super) decided_us: i64,
}

pub(super) const EVENTS_COLUMNS: &str =
    "SELECT id, region, amount, timestamp, _late, _watermark FROM events ORDER BY 1";

/// What was wrong as a reader saw it, while all went on.
pub(super) type Complaints = Vec<String>;

/// Runs a process over the world. A `kill` ends it there, if it gets there; otherwise it reads all,
/// flushes, and is killed right then, or ended in order where it is the `last`.
pub(super) fn live(
    world: &Arc<World>,
    catalog: &mut Catalog,
    config: &EngineConfig,
    kill: Option<Kill>,
    last: bool,
    complaints: &mut Complaints,
) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let process = Process::new(world, kill);
    let end = runtime.block_on(async {
        tokio::select! {
            biased;
            () = process.died() => End::Killed,
            ending = run(&process, catalog, config, last, complaints) => End::Finished(Box::new(ending)),
            () = world.clock.run() => unreachable!("time does not end"),
        }
    });
    *process.observe.lock() = None;
    // All its tasks are gone with it, wherever they stood.
    drop(runtime);
    end
}

async fn run(
    process: &Arc<Process>,
    catalog: &mut Catalog,
    config: &EngineConfig,
    last: bool,
    complaints: &mut Complaints,
) -> Ending {
    let world = &process.world;
    let engine = start(process, config);
    if catalog.objects().next().is_none() {
        let views = cases::FIRST.iter().map(|case| case.create);
        let sinks = cases::SINKS.iter().map(|(_, _, create)| *create);
        for sql in [cases::EVENTS, cases::USERS].into_iter().chain(views).chain(sinks).chain(cases::ALERTS) {
            *catalog = with(catalog, sql);
        }
    }
    reconcile(&engine, catalog).await;
    loop {
        let now_us = world.clock.now_us();
        let whole = catalog.objects().any(|object| object.name == "users");
        if whole && now_us >= world.script.later_us && catalog.objects().all(|object| object.name != cases::LATER.name)
        {
            *catalog = with(catalog, cases::LATER.create);
            reconcile(&engine, catalog).await;
        }
        if now_us >= world.script.end_us {
            break;
        }
        world.clock.sleep(LOOK).await;
        complaints.extend(sizes_add_up(&engine).await);
    }
    flush(&engine, world).await;
    let mut ending = Ending::default();
    if last {
        world.quiet.store(true, std::sync::atomic::Ordering::Relaxed);
        flush(&engine, world).await;
        // Until nothing has come for so long that it is told of, and everybody has heard of it.
        world.clock.sleep(SILENCE).await;
        flush(&engine, world).await;
        world.clock.sleep(SILENCE).await;
        ending.alerts = decided(&engine).await;
        ending.odd_alerts = query(
            &engine,
            "SELECT name, key, state FROM alerts WHERE name = 'quiet' AND state <> 'firing' OR message IS NOT NULL",
        )
        .await;
        ending.events = query(&engine, EVENTS_COLUMNS).await;
        ending.late = query(&engine, "SELECT id FROM \"events$late\" ORDER BY 1").await;
        ending.dead_letters = query(&engine, "SELECT _partition, _offset FROM \"events$dlq\" ORDER BY 1, 2").await;
        ending.stopped = query(
            &engine,
            "SELECT name, state, message FROM jobs WHERE state <> 'running'
                UNION ALL SELECT name, state, message FROM sinks WHERE state <> 'running'",
        )
        .await;
        let state = SessionContext::new().state();
        // Tables go with their pipelines, views stay as the last epoch left them.
        ending.shown = shown(&engine, &state).into_iter().filter(|(name, _)| name == "users").collect();
        engine.shutdown().await;
        ending.shown.extend(shown(&engine, &state));
    }
    ending
}

pub(super) fn start(process: &Arc<Process>, config: &EngineConfig) -> Arc<Engine> {
    let (store, connectors) = (SimStore(Arc::clone(process)), SimConnectors(Arc::clone(process)));
    let clock: Arc<dyn Clock> = Arc::clone(&process.world.clock) as Arc<dyn Clock>;
    let engine = Engine::on_this_thread(config.clone(), Arc::new(store), Arc::new(connectors), clock);
    let (weak, state) = (Arc::downgrade(&engine), SessionContext::new().state());
    let observe = move || weak.upgrade().map(|engine| shown(&engine, &state)).unwrap_or_default();
    if config.checkpoint_waits {
        *process.observe.lock() = Some(Box::new(observe));
    }
    engine
}

pub(super) fn with(catalog: &Catalog, sql: &str) -> Catalog {
    let mut out = catalog.clone();
    for parsed in parse(sql).expect("the simulation's SQL parses") {
        out = apply(&out, &parsed.statement, &parsed.text, 0).expect("the simulation's SQL applies").catalog;
    }
    out.number_joins(plan_catalog(&out).expect("the catalog plans").joined());
    out
}

pub(super) async fn reconcile(engine: &Engine, catalog: &Catalog) {
    engine.reconcile(plan_catalog(catalog).expect("the catalog plans")).await.expect("jobs start");
}

/// Until it succeeds: a pipeline that starts again answers with an error.
pub(super) async fn flush(engine: &Engine, world: &World) {
    let mut error = String::new();
    for _ in 0..FLUSHES_MAX {
        match engine.flush().await {
            Ok(()) => return,
            Err(failed) => error = failed.chain(),
        }
        world.clock.sleep(Duration::from_millis(200)).await;
    }
    panic!("FLUSH never succeeds: {error}");
}

/// The rows of every view and table as readers see them this very moment.
fn shown(engine: &Engine, state: &SessionState) -> Vec<Shown> {
    let names = engine.relation_names().into_iter().filter(|name| name != "events");
    let rows = names.filter_map(|name| {
        let relation = engine.relation(&name)?;
        let rows = relation.scan(state, None, &[], None).now_or_never()?.expect("a view can be read");
        Some((name, rows))
    });
    rows.collect()
}

/// Two-second windows and six-second windows hold the same rows, at any moment.
async fn sizes_add_up(engine: &Arc<Engine>) -> Option<String> {
    let sql = "SELECT date_bin(INTERVAL '6 seconds', window_start) AS start, region,
            sum(events) FILTER (WHERE window_size = INTERVAL '2 seconds') AS small,
            sum(events) FILTER (WHERE window_size = INTERVAL '6 seconds') AS large
        FROM thin GROUP BY 1, 2 HAVING small IS DISTINCT FROM large";
    let odd = query(engine, sql).await;
    (!odd.is_empty()).then(|| format!("the sizes of a view do not add up:\n{odd}"))
}

/// Answer of a query over what the engine has, as text; nothing where there are no rows.
pub(super) async fn query(engine: &Arc<Engine>, sql: &str) -> String {
    let rows = rows(engine, sql).await;
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return String::new();
    }
    arrow::util::pretty::pretty_format_batches(&crate::testing::query::readable(&rows)).expect("it prints").to_string()
}

async fn rows(engine: &Arc<Engine>, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_state(session_state(session_config(), Arc::default()));
    for name in engine.relation_names() {
        for name in [name.clone(), format!("{name}$late"), format!("{name}$dlq")] {
            if sql.contains(&name)
                && let Some(table) = engine.relation(&name)
            {
                context.register_table(datafusion::sql::TableReference::bare(name), table).expect("a free name");
            }
        }
    }
    for name in Engine::system_table_names() {
        let table = engine.system_table(name).expect("a table of the system");
        context.register_table(*name, table).expect("a free name");
    }
    let frame = crate::testing::query::frame(&context, sql).await.expect("the query plans");
    frame.collect().await.expect("the query runs")
}

/// What a query gives over one table made of these rows.
pub(super) async fn ask_rows(name: &str, rows: Vec<RecordBatch>, sql: &str) -> Vec<RecordBatch> {
    oracle::rows_of(&BTreeMap::from([(name, rows)]), sql).await
}

async fn decided(engine: &Arc<Engine>) -> Vec<Decided> {
    let sql = "SELECT name, key, from_state, to_state, CAST(extract(epoch FROM at) * 1000000 AS BIGINT) AS at,
        CAST(extract(epoch FROM decided_at) * 1000000 AS BIGINT) AS decided
        FROM alert_history";
    let batches = rows(engine, sql).await;
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    rows.map(|(batch, row)| {
        let text = |at: usize| batch.column(at).as_string::<i32>().value(row).to_owned();
        let number = |at: usize| batch.column(at).as_primitive::<Int64Type>().value(row);
        let (alert, key, from, to) = (text(0), text(1), text(2), text(3));
        Decided { alert, key, from, to, at_us: number(4), decided_us: number(5) }
    })
    .collect()
}

/// A query's answer over one table made of these rows.
pub(super) async fn ask(name: &str, rows: RecordBatch, sql: &str) -> String {
    oracle::ask(&BTreeMap::from([(name, vec![rows])]), sql).await
}
