//! A function of PostgreSQL as DataFusion calls it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use ebap_values::{PgType, Result};

use crate::error::external;
use crate::kernel::{Call, Operand};
use crate::session::Session;
use crate::types::{arrow_field, pg_type};

/// Computes a column of results.
pub(crate) type Body = Arc<dyn Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync>;

/// The field of a result, of those of the arguments.
type ByFields = dyn Fn(&[FieldRef]) -> Field + Send + Sync;

/// The type of the result.
#[derive(Clone)]
pub(crate) enum FieldOf {
    /// The same for all arguments.
    Always(FieldRef),
    /// By the fields of the arguments.
    ByArguments(Arc<ByFields>),
}

impl FieldOf {
    fn of(&self, name: &str, args: &[FieldRef]) -> FieldRef {
        match self {
            Self::Always(field) => Arc::clone(field),
            Self::ByArguments(field) => Arc::new(field(args).with_name(name).with_nullable(true)),
        }
    }
}

/// The field of what a function of this crate gives, where it does not depend on the arguments.
pub fn fixed_result(udf: &ScalarUDF) -> Option<&FieldRef> {
    match &udf.inner().downcast_ref::<PgFunction>()?.field {
        FieldOf::Always(field) => Some(field),
        FieldOf::ByArguments(_) => None,
    }
}

/// One overload. Two are the same function if name and key are.
#[derive(Clone)]
pub(crate) struct PgFunction {
    pub(crate) name: String,
    /// Tells overloads of one name apart, since plans are compared.
    pub(crate) key: String,
    pub(crate) field: FieldOf,
    pub(crate) body: Body,
    signature: Signature,
}

impl PgFunction {
    pub(crate) fn new(name: &str, key: &str, field: FieldOf, body: Body) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        let field = match field {
            FieldOf::Always(field) => {
                FieldOf::Always(Arc::new(field.as_ref().clone().with_name(name).with_nullable(true)))
            }
            FieldOf::ByArguments(field) => FieldOf::ByArguments(field),
        };
        Self { name: name.to_owned(), key: key.to_owned(), field, body, signature }
    }

    pub(crate) fn into_udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

/// A result of the same type for all arguments.
pub(crate) fn always(of: &PgType) -> FieldOf {
    FieldOf::Always(Arc::new(arrow_field("", of, true)))
}

impl fmt::Debug for PgFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgFunction").field("name", &self.name).field("key", &self.key).finish_non_exhaustive()
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.key == other.key
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.key.hash(state);
    }
}

/// The value of a row. An array keeps what is said of its elements beside their type, as UUID does.
pub(crate) fn scalar(array: &ArrayRef, row: usize) -> datafusion_common::Result<ScalarValue> {
    match array.as_list_opt::<i32>() {
        Some(list) if list.is_valid(row) => Ok(ScalarValue::List(Arc::new(list.slice(row, 1)))),
        _ => ScalarValue::try_from_array(array, row),
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> datafusion_common::Result<DataType> {
        let fields: Vec<FieldRef> = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        Ok(self.field.of(&self.name, &fields).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> datafusion_common::Result<FieldRef> {
        Ok(self.field.of(&self.name, args.arg_fields))
    }

    fn coerce_types(&self, types: &[DataType]) -> datafusion_common::Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion_common::Result<ColumnarValue> {
        let of = |at: usize| args.arg_fields.get(at).map_or(PgType::Unknown, |field| pg_type(field));
        let operands = args.args.iter().enumerate().map(|(at, value)| Operand::new(value, of(at)));
        let operands = operands.collect::<Result<Vec<_>>>().map_err(external)?;
        let constant = operands.iter().all(|operand| operand.constant);
        let rows = if constant { 1 } else { args.number_rows };
        let session = Session::new(&args.config_options);
        let result = (self.body)(&Call { operands: &operands, rows, session: &session }).map_err(external)?;
        if constant {
            return scalar(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }
}
