//! The plan of a view as a tree of operators over changelogs: what every query is that is more than one
//! aggregate over one stream.
//!
//! A row has a weight: +1 came, -1 went. Operators without state pass weights on; the others keep what they have
//! seen, and give the difference that a step makes to their answer.

use std::{fmt, sync::Arc};

use arrow::datatypes::{IntervalMonthDayNano, SchemaRef};
use datafusion::{
    common::{DFSchemaRef, JoinType},
    logical_expr::{Expr, SortExpr},
};
use ebap_catalog::ObjectId;

use crate::SourceKind;

#[derive(Clone, Debug)]
pub struct Flow {
    pub node: Node,
    pub schema: SchemaRef,
}

/// What a version of a table's row has beside the columns of the table.
pub const VERSION_COLUMNS: [&str; 2] = ["__valid_from", "__valid_until"];

/// Which rows of a stream an operator above cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It takes all.
    Never,
    /// Those of panes of this length that were closed when the row was read.
    Pane(i64),
    /// Those below the watermark under which they were read.
    Strict,
}

/// Windows of one size, a new one every `slide_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub slide_us: i64,
    pub size_us: i64,
    /// The size as the user wrote it.
    pub interval: IntervalMonthDayNano,
}

/// A state that ends: rows are let go once the watermark is `slack_us` or more past this column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub column: usize,
    pub slack_us: i64,
}

#[derive(Clone, Debug)]
pub enum RowOp {
    Filter { predicate: Expr, input: DFSchemaRef },
    Project { exprs: Vec<Expr>, input: DFSchemaRef, schema: SchemaRef },
}

/// Where a session's bounds stand among the group columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub gap_us: i64,
    pub starts: Vec<usize>,
    pub ends: Vec<usize>,
}

#[derive(Clone, Debug)]
pub enum Node {
    /// One row without columns, there from the beginning.
    One,
    /// Rows of a stream, or what changes in a table; all columns that a query sees.
    /// `key`: of a table.
    Scan {
        relation: ObjectId,
        name: String,
        kind: SourceKind,
        time: Option<usize>,
        key: Vec<usize>,
        late: Late,
    },
    /// Every row that a table had, with two columns more: from when and until when it was the row of its key.
    /// `time`: the column that says from when; without it the time of the record does.
    Versions {
        relation: ObjectId,
        name: String,
        time: Option<usize>,
        key: Vec<usize>,
    },
    Rows {
        input: Box<Flow>,
        ops: Vec<RowOp>,
    },
    /// Appends `window_start`, `window_end` and `window_size`: a row per window.
    Window {
        input: Box<Flow>,
        time: usize,
        frames: Vec<Frame>,
        /// The aggregate above makes the windows: a row has its pane in these columns.
        panes: bool,
    },
    /// Appends the same columns for the session that a row alone would be; the aggregate above merges them.
    SessionWindow {
        input: Box<Flow>,
        time: usize,
        gap_us: i64,
    },
    Aggregate(Box<Aggregation>),
    TopN(Box<TopN>),
    Join(Box<Join>),
    Union {
        inputs: Vec<Flow>,
    },
    /// A row per item of the lists in these columns, side by side.
    Unnest {
        input: Box<Flow>,
        lists: Vec<usize>,
        keep_empty: bool,
    },
    /// Rows whose time is less than `span_us` ago, by the clock.
    Recent {
        input: Box<Flow>,
        time: Expr,
        schema: DFSchemaRef,
        span_us: i64,
        inclusive: bool,
    },
}

/// Windows that an aggregate makes of panes, so that a row is counted once for all windows that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panes {
    pub frames: Vec<Frame>,
    pub pane_us: i64,
    /// Group columns that are the window's start, end and size.
    pub starts: Vec<usize>,
    pub ends: Vec<usize>,
    pub sizes: Vec<usize>,
}

/// Which group columns are NULL in a set, and its `__grouping_id`.
pub type GroupingSet = (Vec<bool>, u64);

