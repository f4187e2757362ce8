//! The admin address.

pub mod http;
