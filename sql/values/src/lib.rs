//! What the values of PostgreSQL's types mean: how they are read, printed, compared and computed.
//! Knows no Arrow, no plan and no connection.

mod error;
pub mod float;
pub mod format;
pub mod json;
pub mod numeric;
pub mod record;
pub mod time;
mod types;

pub use error::{Result, ValueError};
pub use json::Json;
pub use numeric::Numeric;
pub use types::PgType;
