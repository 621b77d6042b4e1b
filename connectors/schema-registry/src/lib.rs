//! A client of a schema registry that speaks Confluent's API, and its wire format: what stands before a value that a
//! producer has written by a registered schema.
//!
//! Source: docs.confluent.io/platform/current/schema-registry/develop/api.html and …/fundamentals/serdes-develop
//! (wire format).

mod answers;
mod cache;
mod client;
mod options;
mod schema;
pub mod wire;

pub use client::SchemaRegistry;
pub use options::{OPTION, PREFIX, subject};
pub use schema::{Kind, Reference, Schema};
