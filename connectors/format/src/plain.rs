//! The short way from a record to its columns: one pass over the text, values go straight to where they
//! stay. Takes a record only where every value fits; any other goes the long way in `json`, which says
//! why.
//!
//! Producers write the same keys in the same order with the same white space. So what stands between two
//! values is remembered as one piece of text (a *gap*) with what followed it lately, and a record is
//! mostly read by comparing expected gaps: no key is looked up, no comma or colon is looked for.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields};

use crate::{
    cell::{self, Converter, Dialect, EXACT_DIGITS, UNAVAILABLE},
    columns::Column,
    names,
    number::Written,
    scan::{AHEAD, Number, Outcome, Scanner, Unusual, unescape},
    time::{date, plain_date, plain_moment},
    tree::Json,
};

/// Gaps of an object that are remembered beside two for each field, and how long such a gap may be:
/// producers decide what stands there.
const GAPS_MAX: usize = 64;
const GAP_BYTES_MAX: usize = 128;

#[derive(Debug)]
enum Kind {
    Text,
    Uuid,
    Bool,
    Int(i64, i64),
    Float {
        real: bool,
    },
    Decimal {
        precision: u32,
        scale: usize,
    },
    Moment,
    Date,
    Struct(Object),
    /// Its text as it is written, so that numbers keep their digits.
    Json,
    /// Lists, maps and what is rare, by `serde_json`.
    Other,
}

#[derive(Debug)]
struct Node {
    field: Arc<Field>,
    path: String,
    nullable: bool,
    kind: Kind,
    /// The last record it came in.
    record: u64,
}

/// An object whose fields are known.
#[derive(Debug)]
struct Object {
    nodes: Vec<Node>,
    /// The first stands for the opening brace, the second for any gap that is not remembered.
    gaps: Vec<Gap>,
}

const OPENING: usize = 0;
const NOT_REMEMBERED: usize = 1;
const FIRST_REMEMBERED: usize = 2;

/// What stands between two values, with the key of the second.
#[derive(Debug)]
struct Gap {
    text: Vec<u8>,
    /// Its first bytes as one number, to be compared at once.
    word: u128,
    mask: u128,
    leads: Leads,
    /// The gaps that came behind it lately, the newer one first. Two, so that a field that is there now
    /// and then costs nothing.
    next: [usize; 2],
}

/// What follows a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    To(usize),
    /// A value nobody has declared.
    Astray,
    /// The object has ended.
    Out,
}

/// Reads records of one schema.
#[derive(Debug)]
pub(crate) struct PlainReader {
    object: Object,
    record: u64,
    scratch: String,
}

impl PlainReader {
    pub(crate) fn new(fields: &Fields) -> Self {
        Self { object: Object::new(fields, ""), record: 0, scratch: String::new() }
    }

    /// Appends one value to each column. Where it gives up, some of them have one and the caller takes
    /// them back. The record is valid UTF-8.
    pub(crate) fn read(
        &mut self,
        batch: &[u8],
        record: &Range<usize>,
        converter: &Converter,
        columns: &mut [Column],
    ) -> Outcome<()> {
        self.record += 1;
        let mut scanner = Scanner::new(batch, record);
        scanner.take(b'{')?;
        let mut pass = Pass { record: self.record, converter, scratch: &mut self.scratch };
        pass.object(&mut scanner, &mut self.object, columns, 1)?;
        scanner.end()
    }
}

impl Gap {
    fn new(text: &[u8], leads: Leads) -> Self {
        let mut first = [0; AHEAD];
        let known = text.len().min(AHEAD);
        first[..known].copy_from_slice(&text[..known]);
        let mask = if known == AHEAD { u128::MAX } else { (1 << (known * 8)) - 1 };
        Self { text: text.to_vec(), word: u128::from_le_bytes(first), mask, leads, next: [usize::MAX; 2] }
    }

    #[inline]
    fn is_next(&self, scanner: &Scanner<'_>) -> bool {
        match scanner.next_chunk() {
            Some(chunk) => {
                u128::from_le_bytes(*chunk) & self.mask == self.word
                    && (self.text.len() <= AHEAD || scanner.starts_with(&self.text))
            }
            None => scanner.starts_with(&self.text),
        }
    }
}

