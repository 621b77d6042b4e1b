//! What `string_agg` is made of, where each text brings what stands before it.

use ebap_values::{Result, ValueError};

use crate::cast::{parse_hex, push_hex};
use crate::error::{checked_length, internal};
use crate::kernel::Opt;
use crate::registry::Book;
use crate::values::{Bytea, Text, Texts};

pub(super) fn register(book: &mut Book) {
    book.add::<(Text, Opt<Text>), Text>("string_agg part", |(text, between)| {
        let between = between.unwrap_or_default();
        Ok(format!("{}:{between}{text}", between.len()))
    });
    book.add::<(Texts,), Opt<Text>>("string_agg of", |(parts,)| joined(&parts));
    // As text, in which two digits are a byte.
    book.add::<(Bytea, Opt<Bytea>), Text>("bytea_agg part", |(bytes, between)| {
        let between = between.unwrap_or_default();
        let mut part = format!("{}:", 2 * between.len());
        push_hex(between, &mut part);
        push_hex(bytes, &mut part);
        Ok(part)
    });
    book.add::<(Texts,), Opt<Bytea>>("bytea_agg of", |(parts,)| {
        joined(&parts)?.map(|digits| parse_hex(digits.as_bytes())).transpose()
    });
}

/// The texts one behind the other; what stands before the first one is left out. None of none.
fn joined(parts: &[Option<String>]) -> Result<Option<String>> {
    let mut out: Option<String> = None;
    for part in parts.iter().flatten() {
        let (length, rest) = part.split_once(':').ok_or_else(malformed)?;
        let length: usize = length.parse().map_err(|_| malformed())?;
        let (between, text) = rest.split_at_checked(length).ok_or_else(malformed)?;
        match &mut out {
            Some(out) => {
                out.push_str(between);
                out.push_str(text);
                checked_length(Some(out.len()))?;
            }
            None => out = Some(text.to_owned()),
        }
    }
    Ok(out)
}

fn malformed() -> ValueError {
    internal("a part of string_agg says no length")
}
