//! What the two directions of a session share.

use std::io;

use super::expect::{Expectations, Origin};
use super::restart::Restart;
use super::tape::Tape;
use super::{End, Negotiated, RelayError, RelayLimits};
use crate::wire::command::{COM_QUERY, COM_STMT_CLOSE};
use crate::wire::flags::capability;
use crate::wire::packet::write_packet;
use crate::wire::response::Kind;

/// The shared state.
#[derive(Debug)]
pub(super) struct Link {
    pub session: Negotiated,
    pub limits: RelayLimits,
    pub expected: Expectations,
    /// interlock's own packets for the client, written after everything that was approved before.
    pub to_client: Vec<u8>,
    /// interlock's own packets for the server, likewise.
    pub to_server: Vec<u8>,
    /// How interlock's own statement ended, once it has: the number of its rows, or an error number.
    pub injected: Option<Result<u64, u16>>,
    /// What the transaction has run so far.
    pub tape: Option<Tape>,
    /// The transaction is being run again.
    pub restart: Option<Box<Restart>>,
    /// The server asks for a local file.
    pub local_file: bool,
    /// A COM_CHANGE_USER that the caller is to carry out.
    pub change_user: Option<Vec<u8>>,
    /// COM_QUIT has been passed on.
    pub quit: bool,
    /// The client sends nothing more.
    pub client_eof: bool,
    /// The server sends nothing more.
    pub server_eof: bool,
    /// The writing half of the server connection is closed, or broken.
    pub server_shut: bool,
    /// The session is over.
    pub end: Option<End>,
}

impl Link {
    pub fn new(session: Negotiated, limits: RelayLimits) -> Link {
        Link {
            session,
            limits,
            expected: Expectations::default(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            injected: None,
            tape: None,
            restart: None,
            local_file: false,
            change_user: None,
            quit: false,
            client_eof: false,
            server_eof: false,
            server_shut: false,
            end: None,
        }
    }

    pub fn protocol_41(&self) -> bool {
        self.session.capabilities & capability::PROTOCOL_41 != 0
    }

    /// Sends a statement of interlock's own.
    pub fn inject(&mut self, text: &str, origin: Origin) {
        self.injected = None;
        self.to_server.extend_from_slice(&query(text.as_bytes(), self.session.capabilities));
        self.expected.push(Kind::Query, origin);
    }

    /// Sends what the client has sent before. It has no answer.
    pub fn close_statements(&mut self, ids: &[u32]) {
        for id in ids {
            let [a, b, c, d] = id.to_le_bytes();
            write_packet(&mut self.to_server, 0, &[COM_STMT_CLOSE, a, b, c, d]);
        }
    }

    /// The client's connection failed: that ends the session, in the usual way or with an error.
    pub fn client_failed(&mut self, error: io::Error) -> Result<(), RelayError> {
        if !is_usual(&error) {
            return Err(RelayError::Client(error));
        }
        self.end = Some(End::ClientClosed);
        Ok(())
    }

    /// Reading from the server failed.
    pub fn server_failed(&mut self, error: io::Error) -> Result<(), RelayError> {
        if !is_usual(&error) {
            return Err(RelayError::Server(error));
        }
        self.server_eof = true;
        Ok(())
    }
}

/// Errors by which connections end every day.
fn is_usual(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionReset
            | ConnectionAborted
            | BrokenPipe
            | NotConnected
            | UnexpectedEof
            | TimedOut
            | WriteZero
            | HostUnreachable
            | NetworkUnreachable
    )
}

/// A COM_QUERY packet of interlock's own.
fn query(text: &[u8], capabilities: u32) -> Vec<u8> {
    let mut payload = vec![COM_QUERY];
    if capabilities & capability::QUERY_ATTRIBUTES != 0 {
        // No attributes, one set of them.
        payload.extend_from_slice(&[0, 1]);
    }
    payload.extend_from_slice(text);
    let mut packet = Vec::new();
    write_packet(&mut packet, 0, &payload);
    packet
}
