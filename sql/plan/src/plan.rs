//! What the engine is given to run: sources, views and sinks, planned.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};
use ebap_catalog::{Join, ObjectId, ResumeFrom};

use crate::Flow;

/// Name of the placeholder table in `ViewPlan::input`: the rows of one step.
pub const STEP_TABLE: &str = "__step";
/// Name of the placeholder table in `AggregatePlan::output`: one row per changed group.
pub const GROUPS_TABLE: &str = "__groups";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Stream,
    /// Newest row per primary key.
    Table,
}

/// A stream or a table.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    pub id: ObjectId,
    /// As systems outside know it (`Catalog::name_outside`).
    pub name_outside: String,
    pub name: String,
    pub kind: SourceKind,
    /// Option `connector`, or the kind of the connection (`kafka`).
    pub connector: String,
    /// Options of the connection and of the statement, merged, secrets still as references
    /// (`secret:NAME`): the server resolves them.
    pub options: BTreeMap<String, String>,
    /// Columns the decoder gives: declared and not computed, in order.
    pub decoded: SchemaRef,
    /// All declared columns, computed ones included, in declared order.
    pub schema: SchemaRef,
    /// `schema` followed by the virtual columns: what a query sees.
    pub full_schema: SchemaRef,
    /// Index in `schema` and expression over the columns of `decoded`.
    pub computed: Vec<(usize, Expr)>,
    /// Over the columns of `schema`; a row passes unless the value is false.
    pub checks: Vec<CheckPlan>,
    pub watermark: Option<WatermarkPlan>,
    /// After how long without records a split no longer holds the watermark back.
    pub idle_timeout_us: i64,
    pub future: FutureLimit,
    /// Indices in `schema`; empty for a stream.
    pub primary_key: Vec<usize>,
    pub run: Run,
}

impl SourcePlan {
    /// The columns of the primary key in `decoded`; those that are computed are not there.
    pub fn decoded_key(&self) -> Vec<usize> {
        let names = self.primary_key.iter().map(|at| self.schema.field(*at).name());
        names.filter_map(|name| self.decoded.index_of(name).ok()).collect()
    }
}

/// Bounds how far event times may be ahead of the clock (`future_max`), and says what becomes of rows beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FutureLimit {
    /// In microseconds; none where every event time raises the watermark.
    pub max_us: Option<i64>,
    pub rows: FutureRows,
}

/// Option `future_rows`: rows that are further ahead of the clock than `future_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutureRows {
    /// They are rows like others, and do not raise the watermark.
    Keep,
    /// They are dead letters.
    Reject,
}

/// What `ALTER` has said of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub paused: bool,
    /// A job that has failed starts again when this has risen.
    pub resumes: u64,
    /// Which of those may leave out what is not there any more, and where it goes on.
    pub resume_from: Option<(u64, ResumeFrom)>,
    /// A sink writes every row of its view again when this has risen.
    pub rebuilds: u64,
}

#[derive(Clone, Debug)]
pub struct CheckPlan {
    /// As PostgreSQL names it: `events_action_check`.
    pub name: String,
    pub expr: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkPlan {
    /// Index in `schema`; the column is `Timestamp(Microsecond, "+00:00")` and never null.
    pub column: usize,
    pub delay_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    Update,
    WindowClose,
}

/// A materialized view.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    pub id: ObjectId,
    pub name: String,
    /// The streams and tables it reads, directly or through other views.
    pub sources: Vec<ObjectId>,
    pub query: ViewQuery,
    /// The same as operators over changelogs, for views of this view.
    pub flow: Option<Arc<Flow>>,
    pub emit: Emit,
    pub retention_us: Option<i64>,
    /// Columns of the view.
    pub schema: SchemaRef,
    /// Columns of the view that identify a row (window and group columns that are selected).
    /// Empty where a row is identified by its record (no aggregate) or by nothing selected.
    pub upsert_key: Vec<usize>,
    /// Bytes of state and rows, at the most; the engine's own limit where it is `None`.
    pub memory_limit: Option<usize>,
    pub on_error: OnError,
    /// Of the query and of the views it reads: state is of use to no other one.
    pub definition: u64,
    pub run: Run,
}

/// Option `on_error`: what becomes of a view when an expression cannot be computed for a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The row is left out, counted and kept to be read.
    #[default]
    Skip,
    /// The view stops, and says so to whoever reads it.
    Stop,
}

/// How a view is computed.
#[derive(Clone, Debug)]
pub enum ViewQuery {
    /// At most one aggregate over one stream.
    ///
    /// ```text
    /// rows of a step -> input -> [ Partial by (pane, group_exprs) -> state -> Final ] -> output
    /// ```
    Steps(Box<StepsPlan>),
    /// Everything else.
    Flow,
}

