//! The Postgres wire: connections, both protocols, errors. What a statement does is in `session`.

mod encode;
mod handlers;
mod listener;
pub(crate) mod sqlstate;

pub use listener::serve;
