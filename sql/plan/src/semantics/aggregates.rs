//! Aggregates whose arguments have their types. What PostgreSQL computes in exact numbers is put together of counts
//! and exact sums, so that every operator that keeps those, and takes rows away again, is exact too.
//!
//! | written | computed |
//! |---|---|
//! | `sum(bigint)` | the sum of `NUMERIC(38, 0)` |
//! | `avg(x)` of integers and NUMERIC | `sum(x) / count(x)` as NUMERIC |
//! | `stddev`, `variance` of integers and NUMERIC | of `count(x)`, `sum(x)`, `sum(x * x)` |
//! | `sum`, `avg` of floats | in doubles, and 22003 beyond the largest |
//! | `stddev`, `corr`, `regr_…` of floats | by PostgreSQL's own steps |
//! | `min`, `max` of floats and intervals | of integers or bytes in the same order |
//! | `mode`, `percentile_…` | of all values, put in order |
//! | `json_agg`, and `string_agg` with a column between | of `array_agg` of texts |

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::ScalarValue,
    functions_aggregate::{array_agg::array_agg_udaf, bool_and_or::bool_and_udaf, count::count_udaf, sum::sum_udaf},
    logical_expr::{
        AggregateUDF, Cast, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
        expr::{AggregateFunction, AggregateFunctionParams, Sort, WindowFunction, WindowFunctionParams},
    },
};
use ebap_functions::{CastContext, OrderedSet, Target, order_udf};
use ebap_values::PgType;

use super::{
    calls,
    deferred::waiting_aggregate,
    guards, numbering,
    scope::{Scope, called},
};
use crate::{Error, Result};

/// Aggregates that wait for the types of their arguments.
pub(super) const NAMES: [&str; 30] = [
    "sum",
    "avg",
    "min",
    "max",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "corr",
    "covar_pop",
    "covar_samp",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "string_agg",
    "percentile_cont",
    "median",
    "count",
    "array_agg",
    "regr_count",
    "regr_sxx",
    "regr_syy",
    "regr_sxy",
    "regr_avgx",
    "regr_avgy",
    "regr_r2",
    "regr_slope",
    "regr_intercept",
];

/// Aggregates that DataFusion does not have, and whether they are of values in an order.
pub(super) const OWN: [(&str, bool); 8] = [
    ("variance", false),
    ("every", false),
    ("mode", true),
    ("percentile_disc", true),
    ("json_agg", false),
    ("jsonb_agg", false),
    ("json_object_agg", false),
    ("jsonb_object_agg", false),
];

/// The one name of those that mean the same.
fn plain_name(name: &str) -> &str {
    match name {
        "variance" => "var",
        "every" => "bool_and",
        other => other,
    }
}

fn is_spread(name: &str) -> bool {
    matches!(name, "stddev" | "stddev_pop" | "var" | "var_pop")
}

/// Of Y and X, both of DOUBLE PRECISION.
fn is_of_pairs(name: &str) -> bool {
    matches!(name, "corr" | "covar_pop" | "covar_samp") || name.starts_with("regr_")
}

/// The type of the answer.
pub(super) fn answer(name: &str, given: &[PgType]) -> Option<PgType> {
    use PgType::{Bool, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Text, Unknown};
    let of = given.first();
    Some(match (plain_name(name), of) {
        ("count" | "regr_count", _) => Int8,
        ("json_agg" | "json_object_agg", _) => PgType::Json,
        ("jsonb_agg" | "jsonb_object_agg", _) => PgType::Jsonb,
        ("sum", Some(Int2 | Int4)) => Int8,
        ("sum", Some(Int8 | Numeric)) => Numeric,
        ("sum", Some(Float4)) => Float4,
        ("avg", Some(Int2 | Int4 | Int8 | Numeric)) => Numeric,
        ("sum" | "avg", Some(Interval)) => Interval,
        ("stddev" | "stddev_pop" | "var" | "var_pop", Some(Int2 | Int4 | Int8 | Numeric)) => Numeric,
        ("sum" | "avg" | "stddev" | "stddev_pop" | "var" | "var_pop", _) => Float8,
        ("percentile_cont", _) | ("percentile_disc", _) if matches!(given.get(1), Some(PgType::Array(_))) => {
            let of = if name == "percentile_cont" { &Float8 } else { of? };
            PgType::Array(Box::new(of.clone()))
        }
        ("percentile_cont", Some(Interval)) => Interval,
        ("percentile_cont" | "median", _) => Float8,
        (name, _) if is_of_pairs(name) => Float8,
        ("bool_and" | "bool_or", _) => Bool,
        ("string_agg", Some(Unknown)) => Text,
        ("array_agg", Some(of)) => PgType::Array(Box::new(of.clone())),
        (_, Some(of)) => of.clone(),
        (_, None) => return None,
    })
}

