//! A scanner for JSON as producers write it. It accepts only valid JSON, and gives up on what is rare:
//! `serde_json` then reads the record again and has the last word, so that nothing here needs to say
//! what was wrong.
//!
//! # Invariants
//! - It may be given a few bytes behind the record, so that several can be looked at in one go. It only
//!   moves on over what it has accepted, and `end` refuses to have moved beyond the record: nothing
//!   accepted has ever depended on what lies behind.
//! - The record is valid UTF-8. That is not looked at here: JSON is told by its ASCII bytes alone.

use std::ops::Range;

/// The scanner gives up: the text is wrong, or rare.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusual;

pub(crate) type Outcome<T> = Result<T, Unusual>;

/// Bytes that can be looked at in one go.
pub(crate) const AHEAD: usize = 16;
/// As deep as `serde_json` goes.
pub(crate) const DEPTH_MAX: usize = 127;
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
    pub(crate) raw: &'a [u8],
    /// Has a backslash: `unescape` gives what it means.
    pub(crate) escaped: bool,
}

/// A number by its parts; `digits` and `scale` mean nothing where `long`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) raw: &'a [u8],
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

    /// Few digits and no exponent.
    pub(crate) fn is_short(&self) -> bool {
        !self.long
    }

    /// Correctly rounded: by one exact operation where there is one (Clinger 1990), else by the standard library.
    pub(crate) fn double(&self) -> Option<f64> {
        if !self.long && self.digits < EXACT_INTEGER && self.scale < EXACT_POWERS.len() {
            let value = self.digits as f64 / EXACT_POWERS[self.scale];
            return Some(if self.negative { -value } else { value });
        }
        let text = std::str::from_utf8(self.raw).ok()?;
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// True where `double` gives a value: only a long number can be out of range.
    pub(crate) fn is_double(&self) -> bool {
        !self.long || self.double().is_some()
    }

    /// Digits and scale of a short number without exponent.
    pub(crate) fn decimal(&self) -> Option<(i128, usize)> {
        let value = i128::from(self.digits);
        (!self.long).then_some((if self.negative { -value } else { value }, self.scale))
    }
}

#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Scanner<'a> {
    /// A record in the bytes of its batch.
    pub(crate) fn new(batch: &'a [u8], record: &Range<usize>) -> Self {
        let seen = batch.len().min(record.end + AHEAD);
        Self { bytes: &batch[record.start..seen], at: 0, end: record.end - record.start }
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    pub(crate) fn since(&self, place: usize) -> &'a [u8] {
        &self.bytes[place..self.at]
    }

    /// The next byte, whatever it is; 0 behind the last one.
    #[inline]
    pub(crate) fn next(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn next_chunk<const LENGTH: usize>(&self) -> Option<&'a [u8; LENGTH]> {
        self.bytes.get(self.at..)?.first_chunk()
    }

    pub(crate) fn starts_with(&self, text: &[u8]) -> bool {
        self.bytes[self.at..].starts_with(text)
    }

    /// Takes so many bytes that were looked at.
    #[inline]
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The next byte that is no white space; it is not taken.
    #[inline]
    pub(crate) fn peek(&mut self) -> Outcome<u8> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.peek_behind_space(),
        }
    }

    #[cold]
    fn peek_behind_space(&mut self) -> Outcome<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Unusual),
            }
        }
    }

    /// Takes this byte.
    #[inline]
    pub(crate) fn take(&mut self, wanted: u8) -> Outcome<()> {
        if self.peek()? != wanted {
            return Err(Unusual);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes this byte where it is next.
    #[inline]
    pub(crate) fn takes(&mut self, wanted: u8) -> Outcome<bool> {
        let found = self.peek()? == wanted;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Outcome<()> {
        while self.at < self.end && matches!(self.bytes[self.at], b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        if self.at == self.end { Ok(()) } else { Err(Unusual) }
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Outcome<Quoted<'a>> {
        self.take(b'"')?;
        let start = self.at;
        let end = special(self.bytes, start).ok_or(Unusual)?;
        if self.bytes[end] == b'"' {
            self.at = end + 1;
            return Ok(Quoted { raw: &self.bytes[start..end], escaped: false });
        }
        self.at = end;
        self.escaped_string(start)
    }

    /// The rest of a string from its first backslash, or what is none.
    #[cold]
    fn escaped_string(&mut self, start: usize) -> Outcome<Quoted<'a>> {
        loop {
            self.at = special(self.bytes, self.at).ok_or(Unusual)?;
            match self.bytes[self.at] {
                b'"' => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Quoted { raw, escaped: true });
                }
                b'\\' => self.escape()?,
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
        let first = self.at;
        let mut digits = 0_u64;
        self.digits(&mut digits);
        let whole = self.at - first;
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            return Err(Unusual);
        }
        let (mut scale, mut plain_integer) = (0, true);
        if self.next() == b'.' {
            self.at += 1;
            let first = self.at;
            self.digits(&mut digits);
            scale = self.at - first;
            plain_integer = false;
            if scale == 0 {
                return Err(Unusual);
            }
        }
        let mut long = whole + scale > SAFE_DIGITS;
        if matches!(self.next(), b'e' | b'E') {
            (long, plain_integer) = (true, false);
            self.at += 1;
            self.at += usize::from(matches!(self.next(), b'+' | b'-'));
            let first = self.at;
            self.digits(&mut 0);
            if self.at == first {
                return Err(Unusual);
            }
        }
        Ok(Number { raw: self.since(start), negative, digits, scale, plain_integer, long })
    }

    #[inline]
    fn digits(&mut self, value: &mut u64) {
        loop {
            let digit = self.next().wrapping_sub(b'0');
            if digit > 9 {
                return;
            }
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
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
    pub(crate) fn skip(&mut self, depth: usize) -> Outcome<&'a [u8]> {
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
                    return Ok(self.since(start));
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
                if !self.number()?.is_double() {
                    return Err(Unusual);
                }
            }
        }
        Ok(self.since(start))
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

/// Where the next quote, backslash or control character is.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<CHUNK>()) {
        let found = specials(chunk);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / BITS_PER_BYTE);
        }
        at += CHUNK;
    }
    let rest = bytes.get(at..)?;
    Some(at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?)
}

#[cfg(target_arch = "x86_64")]
const CHUNK: usize = 16;
#[cfg(target_arch = "x86_64")]
const BITS_PER_BYTE: usize = 1;

/// A bit for each quote, backslash and control character. Half of decoding is looking for these: sixteen
/// bytes at a time halved the time of strings against eight in one integer.
#[cfg(target_arch = "x86_64")]
#[inline]
fn specials(chunk: &[u8; CHUNK]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86_64, and the load is unaligned from sixteen bytes that are borrowed.
    let found = unsafe {
        let text = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let quote = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1f)), text);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control))
    };
    found.cast_unsigned()
}

#[cfg(not(target_arch = "x86_64"))]
const CHUNK: usize = 8;
#[cfg(not(target_arch = "x86_64"))]
const BITS_PER_BYTE: usize = 8;

/// The same by eight bytes in one integer ("Bit Twiddling Hacks", S. E. Anderson: a byte less than n). The
/// lowest mark is always a true one.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn specials(chunk: &[u8; CHUNK]) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(*chunk);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    ((quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGH
}
