//! Every line of `cases/*.tsv` is a call whose answer PostgreSQL 15 gave.
//!
//! A line has the kind, the name, the arguments as `type:text` and the answer. `\N` is NULL, and an error is
//! `!` with its SQLSTATE. Arguments come once as constants and once as columns; both must give the answer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Field, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use ebap_functions::{
    Arg, Overload, Target, Typmod, array_all, array_any, arrow_field, binary, cast_udf, function, row_comparison,
    strict_float, unary, unknown_literal_with,
};
use ebap_values::{PgType, ValueError};

const ZONE: &str = "Europe/Berlin";

type Answer = Result<Option<String>, String>;

/// One value with its field.
struct Value {
    field: FieldRef,
    value: ScalarValue,
}

fn options() -> Arc<ConfigOptions> {
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some(ZONE.to_owned());
    Arc::new(options)
}

fn target(name: &str) -> Target {
    let (plain, typmod) = match name.split_once('(') {
        Some((plain, rest)) => (plain, Some(rest.trim_end_matches(')'))),
        None => (name, None),
    };
    if let Some(item) = plain.strip_suffix("[]") {
        return Target::plain(PgType::Array(Box::new(target(item).of)));
    }
    let numbers: Vec<i16> = typmod.map_or(Vec::new(), |t| t.split(',').map(|n| n.parse().expect("a number")).collect());
    let first = numbers.first().map_or(0, |n| u16::try_from(*n).expect("a length"));
    let (of, typmod) = match plain {
        "bool" => (PgType::Bool, None),
        "int2" => (PgType::Int2, None),
        "int4" => (PgType::Int4, None),
        "int8" => (PgType::Int8, None),
        "float4" => (PgType::Float4, None),
        "float8" => (PgType::Float8, None),
        "numeric" if numbers.is_empty() => (PgType::Numeric, None),
        "numeric" => (PgType::Numeric, Some(Typmod::Decimal(first, numbers.get(1).copied().unwrap_or(0)))),
        "text" => (PgType::Text, None),
        "varchar" => (PgType::Text, Some(Typmod::Varchar(first.into()))),
        "bpchar" if numbers.is_empty() => (PgType::Bpchar, None),
        "bpchar" => (PgType::Bpchar, Some(Typmod::Char(first.into()))),
        "bytea" => (PgType::Bytea, None),
        "date" => (PgType::Date, None),
        "time" => (PgType::Time, None),
        "timestamp" if numbers.is_empty() => (PgType::Timestamp, None),
        "timestamp" => (PgType::Timestamp, Some(Typmod::Fraction(u8::try_from(first).expect("digits")))),
        "timestamptz" => (PgType::Timestamptz, None),
        "interval" => (PgType::Interval, None),
        "uuid" => (PgType::Uuid, None),
        "json" => (PgType::Json, None),
        "jsonb" => (PgType::Jsonb, None),
        other => panic!("no type {other}"),
    };
    Target { of, typmod }
}

fn sqlstate(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::External(e) => match e.downcast_ref::<ValueError>() {
            Some(e) => e.sqlstate.to_owned(),
            None => format!("{e}"),
        },
        other => format!("{other}"),
    }
}

fn argument(text: &str) -> Result<Value, String> {
    let (name, text) = text.split_once(':').expect("a type");
    let to = target(name);
    let value = if text == "\\N" {
        ScalarValue::try_from(&to.arrow_type()).expect("a null")
    } else {
        let text = text.replace("\\n", "\n").replace("\\t", "\t");
        unknown_literal_with(&text, &to, &options()).map_err(|e| e.sqlstate.to_owned())?
    };
    Ok(Value { field: Arc::new(to.arrow_field("a", true)), value })
}

/// Calls with constants, or with columns of two rows, and gives the first row.
fn invoke(udf: &ScalarUDF, args: &[Value], columns: bool) -> Result<Value, DataFusionError> {
    let arg_fields: Vec<FieldRef> = args.iter().map(|a| a.field.clone()).collect();
    let scalars: Vec<Option<&ScalarValue>> = args.iter().map(|a| Some(&a.value)).collect();
    let return_field =
        udf.return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalars })?;
    let value = |a: &Value| match columns {
        true => a.value.to_array_of_size(2).map(ColumnarValue::Array),
        false => Ok(ColumnarValue::Scalar(a.value.clone())),
    };
    let values = args.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let call = ScalarFunctionArgs {
        args: values,
        arg_fields,
        number_rows: if columns { 2 } else { 1 },
        return_field: return_field.clone(),
        config_options: options(),
    };
    let array: ArrayRef = match udf.invoke_with_args(call)? {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(value) => value.to_array()?,
    };
    assert_eq!(array.data_type(), return_field.data_type(), "{} says another type than it gives", udf.name());
    Ok(Value { field: return_field, value: ScalarValue::try_from_array(&array, 0)? })
}