/// How an aggregate of these parameters is called: as an aggregate, or over a window.
struct Call<'a> {
    make: &'a dyn Fn(&Arc<AggregateUDF>, Vec<Expr>) -> Expr,
    distinct: bool,
    /// Of `WITHIN GROUP`.
    descending: bool,
}

pub(super) fn resolved(scope: &Scope<'_>, call: AggregateFunction) -> Result<Expr> {
    let AggregateFunction { func, params } = call;
    let Some(inner) = waiting_aggregate(&func).map(Arc::clone) else {
        return Ok(Expr::AggregateFunction(AggregateFunction { func, params: prepared(scope, params)? }));
    };
    let mut params = prepared(scope, params)?;
    let ordered = matches!(inner.name(), "mode" | "percentile_disc" | "percentile_cont");
    let descending = ordered && params.order_by.first().is_some_and(|sort| !sort.asc);
    if ordered {
        // Their own accumulator puts the values in order.
        params.order_by.clear();
    }
    let in_lists = matches!(inner.name(), "array_agg" | "string_agg" | "json_agg" | "jsonb_agg");
    let make = |udaf: &Arc<AggregateUDF>, args: Vec<Expr>| {
        let mut params = AggregateFunctionParams { args, ..params.clone() };
        if params.distinct && in_lists && params.order_by.is_empty() {
            // PostgreSQL finds equal values by putting them in order, and leaves them so.
            params.order_by.extend(params.args.first().map(|arg| arg.clone().sort(true, false)));
        }
        Expr::AggregateFunction(AggregateFunction { func: Arc::clone(udaf), params })
    };
    let args = arguments(scope, inner.name(), params.args.clone(), params.distinct)?;
    let args: Vec<Expr> = args.into_iter().map(|arg| guards::filtered(arg, params.filter.as_deref())).collect();
    meant(scope, &inner, args, &Call { make: &make, distinct: params.distinct, descending })
}

