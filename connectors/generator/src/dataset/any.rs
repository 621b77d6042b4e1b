//! Any declared columns, each filled by its type; a few names that everyone uses (`region`,
//! `user_id`, `action`, …) get the words that belong to them.

use arrow::datatypes::{DataType, Field, Fields, Schema};
use ebap_connector::{Error, Result};

use super::{
    ACTIONS, COUNTRIES, HOSTS, ITEMS, LOCATIONS, PLATFORMS, REGIONS, RowShape, SERVICES, TIERS, put, put_user,
};
use crate::{BadKind, draw::Draw, text};

/// Numbers are drawn below this where their type reaches so far.
const NUMBERS: u64 = 1_000;
/// Different texts of a column that has no known name.
const WORDS: u64 = 100;
/// Entries of a list or a map, at the most.
const ENTRIES_MAX: u64 = 3;

#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    bad_kinds: Vec<BadKind>,
}

#[derive(Debug)]
struct Column {
    /// The name as JSON, colon included.
    label: String,
    fill: Fill,
    required: bool,
}

#[derive(Debug)]
enum Fill {
    Bool,
    /// Number of the row, within the type.
    Row {
        below: u64,
    },
    Number {
        below: u64,
        decimals: u32,
    },
    Word(&'static [&'static str]),
    /// `prefix` and a number.
    Numbered {
        prefix: String,
        below: u64,
    },
    User,
    Email,
    Uuid,
    Json,
    Hex,
    Date,
    Time {
        zone: bool,
    },
    Struct(Vec<Column>),
    List(Box<Fill>),
    Map(Box<Fill>),
}

impl Columns {
    /// # Errors
    /// `Schema` for a column of a type that has no JSON form here.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let columns = columns(schema.fields())?;
        let mut bad_kinds = vec![BadKind::BrokenJson, BadKind::EmptyValue];
        for kind in [BadKind::MissingField, BadKind::MalformedUuid, BadKind::TextForNumber] {
            if columns.iter().any(|column| column.can_be(kind)) {
                bad_kinds.push(kind);
            }
        }
        Ok(Self { columns, bad_kinds })
    }

    pub(super) fn bad_kinds(&self) -> &[BadKind] {
        &self.bad_kinds
    }

    pub(super) fn write(&self, row: &RowShape, draw: &mut Draw, out: &mut Vec<u8>) {
        // One user a row, so that its columns agree.
        let user = row.draw_user(draw);
        let spoiled = row.bad.and_then(|kind| self.columns.iter().position(|column| column.can_be(kind)));
        out.push(b'{');
        for (index, column) in self.columns.iter().enumerate() {
            let bad = row.bad.filter(|_| spoiled == Some(index));
            if bad == Some(BadKind::MissingField) {
                continue;
            }
            separate(out, b'{');
            put(out, &column.label);
            match bad {
                Some(BadKind::MalformedUuid) => put(out, "\"no uuid\""),
                Some(BadKind::TextForNumber) => put(out, "\"a lot\""),
                _ => column.fill.write(row, user, draw, out),
            }
        }
        out.push(b'}');
    }
}

impl Column {
    fn can_be(&self, kind: BadKind) -> bool {
        match kind {
            BadKind::MissingField => self.required,
            BadKind::MalformedUuid => matches!(self.fill, Fill::Uuid),
            BadKind::TextForNumber => matches!(self.fill, Fill::Row { .. } | Fill::Number { .. }),
            BadKind::BrokenJson | BadKind::EmptyValue | BadKind::UnlistedValue => false,
        }
    }
}