impl Object {
    fn new(fields: &Fields, path: &str) -> Self {
        let nodes = fields.iter().map(|field| {
            let path = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
            let (nullable, kind) = (field.is_nullable(), kind(field, &path));
            Node { field: Arc::clone(field), nullable, kind, path, record: 0 }
        });
        let nowhere = || Gap::new(b"", Leads::Astray);
        Self { nodes: nodes.collect(), gaps: vec![nowhere(), nowhere()] }
    }

    /// Passes the gap behind the gap `last` and its value; gives which it is and what follows.
    #[inline]
    fn pass_gap(&mut self, scanner: &mut Scanner<'_>, last: usize) -> Outcome<(usize, Leads)> {
        for next in self.gaps[last].next {
            if let Some(gap) = self.gaps.get(next)
                && gap.is_next(scanner)
            {
                scanner.advance(gap.text.len());
                return Ok((next, gap.leads));
            }
        }
        self.pass_unforeseen_gap(scanner, last)
    }

    #[cold]
    fn pass_unforeseen_gap(&mut self, scanner: &mut Scanner<'_>, last: usize) -> Outcome<(usize, Leads)> {
        let start = scanner.place();
        let mut key = None;
        if !scanner.takes(b'}')? {
            if last != OPENING {
                scanner.take(b',')?;
            }
            let found = scanner.string()?;
            if found.escaped {
                // It might be one of ours in disguise.
                return Err(Unusual);
            }
            scanner.take(b':')?;
            scanner.peek()?;
            key = Some(found.raw);
        }
        let text = scanner.since(start);
        let known = self.gaps.iter().skip(FIRST_REMEMBERED).position(|gap| gap.text == text);
        let (gap, leads) = match (known, key) {
            (Some(at), _) => (at + FIRST_REMEMBERED, self.gaps[at + FIRST_REMEMBERED].leads),
            (None, key) => {
                let leads = match key {
                    Some(key) => {
                        let names = self.nodes.iter().map(|node| node.field.name().as_str());
                        names::declared(names, utf8(key)?).map_or(Leads::Astray, Leads::To)
                    }
                    None => Leads::Out,
                };
                if text.len() > GAP_BYTES_MAX || self.gaps.len() >= GAPS_MAX + 2 * self.nodes.len() {
                    return Ok((NOT_REMEMBERED, leads));
                }
                self.gaps.push(Gap::new(text, leads));
                (self.gaps.len() - 1, leads)
            }
        };
        let next = &mut self.gaps[last].next;
        *next = [gap, next[0]];
        Ok((gap, leads))
    }
}

fn kind(field: &Field, path: &str) -> Kind {
    match (field.data_type(), field.metadata().get("ebap.type").map(String::as_str)) {
        (DataType::Utf8, Some("json")) => Kind::Json,
        (_, Some("json")) => Kind::Other,
        (DataType::Utf8, Some("uuid")) => Kind::Uuid,
        (DataType::Utf8, _) => Kind::Text,
        (DataType::Boolean, _) => Kind::Bool,
        (DataType::Int16, _) => Kind::Int(i16::MIN.into(), i16::MAX.into()),
        (DataType::Int32, _) => Kind::Int(i32::MIN.into(), i32::MAX.into()),
        (DataType::Int64, _) => Kind::Int(i64::MIN, i64::MAX),
        (DataType::Float32, _) => Kind::Float { real: true },
        (DataType::Float64, _) => Kind::Float { real: false },
        (DataType::Decimal128(precision, scale), _) => match usize::try_from(*scale) {
            Ok(scale) => Kind::Decimal { precision: u32::from(*precision), scale },
            Err(_) => Kind::Other,
        },
        (DataType::Timestamp(..), _) => Kind::Moment,
        (DataType::Date32, _) => Kind::Date,
        (DataType::Struct(fields), _) => Kind::Struct(Object::new(fields, path)),
        _ => Kind::Other,
    }
}

