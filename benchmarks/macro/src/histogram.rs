//! Waiting times of very many records, in buckets of a tenth of a millisecond.

use serde_json::{Value, json};

const BUCKETS_PER_MS: f64 = 10.0;
/// What waited longer counts as this long: a hundred seconds.
const BUCKETS: usize = 1_000_000;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ms: f64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ms: 0.0 }
    }

    pub(crate) fn add(&mut self, wait_ms: f64, records: u64) {
        let bucket = (wait_ms.max(0.0) * BUCKETS_PER_MS) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += records;
        self.total += records;
        if records > 0 {
            self.max_ms = self.max_ms.max(wait_ms);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The upper edge of the bucket below which this share lies.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        at.map_or(0.0, |at| (at + 1) as f64 / BUCKETS_PER_MS)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "records": self.total,
            "p50_ms": self.quantile(0.5),
            "p90_ms": self.quantile(0.9),
            "p95_ms": self.quantile(0.95),
            "p99_ms": self.quantile(0.99),
            "max_ms": (self.max_ms * BUCKETS_PER_MS).ceil() / BUCKETS_PER_MS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_upper_edge_of_its_bucket() {
        let mut histogram = Histogram::new();
        histogram.add(1.0, 98);
        histogram.add(7.25, 2);
        assert_eq!((histogram.quantile(0.5), histogram.quantile(0.98)), (1.1, 1.1));
        assert_eq!((histogram.quantile(0.99), histogram.quantile(1.0)), (7.3, 7.3));
    }

    #[test]
    fn what_waits_too_long_is_in_the_last_bucket() {
        let mut histogram = Histogram::new();
        histogram.add(1e9, 1);
        assert_eq!((histogram.total(), histogram.quantile(0.5)), (1, 100_000.0));
    }
}
