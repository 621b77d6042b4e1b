//! SIMILAR TO, whose patterns become regular expressions.

use ebap_values::{Result, ValueError};

/// The regular expression of a pattern. An empty escape means that there is none.
///
/// Two escaped double quotes part the pattern in three; the group between them is what SUBSTRING takes.
pub(crate) fn similar_to_regex(pattern: &str, escape: &str) -> Result<String> {
    let mut letters = escape.chars();
    let escape = letters.next();
    if letters.next().is_some() {
        return Err(ValueError::new("22025", "invalid escape string"));
    }
    let mut similar = Similar { escape, parts: parts(pattern, escape), ..Similar::default() };
    similar.out.push_str("^(?:");
    for c in pattern.chars() {
        similar.push(c)?;
    }
    similar.out.push_str(")$");
    Ok(similar.out)
}

#[derive(Default)]
struct Similar {
    out: String,
    escape: Option<char>,
    escaped: bool,
    in_class: bool,
    quotes: usize,
    parts: usize,
}

impl Similar {
    fn push(&mut self, c: char) -> Result<()> {
        if self.escaped {
            self.escaped = false;
            return self.push_escaped(c);
        }
        if Some(c) == self.escape {
            self.escaped = true;
            return Ok(());
        }
        if self.in_class {
            self.in_class = c != ']';
            self.push_in_class(c);
            return Ok(());
        }
        match c {
            '[' => {
                self.in_class = true;
                self.out.push('[');
            }
            '%' => self.out.push_str(if self.is_before() { ".*?" } else { ".*" }),
            '_' => self.out.push('.'),
            '(' => self.out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => {
                self.out.push('\\');
                self.out.push(c);
            }
            '*' | '+' | '?' | '}' if self.is_before() => {
                self.out.push(c);
                self.out.push('?');
            }
            c => self.out.push(c),
        }
        Ok(())
    }

    /// Whether this is before the part that is wanted, where all take as little as they can.
    fn is_before(&self) -> bool {
        self.parts > 1 && self.quotes == 0
    }

    fn push_in_class(&mut self, c: char) {
        if c == '\\' {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn push_escaped(&mut self, c: char) -> Result<()> {
        if c != '"' || self.in_class {
            self.out.push('\\');
            self.out.push(c);
            return Ok(());
        }
        self.out.push_str(match self.quotes {
            0 => ")(",
            1 => ")(?:",
            _ => {
                let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                return Err(ValueError::new("2200C", message));
            }
        });
        self.quotes += 1;
        Ok(())
    }
}

/// How many parts escaped double quotes make.
fn parts(pattern: &str, escape: Option<char>) -> usize {
    let Some(escape) = escape else { return 1 };
    let (mut count, mut escaped) = (1, false);
    for c in pattern.chars() {
        count += usize::from(escaped && c == '"');
        escaped = !escaped && c == escape;
    }
    count
}
