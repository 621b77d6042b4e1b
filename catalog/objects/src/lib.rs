//! What exists: the catalog of streams, tables, views, sinks, alerts, connections and secrets, as one
//! immutable value that is replaced as a whole and kept durable with a conditional put.

mod error;
mod joins;
mod model;
mod store;

pub use error::{Error, Result};
pub use joins::{Join, Joins};
pub use model::{Catalog, Migration, Object, ObjectId, ObjectKind, ResumeFrom};
pub use store::CatalogStore;
