//! The listening socket: accepts clients and hands them to the worker threads in turn.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::sleep;
use tracing::warn;

use super::config::Config;
use super::welcome::{Accepted, Connections, Socket};
use super::worker::Workers;
use crate::backend::endpoint::Endpoint;

/// Pause after an error that the next accept would meet again (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: Endpoint,
    /// Why.
    pub source: io::Error,
}

/// A bound socket that clients can already queue on.
pub struct Listener {
    socket: Bound,
    /// Kept for its drop.
    _file: Option<SocketFile>,
    address: Endpoint,
    connections: Connections,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a Unix socket, removed with its listener.
struct SocketFile(PathBuf);

impl Listener {
    /// Binds the configured address. Needs a runtime.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let connections = Connections::new(config.max_connections);
        match bind(&config.listen).await {
            Ok((socket, address)) => {
                let file = match &address {
                    Endpoint::Unix(path) => Some(SocketFile(path.clone())),
                    Endpoint::Tcp { .. } => None,
                };
                Ok(Self { socket, _file: file, address, connections })
            }
            Err(source) => Err(BindError { address: config.listen.clone(), source }),
        }
    }

    /// The address in use: the port that the system chose, if the configured one is 0.
    pub fn address(&self) -> &Endpoint {
        &self.address
    }

    /// The count of open connections.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// Accepts clients until `stop` is ready, then closes the socket.
    pub async fn serve(self, workers: &Workers, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(socket) => workers.assign(Accepted { socket, place: self.connections.enter() }),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<Socket> {
        match &self.socket {
            Bound::Tcp(listener) => listener.accept().await?.0.into_std().map(Socket::Tcp),
            Bound::Unix(listener) => listener.accept().await?.0.into_std().map(Socket::Unix),
        }
    }
}

async fn bind(address: &Endpoint) -> io::Result<(Bound, Endpoint)> {
    match address {
        Endpoint::Tcp { host, port } => {
            let listener = TcpListener::bind((host.as_str(), *port)).await?;
            let port = listener.local_addr()?.port();
            Ok((Bound::Tcp(listener), Endpoint::Tcp { host: host.clone(), port }))
        }
        Endpoint::Unix(path) => {
            remove_stale(path)?;
            let listener = UnixListener::bind(path)?;
            // As the servers do: who may log in is decided by the accounts, not by the file.
            fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
            Ok((Bound::Unix(listener), address.clone()))
        }
    }
}

/// Removes a socket file that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}
