//! Faults with real servers: what the network, the server, the machine and interlock's own operator can do in
//! the midst of a transaction. Nothing hangs, nothing leaks, and no transaction is lost or run twice.
//!
//! A bounded part runs with the other tests; `make chaos` and `make soak` run the rest.

#[path = "../support/mod.rs"]
mod support;

mod bank;
mod client;
mod crowds;
mod each_message;
mod operations;
mod proxy;
mod soak;

use std::time::Duration;

/// Longest time until something is seen that needs a fraction of it even on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A whole number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
