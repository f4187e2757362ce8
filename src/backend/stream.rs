//! One socket of either leg: TCP or Unix, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

pub use super::peer::Peer;

/// A socket without TLS.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A socket as the rest of interlock uses it.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(Socket),
    /// With TLS, either end of it. Boxed: its state is several hundred times a socket's.
    Tls(Box<TlsStream<Socket>>),
}

/// How TCP notices that the other side has vanished.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// Silence after which the first probe is sent.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// Time between probes.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Unanswered probes after which the connection is given up.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 3 }
    }
}

impl Keepalive {
    /// Sets up a TCP socket: keep-alive, and no delay for small packets.
    pub fn apply(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(self.idle).with_interval(self.interval).with_retries(self.count);
        SockRef::from(socket).set_tcp_keepalive(&keepalive)
    }
}

impl Stream {
    /// The connection is "secure" in the sense of MySQL's authentication plugins: TLS, or a Unix socket.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Plain(Socket::Unix(_)))
    }

    /// The connection carries TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket, to put TLS on it. Fails if it has TLS already.
    pub fn into_socket(self) -> io::Result<Socket> {
        match self {
            Self::Plain(socket) => Ok(socket),
            Self::Tls(_) => Err(io::Error::other("the connection carries TLS already")),
        }
    }

    /// The other end's address; `Local` if it has none.
    pub fn peer(&self) -> Peer {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        };
        match socket {
            Socket::Tcp(tcp) => match (tcp.peer_addr(), tcp.local_addr()) {
                (Ok(source), Ok(destination)) => Peer::Tcp { source, destination },
                _ => Peer::Local,
            },
            Socket::Unix(_) => Peer::Local,
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Plain(Socket::Tcp(socket))
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self::Plain(Socket::Unix(socket))
    }
}

/// Runs one poll method on whichever socket it is. All of them are `Unpin`.
macro_rules! delegate {
    ($self:ident, $kind:ident { $($variant:ident),+ }, $io:ident => $call:expr) => {
        match $self.get_mut() { $($kind::$variant($io) => { let $io = Pin::new($io); $call })+ }
    };
}

/// Implements reading and writing for an enum of sockets.
macro_rules! implement_io {
    ($kind:ident { $first:ident, $second:ident }) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                delegate!(self, $kind { $first, $second }, io => io.poll_read(context, buffer))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                delegate!(self, $kind { $first, $second }, io => io.poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                delegate!(self, $kind { $first, $second }, io => io.poll_write_vectored(context, slices))
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::$first(io) => io.is_write_vectored(),
                    Self::$second(io) => io.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(self, $kind { $first, $second }, io => io.poll_flush(context))
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(self, $kind { $first, $second }, io => io.poll_shutdown(context))
            }
        }
    };
}

implement_io!(Socket { Tcp, Unix });
implement_io!(Stream { Plain, Tls });