/// Group columns first, then the aggregates.
#[derive(Clone, Debug)]
pub struct Aggregation {
    pub input: Flow,
    pub input_schema: DFSchemaRef,
    pub groups: Vec<Expr>,
    /// `GROUPING SETS`: for each the groups that are NULL in it, and its value of `__grouping_id`, which follows the
    /// group columns.
    pub sets: Vec<GroupingSet>,
    pub aggregates: Vec<Expr>,
    /// Of the group columns.
    pub expiry: Option<Expiry>,
    /// Rows come out once, when they expire.
    pub on_close: bool,
    pub session: Option<Session>,
    pub panes: Option<Panes>,
}

/// The first `fetch` rows behind `skip` of each partition.
#[derive(Clone, Debug)]
pub struct TopN {
    pub input: Flow,
    pub input_schema: DFSchemaRef,
    pub partition: Vec<Expr>,
    pub order: Vec<SortExpr>,
    pub skip: usize,
    /// None: all, which the planner allows only until it has seen the filter above.
    pub fetch: Option<usize>,
    /// The number of a row is the last column.
    pub numbering: Option<Numbering>,
    /// Of the columns of the input, where it is a column of the partition.
    pub expiry: Option<Expiry>,
    /// Rows of the input may go until this ends them, and from then on stay as they are. None where that is of no use.
    pub settled: Option<Expiry>,
}

/// What number a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Its place.
    Row,
    /// That of the first row that is equal by the order.
    Rank,
    /// How many different places there are up to it.
    DenseRank,
}

#[derive(Clone, Debug)]
pub struct Join {
    pub left: Flow,
    pub right: Flow,
    pub left_schema: DFSchemaRef,
    pub right_schema: DFSchemaRef,
    pub kind: JoinType,
    pub on: Vec<(Expr, Expr)>,
    /// Over the columns of both.
    pub filter: Option<(Expr, DFSchemaRef)>,
    pub null_equals_null: bool,
    pub left_expiry: Option<Expiry>,
    pub right_expiry: Option<Expiry>,
    /// A side that no bound ends: a row goes when the watermark is this far past the one it came under.
    pub left_ttl_us: Option<i64>,
    pub right_ttl_us: Option<i64>,
    /// Rows of the left side meet the right one as it is when they come; the left side is not kept.
    pub lookup: bool,
}

/// What is known of the times in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Unknown,
    /// Event time: rows below watermark - slack neither come nor change.
    Event(i64),
    /// The same of a window's bound.
    Window(i64),
    SessionStart(i64),
    SessionEnd(i64),
}

impl Time {
    pub fn slack_us(self) -> Option<i64> {
        match self {
            Self::Event(slack) | Self::Window(slack) => Some(slack),
            Self::Unknown | Self::SessionStart(_) | Self::SessionEnd(_) => None,
        }
    }

    fn later(self, by_us: i64) -> Self {
        match self {
            Self::Event(slack) => Self::Event(slack + by_us.max(0)),
            Self::Window(slack) => Self::Window(slack + by_us.max(0)),
            other => other,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Event(a), Self::Event(b)) => Self::Event(a.max(b)),
            (Self::Window(a), Self::Window(b)) => Self::Window(a.max(b)),
            _ => Self::Unknown,
        }
    }
}

