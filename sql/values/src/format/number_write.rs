//! Fills the digits of a number into a pattern.

use super::number_pattern::{Anchor, Node, Shape};
use super::ordinal::ordinal;
use crate::Result;

/// A number that is ready to be filled into a pattern.
pub(super) struct Number {
    /// Without the sign.
    digits: Vec<u8>,
    negative: bool,
    /// Places before the point that the number leaves empty.
    spaces: usize,
}

impl Number {
    pub(super) fn roman(value: i64) -> Self {
        Self { digits: roman(value).into_bytes(), negative: false, spaces: 0 }
    }
}

fn roman(value: i64) -> String {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&value) {
        return "#".repeat(15);
    }
    let mut rest = value;
    let mut text = String::new();
    for (worth, numeral) in NUMERALS {
        while rest >= worth {
            text.push_str(numeral);
            rest -= worth;
        }
    }
    text
}

/// Fills plain text of a number into a pattern.
pub(super) fn write_fixed(shape: &Shape, text: &str) -> Result<String> {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |plain| (true, plain));
    let whole = plain.split('.').next().unwrap_or_default().len();
    let pre = shape.pre + shape.multi;
    let mut digits = plain.as_bytes().to_vec();
    if whole > pre {
        // The number does not fit.
        digits = vec![b'#'; pre + shape.post + 1];
        digits[pre] = b'.';
    }
    write(shape, &Number { digits, negative, spaces: pre.saturating_sub(whole) })
}

/// Fills a number into a pattern.
pub(super) fn write(shape: &Shape, number: &Number) -> Result<String> {
    let mut writer = Writer::new(shape, number);
    for node in &shape.nodes {
        writer.node(*node)?;
    }
    // Where the pattern has more places than the number, PostgreSQL ends the text.
    if let Some(end) = writer.text.find(END) {
        writer.text.truncate(end);
    }
    Ok(writer.text)
}

/// What PostgreSQL writes where there is no digit, and where its text ends.
const END: char = '\0';

/// Fills a number into a pattern from the left to the right.
struct Writer<'a> {
    shape: &'a Shape,
    number: &'a Number,
    text: String,
    /// The next digit of the number.
    at: usize,
    /// Places of the pattern that are done.
    place: usize,
    /// The last place, or -1 where there is none.
    places: i64,
    sign_written: bool,
    /// Whether a digit stands before, so that a comma makes sense.
    inside: bool,
    anchor: Option<Anchor>,
    brackets: bool,
    /// FM: the last digit after the point that is not dropped.
    last: Option<usize>,
}

impl<'a> Writer<'a> {
    fn new(shape: &'a Shape, number: &'a Number) -> Self {
        let pre = shape.pre + shape.multi;
        let own_sign = shape.plus || shape.minus;
        let sign_written =
            if own_sign { shape.minus } else { !number.negative && shape.fill && shape.anchor.is_none() };
        let at_end = shape.anchor == Some(Anchor::Before) && pre == shape.pre_sign && !own_sign;
        // A pattern is far shorter than the range of these numbers.
        let mut places = (shape.post + pre) as i64 - 1;
        if !sign_written && number.spaces == 0 {
            places += 1;
        }
        Self {
            shape,
            number,
            text: String::new(),
            at: 0,
            place: 0,
            places,
            sign_written,
            inside: false,
            anchor: if at_end { Some(Anchor::After) } else { shape.anchor },
            brackets: shape.bracket && (own_sign || number.negative || !shape.fill),
            last: last_kept(shape, number),
        }
    }

    fn node(&mut self, node: Node) -> Result<()> {
        let fill = self.shape.fill;
        match node {
            Node::Nine | Node::Zero | Node::Point | Node::LocalePoint => self.place_of(node),
            Node::Comma | Node::Group if self.inside => self.text.push(','),
            Node::Comma | Node::Group | Node::Currency if !fill || node == Node::Currency => self.text.push(' '),
            Node::Comma | Node::Group | Node::Currency | Node::Silent => {}
            Node::Roman { upper } => {
                let text: String = self.number.digits[self.at.min(self.number.digits.len())..]
                    .iter()
                    .map(|b| char::from(if upper { *b } else { b.to_ascii_lowercase() }))
                    .collect();
                self.text.push_str(&if fill { text } else { format!("{text:>15}") });
            }
            Node::Ordinal { upper } => self.ordinal(upper)?,
            Node::Minus if self.number.negative => self.text.push('-'),
            Node::Plus if !self.number.negative && !self.shape.roman => self.text.push('+'),
            Node::Minus | Node::Plus if !fill => self.text.push(' '),
            Node::Minus | Node::Plus => {}
            // A Roman number has no sign to write.
            Node::Sign if self.shape.roman => self.text.push(END),
            Node::Sign => self.text.push(if self.number.negative { '-' } else { '+' }),
            Node::Character(c) => self.text.push(c),
        }
        Ok(())
    }

