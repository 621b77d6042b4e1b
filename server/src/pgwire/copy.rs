//! `COPY … TO STDOUT`: rows as text, CSV or PostgreSQL's binary form, made of the rows that a query sends.

use std::fmt::Debug;

use arrow::datatypes::Schema;
use bytes::{BufMut, Bytes, BytesMut};
use ebap_sql::{CopyFormat, CopyOptions, ForceQuote};
use futures::{Sink, SinkExt, StreamExt, stream::BoxStream};
use pgwire::{
    api::{portal::Format, results::Tag},
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        copy::{CopyData, CopyDone, CopyOutResponse},
        data::DataRow,
        response::CommandComplete,
    },
};

use super::sqlstate::SqlError;

/// In front of the binary form: its signature, no flags, nothing more.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In the place of a count of fields, where no row comes any more.
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Rows on their way out.
pub(super) struct CopyOut {
    pub(super) rows: BoxStream<'static, PgWireResult<DataRow>>,
    writer: Writer,
    columns: usize,
    header: Option<Bytes>,
}

struct Writer {
    options: CopyOptions,
    /// By column: its values are quoted, whatever they are.
    quoted: Vec<bool>,
}

/// The format in which a query gives the rows that are copied so.
pub(super) fn format_of(options: &CopyOptions) -> Format {
    match options.format {
        CopyFormat::Text | CopyFormat::Csv => Format::UnifiedText,
        CopyFormat::Binary => Format::UnifiedBinary,
    }
}

impl CopyOut {
    /// # Errors
    /// 42703 for a column of `FORCE_QUOTE` that there is not.
    pub(super) fn new(
        schema: &Schema,
        options: CopyOptions,
        rows: BoxStream<'static, PgWireResult<DataRow>>,
    ) -> Result<Self, SqlError> {
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let quoted = match &options.force_quote {
            ForceQuote::All => vec![true; names.len()],
            ForceQuote::These(forced) => {
                if let Some(missing) = forced.iter().find(|name| !names.contains(name)) {
                    return Err(SqlError::new("42703", format!("column \"{missing}\" does not exist")));
                }
                names.iter().map(|name| forced.contains(name)).collect()
            }
        };
        let writer = Writer { options, quoted: vec![false; names.len()] };
        let header = writer.options.header.then(|| {
            let mut line = BytesMut::new();
            let names = names.iter().map(|name| Some(name.as_bytes()));
            writer.line(names, &mut line);
            line.freeze()
        });
        Ok(Self { rows, columns: names.len(), header, writer: Writer { quoted, ..writer } })
    }

    /// Sends all rows as they come. Where one fails nothing follows but the error.
    pub(super) async fn send<C>(mut self, client: &mut C) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let binary = self.writer.options.format == CopyFormat::Binary;
        let columns = i16::try_from(self.columns).map_err(|_| SqlError::new("54011", "a row has too many columns"))?;
        let formats = vec![i16::from(binary); self.columns];
        let begins = CopyOutResponse::new(i8::from(binary), columns, formats);
        client.feed(PgWireBackendMessage::CopyOutResponse(begins)).await?;
        let data = |bytes: Bytes| PgWireBackendMessage::CopyData(CopyData::new(bytes));
        // The signature comes with the first row, as some clients expect it.
        let mut out = BytesMut::new();
        if binary {
            out.put_slice(SIGNATURE);
        }
        if let Some(header) = self.header.take() {
            client.feed(data(header)).await?;
        }
        let mut rows = 0;
        while let Some(row) = self.rows.next().await {
            self.writer.row(&row?, &mut out)?;
            rows += 1;
            client.feed(data(out.split().freeze())).await?;
        }
        if binary {
            out.put_slice(TRAILER);
            client.feed(data(out.split().freeze())).await?;
        }
        client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
        let tag = CommandComplete::from(Tag::new("COPY").with_rows(rows));
        client.feed(PgWireBackendMessage::CommandComplete(tag)).await?;
        Ok(())
    }
}

