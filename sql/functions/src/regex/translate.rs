//! PostgreSQL's advanced regular expressions in the syntax of the engine.

use ebap_values::{Result, ValueError};

use super::options::Options;
use super::{bracket, escape, invalid};

/// The most that `{m,n}` may count to.
const MAX_REPEAT: u32 = 255;

/// Groups within groups; deeper ones would take too much of the stack to compile.
const MAX_DEPTH: usize = 200;

/// A pattern for the engine, and which of its matches is PostgreSQL's.
pub(super) struct Translated {
    pub(super) text: String,
    /// The engine's first match is the one that PostgreSQL finds.
    pub(super) first_is_right: bool,
    /// The whole expression prefers the shortest match.
    pub(super) shortest: bool,
}

pub(super) fn translate(pattern: &str, options: &Options) -> Result<Translated> {
    let mut options = options.clone();
    let pattern = directors(pattern, &mut options)?;
    let mut translator = Translator::new(pattern, options);
    if translator.options.literal {
        for c in pattern.chars() {
            escape::push_literal(c, &mut translator.out);
        }
    } else {
        translator.run()?;
    }
    Ok(translator.finish())
}

/// What may stand at the beginning: `***=`, `***:` and `(?letters)`.
fn directors<'p>(pattern: &'p str, options: &mut Options) -> Result<&'p str> {
    if let Some(rest) = pattern.strip_prefix("***=") {
        options.literal = true;
        return Ok(rest);
    }
    let rest = pattern.strip_prefix("***:").unwrap_or(pattern);
    if rest.starts_with("***") {
        return Err(invalid("quantifier operand invalid"));
    }
    let Some((letters, behind)) = rest.strip_prefix("(?").and_then(|r| r.split_once(')')) else { return Ok(rest) };
    if letters.is_empty() || !letters.chars().all(|c| c.is_ascii_alphabetic()) {
        return Ok(rest);
    }
    for letter in letters.chars() {
        if !options.set(letter)? {
            return Err(invalid("invalid embedded option"));
        }
    }
    Ok(behind)
}

/// What a branch prefers, by its first quantifier that prefers anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preference {
    None,
    Longest,
    Shortest,
}

/// A group that is open: the preference of its branch so far, and whether it has more than one.
struct Level {
    branch: Preference,
    alternatives: bool,
}

