//! Greeting, TLS and the client's response: what the two sides agree on before anything is proved.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::Settings;
use super::error::LoginError;
use super::leg::Leg;
use crate::backend::config::TlsMode;
use crate::backend::stream::{Socket, Stream};
use crate::session::analysis::LoginFacts;
use crate::wire::auth::{Exchange, Refusal, Transport, Transports};
use crate::wire::handshake::{Greeting, Response, asks_for_tls, response_for_server, ssl_request};

/// The response has gone to the server; the exchange begins with the server's answer.
pub(super) struct Negotiated {
    pub(super) exchange: Exchange,
    pub(super) facts: LoginFacts,
    pub(super) mariadb_capabilities: u32,
    pub(super) transports: Transports,
}

pub(super) async fn negotiate(
    settings: &Settings,
    client: &mut Leg,
    server: &mut Leg,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Negotiated, LoginError> {
    let packet = server.read().await.map_err(LoginError::from_server)?;
    if let [0xff, ..] = packet[..] {
        // Too many connections (1040), host blocked (1129): the server's own words.
        client.write(&packet).await.map_err(|_| LoginError::ClientLeft)?;
        return Err(LoginError::denied(&packet));
    }
    let greeting = Greeting::parse(&packet).map_err(LoginError::server_handshake)?;
    let server_offers_tls = greeting.offers_tls();
    if settings.backend.tls.mode.is_mandatory() && !server_offers_tls {
        return Err(LoginError::ServerWithoutTls);
    }
    let offered = greeting.offered(tls.is_some());
    client.write(&greeting.for_client(&packet, tls.is_some())).await.map_err(|_| LoginError::ClientLeft)?;

    let bytes = client_response(settings, client, tls).await?;
    let response = Response::parse(&bytes).map_err(LoginError::client_handshake)?;
    let use_tls = wants_server_tls(settings, server_offers_tls, client, server);
    let allow_plain_client = settings.backend.tls.allow_plain_client;
    let server_transport = if use_tls { Transport::Tls } else { server.transport() };
    let transports = Transports { client: client.transport(), server: server_transport, allow_plain_client };
    if use_tls && !client.is_secure() && !allow_plain_client {
        // Not only for the plugins that depend on it: an account that requires TLS must not be reached
        // by a client without.
        return Err(LoginError::Refused(Refusal::PlainClient));
    }
    let plugin = if response.plugin.is_empty() { greeting.plugin } else { response.plugin };
    let capabilities = response.capabilities & offered;
    let exchange =
        Exchange::new(plugin, &bytes[response.auth.clone()], &greeting.scramble, capabilities, transports)
            .map_err(LoginError::Refused)?;
    if use_tls {
        let request = ssl_request(&bytes).ok_or_else(|| LoginError::Client("packet is too short".into()))?;
        server.write(&request).await.map_err(|_| LoginError::ServerLeft)?;
        let upgraded = server.upgrade(|stream| settings.connector.connect(stream)).await;
        upgraded.map_err(|error| LoginError::ServerTls(error.to_string()))?;
    }
    let passed_on = response_for_server(&bytes, server.is_tls());
    server.write(&passed_on).await.map_err(|_| LoginError::ServerLeft)?;

    Ok(Negotiated {
        exchange,
        facts: facts(&greeting, &response, capabilities),
        mariadb_capabilities: response.mariadb_capabilities & greeting.offered_mariadb(),
        transports,
    })
}

/// The client's response, after TLS if it asks for that.
async fn client_response(
    settings: &Settings,
    client: &mut Leg,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Vec<u8>, LoginError> {
    let packet = client.read().await.map_err(LoginError::from_client)?;
    if !asks_for_tls(&packet) {
        let allowed = client.is_secure() || !settings.tls_required;
        return if allowed { Ok(packet) } else { Err(LoginError::TlsRequired) };
    }
    let config = tls.ok_or(LoginError::TlsNotOffered)?;
    client.upgrade(|stream| accept(config, stream)).await.map_err(LoginError::ClientTls)?;
    client.read().await.map_err(LoginError::from_client)
}

async fn accept(config: Arc<rustls::ServerConfig>, stream: Stream) -> io::Result<Stream> {
    let socket: Socket = stream.into_socket()?;
    let tls = TlsAcceptor::from(config).accept(socket).await?;
    Ok(Stream::Tls(Box::new(tls.into())))
}

/// Whether the server's leg gets TLS. A Unix socket needs none unless the configuration insists.
fn wants_server_tls(settings: &Settings, offered: bool, client: &Leg, server: &Leg) -> bool {
    let tls = &settings.backend.tls;
    match tls.mode {
        TlsMode::Disabled => false,
        TlsMode::Preferred => {
            offered && !server.is_secure() && (client.is_secure() || tls.allow_plain_client)
        }
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => true,
    }
}

/// Connection attributes of one session that are kept, and the longest name and value, in characters.
const MAX_ATTRIBUTES: usize = 32;
const MAX_ATTRIBUTE: usize = 256;

fn attributes(response: &Response<'_>) -> BTreeMap<String, String> {
    response.attributes().take(MAX_ATTRIBUTES).map(|(name, value)| (cut(name), cut(value))).collect()
}

fn cut(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(MAX_ATTRIBUTE).collect()
}

fn facts(greeting: &Greeting<'_>, response: &Response<'_>, capabilities: u32) -> LoginFacts {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let program = response.attribute("program_name").or_else(|| response.attribute("_client_name"));
    LoginFacts {
        user: text(response.user),
        schema: response.schema.map(text),
        program: program.map(cut),
        attributes: attributes(response),
        server_thread: greeting.thread_id,
        server_version: text(greeting.version),
        capabilities,
        ..LoginFacts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::flags::capability;

    #[test]
    fn long_attributes_are_cut() {
        let text = |bytes: &[u8]| {
            let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 0xfb);
            let head = length
                .map_or_else(|| [&[0xfc][..], &(bytes.len() as u16).to_le_bytes()].concat(), |n| vec![n]);
            [&head[..], bytes].concat()
        };
        let long = vec![b'x'; 5000];
        let mut all = [text(b"program_name"), text(&long)].concat();
        (0..100).for_each(|n| all.extend([text(format!("name{n:03}").as_bytes()), text(b"value")].concat()));
        let capabilities = capability::PROTOCOL_41
            | capability::SECURE_CONNECTION
            | capability::PLUGIN_AUTH
            | capability::CONNECT_ATTRS;
        let head = [&capabilities.to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23]].concat();
        let length = [&[0xfc][..], &(all.len() as u16).to_le_bytes()].concat();
        let packet = [&head[..], b"root\0\0mysql_native_password\0", &length, &all].concat();
        let response = Response::parse(&packet).unwrap();
        let kept = attributes(&response);
        assert_eq!(kept.len(), MAX_ATTRIBUTES);
        assert_eq!(kept["program_name"].len(), MAX_ATTRIBUTE);
        assert_eq!(response.attribute("program_name").map(|name| cut(name).len()), Some(MAX_ATTRIBUTE));
    }
}
