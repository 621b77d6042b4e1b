//! `RANK()` and `DENSE_RANK()`: rows of one place in the order have one number.

use ebap_sql::Numbering;

use super::ranked::{Place, Ranked};

/// The numbers of rows that stand in their order, from the first on.
pub(crate) fn numbers(numbering: Option<Numbering>, rows: &[Place]) -> Vec<u64> {
    let mut counter = Counter::new(numbering);
    rows.iter().map(|place| counter.next(place, 1)).collect()
}

/// Rows whose number is at most that, each as often as it is there.
pub(crate) fn within(numbering: Option<Numbering>, rows: &Ranked, most: usize) -> Vec<Place> {
    let mut counter = Counter::new(numbering);
    let there = rows.each().map(|(place, weight)| (place, usize::try_from(weight).unwrap_or(0)));
    let within =
        there.filter(|(_, count)| *count > 0).take_while(|(place, count)| counter.next(place, *count) <= most as u64);
    within.flat_map(|(place, count)| std::iter::repeat_n(place, count)).cloned().collect()
}

/// Rows whose number is more than that.
pub(crate) fn behind(numbering: Option<Numbering>, rows: &Ranked, most: usize) -> Vec<Place> {
    let mut counter = Counter::new(numbering);
    let there = rows.each().map(|(place, weight)| (place, usize::try_from(weight).unwrap_or(0)));
    there
        .skip_while(|(place, count)| counter.next(place, *count) <= most as u64)
        .map(|(place, _)| place.clone())
        .collect()
}

struct Counter<'a> {
    numbering: Option<Numbering>,
    before: u64,
    number: u64,
    last: Option<&'a [u8]>,
}

impl<'a> Counter<'a> {
    fn new(numbering: Option<Numbering>) -> Self {
        Self { numbering, before: 0, number: 0, last: None }
    }

    /// The number of the next row, which is there so often.
    fn next(&mut self, place: &'a Place, count: usize) -> u64 {
        let equal = self.last.replace(place.by()) == Some(place.by());
        self.number = match self.numbering {
            Some(Numbering::Rank | Numbering::DenseRank) if equal => self.number,
            Some(Numbering::DenseRank) => self.number + 1,
            Some(Numbering::Rank | Numbering::Row) | None => self.before + 1,
        };
        self.before += count as u64;
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_have_one_number() {
        let mut ranked = Ranked::default();
        let place = |by: u8, row: u8| Place::new(&[by], &[row]);
        for (by, row, weight) in [(1, 1, 1), (1, 2, 2), (3, 1, 1), (7, 1, 1)] {
            ranked.set(place(by, row), weight);
        }
        let rows = ranked.first(9);
        assert_eq!(numbers(Some(Numbering::Row), &rows), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(Some(Numbering::Rank), &rows), [1, 1, 1, 4, 5]);
        assert_eq!(numbers(Some(Numbering::DenseRank), &rows), [1, 1, 1, 2, 3]);
        for (numbering, most, shown, cut) in [
            (Numbering::Rank, 1, 3, 2),
            (Numbering::Rank, 3, 3, 2),
            (Numbering::Rank, 4, 4, 1),
            (Numbering::DenseRank, 2, 4, 1),
            (Numbering::DenseRank, 3, 5, 0),
        ] {
            assert_eq!(within(Some(numbering), &ranked, most).len(), shown, "{numbering:?} {most}");
            assert_eq!(behind(Some(numbering), &ranked, most).len(), cut, "{numbering:?} {most}");
        }
    }
}
