//! Numbers of the pipelines that read several streams and tables.
//!
//! One stream's pipeline keeps its state under the stream's id, which is given once. That of several would be found under
//! all of theirs, and they outlive it: it goes with the last view that joins them, and the next such view begins another.

use serde::{Deserialize, Serialize};

use crate::ObjectId;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joins {
    /// The last number that was given.
    made: u64,
    now: Vec<Join>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// By rising id.
    pub sources: Vec<ObjectId>,
    /// None where an older version has made it.
    pub number: Option<u64>,
}

impl Joins {
    /// Those that an older version runs, which has given them no number.
    pub(crate) fn of_older_version(sources: Vec<Vec<ObjectId>>) -> Self {
        let now = sources.into_iter().map(|sources| Join { sources, number: None }).collect();
        Self { made: 0, now }
    }

    /// Lets go of those that are not needed any more, and gives the new ones their numbers.
    pub(crate) fn keep(&mut self, needed: Vec<Vec<ObjectId>>) {
        self.now.retain(|join| needed.contains(&join.sources));
        for sources in needed {
            if self.now.iter().all(|join| join.sources != sources) {
                self.made += 1;
                self.now.push(Join { sources, number: Some(self.made) });
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Join> {
        self.now.iter()
    }

    /// Whether the number was given and nothing has it any more.
    pub fn has_let_go(&self, number: u64) -> bool {
        (1..=self.made).contains(&number) && self.now.iter().all(|join| join.number != Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    const A: ObjectId = ObjectId(1);
    const B: ObjectId = ObjectId(2);
    const C: ObjectId = ObjectId(3);

    fn numbers(catalog: &Catalog) -> Vec<Option<u64>> {
        catalog.joins().map(|join| join.number).collect()
    }

    #[test]
    fn a_number_is_given_once_and_kept_while_it_is_needed() {
        let mut catalog = Catalog::default();
        catalog.number_joins(Vec::new());
        let steps: [(&[&[ObjectId]], &[u64]); 6] = [
            (&[&[A, B]], &[1]),
            (&[&[A, B], &[A, B, C]], &[1, 2]),
            (&[&[A, B, C], &[A, B]], &[1, 2]),
            (&[&[A, B, C]], &[2]),
            (&[&[A, B], &[A, B, C]], &[2, 3]),
            (&[], &[]),
        ];
        for (needed, given) in steps {
            catalog.number_joins(needed.iter().map(|sources| sources.to_vec()).collect());
            assert_eq!(numbers(&catalog), given.iter().copied().map(Some).collect::<Vec<_>>(), "{needed:?}");
            let bytes = serde_json::to_vec(&catalog).expect("it can be written");
            assert_eq!(serde_json::from_slice::<Catalog>(&bytes).expect("and read"), catalog);
        }
        catalog.number_joins(vec![vec![A, B]]);
        assert_eq!(numbers(&catalog), [Some(4)]);
    }

    #[test]
    fn what_an_older_version_runs_keeps_its_place_until_it_goes() {
        let text = r#"{"version":3,"next_id":3,"objects":{}}"#;
        let mut catalog: Catalog = serde_json::from_str(text).expect("it is whole");
        catalog.number_joins(vec![vec![A, B]]);
        assert_eq!(numbers(&catalog), [None]);
        catalog.number_joins(vec![vec![A, B], vec![A, C]]);
        assert_eq!(numbers(&catalog), [None, Some(1)]);
        catalog.number_joins(vec![vec![A, C]]);
        catalog.number_joins(vec![vec![A, B], vec![A, C]]);
        assert_eq!(numbers(&catalog), [Some(1), Some(2)], "made anew, it has a place of its own");
    }

    #[test]
    fn a_number_that_was_never_given_is_nobodys_to_take_away() {
        let mut joins = Joins::default();
        joins.keep(vec![vec![A, B], vec![B, C]]);
        joins.keep(vec![vec![B, C]]);
        let gone = [0, 1, 2, 3].map(|number| joins.has_let_go(number));
        assert_eq!(gone, [false, true, false, false]);
    }
}
