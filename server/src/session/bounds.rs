//! How long and how deep a statement may be.
//!
//! A parser goes as deep as its text, and so does all that walks its trees: planning, printing, even
//! letting go of them. A text that is too deep for the stack would end the server, so each is looked at
//! before it is parsed, by a scan that needs no memory.

use ebap_sql::Parsed;

use super::Result;
use crate::pgwire::sqlstate::SqlError;

/// Words, numbers, literals and signs of a text, at the most: each takes a hundred bytes and more.
const WORDS_MAX: usize = 500_000;
/// Statements of one text, at the most.
const STATEMENTS_MAX: usize = 10_000;
/// Parentheses within each other, at the most.
const DEPTH_MAX: usize = 1_000;
/// Conditions put together by `AND` and `OR`, at the most: `a OR b OR c` is a tree as deep as it is long.
const CONDITIONS_MAX: usize = 1_000;
/// Square brackets within each other, at the most: the parser reads each twice, and PostgreSQL knows six dimensions.
const ARRAYS_MAX: usize = 40;
/// `CASE` within each other, at the most: the parser reads one that is not right more than once.
const CASES_MAX: usize = 40;
/// Calls with a `CASE` in them within each other, at the most: DataFusion asks twice for the type of each.
const CALLS_OF_CASES_MAX: usize = 12;
/// `coalesce` and the like within each other, at the most: DataFusion writes their first value twice.
const COALESCES_MAX: usize = 12;
/// Operators in one condition or value, at the most. What a deep one means takes longer to find.
const OPERATORS_MAX: usize = 200;
/// Queries within each other, at the most: DataFusion walks each one twice for the one around it.
const SUBQUERIES_MAX: usize = 14;
/// Queries put together by `UNION` and the like, and relations joined, at the most.
const QUERIES_MAX: usize = 200;

/// Every statement of the text.
///
/// # Errors
/// 54000 and 54001 where it is longer or deeper than may be; those of `ebap_sql::parse`.
pub(crate) fn parse(text: &str) -> Result<Vec<Parsed>> {
    check(text)?;
    Ok(ebap_sql::parse(text)?)
}

fn check(text: &str) -> Result<()> {
    let mut scan = Scan { rest: text.as_bytes(), words: 0, statements: 1, levels: vec![Level::default()] };
    while let Some(token) = scan.next() {
        scan.take(token)?;
    }
    Ok(())
}

fn too_long(what: &str) -> SqlError {
    SqlError::new("54000", format!("the statement has too many {what}")).hint("Send it in parts.")
}

fn too_deep() -> SqlError {
    SqlError::new("54001", "the statement is nested too deeply")
        .hint("Write a long list of conditions as IN (...) or = ANY ($1).")
}

/// Counts within one pair of parentheses.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// `AND` and `OR` of the expression.
    conditions: usize,
    /// Other operators since the last of them.
    operators: usize,
    queries: usize,
    /// `CASE` without its `END`.
    cases: usize,
    /// It is one of square brackets.
    is_array: bool,
    /// It has a `SELECT`.
    is_query: bool,
    /// It has the arguments of `coalesce`.
    is_coalesce: bool,
    /// The word before is `coalesce`.
    calls_coalesce: bool,
}

enum Token<'a> {
    Word(&'a [u8]),
    Sign(u8),
    /// A run of operator characters.
    Operator,
    Literal,
}

