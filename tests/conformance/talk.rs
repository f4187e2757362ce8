//! A recorded conversation: what is sent, and every packet of the answers, told apart without interlock's code.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::time::Duration;

use crate::support::raw::{Packet, capability};
use crate::support::{Interlock, Login, RawClient, Server};

/// Largest payload of one packet.
pub const FULL: usize = 0xFF_FFFF;

const MORE_RESULTS: u8 = 0x08;
const CURSOR: u8 = 0x40;
const CACHE_METADATA: u32 = 1 << 4;

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Results, all of them.
    Results,
    /// The definitions of a prepared statement.
    Prepared,
    /// Definitions or rows up to their end.
    UntilEnd,
    /// One packet.
    One,
    /// One packet, of which only the kind is compared.
    Kind,
    /// None.
    Nothing,
}

/// One client's conversation with its record.
pub struct Talk {
    client: RawClient,
    login: Login,
    /// Ids of prepared statements, as the server gave them.
    ids: Vec<u32>,
    /// What was said, and how it was answered.
    pub record: Vec<(String, Vec<String>)>,
}

impl Talk {
    /// Logs in; the record begins with the OK packet.
    pub fn start(port: u16, login: &Login) -> Talk {
        let mut client = RawClient::connect(port);
        let last = client.authenticate(login);
        assert!(last.is_ok(), "login refused: {:?}", last.error());
        let record = vec![("login".to_owned(), vec![show(&last)])];
        Talk { client, login: login.clone(), ids: Vec::new(), record }
    }

    fn has(&self, bit: u32) -> bool {
        self.login.capabilities & bit != 0
    }

    /// COM_QUERY.
    pub fn query(&mut self, sql: impl AsRef<[u8]>) {
        let body = self.query_body(sql.as_ref());
        self.command(3, &body, Reply::Results);
    }

    /// The body of a COM_QUERY, with an empty list of attributes where there has to be one.
    pub fn query_body(&self, sql: &[u8]) -> Vec<u8> {
        let attributes: &[u8] = if self.has(capability::QUERY_ATTRIBUTES) { &[0, 1] } else { &[] };
        [attributes, sql].concat()
    }

    /// Any command, of any length.
    pub fn command(&mut self, code: u8, body: &[u8], reply: Reply) {
        let payload = [&[code], body].concat();
        self.send_long(0, &payload);
        self.read(describe(&payload), reply);
    }

    /// COM_STMT_PREPARE; gives the statement's id, or one that does not exist.
    pub fn prepare(&mut self, sql: &str) -> u32 {
        let before = self.ids.len();
        self.command(0x16, sql.as_bytes(), Reply::Prepared);
        self.ids.get(before).copied().unwrap_or(0x00FF_FFFF)
    }

    /// COM_STMT_EXECUTE of a statement with parameters given as type, encoded value; `None` for NULL.
    pub fn execute(&mut self, id: u32, cursor: u8, params: &[Option<(u16, &[u8])>]) {
        let body = self.execute_body(id, cursor, params);
        self.command(0x17, &body, Reply::Results);
    }

    /// The body of a COM_STMT_EXECUTE.
    pub fn execute_body(&self, id: u32, cursor: u8, params: &[Option<(u16, &[u8])>]) -> Vec<u8> {
        let mut body = id.to_le_bytes().to_vec();
        let named = self.has(capability::QUERY_ATTRIBUTES);
        body.push(cursor | if named { 8 } else { 0 });
        body.extend(1u32.to_le_bytes());
        if named {
            body.push(params.len() as u8);
        }
        if params.is_empty() {
            return body;
        }
        let mut nulls = vec![0u8; params.len().div_ceil(8)];
        for (at, _) in params.iter().enumerate().filter(|(_, param)| param.is_none()) {
            nulls[at / 8] |= 1 << (at % 8);
        }
        body.extend(nulls);
        body.push(1);
        for param in params {
            body.extend(param.map_or(6, |(kind, _)| kind).to_le_bytes());
            if named {
                body.push(0); // no name
            }
        }
        body.extend(params.iter().flatten().flat_map(|(_, value)| value.iter()));
        body
    }

