//! CSV by RFC 4180: how a stream writes it, where a record ends, and where its fields are.
//!
//! One part cuts a file into records, another cuts records into fields. Both ask here, so that they agree on quotes.
//!
//! # Invariants
//! - A quote opens a field only as its first byte. Elsewhere it is text, as in `5" pipe`.
//! - Between quotes a quote is written twice; delimiters and line breaks are text there.
//! - Text behind a closing quote is a fault. It changes nothing about where the record ends.

use std::{borrow::Cow, fmt, ops::Range};

use crate::{Error, Options, Result};

/// The options `csv.*` of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Stands between two fields.
    pub delimiter: char,
    /// The first record of each file names the fields of the others.
    pub header: bool,
    /// A field with this text and without quotes is NULL.
    pub null: String,
}

/// A field of a record: where its text is, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvField {
    /// Between the quotes, where it has them.
    range: Range<usize>,
    /// It has quotes around it.
    pub quoted: bool,
    /// It has quotes inside, each written twice.
    doubled: bool,
}

/// Why a record is no CSV. Fields are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvFault {
    /// The quote that this field begins with has no end.
    Unclosed(usize),
    /// The closing quote of this field stands before other text.
    BehindQuote(usize),
    /// This field has no quotes, and a line break.
    LineBreak(usize),
    /// There are more fields than any stream has columns.
    TooMany,
}

/// Fields of a record, at the most: each takes memory beside its text.
pub const FIELDS_MAX: usize = 65_536;

impl CsvOptions {
    /// The names of all options.
    pub const NAMES: [&str; 3] = ["csv.delimiter", "csv.header", "csv.null"];

    /// # Errors
    /// `Option` for a delimiter that is not one character, or is a quote or a line break, and for a bad boolean.
    pub fn parse(options: &Options) -> Result<Self> {
        let delimiter = match options.get("csv.delimiter") {
            None => ',',
            // As most tools write it; SQL has no escapes in plain text.
            Some("\\t") => '\t',
            Some(text) => {
                let mut letters = text.chars();
                match (letters.next(), letters.next()) {
                    (Some('"' | '\n' | '\r'), None) => {
                        let message = "must be neither a quote nor a line break, which separate records";
                        return Err(Error::option("csv.delimiter", message));
                    }
                    (Some(letter), None) => letter,
                    (None | Some(_), _) => return Err(Error::option("csv.delimiter", "must be one character")),
                }
            }
        };
        let null = options.get("csv.null").unwrap_or("").to_owned();
        Ok(Self { delimiter, header: options.bool("csv.header", false)?, null })
    }

    /// Whether a quote is open behind this line. `open`: whether one was before it. A record ends with the line
    /// behind which none is.
    pub fn open_behind(&self, line: &[u8], open: bool) -> bool {
        let mut bytes = [0; 4];
        let delimiter = self.delimiter.encode_utf8(&mut bytes).as_bytes();
        let (mut rest, mut inside, mut field_begins) = (line, open, !open);
        // Most lines have no quote, and `contains` looks at many bytes at once.
        if !rest.contains(&b'"') {
            return open;
        }
        while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
            let (before, behind) = (&rest[..quote], &rest[quote + 1..]);
            rest = behind;
            if inside {
                match behind.strip_prefix(b"\"") {
                    Some(behind) => rest = behind,
                    None => inside = false,
                }
            } else {
                inside = (before.is_empty() && field_begins) || before.ends_with(delimiter);
            }
            field_begins = false;
        }
        inside
    }

    /// Finds the fields of a record, which has at least one.
    ///
    /// # Errors
    /// The first fault of the record. What is in `fields` means nothing then.
    pub fn fields(&self, record: &str, fields: &mut Vec<CsvField>) -> Result<(), CsvFault> {
        fields.clear();
        let (mut at, breaks) = (0, record.contains('\n'));
        loop {
            if fields.len() == FIELDS_MAX {
                return Err(CsvFault::TooMany);
            }
            let rest = &record[at..];
            let field = match rest.strip_prefix('"') {
                Some(inside) => {
                    let (length, doubled) = quoted(inside).ok_or(CsvFault::Unclosed(fields.len() + 1))?;
                    CsvField { range: at + 1..at + 1 + length, quoted: true, doubled }
                }
                None => {
                    let length = rest.find(self.delimiter).unwrap_or(rest.len());
                    if breaks && rest[..length].contains('\n') {
                        return Err(CsvFault::LineBreak(fields.len() + 1));
                    }
                    CsvField { range: at..at + length, quoted: false, doubled: false }
                }
            };
            let end = field.range.end + usize::from(field.quoted);
            fields.push(field);
            let behind = &record[end..];
            match behind.strip_prefix(self.delimiter) {
                Some(next) => at = record.len() - next.len(),
                None if behind.is_empty() => return Ok(()),
                None => return Err(CsvFault::BehindQuote(fields.len())),
            }
        }
    }
}

impl CsvField {
    /// The text of the field, in the record it was found in.
    pub fn text<'a>(&self, record: &'a str) -> Cow<'a, str> {
        let text = &record[self.range.clone()];
        if self.doubled { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
    }
}

/// Bytes up to the closing quote, and whether there are doubled quotes among them.
fn quoted(inside: &str) -> Option<(usize, bool)> {
    let (mut at, mut doubled) = (0, false);
    loop {
        at += inside[at..].find('"')?;
        if !inside[at + 1..].starts_with('"') {
            return Some((at, doubled));
        }
        at += 2;
        doubled = true;
    }
}

