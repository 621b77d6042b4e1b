//! Values as text, for people: in summaries of alerts, and in what a view has left out.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use ebap_values::Numeric;

use crate::Result;

/// None where the value is NULL.
pub(crate) fn text_of(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    // NUMERIC, whose values each have digits of their own; BYTEA is `Binary`.
    if *column.data_type() == DataType::LargeBinary
        && let Ok(number) = Numeric::decode(column.as_binary::<i64>().value(row))
    {
        return Ok(Some(number.to_string()));
    }
    Ok(Some(ArrayFormatter::try_new(column, &FormatOptions::default())?.value(row).to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, LargeBinaryArray, StringArray};

    use super::*;

    #[test]
    fn a_numeric_shows_its_digits() {
        let mut bytes = Vec::new();
        Numeric::parse("12.50").expect("a number").encode(&mut bytes);
        let numbers: ArrayRef = Arc::new(LargeBinaryArray::from_iter([Some(bytes), None]));
        assert_eq!(text_of(&numbers, 0).expect("a text").as_deref(), Some("12.50"));
        assert_eq!(text_of(&numbers, 1).expect("a NULL"), None);
        let (text, integer): (ArrayRef, ArrayRef) =
            (Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![-7])));
        assert_eq!(text_of(&text, 0).expect("a text").as_deref(), Some("x"));
        assert_eq!(text_of(&integer, 0).expect("a text").as_deref(), Some("-7"));
    }
}
