//! The running whole: one pipeline per stream or table, started and stopped to match the catalog.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{catalog::TableProvider, error::Result as DataFusionResult, logical_expr::LogicalPlan};
use ebap_catalog::{Catalog, ObjectId, ResumeFrom};
use ebap_connector::{ConnectorRegistry, Position, time::Clock};
use ebap_sql::{FutureLimit, FutureRows, Plans, Run, SourceKind, SourcePlan, ViewPlan};
use object_store::ObjectStore;
use parking_lot::RwLock;
use tokio::{
    runtime::Runtime,
    sync::{Mutex, mpsc, oneshot},
};

use crate::{
    EngineConfig, Error, Result,
    catch_up::CatchUpTurns,
    checkpoint::{CheckpointStore, sweep},
    failed_rows,
    pipeline::{
        COMMANDS_MAX, Command, JobSet, Origin, Stop,
        flush::FailedJob,
        runtime::{Shared, SourceRuntime},
        supervise,
    },
    scan::{ComputedTable, Scanned, StreamTable, ViewTable, at_one_step, dead_letter_rows, dead_letter_schema},
    system,
    view::{ViewJob, store::ViewStore},
};

/// The streams and tables that a pipeline reads, by rising id: one, or those that a view joins.
type Sources = Vec<ObjectId>;

struct Running {
    runtime: Arc<SourceRuntime>,
    /// See `folder_of`.
    folder: String,
    commands: mpsc::Sender<Command>,
    /// What it was last told to run.
    jobs: JobSet,
}

impl Running {
    /// Whether it reads the stream or table of this name, and no other.
    fn is(&self, name: &str) -> bool {
        self.runtime.members.is_empty() && self.runtime.plan.name == name
    }
}

/// One for each stream and table, and one for each set of them that a view joins.
fn pipelines_of(plans: &Plans) -> Vec<Sources> {
    let mut all: Vec<Sources> = plans.sources.iter().map(|source| vec![source.id]).collect();
    all.extend(plans.joined());
    all
}

/// Whether the folder is of a pipeline that was dropped, as far as this catalog goes: another server may have a newer one.
fn is_dropped(folder: &str, catalog: &Catalog) -> bool {
    let (ids, number) = match folder.split_once('.') {
        Some((ids, number)) => (ids, Some(number)),
        None => (folder, None),
    };
    let Ok(ids) = ids.split('-').map(|id| id.parse().map(ObjectId)).collect::<Result<Sources, _>>() else {
        return false;
    };
    match (number.map(str::parse), ids.as_slice()) {
        (Some(number), [_, _, ..]) => number.is_ok_and(|number| catalog.has_dropped_join(number)),
        (None, [_]) => catalog.has_dropped(ids[0]),
        // An older version gave no numbers, and what it has left does not begin again.
        (None, [_, _, ..]) => ids.iter().any(|id| catalog.has_dropped(*id)),
        (_, _) => false,
    }
}

/// Where its state is. No other pipeline has had or will have the same.
fn folder_of(sources: &Sources, plans: &Plans) -> String {
    let ids = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    match plans.joins.iter().find(|join| join.sources == *sources).and_then(|join| join.number) {
        Some(number) => format!("{ids}.{number}"),
        None => ids,
    }
}

/// What stands for several streams and tables where one is asked for.
fn together(members: &[Arc<SourcePlan>]) -> SourcePlan {
    let names: Vec<&str> = members.iter().map(|source| source.name.as_str()).collect();
    let nothing: SchemaRef = Arc::new(arrow::datatypes::Schema::empty());
    SourcePlan {
        id: ObjectId(0),
        name_outside: String::new(),
        name: names.join(" + "),
        kind: SourceKind::Stream,
        connector: String::new(),
        options: BTreeMap::new(),
        decoded: Arc::clone(&nothing),
        schema: Arc::clone(&nothing),
        full_schema: nothing,
        computed: Vec::new(),
        checks: Vec::new(),
        watermark: None,
        idle_timeout_us: members.iter().map(|source| source.idle_timeout_us).max().unwrap_or(0),
        // That of each member holds.
        future: FutureLimit { max_us: None, rows: FutureRows::Keep },
        primary_key: Vec::new(),
        run: Run::default(),
    }
}

