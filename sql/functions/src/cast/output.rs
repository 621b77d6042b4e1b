//! The texts of values, as PostgreSQL prints them.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, ListArray};
use ebap_values::time::{Zone, print_date, print_interval, print_time, print_timestamp, print_timestamptz};
use ebap_values::{PgType, Result, float};

use super::array_text;
use super::record_text::RecordPrinter;
use crate::decimals::Num;
use crate::kernel::Input;
use crate::session::Session;
use crate::values::{Bool, Bytea, Date, Float4, Float8, Int2, Int4, Int8, Span, Text, Time, Timestamp, Timestamptz};

/// Prints the values of one array.
pub(crate) enum Printer {
    Bool(<Bool as Input>::Column),
    Int2(<Int2 as Input>::Column),
    Int4(<Int4 as Input>::Column),
    Int8(<Int8 as Input>::Column),
    Float4(<Float4 as Input>::Column),
    Float8(<Float8 as Input>::Column),
    Numeric(<Num as Input>::Column),
    Text(<Text as Input>::Column),
    Bytea(<Bytea as Input>::Column),
    Date(<Date as Input>::Column),
    Time(<Time as Input>::Column),
    Timestamp(<Timestamp as Input>::Column),
    Timestamptz(<Timestamptz as Input>::Column, Zone),
    Interval(<Span as Input>::Column),
    Array(ListArray, Box<Printer>),
    Record(RecordPrinter),
}

impl Printer {
    pub(crate) fn new(array: &ArrayRef, of: &PgType, session: &Session<'_>) -> Result<Self> {
        Ok(match of {
            PgType::Bool => Self::Bool(Bool::column(array)?),
            PgType::Int2 => Self::Int2(Int2::column(array)?),
            PgType::Int4 => Self::Int4(Int4::column(array)?),
            PgType::Int8 => Self::Int8(Int8::column(array)?),
            PgType::Float4 => Self::Float4(Float4::column(array)?),
            PgType::Float8 => Self::Float8(Float8::column(array)?),
            PgType::Numeric => Self::Numeric(Num::column(array)?),
            PgType::Unknown | PgType::Text | PgType::Bpchar | PgType::Uuid | PgType::Json | PgType::Jsonb => {
                Self::Text(Text::column(array)?)
            }
            PgType::Bytea => Self::Bytea(Bytea::column(array)?),
            PgType::Date => Self::Date(Date::column(array)?),
            PgType::Time => Self::Time(Time::column(array)?),
            PgType::Timestamp => Self::Timestamp(Timestamp::column(array)?),
            PgType::Timestamptz => Self::Timestamptz(Timestamptz::column(array)?, session.zone()?),
            PgType::Interval => Self::Interval(Span::column(array)?),
            PgType::Array(of) => {
                let list = super::as_list(array)?;
                let values = Self::new(list.values(), of, session)?;
                Self::Array(list, Box::new(values))
            }
            PgType::Record => Self::Record(RecordPrinter::new(array, session)?),
            PgType::Composite => return Err(super::no_cast(of, &PgType::Text)),
        })
    }

    /// Appends the value of a row, which is not NULL.
    pub(crate) fn print(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Self::Bool(column) => out.push_str(if column.value(row) { "true" } else { "false" }),
            Self::Int2(column) => push(out, column.value(row)),
            Self::Int4(column) => push(out, column.value(row)),
            Self::Int8(column) => push(out, column.value(row)),
            Self::Float4(column) => out.push_str(&float::print_f32(column.value(row))),
            Self::Float8(column) => out.push_str(&float::print_f64(column.value(row))),
            Self::Numeric(column) => push(out, Num::get(column, row)?),
            Self::Text(column) => out.push_str(column.value(row)),
            Self::Bytea(column) => super::print_bytea(column.value(row), out),
            Self::Date(column) => out.push_str(&print_date(column.value(row))),
            Self::Time(column) => out.push_str(&print_time(column.value(row))),
            Self::Timestamp(column) => out.push_str(&print_timestamp(column.value(row))),
            Self::Timestamptz(column, zone) => out.push_str(&print_timestamptz(column.value(row), zone)),
            Self::Interval(column) => out.push_str(&print_interval(&Span::get(column, row)?)),
            Self::Array(list, values) => return values.print_array(list, row, out),
            Self::Record(record) => return record.print(row, out),
        }
        Ok(())
    }

    /// As output functions have it; the cast to text alone writes booleans out.
    pub(crate) fn print_short(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Self::Bool(column) => out.push(if column.value(row) { 't' } else { 'f' }),
            _ => return self.print(row, out),
        }
        Ok(())
    }

    fn print_array(&self, list: &ListArray, row: usize, out: &mut String) -> Result<()> {
        let (Some(&start), Some(&end)) = (list.value_offsets().get(row), list.value_offsets().get(row + 1)) else {
            return Ok(());
        };
        out.push('{');
        let mut element = String::new();
        for at in start..end {
            if at > start {
                out.push(',');
            }
            let at = usize::try_from(at).map_err(crate::error::internal)?;
            if list.values().is_null(at) {
                out.push_str("NULL");
                continue;
            }
            element.clear();
            self.print_short(at, &mut element)?;
            // The brackets of an inner array are its own and get no quotes.
            if matches!(self, Self::Array(..)) {
                out.push_str(&element);
            } else {
                array_text::print(&element, out);
            }
        }
        out.push('}');
        Ok(())
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // A String takes everything that is written to it.
    let _ = write!(out, "{value}");
}
