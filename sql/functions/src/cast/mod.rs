//! Casts: which there are, what each computes, and the texts of all types.

mod array_text;
mod between;
mod bytes;
mod input;
mod literal;
mod modifier;
mod output;
mod record_text;
mod rules;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, new_null_array};
use arrow::datatypes::DataType;
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, ValueError};

pub(crate) use bytes::{parse_bytea, parse_escaped, parse_hex, print_bytea, push_escaped, push_hex};
pub use literal::{unknown_literal, unknown_literal_with};
pub(crate) use output::Printer;
pub use rules::{CastContext, can_cast};

use crate::error::internal;
use crate::kernel::{Call, Input, Operand};
use crate::registry::canonical_array;
use crate::session::Session;
use crate::types::Target;
use crate::udf::{Body, FieldOf, PgFunction, always};
use crate::values::Text;

/// The cast of one argument of any type. An explicit one cuts what is longer than `varchar(n)`.
pub fn cast_udf(to: &Target, explicit: bool) -> Arc<ScalarUDF> {
    let name = to.name();
    let field = to.arrow_field("", true);
    let target = to.clone();
    let body: Body = Arc::new(move |call: &Call<'_>| match call.operands {
        [operand] => Caster { to: &target, explicit, session: call.session }.cast(operand, call.rows),
        _ => Err(internal("a cast has one argument")),
    });
    PgFunction::new(&name, &format!("cast explicit={explicit}"), FieldOf::Always(Arc::new(field)), body).into_udf()
}

/// One cast of a column.
pub(crate) struct Caster<'a> {
    pub(crate) to: &'a Target,
    pub(crate) explicit: bool,
    pub(crate) session: &'a Session<'a>,
}

impl Caster<'_> {
    pub(crate) fn cast(&self, operand: &Operand, rows: usize) -> Result<ArrayRef> {
        if operand.array.data_type() == &DataType::Null {
            return Ok(new_null_array(&self.to.arrow_type(), rows));
        }
        let array = match (&operand.of, &self.to.of) {
            (PgType::Array(from), PgType::Array(to)) => self.elements(&operand.array, from, to)?,
            (from, to) if from == to => canonical_array(&operand.array, to)?,
            (PgType::Bpchar, PgType::Text) => without_blanks(&operand.array)?,
            (PgType::Text | PgType::Unknown, PgType::Bpchar) => canonical_array(&operand.array, &PgType::Text)?,
            (from, PgType::Text | PgType::Bpchar) => self.print(&operand.array, from)?,
            (PgType::Text | PgType::Bpchar, PgType::Array(of)) => self.read_arrays(&operand.array, of)?,
            (PgType::Text | PgType::Bpchar | PgType::Unknown, to) => {
                let call =
                    Call { operands: std::slice::from_ref(operand), rows: operand.array.len(), session: self.session };
                input::read(&call, to)?
            }
            (from, to) => {
                let call =
                    Call { operands: std::slice::from_ref(operand), rows: operand.array.len(), session: self.session };
                between::convert(&call, from, to)?
            }
        };
        modifier::apply(&array, self.to, self.explicit)
    }

    fn print(&self, array: &ArrayRef, from: &PgType) -> Result<ArrayRef> {
        let printer = Printer::new(array, from, self.session)?;
        let mut texts = arrow::array::StringBuilder::new();
        let mut text = String::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                texts.append_null();
                continue;
            }
            text.clear();
            printer.print(row, &mut text)?;
            texts.append_value(&text);
        }
        Ok(Arc::new(texts.finish()))
    }

    /// The values of all arrays are cast at once; the arrays keep their shape.
    fn elements(&self, array: &ArrayRef, from: &PgType, to: &PgType) -> Result<ArrayRef> {
        let list = as_list(array)?;
        let item = Target { of: to.clone(), typmod: self.to.typmod };
        let values = Operand { array: list.values().clone(), constant: false, of: from.clone() };
        let rows = values.array.len();
        let values = Caster { to: &item, explicit: self.explicit, session: self.session }.cast(&values, rows)?;
        let field = item.arrow_field(arrow::datatypes::Field::LIST_FIELD_DEFAULT_NAME, true);
        let list = ListArray::try_new(Arc::new(field), list.offsets().clone(), values, list.nulls().cloned());
        Ok(Arc::new(list.map_err(internal)?))
    }

    fn read_arrays(&self, array: &ArrayRef, of: &PgType) -> Result<ArrayRef> {
        let (texts, offsets, nulls) = array_text::read(array)?;
        let item = Target { of: of.clone(), typmod: self.to.typmod };
        let rows = texts.len();
        let values = Operand { array: Arc::new(texts), constant: false, of: PgType::Text };
        let values = Caster { to: &item, explicit: self.explicit, session: self.session }.cast(&values, rows)?;
        let field = item.arrow_field(arrow::datatypes::Field::LIST_FIELD_DEFAULT_NAME, true);
        let list = ListArray::try_new(Arc::new(field), offsets, values, nulls).map_err(internal)?;
        Ok(Arc::new(list))
    }
}

/// A text has no blanks at its end that were only there to fill a `character(n)`.
pub(crate) fn without_blanks(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = <Text as Input>::column(array)?;
    let trimmed = texts.iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
    Ok(Arc::new(trimmed.collect::<arrow::array::StringArray>()))
}

/// The value of a `character(n)` with its blanks, as LIKE sees it.
pub fn padded_text_udf() -> Arc<ScalarUDF> {
    let body: Body = Arc::new(|call: &Call<'_>| match call.operands {
        [operand] => canonical_array(&operand.array, &PgType::Text),
        _ => Err(internal("a conversion has one argument")),
    });
    PgFunction::new("text", "padded", always(&PgType::Text), body).into_udf()
}

/// Any of Arrow's lists as the one that functions know.
pub(crate) fn as_list(array: &ArrayRef) -> Result<ListArray> {
    let item = match array.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item.clone(),
        other => return Err(internal(format!("{other} is no array"))),
    };
    let list = crate::values::as_type(array, &DataType::List(item))?;
    list.as_any().downcast_ref::<ListArray>().cloned().ok_or_else(|| internal("a list of another kind"))
}

/// 42846, as PostgreSQL says it.
fn no_cast(from: &PgType, to: &PgType) -> ValueError {
    ValueError::new("42846", format!("cannot cast type {from} to {to}"))
}