fn text_of(value: &Value) -> Answer {
    let udf = cast_udf(&Target::plain(PgType::Text), true);
    let text = invoke(&udf, std::slice::from_ref(value), false).map_err(|e| sqlstate(&e))?;
    let array = text.value.to_array().map_err(|e| sqlstate(&e))?;
    Ok(array.as_string::<i32>().iter().next().flatten().map(str::to_owned))
}

fn fits(arg: &Arg, of: &PgType) -> bool {
    match arg {
        Arg::Of(wanted) => wanted == of,
        Arg::Any => true,
        Arg::AnyArray => matches!(of, PgType::Array(_)),
        Arg::AnyElement => !matches!(of, PgType::Array(_)),
    }
}

fn overload<'a>(name: &str, types: &[PgType]) -> &'a Overload {
    let function = function(name).unwrap_or_else(|| panic!("no function {name}"));
    let fitting = function.overloads.iter().find(|overload| {
        let fixed = overload.args.len();
        let enough = if overload.variadic.is_some() { types.len() > fixed } else { types.len() == fixed };
        enough
            && overload.args.iter().zip(types).all(|(arg, of)| fits(arg, of))
            && overload.variadic.iter().all(|arg| types[fixed..].iter().all(|of| fits(arg, of)))
    });
    fitting.unwrap_or_else(|| panic!("no overload {name}{types:?}"))
}

fn find(kind: &str, name: &str, args: &[Value]) -> Arc<ScalarUDF> {
    let types: Vec<PgType> = args.iter().map(|a| ebap_functions::pg_type(&a.field)).collect();
    let data: Vec<_> = args.iter().map(|a| a.field.data_type()).collect();
    let found = match kind {
        "f" => Some(overload(name, &types).udf.clone()),
        "c" => Some(cast_udf(&target(name), true)),
        "o" if args.len() == 1 => unary(name, data[0]),
        "o" => binary(name, data[0], data[1]).or_else(|| strict_float(name, data[0])),
        "any" => array_any(name),
        "all" => array_all(name),
        "row" => row_comparison(name),
        other => panic!("no kind {other}"),
    };
    found.unwrap_or_else(|| panic!("no {kind} {name} {types:?}"))
}

fn answer(kind: &str, name: &str, args: &[&str], columns: bool) -> Answer {
    let args = args.iter().map(|a| argument(a)).collect::<Result<Vec<_>, _>>()?;
    let udf = find(kind, name, &args);
    text_of(&invoke(&udf, &args, columns).map_err(|e| sqlstate(&e))?)
}

fn shown(answer: &Answer) -> String {
    match answer {
        Ok(None) => "\\N".to_owned(),
        Ok(Some(text)) => text.replace('\n', "\\n").replace('\t', "\\t"),
        Err(state) => format!("!{state}"),
    }
}

fn check(cases: &str) {
    let mut different = Vec::new();
    for line in cases.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split('\t').collect();
        let [kind, name, args @ .., expected] = parts.as_slice() else { panic!("{line}") };
        for columns in [false, true] {
            let got = shown(&answer(kind, name, args, columns));
            if got != *expected {
                different.push(format!("{line}\n    here (columns: {columns}): {got}"));
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

macro_rules! cases {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            check(include_str!(concat!("cases/", stringify!($name), ".tsv")));
        }
    )+};
}

cases! { operators casts mathematics texts patterns times arrays various json kinds }

#[test]
fn no_function_panics_on_a_batch_without_rows_or_on_nulls() {
    for function in ebap_functions::functions() {
        for overload in &function.overloads {
            let of = |arg: &Arg| match arg {
                Arg::Of(of) => of.clone(),
                Arg::Any | Arg::AnyElement => PgType::Text,
                Arg::AnyArray => PgType::Array(Box::new(PgType::Text)),
            };
            let args = overload.args.iter().chain(overload.variadic.as_ref()).map(of);
            let fields: Vec<FieldRef> = args.map(|of| Arc::new(arrow_field("a", &of, true))).collect();
            for rows in [0, 3] {
                let args =
                    fields.iter().map(|field: &Arc<Field>| arrow::array::new_null_array(field.data_type(), rows));
                let scalars: Vec<Option<&ScalarValue>> = vec![None; fields.len()];
                let return_field = overload
                    .udf
                    .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })
                    .expect("a field");
                let call = ScalarFunctionArgs {
                    args: args.map(ColumnarValue::Array).collect(),
                    arg_fields: fields.clone(),
                    number_rows: rows,
                    return_field: return_field.clone(),
                    config_options: options(),
                };
                match overload.udf.invoke_with_args(call) {
                    Ok(ColumnarValue::Array(array)) => {
                        assert_eq!(array.len(), rows, "{}", function.name);
                        assert_eq!(array.data_type(), return_field.data_type(), "{}", function.name);
                    }
                    Ok(ColumnarValue::Scalar(_)) => {}
                    Err(e) => assert!(["22004", "22023"].contains(&sqlstate(&e).as_str()), "{}", function.name),
                }
            }
        }
    }
}