    /// A payload in as many packets as it needs.
    pub fn send_long(&mut self, mut sequence: u8, mut payload: &[u8]) {
        while payload.len() >= FULL {
            let (now, rest) = payload.split_at(FULL);
            self.send_bytes(&[&[0xFF, 0xFF, 0xFF, sequence], now].concat());
            (payload, sequence) = (rest, sequence.wrapping_add(1));
        }
        let mut header = (payload.len() as u32).to_le_bytes();
        header[3] = sequence;
        self.send_bytes(&[&header[..], payload].concat());
    }

    /// Bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        // Where the other side has closed, the answers that fail to come are the record.
        let _ = self.client.try_send_bytes(bytes);
    }

    /// COM_CHANGE_USER with all its rounds.
    pub fn change_user(&mut self, login: &Login) {
        let packets = self.client.change_user(login);
        let shown = packets.iter().map(|packet| match packet.payload[0] {
            0xFE => format!("{}: switch, {} bytes", packet.sequence, packet.payload.len()),
            _ => show(packet),
        });
        self.record.push((format!("change user to {}", login.user), shown.collect()));
    }

    /// COM_QUIT; the record ends with what came after it.
    pub fn quit(mut self) -> Vec<(String, Vec<String>)> {
        self.send_bytes(&[1, 0, 0, 0, 1]);
        let rest = self
            .client
            .read_to_end()
            .map(|rest| if rest.is_empty() { "closed".to_owned() } else { format!("{rest:?}") });
        self.record.push(("quit".to_owned(), vec![rest.unwrap_or_else(|error| ended(&error))]));
        self.record
    }

    /// Reads an answer into the record.
    pub fn read(&mut self, what: String, reply: Reply) {
        let mut packets = Vec::new();
        if let Err(error) = self.read_reply(reply, &mut packets) {
            packets.push(ended(&error));
        }
        // MariaDB's ids of statements appear in messages, too.
        for (at, id) in self.ids.iter().enumerate() {
            let (shown, own) = (format!("({id})"), format!("(statement {at})"));
            packets.iter_mut().for_each(|packet| *packet = packet.replace(&shown, &own));
        }
        self.record.push((what, packets));
    }

    fn read_reply(&mut self, reply: Reply, packets: &mut Vec<String>) -> io::Result<()> {
        match reply {
            Reply::Nothing => Ok(()),
            Reply::One => self.next(packets).map(drop),
            Reply::Kind => {
                self.next(&mut Vec::new()).map(|first| packets.push(format!("{:?}", first.error())))
            }
            Reply::UntilEnd => self.until_end(packets).map(drop),
            Reply::Prepared => self.prepared(packets),
            Reply::Results => {
                while self.result(packets)? & MORE_RESULTS != 0 {}
                Ok(())
            }
        }
    }

    fn prepared(&mut self, packets: &mut Vec<String>) -> io::Result<()> {
        let mut first = self.next(packets)?;
        if first.error().is_some() {
            return Ok(());
        }
        // MariaDB counts statements of all connections: their ids are not compared.
        let id = [first.payload[1], first.payload[2], first.payload[3], first.payload[4]];
        self.ids.push(u32::from_le_bytes(id));
        first.payload[1..5].fill(0);
        packets.pop();
        packets.push(show(&first));
        for at in [5, 7] {
            let count = u16::from_le_bytes([first.payload[at], first.payload[at + 1]]);
            self.definitions(count.into(), packets)?;
        }
        Ok(())
    }

    /// Definitions with the packet that ends them; gives the status flags of that.
    fn definitions(&mut self, count: usize, packets: &mut Vec<String>) -> io::Result<u8> {
        for _ in 0..count {
            self.next(packets)?;
        }
        if count == 0 || self.has(capability::DEPRECATE_EOF) {
            return Ok(0);
        }
        Ok(self.next(packets)?.payload[3])
    }

    /// One result; gives the status flags at its end.
    fn result(&mut self, packets: &mut Vec<String>) -> io::Result<u8> {
        let first = self.next(packets)?;
        match first.payload[0] {
            0xFF | 0xFB | 0xFE => return Ok(0),
            0x00 => return Ok(ok_status(&first.payload)),
            _ => {}
        }
        let cached =
            self.login.mariadb_capabilities & CACHE_METADATA != 0 && first.payload.last() == Some(&0);
        let count = if cached { 0 } else { usize::from(first.payload[0]) };
        let mut status = self.definitions(count, packets)?;
        if cached && !self.has(capability::DEPRECATE_EOF) {
            status = self.next(packets)?.payload[3];
        }
        if status & CURSOR != 0 {
            return Ok(status);
        }
        self.until_end(packets)
    }

    /// Packets up to an EOF, the OK in its place, or an error.
    fn until_end(&mut self, packets: &mut Vec<String>) -> io::Result<u8> {
        loop {
            let packet = self.next(packets)?;
            let deprecated = self.has(capability::DEPRECATE_EOF);
            match packet.payload.first() {
                Some(0xFF) => return Ok(0),
                Some(0xFE) if deprecated && packet.payload.len() < FULL => {
                    return Ok(ok_status(&packet.payload));
                }
                Some(0xFE) if packet.payload.len() < 9 => return Ok(packet.payload[3]),
                _ => {}
            }
        }
    }

    /// One payload, from as many packets as it takes.
    fn next(&mut self, packets: &mut Vec<String>) -> io::Result<Packet> {
        let first = self.client.try_receive()?;
        packets.push(show(&first));
        let mut length = first.payload.len();
        while length == FULL {
            let more = self.client.try_receive()?;
            packets.push(show(&more));
            length = more.payload.len();
        }
        Ok(first)
    }
}