pub(super) fn resolved_window(scope: &Scope<'_>, call: WindowFunction) -> Result<Expr> {
    let WindowFunction { fun, params } = call;
    let params = prepared_window(scope, params)?;
    let plain = |fun: WindowFunctionDefinition, params| {
        let fun = match &fun {
            WindowFunctionDefinition::WindowUDF(function) => match numbering::signed(function) {
                Some(signed) => WindowFunctionDefinition::WindowUDF(signed),
                None => fun,
            },
            WindowFunctionDefinition::AggregateUDF(_) => fun,
        };
        Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
    };
    let WindowFunctionDefinition::AggregateUDF(udaf) = &fun else {
        if let (WindowFunctionDefinition::WindowUDF(function), [_, Expr::Literal(value, _), ..]) =
            (&fun, &params.args[..])
            && matches!(function.name(), "lag" | "lead")
            && value.is_null()
        {
            let what = format!("{} by an offset of NULL", function.name());
            return Err(Error::unsupported(what, "It is NULL in every row: write NULL."));
        }
        if let (WindowFunctionDefinition::WindowUDF(function), [Expr::Literal(value, _)]) = (&fun, &params.args[..])
            && function.name() == "ntile"
            && matches!(value, ScalarValue::Int32(Some(..=0)) | ScalarValue::Int64(Some(..=0)))
        {
            return Err(Error::new("22014", "argument of ntile must be greater than zero"));
        }
        return plain(fun, params);
    };
    let Some(inner) = waiting_aggregate(udaf).map(Arc::clone) else { return plain(fun, params) };
    // Rows leave the frame, and must take with them what they brought.
    let slides = !params.window_frame.start_bound.is_unbounded();
    let make = |udaf: &Arc<AggregateUDF>, args: Vec<Expr>| {
        let params = WindowFunctionParams { args, ..params.clone() };
        let takes_back = matches!(udaf.name(), "count" | "min" | "max" | "numeric_sum" | "interval_sum")
            || udaf.name() == "sum" && !args_are_float(scope, &params.args);
        let udaf = if slides && !takes_back { ebap_functions::recomputed(udaf) } else { Arc::clone(udaf) };
        let fun = WindowFunctionDefinition::AggregateUDF(udaf);
        Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
    };
    let args = arguments(scope, inner.name(), params.args.clone(), params.distinct)?;
    let args = args.into_iter().map(|arg| guards::filtered(arg, params.filter.as_deref())).collect();
    meant(scope, &inner, args, &Call { make: &make, distinct: params.distinct, descending: false })
}

/// Conditions are boolean, and what is ordered by is ordered as PostgreSQL orders it.
fn prepared(scope: &Scope<'_>, mut params: AggregateFunctionParams) -> Result<AggregateFunctionParams> {
    params.filter = params.filter.map(|filter| scope.boolean(*filter, "FILTER").map(Box::new)).transpose()?;
    params.order_by = sorted(scope, params.order_by)?;
    Ok(params)
}

fn prepared_window(scope: &Scope<'_>, mut params: WindowFunctionParams) -> Result<WindowFunctionParams> {
    params.filter = params.filter.map(|filter| scope.boolean(*filter, "FILTER").map(Box::new)).transpose()?;
    params.order_by = sorted(scope, params.order_by)?;
    // Peers are the rows of one key, which is all that a range without a distance asks for.
    let keyed = params.order_by.iter().map(|sort| scope.field(&sort.expr)).collect::<Result<Vec<_>>>()?;
    let keyed = keyed.iter().any(|field| matches!(field.data_type(), DataType::Binary | DataType::LargeBinary));
    let frame = &params.window_frame;
    let plain = [&frame.start_bound, &frame.end_bound].into_iter().all(|bound| match bound {
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => by.is_null(),
        WindowFrameBound::CurrentRow => true,
    });
    if keyed && plain && frame.units == WindowFrameUnits::Range {
        let (start, end) = (frame.start_bound.clone(), frame.end_bound.clone());
        params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end);
    }
    params.partition_by = params.partition_by.into_iter().map(|expr| scope.key(expr)).collect::<Result<_>>()?;
    Ok(params)
}

pub(super) fn sorted(scope: &Scope<'_>, sorts: Vec<Sort>) -> Result<Vec<Sort>> {
    let one = |sort: Sort| Ok(Sort { expr: scope.key(sort.expr)?, ..sort });
    sorts.into_iter().map(one).collect()
}

