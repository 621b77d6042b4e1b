//! Rows in Avro, by schemas that the sink registers: of the values under `TOPIC-value` (option `subject`), of the keys under
//! `TOPIC-key`.
//!
//! Every field may be NULL, with NULL as its default, so that a view with more or fewer columns than the one before it is
//! compatible with it. What Avro has no type for is text, as JSON would have it.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit},
};
use arrow_avro::{
    schema::{
        AVRO_FIELD_DEFAULT_METADATA_KEY, AVRO_NAME_METADATA_KEY, AVRO_NAMESPACE_METADATA_KEY, AvroSchema,
        FingerprintStrategy, SCHEMA_METADATA_KEY,
    },
    writer::{Encoder as Rows, WriterBuilder, format::AvroSoeFormat},
};
use ebap_connector::{Error, Result, SinkContext, text};
use ebap_schema_registry::{Kind, SchemaRegistry, subject};
use parking_lot::Mutex;

use super::options::SinkOptions;

const NAMESPACE: &str = "ebap";

pub(super) struct AvroEncoder {
    registry: SchemaRegistry,
    value: Part,
    /// None where records have no key.
    key: Option<Part>,
}

/// What stands in the value, or in the key.
struct Part {
    subject: String,
    /// Of the rows of the relation.
    columns: Vec<usize>,
    schema: SchemaRef,
    avro: String,
    /// From when the sink is open.
    rows: Mutex<Option<Rows>>,
}

impl AvroEncoder {
    /// Contacts nothing.
    ///
    /// # Errors
    /// `Option` for a bad option, `Schema` for a column that Avro cannot have.
    pub(super) fn new(context: &SinkContext, options: &SinkOptions) -> Result<Self> {
        let registry = SchemaRegistry::new(&context.options)?;
        let all: Vec<usize> = (0..context.schema.fields().len()).collect();
        let value = Part::new(subject(&context.options)?, &context.schema, all, &context.name)?;
        let key = (!options.key.is_empty()).then(|| {
            let name = format!("{}_key", context.name);
            Part::new(format!("{}-key", options.topic), &context.schema, options.key.clone(), &name)
        });
        Ok(Self { registry, value, key: key.transpose()? })
    }

    pub(super) async fn open(&self) -> Result<()> {
        for part in [Some(&self.value), self.key.as_ref()].into_iter().flatten() {
            let id = self.registry.register(&part.subject, Kind::Avro, &part.avro).await?;
            *part.rows.lock() = Some(part.encoder(id)?);
        }
        Ok(())
    }

    pub(super) fn value(&self, batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
        self.value.encode(batch, row)
    }

    pub(super) fn key(&self, batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
        match &self.key {
            Some(key) => key.encode(batch, row),
            None => Err(Error::internal("a key was asked for where there is none")),
        }
    }
}

impl Part {
    fn new(subject: String, of: &Schema, columns: Vec<usize>, name: &str) -> Result<Self> {
        let fields = columns.iter().map(|at| field(of.field(*at))).collect::<Result<Vec<_>>>()?;
        let name: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        let named = HashMap::from([
            (AVRO_NAME_METADATA_KEY.to_owned(), name),
            (AVRO_NAMESPACE_METADATA_KEY.to_owned(), NAMESPACE.to_owned()),
        ]);
        let schema = Schema::new_with_metadata(fields, named);
        let avro = AvroSchema::try_from(&schema).map_err(|error| Error::schema(error.to_string()))?;
        let part = Self { subject, columns, schema: Arc::new(schema), avro: avro.json_string, rows: Mutex::new(None) };
        part.encoder(0).map(|_| part)
    }

    fn encoder(&self, id: u32) -> Result<Rows> {
        let metadata = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), self.avro.clone())]);
        let builder = WriterBuilder::new(self.schema.as_ref().clone().with_metadata(metadata));
        let builder = builder.with_fingerprint_strategy(FingerprintStrategy::Id(id));
        builder.build_encoder::<AvroSoeFormat>().map_err(|error| Error::schema(error.to_string()))
    }

    fn encode(&self, batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
        let column = |(at, field): (&usize, &Arc<Field>)| fitted(&batch.column(*at).slice(row, 1), field.data_type());
        let columns = self.columns.iter().zip(self.schema.fields()).map(column).collect::<Result<Vec<_>>>()?;
        let mut rows = self.rows.lock();
        let rows = rows.as_mut().ok_or_else(|| Error::internal("rows are encoded before the sink is open"))?;
        let one = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(Error::internal)?;
        rows.encode(&one).map_err(Error::internal)?;
        Ok(rows.flush().bytes().to_vec())
    }
}

/// The field as Avro has it.
fn field(of: &Field) -> Result<Field> {
    let name = of.name();
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !starts || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        let message =
            format!("column \"{name}\" has a name that Avro does not allow; give it one of letters, digits and _");
        return Err(Error::schema(message));
    }
    let null = HashMap::from([(AVRO_FIELD_DEFAULT_METADATA_KEY.to_owned(), "null".to_owned())]);
    Ok(Field::new(name, typed(of.data_type())?, true).with_metadata(null))
}

fn typed(of: &DataType) -> Result<DataType> {
    Ok(match of {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Interval(IntervalUnit::MonthDayNano) => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        // Avro's decimals are of one scale, and these each have their own.
        DataType::LargeBinary => DataType::Utf8,
        DataType::Dictionary(_, value) => typed(value)?,
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::List(item) => DataType::List(Arc::new(Field::new("item", typed(item.data_type())?, true))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|inner| field(inner)).collect::<Result<Vec<_>>>()?.into())
        }
        other => other.clone(),
    })
}

fn fitted(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if let (DataType::Interval(_) | DataType::LargeBinary, DataType::Utf8) = (array.data_type(), to) {
        let one = |row: usize| {
            if array.is_null(row) {
                return Ok(None);
            }
            let mut out = String::new();
            text::write_value(&mut out, array, row).map(|()| Some(out))
        };
        let texts = (0..array.len()).map(one).collect::<Result<Vec<_>>>()?;
        return Ok(Arc::new(StringArray::from(texts)));
    }
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    cast(array, to).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_avro_does_not_allow_is_refused_with_the_way_out() {
        let refused = |name: &str| field(&Field::new(name, DataType::Int64, true)).map(|_| ()).expect_err(name);
        assert!(refused("count(*)").to_string().contains("letters, digits and _"));
        assert!(refused("1st").to_string().contains("\"1st\""));
        assert!(field(&Field::new("_ok1", DataType::Int16, false)).is_ok_and(|field| field.is_nullable()));
    }
}
