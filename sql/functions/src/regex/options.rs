//! The letters that change what a regular expression means.

use ebap_values::{Result, ValueError};

/// The options of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Options {
    pub(crate) ignore_case: bool,
    /// The text is taken as it is.
    pub(crate) literal: bool,
    /// Blanks and comments in the pattern mean nothing.
    pub(crate) expanded: bool,
    /// `.` and `[^…]` stop at a newline.
    pub(crate) stop_at_newline: bool,
    /// `^` and `$` are at every line.
    pub(crate) anchors_at_lines: bool,
    /// All matches and not the first alone. Only functions that replace or split know it.
    pub(crate) global: bool,
}

impl Options {
    /// The options of a function's last argument. 22023 for another letter.
    pub(crate) fn parse(flags: &str) -> Result<Self> {
        let mut options = Self::default();
        for letter in flags.chars() {
            if letter == 'g' {
                options.global = true;
            } else if !options.set(letter)? {
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(ValueError::new("22023", message));
            }
        }
        Ok(options)
    }

    /// Sets one option; false if there is none of this letter.
    pub(crate) fn set(&mut self, letter: char) -> Result<bool> {
        match letter {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'q' => self.literal = true,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'n' | 'm' => self.lines(true, true),
            'p' => self.lines(true, false),
            'w' => self.lines(false, true),
            's' => self.lines(false, false),
            // Extended expressions are advanced ones without escapes that nobody means literally.
            'e' => {}
            'b' => return Err(ValueError::unsupported("basic regular expressions")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lines(&mut self, stop: bool, anchors: bool) {
        self.stop_at_newline = stop;
        self.anchors_at_lines = anchors;
    }
}
