//! The other properties are judged over deaths at every listed point and at random ones: here is
//! shown that those deaths came to pass.

use super::super::seeds;

/// Fewer seeds need not visit all points.
const SEEDS_MIN: usize = 50;

#[test]
fn killed_at_every_point() {
    let deaths = seeds::deaths();
    println!("deaths by point over {} seeds: {deaths:?}", seeds::seeds().len());
    let never: Vec<_> = deaths.iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty() || seeds::seeds().len() < SEEDS_MIN, "nobody was killed at {never:?}");
}
