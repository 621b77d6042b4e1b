//! Protobuf in the wire format of a schema registry: behind the id of the schema stands which of its messages it is.
//!
//! A column takes the field of its name, as JSON of the same value would be read: an enumeration is the name of its value,
//! `google.protobuf.Timestamp` a moment, a wrapper its value or NULL. A field that is not there is NULL where Protobuf can
//! tell (`optional`, messages, `oneof`), and its default where it cannot.

use std::collections::HashMap;

use arrow::datatypes::{Fields, SchemaRef};
use async_trait::async_trait;
use base64::Engine;
use chrono::{DateTime, SecondsFormat};
use ebap_connector::{DecodeSpec, Decoded, Decoder, Records, Rejected, Result};
use ebap_schema_registry::{Kind, Schema};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, ReflectMessage, Value as Proto,
};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use serde_json::{Map, Number, Value};

use crate::{
    cell::{BASE64, Cell, Converter, Dialect},
    columns::Columns,
    names,
    registered::{Groups, Registered},
    time::Moments,
    tree::Json,
};

/// The name of the file that a schema is taken for.
const FILE: &str = "ebap-schema.proto";

pub(crate) struct ProtobufDecoder {
    schema: SchemaRef,
    converter: Converter,
    columns: Columns,
    schemas: Registered<Messages>,
}

/// The messages of a schema, those inside of others among them.
pub(crate) struct Messages {
    id: u32,
    pool: DescriptorPool,
}

impl ProtobufDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        Ok(Self {
            schema: spec.schema.clone(),
            converter: Converter { moments: Moments::of(&spec.options)?, dialect: Dialect::Plain },
            columns: Columns::new(&spec.schema, &spec.wanted)?,
            schemas: Registered::new(&spec.options, Kind::Protobuf)?,
        })
    }
}

impl Messages {
    /// # Errors
    /// The reason why it cannot be read.
    pub(crate) fn new(schema: &Schema) -> Result<Self, String> {
        let unreadable = |error: protox::Error| format!("it cannot be read: {error}");
        let mut files: HashMap<String, String> = HashMap::new();
        for reference in &schema.references {
            files.insert(reference.name.clone(), reference.text.clone());
        }
        files.insert(FILE.to_owned(), schema.text.clone());
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(FILE).map_err(unreadable)?;
        Ok(Self { id: schema.id, pool: compiler.descriptor_pool() })
    }

    /// The first message of the schema.
    pub(crate) fn first(&self) -> Option<MessageDescriptor> {
        self.pool.get_file_by_name(FILE)?.messages().next()
    }

    /// The message that the path names, and what stands behind the path.
    fn message<'a>(&self, value: &'a [u8]) -> Result<(MessageDescriptor, &'a [u8]), String> {
        let wrong = || format!("does not fit schema {}: it does not say which message it is", self.id);
        let mut rest = value;
        let count = varint(&mut rest).ok_or_else(wrong)?;
        if count == 0 {
            // Short for the path [0].
            return Ok((self.first().ok_or_else(wrong)?, rest));
        }
        let mut found: Option<MessageDescriptor> = None;
        // As many as there are bytes, at the most.
        for _ in 0..usize::try_from(count).ok().filter(|count| *count <= value.len()).ok_or_else(wrong)? {
            let index = usize::try_from(varint(&mut rest).ok_or_else(wrong)?).map_err(|_| wrong())?;
            found = match found {
                None => self.pool.get_file_by_name(FILE).and_then(|file| file.messages().nth(index)),
                Some(outer) => outer.child_messages().nth(index),
            };
            if found.is_none() {
                return Err(format!("does not fit schema {}: it has no message of this index", self.id));
            }
        }
        Ok((found.ok_or_else(wrong)?, rest))
    }

    fn decode(&self, value: &[u8]) -> Result<DynamicMessage, String> {
        let (descriptor, rest) = self.message(value)?;
        DynamicMessage::decode(descriptor, rest).map_err(|error| format!("does not fit schema {}: {error}", self.id))
    }
}

struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Zig-zag, as Avro writes integers.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let (mut value, mut bits) = (0_u64, 0);
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(bits)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        bits += 7;
        if bits > 63 {
            return None;
        }
    }
}

