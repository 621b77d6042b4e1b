//! Columns being filled with cells.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Date32Array, Decimal128Array, Float32Array, Float64Builder,
        Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, RecordBatch, RecordBatchOptions,
        StringBuilder, StructArray, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Fields, SchemaRef},
};
use ebap_connector::{Error, Result};

use crate::{
    cell::Cell,
    plain::{Row, Slot},
};

enum Column {
    Bool(BooleanBuilder),
    Int { values: Vec<i64>, valid: NullBufferBuilder },
    Float(Float64Builder),
    Decimal(Vec<Option<i128>>),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Struct { children: Vec<(DataType, Column)>, valid: Vec<bool> },
    List { child: Box<(DataType, Column)>, lengths: Vec<usize>, valid: Vec<bool> },
    Map { key: Box<(DataType, Column)>, value: Box<(DataType, Column)>, lengths: Vec<usize>, valid: Vec<bool> },
}

pub(crate) struct Columns {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

impl Columns {
    pub(crate) fn new(schema: SchemaRef) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| column(field.data_type())).collect::<Result<_>>()?;
        Ok(Self { schema, columns, rows: 0 })
    }

    pub(crate) fn append(&mut self, row: Vec<Cell>) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.push(cell);
        }
        self.rows += 1;
    }

    /// The same from the short way. Slots are in the order of the fields, those of a struct behind it.
    pub(crate) fn append_row(&mut self, row: &Row, text: &str) {
        let mut slots = row.slots.iter();
        for column in &mut self.columns {
            column.push_slot(&mut slots, row, text);
        }
        self.rows += 1;
    }

    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let arrays: Result<Vec<ArrayRef>> = self
            .columns
            .iter_mut()
            .zip(self.schema.fields())
            .map(|(column, field)| column.finish(field.data_type()))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays?, &options).map_err(Error::internal)
    }
}

fn column(of: &DataType) -> Result<Column> {
    Ok(match of {
        DataType::Boolean => Column::Bool(BooleanBuilder::new()),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(_, _) => {
            Column::Int { values: Vec::new(), valid: NullBufferBuilder::new(0) }
        }
        DataType::Float32 | DataType::Float64 => Column::Float(Float64Builder::new()),
        DataType::Decimal128(_, _) => Column::Decimal(Vec::new()),
        DataType::Utf8 => Column::Text(StringBuilder::new()),
        DataType::Binary => Column::Bytes(BinaryBuilder::new()),
        DataType::Struct(fields) => Column::Struct { children: children(fields)?, valid: Vec::new() },
        DataType::List(item) => {
            let child = Box::new((item.data_type().clone(), column(item.data_type())?));
            Column::List { child, lengths: Vec::new(), valid: Vec::new() }
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let mut parts = children(fields)?.into_iter();
                match (parts.next(), parts.next()) {
                    (Some(key), Some(value)) => Column::Map {
                        key: Box::new(key),
                        value: Box::new(value),
                        lengths: Vec::new(),
                        valid: Vec::new(),
                    },
                    _ => return Err(Error::internal("a map has a key and a value")),
                }
            }
            _ => return Err(Error::internal("a map has a key and a value")),
        },
        other => return Err(Error::schema(format!("columns of type {other} cannot be decoded"))),
    })
}

fn children(fields: &Fields) -> Result<Vec<(DataType, Column)>> {
    fields.iter().map(|field| Ok((field.data_type().clone(), column(field.data_type())?))).collect()
}

