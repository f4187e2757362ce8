//! Why a login ended without a session, and what the client is told.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::leg::ReadError;
use crate::backend::connection::ConnectError;
use crate::wire::auth::Refusal;
use crate::wire::error::ErrorPacket;
use crate::wire::handshake::HandshakeError;

/// A login that has failed. Both connections are closed; the client was told where it could be told.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The server cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server has sent an error, which went to the client as it was.
    #[error("server refused the login ({code})")]
    Denied {
        /// MySQL error number.
        code: u16,
    },
    /// The client went away.
    #[error("client left during login")]
    ClientLeft,
    /// The client has sent what no client sends.
    #[error("client: {0}")]
    Client(String),
    /// The client did not ask for TLS, and `frontend.tls.required` is set.
    #[error("client did not ask for TLS")]
    TlsRequired,
    /// The client asked for TLS, and it is not offered.
    #[error("client asked for TLS, which is not configured")]
    TlsNotOffered,
    /// TLS with the client could not be set up.
    #[error("TLS with client failed: {0}")]
    ClientTls(io::Error),
    /// The server went away.
    #[error("server closed the connection during login")]
    ServerLeft,
    /// The server has sent what cannot be understood.
    #[error("server: {0}")]
    Server(String),
    /// The configuration wants TLS, and the server does not offer it.
    #[error("server does not offer TLS, which upstream.tls.mode asks for")]
    ServerWithoutTls,
    /// TLS with the server could not be set up.
    #[error("TLS with server failed: {0}")]
    ServerTls(String),
    /// The two legs differ in security in a way that this login cannot bridge.
    #[error("{}", refusal_text(*.0))]
    Refused(Refusal),
    /// Key work failed.
    #[error("RSA: {0}")]
    Rsa(&'static str),
    /// The login took too long.
    #[error("login not finished within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl LoginError {
    /// What the client is told; `None` if it knows already, or cannot be told.
    pub(super) fn for_client(&self) -> Option<ErrorPacket> {
        let packet = |code, sqlstate, message: String| Some(ErrorPacket { code, sqlstate, message });
        match self {
            Self::Denied { .. } | Self::ClientLeft | Self::ClientTls(_) => None,
            // The client library's number for an unreachable server; the message says who speaks.
            Self::Connect(error) => packet(2003, "HY000", format!("interlock: {error}")),
            Self::ServerLeft | Self::Server(_) => packet(2013, "HY000", format!("interlock: {self}")),
            Self::ServerWithoutTls | Self::ServerTls(_) => {
                packet(2026, "HY000", format!("interlock: {self}"))
            }
            // ER_HANDSHAKE_ERROR
            Self::Client(_) | Self::TlsNotOffered => packet(1043, "08S01", format!("Bad handshake ({self})")),
            // ER_SECURE_TRANSPORT_REQUIRED
            Self::TlsRequired => packet(
                3159,
                "HY000",
                "Connections using insecure transport are prohibited while frontend.tls.required=true."
                    .to_owned(),
            ),
            // ER_ACCESS_DENIED_ERROR would hide the cause behind a wrong password.
            Self::Refused(_) | Self::Rsa(_) => packet(3159, "HY000", format!("interlock: {self}")),
            // ER_NET_READ_INTERRUPTED
            Self::Timeout(_) => packet(1159, "08S01", format!("interlock: {self}")),
        }
    }

    /// The server's ERR packet.
    pub(super) fn denied(packet: &[u8]) -> Self {
        let code = packet.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
        Self::Denied { code }
    }

    pub(super) fn from_client(error: ReadError) -> Self {
        match error {
            ReadError::Closed | ReadError::Io(_) => Self::ClientLeft,
            other => Self::Client(other.to_string()),
        }
    }

    pub(super) fn from_server(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::ServerLeft,
            other => Self::Server(other.to_string()),
        }
    }

    pub(super) fn client_handshake(error: HandshakeError) -> Self {
        Self::Client(error.to_string())
    }

    pub(super) fn server_handshake(error: HandshakeError) -> Self {
        Self::Server(error.to_string())
    }
}

fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::PlainClient => {
            "this connection has no TLS, but interlock's connection to the server is secure: connect with TLS, \
             or set upstream.tls.allow_plain_client"
        }
        Refusal::ForeignKey => {
            "the password is encrypted with another RSA key than interlock's: let the client ask for the key, \
             or connect with TLS"
        }
        Refusal::EarlyProof => {
            "sha256_password as default plugin of the server needs the same security between client and \
             interlock as between interlock and server"
        }
        Refusal::NoServerKey => "the server gave no RSA key for the password",
        Refusal::Malformed => "packet out of place in authentication",
    }
}
