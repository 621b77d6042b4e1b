//! NUMERIC in its three Arrow types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, LargeBinaryArray, LargeBinaryBuilder};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type};
use ebap_values::{Numeric, PgType, Result};

use crate::error::internal;
use crate::kernel::{Input, Output};
use crate::registry::{Arg, Returns};
use crate::values::as_type;

/// `numeric`.
pub(crate) struct Num;

/// Values of NUMERIC, declared or computed.
pub(crate) enum NumColumn {
    Small(Decimal128Array, i8),
    Wide(Decimal256Array, i8),
    Encoded(LargeBinaryArray),
}

impl Input for Num {
    type Column = NumColumn;
    type Item<'a> = Numeric;

    fn arg() -> Arg {
        Arg::Of(PgType::Numeric)
    }

    fn column(array: &ArrayRef) -> Result<NumColumn> {
        Ok(match array.data_type() {
            DataType::Decimal128(_, scale) => NumColumn::Small(array.as_primitive::<Decimal128Type>().clone(), *scale),
            DataType::Decimal256(_, scale) => NumColumn::Wide(array.as_primitive::<Decimal256Type>().clone(), *scale),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => {
                Self::column(&as_type(array, &DataType::Decimal128(*p, *s))?)?
            }
            DataType::LargeBinary => NumColumn::Encoded(array.as_binary::<i64>().clone()),
            DataType::Null => Self::column(&as_type(array, &DataType::LargeBinary)?)?,
            other => return Err(internal(format!("{other} is no numeric"))),
        })
    }

    fn get(column: &NumColumn, row: usize) -> Result<Numeric> {
        match column {
            NumColumn::Small(values, scale) => Ok(Numeric::from_i128(values.value(row), *scale)),
            NumColumn::Wide(values, scale) => {
                Ok(Numeric::from_unscaled_bytes_le(&values.value(row).to_le_bytes(), *scale))
            }
            NumColumn::Encoded(values) => Numeric::decode(values.value(row)),
        }
    }
}

impl Output for Num {
    type Value = Numeric;
    type Builder = NumBuilder;

    fn returns() -> Returns {
        Returns::Of(PgType::Numeric)
    }

    fn builder(rows: usize) -> NumBuilder {
        NumBuilder { values: LargeBinaryBuilder::with_capacity(rows, rows * 8), bytes: Vec::new() }
    }

    fn push(builder: &mut NumBuilder, value: Option<Numeric>) -> Result<()> {
        let Some(value) = value else {
            builder.values.append_null();
            return Ok(());
        };
        builder.bytes.clear();
        value.encode(&mut builder.bytes);
        builder.values.append_value(&builder.bytes);
        Ok(())
    }

    fn finish(mut builder: NumBuilder) -> ArrayRef {
        Arc::new(builder.values.finish())
    }
}

/// Encoded values while they are gathered.
pub(crate) struct NumBuilder {
    values: LargeBinaryBuilder,
    bytes: Vec<u8>,
}
