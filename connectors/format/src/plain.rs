//! The short way from a record to its columns: one pass over the text, nothing allocated per row.
//! Takes a record only where every value fits; any other goes the long way in `json`, which says why.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields};

use crate::{
    cell::{Cell, Converter, EXACT_DIGITS},
    scan::{Outcome, Quoted, Scanner, Unusual, unescape},
    time::{plain_date, plain_moment},
};

/// Keys of an object whose order is remembered, and how long such a key may be: producers decide what
/// the keys are.
const REMEMBERED_MAX: usize = 256;
const REMEMBERED_BYTES_MAX: usize = 128;

/// A value on its way to its column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Slot {
    #[default]
    Missing,
    Null,
    Bool(bool),
    /// Integers, dates and timestamps.
    Int(i64),
    Float(f64),
    Decimal(i128),
    /// Bytes of the record.
    Text(usize, usize),
    /// Bytes of `Row::scratch`.
    Scratch(usize, usize),
    /// A struct that is there; its fields follow.
    Struct,
    /// Index in `Row::cells`.
    Cell(usize),
}

/// The values of one record.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) slots: Vec<Slot>,
    pub(crate) scratch: String,
    pub(crate) cells: Vec<Cell>,
}

#[derive(Debug)]
enum Kind {
    Text,
    Uuid,
    Bool,
    Int(i64, i64),
    Float,
    Decimal {
        precision: u32,
        scale: usize,
    },
    Moment {
        zoned: bool,
    },
    Date,
    Struct(Object),
    /// Lists, maps and what is rare, by `serde_json`.
    Other,
}

#[derive(Debug)]
struct Node {
    field: Arc<Field>,
    path: String,
    kind: Kind,
    slot: usize,
}

/// An object whose fields are known, and the order in which its keys came last.
#[derive(Debug)]
struct Object {
    nodes: Vec<Node>,
    order: Vec<(String, Option<usize>)>,
}

/// Reads records of one schema.
#[derive(Debug)]
pub(crate) struct PlainReader {
    object: Object,
    row: Row,
}

impl PlainReader {
    pub(crate) fn new(fields: &Fields) -> Self {
        let mut slots = 0;
        let object = Object::new(fields, "", &mut slots);
        Self { object, row: Row { slots: vec![Slot::Missing; slots], ..Row::default() } }
    }

    pub(crate) fn read(&mut self, text: &str, converter: &Converter) -> Outcome<&Row> {
        self.row.slots.fill(Slot::Missing);
        self.row.scratch.clear();
        self.row.cells.clear();
        let mut scanner = Scanner::new(text);
        scanner.take(b'{')?;
        let mut pass = Pass { text, converter, row: &mut self.row };
        pass.object(&mut scanner, &mut self.object, 1)?;
        scanner.end()?;
        Ok(&self.row)
    }
}

impl Object {
    fn new(fields: &Fields, path: &str, slots: &mut usize) -> Self {
        let nodes = fields.iter().map(|field| {
            let path = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
            let slot = *slots;
            *slots += 1;
            Node { field: Arc::clone(field), kind: kind(field, &path, slots), path, slot }
        });
        Self { nodes: nodes.collect(), order: Vec::new() }
    }

    /// Which field this key is; `at` is the key's place in the record.
    fn find(&mut self, key: &str, at: usize) -> Option<usize> {
        if let Some((remembered, found)) = self.order.get(at)
            && remembered == key
        {
            return *found;
        }
        let found = self.nodes.iter().position(|node| node.field.name() == key);
        if key.len() > REMEMBERED_BYTES_MAX {
            return found;
        }
        let known = self.order.len();
        match self.order.get_mut(at) {
            Some((remembered, index)) => {
                remembered.clear();
                remembered.push_str(key);
                *index = found;
            }
            None if at < REMEMBERED_MAX && at == known => self.order.push((key.to_owned(), found)),
            None => {}
        }
        found
    }
}

fn kind(field: &Field, path: &str, slots: &mut usize) -> Kind {
    match (field.data_type(), field.metadata().get("ebap.type").map(String::as_str)) {
        (_, Some("json")) => Kind::Other,
        (DataType::Utf8, Some("uuid")) => Kind::Uuid,
        (DataType::Utf8, _) => Kind::Text,
        (DataType::Boolean, _) => Kind::Bool,
        (DataType::Int16, _) => Kind::Int(i16::MIN.into(), i16::MAX.into()),
        (DataType::Int32, _) => Kind::Int(i32::MIN.into(), i32::MAX.into()),
        (DataType::Int64, _) => Kind::Int(i64::MIN, i64::MAX),
        (DataType::Float32 | DataType::Float64, _) => Kind::Float,
        (DataType::Decimal128(precision, scale), _) => match usize::try_from(*scale) {
            Ok(scale) => Kind::Decimal { precision: u32::from(*precision), scale },
            Err(_) => Kind::Other,
        },
        (DataType::Timestamp(_, zone), _) => Kind::Moment { zoned: zone.is_some() },
        (DataType::Date32, _) => Kind::Date,
        (DataType::Struct(fields), _) => Kind::Struct(Object::new(fields, path, slots)),
        _ => Kind::Other,
    }
}