#[derive(Default)]
struct Inner {
    pipelines: BTreeMap<Sources, Running>,
    views: BTreeMap<ObjectId, (String, Arc<ViewStore>)>,
}

pub struct Engine {
    config: EngineConfig,
    store: Arc<dyn ObjectStore>,
    connectors: Arc<dyn ConnectorRegistry>,
    shared: Shared,
    inner: RwLock<Inner>,
    /// One change at a time.
    changing: Mutex<()>,
    /// See `Engine::generation`.
    generation: AtomicU64,
    /// The loops have threads of their own, so that a long query does not hold them up, nor they it.
    /// None where they run on the caller's.
    threads: Option<Runtime>,
}

impl Engine {
    /// An engine that runs nothing yet.
    ///
    /// # Errors
    /// `Internal` where no threads can be started.
    pub async fn open(
        config: EngineConfig,
        store: Arc<dyn ObjectStore>,
        connectors: Arc<dyn ConnectorRegistry>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let threads = tokio::runtime::Builder::new_multi_thread().thread_name("ebap-engine").enable_all().build();
        let threads = threads.map_err(|error| Error::Internal(format!("no threads for the engine: {error}")))?;
        let shared = shared(&config, clock);
        let (inner, changing, generation) = (RwLock::default(), Mutex::default(), AtomicU64::default());
        let threads = Some(threads);
        Ok(Arc::new(Self { config, store, connectors, shared, inner, changing, generation, threads }))
    }

    /// Starts and stops jobs until what runs is what the plans say. Returns when every pipeline knows;
    /// a new view may still be catching up. Options must have their secrets resolved.
    ///
    /// # Errors
    /// Of a connector whose options are wrong. Nothing is started for that stream then.
    pub async fn reconcile(&self, plans: Plans) -> Result<()> {
        self.set(plans, Origin::Here).await
    }

    /// The same for plans that another server has made: what is new runs there, and only the pipelines that run here
    /// follow.
    ///
    /// # Errors
    /// As `reconcile`.
    pub async fn follow(&self, plans: Plans) -> Result<()> {
        self.set(plans, Origin::Elsewhere).await
    }

