//! Columns as they were written made into the columns that were declared.
//!
//! As strict as JSON is: nothing is rounded, cut or guessed. Whether two types go together at all is a question of the
//! schema, and has one answer for all records of it; whether a value does is a question of its row.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray, new_null_array},
    buffer::NullBuffer,
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, Fields, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::{
    cell::{Dialect, UNAVAILABLE, absent, invalid, name_of, no_moment, out_of_range, shown, unavailable},
    names,
    time::{Moments, date},
};

/// Why rows are rejected: of each the first reason.
#[derive(Debug, Default)]
pub(crate) struct Faults(BTreeMap<usize, String>);

impl Faults {
    pub(crate) fn add(&mut self, row: usize, reason: impl FnOnce() -> String) {
        self.0.entry(row).or_insert_with(reason);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn of(&self, row: usize) -> Option<&str> {
        self.0.get(&row).map(String::as_str)
    }

    /// Faults of what stands inside of rows.
    fn add_inner(&mut self, inner: Self, row_of: impl Fn(usize) -> Option<usize>) {
        for (at, reason) in inner.0 {
            if let Some(row) = row_of(at) {
                self.add(row, || reason);
            }
        }
    }
}

pub(crate) struct Fitter {
    pub(crate) moments: Moments,
    pub(crate) dialect: Dialect,
}

/// The column, or the reason why the schema and the declared type do not go together.
type Outcome = Result<ArrayRef, String>;

const SAFE: CastOptions<'static> = CastOptions { safe: true, format_options: FormatOptions::new() };

impl Fitter {
    /// The columns of these fields, by name. What was not written is NULL.
    pub(crate) fn columns(
        &self,
        rows: usize,
        column: impl Fn(&str) -> Result<Option<ArrayRef>, String>,
        to: &Fields,
        faults: &mut Faults,
    ) -> Result<Vec<ArrayRef>, String> {
        let one = |field: &Arc<Field>| {
            let written = column(field.name())?.unwrap_or_else(|| new_null_array(field.data_type(), rows));
            self.field(&written, field, field.name(), faults)
        };
        to.iter().map(one).collect()
    }

    /// `path` names the column in reasons. Where a row has a fault, what stands in it means nothing.
    fn field(&self, array: &ArrayRef, to: &Field, path: &str, faults: &mut Faults) -> Outcome {
        let fitted = self.value(array, to, path, faults)?;
        if !to.is_nullable() && fitted.null_count() > 0 {
            (0..fitted.len()).filter(|row| fitted.is_null(*row)).for_each(|row| faults.add(row, || absent(path)));
        }
        Ok(fitted)
    }

