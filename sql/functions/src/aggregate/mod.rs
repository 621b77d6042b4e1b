//! Aggregates that DataFusion has otherwise, or not at all.

mod float_sum;
mod interval;
mod named;
mod ordered_set;
mod recomputed;
mod single;
mod spread;
mod statistics;
mod sum;

pub use float_sum::{float_avg, float_sum};
pub use interval::interval_sum;
pub use named::named_aggregate;
pub use ordered_set::{OrderedSet, ordered_set};
pub use recomputed::recomputed;
pub use single::single_value;
pub use spread::numeric_spread;
pub use statistics::float_statistic;
pub use sum::numeric_sum;
