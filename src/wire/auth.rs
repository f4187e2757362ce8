//! Authentication as a state machine between a client's leg and a server's leg.
//!
//! ```text
//! server → 0xfe AuthSwitchRequest, 0x02 AuthNextFactor, 0x01 AuthMoreData … → client answers …
//! server → 0x00 OK or 0xff ERR: over
//! ```
//!
//! interlock knows no password, so nearly everything passes. The exception are `caching_sha2_password`
//! and `sha256_password`: how a password travels in them depends on whether the connection is secure, and
//! each end judges that by its own leg. Where the legs differ, [`Exchange`] asks its owner to speak for the
//! side that is missing: to fetch the server's RSA key and encrypt, or to hand out a key and decrypt.
//!
//! The same exchange follows a COM_CHANGE_USER in the command phase.

use mysql_common::constants::CapabilityFlags;

use super::handshake::{Reader, SCRAMBLE_LEN};

/// How bytes travel on one leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP without TLS.
    Plain,
    /// A Unix socket without TLS. `caching_sha2_password` counts it as secure, `sha256_password` does not.
    Local,
    /// TLS.
    Tls,
}

/// The transports of a session's two legs, and what may be done where they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transports {
    /// The client's leg.
    pub client: Transport,
    /// The server's leg.
    pub server: Transport,
    /// `upstream.tls.allow_plain_client`.
    pub allow_plain_client: bool,
}

impl Transports {
    /// Authentication may need interlock's mediation, with one plugin or the other.
    pub fn differ(&self) -> bool {
        self.client != self.server
    }

    fn legs(&self, plugin: Plugin) -> Legs {
        let secure = |transport| match transport {
            Transport::Plain => false,
            Transport::Local => plugin == Plugin::CachingSha2,
            Transport::Tls => true,
        };
        match (secure(self.client), secure(self.server)) {
            (true, false) => Legs::SecureClient,
            (false, true) if self.allow_plain_client => Legs::SecureServer,
            (false, true) => Legs::SecureServerRefused,
            _ => Legs::Same,
        }
    }
}

/// Which legs are secure in the plugin's sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Legs {
    /// Both are, or neither.
    Same,
    /// The client's is, the server's is not: the client sends its password as it is, the server wants it
    /// encrypted.
    SecureClient,
    /// The server's is, the client's is not: the client wants to encrypt, the server wants the password.
    /// Allowed by configuration.
    SecureServer,
    /// As before, but not allowed: logins that depend on the transport are refused.
    SecureServerRefused,
}

/// What to do with the packet that was just read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Pass it to the other side unchanged.
    Pass,
    /// Pass it to the client: the server's OK ends the exchange.
    Accepted,
    /// Pass it to the client: the server's ERR ends the exchange.
    Denied,
    /// Do not pass it on; send this to the server instead.
    ToServer(Vec<u8>),
    /// Do not pass it on; encrypt `password` with the key in `key` (PEM) and send that to the server.
    Encrypt {
        /// The server's public key.
        key: Vec<u8>,
        /// Password, zero byte included, already mixed with the scramble.
        password: Secret,
    },
    /// Do not pass it on; send a public key of interlock's own to the client, with [`key_packet`].
    OfferKey,
    /// Do not pass it on; decrypt it with the own key, mix it with the scramble ([`mix`]) and send the
    /// password that comes out to the server.
    Decrypt {
        /// The scramble that the client mixed in.
        scramble: Vec<u8>,
    },
    /// The login cannot go on.
    Refuse(Refusal),
}

/// Why interlock itself ends a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The client's leg is plain, the server's is secure, and the configuration does not allow it.
    PlainClient,
    /// The client has encrypted its password with a key that is not interlock's.
    ForeignKey,
    /// The client's first packet holds a proof of sha256_password, which depends on the transport; interlock
    /// can mediate only after the server has asked for it.
    EarlyProof,
    /// The server did not answer with a public key.
    NoServerKey,
    /// A packet that the exchange does not allow here.
    Malformed,
}

/// A password on its way; it does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
    }
}

