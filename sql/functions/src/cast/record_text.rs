//! The text of a value of `ROW(…)`, as `(1,"a b",)`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use ebap_values::{
    PgType, Result,
    record::{checked_length, put_field},
};

use super::output::Printer;
use crate::session::Session;
use crate::types::pg_type;

/// The fields of a record, and where each is NULL.
pub(crate) struct RecordPrinter(Vec<(Option<NullBuffer>, Printer)>);

impl RecordPrinter {
    pub(super) fn new(array: &ArrayRef, session: &Session<'_>) -> Result<Self> {
        let Some(record) = array.as_struct_opt() else { return Err(super::no_cast(&PgType::Record, &PgType::Text)) };
        let field = |(field, column): (&arrow::datatypes::FieldRef, &ArrayRef)| {
            Ok((column.logical_nulls(), Printer::new(column, &pg_type(field), session)?))
        };
        Ok(Self(record.fields().iter().zip(record.columns()).map(field).collect::<Result<_>>()?))
    }

    pub(super) fn print(&self, row: usize, out: &mut String) -> Result<()> {
        let (mut text, begins) = (String::new(), out.len());
        out.push('(');
        for (at, (nulls, printer)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                text.clear();
                printer.print_short(row, &mut text)?;
                put_field(&text, out)?;
                checked_length(out.len() - begins)?;
            }
        }
        out.push(')');
        Ok(())
    }
}
