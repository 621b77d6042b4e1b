//! Values made of others: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, `jsonb_strip_nulls`.

use super::{Json, find::index};
use crate::{Result, ValueError};

/// What happens at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Delete,
    /// Where there is a value.
    Replace,
    /// Or adds it.
    Set,
    /// Before an item of an array, or as a new member.
    InsertBefore,
    InsertAfter,
}

impl Change {
    fn adds(self) -> bool {
        matches!(self, Self::Set | Self::InsertBefore | Self::InsertAfter)
    }

    fn inserts(self) -> bool {
        matches!(self, Self::InsertBefore | Self::InsertAfter)
    }
}

fn refused(message: &str) -> ValueError {
    ValueError::new("22023", message)
}

impl Json {
    fn into_items(self) -> Vec<Self> {
        match self {
            Self::Array(items) => items,
            other => vec![other],
        }
    }

    /// `||`: objects are merged, all else is put into one array.
    #[must_use]
    pub fn concat(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object(mut left), Self::Object(right)) => {
                left.extend(right);
                Self::object(left)
            }
            (left, right) => {
                let mut items = left.into_items();
                items.extend(right.into_items());
                Self::Array(items)
            }
        }
    }

    /// Without these keys of an object, or these strings of an array.
    ///
    /// # Errors
    /// 22023 for a scalar.
    pub fn without(self, keys: &[&str]) -> Result<Self> {
        let gone = |key: &str| keys.contains(&key);
        Ok(match self {
            Self::Object(members) => Self::Object(members.into_iter().filter(|(key, _)| !gone(key)).collect()),
            Self::Array(items) => {
                let stays = |item: &Self| !matches!(item, Self::String(text) if gone(text));
                Self::Array(items.into_iter().filter(stays).collect())
            }
            _ => return Err(refused("cannot delete from scalar")),
        })
    }

    /// Without this item of an array.
    ///
    /// # Errors
    /// 22023 for what is no array.
    pub fn without_item(self, index: i32) -> Result<Self> {
        match self {
            Self::Array(mut items) => {
                if let Some(at) = whole_place(index, items.len()).filter(|at| *at < items.len()) {
                    items.remove(at);
                }
                Ok(Self::Array(items))
            }
            Self::Object(_) => Err(refused("cannot delete from object using integer index")),
            _ => Err(refused("cannot delete from scalar")),
        }
    }

    /// Changes what a path leads to.
    ///
    /// # Errors
    /// 22023 for a scalar, 22P02 for a step within an array that is no number, 22004 for one that is NULL.
    pub fn changed(self, path: &[Option<&str>], change: Change, new: &Self) -> Result<Self> {
        if self.is_scalar() {
            let what = if change == Change::Delete { "delete path" } else { "set path" };
            return Err(refused(&format!("cannot {what} in scalar")));
        }
        let empty = matches!(&self, Self::Array(items) if items.is_empty())
            || matches!(&self, Self::Object(members) if members.is_empty());
        if path.is_empty() || empty && !change.adds() {
            return Ok(self);
        }
        Path { steps: path, change, new }.applied(self, 0)
    }

    /// Without the members of objects that are null.
    #[must_use]
    pub fn without_nulls(self) -> Self {
        match self {
            Self::Array(items) => Self::Array(items.into_iter().map(Self::without_nulls).collect()),
            Self::Object(members) => {
                let members = members.into_iter().filter(|(_, value)| !matches!(value, Self::Null));
                Self::Object(members.map(|(key, value)| (key, value.without_nulls())).collect())
            }
            scalar => scalar,
        }
    }
}

/// None where it is before the first item.
fn whole_place(index: i32, length: usize) -> Option<usize> {
    let at = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { length.checked_sub(at) } else { Some(at) }
}

struct Path<'a> {
    steps: &'a [Option<&'a str>],
    change: Change,
    new: &'a Json,
}

impl Path<'_> {
    fn applied(&self, value: Json, level: usize) -> Result<Json> {
        let Some(step) = self.steps.get(level) else { return Ok(value) };
        let null = || ValueError::new("22004", format!("path element at position {} is null", level + 1));
        let step = step.ok_or_else(null)?;
        match value {
            Json::Object(members) => self.in_object(members, step, level),
            Json::Array(items) => self.in_array(items, step, level),
            scalar => Ok(scalar),
        }
    }

    fn is_last(&self, level: usize) -> bool {
        level + 1 == self.steps.len()
    }

    fn in_object(&self, mut members: Vec<(String, Json)>, key: &str, level: usize) -> Result<Json> {
        let found = members.iter().position(|(own, _)| own == key);
        match found {
            Some(_) if self.is_last(level) && self.change.inserts() => {
                return Err(refused("cannot replace existing key"));
            }
            Some(at) if self.is_last(level) && self.change == Change::Delete => {
                members.remove(at);
            }
            Some(at) if self.is_last(level) => members[at].1 = self.new.clone(),
            Some(at) => {
                let inner = std::mem::replace(&mut members[at].1, Json::Null);
                members[at].1 = self.applied(inner, level + 1)?;
            }
            None if self.is_last(level) && self.change.adds() => members.push((key.to_owned(), self.new.clone())),
            None => {}
        }
        Ok(Json::object(members))
    }

    fn in_array(&self, mut items: Vec<Json>, step: &str, level: usize) -> Result<Json> {
        let not_a_number = || {
            let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
            ValueError::new("22P02", message)
        };
        let place = whole_place(index(step).ok_or_else(not_a_number)?, items.len());
        match place {
            Some(at) if at < items.len() && !self.is_last(level) => {
                let inner = std::mem::replace(&mut items[at], Json::Null);
                items[at] = self.applied(inner, level + 1)?;
            }
            Some(at) if at < items.len() => match self.change {
                Change::Delete => {
                    items.remove(at);
                }
                Change::Replace | Change::Set => items[at] = self.new.clone(),
                Change::InsertBefore => items.insert(at, self.new.clone()),
                Change::InsertAfter => items.insert(at + 1, self.new.clone()),
            },
            Some(_) if self.is_last(level) && self.change.adds() => items.push(self.new.clone()),
            None if self.is_last(level) && self.change.adds() => items.insert(0, self.new.clone()),
            _ => {}
        }
        Ok(Json::Array(items))
    }
}
