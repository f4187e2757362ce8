//! What happens to an accepted socket before its session begins: socket options, the PROXY header, or the
//! error that says that there are too many.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tracing::debug;

use super::config::Config;
use super::proxy_protocol::read_header;
use crate::backend::stream::{Keepalive, Peer, Stream};

/// Error 1040 as an initial packet, byte for byte as the servers send it: without SQLSTATE.
const TOO_MANY_CONNECTIONS: &[u8] = b"\x17\x00\x00\x00\xff\x10\x04Too many connections";

/// An accepted socket on its way to a worker, detached from the runtime that accepted it.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    /// Its place among the connections; `None` if there is none left.
    pub(super) place: Option<Place>,
}

pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Number of connections that are open, and the most that may be.
#[derive(Clone, Debug)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    max: Arc<AtomicUsize>,
}

/// A connection's place among [`Connections`], free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Connections {
    /// None open yet.
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max: Arc::new(AtomicUsize::new(max)) }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many may be from now on. Those that are open stay.
    pub fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place, if there is one left.
    pub(super) fn enter(&self) -> Option<Place> {
        let max = self.max.load(Ordering::Relaxed);
        let one_more = |open| (open < max).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok().map(|_| Place(Arc::clone(&self.open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The settings of the entrance.
pub(super) struct Welcome {
    keepalive: Keepalive,
    balancers: Vec<IpNet>,
    timeout: Duration,
}

impl Welcome {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            keepalive: config.keepalive.clone(),
            balancers: config.proxy_protocol.accept_from.clone(),
            timeout: config.handshake_timeout,
        }
    }

    /// The connection and who is at its other end; `None` if it ended here.
    pub(super) async fn receive(&self, accepted: Accepted) -> Option<(Stream, Peer, Place)> {
        let mut stream = match self.stream(accepted.socket) {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "client left before its session began");
                return None;
            }
        };
        let peer = stream.peer();
        let Some(place) = accepted.place else {
            debug!(%peer, "too many connections");
            let farewell = async {
                stream.write_all(TOO_MANY_CONNECTIONS).await?;
                stream.shutdown().await
            };
            // The client may be gone: then there is nobody to tell.
            let _ = timeout(self.timeout, farewell).await;
            return None;
        };
        if !self.is_balancer(&peer) {
            return Some((stream, peer, place));
        }
        match timeout(self.timeout, read_header(&mut stream)).await {
            Ok(Ok(client)) => Some((stream, client.unwrap_or(peer), place)),
            Ok(Err(error)) => {
                debug!(%peer, %error, "connection refused");
                None
            }
            Err(_) => {
                debug!(%peer, "no PROXY header in time");
                None
            }
        }
    }

    fn stream(&self, socket: Socket) -> io::Result<Stream> {
        match socket {
            Socket::Tcp(socket) => {
                let socket = TcpStream::from_std(socket)?;
                self.keepalive.apply(&socket)?;
                Ok(socket.into())
            }
            Socket::Unix(socket) => Ok(UnixStream::from_std(socket)?.into()),
        }
    }

    fn is_balancer(&self, peer: &Peer) -> bool {
        let Peer::Tcp { source, .. } = peer else { return false };
        let source: IpAddr = source.ip().to_canonical();
        self.balancers.iter().any(|network| network.contains(&source))
    }
}
