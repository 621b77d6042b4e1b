//! Errors of the catalog.

use std::sync::Arc;

use crate::ObjectKind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// 42P07 for relations, 42710 for connections and secrets.
    #[error("{kind} \"{name}\" already exists")]
    Exists { kind: ObjectKind, name: String },
    /// 42P01 for relations, 42704 for connections and secrets.
    #[error("{kind} \"{name}\" does not exist")]
    Unknown { kind: ObjectKind, name: String },
    /// 2BP01
    #[error("cannot drop {kind} \"{name}\" because other objects depend on it")]
    DependedOn { kind: ObjectKind, name: String, dependents: Vec<String> },
    /// 40001: another session or instance changed the catalog meanwhile.
    #[error("the catalog was changed meanwhile (version {found} instead of {expected})")]
    Conflict { expected: u64, found: u64 },
    /// 58030
    #[error("the catalog cannot be stored")]
    Store(#[source] Arc<object_store::Error>),
    /// XX001
    #[error("the catalog file \"{path}\" cannot be read: {message}")]
    Unreadable { path: String, message: String },
}
