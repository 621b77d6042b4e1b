//! The grammar of JSON, as PostgreSQL reads it.

use super::{DEPTH_MAX, Json};
use crate::{Numeric, Result, ValueError};

/// A value within a text.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// As it is written.
    pub text: &'a str,
    pub kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    Null,
    Bool(bool),
    Number,
    /// With its escapes, between quotes.
    String,
    Array(Vec<Node<'a>>),
    /// Keys with their escapes, between quotes, in the order in which they are written.
    Object(Vec<(&'a str, Node<'a>)>),
}

/// The value that a text is. What escapes stand for is not looked at, as for a value of `json`.
///
/// # Errors
/// 22P02 for what is no JSON.
pub fn parse(text: &str) -> Result<Node<'_>> {
    Reader { text, at: 0, strict: false }.whole()
}

/// As `parse`, where escapes must stand for characters.
///
/// # Errors
/// 22P05 for the character 0, 22P02 for half of a pair.
pub fn parse_strictly(text: &str) -> Result<Node<'_>> {
    Reader { text, at: 0, strict: true }.whole()
}

impl Json {
    /// The value of `jsonb` that a text is.
    ///
    /// # Errors
    /// As `parse_strictly`, and 22003 for a number with more digits than NUMERIC has.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_node(&parse_strictly(text)?)
    }

    /// # Errors
    /// As `parse`.
    pub fn from_node(node: &Node<'_>) -> Result<Self> {
        Ok(match &node.kind {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(*value),
            Kind::Number => Self::Number(Numeric::parse(node.text)?),
            Kind::String => Self::String(unescaped(node.text)?),
            Kind::Array(items) => Self::Array(items.iter().map(Self::from_node).collect::<Result<_>>()?),
            Kind::Object(members) => {
                let member = |(key, value): &(&str, Node<'_>)| Ok((unescaped(key)?, Self::from_node(value)?));
                Self::object(members.iter().map(member).collect::<Result<_>>()?)
            }
        })
    }
}

/// The characters of a string that stands between quotes.
pub(super) fn unescaped(quoted: &str) -> Result<String> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let (mut out, mut rest) = (String::with_capacity(inner.len()), inner);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, length) = escape(&rest[at..])?;
        out.push(character);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The character that an escape at the beginning stands for, and how many bytes it has.
fn escape(text: &str) -> Result<(char, usize)> {
    let plain = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        Some(other @ (b'"' | b'\\' | b'/')) => char::from(*other),
        _ => return Err(invalid()),
    };
    Ok((plain, 2))
}

fn unicode(text: &str) -> Result<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0).ok_or_else(invalid)?;
    match first {
        0 => Err(ValueError::new("22P05", "unsupported Unicode escape sequence")),
        0xD800..0xDC00 => {
            let second = unit(6).filter(|second| (0xDC00..0xE000).contains(second)).ok_or_else(invalid)?;
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            Ok((char::from_u32(code).ok_or_else(invalid)?, 12))
        }
        code => Ok((char::from_u32(code).ok_or_else(invalid)?, 6)),
    }
}

fn invalid() -> ValueError {
    ValueError::new("22P02", "invalid input syntax for type json")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    strict: bool,
}

impl<'a> Reader<'a> {
    fn whole(mut self) -> Result<Node<'a>> {
        let node = self.value(0)?;
        self.blanks();
        if self.at == self.text.len() { Ok(node) } else { Err(invalid()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(invalid()) }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>> {
        if depth > DEPTH_MAX {
            return Err(ValueError::new("54001", "stack depth limit exceeded"));
        }
        self.blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => {
                self.string()?;
                Kind::String
            }
            Some(b'[') => Kind::Array(self.array(depth)?),
            Some(b'{') => Kind::Object(self.object(depth)?),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            _ => self.word()?,
        };
        Ok(Node { text: &self.text[start..self.at], kind })
    }

    fn word(&mut self) -> Result<Kind<'a>> {
        let known = [("null", Kind::Null), ("true", Kind::Bool(true)), ("false", Kind::Bool(false))];
        let rest = &self.text[self.at..];
        let (word, kind) = known.into_iter().find(|(word, _)| rest.starts_with(word)).ok_or_else(invalid)?;
        self.at += word.len();
        self.ended().map(|()| kind)
    }

    /// A number or a word goes on until what cannot be part of one.
    fn ended(&self) -> Result<()> {
        match self.peek() {
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => Err(invalid()),
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(invalid()) }
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.ended()
    }

    fn string(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek() {
                None | Some(0..0x20) => return Err(invalid()),
                Some(b'"') => break,
                Some(b'\\') if self.strict => self.at += escape(&self.text[self.at..])?.1,
                Some(b'\\') => self.written_escape()?,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at])
    }

    /// An escape whose character nobody asks for.
    fn written_escape(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.get(2..6).is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return Err(invalid()),
        };
        self.at += length;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node<'a>>> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(items);
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(&'a str, Node<'a>)>> {
        self.expect(b'{')?;
        let mut members = Vec::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(members);
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.expect(b':')?;
            members.push((key, self.value(depth + 1)?));
            self.blanks();
            if self.take(b'}') {
                return Ok(members);
            }
            self.expect(b',')?;
        }
    }
}