#[derive(Clone, Debug)]
pub struct StepsPlan {
    /// Over the placeholder `__step`, whose columns are the `full_schema` of the source. With an
    /// aggregate: the rows to aggregate (filters, projections below the `GROUP BY`). Without: the
    /// rows of the view.
    pub input: LogicalPlan,
    pub aggregate: Option<AggregatePlan>,
}

#[derive(Clone, Debug)]
pub struct AggregatePlan {
    /// None: a running `GROUP BY`.
    pub window: Option<WindowPlan>,
    /// Over the output of `input`; window columns are not among them.
    pub group_exprs: Vec<Expr>,
    /// Over the output of `input`, type-coerced.
    pub aggr_exprs: Vec<Expr>,
    /// `HAVING` and the select list: over the placeholder `__groups`, whose columns are
    /// `groups_schema`. Row by row, so it may run on the changed groups alone.
    pub output: LogicalPlan,
    /// With a window `window_start, window_end` (timestamptz) and `window_size` (interval) first;
    /// then the group expressions, then the aggregates.
    pub groups_schema: SchemaRef,
}

#[derive(Clone, Debug)]
pub struct WindowPlan {
    /// The event-time column, over the output of `input`.
    pub time: Expr,
    /// Ascending, no duplicates. Each is a multiple of `pane_us`.
    pub sizes: Vec<WindowSize>,
    /// The smallest size: sizes that are no multiple of it are refused.
    pub pane_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    pub size_us: i64,
    /// As the user wrote it (`1 day` has days, not nanoseconds), for `window_size`.
    pub interval: arrow::datatypes::IntervalMonthDayNano,
}

#[derive(Clone, Debug)]
pub struct SinkPlan {
    pub id: ObjectId,
    /// As systems outside know it (`Catalog::name_outside`).
    pub name_outside: String,
    /// `Catalog::first_version`
    pub first_version: u64,
    pub name: String,
    pub from: ObjectId,
    pub from_name: String,
    pub on_view: bool,
    /// Of a view that gives its rows when their windows are closed.
    pub on_close: bool,
    pub connector: String,
    pub options: BTreeMap<String, String>,
    pub partitions: Vec<PartitionPlan>,
    pub schema: SchemaRef,
    pub upsert_key: Vec<usize>,
    pub time_column: Option<usize>,
    pub run: Run,
}

/// An alert on a view or a table.
#[derive(Clone, Debug)]
pub struct AlertPlan {
    pub id: ObjectId,
    pub name: String,
    pub from: ObjectId,
    pub from_name: String,
    /// Over the placeholder `__groups`, whose columns are `schema`: whether the condition holds (a boolean), and
    /// the number that is shown (a double, NULL where the condition compares none).
    pub rows: LogicalPlan,
    /// As the user wrote it.
    pub condition: String,
    /// Columns of the view.
    pub schema: SchemaRef,
    /// Columns of the view by which it is decided; none: for the view as a whole.
    pub by: Vec<usize>,
    /// `None` where rows are of no window: the condition then holds from the step that made it so.
    pub window: Option<AlertWindow>,
    /// Rows come when the watermark has passed their window, not while it is open.
    pub closed_only: bool,
    /// How long the condition must hold before it fires.
    pub hold_us: i64,
    /// How long it fires on when the condition no longer holds.
    pub keep_us: i64,
    /// Processing time without a changed row after which a key fires by itself.
    pub no_data_us: Option<i64>,
    pub severity: Option<String>,
    /// Text with columns in between.
    pub summary: Vec<TemplatePart>,
    /// `label.NAME` options.
    pub labels: BTreeMap<String, String>,
    /// What is left of `WITH`: who is told.
    pub options: BTreeMap<String, String>,
    /// Nobody is told before this processing time.
    pub silenced_until_us: Option<i64>,
    pub run: Run,
}

/// Where the window of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertWindow {
    /// Columns of the view; one of them is there.
    pub start: Option<usize>,
    pub end: Option<usize>,
    /// The size, where it is the same in every row.
    pub size_us: Option<i64>,
    /// How far apart windows begin; `None` where that is their size.
    pub slide_us: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    Text(String),
    /// A column of the view.
    Column(usize),
    /// The number that the condition compares.
    Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPlan {
    pub column: String,
    pub transform: String,
}

/// Everything that should run.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    pub sources: Vec<Arc<SourcePlan>>,
    pub views: Vec<Arc<ViewPlan>>,
    pub sinks: Vec<Arc<SinkPlan>>,
    pub alerts: Vec<Arc<AlertPlan>>,
    /// The numbers of the sets of sources that views join.
    pub joins: Vec<Join>,
}

impl Plans {
    /// Each set of streams and tables that a view joins, once.
    pub fn joined(&self) -> Vec<Vec<ObjectId>> {
        let mut all: Vec<Vec<ObjectId>> = Vec::new();
        for view in self.views.iter().filter(|view| view.sources.len() > 1) {
            if !all.contains(&view.sources) {
                all.push(view.sources.clone());
            }
        }
        all
    }
}
