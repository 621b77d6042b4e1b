//! Personal data (`PII` columns) as roles without the privilege `UNMASK` see it.
//!
//! A text of a `PII HASH` column is the SHA-256 of a salt and itself, so that it can be counted, grouped and joined;
//! any other text is `***`. What is no text is NULL, and NULL stays NULL. Parts of a struct have their own rules.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, GenericListArray, GenericStringArray, MapArray, OffsetSizeTrait, StringViewArray,
        StructArray, new_null_array,
    },
    datatypes::{DataType, Field, Fields},
};
use datafusion_common::{DataFusionError, Result as DataFusionResult};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sha2::{Digest, Sha256};

use crate::types::TYPE_KEY;

/// The key of a field's metadata that holds the rule of its `PII` clause.
pub const PII_KEY: &str = "ebap.pii";

/// The text in place of one that nobody may see.
const HIDDEN: &str = "***";

/// The form in which a masked value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mask {
    /// A text as the SHA-256 of the salt and itself, in 64 hexadecimal digits.
    Hash,
    /// Not at all.
    Hide,
}

/// The mask of the field itself, by its `PII` clause.
pub fn mask_of(field: &Field) -> Option<Mask> {
    field.metadata().get(PII_KEY).map(|rule| if rule == "hash" { Mask::Hash } else { Mask::Hide })
}

/// Whether the field, or a part of it, is personal data.
pub fn holds_pii(field: &Field) -> bool {
    mask_of(field).is_some() || parts(field.data_type()).is_some_and(|parts| parts.iter().any(|part| holds_pii(part)))
}

fn parts(of: &DataType) -> Option<Fields> {
    match of {
        DataType::Struct(fields) => Some(fields.clone()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => Some(Fields::from(vec![Arc::clone(item)])),
        _ => None,
    }
}

/// A function of one column that masks it: all of it, or the parts of it that have rules.
pub fn mask_udf(mask: Option<Mask>, salt: &str) -> ScalarUDF {
    ScalarUDF::new_from_impl(Masked {
        mask,
        salt: salt.to_owned(),
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Masked {
    mask: Option<Mask>,
    salt: String,
    signature: Signature,
}

impl ScalarUDFImpl for Masked {
    fn name(&self) -> &'static str {
        "masked"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, of: &[DataType]) -> DataFusionResult<DataType> {
        of.first().cloned().ok_or_else(|| DataFusionError::Internal("masked takes one column".to_owned()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<Arc<Field>> {
        let of = args.arg_fields.first();
        let of = of.ok_or_else(|| DataFusionError::Internal("masked takes one column".to_owned()))?;
        Ok(Arc::new(of.as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (Some(value), Some(field)) = (args.args.first(), args.arg_fields.first()) else {
            return Err(DataFusionError::Internal("masked takes one column".to_owned()));
        };
        let array = value.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(masked(&array, field, self.mask, self.salt.as_bytes())?))
    }
}

fn masked(array: &ArrayRef, field: &Field, mask: Option<Mask>, salt: &[u8]) -> DataFusionResult<ArrayRef> {
    match mask {
        Some(mask) => Ok(whole(array, field, mask, salt)),
        None if holds_pii(field) => in_parts(array, salt),
        None => Ok(Arc::clone(array)),
    }
}

fn whole(array: &ArrayRef, field: &Field, mask: Mask, salt: &[u8]) -> ArrayRef {
    let is_json = field.metadata().get(TYPE_KEY).is_some_and(|of| of == "json" || of == "jsonb");
    let is_text = is_json || field.metadata().get(TYPE_KEY).is_none_or(|of| of == "bpchar");
    let shown = |text: &str| {
        let text = match mask {
            Mask::Hash => hashed(text, salt),
            Mask::Hide => HIDDEN.to_owned(),
        };
        if is_json { format!("\"{text}\"") } else { text }
    };
    match array.data_type() {
        DataType::Utf8 if is_text => {
            let texts = array.as_string::<i32>().iter().map(|text| text.map(shown));
            Arc::new(texts.collect::<GenericStringArray<i32>>())
        }
        DataType::LargeUtf8 if is_text => {
            let texts = array.as_string::<i64>().iter().map(|text| text.map(shown));
            Arc::new(texts.collect::<GenericStringArray<i64>>())
        }
        DataType::Utf8View if is_text => {
            let texts = array.as_string_view().iter().map(|text| text.map(shown));
            Arc::new(texts.collect::<StringViewArray>())
        }
        other => new_null_array(other, array.len()),
    }
}

fn hashed(text: &str, salt: &[u8]) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value with its parts masked, each by its own rule.
fn in_parts(array: &ArrayRef, salt: &[u8]) -> DataFusionResult<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let columns = fields.iter().zip(structs.columns());
            let columns = columns.map(|(field, column)| masked(column, field, mask_of(field), salt));
            let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
            // Built with the number of rows, as a struct may have no parts.
            let (length, nulls) = (structs.len(), structs.nulls().cloned());
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?)
        }
        DataType::List(_) => lists::<i32>(array, salt)?,
        DataType::LargeList(_) => lists::<i64>(array, salt)?,
        DataType::Map(entries, sorted) => {
            let map = array.as_map();
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = masked(&inner, entries, mask_of(entries), salt)?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, inner, nulls, *sorted)?)
        }
        // No statement makes others.
        other => new_null_array(other, array.len()),
    })
}

