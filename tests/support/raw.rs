//! A client that speaks raw packets, for tests about bytes.
//!
//! It knows the packet header, just enough of the handshake to log in, and nothing of results: a test
//! reads the packets it expects.

use mysql_common::scramble::{scramble_native, scramble_sha256};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Capability bits (protocol page "Capabilities Flags").
pub mod capability {
    /// Send found rows instead of affected rows.
    pub const FOUND_ROWS: u32 = 1 << 1;
    /// The login names a schema.
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    /// LOAD DATA LOCAL.
    pub const LOCAL_FILES: u32 = 1 << 7;
    /// The 4.1 protocol.
    pub const PROTOCOL_41: u32 = 1 << 9;
    /// Status flags in OK packets.
    pub const TRANSACTIONS: u32 = 1 << 13;
    /// 4.1 authentication.
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    /// Several statements in one COM_QUERY.
    pub const MULTI_STATEMENTS: u32 = 1 << 16;
    /// Several results of one COM_QUERY.
    pub const MULTI_RESULTS: u32 = 1 << 17;
    /// Several results of one COM_STMT_EXECUTE.
    pub const PS_MULTI_RESULTS: u32 = 1 << 18;
    /// The login names its plugin.
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    /// The login carries connection attributes.
    pub const CONNECT_ATTRS: u32 = 1 << 20;
    /// Session state in OK packets.
    pub const SESSION_TRACK: u32 = 1 << 23;
    /// An OK packet ends a result set.
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// Named values beside a statement (MySQL).
    pub const QUERY_ATTRIBUTES: u32 = 1 << 27;
    /// What the raw client asks for unless told otherwise.
    pub const DEFAULT: u32 = PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH
        | FOUND_ROWS;
}

/// What a login says.
#[derive(Clone, Debug)]
pub struct Login {
    /// Account name.
    pub user: String,
    /// Password, empty for none.
    pub password: String,
    /// Schema to start in.
    pub schema: Option<String>,
    /// Capability bits; CONNECT_WITH_DB is added if a schema is named.
    pub capabilities: u32,
    /// MariaDB's extended capability bits.
    pub mariadb_capabilities: u32,
    /// Connection attributes; sent if there are any.
    pub attributes: Vec<(String, String)>,
}

impl Default for Login {
    /// root without a password, no schema.
    fn default() -> Login {
        Login {
            user: "root".into(),
            password: String::new(),
            schema: None,
            capabilities: capability::DEFAULT,
            mariadb_capabilities: 0,
            attributes: Vec::new(),
        }
    }
}

trait Stream: Read + Write + Send {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
    fn shut(&self, how: Shutdown) -> io::Result<()>;
    fn local(&self) -> Option<SocketAddr>;
}

impl Stream for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))
    }

    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }
}

impl Stream for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))
    }

    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

/// One packet: its sequence number and payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Sequence number of the header.
    pub sequence: u8,
    /// The bytes after the header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// True for an OK packet (0x00, or the short 0xFE of a result set's end with DEPRECATE_EOF).
    pub fn is_ok(&self) -> bool {
        self.payload.first() == Some(&0)
    }

    /// True for an EOF packet, or the OK packet that takes its place.
    pub fn is_eof(&self) -> bool {
        self.payload.first() == Some(&0xFE) && self.payload.len() < 0xFF_FFFF
    }

    /// Error number and message of an ERR packet.
    pub fn error(&self) -> Option<(u16, String)> {
        let [0xFF, low, high, rest @ ..] = &self.payload[..] else { return None };
        let text = if rest.first() == Some(&b'#') && rest.len() >= 6 { &rest[6..] } else { rest };
        Some((u16::from_le_bytes([*low, *high]), String::from_utf8_lossy(text).into_owned()))
    }
}

/// A connection that sends and receives packets as they are.
pub struct RawClient {
    stream: Box<dyn Stream>,
    /// The server's greeting, as received.
    pub greeting: Vec<u8>,
    /// Connection id of the greeting.
    pub connection_id: u32,
}

