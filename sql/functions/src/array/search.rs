//! Elements that equal a value. Here NULL equals NULL, as in PostgreSQL's array functions.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListBuilder, PrimitiveBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use ebap_values::{PgType, Result, ValueError};

use super::combine::{Pieces, item_field};
use super::{Lists, common_item, in_common, item_type, operand};
use crate::kernel::{Call, Input, Operand};
use crate::operator::Comparer;
use crate::udf::FieldOf;
use crate::values::Int4;

/// Finds elements that are not distinct from a value.
struct Finder<'a> {
    lists: Lists,
    wanted: &'a Operand,
    comparer: Comparer,
}

impl<'a> Finder<'a> {
    fn new(call: &Call<'a>) -> Result<Self> {
        let (lists, wanted) = (Lists::new(operand(call, 0)?)?, operand(call, 1)?);
        let of = element_type(&lists, wanted);
        let item = common_item(lists.values().data_type(), wanted.array.data_type(), &of);
        let comparer =
            Comparer::new(&in_common(lists.values(), &item, &of)?, &in_common(&wanted.array, &item, &of)?, &of)?;
        Ok(Self { lists, wanted, comparer })
    }

    fn found(&self, element: usize, row: usize) -> bool {
        let at = self.wanted.at(row);
        match (self.lists.values().is_null(element), self.wanted.array.is_null(at)) {
            (true, true) => true,
            (false, false) => self.comparer.compare(element, at).is_eq(),
            _ => false,
        }
    }

    fn places(&self, range: Range<usize>, row: usize) -> impl Iterator<Item = i32> {
        let start = range.start;
        let found = range.filter(move |element| self.found(*element, row));
        found.filter_map(move |element| i32::try_from(element - start + 1).ok())
    }
}

fn element_type(lists: &Lists, other: &Operand) -> PgType {
    if lists.of == PgType::Unknown { other.of.clone() } else { lists.of.clone() }
}

/// The place of the first such element, from a place on if a third argument says so.
pub(crate) fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let finder = Finder::new(call)?;
    let from = call.operands.get(2);
    let starts = from.map(|from| Int4::column(&from.array)).transpose()?;
    let mut places = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let start = match (&starts, from) {
            (Some(starts), Some(from)) if starts.is_valid(from.at(row)) => starts.value(from.at(row)),
            (Some(_), _) => return Err(ValueError::new("22004", "initial position must not be null")),
            _ => 1,
        };
        let range = finder.lists.range(row);
        places.push(range.and_then(|range| finder.places(range, row).find(|place| *place >= start)));
    }
    Ok(Arc::new(places.into_iter().collect::<Int32Array>()))
}

/// The places of all such elements.
pub(crate) fn positions(call: &Call<'_>) -> Result<ArrayRef> {
    let finder = Finder::new(call)?;
    let mut places = ListBuilder::new(PrimitiveBuilder::<Int32Type>::new());
    for row in 0..call.rows {
        if let Some(range) = finder.lists.range(row) {
            for place in finder.places(range, row) {
                places.values().append_value(place);
            }
            places.append(true);
        } else {
            places.append_null();
        }
    }
    Ok(Arc::new(places.finish()))
}

/// The array without all such elements.
pub(crate) fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let finder = Finder::new(call)?;
    let sources = [finder.lists.values().to_data()];
    let mut pieces = Pieces::new(&sources, call.rows);
    for row in 0..call.rows {
        let range = finder.lists.range(row);
        for element in range.clone().unwrap_or(0..0) {
            if !finder.found(element, row) {
                pieces.extend(0, element..element + 1);
            }
        }
        pieces.end_row(range.is_some())?;
    }
    pieces.finish(item_field(finder.lists.values().data_type().clone(), &finder.lists.of))
}

/// The array with all such elements replaced by the third argument.
pub(crate) fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let finder = Finder::new(call)?;
    let new = operand(call, 2)?;
    let of = element_type(&finder.lists, new);
    let item = common_item(finder.lists.values().data_type(), new.array.data_type(), &of);
    let sources =
        [in_common(finder.lists.values(), &item, &of)?.to_data(), in_common(&new.array, &item, &of)?.to_data()];
    let mut pieces = Pieces::new(&sources, call.rows);
    for row in 0..call.rows {
        let range = finder.lists.range(row);
        for element in range.clone().unwrap_or(0..0) {
            if finder.found(element, row) {
                pieces.extend(1, new.at(row)..new.at(row) + 1);
            } else {
                pieces.extend(0, element..element + 1);
            }
        }
        pieces.end_row(range.is_some())?;
    }
    pieces.finish(item_field(item, &of))
}

/// The field of what `replace` gives: the new value may have a wider type than the elements.
pub(crate) fn replaced_field() -> FieldOf {
    FieldOf::ByArguments(Arc::new(|fields: &[FieldRef]| {
        let [list, _, new] = fields else { return Field::new("", DataType::Null, true) };
        let of = match crate::pg_type(list) {
            PgType::Array(of) => *of,
            _ => crate::pg_type(new),
        };
        let item = common_item(&item_type(list.data_type()), new.data_type(), &of);
        Field::new("", DataType::List(item_field(item, &of)), true)
    }))
}
