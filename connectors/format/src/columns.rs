//! Columns being filled, by the short way with values and by the long way with cells.
//!
//! # Invariants
//! - Between two records every column holds as many values as there are rows. A record that fails half
//!   way leaves some columns one longer; `take_back` cuts them.
//! - A column or a field that nobody wants holds nothing and becomes NULLs of its type.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array,
        Float64Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, RecordBatch,
        RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Fields, SchemaRef},
};
use ebap_connector::{Error, Result, Wanted};

use crate::cell::Cell;

#[derive(Debug)]
pub(crate) enum Column {
    /// Nobody wants it. Holds NULLs of earlier batches.
    Nothing(Option<ArrayRef>),
    Bool {
        values: BooleanBufferBuilder,
        valid: NullBufferBuilder,
    },
    Int {
        values: Vec<i64>,
        valid: NullBufferBuilder,
    },
    Float {
        values: Vec<f64>,
        valid: NullBufferBuilder,
    },
    Decimal {
        values: Vec<i128>,
        valid: NullBufferBuilder,
    },
    Text(Strings),
    Bytes(Strings),
    Struct {
        children: Vec<Column>,
        valid: NullBufferBuilder,
    },
    List {
        child: Box<Column>,
        ends: Vec<i32>,
        valid: NullBufferBuilder,
    },
    Map {
        key: Box<Column>,
        value: Box<Column>,
        ends: Vec<i32>,
        valid: NullBufferBuilder,
    },
}

/// Text or bytes: the values end to end, and where each ends.
#[derive(Debug)]
pub(crate) struct Strings {
    values: Vec<u8>,
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

pub(crate) struct Columns {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

impl Columns {
    pub(crate) fn new(schema: &SchemaRef, wanted: &Wanted) -> Result<Self> {
        let columns = children(schema.fields(), wanted)?;
        Ok(Self { schema: wanted.relaxed(schema), columns, rows: 0 })
    }

    pub(crate) fn append(&mut self, row: Vec<Cell>) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(cell);
        }
        self.rows += 1;
    }

    /// For the short way, which then calls `keep` or `take_back`.
    pub(crate) fn open(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Every column has got its value of the row.
    pub(crate) fn keep(&mut self) {
        self.rows += 1;
    }

    /// Forgets what a record that does not fit has left.
    pub(crate) fn take_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        let arrays = finish(&mut self.columns, self.schema.fields(), rows)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(Error::internal)
    }
}

fn column(of: &DataType, wanted: &Wanted) -> Result<Column> {
    let valid = || NullBufferBuilder::new(0);
    Ok(match of {
        DataType::Boolean => Column::Bool { values: BooleanBufferBuilder::new(0), valid: valid() },
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(_, _) => {
            Column::Int { values: Vec::new(), valid: valid() }
        }
        DataType::Float32 | DataType::Float64 => Column::Float { values: Vec::new(), valid: valid() },
        DataType::Decimal128(_, _) => Column::Decimal { values: Vec::new(), valid: valid() },
        DataType::Utf8 => Column::Text(Strings::new()),
        DataType::Binary => Column::Bytes(Strings::new()),
        DataType::Struct(fields) => Column::Struct { children: children(fields, wanted)?, valid: valid() },
        DataType::List(item) => {
            let child = Box::new(column(item.data_type(), &Wanted::All)?);
            Column::List { child, ends: Vec::new(), valid: valid() }
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let part = |at: usize| Ok::<_, Error>(Box::new(column(fields[at].data_type(), &Wanted::All)?));
                Column::Map { key: part(0)?, value: part(1)?, ends: Vec::new(), valid: valid() }
            }
            _ => return Err(Error::internal("a map has a key and a value")),
        },
        other => return Err(Error::schema(format!("columns of type {other} cannot be decoded"))),
    })
}

fn children(fields: &Fields, wanted: &Wanted) -> Result<Vec<Column>> {
    let one = |field: &Arc<arrow::datatypes::Field>| {
        // Also where nobody wants it: the type may be one that cannot be decoded.
        let column = column(field.data_type(), wanted.of(field.name()).unwrap_or(&Wanted::All))?;
        Ok(if wanted.of(field.name()).is_some() { column } else { Column::Nothing(None) })
    };
    fields.iter().map(one).collect()
}

impl Strings {
    fn new() -> Self {
        Self { values: Vec::new(), ends: Vec::new(), valid: NullBufferBuilder::new(0) }
    }

    fn end(&mut self) {
        // Beyond 2 GiB the last end is not that of the values, which `finish` sees.
        self.ends.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
    }

    fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.end();
        self.valid.append_non_null();
    }

    fn push_null(&mut self) {
        self.end();
        self.valid.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.values.truncate(last(&self.ends));
        self.valid.truncate(rows);
    }

    fn finish(&mut self) -> Result<(OffsetBuffer<i32>, Buffer, Option<NullBuffer>)> {
        if last(&self.ends) != self.values.len() {
            return Err(Error::internal("a batch holds more than 2 GiB of one column"));
        }
        // Room for as much again: the next batch is about as large.
        let room = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, room);
        Ok((offsets(&mut self.ends), Buffer::from_vec(values), self.valid.finish()))
    }
}

fn last(ends: &[i32]) -> usize {
    ends.last().map_or(0, |end| *end as usize)
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let all: Vec<i32> = std::iter::once(0).chain(ends.iter().copied()).collect();
    ends.clear();
    OffsetBuffer::new(all.into())
}

impl Column {
    /// A value of another type is not kept, nor NULL: the schema has decided the kind of the column, and
    /// the reader checks values against the same schema.
    pub(crate) fn push_bool(&mut self, value: bool) {
        if let Self::Bool { values, valid } = self {
            values.append(value);
            valid.append_non_null();
        }
    }

    pub(crate) fn push_int(&mut self, value: i64) {
        if let Self::Int { values, valid } = self {
            values.push(value);
            valid.append_non_null();
        }
    }

    pub(crate) fn push_float(&mut self, value: f64) {
        if let Self::Float { values, valid } = self {
            values.push(value);
            valid.append_non_null();
        }
    }

    pub(crate) fn push_decimal(&mut self, value: i128) {
        if let Self::Decimal { values, valid } = self {
            values.push(value);
            valid.append_non_null();
        }
    }

    /// Valid UTF-8.
    pub(crate) fn push_text(&mut self, value: &[u8]) {
        if let Self::Text(strings) = self {
            strings.push(value);
        }
    }

