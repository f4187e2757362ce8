//! As much of the room as the PROXY header needs.

#[path = "../../../src/backend/peer.rs"]
pub mod peer;
#[path = "../../../src/backend/proxy_header.rs"]
pub mod proxy_header;

/// Where the rest of the room finds it.
pub mod stream {
    pub use super::peer::Peer;
}