fn lists<O: OffsetSizeTrait>(array: &ArrayRef, salt: &[u8]) -> DataFusionResult<ArrayRef> {
    let (field, offsets, values, nulls) = array.as_list::<O>().clone().into_parts();
    let values = masked(&values, &field, mask_of(&field), salt)?;
    Ok(Arc::new(GenericListArray::<O>::try_new(field, offsets, values, nulls)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray};

    use super::*;

    fn pii(name: &str, of: DataType, rule: &str) -> Field {
        Field::new(name, of, true).with_metadata([(PII_KEY.to_owned(), rule.to_owned())].into())
    }

    #[test]
    fn texts_are_hashed_or_hidden_and_other_values_are_null() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("anna"), None, Some("")]));
        let show =
            |field: &Field, array: &ArrayRef| masked(array, field, mask_of(field), b"salt").expect("it is masked");
        let hashes = show(&pii("t", DataType::Utf8, "hash"), &texts);
        // As `printf saltanna | sha256sum` has it.
        let anna = "be72953700e137b68207b28f678136035dee4c9d82a7428c89f04f9ace16669f";
        assert_eq!(hashes.as_string::<i32>().value(0), anna);
        assert_ne!(hashes.as_string::<i32>().value(2), anna);
        assert!(hashes.is_null(1));
        let hidden = show(&pii("t", DataType::Utf8, "encrypt"), &texts);
        assert_eq!(hidden.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("***"), None, Some("***")]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        for rule in ["hash", "encrypt"] {
            assert_eq!(show(&pii("n", DataType::Int64, rule), &numbers).null_count(), 2);
        }
    }

    #[test]
    fn parts_have_their_own_rules() {
        let parts: Fields =
            vec![Field::new("region", DataType::Utf8, true), pii("email", DataType::Utf8, "encrypt")].into();
        let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let one = StructArray::new(parts.clone(), vec![column("eu"), column("a@b")], None);
        let of = Field::new("metadata", DataType::Struct(parts.clone()), true);
        let shown = masked(&(Arc::new(one.clone()) as ArrayRef), &of, None, b"").expect("it is masked");
        let texts = |array: &StructArray| -> Vec<String> {
            array.columns().iter().map(|column| column.as_string::<i32>().value(0).to_owned()).collect()
        };
        assert_eq!(texts(shown.as_struct()), ["eu", "***"]);
        let item = Arc::new(Field::new_list_field(DataType::Struct(parts), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
        let list: ArrayRef = Arc::new(ListArray::new(Arc::clone(&item), offsets, Arc::new(one), None));
        let of = Field::new("all", DataType::List(item), true);
        assert!(holds_pii(&of));
        let shown = masked(&list, &of, None, b"").expect("it is masked");
        assert_eq!(texts(shown.as_list::<i32>().values().as_struct()), ["eu", "***"]);
    }
}
