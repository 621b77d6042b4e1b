//! What exists: the catalog of streams, tables, views, sinks, alerts, connections, secrets, roles and privileges, as one
//! immutable value that is replaced as a whole and kept durable with a conditional put.

mod error;
mod joins;
mod model;
mod policies;
mod privileges;
mod roles;
mod store;
mod verifier;

pub use error::{Error, Result};
pub use joins::{Join, Joins};
pub use model::{Catalog, Migration, Object, ObjectId, ObjectKind, ResumeFrom};
pub use policies::{Policies, Policy, RowSecurity};
pub use privileges::{Acl, AclItem, DefaultsOf, PUBLIC, Privilege, Privileges, Securable, SecurableKind};
pub use roles::{BOOTSTRAP_ROLE, MONITOR, Membership, MockKey, READ_ALL_DATA, READ_SERVER_FILES, Role, RoleId, Roles};
pub use store::CatalogStore;
pub use verifier::{KEY_BYTES, Verifier};
