//! A scanner for JSON as producers write it. It accepts only valid JSON, and gives up on what is rare:
//! `serde_json` then reads the record again and has the last word, so that nothing here needs to say
//! what was wrong.

/// The scanner gives up: the text is wrong, or rare.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusual;

pub(crate) type Outcome<T> = Result<T, Unusual>;

/// As deep as `serde_json` goes.
const DEPTH_MAX: usize = 127;
/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Integers below it are doubles too.
const EXACT_INTEGER: u64 = 1 << 53;
/// Digits of an integer that cannot overflow.
const SAFE_DIGITS: usize = 18;

/// A string between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a> {
    pub(crate) raw: &'a str,
    /// Has a backslash: `unescape` gives what it means.
    pub(crate) escaped: bool,
}

/// A number by its parts; `digits` and `scale` mean nothing where `long`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) raw: &'a str,
    pub(crate) negative: bool,
    /// All digits before an exponent as one integer.
    pub(crate) digits: u64,
    /// Digits of the fraction.
    pub(crate) scale: usize,
    pub(crate) plain_integer: bool,
    /// More digits than `digits` can hold, or an exponent.
    long: bool,
}

impl Number<'_> {
    /// `None` where it is no integer or not a short one.
    pub(crate) fn integer(&self) -> Option<i64> {
        // "-0" is a double in JSON's eyes.
        if !self.plain_integer || self.long || (self.negative && self.digits == 0) {
            return None;
        }
        let value = i64::try_from(self.digits).ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// Correctly rounded: by one exact operation where there is one (Clinger 1990), else by the standard library.
    pub(crate) fn double(&self) -> Option<f64> {
        if !self.long && self.digits < EXACT_INTEGER && self.scale < EXACT_POWERS.len() {
            let value = self.digits as f64 / EXACT_POWERS[self.scale];
            return Some(if self.negative { -value } else { value });
        }
        self.raw.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// Digits and scale of a short number without exponent.
    pub(crate) fn decimal(&self) -> Option<(i128, usize)> {
        let value = i128::from(self.digits);
        (!self.long).then_some((if self.negative { -value } else { value }, self.scale))
    }
}

#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// The next byte that is no white space; it is not taken.
    pub(crate) fn peek(&mut self) -> Outcome<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Unusual),
            }
        }
    }

    /// Takes this byte.
    pub(crate) fn take(&mut self, wanted: u8) -> Outcome<()> {
        if self.peek()? != wanted {
            return Err(Unusual);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes this byte where it is next.
    pub(crate) fn takes(&mut self, wanted: u8) -> Outcome<bool> {
        let found = self.peek()? == wanted;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Outcome<()> {
        if self.peek().is_err() { Ok(()) } else { Err(Unusual) }
    }

    pub(crate) fn string(&mut self) -> Outcome<Quoted<'a>> {
        self.take(b'"')?;
        let (start, mut escaped) = (self.at, false);
        loop {
            self.at = special(self.bytes, self.at).ok_or(Unusual)?;
            match self.bytes[self.at] {
                b'"' => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Quoted { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                // A control character.
                _ => return Err(Unusual),
            }
        }
    }

    /// Passes one escape, checked.
    fn escape(&mut self) -> Outcome<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = unit(self.bytes, self.at + 2)?;
                self.at += 6;
                if (0xd800..0xdc00).contains(&unit) {
                    let low = self.bytes.get(self.at..self.at + 2).is_some_and(|next| next == b"\\u");
                    if !low || !(0xdc00..0xe000).contains(&self::unit(self.bytes, self.at + 2)?) {
                        return Err(Unusual);
                    }
                    self.at += 6;
                } else if (0xdc00..0xe000).contains(&unit) {
                    return Err(Unusual);
                }
            }
            _ => return Err(Unusual),
        }
        Ok(())
    }

    pub(crate) fn number(&mut self) -> Outcome<Number<'a>> {
        let negative = self.takes(b'-')?;
        let start = self.at - usize::from(negative);
        if negative && !self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            return Err(Unusual);
        }
        let first = self.at;
        let mut digits = 0_u64;
        while let Some(digit) = self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        let whole = self.at - first;
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            return Err(Unusual);
        }
        let (mut scale, mut plain_integer) = (0, true);
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let first = self.at;
            while let Some(digit) =
                self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
            {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
                self.at += 1;
            }
            scale = self.at - first;
            plain_integer = false;
            if scale == 0 {
                return Err(Unusual);
            }
        }
        let mut long = whole + scale > SAFE_DIGITS;
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            (long, plain_integer) = (true, false);
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            let first = self.at;
            while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
                self.at += 1;
            }
            if self.at == first {
                return Err(Unusual);
            }
        }
        Ok(Number { raw: &self.text[start..self.at], negative, digits, scale, plain_integer, long })
    }

    pub(crate) fn literal(&mut self, word: &'static str) -> Outcome<()> {
        self.peek()?;
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes a value of any kind and gives its text. `depth`: of objects and arrays around it.
    pub(crate) fn skip(&mut self, depth: usize) -> Outcome<&'a str> {
        let kind = self.peek()?;
        let start = self.at;
        match kind {
            b'"' => {
                self.string()?;
            }
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            b'{' | b'[' => {
                if depth >= DEPTH_MAX {
                    return Err(Unusual);
                }
                let close = if kind == b'{' { b'}' } else { b']' };
                self.at += 1;
                if self.takes(close)? {
                    return Ok(&self.text[start..self.at]);
                }
                loop {
                    if kind == b'{' {
                        self.string()?;
                        self.take(b':')?;
                    }
                    self.skip(depth + 1)?;
                    if self.takes(close)? {
                        break;
                    }
                    self.take(b',')?;
                }
            }
            _ => {
                // `serde_json` refuses numbers beyond a double's range also where nobody asks for them.
                self.number()?.double().ok_or(Unusual)?;
            }
        }
        Ok(&self.text[start..self.at])
    }
}

/// Appends what an escaped string means.
pub(crate) fn unescape(raw: &str, out: &mut String) -> Outcome<()> {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let bytes = &rest.as_bytes()[at..];
        let plain = match bytes.get(1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = u32::from(unit(bytes, 2)?);
                let (code, length) = if (0xd800..0xdc00).contains(&high) {
                    (0x10000 + ((high - 0xd800) << 10) + u32::from(unit(bytes, 8)?).wrapping_sub(0xdc00), 12)
                } else {
                    (high, 6)
                };
                out.push(char::from_u32(code).ok_or(Unusual)?);
                rest = &rest[at + length..];
                continue;
            }
            Some(other @ (b'"' | b'\\' | b'/')) => char::from(*other),
            _ => return Err(Unusual),
        };
        out.push(plain);
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    Ok(())
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8], at: usize) -> Outcome<u16> {
    let digits = bytes.get(at..at + 4).ok_or(Unusual)?;
    digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(Unusual)?;
        Ok(unit << 4 | value as u16)
    })
}

/// Where the next quote, backslash or control character is: eight bytes at a time ("Bit Twiddling
/// Hacks", S. E. Anderson: a byte less than n). The lowest mark is always a true one.
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let found = ((quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    Some(at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?)
}