struct Pass<'a> {
    text: &'a str,
    converter: &'a Converter,
    row: &'a mut Row,
}

impl<'a> Pass<'a> {
    /// The fields of an object whose brace is taken.
    fn object(&mut self, scanner: &mut Scanner<'a>, object: &mut Object, depth: usize) -> Outcome<()> {
        if !scanner.takes(b'}')? {
            for at in 0.. {
                let key = scanner.string()?;
                scanner.take(b':')?;
                if key.escaped {
                    // It might be one of ours in disguise.
                    return Err(Unusual);
                }
                match object.find(key.raw, at).map(|found| &mut object.nodes[found]) {
                    // The last of two wins, and `serde_json` knows which that is.
                    Some(node) if self.row.slots[node.slot] != Slot::Missing => return Err(Unusual),
                    Some(node) => {
                        let slot = self.value(scanner, node, depth)?;
                        self.row.slots[node.slot] = slot;
                    }
                    None => {
                        scanner.skip(depth)?;
                    }
                }
                if scanner.takes(b'}')? {
                    break;
                }
                scanner.take(b',')?;
            }
        }
        let absent = |node: &Node| matches!(self.row.slots[node.slot], Slot::Missing | Slot::Null);
        if object.nodes.iter().any(|node| !node.field.is_nullable() && absent(node)) {
            return Err(Unusual);
        }
        Ok(())
    }

    fn value(&mut self, scanner: &mut Scanner<'a>, node: &mut Node, depth: usize) -> Outcome<Slot> {
        let first = scanner.peek()?;
        if first == b'n' {
            scanner.literal("null")?;
            return Ok(Slot::Null);
        }
        Ok(match &mut node.kind {
            Kind::Text => {
                let text = scanner.string()?;
                self.text_slot(text)?
            }
            Kind::Uuid => {
                let text = scanner.string()?;
                if text.escaped {
                    return Err(Unusual);
                }
                if canonical_uuid(text.raw.as_bytes()) {
                    self.text_slot(text)?
                } else {
                    let uuid = uuid::Uuid::try_parse(text.raw).map_err(|_| Unusual)?;
                    let mut buffer = uuid::Uuid::encode_buffer();
                    let start = self.row.scratch.len();
                    self.row.scratch.push_str(uuid.hyphenated().encode_lower(&mut buffer));
                    Slot::Scratch(start, self.row.scratch.len())
                }
            }
            Kind::Bool if first == b't' => {
                scanner.literal("true")?;
                Slot::Bool(true)
            }
            Kind::Bool => {
                scanner.literal("false")?;
                Slot::Bool(false)
            }
            Kind::Int(least, most) => {
                let value = scanner.number()?.integer().filter(|value| (*least..=*most).contains(value));
                Slot::Int(value.ok_or(Unusual)?)
            }
            Kind::Float => Slot::Float(scanner.number()?.double().ok_or(Unusual)?),
            Kind::Decimal { precision, scale } => {
                let (digits, digits_scale) = scanner.number()?.decimal().ok_or(Unusual)?;
                if digits.unsigned_abs() >= 10_u128.pow(EXACT_DIGITS) || digits_scale > *scale {
                    return Err(Unusual);
                }
                let up = 10_i128.checked_pow((*scale - digits_scale) as u32).ok_or(Unusual)?;
                let value = digits.checked_mul(up).ok_or(Unusual)?;
                let most = 10_u128.checked_pow(*precision).ok_or(Unusual)?;
                if value.unsigned_abs() >= most {
                    return Err(Unusual);
                }
                Slot::Decimal(value)
            }
            Kind::Moment { zoned } if first == b'"' => {
                let text = scanner.string()?;
                Slot::Int(plain_moment(text.raw.as_bytes(), *zoned).ok_or(Unusual)?)
            }
            Kind::Moment { .. } => {
                let number = scanner.number()?.integer().ok_or(Unusual)?;
                Slot::Int(self.converter.epoch.micros(number).ok_or(Unusual)?)
            }
            Kind::Date => Slot::Int(plain_date(scanner.string()?.raw.as_bytes()).ok_or(Unusual)?),
            Kind::Struct(object) => {
                scanner.take(b'{')?;
                self.object(scanner, object, depth + 1)?;
                Slot::Struct
            }
            Kind::Other => {
                let value = serde_json::from_str(scanner.skip(depth)?).map_err(|_| Unusual)?;
                let cell = self.converter.field(&node.field, Some(value), &node.path).map_err(|_| Unusual)?;
                self.row.cells.push(cell);
                Slot::Cell(self.row.cells.len() - 1)
            }
        })
    }

    fn text_slot(&mut self, text: Quoted<'_>) -> Outcome<Slot> {
        if text.escaped {
            let start = self.row.scratch.len();
            unescape(text.raw, &mut self.row.scratch)?;
            return Ok(Slot::Scratch(start, self.row.scratch.len()));
        }
        let Range { start, end } = place(self.text, text.raw);
        Ok(Slot::Text(start, end))
    }
}

/// Where a part of a text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn canonical_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
