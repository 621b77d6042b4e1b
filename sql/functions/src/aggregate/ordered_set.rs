//! Aggregates over the values in an order: `mode()`, `percentile_disc` and `percentile_cont`.
//!
//! Their arguments are what the values are ordered by, the values, and of a percentile the fraction, or an array of
//! fractions, of which the answer is an array too.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, concat, is_not_null, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use ebap_values::ValueError;

use crate::error::{external, internal};
use crate::kernel::{Input, Output};
use crate::values::Span;

/// What is taken of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderedSet {
    Mode,
    PercentileDisc,
    /// Of DOUBLE PRECISION and INTERVAL.
    PercentileCont,
}

/// The aggregate, of values in ascending or descending order.
pub fn ordered_set(of: OrderedSet, descending: bool) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Function { of, descending, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    of: OrderedSet,
    descending: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        match (self.of, self.descending) {
            (OrderedSet::Mode, false) => "ordered_mode",
            (OrderedSet::Mode, true) => "ordered_mode_desc",
            (OrderedSet::PercentileDisc, false) => "ordered_percentile_disc",
            (OrderedSet::PercentileDisc, true) => "ordered_percentile_disc_desc",
            (OrderedSet::PercentileCont, false) => "ordered_percentile_cont",
            (OrderedSet::PercentileCont, true) => "ordered_percentile_cont_desc",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let of = types.get(1).cloned().ok_or_else(|| external(internal("an ordered set has values")))?;
        match types.get(2) {
            Some(DataType::List(_)) => Ok(DataType::List(Arc::new(Field::new_list_field(of, true)))),
            _ => Ok(of),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(external(ValueError::unsupported("DISTINCT of an ordered set is not supported")));
        }
        let types = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let (of, descending) = (self.of, self.descending);
        Ok(Box::new(Values { of, descending, types, keys: Vec::new(), values: Vec::new(), fractions: None }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |at: usize, part: &str| {
            let item = args.input_fields.get(at).map_or(DataType::Null, |field| field.data_type().clone());
            Arc::new(Field::new_list(format!("{}[{part}]", args.name), Field::new_list_field(item, true), true))
        };
        let item = Field::new_list_field(DataType::Float64, true);
        let fractions = Field::new_list(format!("{}[fractions]", args.name), item, true);
        Ok(vec![list(0, "keys"), list(1, "values"), Arc::new(fractions)])
    }
}

/// The values so far, without those that are NULL.
#[derive(Debug)]
struct Values {
    of: OrderedSet,
    descending: bool,
    types: Vec<DataType>,
    keys: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
    /// The one that is asked for, or several.
    fractions: Option<Vec<Option<f64>>>,
}

impl Values {
    fn add(&mut self, keys: &ArrayRef, values: &ArrayRef) -> Result<()> {
        // A copy: the arrays are parts of those of all groups, which must not stay for one of them.
        let known: UInt64Array = is_not_null(values)?.values().set_indices().map(|row| row as u64).collect();
        if known.is_empty() {
            return Ok(());
        }
        push(&mut self.keys, take(keys, &known, None)?)?;
        push(&mut self.values, take(values, &known, None)?)
    }

    fn whole(&self, parts: &[ArrayRef], at: usize) -> Result<ArrayRef> {
        if parts.is_empty() {
            return Ok(arrow::array::new_empty_array(self.types.get(at).unwrap_or(&DataType::Null)));
        }
        Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?)
    }

    fn nothing(&self) -> Result<ScalarValue> {
        ScalarValue::try_from(self.types.get(1).unwrap_or(&DataType::Null))
    }

    fn list_type(&self) -> DataType {
        let of = self.types.get(1).cloned().unwrap_or(DataType::Null);
        DataType::List(Arc::new(Field::new_list_field(of, true)))
    }

    fn asks_for_several(&self) -> bool {
        matches!(self.types.get(2), Some(DataType::List(_)))
    }

    fn take_fractions(&mut self, given: &ArrayRef) {
        let floats = |array: &ArrayRef| array.as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
        self.fractions = match given.as_list_opt::<i32>() {
            Some(lists) => (0..lists.len()).find(|row| lists.is_valid(*row)).map(|row| floats(&lists.value(row))),
            None => floats(given).into_iter().flatten().next().map(|fraction| vec![Some(fraction)]),
        };
    }

    /// The value at a fraction; the values are not empty.
    fn at(&self, fraction: f64, sorted: &Sorted) -> Result<ScalarValue> {
        let at = match self.of {
            OrderedSet::Mode => Self::mode(&sorted.keys, &sorted.order)?,
            OrderedSet::PercentileDisc => sorted.order[discrete(fraction, sorted.order.len())] as usize,
            OrderedSet::PercentileCont => return sorted.between(fraction),
        };
        ScalarValue::try_from_array(&sorted.values, at)
    }

    fn sorted(&self) -> Result<Sorted> {
        let (keys, values) = (self.whole(&self.keys, 0)?, self.whole(&self.values, 1)?);
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let order = sort_to_indices(&keys, Some(options), None)?.values().to_vec();
        Ok(Sorted { keys, values, order })
    }

    /// The value that is there most often; of several the first one.
    fn mode(keys: &ArrayRef, order: &[u32]) -> Result<usize> {
        let compare = make_comparator(keys, keys, SortOptions::default())?;
        let equal = |a: u32, b: u32| compare(a as usize, b as usize) == Ordering::Equal;
        let (mut best, mut most) = (0, 0);
        for run in order.chunk_by(|a, b| equal(*a, *b)) {
            if run.len() > most {
                (best, most) = (run[0] as usize, run.len());
            }
        }
        Ok(best)
    }
}

/// Joins parts as they double, so that there are few of them however few values come at a time.
fn push(parts: &mut Vec<ArrayRef>, part: ArrayRef) -> Result<()> {
    parts.push(part);
    while let [.., before, last] = &parts[..]
        && last.len() >= before.len()
    {
        let joined = concat(&[before.as_ref(), last.as_ref()])?;
        parts.truncate(parts.len() - 2);
        parts.push(joined);
    }
    Ok(())
}

/// 22003 beyond 0 and 1.
fn checked(fraction: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    let message = format!("percentile value {fraction} is not between 0 and 1");
    Err(external(ValueError::new("22003", message)))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn discrete(fraction: f64, count: usize) -> usize {
    ((fraction * count as f64).ceil() as usize).saturating_sub(1).min(count - 1)
}

/// All values, and their places in order.
struct Sorted {
    keys: ArrayRef,
    values: ArrayRef,
    order: Vec<u32>,
}

impl Sorted {
    /// The value at a fraction of the way, between two of them.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn between(&self, fraction: f64) -> Result<ScalarValue> {
        let last = self.order.len() - 1;
        let place = fraction * last as f64;
        let at = |place: f64| self.order[(place as usize).min(last)] as usize;
        let (low, high, share) = (at(place.floor()), at(place.ceil()), place - place.floor());
        if let Some(values) = self.values.as_primitive_opt::<Float64Type>() {
            let (low, high) = (values.value(low), values.value(high));
            let value = if share == 0.0 { low } else { low + share * (high - low) };
            return Ok(ScalarValue::Float64(Some(value)));
        }
        if share == 0.0 {
            return ScalarValue::try_from_array(&self.values, low);
        }
        let values = Span::column(&self.values).map_err(external)?;
        let (low, high) = (Span::get(&values, low).map_err(external)?, Span::get(&values, high).map_err(external)?);
        let found = high.sub(&low).and_then(|way| way.mul(share)).and_then(|way| way.add(&low)).map_err(external)?;
        let mut builder = Span::builder(1);
        Span::push(&mut builder, Some(found)).map_err(external)?;
        ScalarValue::try_from_array(&Span::finish(builder), 0)
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, args: &[ArrayRef]) -> Result<()> {
        if let (None, Some(fractions)) = (&self.fractions, args.get(2)) {
            self.take_fractions(fractions);
        }
        self.add(&args[0], &args[1])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let several = self.asks_for_several();
        let fractions = match (self.of, &self.fractions) {
            (OrderedSet::Mode, _) => vec![Some(0.0)],
            (_, Some(fractions)) => fractions.clone(),
            (_, None) => Vec::new(),
        };
        fractions.iter().flatten().try_for_each(|fraction| checked(*fraction).map(|_| ()))?;
        let known = self.fractions.is_some() || self.of == OrderedSet::Mode;
        if self.values.is_empty() || !known {
            return if several { ScalarValue::try_from(&self.list_type()) } else { self.nothing() };
        }
        let sorted = self.sorted()?;
        let value =
            |fraction: &Option<f64>| fraction.map_or_else(|| self.nothing(), |fraction| self.at(fraction, &sorted));
        let found = fractions.iter().map(value).collect::<Result<Vec<_>>>()?;
        match (several, &found[..]) {
            (false, [one]) => Ok(one.clone()),
            _ => {
                let of = self.types.get(1).unwrap_or(&DataType::Null);
                Ok(ScalarValue::List(ScalarValue::new_list(&found, of, true)))
            }
        }
    }

    fn size(&self) -> usize {
        let arrays = self.keys.iter().chain(&self.values);
        size_of_val(self) + arrays.map(|column| column.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |array: ArrayRef| {
            let list = datafusion_common::utils::SingleRowListArrayBuilder::new(array).with_nullable(true);
            list.build_list_scalar()
        };
        let (keys, values) = (self.whole(&self.keys, 0)?, self.whole(&self.values, 1)?);
        let fractions = match &self.fractions {
            Some(fractions) => list(Arc::new(Float64Array::from(fractions.clone()))),
            None => ScalarValue::new_null_list(DataType::Float64, true, 1),
        };
        Ok(vec![list(keys), list(values), fractions])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (keys, values) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in (0..keys.len()).filter(|row| keys.is_valid(*row)) {
            self.add(&keys.value(row), &values.value(row))?;
        }
        if self.fractions.is_none() {
            let lists = states[2].as_list::<i32>();
            let found = (0..lists.len()).find(|row| lists.is_valid(*row)).map(|row| lists.value(row));
            self.fractions = found.map(|found| found.as_primitive::<Float64Type>().iter().collect());
        }
        Ok(())
    }
}