struct Pass<'a> {
    record: u64,
    converter: &'a Converter,
    scratch: &'a mut String,
}

impl Pass<'_> {
    /// The fields of an object whose brace is taken. No columns are for an object that nobody wants.
    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        object: &mut Object,
        columns: &mut [Column],
        depth: usize,
    ) -> Outcome<()> {
        let (mut last, mut found) = (OPENING, 0);
        loop {
            let (gap, leads) = object.pass_gap(scanner, last)?;
            last = gap;
            match leads {
                Leads::To(at) => {
                    let node = &mut object.nodes[at];
                    if node.record == self.record {
                        // The last of two wins, or the one whose name is exact; the long way knows which that is.
                        return Err(Unusual);
                    }
                    node.record = self.record;
                    found += 1;
                    match columns.get_mut(at) {
                        Some(column) => self.value(scanner, node, column, depth)?,
                        None => self.value(scanner, node, &mut Column::Nothing(None), depth)?,
                    }
                }
                Leads::Astray => {
                    scanner.skip(depth)?;
                }
                Leads::Out => break,
            }
        }
        if found < object.nodes.len() {
            for (at, node) in object.nodes.iter().enumerate().filter(|(_, node)| node.record != self.record) {
                if !node.nullable {
                    return Err(Unusual);
                }
                if let Some(column) = columns.get_mut(at) {
                    column.push_null();
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, scanner: &mut Scanner<'_>, node: &mut Node, column: &mut Column, depth: usize) -> Outcome<()> {
        let first = scanner.peek()?;
        if first == b'n' {
            scanner.literal("null")?;
            if !node.nullable {
                return Err(Unusual);
            }
            column.push_null();
            return Ok(());
        }
        match &mut node.kind {
            Kind::Text => {
                let text = scanner.string()?;
                if self.converter.dialect == Dialect::Debezium && text.raw == UNAVAILABLE.as_bytes() {
                    return Err(Unusual);
                }
                if !text.escaped {
                    column.push_text(text.raw);
                } else if !column.is_nothing() {
                    self.scratch.clear();
                    unescape(utf8(text.raw)?, self.scratch)?;
                    column.push_text(self.scratch.as_bytes());
                }
            }
            Kind::Uuid => uuid(scanner, column)?,
            Kind::Bool if first == b't' => {
                scanner.literal("true")?;
                column.push_bool(true);
            }
            Kind::Bool => {
                scanner.literal("false")?;
                column.push_bool(false);
            }
            Kind::Int(least, most) => {
                let value = scanner.number()?.integer().filter(|value| (*least..=*most).contains(value));
                column.push_int(value.ok_or(Unusual)?);
            }
            Kind::Float { real: true } => {
                let digits = utf8(scanner.number()?.raw)?;
                column.push_float(cell::parsed_float(digits, &DataType::Float32).ok_or(Unusual)?);
            }
            Kind::Float { real: false } => {
                let number = scanner.number()?;
                // Any short number is a double.
                if !(column.is_nothing() && number.is_short()) {
                    column.push_float(double(&number)?);
                }
            }
            Kind::Decimal { precision, scale } if first == b'"' => {
                let text = utf8(scanner.string()?.raw)?;
                let (precision, scale) = (u8::try_from(*precision), i8::try_from(*scale));
                let (precision, scale) = (precision.map_err(|_| Unusual)?, scale.map_err(|_| Unusual)?);
                column.push_decimal(cell::decimal(text, precision, scale).ok_or(Unusual)?);
            }
            Kind::Decimal { precision, scale } => column.push_decimal(decimal(scanner, *precision, *scale)?),
            Kind::Moment if first == b'"' => {
                // Escapes are in none of its forms.
                let text = scanner.string()?.raw;
                column.push_int(match plain_moment(text) {
                    Some(micros) => micros,
                    None => rare_moment(self.converter, text)?,
                });
            }
            Kind::Moment => {
                let (number, moments) = (scanner.number()?, self.converter.moments);
                let value = match (number.integer(), number.decimal()) {
                    (Some(whole), _) => moments.of_integer(whole),
                    (None, Some((digits, scale))) => {
                        moments.of_decimal(Written::new(digits, i32::try_from(scale).map_err(|_| Unusual)?))
                    }
                    (None, None) => None,
                };
                column.push_int(value.ok_or(Unusual)?);
            }
            Kind::Date if self.converter.dialect == Dialect::Debezium && first != b'"' => {
                let days = scanner.number()?.integer().filter(|days| i32::try_from(*days).is_ok());
                column.push_int(days.ok_or(Unusual)?);
            }
            Kind::Date => {
                let text = scanner.string()?.raw;
                let value = plain_date(text).or_else(|| date(utf8(text).ok()?).map(i64::from));
                column.push_int(value.ok_or(Unusual)?);
            }
            Kind::Struct(object) => {
                scanner.take(b'{')?;
                self.object(scanner, object, column.push_struct(), depth + 1)?;
            }
            // Debezium has it in a string.
            Kind::Json if self.converter.dialect != Dialect::Debezium => {
                let text = scanner.skip(depth)?;
                if !cell::is_jsonb(text) {
                    return Err(Unusual);
                }
                column.push_text(text);
            }
            Kind::Json | Kind::Other => {
                let value = Json::parse(scanner.skip(depth)?).map_err(|_| Unusual)?;
                let cell = self.converter.field(&node.field, Some(value), &node.path).map_err(|_| Unusual)?;
                column.push(cell);
            }
        }
        Ok(())
    }
}

#[cold]
fn rare_moment(converter: &Converter, text: &[u8]) -> Outcome<i64> {
    converter.moments.of_text(utf8(text)?).map_err(|_| Unusual)
}

fn double(number: &Number<'_>) -> Outcome<f64> {
    match number.double().ok_or(Unusual)? {
        // A number that is too small for a double is not zero.
        0.0 => cell::parsed_float(utf8(number.raw)?, &DataType::Float64).ok_or(Unusual),
        value => Ok(value),
    }
}

fn utf8(raw: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(raw).map_err(|_| Unusual)
}

fn uuid(scanner: &mut Scanner<'_>, column: &mut Column) -> Outcome<()> {
    if let Some([b'"', text @ .., b'"']) = scanner.next_chunk::<{ UUID_LENGTH + 2 }>()
        && let Some(text) = text.first_chunk()
        && canonical_uuid(text)
    {
        scanner.advance(UUID_LENGTH + 2);
        column.push_text(text);
        return Ok(());
    }
    let text = scanner.string()?;
    // No form of it has a backslash.
    let uuid = uuid::Uuid::try_parse_ascii(text.raw).map_err(|_| Unusual)?;
    column.push_text(uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes());
    Ok(())
}

const UUID_LENGTH: usize = 36;

/// Written without branches, so that it is compiled to a few instructions on sixteen bytes each.
fn canonical_uuid(text: &[u8; UUID_LENGTH]) -> bool {
    const HYPHENS: [bool; UUID_LENGTH] = {
        let mut all = [false; UUID_LENGTH];
        (all[8], all[13], all[18], all[23]) = (true, true, true, true);
        all
    };
    let mut fits = true;
    for (byte, hyphen) in text.iter().zip(HYPHENS) {
        let digit = (byte.wrapping_sub(b'0') < 10) | (byte.wrapping_sub(b'a') < 6);
        fits &= (digit & !hyphen) | ((*byte == b'-') & hyphen);
    }
    fits
}

fn decimal(scanner: &mut Scanner<'_>, precision: u32, scale: usize) -> Outcome<i128> {
    let (digits, digits_scale) = scanner.number()?.decimal().ok_or(Unusual)?;
    if digits.unsigned_abs() >= 10_u128.pow(EXACT_DIGITS) || digits_scale > scale {
        return Err(Unusual);
    }
    let up = 10_i128.checked_pow((scale - digits_scale) as u32).ok_or(Unusual)?;
    let value = digits.checked_mul(up).ok_or(Unusual)?;
    let most = 10_u128.checked_pow(precision).ok_or(Unusual)?;
    if value.unsigned_abs() < most { Ok(value) } else { Err(Unusual) }
}
