//! What a session keeps for its client between messages, and how much of it there may be.

use std::collections::HashMap;

use pgwire::api::DEFAULT_NAME;

use super::sqlstate::SqlError;

/// Each holds a plan, so many of them would be a client's way to fill the memory.
const STATEMENTS_MAX: usize = 5_000;
/// Each may be a query that runs.
const PORTALS_MAX: usize = 500;

/// Names of prepared statements and portals, with the bytes of their texts and parameters.
#[derive(Debug)]
pub(super) struct Kept {
    statements: HashMap<String, usize>,
    portals: HashMap<String, usize>,
    /// Of all texts, and of all parameters.
    bytes_max: usize,
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { statements: HashMap::new(), portals: HashMap::new(), bytes_max }
    }

    /// # Errors
    /// 53400 where there are as many as there may be.
    pub(super) fn room_for_statement(&self, name: &str, bytes: usize) -> Result<(), SqlError> {
        match fits(&self.statements, name, bytes, (STATEMENTS_MAX, self.bytes_max)) {
            true => Ok(()),
            false => Err(SqlError::new("53400", "too many prepared statements in this session")
                .hint("Close those that are done with, or use DEALLOCATE ALL.")),
        }
    }

    pub(super) fn statement(&mut self, name: &str, bytes: usize) {
        self.statements.insert(name.to_owned(), bytes);
    }

    /// # Errors
    /// 53400 where there are as many as there may be.
    pub(super) fn portal(&mut self, name: &str, bytes: usize) -> Result<(), SqlError> {
        if !fits(&self.portals, name, bytes, (PORTALS_MAX, self.bytes_max)) {
            return Err(SqlError::new("53400", "too many portals in this session")
                .hint("Close those that are done with, or end the transaction."));
        }
        self.portals.insert(name.to_owned(), bytes);
        Ok(())
    }

    pub(super) fn has_statement(&self, name: &str) -> bool {
        self.statements.contains_key(name)
    }

    /// True where there was one of this name.
    pub(super) fn close_statement(&mut self, name: &str) -> bool {
        self.statements.remove(name).is_some()
    }

    /// Gives the names of all that there were.
    pub(super) fn close_statements(&mut self) -> Vec<String> {
        self.statements.drain().map(|(name, _)| name).collect()
    }

    pub(super) fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub(super) fn close_portals(&mut self) {
        self.portals.clear();
    }
}

/// Whether one more fits. One of the same name goes, and the one without a name always has room.
fn fits(all: &HashMap<String, usize>, name: &str, bytes: usize, (count_max, bytes_max): (usize, usize)) -> bool {
    if name == DEFAULT_NAME || all.is_empty() {
        return true;
    }
    let gone = all.get(name);
    let count = all.len() - usize::from(gone.is_some()) + 1;
    let others: usize = all.values().sum::<usize>() - gone.copied().unwrap_or(0);
    count <= count_max && others.saturating_add(bytes) <= bytes_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_as_much_as_it_may() {
        let mut kept = Kept::new(10);
        let mut prepare = |name: &str, bytes: usize| {
            kept.room_for_statement(name, bytes).map(|()| kept.statement(name, bytes)).map_err(|error| error.code)
        };
        assert_eq!(prepare("a", 6), Ok(()));
        assert_eq!(prepare("b", 5), Err("53400"));
        assert_eq!(prepare("a", 10), Ok(()));
        assert_eq!(prepare(DEFAULT_NAME, 100), Ok(()));
        assert_eq!(kept.close_statements().len(), 2);
        for at in 0..PORTALS_MAX {
            assert_eq!(kept.portal(&at.to_string(), 0), Ok(()));
        }
        assert_eq!(kept.portal("0", 0), Ok(()));
        assert_eq!(kept.portal("one more", 0).map_err(|error| error.code), Err("53400"));
        kept.close_portals();
        assert_eq!(kept.portal("one more", 0), Ok(()));
    }
}