struct Scan<'a> {
    rest: &'a [u8],
    words: usize,
    statements: usize,
    levels: Vec<Level>,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (first, after) = self.rest.split_first()?;
            match first {
                byte if byte.is_ascii_whitespace() => self.rest = after,
                b'-' if after.first() == Some(&b'-') => self.skip_past(b"\n"),
                b'/' if after.first() == Some(&b'*') => self.skip_comment(),
                b'\'' => return Some(self.quoted(b'\'', false)),
                b'"' => return Some(self.quoted(b'"', false)),
                b'$' => return Some(self.dollar()),
                byte if is_word(*byte) => return Some(self.word()),
                byte if b"+-*/<>=~!@#%^&|`?:".contains(byte) => {
                    // A comment may follow at once.
                    let run = after.iter().take_while(|byte| b"<>=~!@#%^&|`?:".contains(byte)).count();
                    self.rest = &after[run..];
                    return Some(Token::Operator);
                }
                byte => {
                    self.rest = after;
                    return Some(Token::Sign(*byte));
                }
            }
        }
    }

    /// Moves behind `end`, or to the end of the text.
    fn skip_past(&mut self, end: &[u8]) {
        let found = self.rest.windows(end.len()).position(|part| part == end);
        self.rest = found.map_or(&[], |at| &self.rest[at + end.len()..]);
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.rest {
                [b'/', b'*', after @ ..] => (depth, self.rest) = (depth + 1, after),
                [b'*', b'/', after @ ..] => (depth, self.rest) = (depth - 1, after),
                [_, after @ ..] => self.rest = after,
                [] => return,
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A literal or a name in quotes; a quote in it is doubled, or escaped where there are escapes.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Token<'a> {
        self.rest = self.rest.get(1..).unwrap_or(&[]);
        loop {
            match self.rest {
                [b'\\', _, after @ ..] if escapes => self.rest = after,
                [a, b, after @ ..] if *a == quote && *b == quote => self.rest = after,
                [a, after @ ..] => {
                    self.rest = after;
                    if *a == quote {
                        return Token::Literal;
                    }
                }
                [] => return Token::Literal,
            }
        }
    }

    /// `$1`, or a literal such as `$$text$$`.
    fn dollar(&mut self) -> Token<'a> {
        let tag = self.rest[1..].iter().take_while(|byte| is_word(**byte) && **byte != b'$').count();
        match self.rest.get(tag + 1) {
            Some(b'$') => {
                let (tag, after) = self.rest.split_at(tag + 2);
                self.rest = after;
                self.skip_past(tag);
            }
            _ => self.rest = &self.rest[tag + 1..],
        }
        Token::Literal
    }

    fn word(&mut self) -> Token<'a> {
        let length = self.rest.iter().take_while(|byte| is_word(**byte)).count();
        let (word, after) = self.rest.split_at(length);
        self.rest = after;
        match (word, after.first()) {
            (b"e" | b"E", Some(b'\'')) => self.quoted(b'\'', true),
            _ => Token::Word(word),
        }
    }

    fn take(&mut self, token: Token<'_>) -> Result<()> {
        self.words += 1;
        if self.words > WORDS_MAX {
            return Err(too_long("words"));
        }
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let top = self.levels.len() - 1;
        let level = &mut self.levels[top];
        match token {
            Token::Literal => {}
            Token::Operator => level.operators += 1,
            Token::Sign(b'(' | b'[' | b'{') => {
                let is_array = matches!(token, Token::Sign(b'['));
                let is_coalesce = std::mem::take(&mut level.calls_coalesce);
                self.levels.push(Level { is_array, is_coalesce, ..Level::default() });
                let count = |of: fn(&Level) -> bool| self.levels.iter().filter(|level| of(level)).count();
                let fits = top + 1 < DEPTH_MAX
                    && (!is_array || count(|level| level.is_array) <= ARRAYS_MAX)
                    && (!is_coalesce || count(|level| level.is_coalesce) <= COALESCES_MAX);
                return if fits { Ok(()) } else { Err(too_deep()) };
            }
            Token::Sign(b')' | b']' | b'}') => {
                self.levels.pop();
                return Ok(());
            }
            Token::Sign(b',') => (level.conditions, level.operators) = (0, 0),
            Token::Sign(b';') => {
                self.statements += 1;
                *level = Level::default();
                return if self.statements <= STATEMENTS_MAX { Ok(()) } else { Err(too_long("parts")) };
            }
            Token::Sign(_) => {}
            Token::Word(word) => level.word(word),
        }
        let is = |name: &[u8]| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(name));
        let count = |of: fn(&Level) -> bool| self.levels.iter().filter(|level| of(level)).count();
        if is(b"select") && count(|level| level.is_query) > SUBQUERIES_MAX
            || is(b"case") && count(|level| level.cases > 0) > CALLS_OF_CASES_MAX
        {
            return Err(too_deep());
        }
        let level = &self.levels[top];
        let (conditions, operators) = (level.conditions > CONDITIONS_MAX, level.operators > OPERATORS_MAX);
        match conditions || operators || level.queries > QUERIES_MAX || level.cases > CASES_MAX {
            true => Err(too_deep()),
            false => Ok(()),
        }
    }
}

