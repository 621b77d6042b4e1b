//! What the tests share: a real `ebap` process, real services, and waiting for either.
//!
//! Knows the binary by its command line, its ports and its answers alone; no crate of the engine is
//! linked, so that what a test sees is what a user sees.

pub mod cdc;
pub mod hostile_records;
pub mod kafka;
pub mod process;
pub mod random;
pub mod record_feed;
pub mod rows;
pub mod server;
pub mod slt;
pub mod stack;
pub mod trials;
pub mod wait;
pub mod wire;

pub use server::{Ebap, EbapOptions};
pub use stack::{Service, Stack};
