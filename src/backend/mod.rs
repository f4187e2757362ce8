//! Connections to the server.

mod catalog_formula;
pub mod catalog_loader;
mod catalog_name;
mod catalog_references;
pub mod catalog_store;
pub mod config;
pub mod connection;
pub mod control;
pub mod deadlock_report;
pub mod deadlock_text;
pub mod control_connect;
pub mod coordinator;
pub mod endpoint;
pub mod explain;
pub mod literal;
pub mod lock_waits;
pub mod peer;
pub mod probe;
pub mod probe_sql;
pub mod procedures;
pub mod proxy_header;
pub mod reach;
pub mod scan;
pub mod stream;
pub mod tls;

pub use config::Config;