impl Flow {
    /// Of every column what is known of its times.
    pub fn times(&self) -> Vec<Time> {
        match &self.node {
            Node::Scan { time, kind, .. } => {
                // A row of a table goes long after its time, when a newer one of its key comes.
                let time = time.filter(|_| *kind == SourceKind::Stream);
                let is = |at| if Some(at) == time { Time::Event(0) } else { Time::Unknown };
                (0..self.schema.fields().len()).map(is).collect()
            }
            Node::Versions { .. } => {
                // Where versions meet moves behind the watermark only, whatever comes late.
                let (columns, mut times) = (self.schema.fields().len(), Vec::new());
                times.resize(columns - VERSION_COLUMNS.len(), Time::Unknown);
                times.resize(columns, Time::Event(0));
                times
            }
            Node::Rows { input, ops } => ops.iter().fold(input.times(), |times, op| match op {
                RowOp::Filter { .. } => times,
                RowOp::Project { exprs, input, .. } => {
                    let of = |expr: &Expr| column_of(expr, input).map_or(Time::Unknown, |at| times[at]);
                    exprs.iter().map(of).collect()
                }
            }),
            Node::Window { input, time, frames, .. } => {
                let mut times = input.times();
                let slack = times[*time].slack_us().unwrap_or(0);
                let longest = frames.iter().map(|frame| frame.size_us).max().unwrap_or(0);
                // A window of starts of smaller windows is complete when it ends.
                let aligned = matches!(times[*time], Time::Window(_))
                    && slack > 0
                    && frames.iter().all(|frame| frame.size_us % slack == 0 && frame.slide_us % slack == 0);
                let slack = if aligned { 0 } else { slack };
                times.extend([Time::Window(longest + slack), Time::Window(slack), Time::Unknown]);
                times
            }
            Node::SessionWindow { input, gap_us, .. } => {
                let mut times = input.times();
                times.extend([Time::SessionStart(*gap_us), Time::SessionEnd(*gap_us), Time::Unknown]);
                times
            }
            Node::Aggregate(node) => {
                let below = node.input.times();
                let of = |(at, expr): (usize, &Expr)| match &node.session {
                    Some(session) if session.ends.contains(&at) => Time::Window(0),
                    _ => match column_of(expr, &node.input_schema).map(|at| below[at]) {
                        Some(time @ Time::Window(_)) => time,
                        _ => Time::Unknown,
                    },
                };
                let mut times: Vec<Time> = node.groups.iter().enumerate().map(of).collect();
                if !node.sets.is_empty() {
                    times.iter_mut().for_each(|time| *time = Time::Unknown);
                }
                times.resize(self.schema.fields().len(), Time::Unknown);
                times
            }
            Node::TopN(node) => {
                let below = node.input.times();
                let mut times = vec![Time::Unknown; self.schema.fields().len()];
                for at in node.partition.iter().filter_map(|expr| column_of(expr, &node.input_schema)) {
                    times[at] = below[at];
                }
                times
            }
            Node::Join(node) => {
                // A row of one side may still meet one of the other until it is let go.
                let side = |flow: &Flow, expiry: Option<Expiry>, ttl_us: Option<i64>| -> Vec<Time> {
                    let times = flow.times();
                    match expiry {
                        _ if node.lookup => times,
                        Some(expiry) => times.into_iter().map(|time| time.later(expiry.slack_us)).collect(),
                        None => match ttl_us {
                            Some(ttl_us) => times.into_iter().map(|time| time.later(ttl_us)).collect(),
                            None => vec![Time::Unknown; times.len()],
                        },
                    }
                };
                let mut times = side(&node.left, node.left_expiry, node.left_ttl_us);
                match node.kind {
                    JoinType::LeftSemi | JoinType::LeftAnti => {}
                    _ if node.lookup => times.resize(self.schema.fields().len(), Time::Unknown),
                    _ => times.extend(side(&node.right, node.right_expiry, node.right_ttl_us)),
                }
                times
            }
            Node::Union { inputs } => {
                let mut all = inputs.iter().map(Self::times);
                let first = all.next().unwrap_or_default();
                all.fold(first, |times, other| times.into_iter().zip(other).map(|(a, b)| a.or(b)).collect())
            }
            Node::Unnest { input, lists, .. } => {
                let mut times = input.times();
                lists.iter().for_each(|at| times[*at] = Time::Unknown);
                times
            }
            Node::One | Node::Recent { .. } => vec![Time::Unknown; self.schema.fields().len()],
        }
    }

    /// Whether rows only come, and never go.
    pub fn append_only(&self) -> bool {
        match &self.node {
            Node::Scan { kind, .. } => *kind == SourceKind::Stream,
            Node::Rows { input, .. }
            | Node::Window { input, .. }
            | Node::SessionWindow { input, .. }
            | Node::Unnest { input, .. } => input.append_only(),
            Node::Aggregate(node) => node.on_close,
            // A table of one row: what joins it looks it up.
            Node::One | Node::Versions { .. } | Node::TopN(_) | Node::Recent { .. } => false,
            Node::Join(node) if node.lookup => node.left.append_only(),
            Node::Join(node) => node.kind == JoinType::Inner && node.left.append_only() && node.right.append_only(),
            Node::Union { inputs } => inputs.iter().all(Self::append_only),
        }
    }

