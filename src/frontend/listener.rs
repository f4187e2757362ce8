//! The listening socket: accepts clients and hands them to the worker threads in turn.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Removed on drop.
    file: SocketFile,
    address: Endpoint,
    connections: Connections,
}

/// A listening socket that was open before this process.
#[derive(Debug)]
pub enum Inherited {
    /// A TCP socket.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a Unix socket, removed with its listener unless somebody else listens there now.
struct SocketFile {
    path: PathBuf,
    keep: Arc<AtomicBool>,
}

/// The fate of a Unix socket's file.
#[derive(Clone, Debug)]
pub struct Keep(Arc<AtomicBool>);

impl Keep {
    /// Somebody else listens on it now: it stays.
    pub fn keep(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Listener {
    /// Takes the inherited socket, or binds the configured address. Needs a runtime.
    pub async fn open(config: &Config, inherited: Option<Inherited>) -> Result<Self, BindError> {
        // The file of an inherited socket belongs to who has made it.
        let keep = Arc::new(AtomicBool::new(inherited.is_some()));
        let opened = match inherited {
            Some(inherited) => adopt(inherited),
            None => bind(&config.listen).await,
        };
        match opened {
            Ok((socket, address)) => {
                let path = match &address {
                    Endpoint::Unix(path) => path.clone(),
                    Endpoint::Tcp { .. } => PathBuf::new(),
                };
                let connections = Connections::new(config.max_connections);
                Ok(Self { socket, file: SocketFile { path, keep }, address, connections })
            }
            Err(source) => Err(BindError { address: config.listen.clone(), source }),
        }
    }

    /// Binds the configured address. Needs a runtime.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        Self::open(config, None).await
    }

    /// A copy of the socket, for a process that takes over.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Bound::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Bound::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// The fate of the socket's file, if it has one.
    pub fn file(&self) -> Keep {
        Keep(Arc::clone(&self.file.keep))
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

/// The address is what the socket is bound to, not what the configuration says.
fn adopt(inherited: Inherited) -> io::Result<(Bound, Endpoint)> {
    match inherited {
        Inherited::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let endpoint = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
            Ok((Bound::Tcp(TcpListener::from_std(listener)?), endpoint))
        }
        Inherited::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
            Ok((Bound::Unix(UnixListener::from_std(listener)?), Endpoint::Unix(path)))
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
        if !self.path.as_os_str().is_empty() && !self.keep.load(Ordering::Relaxed) {
            // Gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}
