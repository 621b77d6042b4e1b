//! `TUMBLE`, `HOP` and `SESSION`, in both forms, become a sub-query whose select list says what the window columns
//! are by functions that nobody can run. DataFusion resolves names and types; the planner of flows takes
//! the functions out again.
//!
//! ```text
//! FROM HOP(bids, at, INTERVAL '1 minute', INTERVAL '1 hour') AS b
//! FROM (SELECT *, __window_start(at, 'hop …') AS window_start, … FROM bids) AS b
//! ```

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::{
    error::DataFusionError,
    logical_expr::{ScalarUDF, Volatility, create_udf},
    sql::sqlparser::ast::{
        self, Expr, FunctionArg, FunctionArgExpr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
        TableWithJoins, VisitMut, VisitorMut,
    },
};

use super::super::{
    LENGTH_MAX_US, interval_us,
    rewrite::WINDOW_COLUMNS,
    source::{is_virtual, time_type},
    view::{folded, imply_window_columns, last_name},
};
use crate::{
    Error, Frame, Plans, Result, SourceKind,
    parser::{WindowClause, WindowKind},
};

/// What one of the functions says: `window_start` of these windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    Frames(Vec<Frame>),
    Session(i64),
}

pub(super) const FUNCTIONS: [&str; 3] = ["__window_start", "__window_end", "__window_size"];

/// The functions, for name resolution alone.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let one = |(name, of)| {
        let never = move |_: &[datafusion::logical_expr::ColumnarValue]| {
            Err(DataFusionError::Internal(format!("{name} is not a function that runs")))
        };
        // Volatile, so that no rule of the optimizer moves or copies them.
        create_udf(name, vec![time_type(), DataType::Utf8], of, Volatility::Volatile, std::sync::Arc::new(never))
    };
    let types = [time_type(), time_type(), DataType::Interval(IntervalUnit::MonthDayNano)];
    FUNCTIONS.into_iter().zip(types).map(one).collect()
}

/// Rewrites every window of the query, the clause's among them.
pub(super) fn rewrite(query: &mut Query, clause: Option<&WindowClause>, plans: &Plans) -> Result<()> {
    if let Some(clause) = clause {
        of_clause(query, clause, plans)?;
    }
    if !query.locks.is_empty() {
        return Err(Error::unsupported(
            "FOR UPDATE in a materialized view",
            "Leave it out: a view is read without locks.",
        ));
    }
    let mut rewriter = Rewriter { plans, mentioned: mentioned(query) };
    match VisitMut::visit(query, &mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Virtual columns that the query names somewhere.
fn mentioned(query: &Query) -> Vec<String> {
    let text = query.to_string();
    let word = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let part = |c: char| c.is_alphanumeric() || c == '_';
            !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part)
        })
    };
    let all = ["_partition", "_offset", "_key", "_ingested_at", "_late", "_watermark"];
    all.into_iter().filter(|name| word(name)).map(str::to_owned).collect()
}

struct Rewriter<'a> {
    plans: &'a Plans,
    mentioned: Vec<String>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.of_function(factor) {
            Ok(Some(new)) => {
                *factor = new;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter<'_> {
    fn of_function(&self, factor: &TableFactor) -> Result<Option<TableFactor>> {
        if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } = factor {
            return Err(Error::unsupported("TABLESAMPLE in a materialized view", "Filter by a condition on a column."));
        }
        let TableFactor::Table { name, args: Some(args), alias, .. } = factor else { return Ok(None) };
        let function = last_name(name);
        let Some(kind) = WindowKind::of(&function) else {
            let nearest = "Use TUMBLE, HOP or SESSION(stream, time, ...).";
            return Err(Error::unsupported(
                format!("table function {function} in a materialized view"),
                match function.as_str() {
                    "cumulate" => "Use TUMBLE with several sizes.",
                    _ => nearest,
                },
            ));
        };
        let mut exprs = Vec::new();
        for arg in &args.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => exprs.push(expr.clone()),
                other => {
                    return Err(Error::syntax(format!("{} does not take the argument {other}", kind.name())));
                }
            }
        }
        let mut exprs = exprs.into_iter();
        let (Some(of), Some(time)) = (exprs.next(), exprs.next()) else {
            return Err(Error::syntax(format!("{} needs a stream and a time column", kind.name()))
                .hint(format!("Write {}.", kind.usage())));
        };
        let relation = match &of {
            Expr::Identifier(ident) => relation_named(ident),
            Expr::Subquery(query) => {
                TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }
            }
            other => {
                return Err(Error::syntax(format!(
                    "the first argument of {} must be the name of a stream, not {other}",
                    kind.name()
                )));
            }
        };
        let named = match &of {
            Expr::Identifier(ident) => ident.clone(),
            _ => Ident::new("windowed"),
        };
        let spec = Spec::of(kind, &exprs.collect::<Vec<_>>())?;
        let alias = alias.clone().unwrap_or(TableAlias { explicit: true, at: None, name: named, columns: vec![] });
        Ok(Some(windowed(relation, alias, &time, &spec, self.plans, &self.mentioned)))
    }
}

