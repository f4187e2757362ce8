//! The first packets of a connection: the server's greeting, the client's `SSLRequest` and
//! `HandshakeResponse41` (protocol pages "Connection Phase").
//!
//! Bytes stay bytes: a greeting is edited in place, a response is passed on with some bits changed, so
//! whatever interlock does not know of reaches the other side as it was sent.

use std::ops::Range;

use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};
use thiserror::Error;

/// Longest packet that either side may send while a connection is being set up, in bytes.
///
/// Connection attributes may take 64 KiB, user name, password, schema and plugin name stand beside them.
pub const MAX_LOGIN_PACKET: usize = 128 * 1024;

/// Bytes of an `SSLRequest`, which are also the fixed part of a `HandshakeResponse41`.
pub const SSL_REQUEST_LEN: usize = 32;

/// Bytes of the scramble that every challenge plugin but ed25519 and parsec works with.
pub const SCRAMBLE_LEN: usize = 20;

/// Capabilities that interlock does not let client and server agree on: it could not read what follows.
const UNOBSERVABLE: u32 =
    CapabilityFlags::CLIENT_COMPRESS.bits() | CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM.bits();

/// MariaDB's extended capabilities that interlock knows; an unknown one could change the framing.
const KNOWN_MARIADB: u32 = MariadbCapabilities::all().bits();

const SSL: u32 = CapabilityFlags::CLIENT_SSL.bits();

/// Set by MySQL and by clients of MySQL; a MariaDB server leaves it out to say that the last four bytes of
/// the filler are extended capabilities.
const MYSQL: u32 = CapabilityFlags::CLIENT_LONG_PASSWORD.bits();

/// A packet of the connection phase that cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum HandshakeError {
    /// The packet ends before its fields do.
    #[error("packet is too short")]
    Short,
    /// The server speaks something else than protocol version 10.
    #[error("unsupported protocol version {0}")]
    Protocol(u8),
    /// The client does not speak protocol 4.1 (MySQL 4.1, 2004).
    #[error("client does not speak protocol 4.1")]
    OldClient,
}

/// What the server's greeting ("Protocol::HandshakeV10") says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Greeting<'a> {
    /// Version string as sent; MariaDB may put `5.5.5-` in front.
    pub version: &'a [u8],
    /// The server's connection id.
    pub thread_id: u32,
    /// Capabilities that the server offers.
    pub capabilities: u32,
    /// MariaDB's extended capabilities; 0 from MySQL.
    pub mariadb_capabilities: u32,
    /// Status flags.
    pub status: u16,
    /// Both parts of the scramble, without the zero byte at its end.
    pub scramble: Vec<u8>,
    /// Name of the default authentication plugin; empty without `CLIENT_PLUGIN_AUTH`.
    pub plugin: &'a [u8],
    /// Where the fixed block begins: the low half of the capabilities.
    fixed: usize,
}

impl<'a> Greeting<'a> {
    /// Reads a greeting's payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        let protocol = reader.u8()?;
        if protocol != 10 {
            return Err(HandshakeError::Protocol(protocol));
        }
        let version = reader.until_nul()?;
        let thread_id = reader.u32()?;
        let mut scramble = reader.take(8)?.to_vec();
        reader.take(1)?;
        let fixed = reader.position();
        let low = reader.u16()?;
        reader.take(1)?;
        let status = reader.u16()?;
        let high = reader.u16()?;
        let capabilities = u32::from(low) | u32::from(high) << 16;
        let scramble_len = usize::from(reader.u8()?);
        reader.take(6)?;
        let extended = reader.u32()?;
        let mariadb_capabilities = if capabilities & MYSQL == 0 { extended } else { 0 };
        // At least 13 bytes, the last of them zero, whatever the length says.
        scramble.extend_from_slice(reader.take(scramble_len.saturating_sub(8).max(13))?);
        if scramble.last() == Some(&0) {
            scramble.pop();
        }
        let plugin = if capabilities & CapabilityFlags::CLIENT_PLUGIN_AUTH.bits() != 0 {
            reader.until_nul_or_end()
        } else {
            &[]
        };
        Ok(Self { version, thread_id, capabilities, mariadb_capabilities, status, scramble, plugin, fixed })
    }

    /// The server can do TLS.
    pub fn offers_tls(&self) -> bool {
        self.capabilities & SSL != 0
    }

    /// The capabilities that the client is offered: the server's without those that interlock cannot
    /// observe, TLS as interlock itself offers it.
    pub fn offered(&self, tls: bool) -> u32 {
        let capabilities = self.capabilities & !(UNOBSERVABLE | SSL);
        if tls { capabilities | SSL } else { capabilities }
    }

    /// The extended capabilities that the client is offered.
    pub fn offered_mariadb(&self) -> u32 {
        self.mariadb_capabilities & KNOWN_MARIADB
    }

    /// The greeting's payload for the client; `payload` is the one that was parsed.
    pub fn for_client(&self, payload: &[u8], tls: bool) -> Vec<u8> {
        let mut edited = payload.to_vec();
        let [low0, low1, high0, high1] = self.offered(tls).to_le_bytes();
        let fixed = self.fixed;
        // `parse` has read 18 bytes from `fixed` on; a different payload is only copied.
        if let Some(block) = edited.get_mut(fixed..fixed + 18) {
            block[..2].copy_from_slice(&[low0, low1]);
            block[5..7].copy_from_slice(&[high0, high1]);
            if self.capabilities & MYSQL == 0 {
                block[14..18].copy_from_slice(&self.offered_mariadb().to_le_bytes());
            }
        }
        edited
    }
}

