//! COM_CHANGE_USER between legs of different transports: its authentication needs the same mediation as the
//! login's. Where the transports are the same, the relay passes the command on like any other.

use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;

use super::authenticate::authenticate;
use super::leg::Leg;
use super::{LoginError, Reauthentication, Settings, farewell};
use crate::backend::stream::Stream;
use crate::session::analysis::Answer;
use crate::wire::auth::{Exchange, ok_status};
use crate::wire::handshake::ChangeUser;
use crate::wire::outcome::OutcomeKind;

/// Bytes before a packet's payload.
const HEADER: usize = 4;

/// A COM_CHANGE_USER that the server has answered.
#[derive(Debug)]
pub struct Changed {
    /// The client's connection; it has the server's answer.
    pub client: Stream,
    /// The server's connection. After an error the server may close it.
    pub server: Stream,
    /// OK or error.
    pub answer: Answer,
    /// For the next COM_CHANGE_USER.
    pub reauthentication: Reauthentication,
}

/// Carries out the COM_CHANGE_USER in `packet` (header included), which the client has sent and the server
/// has not got yet. `capabilities` are those in force. An error ends the session; the client was told.
pub fn change_user<'a>(
    settings: &'a Settings,
    reauthentication: &'a Reauthentication,
    capabilities: u32,
    client: Stream,
    server: Stream,
    packet: &'a [u8],
) -> LocalBoxFuture<'a, Result<Changed, LoginError>> {
    Box::pin(async move {
        let payload = packet.get(HEADER..).unwrap_or_default();
        let (mut client, mut server) = (Leg::new(client, 1), Leg::new(server, 0));
        let begun = Instant::now();
        let exchange = begin(reauthentication, capabilities, payload);
        let mut exchange = match exchange {
            Ok(exchange) => exchange,
            Err(error) => {
                farewell(&mut client, &error).await;
                return Err(error);
            }
        };
        let attempt = async {
            server.write(payload).await.map_err(|_| LoginError::ServerLeft)?;
            authenticate(settings, &mut client, &mut server, &mut exchange).await
        };
        let outcome = match timeout(settings.handshake_timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LoginError::Timeout(settings.handshake_timeout)),
        };
        let (result, status) = match outcome {
            Ok(ok) => {
                let result =
                    OutcomeKind::Ok { affected: 0, last_insert_id: 0, info: String::new(), schema: None };
                (result, Some(ok_status(&ok)))
            }
            Err(LoginError::Denied { code }) => (OutcomeKind::Error { code, message: String::new() }, None),
            Err(error) => {
                farewell(&mut client, &error).await;
                return Err(error);
            }
        };
        Ok(Changed {
            client: client.into_stream().ok_or(LoginError::ClientLeft)?,
            server: server.into_stream().ok_or(LoginError::ServerLeft)?,
            answer: Answer { result, status, last: true, server_time: begun.elapsed() },
            reauthentication: Reauthentication::new(reauthentication.transports, &exchange),
        })
    })
}

/// The exchange that the command begins.
fn begin(known: &Reauthentication, capabilities: u32, payload: &[u8]) -> Result<Exchange, LoginError> {
    let request = ChangeUser::parse(payload, capabilities).map_err(LoginError::client_handshake)?;
    Exchange::new(request.plugin, request.proof, &known.scramble, capabilities, known.transports)
        .map_err(LoginError::Refused)
}
