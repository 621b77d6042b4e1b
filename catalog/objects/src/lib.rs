//! What exists: the catalog of streams, tables, views, sinks, alerts, connections, secrets and roles, as one
//! immutable value that is replaced as a whole and kept durable with a conditional put.

mod error;
mod joins;
mod model;
mod roles;
mod store;
mod verifier;

pub use error::{Error, Result};
pub use joins::{Join, Joins};
pub use model::{Catalog, Migration, Object, ObjectId, ObjectKind, ResumeFrom};
pub use roles::{BOOTSTRAP_ROLE, Membership, MockKey, Role, RoleId, Roles};
pub use store::CatalogStore;
pub use verifier::{KEY_BYTES, Verifier};
