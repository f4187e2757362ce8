//! Where something listens: `host:port` or `unix:/path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// An address to listen on or to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// A host name or address, with the port. IPv6 addresses stand without brackets here.
    Tcp {
        /// Name or address.
        host: String,
        /// Port; 0 lets the system choose when listening.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Text that is no endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected host:port, [ipv6]:port or unix:/path")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(EndpointError) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError)?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').ok_or(EndpointError)?,
            None if host.contains(':') => return Err(EndpointError),
            None => host,
        };
        let port = port.parse().map_err(|_| EndpointError)?;
        if host.is_empty() {
            return Err(EndpointError);
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{error}, got `{text}`")))
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for text in ["127.0.0.1:3306", "db.example:1", "[::1]:3306", "unix:/run/mysqld/mysqld.sock"] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        for text in ["", "localhost", ":3306", "::1:3306", "host:", "host:70000", "unix:", "[::1:3306"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text}");
        }
    }
}