impl fmt::Display for CsvFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed(field) => write!(f, "field {field} begins with a quote that is not closed"),
            Self::BehindQuote(field) => {
                write!(f, "field {field} has text behind its closing quote; a quote inside of quotes is written twice")
            }
            Self::LineBreak(field) => write!(f, "field {field} has a line break and no quotes around it"),
            Self::TooMany => write!(f, "the record has more than {FIELDS_MAX} fields"),
        }
    }
}

impl std::error::Error for CsvFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(delimiter: char) -> CsvOptions {
        CsvOptions { delimiter, header: false, null: String::new() }
    }

    fn fields_of(csv: &CsvOptions, record: &str) -> Result<Vec<(String, bool)>, CsvFault> {
        let mut fields = Vec::new();
        csv.fields(record, &mut fields)?;
        Ok(fields.iter().map(|field| (field.text(record).into_owned(), field.quoted)).collect())
    }

    fn shown(record: &str) -> String {
        match fields_of(&csv(','), record) {
            Ok(fields) => {
                let one = |(text, quoted): &(String, bool)| if *quoted { format!("<{text}>") } else { text.clone() };
                fields.iter().map(one).collect::<Vec<_>>().join("|")
            }
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn fields_are_those_of_rfc_4180() {
        for (record, expected) in [
            ("", ""),
            ("a,b", "a|b"),
            (",", "|"),
            (r#"a,"b,""c""",,"#, r#"a|<b,"c">||"#),
            ("\"multi\r\nline\",x", "<multi\r\nline>|x"),
            (r#""""#, "<>"),
            (r#""""""#, r#"<">"#),
            (r#""ä,ö",ü"#, "<ä,ö>|ü"),
            (r#"5" pipe,6 "x""#, r#"5" pipe|6 "x""#),
            (r#" "a",b"#, r#" "a"|b"#),
            ("a,\"b\nc", "field 2 begins with a quote that is not closed"),
            (r#""say "hi"",x"#, "field 1 has text behind its closing quote; a quote inside of quotes is written twice"),
            (r#"a,"b" "#, "field 2 has text behind its closing quote; a quote inside of quotes is written twice"),
            ("a,b\nc,d", "field 2 has a line break and no quotes around it"),
        ] {
            assert_eq!(shown(record), expected, "{record:?}");
        }
    }

    #[test]
    fn there_is_a_bound_on_fields() {
        assert_eq!(fields_of(&csv(','), &",".repeat(FIELDS_MAX - 1)).map(|fields| fields.len()), Ok(FIELDS_MAX));
        assert_eq!(fields_of(&csv(','), &",".repeat(FIELDS_MAX)), Err(CsvFault::TooMany));
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_one_character() {
        let csv = csv('¦');
        let expected = [("a¦b", true), ("c,d", false), ("", false)].map(|(text, quoted)| (text.to_owned(), quoted));
        assert_eq!(fields_of(&csv, "\"a¦b\"¦c,d¦"), Ok(expected.to_vec()));
        assert!(csv.open_behind("x¦\"a\n".as_bytes(), false));
        assert!(!csv.open_behind("x,\"a\n".as_bytes(), false), "the quote is not the first byte of its field");
    }

    #[test]
    fn options_are_read_and_bad_ones_refused() {
        let parsed = |name: &str, value: &str| {
            let mut options = Options::default();
            options.set(name, value);
            CsvOptions::parse(&options)
        };
        assert_eq!(parsed("csv.delimiter", "\\t").map(|csv| csv.delimiter).ok(), Some('\t'));
        assert_eq!(parsed("csv.delimiter", ";").map(|csv| csv.delimiter).ok(), Some(';'));
        assert_eq!(parsed("csv.header", "on").map(|csv| csv.header).ok(), Some(true));
        for (name, value) in
            [("csv.delimiter", ""), ("csv.delimiter", "||"), ("csv.delimiter", "\""), ("csv.header", "2")]
        {
            let error = parsed(name, value).expect_err(value).to_string();
            assert!(error.starts_with(&format!("option \"{name}\"")), "{error}");
        }
    }

    /// The rule once more, letter by letter.
    fn open_at_the_end(text: &str, mut inside: bool) -> bool {
        let mut first = !inside;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if inside && letters.peek() == Some(&'"') => {
                    letters.next();
                }
                '"' if inside => inside = false,
                '"' if first => inside = true,
                _ => {}
            }
            first = letter == ',' && !inside;
        }
        inside
    }

    /// Every text of up to eight letters: a record ends where the fields say that it is whole.
    #[test]
    fn records_end_where_their_fields_do() {
        const LETTERS: [char; 4] = ['"', ',', 'a', '\n'];
        let csv = csv(',');
        for length in 0..=8_u32 {
            for mut number in 0..LETTERS.len().pow(length) {
                let mut text = String::new();
                for _ in 0..length {
                    text.push(LETTERS[number % LETTERS.len()]);
                    number /= LETTERS.len();
                }
                for open in [false, true] {
                    assert_eq!(csv.open_behind(text.as_bytes(), open), open_at_the_end(&text, open), "{text:?} {open}");
                }
                let unclosed = matches!(fields_of(&csv, &text), Err(CsvFault::Unclosed(_)));
                let earlier = matches!(fields_of(&csv, &text), Err(CsvFault::BehindQuote(_) | CsvFault::LineBreak(_)));
                assert!(earlier || unclosed == csv.open_behind(text.as_bytes(), false), "{text:?}");
            }
        }
    }
}