    fn ordinal(&mut self, upper: bool) -> Result<()> {
        let first = self.number.digits.first();
        if self.shape.roman || self.shape.decimal || self.number.negative || first == Some(&b'#') {
            return Ok(());
        }
        let digits: String = self.number.digits.iter().map(|b| char::from(*b)).collect();
        self.text.push_str(ordinal(&digits, upper)?);
        Ok(())
    }

    /// Whether a zero before the point gives way to a space, as in ` .1` for 9.9.
    fn drops_zero(&self) -> bool {
        !self.shape.zero && self.at == 0 && self.number.digits.first() == Some(&b'0') && self.shape.post != 0
    }

    fn last_is_point(&self) -> bool {
        self.last.is_some_and(|last| self.number.digits.get(last) == Some(&b'.'))
    }

    fn place_of(&mut self, node: Node) {
        if self.shape.roman {
            return;
        }
        self.inside = false;
        self.sign_before();
        let spaces = self.number.spaces;
        if self.place < spaces && (self.shape.zero_start > self.place || !self.shape.zero) {
            if !self.shape.fill {
                self.text.push(' ');
            }
        } else if self.place < spaces {
            self.text.push('0');
            self.inside = true;
        } else {
            self.digit(node);
        }
        self.sign_after();
        self.place += 1;
    }

    fn sign_before(&mut self) {
        let reached = self.place >= self.number.spaces || (self.shape.zero && self.shape.zero_start == self.place);
        if self.sign_written || !reached || (self.drops_zero() && !self.last_is_point()) {
            return;
        }
        let negative = self.number.negative;
        if self.anchor.is_some() {
            if self.anchor == Some(Anchor::Before) {
                self.text.push(if negative { '-' } else { '+' });
                self.sign_written = true;
            }
            return;
        }
        if self.brackets {
            self.text.push(if negative { '<' } else { ' ' });
        } else if negative {
            self.text.push('-');
        } else if !self.shape.fill {
            self.text.push(' ');
        }
        self.sign_written = true;
    }

    fn digit(&mut self, node: Node) {
        let digit = self.number.digits.get(self.at).copied().unwrap_or(END as u8);
        let fill = self.shape.fill;
        if digit == b'.' {
            if !self.last_is_point() || fill {
                self.text.push('.');
            }
        } else if self.last.is_some_and(|last| self.at > last) && node != Node::Zero {
            // FM drops the zeros at the end.
        } else if self.drops_zero() {
            if !fill {
                self.text.push(' ');
            } else if self.last_is_point() {
                self.text.push('0');
            }
        } else {
            self.text.push(char::from(digit));
            self.inside = true;
        }
        self.at = (self.at + 1).min(self.number.digits.len());
    }

    fn sign_after(&mut self) {
        let place = self.place as i64;
        let mut end = self.places + i64::from(self.number.spaces > 0) + i64::from(self.shape.decimal);
        if self.last == Some(self.at) {
            end = place;
        }
        if place + 1 != end {
            return;
        }
        let negative = self.number.negative;
        if self.sign_written && self.brackets {
            self.text.push(if negative { '>' } else { ' ' });
        } else if self.anchor == Some(Anchor::After) {
            self.text.push(if negative { '-' } else { '+' });
        }
    }
}

/// The last digit that FM keeps: the last that is not zero, or the last that a 0 of the pattern asks for.
fn last_kept(shape: &Shape, number: &Number) -> Option<usize> {
    if !shape.fill || !shape.decimal {
        return None;
    }
    let point = number.digits.iter().position(|b| *b == b'.')?;
    let last = number.digits.iter().rposition(|b| *b != b'0').unwrap_or(point).max(point);
    if shape.zero_end <= number.spaces {
        return Some(last);
    }
    let asked = (number.digits.len() - 1).min(shape.zero_end - number.spaces);
    Some(last.max(asked))
}
