//! Functions whose result is as long as an argument says: one call could ask for more memory than there is,
//! and who asks an allocator for that ends the process. Within a query each is asked first how long it will be.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit},
};
use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::{DataFusionError, Result as DataFusionResult},
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        expr::ScalarFunction, expr_rewriter::NamePreserver,
    },
};
use ebap_stream::MemoryBudget;
use ebap_values::ValueError;

use crate::memory::exhausted;

/// Of one call for a batch of rows, at the most: as PostgreSQL bounds one value.
const RESULT_BYTES_MAX: i128 = 0x3fff_ffff;
/// Of an element of an array, where nothing is known of it.
const ELEMENT_BYTES: i128 = 16;
const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// Bytes of a result for one row of the arguments.
type Estimate = fn(&[ArrayRef], &dyn Fn(usize) -> usize) -> Option<i128>;

fn estimate(name: &str) -> Option<Estimate> {
    Some(match name {
        "repeat" => |args, row| Some(text_length(args, 0, row)? * integer(args, 1, row)?.max(0)),
        // A letter has four bytes at the most.
        "lpad" | "rpad" => |args, row| match args.len() > 2 && text_length(args, 2, row)? == 0 {
            // Without anything to fill with, the text at the most.
            true => text_length(args, 0, row),
            false => Some(integer(args, 1, row)? * 4),
        },
        "array_repeat" | "list_repeat" => |args, row| {
            let element = args.first()?;
            let bytes = i128::try_from(element.get_array_memory_size() / element.len().max(1)).ok()?;
            Some(integer(args, 1, row)?.max(0) * bytes.clamp(ELEMENT_BYTES, RESULT_BYTES_MAX))
        },
        "array_resize" | "list_resize" => |args, row| Some(integer(args, 1, row)? * ELEMENT_BYTES),
        "range" | "generate_series" => |args, row| Some(steps(args, row)? * ELEMENT_BYTES),
        "replace" => |args, row| {
            let (text, to) = (text_length(args, 0, row)?, text_length(args, 2, row)?);
            Some(text * to / text_length(args, 1, row)?.max(1) + text)
        },
        _ => return None,
    })
}

fn text_length(args: &[ArrayRef], at: usize, row: &dyn Fn(usize) -> usize) -> Option<i128> {
    let array = args.get(at)?;
    let row = row(at);
    let length = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        _ => return None,
    };
    i128::try_from(length).ok()
}

/// A number, or a time as nanoseconds.
fn integer(args: &[ArrayRef], at: usize, row: &dyn Fn(usize) -> usize) -> Option<i128> {
    let (array, row) = (args.get(at)?, row(at));
    if array.is_null(row) {
        return Some(0);
    }
    let factor = match array.data_type() {
        DataType::Interval(_) => {
            let value = array.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(row);
            let days = i128::from(value.months) * 28 + i128::from(value.days);
            return Some(days * NANOS_PER_DAY + i128::from(value.nanoseconds));
        }
        DataType::Date32 => NANOS_PER_DAY,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        _ => 1,
    };
    let value = match array.data_type() {
        DataType::Date32 => cast(&cast(&array.slice(row, 1), &DataType::Int32).ok()?, &DataType::Int64),
        _ => cast(&array.slice(row, 1), &DataType::Int64),
    };
    Some(i128::from(value.ok()?.as_primitive::<Int64Type>().value(0)) * factor)
}

/// Elements from the first argument to the second, by the third.
fn steps(args: &[ArrayRef], row: &dyn Fn(usize) -> usize) -> Option<i128> {
    if args.len() == 1 {
        return integer(args, 0, row);
    }
    let (from, to) = (integer(args, 0, row)?, integer(args, 1, row)?);
    let step = if args.len() > 2 { integer(args, 2, row)? } else { 1 };
    Some((to - from).checked_div(step).unwrap_or(0).max(0) + 1)
}

/// Gives each such function in the plan a bound.
pub(super) fn bounded(plan: LogicalPlan, memory: &MemoryBudget) -> DataFusionResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| {
                Ok(match expr {
                    Expr::ScalarFunction(ScalarFunction { func, args }) if estimate(func.name()).is_some() => {
                        let bounded = Bounded { inner: func, memory: memory.clone() };
                        let func = Arc::new(ScalarUDF::new_from_impl(bounded));
                        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
                    }
                    other => Transformed::no(other),
                })
            })?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(changed.data)
}

/// The function, asked first.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    memory: MemoryBudget,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> DataFusionResult<()> {
        let Some(estimate) = estimate(self.inner.name()) else { return Ok(()) };
        let is_scalar: Vec<bool> = args.args.iter().map(|arg| matches!(arg, ColumnarValue::Scalar(_))).collect();
        let rows = if is_scalar.iter().all(|scalar| *scalar) { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
            ColumnarValue::Scalar(scalar) => scalar.to_array(),
        });
        let arrays = arrays.collect::<DataFusionResult<Vec<_>>>()?;
        let mut bytes: i128 = 0;
        for row in 0..rows {
            let place = |at: usize| if is_scalar.get(at) == Some(&true) { 0 } else { row };
            let is_null = arrays.iter().enumerate().any(|(at, array)| array.is_null(place(at)));
            if !is_null {
                bytes = bytes.saturating_add(estimate(&arrays, &place).unwrap_or(0).max(0));
            }
        }
        if bytes > RESULT_BYTES_MAX {
            let error = ValueError::new("54000", "requested length too large");
            return Err(DataFusionError::External(Box::new(error)));
        }
        match self.memory.is_exceeded_by(usize::try_from(bytes).unwrap_or(usize::MAX)) {
            true => Err(exhausted("the server", self.memory.limit(), "memory_limit")),
            false => Ok(()),
        }
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }
}