    /// Changes whenever a name may stand for another relation: a plan that was made before reads the old ones.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    async fn set(&self, plans: Plans, origin: Origin) -> Result<()> {
        let _one = self.changing.lock().await;
        let set = self.run_plans(plans, origin).await;
        // Behind the change, so that a plan which was made amid it is made again.
        self.generation.fetch_add(1, Ordering::AcqRel);
        set
    }

    async fn run_plans(&self, plans: Plans, origin: Origin) -> Result<()> {
        let doomed: Vec<Running> = {
            let mut inner = self.inner.write();
            let needed = pipelines_of(&plans);
            // One that was dropped and made again is another one.
            let stays = |(sources, running): &(&Sources, &Running)| {
                needed.contains(sources) && running.folder == folder_of(sources, &plans)
            };
            let gone = inner.pipelines.iter().filter(|running| !stays(running));
            let gone: Vec<Sources> = gone.map(|(sources, _)| sources.clone()).collect();
            inner.views.retain(|id, _| plans.views.iter().any(|plan| plan.id == *id));
            gone.iter().filter_map(|sources| inner.pipelines.remove(sources)).collect()
        };
        for running in doomed {
            stop(&running, Stop::Forget).await;
        }
        {
            // At once: two views may have exchanged their names.
            let mut inner = self.inner.write();
            for view in &plans.views {
                let fresh = || (view.name.clone(), Arc::new(ViewStore::new(Arc::clone(&view.schema))));
                inner.views.entry(view.id).or_insert_with(fresh).0.clone_from(&view.name);
            }
        }
        let mut failed = None;
        for sources in pipelines_of(&plans) {
            let jobs = self.jobs_of(&sources, &plans);
            let commands = self.inner.write().pipelines.get_mut(&sources).map(|running| {
                let before = std::mem::replace(&mut running.jobs, jobs.clone());
                (running.commands.clone(), jobs.alters(&before))
            });
            match commands {
                Some((commands, alters)) => {
                    let (reply, done) = oneshot::channel();
                    let sent = commands.send(Command::Jobs { jobs, origin, reply }).await;
                    // What is new starts in its own time; what `ALTER` has stopped must have stopped.
                    if sent.is_ok() && alters {
                        let _ = done.await;
                    }
                }
                None => {
                    if let Err(error) = self.start(&sources, &plans, jobs, origin) {
                        tracing::error!(?sources, error = error.chain(), "the stream cannot be started");
                        failed.get_or_insert(error);
                    }
                }
            }
            if let Some(running) = self.inner.read().pipelines.get(&sources) {
                let (name, kind) = (&running.runtime.plan.name, running.runtime.kind());
                running.runtime.status.declare(name, &running.jobs.names(name, kind));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Deletes what a server that died in the middle of a `DROP` has left.
    pub async fn forget_dropped(&self, catalog: &Catalog) {
        let left = match CheckpointStore::folders(&self.store).await {
            Ok(folders) => folders.into_iter().filter(|folder| is_dropped(folder, catalog)),
            Err(error) => {
                return tracing::warn!(error = error.chain(), "state of what was dropped cannot be looked for");
            }
        };
        for folder in left {
            let deleted = CheckpointStore::new(Arc::clone(&self.store), &folder, &folder).delete_all().await;
            if let Err(error) = deleted {
                tracing::warn!(folder, error = error.chain(), "state of what was dropped stays behind");
            }
        }
    }

    fn jobs_of(&self, sources: &Sources, plans: &Plans) -> JobSet {
        let inner = self.inner.read();
        let own: Vec<&Arc<ViewPlan>> = plans.views.iter().filter(|view| view.sources == *sources).collect();
        let alone = |from: ObjectId| *sources == [from];
        let belongs = |from: ObjectId| alone(from) || own.iter().any(|view| view.id == from);
        let members = || plans.sources.iter().filter(|source| sources.contains(&source.id));
        let views = own.iter().map(|view| (Arc::clone(view), Arc::clone(&inner.views[&view.id].1)));
        let table = members().find(|source| alone(source.id) && source.kind == SourceKind::Table).map(|source| {
            match inner.pipelines.get(sources).and_then(|running| running.jobs.table.clone()) {
                Some(table) => table,
                None => Arc::new(ViewStore::new(Arc::clone(&source.schema))),
            }
        });
        // Where one of them is paused, nothing is joined with it.
        let run = members().fold(Run::default(), |run, source| Run {
            paused: run.paused || source.run.paused,
            resumes: run.resumes + source.run.resumes,
            // As of several numbers: higher whenever one of them is.
            resume_from: match (run.resume_from, source.run.resume_from) {
                (Some((one, ResumeFrom::Latest)), Some((other, ResumeFrom::Latest))) => {
                    Some((one + other, ResumeFrom::Latest))
                }
                (Some((one, _)), Some((other, _))) => Some((one + other, ResumeFrom::Earliest)),
                (one, other) => one.or(other),
            },
            rebuilds: 0,
        });
        JobSet {
            run,
            table,
            views: views.collect(),
            sinks: plans.sinks.iter().filter(|sink| belongs(sink.from)).cloned().collect(),
            alerts: plans.alerts.iter().filter(|alert| belongs(alert.from)).cloned().collect(),
        }
    }

    fn start(&self, sources: &Sources, plans: &Plans, jobs: JobSet, origin: Origin) -> Result<()> {
        let (config, shared) = (self.config.clone(), self.shared.clone());
        let mut members: Vec<Arc<SourcePlan>> =
            plans.sources.iter().filter(|source| sources.contains(&source.id)).cloned().collect();
        members.sort_by_key(|source| source.id);
        let connectors = Arc::clone(&self.connectors);
        let runtime = Arc::new(match members.as_slice() {
            [one] => SourceRuntime::new(Arc::clone(one), connectors, config, shared)?,
            _ => {
                let plan = Arc::new(together(&members));
                SourceRuntime::group(plan, members, connectors, config, shared)?
            }
        });
        let folder = folder_of(sources, plans);
        let checkpoints = CheckpointStore::new(Arc::clone(&self.store), &folder, &runtime.plan.name);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let running = Running { runtime: Arc::clone(&runtime), folder, commands: commands.clone(), jobs: jobs.clone() };
        self.inner.write().pipelines.insert(sources.clone(), running);
        let pipeline = supervise(runtime, checkpoints, jobs, origin, (commands, inbox));
        match &self.threads {
            Some(threads) => threads.spawn(pipeline),
            None => tokio::spawn(pipeline),
        };
        Ok(())
    }

    /// The stream, table or view of this name; of a stream also `name$late` and `name$dlq`, of a view
    /// `name$errors`.
    pub fn relation(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let inner = self.inner.read();
        if let Some((id, (_, store))) = inner.views.iter().find(|(_, (view, _))| view == name) {
            return Some(Arc::new(ViewTable { of: *id, store: Arc::clone(store), pinned: None }));
        }
        if let Some(view) = name.strip_suffix("$errors")
            && let Some((id, (_, store))) = inner.views.iter().find(|(_, (name, _))| name == view)
        {
            let of = Scanned::Beside(*id);
            let store = Arc::clone(store);
            let rows = Box::new(move || failed_rows::rows(&store.failed()));
            return Some(Arc::new(ComputedTable { of, schema: failed_rows::schema(), rows }));
        }
        let (stream, part) = match name.rsplit_once('$') {
            Some((stream, part @ ("late" | "dlq"))) => (stream, Some(part)),
            _ => (name, None),
        };
        let running = inner.pipelines.values().find(|running| running.is(stream))?;
        let runtime = Arc::clone(&running.runtime);
        let of = runtime.plan.id;
        Some(match (part, &running.jobs.table) {
            (None, Some(store)) => Arc::new(ViewTable { of, store: Arc::clone(store), pinned: None }),
            (Some("dlq"), _) => {
                let rows = Box::new(move || dead_letter_rows(&runtime));
                Arc::new(ComputedTable { of: Scanned::Beside(of), schema: dead_letter_schema(), rows })
            }
            (part, _) => Arc::new(StreamTable { runtime, late_only: part.is_some() }),
        })
    }

    /// The same query, where it reads several views with all of them as they are behind one step.
    ///
    /// # Errors
    /// Of DataFusion, where the plan cannot be taken apart.
    pub fn at_one_step(&self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        at_one_step(plan, &self.shared.gate)
    }

    /// Declared columns of what has virtual ones besides: a stream and its `name$late`.
    pub fn stream_columns(&self, name: &str) -> Option<SchemaRef> {
        let stream = name.strip_suffix("$late").unwrap_or(name);
        let inner = self.inner.read();
        let plan = &inner.pipelines.values().find(|running| running.is(stream))?.runtime.plan;
        (plan.kind == SourceKind::Stream).then(|| Arc::clone(&plan.schema))
    }

    pub fn relation_names(&self) -> Vec<String> {
        let inner = self.inner.read();
        let alone = inner.pipelines.values().filter(|running| running.runtime.members.is_empty());
        let sources = alone.map(|running| running.runtime.plan.name.clone());
        sources.chain(inner.views.values().map(|(name, _)| name.clone())).collect()
    }

    /// `jobs`, `splits`, `accounting`, `checkpoints`, `sinks`.
    pub fn system_table(self: &Arc<Self>, name: &str) -> Option<Arc<dyn TableProvider>> {
        let schema = system::schema(name)?;
        let name = *system::NAMES.iter().find(|other| **other == name)?;
        let engine = Arc::clone(self);
        let rows = Box::new(move || engine.system_rows(name));
        Some(Arc::new(ComputedTable { of: Scanned::System(name), schema, rows }))
    }

    /// The rows of a system table now.
    ///
    /// # Errors
    /// `DataFusion` where they do not fit the table, which is our bug.
    pub fn system_rows(&self, name: &str) -> Result<RecordBatch> {
        let infos: Vec<_> = {
            let inner = self.inner.read();
            let infos = inner.pipelines.values();
            infos.map(|running| (running.runtime.plan.name.clone(), running.runtime.status.get())).collect()
        };
        system::rows(name, &infos)
    }

    /// Jobs that have failed, with their reasons: for whoever asks whether all is well.
    pub fn failed_jobs(&self) -> Vec<(String, String)> {
        let inner = self.inner.read();
        let jobs = inner.pipelines.values().flat_map(|running| running.runtime.status.get().jobs);
        let failed = jobs.filter(|job| job.state == "failed");
        failed.map(|job| (job.name, job.message.unwrap_or_default())).collect()
    }

    /// Whether the stream or table has stopped, or a join of it, as what it was to read next is not there any more.
    pub fn misses_records(&self, source: ObjectId) -> bool {
        let inner = self.inner.read();
        let mut own = inner.pipelines.iter().filter(|(sources, _)| sources.contains(&source));
        own.any(|(_, running)| running.runtime.gone.load(Ordering::Acquire))
    }

    /// Why an alert is in the state that it is in; none where it does not run.
    pub fn explain_alert(&self, name: &str) -> Option<String> {
        let inner = self.inner.read();
        let infos = inner.pipelines.values().map(|running| running.runtime.status.get());
        let info = infos.flat_map(|info| info.alerts).find(|alert| alert.plan.name == name)?;
        Some(crate::alerts::explain(&info, self.shared.clock.now_us()))
    }

    /// The plan of a step of a view, with what each operator has done since the view started to run here, its
    /// state, and its sinks.
    ///
    /// # Errors
    /// Where the view cannot be planned, or does not run here.
    pub fn explain_analyze(&self, source: &SourcePlan, view: &ViewPlan) -> Result<String> {
        let store = Arc::new(ViewStore::new(Arc::clone(&view.schema)));
        let scratch = ViewJob::view(source, view, store, &self.config)?;
        let (info, sinks) = {
            let inner = self.inner.read();
            let running = inner.pipelines.get(&view.sources).ok_or(Error::ShuttingDown)?;
            let sinks = running.jobs.sinks.iter().filter(|sink| sink.from == view.id).map(|sink| sink.name.clone());
            (running.runtime.status.get(), sinks.collect::<Vec<_>>())
        };
        let read = info.jobs.first().map(|job| job.name.clone()).unwrap_or_default();
        let own = info.jobs.iter().find(|job| job.name == view.name).cloned().unwrap_or_default();
        let stream = info.jobs.iter().find(|job| job.name == read).cloned().unwrap_or_default();
        let mut text = scratch.describe(Some((&own.figures, &stream.figures)));
        let bytes =
            |bytes: Option<usize>| bytes.map_or("not measured yet".to_owned(), |bytes| format!("{bytes} bytes"));
        let _ = write!(
            text,
            "\nState: {}, {} groups, {}\nView: {} rows, {}\nSteps: {} of {} of the stream",
            own.state,
            own.groups.unwrap_or(0),
            bytes(own.figures.state_bytes),
            own.rows.unwrap_or(0),
            bytes(own.figures.view_bytes),
            own.figures.steps,
            stream.figures.steps,
        );
        for sink in info.sinks.iter().filter(|sink| sinks.contains(&sink.name)) {
            let behind = sink.behind_us as f64 / 1e3;
            let _ =
                write!(text, "\nSink {}: {}, {}, too slow for {behind:.3} ms", sink.name, sink.connector, sink.state);
        }
        Ok(text)
    }

    /// Records the stream has read: those that a view of it created now has to read before it can join.
    pub fn records_behind(&self, stream: ObjectId) -> u64 {
        let inner = self.inner.read();
        let Some(running) = inner.pipelines.get(&vec![stream]) else { return 0 };
        let own = running.runtime.status.get().jobs.into_iter().next();
        own.map_or(0, |own| own.accounting.0.values().map(|counts| counts.consumed).sum())
    }

    pub fn system_table_names() -> &'static [&'static str] {
        &system::NAMES
    }

    /// Returns when everything produced before the call is in every view and visible through every sink.
    /// Waits for nothing that is paused.
    ///
    /// # Errors
    /// Where a source cannot be asked for its end, or a pipeline has stopped. 55000 where views have failed: it names
    /// them, and all others have what was produced.
    pub async fn flush(&self) -> Result<()> {
        let pipelines: Vec<_> = {
            let inner = self.inner.read();
            let all = inner.pipelines.values();
            all.map(|one| (Arc::clone(&one.runtime), one.commands.clone(), one.jobs.run.paused)).collect()
        };
        let mut waiting = Vec::new();
        for (runtime, commands, paused) in pipelines {
            let target = if paused { Position::default() } else { runtime.end_position().await? };
            let (reply, answer) = oneshot::channel();
            if commands.send(Command::Flush { target, reply }).await.is_err() {
                return Err(Error::ShuttingDown);
            }
            waiting.push(answer);
        }
        let mut failed = Vec::new();
        for answer in waiting {
            failed.extend(answer.await.map_err(|_| Error::ShuttingDown)??);
        }
        FailedJob::error_of(failed).map_or(Ok(()), Err)
    }

    /// Deletes the state of pipelines that were dropped, where a put came after its deletion.
    ///
    /// # Errors
    /// `Store` where the store does not answer.
    pub async fn sweep(&self, catalog: &Catalog) -> Result<()> {
        let swept = sweep(&self.store, |folder| is_dropped(folder, catalog), self.shared.clock.now_us()).await;
        for folder in swept.map_err(|error| Error::Store { name: "pipelines".to_owned(), source: Arc::new(error) })? {
            tracing::info!(folder, "the state of a dropped stream was still there, and is deleted");
        }
        Ok(())
    }

    /// Finishes the step of every pipeline and makes it durable.
    pub async fn shutdown(&self) {
        let _one = self.changing.lock().await;
        let running: Vec<Running> = std::mem::take(&mut self.inner.write().pipelines).into_values().collect();
        futures::future::join_all(running.iter().map(|running| stop(running, Stop::Durable))).await;
    }
}

#[cfg(test)]
impl Engine {
    /// An engine whose loops run on the thread of whoever calls it, for simulations.
    pub(crate) fn on_this_thread(
        config: EngineConfig,
        store: Arc<dyn ObjectStore>,
        connectors: Arc<dyn ConnectorRegistry>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let shared = shared(&config, clock);
        Arc::new(Self {
            config,
            store,
            connectors,
            shared,
            inner: RwLock::default(),
            changing: Mutex::default(),
            generation: AtomicU64::default(),
            threads: None,
        })
    }

    /// Ends every loop where it stands and returns when none runs any more.
    pub(crate) fn kill(self: Arc<Self>) {
        let mut engine = Self::into_last(self);
        if let Some(threads) = engine.threads.take() {
            let ended = std::thread::spawn(move || threads.shutdown_timeout(std::time::Duration::from_secs(10)));
            ended.join().expect("the loops end");
        }
    }

    fn into_last(engine: Arc<Self>) -> Self {
        Arc::into_inner(engine).expect("nobody else holds the engine")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // A runtime may not be waited for inside of another.
            threads.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("relations", &self.relation_names()).finish_non_exhaustive()
    }
}

fn shared(config: &EngineConfig, clock: Arc<dyn Clock>) -> Shared {
    Shared { clock, gate: Arc::default(), turns: Arc::new(CatchUpTurns::new(config)) }
}

async fn stop(running: &Running, how: Stop) {
    let (reply, done) = oneshot::channel();
    if running.commands.send(Command::Stop { how, reply }).await.is_ok() {
        let _ = done.await;
    }
}

/// The plan of a step, as `EXPLAIN` prints it.
///
/// # Errors
/// Where the view cannot be planned.
pub fn explain(source: &SourcePlan, view: &ViewPlan) -> Result<String> {
    let store = Arc::new(ViewStore::new(Arc::clone(&view.schema)));
    Ok(ViewJob::view(source, view, store, &EngineConfig::default())?.describe(None))
}
