//! As much of the room as the PROXY header needs.

#[path = "../../../src/frontend/proxy_protocol.rs"]
pub mod proxy_protocol;
