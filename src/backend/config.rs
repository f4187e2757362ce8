//! The `[upstream]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::stream::Keepalive;

/// The server and the way to it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The server: `host:port` or `unix:/path`.
    pub address: Endpoint,
    /// Time for the connection to be established, name lookup included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// TLS towards the server.
    pub tls: TlsConfig,
    /// PROXY protocol header sent to the server.
    pub proxy_protocol: ProxyProtocol,
    /// TCP keep-alive.
    pub keepalive: Keepalive,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 3306 },
            connect_timeout: Duration::from_secs(5),
            tls: TlsConfig::default(),
            proxy_protocol: ProxyProtocol::None,
            keepalive: Keepalive::default(),
        }
    }
}

/// TLS towards the server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// How much TLS.
    pub mode: TlsMode,
    /// File (PEM) of the authorities that `verify_ca` and `verify_identity` trust.
    pub ca: Option<PathBuf>,
    /// File (PEM) of interlock's certificate for the server, with its chain.
    pub cert: Option<PathBuf>,
    /// File (PEM) of that certificate's key.
    pub key: Option<PathBuf>,
    /// Name that `verify_identity` expects in the server's certificate, if not that of the address.
    pub server_name: Option<String>,
    /// Let clients without TLS log in over a server leg with TLS or over a Unix socket. interlock then gives
    /// them an RSA key of its own where the server would, and sees their password.
    pub allow_plain_client: bool,
}

/// How much TLS there is towards the server; the words are those of MySQL's `--ssl-mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// None.
    Disabled,
    /// If the server offers it, and the client's leg is secure too or `allow_plain_client` is set: the same
    /// security on both legs. The certificate is not verified.
    #[default]
    Preferred,
    /// Always. The certificate is not verified.
    Required,
    /// Always; the certificate's chain leads to `ca`.
    VerifyCa,
    /// Always; besides, the certificate is made out for the server's name.
    VerifyIdentity,
}

impl TlsMode {
    /// The server must offer TLS.
    pub fn is_mandatory(self) -> bool {
        matches!(self, Self::Required | Self::VerifyCa | Self::VerifyIdentity)
    }

    /// The certificate's chain is verified.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// No header.
    #[default]
    None,
    /// Text.
    V1,
    /// Binary.
    V2,
}
