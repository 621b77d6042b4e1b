//! A transaction block: DDL that is not durable yet, and the points it can be taken back to.
//!
//! Queries inside of a block see what is durable; a block changes the catalog as a whole at `COMMIT`.

use ebap_catalog::Catalog;

use super::settings::{Point, Settings};
use crate::pgwire::sqlstate::SqlError;

/// Each keeps a catalog.
const SAVEPOINTS_MAX: usize = 1_000;

/// What a savepoint goes back to.
#[derive(Clone, Debug)]
struct State {
    catalog: Catalog,
    changed: bool,
    settings: Point,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    /// Version of the catalog the block began with.
    base: u64,
    catalog: Catalog,
    changed: bool,
    savepoints: Vec<(String, State)>,
    pub(crate) failed: bool,
    /// Made by a query of several statements, not by `BEGIN`.
    pub(crate) implicit: bool,
}

impl Transaction {
    pub(crate) fn begin(catalog: &Catalog, settings: &Settings, implicit: bool) -> Self {
        settings.begin();
        Self {
            base: catalog.version,
            catalog: catalog.clone(),
            changed: false,
            savepoints: Vec::new(),
            failed: false,
            implicit,
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn change(&mut self, catalog: Catalog) {
        self.changed = true;
        self.catalog = catalog;
    }

    /// # Errors
    /// 53400 where there are as many as there may be.
    pub(crate) fn savepoint(&mut self, name: &str, settings: &Settings) -> Result<(), SqlError> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(SqlError::new("53400", "too many savepoints in this transaction").hint("Release some first."));
        }
        let state = State { catalog: self.catalog.clone(), changed: self.changed, settings: settings.point() };
        self.savepoints.push((name.to_owned(), state));
        Ok(())
    }

    /// Goes back to the savepoint, which stays; the block is no longer failed.
    pub(crate) fn roll_back_to(&mut self, name: &str, settings: &Settings) -> Result<(), SqlError> {
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        let state = self.savepoints[at].1.clone();
        settings.back_to(&state.settings);
        (self.catalog, self.changed, self.failed) = (state.catalog, state.changed, false);
        Ok(())
    }

    /// Forgets the savepoint and those after it; what was done since stays.
    pub(crate) fn release(&mut self, name: &str) -> Result<(), SqlError> {
        let at = self.find(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, SqlError> {
        let found = self.savepoints.iter().rposition(|(other, _)| other == name);
        found.ok_or_else(|| SqlError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    pub(crate) fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// The block's end: the version it began with and what it made of the catalog, where it changed it.
    pub(crate) fn into_change(self) -> Option<(u64, Catalog)> {
        self.changed.then_some((self.base, self.catalog))
    }
}

#[cfg(test)]
mod tests {
    use ebap_catalog::ObjectKind;

    use super::*;

    fn with(catalog: &Catalog, name: &str) -> Catalog {
        let mut next = catalog.clone();
        next.create(ObjectKind::Stream, name, String::new(), vec![], 0).expect("a new name");
        next
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.objects().map(|object| object.name.as_str()).collect()
    }

    #[test]
    fn savepoints_are_a_stack() {
        let (catalog, settings) = (Catalog::default(), Settings::default());
        let mut block = Transaction::begin(&catalog, &settings, false);
        block.change(with(block.catalog(), "one"));
        block.savepoint("a", &settings).expect("there is room");
        block.change(with(block.catalog(), "two"));
        block.savepoint("b", &settings).expect("there is room");
        block.change(with(block.catalog(), "three"));

        block.failed = true;
        block.roll_back_to("b", &settings).expect("b is there");
        assert_eq!((names(block.catalog()), block.failed), (vec!["one", "two"], false));
        block.roll_back_to("b", &settings).expect("b stays");
        block.roll_back_to("a", &settings).expect("a is there");
        assert_eq!(block.roll_back_to("b", &settings).expect_err("b is gone").code, "3B001");

        block.savepoint("a", &settings).expect("there is room");
        block.change(with(block.catalog(), "four"));
        block.release("a").expect("the newer a");
        assert_eq!(names(block.catalog()), ["one", "four"]);
        block.roll_back_to("a", &settings).expect("the older a");
        assert_eq!(block.into_change().map(|(_, catalog)| names(&catalog).len()), Some(1));
    }
}
