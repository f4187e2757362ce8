//! As much of the room as the PROXY header and the server's deadlock report need.

#[path = "../../../src/backend/deadlock_text.rs"]
pub mod deadlock_text;
#[path = "../../../src/backend/peer.rs"]
pub mod peer;
#[path = "../../../src/backend/proxy_header.rs"]
pub mod proxy_header;

/// Where the rest of the room finds it.
pub mod stream {
    pub use super::peer::Peer;
}
