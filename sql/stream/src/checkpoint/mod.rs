//! Making an epoch durable, and finding the newest one again.
//!
//! An epoch exists when its manifest does. Everything the manifest names is written before it; the
//! manifest itself is put only where none of its number exists, so of two instances of a pipeline
//! one gets `Fenced` and stops.

mod manifest;
mod recover;
mod retired;
mod store;
mod sweep;

pub(crate) use manifest::{FORMAT, Held, JobFiles, Manifest};
pub(crate) use retired::Retired;
pub(crate) use store::{CheckpointStore, Recovered, apart};
pub(crate) use sweep::sweep;
