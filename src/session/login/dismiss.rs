//! Ends a server's connection whose client did not finish its login.
//!
//! Servers count connections that break off during the login, and after `max_connect_errors` (100) in a row
//! they block the host they come from. Behind a proxy that is the host of everybody: a port scanner, or a
//! health check that only connects, would lock all clients out. A login that is *refused* does not count,
//! so interlock lets the server refuse one.

use std::time::Duration;

use tokio::time::timeout;

use super::error::LoginError;
use super::leg::Leg;
use crate::wire::handshake::{hopeless_proof, hopeless_response};

/// Time that the server gets to refuse.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rounds after which the server may think what it likes.
const ROUNDS: usize = 4;

/// Ends `server` after `error`, so that it does not count as broken off.
pub(super) async fn dismiss(mut server: Leg, error: &LoginError) {
    if is_waiting(error) {
        // Whatever goes wrong here, the connection is closed next.
        let _ = timeout(PATIENCE, be_refused(&mut server)).await;
    }
}

/// The server waits for a packet of the client.
fn is_waiting(error: &LoginError) -> bool {
    match error {
        LoginError::ClientLeft
        | LoginError::Client(_)
        | LoginError::TlsRequired
        | LoginError::TlsNotOffered
        | LoginError::ClientTls(_)
        | LoginError::Refused(_)
        | LoginError::Rsa(_)
        | LoginError::Timeout(_) => true,
        LoginError::Connect(_)
        | LoginError::Denied { .. }
        | LoginError::ServerLeft
        | LoginError::Server(_)
        | LoginError::ServerWithoutTls
        | LoginError::ServerTls(_) => false,
    }
}

async fn be_refused(server: &mut Leg) -> Result<(), LoginError> {
    let lost = |_| LoginError::ServerLeft;
    match server.sequence() {
        // It has not greeted.
        0 => return Ok(()),
        1 => server.write(&hopeless_response()).await.map_err(lost)?,
        _ => server.write(&[]).await.map_err(lost)?,
    }
    for _ in 0..ROUNDS {
        let question = server.read().await.map_err(LoginError::from_server)?;
        if let Some(0x00 | 0xff) | None = question.first() {
            break;
        }
        server.write(&hopeless_proof(&question)).await.map_err(lost)?;
    }
    Ok(())
}
