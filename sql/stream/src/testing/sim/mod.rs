//! The engine under a simulated clock, source, object store and sinks, on one thread, from a seed.
//!
//! ```text
//!            Script (what is produced, when)        Kill, Faults (what goes wrong, when)
//!                |                                     |
//! World: splits, object store, sinks' systems, topic, clock       <- stays
//!                |
//! Process: Engine on this thread -> SimSource, SimStore, sinks    <- dies; another one follows
//!                |
//! Run: every manifest, what readers saw with it, what is outside  -> properties/*
//! ```
//!
//! Processing time passes when no task can go on (`clock.rs`), so a simulated minute takes as long as
//! its work. A death drops the runtime with all tasks wherever they wait; from the moment it is
//! decided nothing leaves the process any more.

mod cases;
mod clock;
mod connectors;
mod life;
mod oracle;
mod properties;
mod random;
mod receivers;
mod run;
mod script;
mod seeds;
mod sinks;
mod source;
mod store;
mod topic;
mod world;
