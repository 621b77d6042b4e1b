//! Names of aggregates that are put together of others. They are never run.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::error::{external, internal};

/// An aggregate that has nothing but a name. `ordered`: with `WITHIN GROUP`.
pub fn named_aggregate(name: &str, ordered: bool) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Named { name: name.to_owned(), ordered, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Named {
    name: String,
    ordered: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Err(external(internal(format!("{} is computed of other aggregates", self.name))))
    }

    fn supports_within_group_clause(&self) -> bool {
        self.ordered
    }
}
