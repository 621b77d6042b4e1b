//! Aggregates that DataFusion has otherwise: exact sums of NUMERIC, and frames of floats.

mod recomputed;
mod spread;
mod sum;

pub use recomputed::recomputed;
pub use spread::numeric_spread;
pub use sum::numeric_sum;
