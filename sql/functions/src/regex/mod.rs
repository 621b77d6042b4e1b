//! PostgreSQL's regular expressions, found as POSIX does: leftmost, then longest or shortest.

mod bracket;
mod cache;
mod escape;
mod options;
mod similar;
mod translate;

use std::cell::RefCell;

use ebap_values::{Result, ValueError};
use regex_automata::meta;
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, MatchKind, Span};

pub(crate) use cache::Patterns;
pub(crate) use options::Options;
pub(crate) use similar::similar_to_regex;

/// Bytes that the program of one pattern may take.
const MAX_SIZE: usize = 4 << 20;

/// A compiled pattern.
pub(crate) struct Pattern {
    quick: meta::Regex,
    exact: Option<Exact>,
    groups: usize,
}

/// Finds the end that PostgreSQL chooses where the quick engine may choose another one.
struct Exact {
    vm: PikeVM,
    cache: RefCell<pikevm::Cache>,
    shortest: bool,
}

/// Where a match and its groups are, in bytes.
pub(crate) struct Found {
    slots: Vec<Option<NonMaxUsize>>,
}

impl Found {
    pub(crate) fn start(&self) -> usize {
        self.slot(0).unwrap_or(0)
    }

    pub(crate) fn end(&self) -> usize {
        self.slot(1).unwrap_or(0)
    }

    /// The text of a group; 0 is the whole match.
    pub(crate) fn group<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        text.get(self.slot(index * 2)?..self.slot(index * 2 + 1)?)
    }

    /// Where a group is.
    pub(crate) fn span(&self, index: usize) -> Option<(usize, usize)> {
        Some((self.slot(index * 2)?, self.slot(index * 2 + 1)?))
    }

    fn slot(&self, at: usize) -> Option<usize> {
        self.slots.get(at).copied().flatten().map(NonMaxUsize::get)
    }
}

impl Pattern {
    pub(crate) fn compile(pattern: &str, options: &Options) -> Result<Self> {
        let translated = translate::translate(pattern, options)?;
        let config = meta::Config::new().nfa_size_limit(Some(MAX_SIZE)).onepass_size_limit(Some(MAX_SIZE));
        let quick = meta::Builder::new()
            .configure(config)
            .build(&translated.text)
            .map_err(|e| if e.size_limit().is_some() { too_complex() } else { invalid(&e.to_string()) })?;
        let exact = if translated.first_is_right { None } else { Some(Exact::compile(&translated)?) };
        let groups = quick.captures_len().saturating_sub(1);
        Ok(Self { quick, exact, groups })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.quick.is_match(text)
    }

    /// How many groups in parentheses there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// The first match that begins at `from` or behind it.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<Found> {
        if from > text.len() {
            return None;
        }
        let input = Input::new(text).span(Span { start: from, end: text.len() });
        let mut slots = vec![None; (self.groups + 1) * 2];
        let Some(exact) = &self.exact else {
            self.quick.search_slots(&input, &mut slots)?;
            return Some(Found { slots });
        };
        let start = self.quick.find(input.clone())?.start();
        let from_start = input.span(Span { start, end: text.len() }).anchored(Anchored::Yes).earliest(exact.shortest);
        exact.vm.search_slots(&mut exact.cache.borrow_mut(), &from_start, &mut slots)?;
        Some(Found { slots })
    }

    /// All matches, as PostgreSQL goes on behind each: an empty one moves by a character.
    pub(crate) fn all<'p, 't>(&'p self, text: &'t str, from: usize) -> Matches<'p, 't> {
        Matches { pattern: self, text, next: Some(from) }
    }
}

impl Exact {
    fn compile(translated: &translate::Translated) -> Result<Self> {
        // Every way to match is followed, so that the last one found is the longest.
        let config = PikeVM::config().match_kind(MatchKind::All);
        let vm = PikeVM::builder().configure(config).build(&translated.text);
        let vm = vm.map_err(|e| invalid(&e.to_string()))?;
        let cache = RefCell::new(vm.create_cache());
        Ok(Self { vm, cache, shortest: translated.shortest })
    }
}

/// The matches of a pattern in a text.
pub(crate) struct Matches<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    next: Option<usize>,
}

impl Iterator for Matches<'_, '_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let found = self.pattern.find(self.text, self.next?)?;
        self.next = if found.end() > found.start() {
            Some(found.end())
        } else {
            let rest = self.text.get(found.end()..).and_then(|rest| rest.chars().next());
            rest.map(|c| found.end() + c.len_utf8())
        };
        Some(found)
    }
}

/// 2201B.
pub(crate) fn invalid(reason: &str) -> ValueError {
    ValueError::new("2201B", format!("invalid regular expression: {reason}"))
}

fn too_complex() -> ValueError {
    invalid("regular expression is too complex")
}

#[cfg(test)]
mod tests;
