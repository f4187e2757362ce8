//! Listening sockets that were open before this process: from systemd, or from the process that this one
//! takes over from. Whoever connects in between queues in them and is not refused.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

use crate::frontend::listener::Inherited;

/// Name of the clients' socket (`FileDescriptorName=` of the socket unit).
pub(super) const CLIENTS: &str = "clients";
/// Name of the admin address' socket.
pub(super) const ADMIN: &str = "admin";

/// Sockets that this process was started with.
#[derive(Default)]
pub struct Sockets {
    /// Where clients connect, in place of `frontend.listen`.
    pub clients: Option<Inherited>,
    /// The admin address, in place of `admin.listen`.
    pub admin: Option<TcpListener>,
}

impl Sockets {
    /// Takes what the environment announces (`LISTEN_FDS`, `LISTEN_FDNAMES`), so that no child inherits it.
    /// To be called once, before the process has a second thread.
    ///
    /// # Errors
    /// A descriptor that is no listening socket, or one socket too many.
    pub fn from_environment() -> io::Result<Sockets> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let mut sockets = Sockets::default();
        for (position, role) in roles(&names, given.len()).into_iter().enumerate() {
            match role {
                ADMIN if sockets.admin.is_none() => sockets.admin = given.take_tcp_listener(position)?,
                CLIENTS if sockets.clients.is_none() => {
                    sockets.clients = match given.take_unix_listener(position) {
                        Ok(socket) => socket.map(Inherited::Unix),
                        Err(_) => given.take_tcp_listener(position)?.map(Inherited::Tcp),
                    }
                }
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "more sockets than one for clients and one for the admin address",
                    ));
                }
            }
        }
        Ok(sockets)
    }
}

/// What each socket is for: by its name, or the first for clients and the second for the admin address.
fn roles(names: &str, count: usize) -> Vec<&'static str> {
    let mut names = names.split(':');
    let role = |position| match (names.next(), position) {
        (Some(ADMIN), _) => ADMIN,
        (Some(CLIENTS), _) | (_, 0) => CLIENTS,
        _ => ADMIN,
    };
    (0..count).map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name_or_order() {
        assert_eq!(roles("", 0), [""; 0]);
        assert_eq!(roles("", 2), [CLIENTS, ADMIN]);
        // systemd names a socket after its unit if nobody else does.
        assert_eq!(roles("interlock.socket", 1), [CLIENTS]);
        assert_eq!(roles("admin:clients", 2), [ADMIN, CLIENTS]);
        assert_eq!(roles("interlock.socket:interlock-admin.socket", 2), [CLIENTS, ADMIN]);
    }
}