struct Translator<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    options: Options,
    out: String,
    levels: Vec<Level>,
    /// What the atom before a quantifier prefers of itself; None where there is no atom.
    atom: Option<Preference>,
    variable: usize,
    branches: usize,
    lazy: bool,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str, options: Options) -> Self {
        let mut out = String::from(if options.stop_at_newline { "(?-s)" } else { "(?s)" });
        if options.anchors_at_lines {
            out.push_str("(?m)");
        }
        if options.ignore_case {
            out.push_str("(?i)");
        }
        let levels = vec![Level { branch: Preference::None, alternatives: false }];
        let rest = pattern.chars().peekable();
        Self { rest, options, out, levels, atom: None, variable: 0, branches: 0, lazy: false }
    }

    fn finish(self) -> Translated {
        let shortest = self.levels.first().is_some_and(|l| !l.alternatives && l.branch == Preference::Shortest);
        // One greedy quantifier leaves one longest match; more can compete, as branches can.
        let first_is_right = self.branches == 0 && self.variable <= 1 && !self.lazy;
        Translated { text: self.out, first_is_right, shortest }
    }

    fn run(&mut self) -> Result<()> {
        while let Some(c) = self.rest.next() {
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => self.branch(),
                '*' | '+' | '?' => self.quantify(&c.to_string())?,
                '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => self.repeat()?,
                '[' => {
                    bracket::translate(&mut self.rest, &self.options, &mut self.out)?;
                    self.atom = Some(Preference::None);
                }
                '\\' => {
                    let is_atom = escape::translate(&mut self.rest, &mut self.out)?;
                    self.atom = is_atom.then_some(Preference::None);
                }
                '^' | '$' => {
                    self.out.push(c);
                    self.atom = None;
                }
                '.' => {
                    self.out.push('.');
                    self.atom = Some(Preference::None);
                }
                c if self.options.expanded && c.is_ascii_whitespace() => {}
                '#' if self.options.expanded => while self.rest.next_if(|c| *c != '\n').is_some() {},
                c => {
                    escape::push_literal(c, &mut self.out);
                    self.atom = Some(Preference::None);
                }
            }
        }
        if self.levels.len() == 1 { Ok(()) } else { Err(invalid("parentheses () not balanced")) }
    }

    fn open(&mut self) -> Result<()> {
        if self.rest.next_if_eq(&'?').is_none() {
            self.out.push('(');
        } else {
            match self.rest.next() {
                Some(':') => self.out.push_str("(?:"),
                Some('#') => {
                    while self.rest.next_if(|c| *c != ')').is_some() {}
                    return self.rest.next().map(|_| ()).ok_or_else(|| invalid("parentheses () not balanced"));
                }
                Some('=' | '!' | '<') => {
                    return Err(ValueError::unsupported("lookahead and lookbehind in a regular expression"));
                }
                _ => return Err(invalid("quantifier operand invalid")),
            }
        }
        if self.levels.len() > MAX_DEPTH {
            return Err(invalid("regular expression is too complex"));
        }
        self.levels.push(Level { branch: Preference::None, alternatives: false });
        self.atom = None;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let level = self.levels.pop().filter(|_| !self.levels.is_empty());
        let level = level.ok_or_else(|| invalid("parentheses () not balanced"))?;
        self.out.push(')');
        let inner = if level.alternatives { Preference::Longest } else { level.branch };
        self.prefer(inner);
        self.atom = Some(inner);
        Ok(())
    }

    fn branch(&mut self) {
        self.out.push('|');
        self.branches += 1;
        self.atom = None;
        if let Some(level) = self.levels.last_mut() {
            level.alternatives = true;
        }
    }

    fn prefer(&mut self, what: Preference) {
        if let Some(level) = self.levels.last_mut()
            && level.branch == Preference::None
        {
            level.branch = what;
        }
    }

    fn quantify(&mut self, quantifier: &str) -> Result<()> {
        if self.atom.take().is_none() {
            return Err(invalid("quantifier operand invalid"));
        }
        self.out.push_str(quantifier);
        self.variable += 1;
        let lazy = self.rest.next_if_eq(&'?').is_some();
        if lazy {
            self.out.push('?');
            self.lazy = true;
        }
        self.prefer(if lazy { Preference::Shortest } else { Preference::Longest });
        Ok(())
    }

    /// `{m}`, `{m,}` or `{m,n}`.
    fn repeat(&mut self) -> Result<()> {
        let least = self.number()?;
        let fixed = self.rest.next_if_eq(&',').is_none();
        let most = if fixed {
            Some(least)
        } else if self.rest.peek() == Some(&'}') {
            None
        } else {
            Some(self.number()?)
        };
        if self.rest.next() != Some('}') || most.is_some_and(|most| most < least) {
            return Err(invalid("invalid repetition count(s)"));
        }
        if fixed {
            // So many of them is no choice, and a question mark behind it changes nothing.
            let atom = self.atom.take().ok_or_else(|| invalid("quantifier operand invalid"))?;
            self.rest.next_if_eq(&'?');
            self.out.push_str(&format!("{{{least}}}"));
            self.prefer(atom);
            return Ok(());
        }
        self.quantify(&match most {
            Some(most) => format!("{{{least},{most}}}"),
            None => format!("{{{least},}}"),
        })
    }

    fn number(&mut self) -> Result<u32> {
        let (mut value, mut digits) = (0_u32, 0);
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            value = value.saturating_mul(10).saturating_add(digit.to_digit(10).unwrap_or(0));
            digits += 1;
        }
        if digits == 0 || value > MAX_REPEAT {
            return Err(invalid("invalid repetition count(s)"));
        }
        Ok(value)
    }
}
