//! The seeded generator: EBAP's own events, metrics, user profiles and regions, or any declared columns.
//!
//! Owns what a generated record looks like and when it exists. Knows no broker, no file and no
//! terminal: `ebap generate` and the connector `generator` use the same [`Generator`].
//!
//! # Invariants
//! - A record is a pure function of the options and its row number. Nothing is drawn from a
//!   sequence, so any record can be made again from its offset alone, in any order; that is what
//!   lets the engine read a split again after a crash.
//! - Split `s` of `S` holds the rows `s`, `s + S`, `s + 2S`, …: the row at an offset is
//!   `offset * S + s`. The same rows come out however many splits they are spread over, and event
//!   time advances evenly in all of them.
//!
//! # Time
//! The frontier of row `n` is `start + n * period`; `period` is `1 / rate`, without a rate
//! `1 / event_rate`. The event time of a row on time lies up to `disorder` behind its frontier, that
//! of a late row between `late_by` and twice that.
//!
//! | options | `start` | a row exists |
//! |---|---|---|
//! | `start_time`, `rate` | as given | once the clock has passed its frontier |
//! | `rate` alone | 1970 | the same; the first offset read is the one due now |
//! | `rate`, `rows` | 2026-01-01T00:00:00Z | at once, and a reader is held to the rate |
//! | `rows` | `start_time`, else 2026-01-01T00:00:00Z | at once |
//! | none of them | `start_time`, else 2026-01-01T00:00:00Z | when it is read |
//!
//! In the second line rows are numbered from 1970, so that an offset says its event time without
//! anything but the options being remembered. A stream that shall show the same rows to a view
//! created later is pinned when it is created: see [`pin_start`].

mod dataset;
mod draw;
mod generator;
mod options;
mod source;
mod text;

pub use generator::{BadKind, Generator, Quality, Written};
pub use options::{Dataset, FIXED_START_US, GeneratorOptions, StartTime, parse_start_time, pin_start};
pub use source::source;
