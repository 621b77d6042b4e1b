//! Parts of a value: members of objects, items of arrays, and paths of them.

use super::read::{Kind, Node, unescaped};
use super::{Json, key_order};
use crate::Result;

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Of an object alone.
    Key(&'a str),
    /// Of an array alone; from its end where it is negative.
    Index(i32),
    /// A key of an object, or a number that counts in an array.
    Either(&'a str),
}

impl Step<'_> {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) | Self::Either(key) => Some(key),
            Self::Index(_) => None,
        }
    }

    fn place(&self, length: usize) -> Option<usize> {
        match self {
            Self::Key(_) => None,
            Self::Index(index) => place(*index, length),
            Self::Either(text) => place(index(text)?, length),
        }
    }
}

/// Digits as C's `strtol` reads them, to the end of the text.
pub(super) fn index(text: &str) -> Option<i32> {
    let digits = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    digits.parse().ok()
}

fn place(index: i32, length: usize) -> Option<usize> {
    let at = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { length.checked_sub(at) } else { Some(at).filter(|at| *at < length) }
}

impl<'a> Node<'a> {
    /// The part that a path leads to. Of members with one key the last one counts.
    ///
    /// # Errors
    /// Of an escape in a key that stands for no character.
    pub fn find(&self, path: &[Step<'_>]) -> Result<Option<&Self>> {
        let Some((step, rest)) = path.split_first() else { return Ok(Some(self)) };
        match &self.kind {
            Kind::Object(members) => {
                let Some(wanted) = step.key() else { return Ok(None) };
                let mut found = None;
                for (key, value) in members {
                    if unescaped(key)? == wanted
                        && let Some(inner) = value.find(rest)?
                    {
                        found = Some(inner);
                    }
                }
                Ok(found)
            }
            Kind::Array(items) => match step.place(items.len()) {
                Some(at) => items[at].find(rest),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// What `->>` gives: the characters of a string, nothing for null, else as it is written.
    ///
    /// # Errors
    /// Of an escape that stands for no character.
    pub fn to_text(&self) -> Result<Option<String>> {
        match self.kind {
            Kind::Null => Ok(None),
            Kind::String => unescaped(self.text).map(Some),
            _ => Ok(Some(self.text.to_owned())),
        }
    }
}

impl Json {
    /// The member of an object.
    pub fn member(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.binary_search_by(|(own, _)| key_order(own, key)).ok().map(|at| &members[at].1)
    }

    /// The part that a path leads to.
    pub fn find(&self, path: &[Step<'_>]) -> Option<&Self> {
        path.iter().try_fold(self, |value, step| match value {
            Self::Object(_) => step.key().and_then(|key| value.member(key)),
            Self::Array(items) => step.place(items.len()).map(|at| &items[at]),
            _ => None,
        })
    }

    /// `?`: a key of an object, a string in an array, or the string itself.
    pub fn has(&self, text: &str) -> bool {
        match self {
            Self::Object(_) => self.member(text).is_some(),
            Self::Array(items) => items.iter().any(|item| matches!(item, Self::String(own) if own == text)),
            Self::String(own) => own == text,
            _ => false,
        }
    }

    /// `@>`. An array also contains a scalar that is among its items.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(items), scalar) if scalar.is_scalar() => items.iter().any(|item| item.is_equal(scalar)),
            _ => self.contains_alike(other),
        }
    }

    fn contains_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(_), Self::Object(members)) => {
                members.iter().all(|(key, wanted)| self.member(key).is_some_and(|own| own.contains_alike(wanted)))
            }
            (Self::Array(own), Self::Array(wanted)) => {
                wanted.iter().all(|wanted| own.iter().any(|item| item.contains_alike(wanted)))
            }
            _ => self.is_scalar() && other.is_scalar() && self.is_equal(other),
        }
    }

    fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            _ => false,
        }
    }
}