/// What the client's `HandshakeResponse41` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Capabilities that the client asks for.
    pub capabilities: u32,
    /// MariaDB's extended capabilities; 0 from a client of MySQL.
    pub mariadb_capabilities: u32,
    /// User name.
    pub user: &'a [u8],
    /// Where the authentication data stand in the payload.
    pub auth: Range<usize>,
    /// Schema to begin with.
    pub schema: Option<&'a [u8]>,
    /// Authentication plugin that made `auth`; empty if the client does not say.
    pub plugin: &'a [u8],
    /// Connection attributes, undecoded.
    attributes: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads a response's payload. Connection attributes that are cut short count as absent.
    pub fn parse(payload: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        let capabilities = reader.u32()?;
        let has = |flag: CapabilityFlags| capabilities & flag.bits() != 0;
        if !has(CapabilityFlags::CLIENT_PROTOCOL_41) {
            return Err(HandshakeError::OldClient);
        }
        reader.take(24)?;
        let extended = reader.u32()?;
        let mariadb_capabilities = if capabilities & MYSQL == 0 { extended } else { 0 };
        let user = reader.until_nul()?;
        let auth = if has(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            reader.lenenc()?
        } else if has(CapabilityFlags::CLIENT_SECURE_CONNECTION) {
            let len = reader.u8()?;
            reader.take(usize::from(len))?
        } else {
            reader.until_nul()?
        };
        let end = reader.position();
        let auth = end - auth.len()..end;
        let schema = if has(CapabilityFlags::CLIENT_CONNECT_WITH_DB) {
            Some(reader.until_nul_or_end()).filter(|schema| !schema.is_empty())
        } else {
            None
        };
        let plugin = if has(CapabilityFlags::CLIENT_PLUGIN_AUTH) { reader.until_nul_or_end() } else { &[] };
        let attributes = if has(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
            reader.lenenc().unwrap_or_default()
        } else {
            &[]
        };
        Ok(Self { capabilities, mariadb_capabilities, user, auth, schema, plugin, attributes })
    }

    /// The value of a connection attribute.
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        self.attributes().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// All connection attributes, name and value, in the client's order.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = Reader::new(self.attributes);
        std::iter::from_fn(move || Some((reader.lenenc().ok()?, reader.lenenc().ok()?)))
    }
}

/// A response that no server accepts: a user who does not exist, with no proof.
///
/// The name is none that anybody would give to an account: too many refusals can lock one.
pub fn hopeless_response() -> Vec<u8> {
    let capabilities = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    let mut payload = capabilities.bits().to_le_bytes().to_vec();
    // Largest packet 16 MiB, collation utf8mb4_general_ci, filler.
    payload.extend_from_slice(&[0, 0, 0, 1, 45]);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"interlock-client-left\0\0mysql_native_password\0");
    payload
}