/// The arguments as values of types that the aggregate takes.
fn arguments(scope: &Scope<'_>, name: &str, args: Vec<Expr>, distinct: bool) -> Result<Vec<Expr>> {
    let (written, name) = (name, plain_name(name));
    let as_float = is_of_pairs(name) || matches!(name, "percentile_cont" | "median");
    let args = args.into_iter().enumerate().map(|(at, arg)| {
        let of = scope.of(&arg)?;
        let arg = match (name, of) {
            ("bool_and" | "bool_or", of) if !matches!(of, PgType::Bool | PgType::Unknown) => {
                return Err(unknown(written, &[of]));
            }
            ("bool_and" | "bool_or", _) => scope.boolean(arg, name)?,
            ("array_agg", PgType::Unknown) => return Err(ambiguous(name)),
            ("string_agg", PgType::Text | PgType::Bpchar | PgType::Unknown) => scope.to(arg, &PgType::Text)?,
            ("string_agg", of) if of != PgType::Bytea => return Err(unknown(name, &[of, PgType::Unknown])),
            ("percentile_cont" | "percentile_disc", PgType::Array(_)) if at == 1 => {
                scope.to(arg, &PgType::Array(Box::new(PgType::Float8)))?
            }
            ("percentile_cont", PgType::Interval) if at == 0 => arg,
            ("percentile_disc", _) if at == 1 => scope.to(arg, &PgType::Float8)?,
            (_, of) if as_float && of != PgType::Unknown && !is_number(&of, name) => {
                return Err(unknown(name, &[of]));
            }
            ("count", PgType::Unknown) => arg,
            // What `count(*)` is, as DataFusion writes it.
            ("count", PgType::Int4) if arg == int(1) => Expr::Literal(ScalarValue::Int64(Some(1)), None),
            ("sum" | "avg", PgType::Unknown) => return Err(ambiguous(name)),
            ("sum" | "avg" | "stddev" | "stddev_pop" | "var" | "var_pop", of) if !is_number(&of, name) => {
                return Err(unknown(name, &[of]));
            }
            ("bit_and" | "bit_or" | "bit_xor", of) if !is_integer(&of) => return Err(unknown(name, &[of])),
            (_, _) if as_float => scope.to(arg, &PgType::Float8)?,
            (_, PgType::Unknown) if at == 0 => scope.to(arg, &PgType::Text)?,
            (_, _) => arg,
        };
        if distinct { scope.canonical(arg) } else { Ok(arg) }
    });
    args.collect()
}

fn int(value: i32) -> Expr {
    Expr::Literal(ScalarValue::Int32(Some(value)), None)
}

fn args_are_float(scope: &Scope<'_>, args: &[Expr]) -> bool {
    args.iter().any(|arg| scope.of(arg).is_ok_and(|of| matches!(of, PgType::Float4 | PgType::Float8)))
}