/// One authentication exchange, from the client's proof to the server's OK or ERR.
#[derive(Clone, Debug)]
pub struct Exchange {
    transports: Transports,
    multi_factor: bool,
    plugin: Plugin,
    scramble: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plugin {
    CachingSha2,
    Sha256,
    /// One answer to one challenge: `mysql_native_password`, `client_ed25519`.
    Signature,
    Other,
}

#[derive(Clone, Debug)]
enum State {
    /// The server has the client's last packet.
    ServerTurn,
    /// The client has been asked by plugin name and answers its first packet.
    Proof,
    /// The client has been told to send its password (or to ask for a key).
    Password,
    /// The client was given the server's own key, or sends something that only passes.
    ClientTurn,
    /// The server was asked for its key; this password waits for it.
    ServerKey(Secret),
    /// The client was given interlock's key.
    OwnKey,
    /// A plugin that interlock does not know.
    Open,
    Over,
}

impl Exchange {
    /// An exchange whose first proof, made by `plugin` for `scramble`, is on its way to the server in a
    /// handshake response or a COM_CHANGE_USER. `capabilities` are those in force on the connection.
    ///
    /// Fails if that packet must not be passed on, because of the legs.
    pub fn new(
        plugin: &[u8],
        proof: &[u8],
        scramble: &[u8],
        capabilities: u32,
        transports: Transports,
    ) -> Result<Self, Refusal> {
        let plugin = Plugin::from_name(plugin);
        if plugin == Plugin::Sha256 && transports.legs(plugin) != Legs::Same && !matches!(proof, [] | [0]) {
            return Err(Refusal::EarlyProof);
        }
        let multi_factor = capabilities & CapabilityFlags::MULTI_FACTOR_AUTHENTICATION.bits() != 0;
        Ok(Self {
            transports,
            multi_factor,
            plugin,
            scramble: scramble_of(scramble),
            state: State::ServerTurn,
        })
    }

    /// The scramble that was given last: a later COM_CHANGE_USER carries a proof for it.
    pub fn scramble(&self) -> &[u8] {
        &self.scramble
    }

    /// The client may speak now. Where not, what it sends is for later (a command that did not wait for the
    /// end of the login) and must not be read. The server may speak at any time: it may give up.
    pub fn client_may_speak(&self) -> bool {
        !matches!(self.state, State::ServerTurn | State::ServerKey(_) | State::Over)
    }

    /// The server has sent `payload`.
    pub fn from_server(&mut self, payload: &[u8]) -> Step {
        // ## ServerKey => ServerTurn
        if let State::ServerKey(password) = &mut self.state {
            let password = Secret(std::mem::take(&mut password.0));
            return self.server_key(payload, password);
        }
        match payload.first() {
            // ## any => Over
            Some(0x00) => {
                self.state = State::Over;
                Step::Accepted
            }
            Some(0xff) => {
                self.state = State::Over;
                Step::Denied
            }
            // ## any => Proof
            Some(0xfe) => self.switch(payload),
            Some(0x02) if self.multi_factor => self.switch(payload),
            Some(0x01) => self.more_data(&payload[1..]),
            // MariaDB wraps only what would look like another packet, so plugins speak for themselves.
            Some(_) => self.more_data(payload),
            None => self.refuse(Refusal::Malformed),
        }
    }

    /// The client has sent `payload`.
    pub fn from_client(&mut self, payload: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::ServerTurn) {
            State::Proof if self.plugin == Plugin::Sha256 => self.sha256_proof(payload),
            State::Proof => Step::Pass,
            State::Password => self.password(payload),
            State::OwnKey => Step::Decrypt { scramble: self.scramble.clone() },
            State::ClientTurn => Step::Pass,
            State::Open => {
                self.state = State::Open;
                Step::Pass
            }
            State::ServerTurn | State::ServerKey(_) | State::Over => self.refuse(Refusal::Malformed),
        }
    }

    fn legs(&self) -> Legs {
        self.transports.legs(self.plugin)
    }

    /// Names another plugin and gives it a scramble: the request to switch, or the next factor.
    fn switch(&mut self, payload: &[u8]) -> Step {
        let mut reader = Reader::new(payload);
        // A single 0xfe byte asks for the password hash of before 4.1; it has no name.
        let name = reader.take(1).map(|_| reader.until_nul_or_end()).unwrap_or_default();
        self.plugin = Plugin::from_name(name);
        self.scramble = scramble_of(reader.rest());
        // ServerTurn after an unknown plugin's proof would be wrong if the plugin lets the client go on.
        self.state = if self.plugin == Plugin::Other { State::Open } else { State::Proof };
        Step::Pass
    }

