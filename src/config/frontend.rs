//! The clients' side: where they connect, TLS, load balancers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, Network, unset};

/// The clients' side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendConfig {
    /// Where clients connect.
    pub listen: Address,
    /// Clients at one time; the next one gets error 1040.
    pub max_connections: usize,
    /// From accept to the end of the login.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Bytes of a command up to which its text is analysed; longer ones are relayed and counted.
    pub max_statement_bytes: usize,
    /// Runtime threads; 0 is one per core.
    pub workers: usize,
    /// TCP keep-alive on both legs: silence before the first probe.
    #[serde(with = "humantime_serde")]
    pub keepalive_idle: Duration,
    /// Time between two keep-alive probes.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// Probes without an answer after which the connection counts as dead.
    pub keepalive_count: u32,
    /// TLS towards clients.
    pub tls: FrontendTlsConfig,
    /// PROXY protocol from load balancers.
    pub proxy_protocol: ProxyProtocolConfig,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        FrontendConfig {
            listen: Address::tcp("127.0.0.1", 6033),
            max_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            max_statement_bytes: 1024 * 1024,
            workers: 0,
            keepalive_idle: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 6,
            tls: FrontendTlsConfig::default(),
            proxy_protocol: ProxyProtocolConfig::default(),
        }
    }
}

/// TLS towards clients; offered if `cert` and `key` are set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendTlsConfig {
    /// Certificate chain, PEM.
    #[serde(with = "unset")]
    pub cert: Option<PathBuf>,
    /// Private key, PEM.
    #[serde(with = "unset")]
    pub key: Option<PathBuf>,
    /// Authorities of client certificates, PEM; set, a client must show a certificate.
    #[serde(with = "unset")]
    pub client_ca: Option<PathBuf>,
    /// Refuse clients without TLS.
    pub required: bool,
}

/// PROXY protocol from load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Networks whose connections begin with a PROXY header, version 1 or 2.
    pub accept_from: Vec<Network>,
}