/// As JSON has it; `None` for NULL.
fn json(field: &FieldDescriptor, value: &Proto) -> Option<Value> {
    Some(match value {
        Proto::List(values) => Value::Array(values.iter().map(|value| single(field, value)).collect()),
        Proto::Map(entries) => {
            let of = field.kind();
            let value_field = of.as_message().map(|entry| entry.map_entry_value_field());
            let one = |(key, value): (&MapKey, &Proto)| {
                let value = value_field.as_ref().map_or(Value::Null, |field| single(field, value));
                (key_text(key), value)
            };
            Value::Object(entries.iter().map(one).collect::<Map<_, _>>())
        }
        value => single(field, value),
    })
    .filter(|value| !value.is_null())
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn single(field: &FieldDescriptor, value: &Proto) -> Value {
    match value {
        Proto::Bool(value) => Value::Bool(*value),
        Proto::I32(value) => Value::from(*value),
        Proto::I64(value) => Value::from(*value),
        Proto::U32(value) => Value::from(*value),
        Proto::U64(value) => Value::from(*value),
        // By its text, so that 0.1 stays 0.1.
        Proto::F32(value) => double(value.to_string().parse().unwrap_or_else(|_| f64::from(*value))),
        Proto::F64(value) => double(*value),
        Proto::String(value) => Value::String(value.clone()),
        Proto::Bytes(value) => Value::String(BASE64.encode(value)),
        Proto::EnumNumber(number) => {
            let of = field.kind();
            let name = of.as_enum().and_then(|of| of.get_value(*number));
            Value::String(name.map_or_else(|| number.to_string(), |value| value.name().to_owned()))
        }
        Proto::Message(message) => of_message(message),
        // Neither stands inside of another.
        Proto::List(_) | Proto::Map(_) => Value::Null,
    }
}

fn double(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::String("NaN".to_owned()),
        None => Value::String(if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
    }
}

/// A message that stands for its one value, so that it can be NULL.
pub(crate) fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    const WRAPPERS: [&str; 9] = [
        "BoolValue",
        "BytesValue",
        "DoubleValue",
        "FloatValue",
        "Int32Value",
        "Int64Value",
        "StringValue",
        "UInt32Value",
        "UInt64Value",
    ];
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    WRAPPERS.contains(&name).then(|| message.fields().next()).flatten()
}

fn of_message(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    if let Some(field) = wrapped(&descriptor) {
        return single(&field, &message.get_field(&field));
    }
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let number = |name: &str| message.get_field_by_name(name);
            let seconds = number("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
            let nanos = number("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
            let time = u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
            // One that is no moment is refused as text that is none.
            let text = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Nanos, true));
            Value::String(text.unwrap_or_else(|| format!("{seconds} s and {nanos} ns")))
        }
        _ => {
            let one = |field: FieldDescriptor| Some((field.name().to_owned(), of_field(message, &field)?));
            Value::Object(descriptor.fields().filter_map(one).collect())
        }
    }
}

fn of_field(message: &DynamicMessage, field: &FieldDescriptor) -> Option<Value> {
    if field.supports_presence() && !message.has_field(field) {
        return None;
    }
    json(field, &message.get_field(field))
}

#[async_trait]
impl Decoder for ProtobufDecoder {
    async fn prepare(&mut self, records: &[&Records]) -> Result<()> {
        self.schemas.prepare(records.iter().map(|records| &records.values), Messages::new).await
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let (mut rows, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        let mut made: Vec<(u32, Vec<Cell>)> = Vec::with_capacity(records.len());
        for (id, group) in Groups::of(&records.values, 0..records.len(), &mut rejected)?.0 {
            let messages = self.schemas.get(id)?;
            for record in group {
                let value = records.values.get(record as usize).unwrap_or_default();
                let outcome = match &messages {
                    Err(reason) => Err(reason.clone()),
                    Ok(messages) => messages
                        .decode(&value[ebap_schema_registry::wire::PREFIX_BYTES..])
                        .and_then(|message| cells(&self.schema, &self.converter, &message)),
                };
                match outcome {
                    Ok(cells) => made.push((record, cells)),
                    Err(reason) => rejected.push(Rejected { record, reason }),
                }
            }
        }
        made.sort_unstable_by_key(|(record, _)| *record);
        for (record, cells) in made {
            self.columns.append(cells);
            rows.push(record);
        }
        rejected.sort_unstable_by_key(|rejected| rejected.record);
        Ok(Decoded::of_rows(self.columns.finish()?, rows, rejected))
    }
}

/// The field whose name differs from this one in capital letters alone.
fn folded(descriptor: &MessageDescriptor, declared: &Fields, name: &str) -> Result<Option<FieldDescriptor>, String> {
    let all: Vec<FieldDescriptor> = descriptor.fields().collect();
    let at = names::place(all.iter().map(FieldDescriptor::name), declared, name, name)?;
    Ok(at.and_then(|at| all.into_iter().nth(at)))
}

fn cells(schema: &SchemaRef, converter: &Converter, message: &DynamicMessage) -> Result<Vec<Cell>, String> {
    let descriptor = message.descriptor();
    let one = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let of = match descriptor.get_field_by_name(field.name()) {
            Some(of) => Some(of),
            None => folded(&descriptor, schema.fields(), field.name())?,
        };
        let value = of.and_then(|of| of_field(message, &of)).map(Json::from);
        converter.field(field, value, field.name())
    };
    schema.fields().iter().map(one).collect()
}
