//! Random numbers by counter: the words of a record follow from the seed and the row number alone.

/// The odd constant of splitmix64 (2^64 divided by the golden ratio).
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The words of one row. Two rows never share a sequence: the row number is mixed before the
/// counter is added, otherwise word `k` of row `n` would be word 0 of row `n + k`.
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64, row: u64) -> Self {
        Self { state: mix(row ^ mix(seed.wrapping_add(GAMMA))) }
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in `0..bound`; 0 where the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.word()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The finalizer of splitmix64.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_and_row_alone() {
        let words = |seed, row| {
            let mut draw = Draw::new(seed, row);
            [draw.word(), draw.word(), draw.word()]
        };
        assert_eq!(words(1, 7), words(1, 7));
        assert_ne!(words(1, 7), words(2, 7));
        assert_ne!(words(1, 7)[1], words(1, 8)[0], "rows must not run into each other");
    }

    #[test]
    fn bounded_draws_stay_in_their_bound_and_reach_all_of_it() {
        let mut seen = [false; 8];
        for row in 0..1_000 {
            seen[Draw::new(3, row).below(8) as usize] = true;
            assert!((0.0..1.0).contains(&Draw::new(3, row).unit()));
        }
        assert_eq!(seen, [true; 8]);
        assert_eq!(Draw::new(1, 1).below(0), 0);
    }
}
