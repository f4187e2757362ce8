//! Can the server be reached? Asked for readiness.
//!
//! With control connections the question goes over one of them. Without, a login is tried: connecting and
//! hanging up would count as a handshake error, and after `max_connect_errors` (100) of them the server blocks
//! the host; a login that is refused for its password does not count (manual, "host_cache Table").

use std::time::Duration;

use mysql_async::{Conn, Error, Opts, OptsBuilder};

use super::control::{Control, ControlError, Lane};
use super::endpoint::Endpoint;

/// Asks whether the server can be reached. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Over a control connection.
    Control(Control),
    /// By a login that the server refuses.
    Login(Opts, Duration),
}

/// An account name that no server has: the server's log and its owner can tell where the login came from.
const ACCOUNT: &str = "interlock-readiness";

impl Reach {
    /// Over control connections, if there are any.
    pub fn new(control: Option<Control>, server: &Endpoint, timeout: Duration) -> Reach {
        if let Some(control) = control {
            return Reach::Control(control);
        }
        let builder = OptsBuilder::default().user(Some(ACCOUNT)).prefer_socket(false);
        let builder = match server {
            Endpoint::Tcp { host, port } => builder.ip_or_hostname(host).tcp_port(*port),
            Endpoint::Unix(path) => builder.socket(Some(path.display().to_string())),
        };
        Reach::Login(Opts::from(builder), timeout)
    }

    /// Succeeds if the server would take clients now.
    pub async fn check(&self) -> Result<(), ControlError> {
        match self {
            Reach::Control(control) => control.query(Lane::Catalog, "DO 0".to_owned()).await.map(drop),
            Reach::Login(opts, timeout) => {
                match tokio::time::timeout(*timeout, Conn::new(opts.clone())).await {
                    Err(_) => Err(ControlError::TimedOut),
                    Ok(Ok(conn)) => {
                        // Somebody has made the account after all.
                        let _ = conn.disconnect().await;
                        Ok(())
                    }
                    Ok(Err(error)) => refused(error),
                }
            }
        }
    }
}

/// A refusal for the account's sake shows that the server is there; one for the server's sake does not help
/// clients.
fn refused(error: Error) -> Result<(), ControlError> {
    match error {
        // ER_CON_COUNT_ERROR, ER_SERVER_SHUTDOWN, ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED
        Error::Server(error) if matches!(error.code, 1040 | 1053 | 1129 | 1130) => {
            Err(ControlError::Server(error.code, error.message))
        }
        // An authentication plugin that the driver does not speak was asked for by a server that is there.
        Error::Server(_) | Error::Driver(mysql_async::DriverError::UnknownAuthPlugin { .. }) => Ok(()),
        error => Err(ControlError::Connection(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_not_reached() {
        let server = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 9 };
        let reach = Reach::new(None, &server, Duration::from_secs(1));
        assert!(matches!(reach.check().await, Err(ControlError::Connection(_))));
    }

    #[test]
    fn refusals_are_told_apart() {
        let server = |code| {
            Error::Server(mysql_async::ServerError { code, message: "m".to_owned(), state: "S".to_owned() })
        };
        assert!(refused(server(1045)).is_ok());
        assert!(refused(server(1040)).is_err());
    }
}
