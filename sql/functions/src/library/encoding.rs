//! Bytes as texts, texts as bytes, and digests.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use ebap_values::{Result, ValueError};
use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::cast::{parse_escaped, parse_hex, push_escaped, push_hex};
use crate::error::checked_length;
use crate::registry::Book;
use crate::values::{Bytea, Int4, Text};

const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new());

/// How many characters of base64 a line has.
const BASE64_LINE: usize = 76;

pub(super) fn register(book: &mut Book) {
    book.add::<(Text,), Int4>("hash text", |(s,)| Ok(super::hash::of_bytes(s.as_bytes()).cast_signed()));
    book.add::<(Text,), Text>("md5", |(s,)| Ok(hex(&Md5::digest(s.as_bytes()))));
    book.add::<(Bytea,), Text>("md5", |(b,)| Ok(hex(&Md5::digest(b))));
    book.add::<(Bytea,), Bytea>("sha224", |(b,)| Ok(Sha224::digest(b).to_vec()));
    book.add::<(Bytea,), Bytea>("sha256", |(b,)| Ok(Sha256::digest(b).to_vec()));
    book.add::<(Bytea,), Bytea>("sha384", |(b,)| Ok(Sha384::digest(b).to_vec()));
    book.add::<(Bytea,), Bytea>("sha512", |(b,)| Ok(Sha512::digest(b).to_vec()));
    book.add::<(Bytea, Text), Text>("encode", |(b, form)| encode(b, form));
    book.add::<(Text, Text), Bytea>("decode", |(s, form)| decode(s, form));
    book.add::<(Text, Text), Bytea>("convert_to", |(s, encoding)| convert_to(s, encoding));
    book.add::<(Bytea, Text), Text>("convert_from", |(b, encoding)| convert_from(b, encoding));
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    push_hex(bytes, &mut out);
    out
}

fn encode(bytes: &[u8], form: &str) -> Result<String> {
    checked_length(bytes.len().checked_mul(4))?;
    match form.to_ascii_lowercase().as_str() {
        "hex" => Ok(hex(bytes)),
        "escape" => {
            let mut out = String::new();
            push_escaped(bytes, &mut out);
            Ok(out)
        }
        "base64" => Ok(in_lines(&BASE64.encode(bytes))),
        _ => Err(unknown_form(form)),
    }
}

fn in_lines(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE);
    for (at, c) in encoded.char_indices() {
        if at > 0 && at % BASE64_LINE == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out
}

fn decode(text: &str, form: &str) -> Result<Vec<u8>> {
    match form.to_ascii_lowercase().as_str() {
        "hex" => parse_hex(text.as_bytes()),
        "escape" => parse_escaped(text),
        "base64" => {
            let packed: String = text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')).collect();
            BASE64.decode(packed).map_err(|e| match e {
                base64::DecodeError::InvalidByte(_, byte) if byte != b'=' => ValueError::new(
                    "22023",
                    format!("invalid symbol \"{}\" found while decoding base64 sequence", char::from(byte)),
                ),
                _ => ValueError::new("22023", "invalid base64 end sequence"),
            })
        }
        _ => Err(unknown_form(form)),
    }
}

fn unknown_form(form: &str) -> ValueError {
    ValueError::new("22023", format!("unrecognized encoding: \"{form}\""))
}

/// The encodings that texts are converted between.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

impl Encoding {
    /// PostgreSQL looks at letters and digits of a name alone.
    fn named(name: &str) -> Result<Self> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        match plain.to_ascii_lowercase().as_str() {
            "utf8" | "unicode" => Ok(Self::Utf8),
            "latin1" | "iso88591" => Ok(Self::Latin1),
            "sqlascii" => Ok(Self::Ascii),
            _ => Err(ValueError::new("22023", format!("invalid encoding name \"{name}\""))),
        }
    }
}

fn convert_to(text: &str, name: &str) -> Result<Vec<u8>> {
    match Encoding::named(name)? {
        Encoding::Utf8 | Encoding::Ascii => Ok(text.as_bytes().to_vec()),
        Encoding::Latin1 => text.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| no_latin1(c))).collect(),
    }
}

fn no_latin1(c: char) -> ValueError {
    let mut buffer = [0; 4];
    let bytes: Vec<String> = c.encode_utf8(&mut buffer).bytes().map(|b| format!("0x{b:02x}")).collect();
    let sequence = bytes.join(" ");
    let message = format!(
        "character with byte sequence {sequence} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\""
    );
    ValueError::new("22P05", message)
}

fn convert_from(bytes: &[u8], name: &str) -> Result<String> {
    let invalid = |at: usize| {
        let byte = bytes.get(at).copied().unwrap_or(0);
        ValueError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
    };
    let encoding = Encoding::named(name)?;
    // No text of PostgreSQL has a zero byte.
    if let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
        return Err(invalid(zero));
    }
    match encoding {
        Encoding::Latin1 => Ok(bytes.iter().map(|b| char::from(*b)).collect()),
        Encoding::Utf8 | Encoding::Ascii => {
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|e| invalid(e.valid_up_to()))
        }
    }
}
