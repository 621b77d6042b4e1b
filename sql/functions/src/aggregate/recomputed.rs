//! An aggregate of floats over a frame that moves.
//!
//! Taking a float out of a sum leaves what rounding has lost, and NaN for ever. So the rows of the frame are kept, and
//! the aggregate is computed of them anew: the answer is that of a query over the frame.

use std::collections::VecDeque;
use std::fmt;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

/// The aggregate, for frames whose start moves.
pub fn recomputed(inner: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Recomputed { inner: Arc::clone(inner), signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Recomputed {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for Recomputed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.inner().state_fields(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let call = Owned::new(Arc::clone(&self.inner), &args);
        Ok(Box::new(Frame { call, rows: VecDeque::new() }))
    }
}

/// What an accumulator is made of, kept for later ones.
struct Owned {
    inner: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
    name: String,
    is_distinct: bool,
}

impl Owned {
    fn new(inner: Arc<AggregateUDF>, args: &AccumulatorArgs) -> Self {
        Self {
            inner,
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
        }
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of the frame, oldest first, as columns of arguments.
struct Frame {
    call: Owned,
    rows: VecDeque<Vec<ArrayRef>>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("name", &self.call.name).finish_non_exhaustive()
    }
}

impl Frame {
    fn computed(&self) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.call.accumulator()?;
        let width = self.rows.front().map_or(0, Vec::len);
        let mut columns = Vec::with_capacity(width);
        for at in 0..width {
            let parts: Vec<&dyn Array> = self.rows.iter().map(|row| row[at].as_ref()).collect();
            columns.push(concat(&parts)?);
        }
        if width > 0 {
            accumulator.update_batch(&columns)?;
        }
        Ok(accumulator)
    }
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|column| !column.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut leaving = values.first().map_or(0, |column| column.len());
        while leaving > 0 {
            let Some(oldest) = self.rows.front_mut() else {
                return Err(DataFusionError::Internal("more rows leave a frame than came into it".to_owned()));
            };
            let length = oldest.first().map_or(0, |column| column.len());
            if length > leaving {
                for column in oldest.iter_mut() {
                    *column = column.slice(leaving, length - leaving);
                }
                return Ok(());
            }
            leaving -= length;
            self.rows.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.computed()?.evaluate()
    }

    fn size(&self) -> usize {
        let arrays = self.rows.iter().flatten();
        size_of_val(self) + arrays.map(|column| column.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.computed()?.state()
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Err(DataFusionError::Internal("a frame has no partial states".to_owned()))
    }
}
