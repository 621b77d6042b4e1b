//! `sum(numeric)` of values that each have digits of their own.

use std::collections::HashMap;
use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use ebap_values::Numeric;

use crate::error::external;

/// The exact sum of NUMERIC.
pub fn numeric_sum() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(NumericSum { signature }))
    });
    Arc::clone(&SUM)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericSum {
    signature: Signature,
}

impl AggregateUDFImpl for NumericSum {
    /// Another name than DataFusion's, whose state is another one.
    fn name(&self) -> &str {
        "numeric_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::LargeBinary)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Ok(Box::new(Distinct::default()));
        }
        Ok(Box::new(Sum::default()))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = "sum(DISTINCT numeric) OVER is not supported";
            return Err(external(ebap_values::ValueError::unsupported(message)));
        }
        self.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            let item = Field::new_list_field(DataType::LargeBinary, true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[values]", args.name), item, true))]);
        }
        let number = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Int64, true));
        let sum = Arc::new(Field::new(format!("{}[sum]", args.name), DataType::LargeBinary, true));
        Ok(vec![sum, number("count"), number("nan"), number("infinity"), number("-infinity")])
    }
}

/// The values that are no numbers are counted, so that they can leave again.
#[derive(Debug)]
struct Sum {
    finite: Numeric,
    count: i64,
    nan: i64,
    infinity: i64,
    negative_infinity: i64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { finite: Numeric::zero(), count: 0, nan: 0, infinity: 0, negative_infinity: 0 }
    }
}

impl Sum {
    fn each(&mut self, values: &ArrayRef, by: i64) -> Result<()> {
        let values = values.as_binary::<i64>();
        for bytes in values.iter().flatten() {
            let value = Numeric::decode(bytes).map_err(external)?;
            self.count += by;
            if value.is_nan() {
                self.nan += by;
            } else if value.is_infinite() {
                *(if value.is_negative() { &mut self.negative_infinity } else { &mut self.infinity }) += by;
            } else {
                let sum = if by > 0 { self.finite.add(&value) } else { self.finite.sub(&value) };
                self.finite = sum.map_err(external)?;
            }
        }
        Ok(())
    }

    fn value(&self) -> Option<Numeric> {
        Some(match (self.count, self.nan, self.infinity, self.negative_infinity) {
            (0, ..) => return None,
            (_, 0, 0, 0) => self.finite.clone(),
            (_, 0, _, 0) => Numeric::infinity(false),
            (_, 0, 0, _) => Numeric::infinity(true),
            _ => Numeric::nan(),
        })
    }
}

/// Each value once, by what equal ones have in common.
#[derive(Debug, Default)]
struct Distinct {
    values: HashMap<Vec<u8>, Vec<u8>>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for bytes in values[0].as_binary::<i64>().iter().flatten() {
            let key = encoded(&Numeric::decode(bytes).map_err(external)?.key());
            self.values.entry(key).or_insert_with(|| bytes.to_vec());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = Sum::default();
        let values: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(self.values.values()));
        sum.update_batch(&[values])?;
        sum.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(self.values.values()));
        let list = datafusion_common::utils::SingleRowListArrayBuilder::new(values).with_nullable(true);
        Ok(vec![list.build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        (0..lists.len()).filter(|row| lists.is_valid(*row)).try_for_each(|row| self.update_batch(&[lists.value(row)]))
    }
}

fn encoded(value: &Numeric) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::LargeBinary(self.value().as_ref().map(encoded)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + encoded(&self.finite).len()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let counts = [self.count, self.nan, self.infinity, self.negative_infinity];
        let mut state = vec![ScalarValue::LargeBinary(Some(encoded(&self.finite)))];
        state.extend(counts.map(|count| ScalarValue::Int64(Some(count))));
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = states[0].as_binary::<i64>();
        let counts: Vec<&Int64Array> = states[1..].iter().map(|state| state.as_primitive::<Int64Type>()).collect();
        for row in (0..sums.len()).filter(|row| sums.is_valid(*row)) {
            let sum = Numeric::decode(sums.value(row)).map_err(external)?;
            self.finite = self.finite.add(&sum).map_err(external)?;
            self.count += counts[0].value(row);
            self.nan += counts[1].value(row);
            self.infinity += counts[2].value(row);
            self.negative_infinity += counts[3].value(row);
        }
        Ok(())
    }
}
