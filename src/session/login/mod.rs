//! The connection phase: from an accepted client to two connections ready for commands.
//!
//! ```text
//! client                     interlock                      server
//!                            connect ──────────────────────────▶
//!    ◀──── greeting, edited ─┼──────────────────────── greeting
//! SSLRequest, TLS ──────────▶│ SSLRequest, TLS ─────────────────▶
//! HandshakeResponse41 ───────┼─ same bytes, TLS bit per leg ─────▶
//!    ◀───────────── authentication rounds, unchanged ──────────▶
//!    ◀────────────────────── OK ────────────────────────────────
//! ```
//!
//! Each leg counts its own packets, so TLS on one leg only, or a key exchange that one side does not see,
//! shifts nothing on the other.

mod authenticate;
mod change_user;
mod dismiss;
mod error;
mod leg;
mod negotiate;
mod rsa;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use thiserror::Error;
use tokio::time::timeout;

use self::dismiss::dismiss;
use self::leg::Leg;
use super::analysis::LoginFacts;
use crate::backend::stream::{Peer, Stream};
use crate::backend::tls::{Connector, TlsError};
use crate::backend::{self, connection::connect};
use crate::wire::auth::{Exchange, Transports, ok_status};

pub use self::change_user::{Changed, change_user};
pub use self::error::LoginError;
pub use self::rsa::OwnKey;

/// Time that a client gets to take the error of a failed login.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all logins share.
pub struct Settings {
    /// The server, and the way to it.
    pub backend: backend::Config,
    /// TLS towards the server.
    pub connector: Connector,
    /// Key for clients without TLS whose server leg is secure; `None` without
    /// `upstream.tls.allow_plain_client`.
    pub own_key: Option<Arc<OwnKey>>,
    /// Limit for the whole login.
    pub handshake_timeout: Duration,
    /// Refuse clients without TLS (`frontend.tls.required`). A Unix socket counts as TLS.
    pub tls_required: bool,
}

impl Settings {
    /// Settings for a configuration; reads the files that it names. A key that is there already is kept:
    /// clients may have been told of it.
    pub fn new(
        backend: backend::Config,
        handshake_timeout: Duration,
        tls_required: bool,
        own_key: Option<Arc<OwnKey>>,
    ) -> Result<Self, SettingsError> {
        let connector = Connector::new(&backend)?;
        let own_key = match own_key {
            _ if !backend.tls.allow_plain_client => None,
            None => Some(Arc::new(OwnKey::generate().map_err(|_| SettingsError::Key)?)),
            kept => kept,
        };
        Ok(Self { backend, connector, own_key, handshake_timeout, tls_required })
    }
}

/// The settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// TLS towards the server.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No RSA key could be made.
    #[error("cannot generate an RSA key")]
    Key,
}

/// A login that has succeeded. Nothing of either side has been read beyond it.
#[derive(Debug)]
pub struct LoggedIn {
    /// The client's connection.
    pub client: Stream,
    /// The server's connection.
    pub server: Stream,
    /// What the login told.
    pub facts: LoginFacts,
    /// MariaDB's extended capabilities in force; 0 with MySQL.
    pub mariadb_capabilities: u32,
    /// What a later COM_CHANGE_USER needs to authenticate.
    pub reauthentication: Reauthentication,
}

/// The part of a login that COM_CHANGE_USER builds on.
#[derive(Clone, Debug)]
pub struct Reauthentication {
    /// The transports of the two legs.
    pub transports: Transports,
    /// The last scramble that the server gave, for which a COM_CHANGE_USER may carry a proof. Only kept
    /// where interlock may have to mediate; empty where the transports are the same.
    pub scramble: Box<[u8]>,
}

impl Reauthentication {
    /// The relay must not pass a COM_CHANGE_USER on: [`change_user`] carries it out.
    pub fn is_needed(&self) -> bool {
        self.transports.differ()
    }

    fn new(transports: Transports, exchange: &Exchange) -> Self {
        let scramble = if transports.differ() { exchange.scramble().into() } else { Box::default() };
        Self { transports, scramble }
    }
}

/// Logs `client` in. `tls` is the frontend's TLS configuration, if it has one.
///
/// The future is boxed because the session lives on after it: its state must not take room in the session's.
pub fn login<'a>(
    settings: &'a Settings,
    client: Stream,
    peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> LocalBoxFuture<'a, Result<LoggedIn, LoginError>> {
    Box::pin(run(settings, client, peer, tls))
}

async fn run(
    settings: &Settings,
    client: Stream,
    peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<LoggedIn, LoginError> {
    let mut client = Leg::new(client, 0);
    let mut server = None;
    let attempt = attempt(settings, &mut client, &mut server, peer, tls);
    let outcome = match timeout(settings.handshake_timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LoginError::Timeout(settings.handshake_timeout)),
    };
    match outcome {
        Ok(agreed) => Ok(LoggedIn {
            client: client.into_stream().ok_or(LoginError::ClientLeft)?,
            server: server.and_then(Leg::into_stream).ok_or(LoginError::ServerLeft)?,
            facts: agreed.facts,
            mariadb_capabilities: agreed.mariadb_capabilities,
            reauthentication: agreed.reauthentication,
        }),
        Err(error) => {
            let dismissed = async {
                if let Some(server) = server {
                    dismiss(server, &error).await;
                }
            };
            tokio::join!(farewell(&mut client, &error), dismissed);
            Err(error)
        }
    }
}

/// Tells the client why there is no session, and closes its connection.
async fn farewell(client: &mut Leg, error: &LoginError) {
    let said = async {
        if let Some(packet) = error.for_client() {
            client.write_error(&packet).await?;
        }
        client.close().await
    };
    // The client may be gone or take nothing: then there is nobody to tell.
    let _ = timeout(FAREWELL, said).await;
}

/// What was agreed on. The connections stay outside, to be ended well whatever happens.
struct Agreed {
    facts: LoginFacts,
    mariadb_capabilities: u32,
    reauthentication: Reauthentication,
}

async fn attempt(
    settings: &Settings,
    client: &mut Leg,
    server: &mut Option<Leg>,
    peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Agreed, LoginError> {
    let server = server.insert(Leg::new(connect(&settings.backend, &peer).await?, 0));
    let mut negotiated = negotiate::negotiate(settings, client, server, tls).await?;
    let ok = authenticate::authenticate(settings, client, server, &mut negotiated.exchange).await?;
    Ok(Agreed {
        facts: LoginFacts { status: ok_status(&ok), peer: peer.to_string(), ..negotiated.facts },
        mariadb_capabilities: negotiated.mariadb_capabilities,
        reauthentication: Reauthentication::new(negotiated.transports, &negotiated.exchange),
    })
}

#[cfg(test)]
mod tests;
