//! The authentication rounds: packets pass until the server says OK or ERR; see [`crate::wire::auth`].

use std::future::poll_fn;
use std::task::Poll;

use super::error::LoginError;
use super::leg::Leg;
use super::{OwnKey, Settings, rsa};
use crate::wire::auth::{Exchange, Refusal, Step, key_packet, mix};

/// Which side a packet came from.
enum Side {
    Client,
    Server,
}

/// Runs the exchange to its end; gives the server's OK.
pub(super) async fn authenticate(
    settings: &Settings,
    client: &mut Leg,
    server: &mut Leg,
    exchange: &mut Exchange,
) -> Result<Vec<u8>, LoginError> {
    loop {
        let (side, packet) = next(client, server, exchange.client_may_speak()).await?;
        let step = match side {
            Side::Client => exchange.from_client(&packet),
            Side::Server => exchange.from_server(&packet),
        };
        match step {
            Step::Pass => match side {
                Side::Client => to_server(server, &packet).await?,
                Side::Server => to_client(client, &packet).await?,
            },
            Step::Accepted => {
                to_client(client, &packet).await?;
                return Ok(packet);
            }
            Step::Denied => {
                to_client(client, &packet).await?;
                return Err(LoginError::denied(&packet));
            }
            Step::ToServer(question) => to_server(server, &question).await?,
            Step::Encrypt { key, password } => {
                let block = rsa::encrypt(&key, &password.0).map_err(LoginError::Rsa)?;
                to_server(server, &block).await?;
            }
            Step::OfferKey => to_client(client, &key_packet(own_key(settings)?.pem())).await?,
            Step::Decrypt { scramble } => {
                let mixed = own_key(settings)?
                    .decrypt(&packet)
                    .map_err(|_| LoginError::Refused(Refusal::ForeignKey))?;
                to_server(server, &mix(&mixed.0, &scramble)).await?;
            }
            Step::Refuse(refusal) => return Err(LoginError::Refused(refusal)),
        }
    }
}

/// The next packet of either side; the client's only if it may speak.
async fn next(client: &mut Leg, server: &mut Leg, both: bool) -> Result<(Side, Vec<u8>), LoginError> {
    poll_fn(|context| {
        if let Poll::Ready(packet) = server.poll_read(context) {
            let packet = packet.map_err(LoginError::from_server);
            return Poll::Ready(packet.map(|packet| (Side::Server, packet)));
        }
        if !both {
            return Poll::Pending;
        }
        client
            .poll_read(context)
            .map(|packet| packet.map(|packet| (Side::Client, packet)).map_err(LoginError::from_client))
    })
    .await
}

async fn to_client(client: &mut Leg, payload: &[u8]) -> Result<(), LoginError> {
    client.write(payload).await.map_err(|_| LoginError::ClientLeft)
}

async fn to_server(server: &mut Leg, payload: &[u8]) -> Result<(), LoginError> {
    server.write(payload).await.map_err(|_| LoginError::ServerLeft)
}

/// The key exists wherever the legs ask for it; without it the login is refused as any other.
fn own_key(settings: &Settings) -> Result<&OwnKey, LoginError> {
    settings.own_key.as_deref().ok_or(LoginError::Refused(Refusal::PlainClient))
}
