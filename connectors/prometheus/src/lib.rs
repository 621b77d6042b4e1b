//! The Prometheus sink: rows become samples of a remote write (1.0) to Prometheus, Cortex or Mimir.
//!
//! ```text
//! rows -> columns  which column is what          -> samples  series, each in time order
//!                  names    what is a name there
//!      -> proto    WriteRequest, snappy          -> client   one request, and what its answer means
//!      -> sink     a request that is refused is taken apart until what is refused is alone
//! ```
//!
//! # Invariants
//! - A receiver holds no position, so the engine does. Sent twice, a sample is what it was: the same series, time
//!   and value.
//! - A receiver may drop a whole request for one sample that it refuses (Prometheus does), so none is given up
//!   before it was refused alone.
//! - Passwords, tokens and what stands before the `@` of a URL are in no message.

mod client;
mod columns;
mod names;
mod options;
mod proto;
mod samples;
mod sink;

pub use sink::sink;