/// An answer to a server that asks for the proof of [`hopeless_response`]'s user. Servers ask on behalf of
/// users who do not exist as well, with any plugin. The proof is wrong but has the right length: a wrong
/// length would count as a broken connection.
pub fn hopeless_proof(question: &[u8]) -> Vec<u8> {
    match question {
        // Signature of ed25519.
        [0xfe, rest @ ..] if rest.starts_with(b"client_ed25519\0") => vec![0; 64],
        // Parsec's salt: a nonce of 32 bytes and a signature.
        [b'P', ..] => vec![0; 96],
        // Empty password; for parsec, the request for the salt.
        _ => Vec::new(),
    }
}

/// The part of a COM_CHANGE_USER that authenticates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeUser<'a> {
    /// Proof for the connection's scramble, made by `plugin`.
    pub proof: &'a [u8],
    /// Authentication plugin; empty if the client does not say.
    pub plugin: &'a [u8],
}

impl<'a> ChangeUser<'a> {
    /// Reads the payload, command byte included; `capabilities` are those in force.
    pub fn parse(payload: &'a [u8], capabilities: u32) -> Result<Self, HandshakeError> {
        let has = |flag: CapabilityFlags| capabilities & flag.bits() != 0;
        let mut reader = Reader::new(payload);
        reader.take(1)?;
        reader.until_nul()?;
        let proof = if has(CapabilityFlags::CLIENT_SECURE_CONNECTION) {
            let len = reader.u8()?;
            reader.take(usize::from(len))?
        } else {
            reader.until_nul()?
        };
        reader.until_nul_or_end();
        // Old clients end here; the collation and the plugin came later.
        let named = reader.take(2).is_ok() && has(CapabilityFlags::CLIENT_PLUGIN_AUTH);
        Ok(Self { proof, plugin: if named { reader.until_nul_or_end() } else { &[] } })
    }
}

/// The client's first packet asks for TLS (it is an `SSLRequest`).
pub fn asks_for_tls(payload: &[u8]) -> bool {
    Reader::new(payload).u32().is_ok_and(|capabilities| capabilities & SSL != 0)
}

/// The response's payload for the server: the client's bytes, with TLS and compression as they are on
/// the server's leg.
pub fn response_for_server(payload: &[u8], tls: bool) -> Vec<u8> {
    let mut edited = payload.to_vec();
    if let Some(field) = edited.first_chunk_mut::<4>() {
        let capabilities = u32::from_le_bytes(*field) & !(UNOBSERVABLE | SSL);
        *field = (if tls { capabilities | SSL } else { capabilities }).to_le_bytes();
    }
    edited
}

/// The `SSLRequest` that goes before a response to a server on TLS; `None` if the response is too short.
pub fn ssl_request(response: &[u8]) -> Option<Vec<u8>> {
    Some(response_for_server(response.get(..SSL_REQUEST_LEN)?, true))
}

/// Reads the fields of a packet from front to back.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], HandshakeError> {
        let taken = self.rest().get(..len).ok_or(HandshakeError::Short)?;
        self.position += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let array = *self.rest().first_chunk::<N>().ok_or(HandshakeError::Short)?;
        self.position += N;
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, HandshakeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, HandshakeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, HandshakeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Bytes up to a zero byte, which is stepped over.
    pub(super) fn until_nul(&mut self) -> Result<&'a [u8], HandshakeError> {
        let len = memchr::memchr(0, self.rest()).ok_or(HandshakeError::Short)?;
        let text = self.take(len)?;
        self.position += 1;
        Ok(text)
    }

    /// Like `until_nul`, but the end of the packet may stand for the zero byte: some old servers and
    /// clients leave it out after the last string.
    pub(super) fn until_nul_or_end(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let len = memchr::memchr(0, rest).unwrap_or(rest.len());
        self.position += (len + 1).min(rest.len());
        &rest[..len]
    }

    /// A length-encoded integer.
    pub(super) fn lenenc_int(&mut self) -> Result<u64, HandshakeError> {
        Ok(match self.u8()? {
            small @ 0..=0xfa => u64::from(small),
            0xfc => u64::from(self.u16()?),
            0xfd => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => self.array().map(u64::from_le_bytes)?,
            _ => return Err(HandshakeError::Short),
        })
    }

    /// Length-encoded bytes.
    pub(super) fn lenenc(&mut self) -> Result<&'a [u8], HandshakeError> {
        let len = usize::try_from(self.lenenc_int()?).map_err(|_| HandshakeError::Short)?;
        self.take(len)
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