    fn more_data(&mut self, data: &[u8]) -> Step {
        match self.plugin {
            Plugin::CachingSha2 => match data {
                [3 | 4] if self.legs() == Legs::SecureServerRefused => self.refuse(Refusal::PlainClient),
                // ## ServerTurn: the proof was good (fast path), OK follows
                [3] => Step::Pass,
                // ## ServerTurn => Password
                [4] => {
                    self.state = State::Password;
                    Step::Pass
                }
                // ## ServerTurn => ClientTurn: the server's key, in answer to the client's own question
                _ => {
                    self.state = State::ClientTurn;
                    Step::Pass
                }
            },
            Plugin::Sha256 | Plugin::Signature => {
                self.state = State::ClientTurn;
                Step::Pass
            }
            Plugin::Other => {
                self.state = State::Open;
                Step::Pass
            }
        }
    }

    /// The client's answer to "full authentication" (caching_sha2_password).
    fn password(&mut self, payload: &[u8]) -> Step {
        match self.legs() {
            Legs::SecureServerRefused => self.refuse(Refusal::PlainClient),
            Legs::SecureServer if payload == [2] => self.offer_key(),
            Legs::SecureServer => self.refuse(Refusal::ForeignKey),
            // A secure client may ask for the key all the same; then it can pass.
            Legs::SecureClient if payload != [2] => self.ask_server_key(payload, 2),
            Legs::SecureClient | Legs::Same => Step::Pass,
        }
    }

    /// The client's first packet for sha256_password: `1` asks for the key, a zero byte is the empty
    /// password, all else is the password or its encryption.
    fn sha256_proof(&mut self, payload: &[u8]) -> Step {
        match (self.legs(), payload) {
            (_, [] | [0]) | (Legs::Same, _) | (Legs::SecureClient, [1]) => Step::Pass,
            (Legs::SecureClient, _) => self.ask_server_key(payload, 1),
            (Legs::SecureServer, [1]) => self.offer_key(),
            (Legs::SecureServer, _) => self.refuse(Refusal::ForeignKey),
            (Legs::SecureServerRefused, _) => self.refuse(Refusal::PlainClient),
        }
    }

    fn offer_key(&mut self) -> Step {
        self.state = State::OwnKey;
        Step::OfferKey
    }

    fn ask_server_key(&mut self, password: &[u8], question: u8) -> Step {
        self.state = State::ServerKey(Secret(password.to_vec()));
        Step::ToServer(vec![question])
    }

    fn server_key(&mut self, payload: &[u8], password: Secret) -> Step {
        self.state = State::ServerTurn;
        match payload {
            // Without the 1 where the server does not wrap what cannot be mistaken.
            [1, key @ ..] | key @ [b'-', ..] => {
                Step::Encrypt { key: key.to_vec(), password: Secret(mix(&password.0, &self.scramble)) }
            }
            [0xff, ..] => {
                self.state = State::Over;
                Step::Denied
            }
            _ => self.refuse(Refusal::NoServerKey),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Step {
        self.state = State::Over;
        Step::Refuse(refusal)
    }
}

impl Plugin {
    fn from_name(name: &[u8]) -> Self {
        match name {
            b"caching_sha2_password" => Self::CachingSha2,
            b"sha256_password" => Self::Sha256,
            b"mysql_native_password" | b"client_ed25519" => Self::Signature,
            _ => Self::Other,
        }
    }
}

/// A public key (PEM) as the server would send it.
pub fn key_packet(pem: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + pem.len());
    payload.push(1);
    payload.extend_from_slice(pem.as_bytes());
    payload
}

/// Mixes a password with the scramble, or takes the scramble out again.
pub fn mix(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if scramble.is_empty() {
        return password.to_vec();
    }
    password.iter().zip(scramble.iter().cycle()).map(|(byte, salt)| byte ^ salt).collect()
}

/// The scramble without the zero byte that follows it in packets.
fn scramble_of(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(SCRAMBLE_LEN)].to_vec()
}

/// Status flags of an OK packet; 0 if it is cut short.
pub fn ok_status(payload: &[u8]) -> u16 {
    let mut reader = Reader::new(payload);
    let status = reader.u8().and_then(|_| {
        reader.lenenc_int()?;
        reader.lenenc_int()?;
        reader.u16()
    });
    status.unwrap_or_default()
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