/// The clause belongs to the relation that its time column is of.
fn of_clause(query: &mut Query, clause: &WindowClause, plans: &Plans) -> Result<()> {
    let mentioned = mentioned(query);
    let select = outer_select(query)?;
    let spec = Spec::of(clause.kind, &clause.args)?;
    let (qualifier, column) = match &clause.time {
        Expr::Identifier(ident) => (None, folded(ident)),
        Expr::CompoundIdentifier(parts) if parts.len() == 2 => (Some(folded(&parts[0])), folded(&parts[1])),
        other => {
            return Err(Error::unsupported(format!("the window time {other}"), "Name a column of the stream."));
        }
    };
    let joined = select.from.iter().map(|from| 1 + from.joins.len()).sum::<usize>() > 1;
    let Some(factor) = owner(&mut select.from, qualifier.as_deref(), &column, plans) else {
        return Err(Error::new(
            "42P01",
            match qualifier {
                Some(name) => format!("missing FROM-clause entry for table \"{name}\""),
                None => format!("no relation of FROM has the column \"{column}\""),
            },
        ));
    };
    let alias = alias_of(factor);
    let time = Expr::Identifier(Ident::new(column));
    let taken = std::mem::replace(factor, relation_named(&Ident::new("t")));
    *factor = windowed(unaliased(taken), alias.clone(), &time, &spec, plans, &mentioned);
    imply_window_columns(select, joined.then_some(&alias.name))
}

pub(super) fn outer_select(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        SetExpr::Query(inner) => outer_select(inner),
        _ => Err(Error::unsupported(
            "the WINDOW clause of a query that is not one SELECT",
            "Use the table function, such as FROM TUMBLE(stream, time, size).",
        )),
    }
}

fn owner<'a>(
    from: &'a mut [TableWithJoins],
    qualifier: Option<&str>,
    column: &str,
    plans: &Plans,
) -> Option<&'a mut TableFactor> {
    let mut all: Vec<&mut TableFactor> = Vec::new();
    for one in from {
        all.push(&mut one.relation);
        all.extend(one.joins.iter_mut().map(|join| &mut join.relation));
    }
    let count = all.len();
    let has = |factor: &TableFactor| match qualifier {
        Some(name) => folded(&alias_of(factor).name) == name,
        None => match factor {
            TableFactor::Table { name, .. } => {
                columns(&last_name(name), plans).is_some_and(|columns| columns.iter().any(|known| known == column))
            }
            _ => false,
        },
    };
    let at = all.iter().position(|factor| has(factor));
    let at = at.or((qualifier.is_none() && count == 1).then_some(0))?;
    Some(all.swap_remove(at))
}

/// Columns that a query sees, virtual ones of a stream too.
fn columns(relation: &str, plans: &Plans) -> Option<Vec<String>> {
    let names = |schema: &arrow::datatypes::Schema| schema.fields().iter().map(|field| field.name().clone()).collect();
    let source = plans.sources.iter().find(|source| source.name == relation);
    let view = || plans.views.iter().find(|view| view.name == relation).map(|view| names(&view.schema));
    source
        .map(|source| match source.kind {
            SourceKind::Stream => names(&source.full_schema),
            SourceKind::Table => names(&source.schema),
        })
        .or_else(view)
}

fn alias_of(factor: &TableFactor) -> TableAlias {
    let named = |name: Ident| TableAlias { explicit: true, at: None, name, columns: vec![] };
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.clone()
        }
        TableFactor::Table { name, .. } => named(Ident::with_quote('"', last_name(name))),
        _ => named(Ident::new("windowed")),
    }
}

fn unaliased(mut factor: TableFactor) -> TableFactor {
    match &mut factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => *alias = None,
        _ => {}
    }
    if let TableFactor::Derived { alias, .. } = &mut factor {
        *alias = Some(TableAlias { explicit: true, at: None, name: Ident::new("windowed"), columns: vec![] });
    }
    factor
}

fn relation_named(name: &Ident) -> TableFactor {
    let mut query = parse_query(&format!("SELECT 1 FROM {name}"));
    match query.body.as_mut() {
        SetExpr::Select(select) => select.from.swap_remove(0).relation,
        _ => unreachable!("our own text is a SELECT"),
    }
}

fn parse_query(text: &str) -> Query {
    use datafusion::sql::sqlparser::parser::Parser;

    use crate::parser::Postgres;
    let parsed = Parser::new(&Postgres).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    *parsed.expect("our own text is SQL")
}