    /// A join in it keeps rows for as long as `state_ttl` says.
    pub fn has_ttl(&self) -> bool {
        let mut found = false;
        self.each(&mut |flow| {
            found |=
                matches!(&flow.node, Node::Join(node) if node.left_ttl_us.is_some() || node.right_ttl_us.is_some());
        });
        found
    }

    pub fn emits_on_close(&self) -> bool {
        let mut found = false;
        self.each(&mut |flow| found |= matches!(&flow.node, Node::Aggregate(node) if node.on_close));
        found
    }

    /// Columns that identify a row, where the plan says so.
    pub fn key(&self) -> Option<Vec<usize>> {
        match &self.node {
            Node::Rows { input, ops } => {
                let mut key = input.key()?;
                for op in ops {
                    if let RowOp::Project { exprs, input, .. } = op {
                        let shown = |at: &usize| exprs.iter().position(|expr| column_of(expr, input) == Some(*at));
                        key = key.iter().map(shown).collect::<Option<_>>()?;
                    }
                }
                Some(key)
            }
            Node::Aggregate(node) => {
                let id = usize::from(!node.sets.is_empty());
                Some((0..node.groups.len() + id).collect())
            }
            // Rows of one rank are as many as there are.
            Node::TopN(node) if matches!(node.numbering, Some(Numbering::Rank | Numbering::DenseRank)) => None,
            Node::TopN(node) if node.numbering.is_some() || node.fetch == Some(1) => {
                let columns = node.partition.iter().map(|expr| column_of(expr, &node.input_schema));
                let mut key = columns.collect::<Option<Vec<_>>>()?;
                key.extend((node.fetch != Some(1)).then_some(node.input.schema.fields().len()));
                Some(key)
            }
            Node::Recent { input, .. } => input.key(),
            Node::Scan { kind: SourceKind::Table, key, .. } => Some(key.clone()),
            _ => None,
        }
    }

    /// The nodes directly below.
    pub fn inputs(&self) -> Vec<&Self> {
        match &self.node {
            Node::Scan { .. } | Node::Versions { .. } | Node::One => Vec::new(),
            Node::Rows { input, .. }
            | Node::Window { input, .. }
            | Node::SessionWindow { input, .. }
            | Node::Unnest { input, .. }
            | Node::Recent { input, .. } => vec![input],
            Node::Aggregate(node) => vec![&node.input],
            Node::TopN(node) => vec![&node.input],
            Node::Join(node) => vec![&node.left, &node.right],
            Node::Union { inputs } => inputs.iter().collect(),
        }
    }

