//! The server as a library: the running application, its connections, and the commands of `ebap`.
//! The only crate that names concrete connectors.

pub mod app;
mod auth;
pub mod check;
mod client;
mod columns;
pub mod config;
pub mod demo;
pub mod generate;
pub mod http;
pub mod memory;
mod metrics;
pub mod migrate;
pub mod pgwire;
mod registry;
pub mod server;
mod session;
mod system;
mod wire_types;

pub use app::{App, AppConfig};
pub use auth::AuthMethod;
pub use pgwire::tls::TlsFiles;
