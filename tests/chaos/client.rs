//! A client that takes every fault as a value: it never panics, and never waits for long.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::support::raw::capability;

/// Longest silence; a server that does not answer for so long counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a statement has no result.
#[derive(Debug)]
pub enum Refused {
    /// The server, or interlock, says no; error number.
    Error(u16),
    /// The connection is broken.
    Lost(io::Error),
}

impl Refused {
    /// Nothing came for a long time.
    pub fn hangs(&self) -> bool {
        matches!(self, Refused::Lost(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Lost(error)
    }
}

/// Rows of a result, as text; empty for statements without.
pub type Rows = Vec<Vec<String>>;

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// Rows that the last statement has changed.
    affected: u64,
}

impl Client {
    /// Connects and logs in as root, into the schema `test`.
    pub fn login(port: u16) -> Result<Client, Refused> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, affected: 0 };
        let (_, greeting) = client.receive()?;
        check(&greeting)?;
        let plugin = greeting[..greeting.len() - 1].rsplit(|&byte| byte == 0).next().unwrap_or_default();
        let capabilities = capability::DEFAULT | capability::CONNECT_WITH_DB;
        let mut answer = [capabilities, 0x0100_0000].map(u32::to_le_bytes).concat();
        answer.push(45);
        answer.extend([0; 23]);
        answer.extend(b"root\0\0test\0");
        answer.extend([plugin, b"\0"].concat());
        client.send(1, &answer)?;
        loop {
            let (sequence, packet) = client.receive()?;
            check(&packet)?;
            match packet.first() {
                Some(0) => return Ok(client),
                // Another plugin: an empty password has an empty proof with each of them.
                Some(0xfe) => client.send(sequence.wrapping_add(1), &[])?,
                _ => {}
            }
        }
    }

    /// A statement and its result.
    pub fn query(&mut self, sql: &str) -> Result<Rows, Refused> {
        self.send(0, &[b"\x03", sql.as_bytes()].concat())?;
        let (_, first) = self.receive()?;
        check(&first)?;
        let mut rows = Rows::new();
        if first.first() == Some(&0) {
            self.affected = first.get(1).copied().map_or(0, u64::from);
            return Ok(rows);
        }
        while !is_eof(&self.receive()?.1) {}
        loop {
            let (_, row) = self.receive()?;
            check(&row)?;
            if is_eof(&row) {
                return Ok(rows);
            }
            rows.push(values(&row));
        }
    }

    /// Rows that the last statement has changed, if they were fewer than 251.
    #[allow(dead_code)] // one of the programs that use this file
    pub fn affected(&self) -> u64 {
        self.affected
    }

    /// Sends a statement and is gone.
    #[allow(dead_code)] // one of the programs that use this file
    pub fn leave(mut self, sql: &str) {
        let _ = self.send(0, &[b"\x03", sql.as_bytes()].concat());
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> io::Result<()> {
        let mut packet = (payload.len() as u32).to_le_bytes();
        packet[3] = sequence;
        self.stream.write_all(&[&packet[..], payload].concat())
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok((header[3], payload))
    }
}

fn check(packet: &[u8]) -> Result<(), Refused> {
    match packet {
        [0xff, low, high, ..] => Err(Refused::Error(u16::from_le_bytes([*low, *high]))),
        [] => Err(Refused::Lost(io::ErrorKind::InvalidData.into())),
        _ => Ok(()),
    }
}

fn is_eof(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// Short texts only: lengths of one byte.
fn values(mut row: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Some((&length, rest)) = row.split_first() {
        let length = if length == 0xfb { 0 } else { usize::from(length).min(rest.len()) };
        values.push(String::from_utf8_lossy(&rest[..length]).into_owned());
        row = &rest[length..];
    }
    values
}
