//! to_number.

use super::number_pattern::{Anchor, Node, Shape};
use crate::{Result, ValueError};

/// Digits after the point that PostgreSQL gives the power of ten of a pattern with V.
const SHIFT_SCALE: usize = 16;
/// A pattern with V asks for this many digits at most.
const MAX_SHIFT: usize = 1_000;

/// Reads a number by a pattern, and gives it as decimal text. None is NULL: an empty pattern.
///
/// Errors: 42601 for patterns that contradict each other, 22P02 where there is no number,
/// 22003 for more digits than the pattern has, 54000 for a pattern that is too long,
/// 0A000 for RN and EEEE.
pub fn to_number(text: &str, pattern: &str) -> Result<Option<String>> {
    super::check_length(pattern)?;
    if pattern.is_empty() {
        return Ok(None);
    }
    let shape = Shape::parse(pattern)?;
    let unsupported = |name: &str| Err(ValueError::unsupported(format!("\"{name}\" not supported for input")));
    if shape.exponent {
        return unsupported("EEEE");
    }
    if shape.roman {
        return unsupported("RN");
    }
    if shape.multi > MAX_SHIFT {
        return Err(ValueError::new("54000", "a format pattern has too many digits after \"V\""));
    }
    let mut reader = Reader { shape: &shape, text, at: 0, sign: None, digits: String::new(), fraction: None };
    for node in &shape.nodes {
        if reader.peek().is_none() {
            break;
        }
        reader.node(*node);
    }
    reader.finish().map(Some)
}

struct Reader<'a> {
    shape: &'a Shape,
    text: &'a str,
    at: usize,
    sign: Option<char>,
    digits: String,
    /// Digits read after the point. None is before it.
    fraction: Option<usize>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips a whole character.
    fn skip(&mut self) {
        self.at += self.text.get(self.at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    }

    fn node(&mut self, node: Node) {
        match node {
            Node::Nine | Node::Zero | Node::Point | Node::LocalePoint => {
                self.digit(node);
                // A place takes one byte, even of a longer character.
                self.at += 1;
            }
            Node::Comma | Node::Group => {
                // Commas between digits may be missing. PostgreSQL takes none before an output's first digit with FM.
                if !self.shape.fill && self.peek() == Some(b',') {
                    self.skip();
                }
            }
            Node::Currency => self.skip_other(1),
            Node::Ordinal { .. } => {
                if !self.shape.decimal && self.sign != Some('-') {
                    self.skip_other(2);
                }
            }
            Node::Minus | Node::Plus | Node::Sign => match self.peek() {
                Some(b'-') if node != Node::Plus => self.take_sign('-'),
                Some(b'+') if node != Node::Minus => self.take_sign('+'),
                _ => self.skip_other(1),
            },
            Node::Character(_) => self.skip(),
            Node::Roman { .. } | Node::Silent => {}
        }
    }

    fn take_sign(&mut self, sign: char) {
        self.sign = Some(sign);
        self.skip();
    }

    /// Skips characters that are no part of a number.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek().is_none_or(|c| c.is_ascii_digit() || matches!(c, b'.' | b',' | b'+' | b'-')) {
                return;
            }
            self.skip();
        }
    }

    fn digit(&mut self, node: Node) {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        let is_digit = matches!(node, Node::Nine | Node::Zero);
        if is_digit && self.sign.is_none() && self.count() == 0 {
            self.leading_sign();
        }
        let Some(c) = self.peek() else { return };
        let mut was_read = false;
        if c.is_ascii_digit() {
            if self.fraction == Some(self.shape.post) {
                return;
            }
            self.digits.push(char::from(c));
            self.fraction = self.fraction.map(|count| count + 1);
            was_read = true;
        } else if self.shape.decimal && self.fraction.is_none() && c == b'.' {
            self.digits.push('.');
            self.fraction = Some(0);
            was_read = true;
        }
        if self.sign.is_none() && self.count() > 0 {
            self.trailing_sign(was_read);
        }
    }

    /// Digits read so far.
    fn count(&self) -> usize {
        self.digits.bytes().filter(u8::is_ascii_digit).count()
    }

    fn leading_sign(&mut self) {
        let sign = match self.peek() {
            Some(b'-') => '-',
            Some(b'+') => '+',
            Some(b'<') if self.shape.bracket => '-',
            _ => return,
        };
        if self.shape.anchor == Some(Anchor::After) && sign != '-' && sign != '+' {
            return;
        }
        self.sign = Some(sign);
        self.at += 1;
    }

    /// A sign behind the last digit, where S, MI, PL or SG allow it.
    fn trailing_sign(&mut self, was_read: bool) {
        let sign_of = |c: Option<u8>| c.filter(|c| matches!(c, b'-' | b'+')).map(char::from);
        if self.shape.anchor.is_some() && was_read {
            let next = self.text.as_bytes().get(self.at + 1).copied();
            if let Some(sign) = sign_of(next) {
                self.sign = Some(sign);
                self.at += 1;
            }
        } else if !was_read && self.shape.anchor.is_none() && (self.shape.plus || self.shape.minus) {
            self.sign = sign_of(self.peek());
        }
    }

    fn finish(mut self) -> Result<String> {
        if self.digits.ends_with('.') {
            self.digits.pop();
        }
        let sign = match self.sign {
            Some('-') => "-",
            _ => "",
        };
        if self.count() == 0 {
            let shown = self.sign.unwrap_or(' ');
            return Err(ValueError::syntax("numeric", &format!("{shown}{}", self.digits)));
        }
        let (whole, fraction) = self.digits.split_once('.').unwrap_or((&self.digits, ""));
        let whole = whole.trim_start_matches('0');
        if whole.len() > self.shape.pre + self.shape.multi {
            return Err(ValueError::new("22003", "numeric field overflow"));
        }
        let whole = if whole.is_empty() { "0" } else { whole };
        let is_zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
        let sign = if is_zero { "" } else { sign };
        if !self.shape.shifted {
            let point = if fraction.is_empty() { "" } else { "." };
            return Ok(format!("{sign}{whole}{point}{fraction}"));
        }
        let shift = self.shape.multi;
        let padded = format!("{whole:0>width$}", width = shift + 1);
        let (whole, moved) = padded.split_at(padded.len() - shift);
        Ok(format!("{sign}{whole}.{moved:0<scale$}", scale = SHIFT_SCALE.max(shift)))
    }
}