    /// Nobody wants it: the value is to be checked, not to be made.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing(_))
    }

    /// Marks the struct as there; its fields are pushed to the children.
    pub(crate) fn push_struct(&mut self) -> &mut [Self] {
        match self {
            Self::Struct { children, valid } => {
                valid.append_non_null();
                children
            }
            _ => &mut [],
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Nothing(_) => {}
            Self::Bool { values, valid } => {
                values.append(false);
                valid.append_null();
            }
            Self::Int { values, valid } => {
                values.push(0);
                valid.append_null();
            }
            Self::Float { values, valid } => {
                values.push(0.0);
                valid.append_null();
            }
            Self::Decimal { values, valid } => {
                values.push(0);
                valid.append_null();
            }
            Self::Text(strings) | Self::Bytes(strings) => strings.push_null(),
            Self::Struct { children, valid } => {
                valid.append_null();
                children.iter_mut().for_each(Self::push_null);
            }
            Self::List { ends, valid, .. } | Self::Map { ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                valid.append_null();
            }
        }
    }

    /// A cell of another type counts as NULL: the converter has checked the types.
    pub(crate) fn push(&mut self, cell: Cell) {
        match (&mut *self, cell) {
            (Self::Bool { .. }, Cell::Bool(value)) => self.push_bool(value),
            (Self::Int { .. }, Cell::Int(value)) => self.push_int(value),
            (Self::Float { .. }, Cell::Float(value)) => self.push_float(value),
            (Self::Decimal { .. }, Cell::Decimal(value)) => self.push_decimal(value),
            (Self::Text(strings), Cell::Text(value)) => strings.push(value.as_bytes()),
            (Self::Bytes(strings), Cell::Bytes(value)) => strings.push(&value),
            (Self::Struct { children, valid }, Cell::Struct(cells)) => {
                valid.append_non_null();
                children.iter_mut().zip(cells).for_each(|(child, cell)| child.push(cell));
            }
            (Self::List { child, ends, valid }, Cell::List(cells)) => {
                valid.append_non_null();
                ends.push(end_behind(ends, cells.len()));
                cells.into_iter().for_each(|cell| child.push(cell));
            }
            (Self::Map { key, value, ends, valid }, Cell::Map(cells)) => {
                valid.append_non_null();
                ends.push(end_behind(ends, cells.len()));
                for (of_key, of_value) in cells {
                    key.push(of_key);
                    value.push(of_value);
                }
            }
            _ => self.push_null(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Nothing(_) => {}
            Self::Bool { values, valid } => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Int { values, valid } => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Float { values, valid } => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Decimal { values, valid } => {
                values.truncate(rows);
                valid.truncate(rows);
            }
            Self::Text(strings) | Self::Bytes(strings) => strings.truncate(rows),
            Self::Struct { children, valid } => {
                valid.truncate(rows);
                children.iter_mut().for_each(|child| child.truncate(rows));
            }
            Self::List { child, ends, valid } => {
                ends.truncate(rows);
                valid.truncate(rows);
                child.truncate(last(ends));
            }
            Self::Map { key, value, ends, valid } => {
                ends.truncate(rows);
                valid.truncate(rows);
                key.truncate(last(ends));
                value.truncate(last(ends));
            }
        }
    }

    fn finish(&mut self, of: &DataType, rows: usize) -> Result<ArrayRef> {
        Ok(match self {
            Self::Nothing(made) => nulls(made, of, rows),
            Self::Bool { values, valid } => Arc::new(BooleanArray::new(values.finish(), valid.finish())),
            Self::Int { values, valid } => {
                let room = Vec::with_capacity(values.len());
                integers(std::mem::replace(values, room), valid.finish(), of)
            }
            Self::Float { values, valid } => {
                let room = Vec::with_capacity(values.len());
                let values = std::mem::replace(values, room);
                match of {
                    DataType::Float32 => {
                        let values: ScalarBuffer<f32> = values.into_iter().map(|value| value as f32).collect();
                        Arc::new(Float32Array::new(values, valid.finish()))
                    }
                    _ => Arc::new(Float64Array::new(values.into(), valid.finish())),
                }
            }
            Self::Decimal { values, valid } => {
                let array = Decimal128Array::new(std::mem::take(values).into(), valid.finish());
                let DataType::Decimal128(precision, scale) = of else { return Err(Error::internal("no decimal")) };
                Arc::new(array.with_precision_and_scale(*precision, *scale).map_err(Error::internal)?)
            }
            Self::Text(strings) => {
                let (offsets, values, valid) = strings.finish()?;
                Arc::new(StringArray::try_new(offsets, values, valid).map_err(Error::internal)?)
            }
            Self::Bytes(strings) => {
                let (offsets, values, valid) = strings.finish()?;
                Arc::new(BinaryArray::try_new(offsets, values, valid).map_err(Error::internal)?)
            }
            Self::Struct { children, valid } => {
                let DataType::Struct(fields) = of else { return Err(Error::internal("no struct")) };
                let arrays = finish(children, fields, rows)?;
                let made = StructArray::try_new_with_length(fields.clone(), arrays, valid.finish(), rows);
                Arc::new(made.map_err(Error::internal)?)
            }
            Self::List { child, ends, valid } => {
                let DataType::List(item) = of else { return Err(Error::internal("no list")) };
                let values = child.finish(item.data_type(), last(ends))?;
                let made = ListArray::try_new(Arc::clone(item), offsets(ends), values, valid.finish());
                Arc::new(made.map_err(Error::internal)?)
            }
            Self::Map { key, value, ends, valid } => {
                let DataType::Map(entries, sorted) = of else { return Err(Error::internal("no map")) };
                let DataType::Struct(fields) = entries.data_type() else { return Err(Error::internal("no map")) };
                let count = last(ends);
                let arrays =
                    vec![key.finish(fields[0].data_type(), count)?, value.finish(fields[1].data_type(), count)?];
                let pairs = StructArray::try_new(fields.clone(), arrays, None).map_err(Error::internal)?;
                let made = MapArray::try_new(Arc::clone(entries), offsets(ends), pairs, valid.finish(), *sorted);
                Arc::new(made.map_err(Error::internal)?)
            }
        })
    }
}

fn finish(columns: &mut [Column], fields: &Fields, rows: usize) -> Result<Vec<ArrayRef>> {
    columns.iter_mut().zip(fields).map(|(column, field)| column.finish(field.data_type(), rows)).collect()
}

fn end_behind(ends: &[i32], more: usize) -> i32 {
    i32::try_from(last(ends) + more).unwrap_or(i32::MAX)
}

/// Made once and sliced: it costs nothing per batch.
fn nulls(made: &mut Option<ArrayRef>, of: &DataType, rows: usize) -> ArrayRef {
    match made {
        Some(made) if made.len() >= rows => made.slice(0, rows),
        _ => made.insert(new_null_array(of, rows.next_power_of_two())).slice(0, rows),
    }
}

fn integers(values: Vec<i64>, valid: Option<NullBuffer>, of: &DataType) -> ArrayRef {
    // The converter has checked the ranges.
    let narrow = |values: &[i64]| values.iter().map(|value| *value as i32).collect::<ScalarBuffer<i32>>();
    match of {
        DataType::Int16 => {
            Arc::new(Int16Array::new(values.iter().map(|value| *value as i16).collect::<ScalarBuffer<i16>>(), valid))
        }
        DataType::Int32 => Arc::new(Int32Array::new(narrow(&values), valid)),
        DataType::Date32 => Arc::new(Date32Array::new(narrow(&values), valid)),
        DataType::Timestamp(_, zone) => {
            Arc::new(TimestampMicrosecondArray::new(values.into(), valid).with_timezone_opt(zone.clone()))
        }
        _ => Arc::new(Int64Array::new(values.into(), valid)),
    }
}
