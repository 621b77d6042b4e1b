//! The Postgres wire: connections, both protocols, errors. What a statement does is in `session`.

mod connection;
mod encode;
mod handlers;
mod limit;
mod listener;
mod sessions;
pub(crate) mod sqlstate;

pub use listener::serve;
pub(crate) use listener::while_starting;
