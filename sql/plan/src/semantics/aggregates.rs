//! Aggregates whose arguments have their types. What PostgreSQL computes in exact numbers is put together of counts
//! and exact sums, so that every operator that keeps those, and takes rows away again, is exact too.
//!
//! | written | computed |
//! |---|---|
//! | `sum(bigint)` | the sum of `NUMERIC(38, 0)` |
//! | `avg(x)` of integers and NUMERIC | `sum(x) / count(x)` as NUMERIC |
//! | `stddev`, `variance` of integers and NUMERIC | of `count(x)`, `sum(x)`, `sum(x * x)` |
//! | `min`, `max` of floats | of integers in the same order, in which NaN is the largest |

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::ScalarValue,
    functions_aggregate::{count::count_udaf, sum::sum_udaf},
    logical_expr::{
        AggregateUDF, Cast, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
        expr::{AggregateFunction, AggregateFunctionParams, Sort, WindowFunction, WindowFunctionParams},
    },
};
use ebap_functions::{CastContext, Target, order_udf};
use ebap_values::PgType;

use super::{
    calls,
    deferred::waiting_aggregate,
    guards,
    scope::{Scope, called},
};
use crate::{Error, Result};

/// Aggregates that wait for the types of their arguments.
pub(super) const NAMES: [&str; 21] = [
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
];

/// The type of the answer.
pub(super) fn answer(name: &str, given: &[PgType]) -> Option<PgType> {
    use PgType::{Bool, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Text, Unknown};
    let of = given.first();
    Some(match (name, of) {
        ("count", _) => Int8,
        ("sum", Some(Int2 | Int4)) => Int8,
        ("sum", Some(Int8 | Numeric)) => Numeric,
        ("sum", Some(Float4)) => Float4,
        ("avg", Some(Int2 | Int4 | Int8 | Numeric)) => Numeric,
        ("sum" | "avg", Some(Interval)) => Interval,
        ("stddev" | "stddev_pop" | "var" | "var_pop", Some(Int2 | Int4 | Int8 | Numeric)) => Numeric,
        ("sum" | "avg" | "stddev" | "stddev_pop" | "var" | "var_pop", _) => Float8,
        ("corr" | "covar_pop" | "covar_samp" | "percentile_cont" | "median", _) => Float8,
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
}

pub(super) fn resolved(scope: &Scope<'_>, call: AggregateFunction) -> Result<Expr> {
    let AggregateFunction { func, params } = call;
    let Some(inner) = waiting_aggregate(&func).map(Arc::clone) else {
        return Ok(Expr::AggregateFunction(AggregateFunction { func, params: prepared(scope, params)? }));
    };
    let params = prepared(scope, params)?;
    let make = |udaf: &Arc<AggregateUDF>, args: Vec<Expr>| {
        let params = AggregateFunctionParams { args, ..params.clone() };
        Expr::AggregateFunction(AggregateFunction { func: Arc::clone(udaf), params })
    };
    let args = arguments(scope, inner.name(), params.args.clone(), params.distinct)?;
    let args = args.into_iter().map(|arg| guards::filtered(arg, params.filter.as_deref())).collect();
    meant(scope, &inner, args, &Call { make: &make, distinct: params.distinct })
}

pub(super) fn resolved_window(scope: &Scope<'_>, call: WindowFunction) -> Result<Expr> {
    let WindowFunction { fun, params } = call;
    let params = prepared_window(scope, params)?;
    let plain = |fun, params| Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })));
    let WindowFunctionDefinition::AggregateUDF(udaf) = &fun else { return plain(fun, params) };
    let Some(inner) = waiting_aggregate(udaf).map(Arc::clone) else { return plain(fun, params) };
    // Rows leave the frame, and must take with them what they brought.
    let slides = !params.window_frame.start_bound.is_unbounded();
    let make = |udaf: &Arc<AggregateUDF>, args: Vec<Expr>| {
        let params = WindowFunctionParams { args, ..params.clone() };
        let float = ["sum", "avg", "stddev", "stddev_pop", "var", "var_pop", "corr", "covar_pop", "covar_samp"];
        let is_float = args_are_float(scope, &params.args) && float.contains(&udaf.name());
        let udaf = if slides && is_float { ebap_functions::recomputed(udaf) } else { Arc::clone(udaf) };
        let fun = WindowFunctionDefinition::AggregateUDF(udaf);
        Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
    };
    let args = arguments(scope, inner.name(), params.args.clone(), params.distinct)?;
    let args = args.into_iter().map(|arg| guards::filtered(arg, params.filter.as_deref())).collect();
    meant(scope, &inner, args, &Call { make: &make, distinct: params.distinct })
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
    let as_float = matches!(name, "corr" | "covar_pop" | "covar_samp" | "percentile_cont" | "median");
    let args = args.into_iter().enumerate().map(|(at, arg)| {
        let of = scope.of(&arg)?;
        let arg = match (name, of) {
            ("bool_and" | "bool_or", _) => scope.boolean(arg, name)?,
            ("string_agg", PgType::Text | PgType::Unknown) => scope.to(arg, &PgType::Text)?,
            ("string_agg", of) if of != PgType::Bytea => return Err(unknown(name, &[of, PgType::Unknown])),
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
    let name = udaf.name();
    let Some(arg) = args.first().cloned() else { return Ok((call.make)(udaf, args)) };
    let of = scope.of(&arg)?;
    match (name, &of) {
        ("sum" | "avg", PgType::Interval) => {
            Err(Error::unsupported(format!("{name}(interval)"), "Use extract(epoch FROM …), and make_interval."))
        }
        ("sum", _) => sum(scope, arg, &of, call),
        ("avg", PgType::Float4 | PgType::Float8) => Ok((call.make)(udaf, vec![scope.to(arg, &PgType::Float8)?])),
        ("avg", _) => {
            let (sum, count) = (sum(scope, arg.clone(), &of, call)?, count(arg, call));
            calls::binary(scope, "/", scope.dynamic(sum)?, scope.dynamic(scope.to(count, &PgType::Numeric)?)?)
        }
        ("stddev" | "stddev_pop" | "var" | "var_pop", PgType::Float4 | PgType::Float8) => {
            Ok((call.make)(udaf, vec![scope.to(arg, &PgType::Float8)?]))
        }
        ("stddev" | "stddev_pop" | "var" | "var_pop", _) => spread(scope, name, arg, call),
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
            let sum = (call.make)(&sum_udaf(), vec![scope.to(arg, &PgType::Float8)?]);
            scope.cast(sum, &Target { of: PgType::Float4, typmod: None }, CastContext::Assignment)
        }
        PgType::Numeric => numeric_sum(scope, arg, call),
        _ => Ok((call.make)(&sum_udaf(), vec![scope.to(arg, &PgType::Float8)?])),
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

/// NaN is the largest of floats, whatever the order of the rows.
fn extreme(scope: &Scope<'_>, udaf: &Arc<AggregateUDF>, arg: Expr, call: &Call<'_>) -> Result<Expr> {
    let field = scope.field(&arg)?;
    if matches!(field.data_type(), DataType::Interval(_)) && order_udf(field.data_type()).is_none() {
        let name = udaf.name();
        return Err(Error::unsupported(format!("{name}(interval)"), "Use extract(epoch FROM …)."));
    }
    Ok(match order_udf(field.data_type()) {
        Some((to, from)) => called(&from, vec![(call.make)(udaf, vec![called(&to, vec![arg])])]),
        None => {
            let of = scope.of(&arg)?;
            scope.marked((call.make)(udaf, vec![arg]), Some(&of))
        }
    })
}