impl Level {
    fn word(&mut self, word: &[u8]) {
        const CONDITIONS: [&[u8]; 2] = [b"and", b"or"];
        const OPERATORS: [&[u8]; 11] =
            [b"is", b"not", b"like", b"ilike", b"in", b"between", b"similar", b"collate", b"at", b"isnull", b"notnull"];
        const QUERIES: [&[u8]; 5] = [b"union", b"intersect", b"except", b"join", b"explain"];
        const CLAUSES: [&[u8]; 12] = [
            b"select", b"from", b"where", b"group", b"having", b"order", b"on", b"when", b"then", b"else", b"set",
            b"values",
        ];
        let is_one = |of: &[&[u8]]| of.iter().any(|one| one.eq_ignore_ascii_case(word));
        self.is_query |= is_one(&[b"select"]);
        self.calls_coalesce = is_one(&[b"coalesce", b"ifnull", b"nvl", b"nvl2"]);
        if is_one(&[b"case"]) {
            self.cases += 1;
        } else if is_one(&[b"end"]) {
            self.cases = self.cases.saturating_sub(1);
        }
        if is_one(&CONDITIONS) {
            self.conditions += 1;
            self.operators = 0;
        } else if is_one(&OPERATORS) {
            self.operators += 1;
        } else if is_one(&QUERIES) {
            self.queries += 1;
        } else if is_one(&CLAUSES) {
            (self.conditions, self.operators) = (0, 0);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.') || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<&'static str> {
        check(text).err().map(|error| error.code)
    }

    #[test]
    fn what_is_too_deep_is_refused_before_it_is_parsed() {
        let many = |first: &str, part: &str, count: usize| first.to_owned() + &part.repeat(count);
        for text in [
            many("SELECT ", "(", 100_000),
            many("SELECT a", " OR a", 1_000_000),
            many("SELECT a", "::int", 100_000),
            many("SELECT ", "- ", 100_000),
            many("SELECT a", " IS NULL", 100_000),
            many("SELECT 1", " UNION ALL SELECT 1", 100_000),
            many("SELECT * FROM a", " CROSS JOIN a", 100_000),
            many("SELECT a", "[1", 100_000),
            many("", "SELECT (", 15),
            many("SELECT 1", " WHERE EXISTS (SELECT 2", 15),
            many("SELECT ", "abs(CASE WHEN a THEN ", 15),
            many("SELECT ", "coalesce (", 15),
            many("", "EXPLAIN ", 100_000),
        ] {
            assert_eq!(code(&text), Some("54001"), "{}…", &text[..40]);
        }
        assert_eq!(code(&many("SELECT 1 IN (1", ", 1", 1_000_000)), Some("54000"));
        assert_eq!(code(&"SELECT 1;".repeat(100_000)), Some("54000"));
    }

    #[test]
    fn what_stands_in_quotes_and_comments_is_no_nesting() {
        let deep = "(".repeat(10_000);
        for text in [
            format!("SELECT '{deep}'''"),
            format!("SELECT E'\\'{deep}'"),
            format!("SELECT \"{deep}\""),
            format!("SELECT $${deep}$$, $tag$ $$ {deep} $tag$"),
            format!("SELECT 1 -- {deep}\n"),
            format!("SELECT 1 /* /* {deep} */ {deep} */"),
        ] {
            assert_eq!(code(&text), None, "{}…", &text[..20]);
        }
        assert_eq!(code(&format!("SELECT 1 IN ({})", vec!["-1"; 100_000].join(","))), None);
        assert_eq!(code("SELECT ')' FROM a) ) ; SELECT (1)"), None);
        assert_eq!(code(&format!("SELECT {}1", "coalesce(a, 1) + (".repeat(100))), None);
        assert_eq!(code("SELECT '\\' || '(' /* no end"), None);
    }
}