    /// The streams and tables it reads, each once.
    pub fn relations(&self) -> Vec<ObjectId> {
        let mut found = Vec::new();
        self.each(&mut |flow| {
            if let Node::Scan { relation, .. } | Node::Versions { relation, .. } = &flow.node {
                found.push(*relation);
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// This node and all below, from above.
    pub fn each(&self, take: &mut dyn FnMut(&Self)) {
        take(self);
        for input in self.inputs() {
            input.each(take);
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (at, line) in self.lines().into_iter().enumerate() {
            writeln!(f, "{}{line}", "  ".repeat(depth + at))?;
        }
        let depth = depth + self.lines().len();
        self.inputs().into_iter().try_for_each(|input| input.write(f, depth))
    }

    /// What `EXPLAIN` says of the node alone; a chain of filters and projections has a line each.
    pub fn lines(&self) -> Vec<String> {
        let list = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let until = |expiry: Option<Expiry>, schema: &SchemaRef| match expiry {
            Some(Expiry { column, slack_us }) => {
                format!(", kept until watermark > {} + {}s", schema.field(column).name(), slack_us as f64 / 1e6)
            }
            None => String::new(),
        };
        match &self.node {
            Node::Scan { name, kind, late, .. } => {
                let what = if *kind == SourceKind::Stream { "StreamScan" } else { "TableScan" };
                vec![match late {
                    Late::Never => format!("{what}: {name}"),
                    Late::Pane(pane_us) => format!("{what}: {name}, without rows late for {}s", *pane_us as f64 / 1e6),
                    Late::Strict => format!("{what}: {name}, without late rows"),
                }]
            }
            Node::Versions { name, time, .. } => {
                let from = time.map_or("_ingested_at", |at| self.schema.field(at).name().as_str());
                vec![format!("TableVersions: {name}, each from its {from}")]
            }
            Node::One => vec!["OneRow".to_owned()],
            Node::Rows { ops, .. } => {
                let line = |op: &RowOp| match op {
                    RowOp::Filter { predicate, .. } => format!("Filter: {predicate}"),
                    RowOp::Project { exprs, .. } => format!("Project: {}", list(exprs)),
                };
                ops.iter().rev().map(line).collect()
            }
            Node::Window { frames, .. } => {
                let one = |frame: &Frame| match frame.slide_us == frame.size_us {
                    true => format!("{}s", frame.size_us as f64 / 1e6),
                    false => format!("{}s every {}s", frame.size_us as f64 / 1e6, frame.slide_us as f64 / 1e6),
                };
                vec![format!("Window: {}", frames.iter().map(one).collect::<Vec<_>>().join(", "))]
            }
            Node::SessionWindow { gap_us, .. } => vec![format!("SessionWindow: gap={}s", *gap_us as f64 / 1e6)],
            Node::Aggregate(node) => {
                let emit = if node.on_close { ", emit on window close" } else { "" };
                let panes = match &node.panes {
                    Some(panes) => format!(", by panes of {}s", panes.pane_us as f64 / 1e6),
                    None => String::new(),
                };
                let (groups, aggregates) = (list(&node.groups), list(&node.aggregates));
                let until = until(node.expiry, &self.schema);
                vec![format!("Aggregate: by=[{groups}] [{aggregates}]{panes}{until}{emit}")]
            }
            Node::TopN(node) => {
                let order: Vec<String> = node.order.iter().map(ToString::to_string).collect();
                let fetch = node.fetch.map_or("all".to_owned(), |fetch| fetch.to_string());
                let (partition, until) = (list(&node.partition), until(node.expiry, &node.input.schema));
                let by = match node.numbering {
                    Some(Numbering::Rank) => ", by rank",
                    Some(Numbering::DenseRank) => ", by dense rank",
                    Some(Numbering::Row) | None => "",
                };
                vec![format!("TopN: {fetch} by [{}] of each [{partition}]{by}{until}", order.join(", "))]
            }
            Node::Join(node) => {
                let on: Vec<String> = node.on.iter().map(|(left, right)| format!("{left} = {right}")).collect();
                let filter = node.filter.as_ref().map(|(filter, _)| format!(", {filter}")).unwrap_or_default();
                let what = if node.lookup { "LookupJoin" } else { "Join" };
                let left = until(node.left_expiry, &node.left.schema);
                let right = until(node.right_expiry, &node.right.schema);
                let ttl = |side: &str, ttl_us: Option<i64>| match ttl_us {
                    Some(us) => format!(", {side} rows kept for {}s", us as f64 / 1e6),
                    None => String::new(),
                };
                let (left_ttl, right_ttl) = (ttl("left", node.left_ttl_us), ttl("right", node.right_ttl_us));
                vec![format!("{what}: {} on [{}]{filter}{left}{right}{left_ttl}{right_ttl}", node.kind, on.join(", "))]
            }
            Node::Union { .. } => vec!["Union".to_owned()],
            Node::Unnest { lists, keep_empty, .. } => {
                let names: Vec<&str> = lists.iter().map(|at| self.schema.field(*at).name().as_str()).collect();
                let empty = if *keep_empty { ", a row where there is none" } else { "" };
                vec![format!("Unnest: {}{empty}", names.join(", "))]
            }
            Node::Recent { time, span_us, .. } => vec![format!("Recent: {time} within {}s", *span_us as f64 / 1e6)],
        }
    }
}

/// The tree, indented. Two flows that print alike have the same state.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// The column that the expression is, whatever it is called.
pub(crate) fn column_of(expr: &Expr, schema: &DFSchemaRef) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// Fields by position, whatever relation they came of.
pub(crate) fn plain(schema: &DFSchemaRef) -> SchemaRef {
    Arc::clone(schema.inner())
}
