//! Listeners and TLS towards clients.

pub mod config;
pub mod listener;
pub mod proxy_protocol;
pub mod tls;
mod welcome;
pub mod worker;

pub use config::Config;
pub use welcome::Connections;

#[cfg(test)]
mod tests;