/// How the connection ended. Whether a client that writes too late sees an end or a reset is chance.
fn ended(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "closed".to_owned(),
        kind => kind.to_string(),
    }
}

fn ok_status(payload: &[u8]) -> u8 {
    let skip = |at: usize| match payload[at] {
        0xFC => at + 3,
        0xFD => at + 4,
        0xFE => at + 9,
        _ => at + 1,
    };
    payload[skip(skip(1))]
}

/// A packet as it is compared: exactly, a long one by a digest of its bytes.
fn show(packet: &Packet) -> String {
    if packet.payload.len() <= 2000 {
        return format!("{}: {}", packet.sequence, packet.payload.escape_ascii());
    }
    let mut hasher = DefaultHasher::new();
    packet.payload.hash(&mut hasher);
    format!("{}: {} bytes, digest {:x}", packet.sequence, packet.payload.len(), hasher.finish())
}

/// The beginning of what was sent, for messages.
fn describe(payload: &[u8]) -> String {
    if matches!(payload[0], 0x17..=0x1A | 0x1C | 0xFA) {
        return format!("command {:#04x}, {} bytes", payload[0], payload.len()); // begins with a statement's id
    }
    let begin = &payload[1..payload.len().min(120)];
    format!("command {:#04x}, {} bytes: {}", payload[0], payload.len(), begin.escape_ascii())
}

/// Holds a conversation with the server and then through interlock: the records must be the same. `setup`
/// runs before each.
pub fn same(server: &Server, interlock: &Interlock, login: &Login, setup: &str, script: impl Fn(&mut Talk)) {
    let hold = |port| {
        let mut root = RawClient::login(server.port, &Login::default());
        let prepared = root.query(setup);
        assert!(prepared.iter().all(|packet| packet.error().is_none()), "{setup}: {prepared:?}");
        let mut talk = Talk::start(port, login);
        talk.client.set_timeout(Duration::from_secs(10));
        script(&mut talk);
        talk.quit()
    };
    let (direct, through) = (hold(server.port), hold(interlock.port));
    for (at, (expected, got)) in direct.iter().zip(&through).enumerate() {
        assert_eq!(got.0, expected.0);
        let before: Vec<&str> = direct[at.saturating_sub(8)..at].iter().map(|said| &*said.0).collect();
        assert!(
            got.1 == expected.1,
            "{:?}, {}, after {before:#?}\nthrough interlock: {:#?}\ndirect: {:#?}",
            server.kind,
            got.0,
            got.1,
            expected.1
        );
        let timed_out = expected.1.last().is_some_and(|last| last.contains("block"));
        assert!(!timed_out, "the direct conversation got stuck at {}: {:?}", expected.0, expected.1);
    }
    assert_eq!(through.len(), direct.len());
}
