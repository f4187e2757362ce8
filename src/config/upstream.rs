//! The server's side: its address and TLS towards it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, unset};

/// The server's side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The server.
    pub address: Address,
    /// From connect to the server's greeting.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// PROXY header sent to the server.
    pub proxy_protocol: ProxyVersion,
    /// TLS towards the server.
    pub tls: UpstreamTlsConfig,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            address: Address::tcp("127.0.0.1", 3306),
            connect_timeout: Duration::from_secs(5),
            proxy_protocol: ProxyVersion::None,
            tls: UpstreamTlsConfig::default(),
        }
    }
}

/// Version of the PROXY header that the server gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// No header.
    #[default]
    None,
    /// Text header.
    V1,
    /// Binary header.
    V2,
}

/// TLS towards the server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsConfig {
    /// When TLS is used and what is verified.
    pub mode: TlsMode,
    /// Authorities of the server's certificate, PEM.
    #[serde(with = "unset")]
    pub ca: Option<PathBuf>,
    /// interlock's own certificate for the server, PEM.
    #[serde(with = "unset")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(with = "unset")]
    pub key: Option<PathBuf>,
    /// Name that the server's certificate must carry; unset, the host of `upstream.address`.
    #[serde(with = "unset")]
    pub server_name: Option<String>,
    /// Let a client without TLS log in over a secure server leg: interlock then sees its password.
    pub allow_plain_client: bool,
}

/// When TLS is used towards the server, as `--ssl-mode` of the server's own clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Never. The default: clients connect without TLS by default too, and a full login of
    /// `caching_sha2_password` fails if only the server leg is secure.
    #[default]
    Disabled,
    /// If the server offers it; nothing is verified.
    Preferred,
    /// Always; nothing is verified.
    Required,
    /// Always; the certificate must come from `ca`.
    VerifyCa,
    /// Always; the certificate must come from `ca` and carry `server_name`.
    VerifyIdentity,
}