fn is_integer(of: &PgType) -> bool {
    matches!(of, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

fn is_number(of: &PgType, name: &str) -> bool {
    let interval = *of == PgType::Interval && matches!(name, "sum" | "avg");
    is_integer(of) || matches!(of, PgType::Float4 | PgType::Float8 | PgType::Numeric) || interval
}

fn unknown(name: &str, given: &[PgType]) -> Error {
    let types: Vec<String> = given.iter().map(ToString::to_string).collect();
    Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn ambiguous(name: &str) -> Error {
    Error::new("42725", format!("function {name}(unknown) is not unique"))
        .hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

fn meant(scope: &Scope<'_>, udaf: &Arc<AggregateUDF>, args: Vec<Expr>, call: &Call<'_>) -> Result<Expr> {
    let name = plain_name(udaf.name());
    let Some(arg) = args.first().cloned() else { return Ok((call.make)(udaf, args)) };
    let of = scope.of(&arg)?;
    match (name, &of) {
        ("sum", PgType::Interval) => Ok((call.make)(&ebap_functions::interval_sum(), args)),
        ("avg", PgType::Interval) => {
            let (sum, count) = ((call.make)(&ebap_functions::interval_sum(), args), count(arg, call));
            // Of no rows the sum is NULL, and NULL divided by 0 is too.
            calls::binary(scope, "/", sum, scope.to(count, &PgType::Float8)?)
        }
        ("bool_and", _) => Ok((call.make)(&bool_and_udaf(), args)),
        ("mode" | "percentile_disc" | "percentile_cont", _) => in_order(scope, name, args, call),
        ("string_agg", _) => strings(scope, udaf, args, call),
        ("json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg", _) => json(scope, name, args, call),
        (name, _) if is_of_pairs(name) => match (ebap_functions::float_statistic(name), args.len()) {
            (Some(own), 2) => Ok((call.make)(&own, args)),
            _ => Err(unknown(name, &scope.types(&args)?)),
        },
        ("sum", _) => sum(scope, arg, &of, call),
        ("avg", PgType::Float4 | PgType::Float8) => {
            Ok((call.make)(&ebap_functions::float_avg(), vec![scope.to(arg, &PgType::Float8)?]))
        }
        ("avg", _) => {
            let (sum, count) = (sum(scope, arg.clone(), &of, call)?, count(arg, call));
            calls::binary(scope, "/", scope.dynamic(sum)?, scope.dynamic(scope.to(count, &PgType::Numeric)?)?)
        }
        (name, PgType::Float4 | PgType::Float8) if is_spread(name) => match ebap_functions::float_statistic(name) {
            Some(own) => Ok((call.make)(&own, vec![scope.to(arg, &PgType::Float8)?])),
            None => Err(unknown(name, &[of])),
        },
        (name, _) if is_spread(name) => spread(scope, name, arg, call),
        ("min" | "max", _) => extreme(scope, udaf, arg, call),
        _ => Ok((call.make)(udaf, args)),
    }
}

fn count(arg: Expr, call: &Call<'_>) -> Expr {
    (call.make)(&count_udaf(), vec![arg])
}

/// The exact sum, of the type that PostgreSQL gives it.
fn sum(scope: &Scope<'_>, arg: Expr, of: &PgType, call: &Call<'_>) -> Result<Expr> {
    let native = |expr: Expr, of: DataType| Expr::Cast(Cast::new(Box::new(expr), of));
    match of {
        PgType::Int2 | PgType::Int4 => Ok((call.make)(&sum_udaf(), vec![scope.to(arg, &PgType::Int8)?])),
        // Sums of 64-bit integers have room for more rows than there can be.
        PgType::Int8 => Ok((call.make)(&sum_udaf(), vec![native(arg, DataType::Decimal128(38, 0))])),
        PgType::Float4 => {
            let sum = (call.make)(&ebap_functions::float_sum(), vec![scope.to(arg, &PgType::Float8)?]);
            scope.cast(sum, &Target { of: PgType::Float4, typmod: None }, CastContext::Assignment)
        }
        PgType::Numeric => numeric_sum(scope, arg, call),
        _ => Ok((call.make)(&ebap_functions::float_sum(), vec![scope.to(arg, &PgType::Float8)?])),
    }
}

fn numeric_sum(scope: &Scope<'_>, arg: Expr, call: &Call<'_>) -> Result<Expr> {
    let native = |expr: Expr, of: DataType| Expr::Cast(Cast::new(Box::new(expr), of));
    match *scope.field(&arg)?.data_type() {
        // DataFusion's sum has ten digits more, which ten billion rows cannot fill.
        DataType::Decimal128(precision, _) if precision <= 28 => Ok((call.make)(&sum_udaf(), vec![arg])),
        DataType::Decimal128(precision, scale) => {
            let sum = (call.make)(&sum_udaf(), vec![native(arg, DataType::Decimal256(precision, scale))]);
            scope.dynamic(sum)
        }
        _ => Ok((call.make)(&ebap_functions::numeric_sum(), vec![scope.dynamic(arg)?])),
    }
}

/// Variance and standard deviation, of exact sums.
fn spread(scope: &Scope<'_>, name: &str, arg: Expr, call: &Call<'_>) -> Result<Expr> {
    if call.distinct {
        return Err(Error::unsupported(format!("{name}(DISTINCT …)"), "Use DISTINCT in a sub-query."));
    }
    let arg = scope.to(arg, &PgType::Numeric)?;
    let square = calls::binary(scope, "*", arg.clone(), arg.clone())?;
    let of = PgType::Numeric;
    let count = count(arg.clone(), call);
    let (sum, squares) = (sum(scope, arg, &of, call)?, sum(scope, square, &of, call)?);
    let args = vec![count, scope.dynamic(sum)?, scope.dynamic(squares)?];
    Ok(called(&ebap_functions::numeric_spread(name), args))
}

/// Aggregates of values in an order: what they are ordered by stands before them.
fn in_order(scope: &Scope<'_>, name: &str, mut args: Vec<Expr>, call: &Call<'_>) -> Result<Expr> {
    let of = match name {
        "mode" => OrderedSet::Mode,
        "percentile_disc" => OrderedSet::PercentileDisc,
        _ => OrderedSet::PercentileCont,
    };
    let wanted = if of == OrderedSet::Mode { 1 } else { 2 };
    if args.len() != wanted {
        return Err(unknown(name, &scope.types(&args)?));
    }
    let value_of = scope.of(&args[0])?;
    args.insert(0, scope.key(args[0].clone())?);
    let several = args.get(2).map(|fractions| scope.of(fractions)).transpose()?;
    let found = (call.make)(&ebap_functions::ordered_set(of, call.descending), args);
    Ok(match several {
        Some(PgType::Array(_)) => scope.marked(found, Some(&PgType::Array(Box::new(value_of)))),
        _ => scope.marked(found, Some(&value_of)),
    })
}

/// `string_agg`. DataFusion's own takes a literal between the texts; else each text brings what stands before it.
fn strings(scope: &Scope<'_>, udaf: &Arc<AggregateUDF>, args: Vec<Expr>, call: &Call<'_>) -> Result<Expr> {
    let types = scope.types(&args)?;
    let [value, between] = &args[..] else { return Err(unknown("string_agg", &types)) };
    let is_text = types[0] != PgType::Bytea;
    if is_text && matches!(between, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) {
        return Ok((call.make)(udaf, args));
    }
    if call.distinct {
        let hint = "Use DISTINCT in a sub-query.";
        return Err(Error::unsupported("string_agg(DISTINCT …) with such a delimiter", hint));
    }
    let (pack, join) = if is_text { ("string_agg part", "string_agg of") } else { ("bytea_agg part", "bytea_agg of") };
    let part = calls::library(scope, pack, vec![value.clone(), between.clone()])?;
    calls::library(scope, join, vec![(call.make)(&array_agg_udaf(), vec![part])])
}

/// `json_agg` and its like: the texts of the values, gathered and put together.
fn json(scope: &Scope<'_>, name: &str, args: Vec<Expr>, call: &Call<'_>) -> Result<Expr> {
    let types = scope.types(&args)?;
    let all = match (name.ends_with("object_agg"), &types[..]) {
        (false, [of]) => {
            let all = (call.make)(&array_agg_udaf(), args);
            // Beside the values it says nothing of UUID and JSON.
            scope.marked(all, Some(&PgType::Array(Box::new(of.clone()))))
        }
        (true, [_, _]) => {
            let member = calls::library(scope, "json member", args)?;
            let all = (call.make)(&array_agg_udaf(), vec![member]);
            let of = PgType::Array(Box::new(PgType::Text));
            called(&ebap_functions::cast_udf(&Target { of, typmod: None }, true), vec![all])
        }
        _ => return Err(unknown(name, &types)),
    };
    calls::library(scope, &format!("{name} of"), vec![all])
}

/// NaN is the largest of floats, whatever the order of the rows.
fn extreme(scope: &Scope<'_>, udaf: &Arc<AggregateUDF>, arg: Expr, call: &Call<'_>) -> Result<Expr> {
    let field = scope.field(&arg)?;
    let of = scope.of(&arg)?;
    if matches!(of, PgType::Json | PgType::Jsonb | PgType::Composite | PgType::Record) {
        return Err(unknown(udaf.name(), &[of]));
    }
    Ok(match order_udf(field.data_type()) {
        Some((to, from)) => called(&from, vec![(call.make)(udaf, vec![called(&to, vec![arg])])]),
        None => scope.marked((call.make)(udaf, vec![arg]), Some(&of)),
    })
}