/// The values of a row, each without its length.
pub(super) fn values(row: &DataRow) -> Result<Vec<Option<&[u8]>>, SqlError> {
    let cut = || SqlError::new("XX000", "a row is shorter than it says");
    let (mut rest, mut all) = (&row.data[..], Vec::new());
    for _ in 0..row.field_count {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        rest = behind;
        all.push(match usize::try_from(i32::from_be_bytes(*length)) {
            // A length below zero is that of NULL.
            Err(_) => None,
            Ok(length) => {
                let (value, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
                rest = behind;
                Some(value)
            }
        });
    }
    Ok(all)
}

impl Writer {
    fn row(&self, row: &DataRow, out: &mut BytesMut) -> Result<(), SqlError> {
        match self.options.format {
            // A tuple is a row of the protocol behind its count.
            CopyFormat::Binary => {
                out.put_i16(row.field_count);
                out.put_slice(&row.data);
            }
            CopyFormat::Text | CopyFormat::Csv => self.line(values(row)?.into_iter(), out),
        }
        Ok(())
    }

    fn line<'a>(&self, values: impl Iterator<Item = Option<&'a [u8]>>, out: &mut BytesMut) {
        let alone = self.quoted.len() == 1;
        for (at, value) in values.enumerate() {
            if at > 0 {
                out.put_u8(self.options.delimiter);
            }
            match value {
                None => out.put_slice(self.options.null.as_bytes()),
                Some(value) if self.options.format == CopyFormat::Csv => self.csv(value, self.quoted[at], alone, out),
                Some(value) => self.text(value, out),
            }
        }
        out.put_u8(b'\n');
    }

    fn text(&self, value: &[u8], out: &mut BytesMut) {
        for byte in value {
            let escaped = match byte {
                b'\\' => b'\\',
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                byte if *byte == self.options.delimiter => *byte,
                byte => {
                    out.put_u8(*byte);
                    continue;
                }
            };
            out.put_slice(&[b'\\', escaped]);
        }
    }

    fn csv(&self, value: &[u8], forced: bool, alone: bool, out: &mut BytesMut) {
        let CopyOptions { delimiter, null, quote, escape, .. } = &self.options;
        // A line of `\.` alone would be the end of the data.
        let needs = forced
            || value == null.as_bytes()
            || (alone && value == b"\\.")
            || value.iter().any(|byte| [*delimiter, *quote, b'\n', b'\r'].contains(byte));
        if !needs {
            return out.put_slice(value);
        }
        out.put_u8(*quote);
        for byte in value {
            if byte == quote || byte == escape {
                out.put_u8(*escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(*quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &CopyOptions, values: &[Option<&str>]) -> String {
        let writer = Writer { options: options.clone(), quoted: vec![false; values.len()] };
        let mut out = BytesMut::new();
        writer.line(values.iter().map(|value| value.map(str::as_bytes)), &mut out);
        String::from_utf8(out.to_vec()).expect("text")
    }

    fn options(format: CopyFormat, delimiter: u8, null: &str) -> CopyOptions {
        let force_quote = ForceQuote::These(Vec::new());
        let null = null.to_owned();
        CopyOptions { format, delimiter, null, header: false, quote: b'"', escape: b'"', force_quote }
    }

    #[test]
    fn text_is_escaped_as_postgresql_does() {
        let text = options(CopyFormat::Text, b'\t', "\\N");
        assert_eq!(line(&text, &[Some("a\tb\\c\nd\re"), None, Some("")]), "a\\tb\\\\c\\nd\\re\t\\N\t\n");
        assert_eq!(line(&text, &[Some("\u{8}\u{c}\u{b}ä")]), "\\b\\f\\vä\n");
        let bar = options(CopyFormat::Text, b'|', "");
        assert_eq!(line(&bar, &[Some("a|b"), None, Some("c")]), "a\\|b||c\n");
    }

    #[test]
    fn csv_is_quoted_where_it_has_to_be() {
        let csv = options(CopyFormat::Csv, b',', "");
        assert_eq!(line(&csv, &[Some("a"), None, Some(""), Some("b,c"), Some("d\"e")]), "a,,\"\",\"b,c\",\"d\"\"e\"\n");
        assert_eq!(line(&csv, &[Some("\\.")]), "\"\\.\"\n");
        assert_eq!(line(&csv, &[Some("\\."), Some("x")]), "\\.,x\n");
        let other = CopyOptions { quote: b'\'', escape: b'\\', ..options(CopyFormat::Csv, b';', "nil") };
        assert_eq!(line(&other, &[Some("it's"), Some("a\\b"), Some("nil"), None]), "'it\\'s';a\\b;'nil';nil\n");
    }
}
