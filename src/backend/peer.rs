//! Who is at the other end of a client's connection.

use std::fmt;
use std::net::SocketAddr;

/// Who is at the other end of a client's connection, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// TCP; with the PROXY protocol, the original client's addresses.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// A Unix socket, or a PROXY header that names nobody.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { source, .. } => write!(f, "{source}"),
            Self::Local => f.write_str("local"),
        }
    }
}