    fn value(&self, array: &ArrayRef, to: &Field, path: &str, faults: &mut Faults) -> Outcome {
        let marker = to.metadata().get("ebap.type").map(String::as_str);
        let plain = match array.data_type() {
            // An enumeration.
            DataType::Dictionary(_, of) if **of == DataType::Utf8 => &cast(array, &DataType::Utf8).map_err(text)?,
            _ => array,
        };
        if *plain.data_type() == DataType::Utf8 {
            self.refuse_unavailable(plain, path, faults);
        }
        Ok(match (plain.data_type(), to.data_type()) {
            (DataType::Null, of) => new_null_array(of, plain.len()),
            (DataType::Utf8, DataType::Utf8) => match marker {
                Some("uuid") => checked(plain, path, "uuid", uuid_text, faults),
                Some("json") => checked(plain, path, "json", json_text, faults),
                _ => Arc::clone(plain),
            },
            (DataType::Utf8, DataType::Decimal128(precision, scale)) if self.dialect == Dialect::Debezium => {
                let read = |text: &str| crate::cell::decimal(text, *precision, *scale);
                let values = parsed::<Decimal128Type>(plain, path, &name_of(to.data_type()), read, faults);
                Arc::new(values.with_precision_and_scale(*precision, *scale).map_err(text)?)
            }
            (DataType::FixedSizeBinary(16), DataType::Utf8) if marker != Some("json") => uuids(plain),
            (DataType::Boolean, DataType::Boolean) => Arc::clone(plain),
            (
                DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt32
                | DataType::UInt64,
                DataType::Int16 | DataType::Int32 | DataType::Int64,
            ) => converted(plain, to, path, faults, out_of_range)?,
            (DataType::Int32 | DataType::Int64, DataType::Float32 | DataType::Float64)
            | (DataType::Float32 | DataType::Float64, DataType::Float32 | DataType::Float64)
            | (DataType::Binary | DataType::FixedSizeBinary(_), DataType::Binary)
            | (DataType::Time32(_), DataType::Int32)
            | (DataType::Time64(_), DataType::Int64)
            | (DataType::Date32, DataType::Date32) => cast(plain, to.data_type()).map_err(text)?,
            (DataType::Int32 | DataType::Int64 | DataType::UInt64, DataType::Decimal128(..)) => {
                converted(plain, to, path, faults, does_not_fit)?
            }
            (DataType::Decimal128(_, from) | DataType::Decimal256(_, from), DataType::Decimal128(_, scale)) => {
                let fitted = converted(plain, to, path, faults, does_not_fit)?;
                if from > scale {
                    lost_digits(plain, &fitted, to, path, faults)?;
                }
                fitted
            }
            (DataType::Timestamp(_, from), DataType::Timestamp(_, zone)) if from.is_some() || zone.is_none() => {
                // Of a moment the reading in UTC.
                converted(plain, to, path, faults, out_of_range)?
            }
            (DataType::Int32 | DataType::Int64, DataType::Timestamp(_, zone)) => {
                let numbers = cast(plain, &DataType::Int64).map_err(text)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let read = |number: i64| {
                    let found = self.moments.of_integer(number);
                    found.ok_or_else(|| out_of_range(path, to.data_type(), &number.to_string()))
                };
                let values = each::<TimestampMicrosecondType, _>(numbers.iter(), read, faults);
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            (DataType::Int32, DataType::Date32) if self.dialect == Dialect::Debezium => {
                Arc::new(plain.as_primitive::<Int32Type>().reinterpret_cast::<Date32Type>())
            }
            (DataType::Utf8, DataType::Timestamp(_, zone)) => {
                let read = |text: &str| {
                    self.moments.of_text(text).map_err(|fault| no_moment(path, to.data_type(), text, fault))
                };
                let values = each::<TimestampMicrosecondType, _>(plain.as_string::<i32>().iter(), read, faults);
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            (DataType::Utf8, DataType::Date32) => Arc::new(parsed::<Date32Type>(plain, path, "date", date, faults)),
            (DataType::Struct(_), DataType::Struct(fields)) => {
                self.structure(plain.as_struct(), fields, path, faults)?
            }
            (DataType::List(_), DataType::List(item)) => self.list(plain.as_list(), item, path, faults)?,
            (DataType::Map(..), DataType::Map(entries, _)) => self.map(plain.as_map(), entries, path, faults)?,
            (from, of) => return Err(mismatch(path, from, of, marker)),
        })
    }

    fn refuse_unavailable(&self, array: &ArrayRef, path: &str, faults: &mut Faults) {
        if self.dialect != Dialect::Debezium {
            return;
        }
        for (row, text) in array.as_string::<i32>().iter().enumerate() {
            if text == Some(UNAVAILABLE) {
                faults.add(row, || unavailable(path));
            }
        }
    }

    fn structure(&self, array: &StructArray, to: &Fields, path: &str, faults: &mut Faults) -> Outcome {
        let (mut inner, rows) = (Faults::default(), array.len());
        let one = |field: &Arc<Field>| {
            let path = format!("{path}.{}", field.name());
            let at = names::place(names_of(array.fields()), to, field.name(), &path)?;
            let written = at.map(|at| Arc::clone(array.column(at)));
            let written = written.unwrap_or_else(|| new_null_array(field.data_type(), rows));
            self.field(&written, field, &path, &mut inner)
        };
        let columns = to.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        faults.add_inner(inner, |row| array.is_valid(row).then_some(row));
        let made = StructArray::try_new_with_length(to.clone(), columns, array.nulls().cloned(), rows);
        Ok(Arc::new(made.map_err(text)?))
    }

    fn list(&self, array: &ListArray, item: &Arc<Field>, path: &str, faults: &mut Faults) -> Outcome {
        let mut inner = Faults::default();
        let values = self.field(array.values(), item, &format!("{path}[]"), &mut inner)?;
        faults.add_inner(inner, |at| row_of(array.value_offsets(), array.nulls(), at));
        let made = ListArray::try_new(Arc::clone(item), array.offsets().clone(), values, array.nulls().cloned());
        Ok(Arc::new(made.map_err(text)?))
    }

    fn map(&self, array: &MapArray, entries: &Arc<Field>, path: &str, faults: &mut Faults) -> Outcome {
        let DataType::Struct(fields) = entries.data_type() else { return Err(format!("column \"{path}\" is no map")) };
        let mut inner = Faults::default();
        let keys = self.field(array.keys(), &fields[0], &format!("{path} (a key)"), &mut inner)?;
        let values = self.field(array.values(), &fields[1], &format!("{path}[]"), &mut inner)?;
        faults.add_inner(inner, |at| row_of(array.value_offsets(), array.nulls(), at));
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(text)?;
        let made =
            MapArray::try_new(Arc::clone(entries), array.offsets().clone(), pairs, array.nulls().cloned(), false);
        Ok(Arc::new(made.map_err(text)?))
    }
}

/// The names of written columns or fields, for `names::place`.
pub(crate) fn names_of(fields: &Fields) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator + Clone {
    fields.iter().map(|field| field.name().as_str())
}

/// The row that this item stands in; none where the row is NULL.
fn row_of(ends: &[i32], nulls: Option<&NullBuffer>, at: usize) -> Option<usize> {
    let row = ends.partition_point(|end| *end as usize <= at).checked_sub(1)?;
    (row + 1 < ends.len() && nulls.is_none_or(|nulls| nulls.is_valid(row))).then_some(row)
}

fn each<T: ArrowPrimitiveType, V>(
    values: impl Iterator<Item = Option<V>>,
    read: impl Fn(V) -> Result<T::Native, String>,
    faults: &mut Faults,
) -> PrimitiveArray<T> {
    let one = |(row, value): (usize, Option<V>)| match read(value?) {
        Ok(found) => Some(found),
        Err(reason) => {
            faults.add(row, || reason);
            None
        }
    };
    values.enumerate().map(one).collect()
}

fn parsed<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    path: &str,
    kind: &str,
    read: impl Fn(&str) -> Option<T::Native>,
    faults: &mut Faults,
) -> PrimitiveArray<T> {
    each(array.as_string::<i32>().iter(), |text| read(text).ok_or_else(|| invalid(path, kind, text)), faults)
}

/// By Arrow's cast; a value that it cannot make is a fault.
fn converted(
    array: &ArrayRef,
    to: &Field,
    path: &str,
    faults: &mut Faults,
    reason: impl Fn(&str, &DataType, &str) -> String,
) -> Outcome {
    let fitted = cast_with_options(array, to.data_type(), &SAFE).map_err(text)?;
    if fitted.null_count() > array.null_count() {
        let values = ArrayFormatter::try_new(array, &FormatOptions::new()).map_err(text)?;
        for row in (0..array.len()).filter(|row| fitted.is_null(*row) && array.is_valid(*row)) {
            faults.add(row, || reason(path, to.data_type(), &values.value(row).to_string()));
        }
    }
    Ok(fitted)
}

/// Digits behind the point that the column has no place for.
fn lost_digits(array: &ArrayRef, fitted: &ArrayRef, to: &Field, path: &str, faults: &mut Faults) -> Result<(), String> {
    let back = cast_with_options(fitted, array.data_type(), &SAFE).map_err(text)?;
    if back.as_ref() == array.as_ref() {
        return Ok(());
    }
    let values = ArrayFormatter::try_new(array, &FormatOptions::new()).map_err(text)?;
    for row in 0..array.len() {
        if array.is_valid(row) && back.slice(row, 1).as_ref() != array.slice(row, 1).as_ref() {
            faults.add(row, || does_not_fit(path, to.data_type(), &values.value(row).to_string()));
        }
    }
    Ok(())
}

fn uuid_text(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|uuid| uuid.hyphenated().to_string())
}

fn json_text(text: &str) -> Option<String> {
    crate::cell::is_jsonb(text.as_bytes()).then(|| text.to_owned())
}

/// Text of which more than that is asked, in one form.
fn checked(
    array: &ArrayRef,
    path: &str,
    kind: &str,
    read: impl Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> ArrayRef {
    let one = |(row, text): (usize, Option<&str>)| {
        let found = read(text?);
        if found.is_none() {
            faults.add(row, || invalid(path, kind, text.unwrap_or_default()));
        }
        found
    };
    Arc::new(array.as_string::<i32>().iter().enumerate().map(one).collect::<StringArray>())
}

fn uuids(array: &ArrayRef) -> ArrayRef {
    let bytes = array.as_fixed_size_binary();
    let one = |row: usize| {
        let bytes = array.is_valid(row).then(|| bytes.value(row))?;
        uuid::Uuid::from_slice(bytes).ok().map(|uuid| uuid.hyphenated().to_string())
    };
    Arc::new((0..array.len()).map(one).collect::<StringArray>())
}

fn does_not_fit(path: &str, of: &DataType, value: &str) -> String {
    format!("column \"{path}\": {} does not fit {}", shown(value), name_of(of))
}

fn mismatch(path: &str, from: &DataType, to: &DataType, marker: Option<&str>) -> String {
    let from = match from {
        DataType::Utf8 => "text".to_owned(),
        DataType::Union(..) => "a union of several types".to_owned(),
        DataType::FixedSizeBinary(bytes) => format!("{bytes} bytes"),
        DataType::Timestamp(_, None) => "a timestamp without time zone".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "a duration".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "a time of day".to_owned(),
        other => name_of(other),
    };
    let to = marker.map_or_else(|| name_of(to), str::to_owned);
    format!("column \"{path}\" is of type {to} but the schema has {from}")
}

fn text(error: arrow::error::ArrowError) -> String {
    error.to_string()
}
