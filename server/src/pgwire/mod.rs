//! The Postgres wire: connections, both protocols, errors. What a statement does is in `session`.

mod connection;
mod copy;
mod encode;
mod extended;
mod frames;
mod handlers;
mod kept;
mod listener;
mod parameters;
mod prepared;
mod sessions;
pub(crate) mod sqlstate;
mod startup;
pub(crate) mod tls;

use ebap_values::time::USECS_PER_DAY;
pub(crate) use listener::{serve, while_starting};

/// PostgreSQL counts from 2000-01-01, in days and in microseconds.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = EPOCH_DAYS as i64 * USECS_PER_DAY;