/// `(SELECT its columns, the window's columns FROM relation) AS alias`
fn windowed(
    relation: TableFactor,
    alias: TableAlias,
    time: &Expr,
    spec: &Spec,
    plans: &Plans,
    mentioned: &[String],
) -> TableFactor {
    let mut query = parse_query("SELECT 1 FROM t");
    if let SetExpr::Select(select) = query.body.as_mut() {
        let name = match &relation {
            TableFactor::Table { name, .. } => Some(last_name(name)),
            _ => None,
        };
        let known = name.and_then(|name| columns(&name, plans));
        select.projection = match known {
            None => vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())],
            Some(names) => {
                // The window takes the place of one that the relation was grouped by.
                let seen = names.iter().filter(|name| {
                    (!is_virtual(name) || mentioned.contains(name)) && !WINDOW_COLUMNS.contains(&name.as_str())
                });
                seen.map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::with_quote('"', name)))).collect()
            }
        };
        for (function, column) in FUNCTIONS.iter().zip(WINDOW_COLUMNS) {
            let call = parse_query(&format!("SELECT {function}({time}, '{}') AS {column}", spec.text()));
            if let SetExpr::Select(call) = *call.body {
                select.projection.extend(call.projection);
            }
        }
        select.from = vec![TableWithJoins { relation, joins: vec![] }];
    }
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
}

impl Spec {
    pub(super) fn of(kind: WindowKind, args: &[Expr]) -> Result<Self> {
        let usage =
            || Error::syntax(format!("{} has other arguments", kind.name())).hint(format!("Write {}.", kind.usage()));
        let length = |expr: &Expr| {
            let found = interval_us(expr).filter(|(us, _)| *us > 0 && *us <= LENGTH_MAX_US);
            found.ok_or_else(|| {
                Error::new("22023", format!("window size {expr} is not a positive, fixed length of time"))
                    .hint("Write INTERVAL '1 minute'; months have no fixed length.")
            })
        };
        match (kind, args) {
            (WindowKind::Tumble, [_, ..]) => {
                let mut frames: Vec<Frame> = Vec::new();
                for arg in args {
                    let (size_us, interval) = length(arg)?;
                    if frames.iter().all(|frame| frame.size_us != size_us) {
                        frames.push(Frame { slide_us: size_us, size_us, interval });
                    }
                }
                frames.sort_by_key(|frame| frame.size_us);
                let pane_us = frames[0].size_us;
                if frames.iter().any(|frame| frame.size_us % pane_us != 0) {
                    return Err(Error::new("22023", "window sizes must be multiples of the smallest")
                        .hint("Use two views, or sizes such as 1 minute, 5 minutes and 1 hour."));
                }
                Ok(Self::Frames(frames))
            }
            (WindowKind::Hop, [slide, sizes @ ..]) if !sizes.is_empty() => {
                let (slide_us, _) = length(slide)?;
                let mut frames = Vec::new();
                for size in sizes {
                    let (size_us, interval) = length(size)?;
                    if size_us % slide_us != 0 {
                        return Err(Error::new(
                            "22023",
                            format!("the size {size} is not a multiple of the slide {slide}"),
                        )
                        .hint("Write HOP (time, slide, size) with a size such as ten times the slide."));
                    }
                    frames.push(Frame { slide_us, size_us, interval });
                }
                Ok(Self::Frames(frames))
            }
            (WindowKind::Session, [gap]) => Ok(Self::Session(length(gap)?.0)),
            _ => Err(usage()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Session(gap_us) => format!("session {gap_us}"),
            Self::Frames(frames) => {
                let one = |frame: &Frame| {
                    let IntervalMonthDayNano { months, days, nanoseconds } = frame.interval;
                    format!("{} {} {months} {days} {nanoseconds}", frame.slide_us, frame.size_us)
                };
                frames.iter().map(one).collect::<Vec<_>>().join(",")
            }
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(gap) = text.strip_prefix("session ") {
            return gap.parse().ok().map(Self::Session);
        }
        let frame = |part: &str| {
            let mut numbers = part.split(' ').map(|number| number.parse::<i64>().ok());
            let mut next = || numbers.next().flatten();
            let (slide_us, size_us) = (next()?, next()?);
            let (months, days) = (i32::try_from(next()?).ok()?, i32::try_from(next()?).ok()?);
            Some(Frame { slide_us, size_us, interval: IntervalMonthDayNano::new(months, days, next()?) })
        };
        text.split(',').map(frame).collect::<Option<Vec<_>>>().map(Self::Frames)
    }

    /// The pane that decides which rows are late: the first window that a row is in.
    pub(super) fn pane_us(frames: &[Frame]) -> i64 {
        frames.iter().map(|frame| frame.slide_us).min().unwrap_or(1)
    }
}
