//! Splits the text of a date, time or interval into fields, and knows their words.

/// What a field looks like, before anything is known of its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Date,
    Time,
    /// A sign and digits: an offset, or a signed number.
    Signed,
    /// A sign and letters, such as `-infinity`.
    Special,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) kind: Kind,
    /// In lower case.
    pub(super) text: String,
}

/// PostgreSQL takes no more fields than this.
const MAX_FIELDS: usize = 25;
/// PostgreSQL takes no longer text than this.
const MAX_LENGTH: usize = 128;

/// None is a character that no date, time or interval has, or more than PostgreSQL takes.
pub(super) fn split_fields(text: &str) -> Option<Vec<Field>> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, field: String::new() };
    let mut fields = Vec::new();
    let mut length = 0;
    while let Some(byte) = reader.peek() {
        reader.field.clear();
        let kind = if byte.is_ascii_whitespace() || byte == b'\x0b' {
            reader.at += 1;
            continue;
        } else if byte.is_ascii_digit() {
            reader.number()
        } else if byte == b'.' {
            reader.take();
            reader.take_while(|b| b.is_ascii_digit());
            Kind::Number
        } else if byte.is_ascii_alphabetic() {
            reader.word()
        } else if byte == b'+' || byte == b'-' {
            reader.signed()?
        } else if byte.is_ascii_punctuation() {
            reader.at += 1;
            continue;
        } else {
            return None;
        };
        length += reader.field.len() + 1;
        if fields.len() == MAX_FIELDS || length > MAX_LENGTH {
            return None;
        }
        fields.push(Field { kind, text: std::mem::take(&mut reader.field) });
    }
    Some(fields)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    field: String,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn peek_is(&self, test: impl Fn(u8) -> bool) -> bool {
        self.peek().is_some_and(test)
    }

    fn take(&mut self) {
        if let Some(byte) = self.peek() {
            self.field.push(char::from(byte.to_ascii_lowercase()));
            self.at += 1;
        }
    }

    fn take_while(&mut self, test: impl Fn(u8) -> bool) {
        while self.peek_is(&test) {
            self.take();
        }
    }

    /// A field that begins with a digit: a number, a time or a date.
    fn number(&mut self) -> Kind {
        self.take_while(|b| b.is_ascii_digit());
        let delimiter = match self.peek() {
            Some(b':') => {
                self.take_while(|b| b.is_ascii_digit() || b == b':' || b == b'.');
                return Kind::Time;
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => delimiter,
            _ => return Kind::Number,
        };
        self.take();
        if !self.peek_is(|b| b.is_ascii_digit()) {
            self.take_while(|b| b.is_ascii_alphanumeric() || b == delimiter);
            return Kind::Date;
        }
        self.take_while(|b| b.is_ascii_digit());
        if self.peek() == Some(delimiter) {
            self.take_while(|b| b.is_ascii_digit() || b == delimiter);
            return Kind::Date;
        }
        if delimiter == b'.' { Kind::Number } else { Kind::Date }
    }

    /// A field that begins with a letter: a word, a date with a month's name, or a zone's name.
    fn word(&mut self) -> Kind {
        self.take_while(|b| b.is_ascii_alphabetic());
        let goes_on = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            // `jan5` is a date, but `t040506` is the word `t` and a number.
            Some(b) if b == b'+' || b.is_ascii_digit() => date_word(&self.field).is_none(),
            _ => false,
        };
        if !goes_on {
            return Kind::Text;
        }
        self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b':'));
        Kind::Date
    }

    fn signed(&mut self) -> Option<Kind> {
        self.take();
        while self.peek_is(|b| b.is_ascii_whitespace() || b == b'\x0b') {
            self.at += 1;
        }
        if self.peek_is(|b| b.is_ascii_digit()) {
            self.take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
            return Some(Kind::Signed);
        }
        if self.peek_is(|b| b.is_ascii_alphabetic()) {
            self.take_while(|b| b.is_ascii_alphabetic());
            return Some(Kind::Special);
        }
        None
    }
}

/// What a word means in a date or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateWord {
    Ignore,
    Month(i64),
    Weekday,
    Am,
    Pm,
    Ad,
    Bc,
    Epoch,
    Infinity,
    NegInfinity,
    /// `now`, `today`, `tomorrow` or `yesterday`: known only to a clock.
    Clock,
    /// Midnight in UTC.
    Allballs,
    Julian,
    /// The `T` between a date and a time.
    IsoTime,
    /// `dst` after an abbreviation.
    DaylightSaving,
    /// A unit that labels the number after it.
    Unit,
}

pub(super) fn date_word(word: &str) -> Option<DateWord> {
    Some(match word {
        "at" | "on" => DateWord::Ignore,
        "am" => DateWord::Am,
        "pm" => DateWord::Pm,
        "ad" => DateWord::Ad,
        "bc" => DateWord::Bc,
        "epoch" => DateWord::Epoch,
        "infinity" => DateWord::Infinity,
        "-infinity" => DateWord::NegInfinity,
        "now" | "today" | "tomorrow" | "yesterday" => DateWord::Clock,
        "allballs" => DateWord::Allballs,
        "j" | "jd" | "julian" => DateWord::Julian,
        "t" => DateWord::IsoTime,
        "dst" => DateWord::DaylightSaving,
        "d" | "h" | "m" | "mm" | "s" | "y" | "dow" | "doy" | "isodow" | "isoyear" => DateWord::Unit,
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "wednesday" | "weds" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => DateWord::Weekday,
        _ => DateWord::Month(month(word)?),
    })
}

fn month(word: &str) -> Option<i64> {
    Some(match word {
        "jan" | "january" => 1,
        "feb" | "february" => 2,
        "mar" | "march" => 3,
        "apr" | "april" => 4,
        "may" => 5,
        "jun" | "june" => 6,
        "jul" | "july" => 7,
        "aug" | "august" => 8,
        "sep" | "sept" | "september" => 9,
        "oct" | "october" => 10,
        "nov" | "november" => 11,
        "dec" | "december" => 12,
        _ => return None,
    })
}
