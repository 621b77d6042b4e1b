//! Arrays: their shape, their elements, and what is built of them.

pub(crate) mod combine;
pub(crate) mod contain;
pub(crate) mod quantified;
pub(crate) mod search;
pub(crate) mod shape;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::datatypes::{DataType, Field};
use datafusion_common::config::ConfigOptions;
use ebap_values::{PgType, Result};

use crate::cast::{Caster, as_list};
use crate::error::internal;
use crate::kernel::{Call, Operand};
use crate::session::Session;
use crate::types::{Target, arrow_type};

/// A column of arrays, with what its elements are.
pub(crate) struct Lists {
    pub(crate) list: ListArray,
    pub(crate) of: PgType,
    constant: bool,
}

impl Lists {
    pub(crate) fn new(operand: &Operand) -> Result<Self> {
        let of = match &operand.of {
            PgType::Array(of) => (**of).clone(),
            _ => PgType::Unknown,
        };
        let list = if operand.array.data_type() == &DataType::Null {
            ListArray::new_null(Field::new_list_field(DataType::Null, true).into(), operand.array.len())
        } else {
            as_list(&operand.array)?
        };
        Ok(Self { list, of, constant: operand.constant })
    }

    pub(crate) fn values(&self) -> &ArrayRef {
        self.list.values()
    }

    /// Where the elements of a row begin and end; None for NULL.
    pub(crate) fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        let row = if self.constant { 0 } else { row };
        if self.list.is_null(row) {
            return None;
        }
        let offsets = self.list.value_offsets();
        let start = usize::try_from(*offsets.get(row)?).ok()?;
        Some(start..usize::try_from(*offsets.get(row + 1)?).ok()?)
    }
}

/// The argument in one place.
pub(crate) fn operand<'a>(call: &Call<'a>, at: usize) -> Result<&'a Operand> {
    call.operands.get(at).ok_or_else(|| internal("an argument is missing"))
}

/// The elements' type of an array's type.
pub(crate) fn item_type(of: &DataType) -> DataType {
    match of {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => item.data_type().clone(),
        other => other.clone(),
    }
}

/// The type that values of two Arrow types of one type of PostgreSQL have together.
pub(crate) fn common_item(left: &DataType, right: &DataType, of: &PgType) -> DataType {
    match (left, right) {
        (DataType::Null, other) | (other, DataType::Null) => other.clone(),
        (left, right) if left == right => left.clone(),
        _ => arrow_type(of),
    }
}

/// The values in the type that both sides have together.
pub(crate) fn in_common(array: &ArrayRef, wanted: &DataType, of: &PgType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    if array.data_type() == &DataType::Null {
        return Ok(arrow::array::new_null_array(wanted, array.len()));
    }
    let options = ConfigOptions::default();
    let (to, session) = (Target::plain(of.clone()), Session::new(&options));
    let operand = Operand { array: array.clone(), constant: false, of: of.clone() };
    Caster { to: &to, explicit: true, session: &session }.cast(&operand, array.len())
}
