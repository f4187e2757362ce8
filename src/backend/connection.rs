//! A connection to the server: made, told who the client is, ready for the greeting.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::config::{Config, ProxyProtocol};
use super::endpoint::Endpoint;
use super::proxy_header;
use super::stream::{Peer, Stream};

/// The server could not be reached. The text names it.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No connection, and no refusal, in time.
    #[error("can't connect to upstream {upstream} (no answer within {})", humantime::format_duration(*after))]
    Timeout {
        /// The server.
        upstream: Endpoint,
        /// The configured time.
        after: Duration,
    },
    /// The system says no.
    #[error("can't connect to upstream {upstream} ({})", reason(source))]
    Io {
        /// The server.
        upstream: Endpoint,
        /// Why.
        source: io::Error,
    },
}

/// Connects to the server, and sends the PROXY header for `client` if one is configured.
pub async fn connect(config: &Config, client: &Peer) -> Result<Stream, ConnectError> {
    let upstream = &config.address;
    match timeout(config.connect_timeout, open(config, client)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(ConnectError::Io { upstream: upstream.clone(), source }),
        Err(_) => Err(ConnectError::Timeout { upstream: upstream.clone(), after: config.connect_timeout }),
    }
}

async fn open(config: &Config, client: &Peer) -> io::Result<Stream> {
    let mut stream = match &config.address {
        Endpoint::Tcp { host, port } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            config.keepalive.apply(&socket)?;
            Stream::from(socket)
        }
        Endpoint::Unix(path) => Stream::from(UnixStream::connect(path).await?),
    };
    match config.proxy_protocol {
        ProxyProtocol::None => {}
        ProxyProtocol::V1 => stream.write_all(proxy_header::v1(client).as_bytes()).await?,
        ProxyProtocol::V2 => stream.write_all(&proxy_header::v2(client)).await?,
    }
    Ok(stream)
}

/// The error without the number that the system adds.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) if error.kind() != io::ErrorKind::Other => error.kind().to_string(),
        _ => error.to_string(),
    }
}
