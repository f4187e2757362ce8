//! The `[frontend]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::backend::endpoint::Endpoint;
use crate::backend::stream::Keepalive;

/// Where clients connect, and how many may.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address for clients: `host:port` or `unix:/path`.
    pub listen: Endpoint,
    /// Connections at one time; beyond it, a client gets error 1040.
    pub max_connections: usize,
    /// Time for a login, from the accepted connection to the server's OK.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Threads that serve connections; 0 means one per core.
    pub workers: usize,
    /// TLS towards clients.
    pub tls: TlsConfig,
    /// PROXY protocol from load balancers.
    pub proxy_protocol: ProxyProtocolConfig,
    /// TCP keep-alive.
    pub keepalive: Keepalive,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 6033 },
            max_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            workers: 0,
            tls: TlsConfig::default(),
            proxy_protocol: ProxyProtocolConfig::default(),
            keepalive: Keepalive::default(),
        }
    }
}

/// TLS towards clients; offered if `cert` and `key` are set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// File (PEM) of the certificate, with its chain.
    pub cert: Option<PathBuf>,
    /// File (PEM) of its key.
    pub key: Option<PathBuf>,
    /// File (PEM) of authorities: clients with TLS must then show a certificate of theirs.
    pub client_ca: Option<PathBuf>,
    /// Refuse clients without TLS; a Unix socket counts as TLS.
    pub required: bool,
}

/// PROXY protocol from load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Networks (`10.0.0.0/8`) whose connections begin with a header, version 1 or 2. From these a header
    /// is required, from others it is not accepted.
    pub accept_from: Vec<IpNet>,
}
