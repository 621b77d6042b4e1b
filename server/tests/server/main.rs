//! The server as clients and operators see it: the real binary, each test with one of its own.

mod config;
mod cursors;
mod explain;
mod hostile;
mod interrupts;
mod masks;
mod memory;
mod migrate;
mod notices;
mod platform_roles;
mod policies;
mod prepared;
mod privileges;
mod process;
mod roles;
mod scram;
mod sessions;
mod tls;
mod transactions;
mod two_servers;
mod types;
mod wire;