impl Fill {
    fn new(field: &Field) -> Result<Self> {
        let marked = field.metadata().get("ebap.type").map(String::as_str);
        let integer = |below: u64| {
            if field.name() == "id" {
                Self::Row { below }
            } else {
                Self::Number { below: NUMBERS.min(below), decimals: 0 }
            }
        };
        Ok(match field.data_type() {
            DataType::Boolean => Self::Bool,
            DataType::Int8 => integer(1 << 7),
            DataType::UInt8 => integer(1 << 8),
            DataType::Int16 => integer(1 << 15),
            DataType::UInt16 => integer(1 << 16),
            DataType::Int32 => integer(1 << 31),
            DataType::UInt32 => integer(1 << 32),
            DataType::Int64 | DataType::UInt64 => integer(1 << 63),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Self::Number { below: NUMBERS * 100, decimals: 2 }
            }
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Self::decimal(*precision, *scale)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match marked {
                Some("uuid") => Self::Uuid,
                Some("json") => Self::Json,
                _ => Self::words(field.name()),
            },
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Hex,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(_, zone) => Self::Time { zone: zone.is_some() },
            DataType::Struct(fields) => Self::Struct(columns(fields)?),
            DataType::List(item) | DataType::LargeList(item) => Self::List(Box::new(Self::new(item)?)),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Self::Map(Box::new(Self::new(&fields[1])?)),
                _ => return Err(unfit(field)),
            },
            _ => return Err(unfit(field)),
        })
    }

    fn decimal(precision: u8, scale: i8) -> Self {
        let decimals = scale.clamp(0, 4).unsigned_abs();
        // What the type holds, counted in the decimals that are written.
        let held = u32::from(precision).saturating_sub(u32::from(scale.max(0).unsigned_abs() - decimals)).min(18);
        let below = 10u64.pow(held).min(NUMBERS * 10u64.pow(decimals.into()));
        Self::Number { below, decimals: decimals.into() }
    }

    fn words(name: &str) -> Self {
        let numbered = |prefix: &str, below| Self::Numbered { prefix: prefix.to_owned(), below };
        match name {
            "action" => Self::Word(&ACTIONS),
            "region" => Self::Word(&REGIONS),
            "location" => Self::Word(&LOCATIONS),
            "platform" => Self::Word(&PLATFORMS),
            "service" => Self::Word(&SERVICES),
            "tier" => Self::Word(&TIERS),
            "country" => Self::Word(&COUNTRIES),
            "user_id" => Self::User,
            "email" => Self::Email,
            "item_id" => numbered("item-", ITEMS),
            "host" => numbered("host-", HOSTS),
            _ => numbered(&format!("{}-", escaped(name)), WORDS),
        }
    }

    fn write(&self, row: &RowShape, user: u64, draw: &mut Draw, out: &mut Vec<u8>) {
        match self {
            Self::Bool => put(out, if draw.below(2) == 0 { "false" } else { "true" }),
            Self::Row { below } => text::integer(out, row.row % below),
            Self::Number { below, decimals } => text::decimal(out, draw.below(*below), *decimals),
            Self::Json => {
                put(out, "{\"n\":");
                text::integer(out, draw.below(NUMBERS));
                out.push(b'}');
            }
            Self::Struct(columns) => {
                out.push(b'{');
                for column in columns {
                    separate(out, b'{');
                    put(out, &column.label);
                    column.fill.write(row, user, draw, out);
                }
                out.push(b'}');
            }
            Self::List(item) => {
                out.push(b'[');
                for _ in 0..=draw.below(ENTRIES_MAX) {
                    separate(out, b'[');
                    item.write(row, user, draw, out);
                }
                out.push(b']');
            }
            Self::Map(value) => {
                out.push(b'{');
                for index in 0..=draw.below(ENTRIES_MAX) {
                    separate(out, b'{');
                    put(out, "\"key-");
                    text::integer(out, index);
                    put(out, "\":");
                    value.write(row, user, draw, out);
                }
                out.push(b'}');
            }
            _ => {
                out.push(b'"');
                self.write_text(row, user, draw, out);
                out.push(b'"');
            }
        }
    }

    /// What stands between quotes.
    fn write_text(&self, row: &RowShape, user: u64, draw: &mut Draw, out: &mut Vec<u8>) {
        match self {
            Self::Word(words) => {
                let word = draw.pick(words);
                put(out, word);
            }
            Self::Numbered { prefix, below } => {
                put(out, prefix);
                text::integer(out, draw.below(*below));
            }
            Self::User => put_user(out, user),
            Self::Email => {
                put_user(out, user);
                put(out, "@example.com");
            }
            Self::Uuid => text::uuid(out, draw.word(), draw.word()),
            Self::Hex => text::hex(out, draw.word(), 16),
            Self::Date => text::date(out, row.event_time_us),
            Self::Time { zone } => {
                text::timestamp(out, row.event_time_us);
                if *zone {
                    out.push(b'Z');
                }
            }
            // All others are written without quotes and never come here.
            Self::Bool | Self::Row { .. } | Self::Number { .. } | Self::Json => {}
            Self::Struct(_) | Self::List(_) | Self::Map(_) => {}
        }
    }
}

fn columns(fields: &Fields) -> Result<Vec<Column>> {
    let column = |field: &Field| {
        let label = format!("\"{}\":", escaped(field.name()));
        Ok(Column { label, fill: Fill::new(field)?, required: !field.is_nullable() })
    };
    fields.iter().map(|field| column(field)).collect()
}

fn unfit(field: &Field) -> Error {
    Error::schema(format!(
        "column \"{}\" has the type {}, which a generator cannot fill",
        field.name(),
        field.data_type()
    ))
}

/// A comma, unless the bracket has just been opened.
fn separate(out: &mut Vec<u8>, opened_by: u8) {
    if out.last() != Some(&opened_by) {
        out.push(b',');
    }
}

/// The inside of a JSON string. Done when the generator is built, never for a row.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