impl RawClient {
    /// Connects to 127.0.0.1 and reads the greeting; reads time out after 20 s.
    pub fn connect(port: u16) -> RawClient {
        RawClient::connect_after(port, &[])
    }

    /// Connects, sends these bytes first (a PROXY header), and reads the greeting.
    pub fn connect_after(port: u16, header: &[u8]) -> RawClient {
        let mut client = RawClient::connect_silent(port);
        client.send_bytes(header);
        client.greet();
        client
    }

    /// Connects and reads nothing.
    pub fn connect_silent(port: u16) -> RawClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port takes connections");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a read timeout");
        RawClient { stream: Box::new(stream), greeting: Vec::new(), connection_id: 0 }
    }

    /// The error that came in place of a greeting.
    pub fn greeting_error(&self) -> Option<(u16, String)> {
        Packet { sequence: 0, payload: self.greeting.clone() }.error()
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> RawClient {
        let stream = UnixStream::connect(path).expect("the socket takes connections");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a read timeout");
        RawClient::over(Box::new(stream))
    }

    /// Connects and logs in; panics with the server's error if it refuses.
    pub fn login(port: u16, login: &Login) -> RawClient {
        let mut client = RawClient::connect(port);
        let last = client.authenticate(login);
        assert!(last.is_ok(), "login refused: {:?}", last.error());
        client
    }

    fn over(stream: Box<dyn Stream>) -> RawClient {
        let mut client = RawClient { stream, greeting: Vec::new(), connection_id: 0 };
        client.greet();
        client
    }

    fn greet(&mut self) {
        self.greeting = self.receive().payload;
        if self.greeting.first() == Some(&10) {
            let after_version = self.greeting.iter().position(|&byte| byte == 0).expect("a C string") + 1;
            let id = &self.greeting[after_version..after_version + 4];
            self.connection_id = u32::from_le_bytes(id.try_into().expect("four bytes"));
        }
    }

    /// The client's own address; panics on a Unix socket.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local().expect("a TCP connection")
    }

    /// The scramble of the greeting: 20 bytes.
    pub fn scramble(&self) -> Vec<u8> {
        let at = self.greeting.iter().position(|&byte| byte == 0).expect("a C string") + 5;
        let mut scramble = self.greeting[at..at + 8].to_vec();
        scramble.extend(&self.greeting[at + 27..at + 39]);
        scramble
    }

    fn greeting_plugin(&self) -> String {
        let name = self.greeting[..self.greeting.len() - 1].rsplit(|&byte| byte == 0).next();
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    /// Logs in and returns the packet that ends the login: OK or ERR.
    pub fn authenticate(&mut self, login: &Login) -> Packet {
        let plugin = self.greeting_plugin();
        let scramble = self.scramble();
        let mut capabilities = login.capabilities;
        if login.schema.is_some() {
            capabilities |= capability::CONNECT_WITH_DB;
        }
        if !login.attributes.is_empty() {
            capabilities |= capability::CONNECT_ATTRS;
        }
        let proof = prove(&plugin, &login.password, &scramble);
        let mut packet = capabilities.to_le_bytes().to_vec();
        packet.extend(0x0100_0000u32.to_le_bytes());
        packet.push(45); // utf8mb4_general_ci, which both servers know
        packet.extend([0; 19]);
        packet.extend(login.mariadb_capabilities.to_le_bytes());
        packet.extend(login.user.as_bytes());
        packet.push(0);
        packet.push(proof.len() as u8);
        packet.extend(&proof);
        if let Some(schema) = &login.schema {
            packet.extend(schema.as_bytes());
            packet.push(0);
        }
        packet.extend(plugin.as_bytes());
        packet.push(0);
        if !login.attributes.is_empty() {
            let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
            let all: Vec<u8> = login
                .attributes
                .iter()
                .flat_map(|(name, value)| short(name).into_iter().chain(short(value)))
                .collect();
            packet.push(all.len() as u8);
            packet.extend(all);
        }
        self.send(1, &packet);
        self.prove_on(&login.password, scramble).pop().expect("there is an answer")
    }

    /// Sends COM_CHANGE_USER without a proof and answers what the server asks; all its packets.
    pub fn change_user(&mut self, login: &Login) -> Vec<Packet> {
        let schema = login.schema.clone().unwrap_or_default();
        let plugin = self.greeting_plugin();
        let proof = prove(&plugin, &login.password, &self.scramble());
        let mut body =
            [login.user.as_bytes(), &[0, proof.len() as u8], &proof, schema.as_bytes(), &[0]].concat();
        body.extend([45, 0]);
        body.extend([plugin.as_bytes(), &[0]].concat());
        self.command(0x11, &body);
        let scramble = self.scramble();
        self.prove_on(&login.password, scramble)
    }

    /// The rounds of an authentication up to OK or ERR; all packets of the server.
    fn prove_on(&mut self, password: &str, mut scramble: Vec<u8>) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            let answer = self.receive();
            packets.push(answer.clone());
            match answer.payload[..] {
                // AuthSwitchRequest: plugin, then its scramble.
                [0xFE, ref rest @ ..] => {
                    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
                    let plugin = String::from_utf8_lossy(&rest[..end]).into_owned();
                    scramble = rest[end + 1..].iter().copied().filter(|&byte| byte != 0).collect();
                    let proof = prove(&plugin, password, &scramble);
                    self.send(answer.sequence.wrapping_add(1), &proof);
                }
                [0x01, 0x03] => {} // fast path: OK follows
                [0x01, 0x04] => self.send(answer.sequence.wrapping_add(1), &[0x02]), // asks for the key
                [0x01, ref key @ ..] => {
                    let mut secret = [password.as_bytes(), &[0]].concat();
                    secret.iter_mut().zip(scramble.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                    let block = mysql_common::crypto::encrypt(&secret, key);
                    self.send(answer.sequence.wrapping_add(1), &block);
                }
                _ => return packets,
            }
        }
    }

    /// Sends one packet; the payload must be shorter than 16 MiB − 1.
    pub fn send(&mut self, sequence: u8, payload: &[u8]) {
        let mut packet = (payload.len() as u32).to_le_bytes();
        packet[3] = sequence;
        self.send_bytes(&[&packet[..], payload].concat());
    }

    /// Sends a command: sequence number 0, code, body.
    pub fn command(&mut self, code: u8, body: &[u8]) {
        self.send(0, &[&[code], body].concat());
    }

    /// Sends bytes as they are, a packet or not.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection takes bytes");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` when the other side has closed.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a COM_QUERY and reads its whole answer, all results of it; packets as received.
    ///
    /// For logins without DEPRECATE_EOF, as [`Login::default`] is.
    pub fn query(&mut self, sql: &str) -> Vec<Packet> {
        self.try_query(sql).expect("an answer arrives")
    }

    /// As [`RawClient::query`].
    ///
    /// # Errors
    /// When the connection ends (it was killed) or nothing comes in time.
    pub fn try_query(&mut self, sql: &str) -> io::Result<Vec<Packet>> {
        let length = (sql.len() as u32 + 1).to_le_bytes();
        self.try_send_bytes(&[&length[..3], &[0, 0x03], sql.as_bytes()].concat())?;
        let mut packets = Vec::new();
        while self.receive_result(&mut packets)? {}
        Ok(packets)
    }

    /// The rows of a query with one result, as text; panics if the server refuses it.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let packets = self.query(sql);
        assert_eq!(packets[0].error(), None, "{sql}");
        let is_end = |packet: &&Packet| packet.is_eof() && packet.payload.len() < 9;
        let rows = packets.iter().skip_while(|packet| !is_end(packet)).skip(1);
        rows.take_while(|packet| !is_end(packet)).map(|packet| text_row(&packet.payload)).collect()
    }

    /// Reads one result; true if the server announces another.
    fn receive_result(&mut self, packets: &mut Vec<Packet>) -> io::Result<bool> {
        let first = self.try_receive()?;
        packets.push(first.clone());
        match first.payload[0] {
            0xFF => return Ok(false),
            0x00 => return Ok(more_results(&first.payload, ok_status_at(&first.payload))),
            _ => {}
        }
        for _ in 0..2 {
            // Columns up to the first EOF, rows up to the second.
            loop {
                let packet = self.try_receive()?;
                packets.push(packet.clone());
                if packet.error().is_some() {
                    return Ok(false);
                }
                if packet.is_eof() && packet.payload.len() < 9 {
                    break;
                }
            }
        }
        Ok(packets.last().is_some_and(|eof| more_results(&eof.payload, 3)))
    }

    /// Reads time out after this.
    pub fn set_timeout(&self, timeout: Duration) {
        self.stream.set_timeout(timeout).expect("a read timeout");
    }

    /// Closes the connection, or one direction of it, and keeps the socket.
    pub fn shut(&self, how: Shutdown) {
        let _ = self.stream.shut(how);
    }

    /// Reads to the end of the connection.
    ///
    /// # Errors
    /// Whatever ends it otherwise, `WouldBlock` for silence.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(|_| rest)
    }

    /// Reads one packet; panics when the connection ends or nothing comes for 20 s.
    pub fn receive(&mut self) -> Packet {
        self.try_receive().expect("a packet arrives")
    }

    /// Reads one packet.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ended, `WouldBlock` after 20 s of silence.
    pub fn try_receive(&mut self) -> io::Result<Packet> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(Packet { sequence: header[3], payload })
    }
}