impl Column {
    /// A cell of another type counts as NULL: the converter has checked the types.
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Self::Bool(builder), _) => builder.append_null(),
            (Self::Int { values, valid }, Cell::Int(value)) => {
                values.push(value);
                valid.append_non_null();
            }
            (Self::Int { values, valid }, _) => {
                values.push(0);
                valid.append_null();
            }
            (Self::Float(builder), Cell::Float(value)) => builder.append_value(value),
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Decimal(values), Cell::Decimal(value)) => values.push(Some(value)),
            (Self::Decimal(values), _) => values.push(None),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Bytes(builder), Cell::Bytes(value)) => builder.append_value(value),
            (Self::Bytes(builder), _) => builder.append_null(),
            (Self::Struct { children, valid }, Cell::Struct(cells)) => {
                valid.push(true);
                children.iter_mut().zip(cells).for_each(|((_, child), cell)| child.push(cell));
            }
            (Self::Struct { children, valid }, _) => {
                valid.push(false);
                children.iter_mut().for_each(|(_, child)| child.push(Cell::Null));
            }
            (Self::List { child, lengths, valid }, Cell::List(cells)) => {
                valid.push(true);
                lengths.push(cells.len());
                cells.into_iter().for_each(|cell| child.1.push(cell));
            }
            (Self::Map { key, value, lengths, valid }, Cell::Map(cells)) => {
                valid.push(true);
                lengths.push(cells.len());
                for (of_key, of_value) in cells {
                    key.1.push(of_key);
                    value.1.push(of_value);
                }
            }
            (Self::List { lengths, valid, .. } | Self::Map { lengths, valid, .. }, _) => {
                valid.push(false);
                lengths.push(0);
            }
        }
    }

    fn push_slot(&mut self, slots: &mut std::slice::Iter<'_, Slot>, row: &Row, text: &str) {
        let slot = slots.next().copied().unwrap_or_default();
        let cell = match (&mut *self, slot) {
            (Self::Struct { children, valid }, slot) => {
                valid.push(slot == Slot::Struct);
                return children.iter_mut().for_each(|(_, child)| child.push_slot(slots, row, text));
            }
            (Self::Text(builder), Slot::Text(start, end)) => return builder.append_value(&text[start..end]),
            (Self::Text(builder), Slot::Scratch(start, end)) => return builder.append_value(&row.scratch[start..end]),
            (_, Slot::Bool(value)) => Cell::Bool(value),
            (_, Slot::Int(value)) => Cell::Int(value),
            (_, Slot::Float(value)) => Cell::Float(value),
            (_, Slot::Decimal(value)) => Cell::Decimal(value),
            (_, Slot::Cell(at)) => row.cells.get(at).cloned().unwrap_or(Cell::Null),
            (_, Slot::Missing | Slot::Null | Slot::Text(..) | Slot::Scratch(..) | Slot::Struct) => Cell::Null,
        };
        self.push(cell);
    }

    fn finish(&mut self, of: &DataType) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int { values, valid } => {
                let room = Vec::with_capacity(values.len());
                integers(std::mem::replace(values, room), valid.finish(), of)
            }
            Self::Float(builder) => match of {
                DataType::Float32 => Arc::new(
                    builder.finish().iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>(),
                ),
                _ => Arc::new(builder.finish()),
            },
            Self::Decimal(values) => {
                let array: Decimal128Array = std::mem::take(values).into_iter().collect();
                let DataType::Decimal128(precision, scale) = of else { return Err(Error::internal("no decimal")) };
                Arc::new(array.with_precision_and_scale(*precision, *scale).map_err(Error::internal)?)
            }
            Self::Text(builder) => {
                // Room for as much again: the next batch is about as large.
                let room = StringBuilder::with_capacity(builder.offsets_slice().len(), builder.values_slice().len());
                Arc::new(std::mem::replace(builder, room).finish())
            }
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Struct { children, valid } => {
                let DataType::Struct(fields) = of else { return Err(Error::internal("no struct")) };
                let length = valid.len();
                let arrays = children.iter_mut().map(|(of, child)| child.finish(of)).collect::<Result<_>>()?;
                let nulls = NullBuffer::from(std::mem::take(valid));
                Arc::new(
                    StructArray::try_new_with_length(fields.clone(), arrays, Some(nulls), length)
                        .map_err(Error::internal)?,
                )
            }
            Self::List { child, lengths, valid } => {
                let DataType::List(item) = of else { return Err(Error::internal("no list")) };
                let (offsets, nulls) =
                    (OffsetBuffer::from_lengths(std::mem::take(lengths)), NullBuffer::from(std::mem::take(valid)));
                let values = child.1.finish(&child.0)?;
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls)).map_err(Error::internal)?)
            }
            Self::Map { key, value, lengths, valid } => {
                let DataType::Map(entries, sorted) = of else { return Err(Error::internal("no map")) };
                let DataType::Struct(fields) = entries.data_type() else { return Err(Error::internal("no map")) };
                let (offsets, nulls) =
                    (OffsetBuffer::from_lengths(std::mem::take(lengths)), NullBuffer::from(std::mem::take(valid)));
                let arrays = vec![key.1.finish(&key.0)?, value.1.finish(&value.0)?];
                let pairs = StructArray::try_new(fields.clone(), arrays, None).map_err(Error::internal)?;
                Arc::new(
                    MapArray::try_new(Arc::clone(entries), offsets, pairs, Some(nulls), *sorted)
                        .map_err(Error::internal)?,
                )
            }
        })
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