/// The proof that a plugin wants for a password; empty for an empty password or an unknown plugin.
fn prove(plugin: &str, password: &str, scramble: &[u8]) -> Vec<u8> {
    match plugin {
        _ if password.is_empty() => Vec::new(),
        "mysql_native_password" => {
            scramble_native(scramble, password.as_bytes()).map(Vec::from).unwrap_or_default()
        }
        "caching_sha2_password" => {
            scramble_sha256(scramble, password.as_bytes()).map(Vec::from).unwrap_or_default()
        }
        "mysql_clear_password" => [password.as_bytes(), &[0]].concat(),
        _ => Vec::new(),
    }
}

/// Where the status flags of an OK packet begin: after the header and two length-encoded numbers.
fn ok_status_at(payload: &[u8]) -> usize {
    let mut at = 1;
    for _ in 0..2 {
        at += match payload.get(at) {
            Some(0xFC) => 3,
            Some(0xFD) => 4,
            Some(0xFE) => 9,
            _ => 1,
        };
    }
    at
}

/// The columns of a row of the text protocol.
fn text_row(mut rest: &[u8]) -> Vec<Option<String>> {
    let mut row = Vec::new();
    while let [first, after @ ..] = rest {
        let (width, length) = match first {
            0xFB => {
                row.push(None);
                rest = after;
                continue;
            }
            0xFC => (2, u64::from(u16::from_le_bytes([after[0], after[1]]))),
            0xFD => (3, u64::from(u32::from_le_bytes([after[0], after[1], after[2], 0]))),
            0xFE => (8, u64::from_le_bytes(after[..8].try_into().expect("eight bytes"))),
            length => (0, u64::from(*length)),
        };
        let (text, next) = after[width..].split_at(length as usize);
        row.push(Some(String::from_utf8_lossy(text).into_owned()));
        rest = next;
    }
    row
}

fn more_results(payload: &[u8], status_at: usize) -> bool {
    payload.get(status_at).is_some_and(|low| low & 0x08 != 0)
}
