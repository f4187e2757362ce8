//! The server's answer to one command, observed while its bytes pass.
//!
//! [`Response::feed`] looks at as little as it can: five bytes of each row, the whole of the packets that
//! end something. It keeps nothing of the bytes but the beginning of a packet that it cannot judge yet, so
//! the caller may pass on at once whatever was fed.

use super::command::*;
use super::flags::{capability, mariadb_capability, status};
use super::outcome::{self, Outcome, OutcomeKind};
use super::packet::{HEADER, Header, MAX_PAYLOAD, Reader};

/// Of a longer OK or ERR packet only the beginning is decoded.
const DECODED: usize = 16 * 1024;

/// How an answer is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// OK, ERR, EOF, a request for a local file, or result sets. Also what is expected of an unknown command.
    Query,
    /// The same with rows of the binary protocol, and cursors.
    Execute,
    /// COM_STMT_PREPARE: definitions of parameters and columns.
    Prepare,
    /// COM_STMT_FETCH: rows at once.
    Fetch,
    /// COM_FIELD_LIST: definitions, then the end.
    FieldList,
    /// A single packet of any content.
    Single,
    /// COM_CHANGE_USER: rounds of authentication, then OK or ERR.
    ChangeUser,
    /// No answer.
    Nothing,
    /// The connection leaves the command phase: bytes of both directions are no longer looked at.
    Raw,
}

impl Kind {
    /// The kind of answer that a command has.
    pub fn of(code: u8) -> Kind {
        match code {
            COM_QUIT | COM_STMT_SEND_LONG_DATA | COM_STMT_CLOSE => Kind::Nothing,
            COM_STMT_PREPARE => Kind::Prepare,
            COM_STMT_EXECUTE | COM_STMT_BULK_EXECUTE => Kind::Execute,
            COM_STMT_FETCH => Kind::Fetch,
            COM_FIELD_LIST => Kind::FieldList,
            COM_STATISTICS => Kind::Single,
            COM_CHANGE_USER => Kind::ChangeUser,
            COM_BINLOG_DUMP
            | COM_BINLOG_DUMP_GTID
            | COM_TABLE_DUMP
            | COM_CLONE
            | COM_SUBSCRIBE_GROUP_REPLICATION => Kind::Raw,
            _ => Kind::Query,
        }
    }
}

/// The capabilities on which the form of answers depends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Format {
    /// `CLIENT_DEPRECATE_EOF`
    pub deprecate_eof: bool,
    /// `CLIENT_SESSION_TRACK`
    pub session_track: bool,
    /// `CLIENT_OPTIONAL_RESULTSET_METADATA`
    pub optional_metadata: bool,
    /// `MARIADB_CLIENT_CACHE_METADATA`
    pub cache_metadata: bool,
}

impl Format {
    /// From the capabilities in force; `mariadb` are MariaDB's extended ones.
    pub fn new(capabilities: u32, mariadb: u32) -> Format {
        Format {
            deprecate_eof: capabilities & capability::DEPRECATE_EOF != 0,
            session_track: capabilities & capability::SESSION_TRACK != 0,
            optional_metadata: capabilities & capability::OPTIONAL_RESULTSET_METADATA != 0,
            cache_metadata: mariadb & mariadb_capability::CACHE_METADATA != 0,
        }
    }
}

/// Something that the caller must know before it feeds more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A result is complete.
    Result(Outcome),
    /// The server asks the client for a local file: the client's packets up to an empty one are its content.
    LocalInfile,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The first packet of a result.
    First,
    /// So many column definitions, then perhaps an EOF.
    Columns(u64),
    ColumnsEof,
    Rows,
    /// So many definitions of parameters, then of columns, of a prepared statement.
    PrepareParams(u16),
    PrepareParamsEof,
    PrepareColumns(u16),
    PrepareColumnsEof,
    FieldList,
    Done,
}

/// The state of one answer. Reused for the next with [`Response::begin`].
#[derive(Debug)]
pub struct Response {
    format: Format,
    kind: Kind,
    state: State,
    /// Bytes of the current packet that are still to pass without being looked at.
    skip: usize,
    /// The next packet continues the current one.
    continues: bool,
    /// Beginning of a packet, header included, that is too short to judge.
    stash: Vec<u8>,
    /// Given out when the current packet has passed completely.
    event: Option<Event>,
    rows: u64,
    /// Statement id, parameters and columns of the answer to PREPARE.
    prepared: (u32, u16, u16),
    /// The rows are the OUT parameters of a procedure.
    out_params: bool,
    /// Definitions follow that answer.
    described: bool,
    status: Option<u16>,
}

impl Response {
    /// Expects nothing yet: any packet is taken as a single one.
    pub fn new(format: Format) -> Response {
        Response {
            format,
            kind: Kind::Single,
            state: State::First,
            skip: 0,
            continues: false,
            stash: Vec::new(),
            event: None,
            rows: 0,
            prepared: (0, 0, 0),
            out_params: false,
            described: true,
            status: None,
        }
    }

    /// Starts on the answer to the next command. To be called at the end of a packet, see
    /// [`Response::between_packets`].
    pub fn begin(&mut self, kind: Kind) {
        self.kind = kind;
        self.state = if kind == Kind::Fetch { State::Rows } else { State::First };
        if kind == Kind::FieldList {
            self.state = State::FieldList;
        }
        self.rows = 0;
        self.out_params = false;
        self.status = None;
    }

    /// No packet has passed in part.
    pub fn between_packets(&self) -> bool {
        self.skip == 0 && !self.continues && self.stash.is_empty()
    }

    /// Looks at the next bytes of the stream. Gives the number of bytes that were taken in, and an event if
    /// one happened; without an event all bytes were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        let mut at = 0;
        loop {
            at += self.pass(bytes.len() - at);
            if self.skip == 0 && !self.continues && self.event.is_some() {
                return (at, self.event.take());
            }
            if self.state == State::Rows && self.stash.is_empty() {
                at += self.pass_rows(&bytes[at..]);
            }
            if at == bytes.len() {
                return (at, None);
            }
            if self.skip == 0 {
                at += self.next_packet(&bytes[at..]);
            }
        }
    }

    /// Steps over up to `available` bytes of the current packet.
    fn pass(&mut self, available: usize) -> usize {
        let count = self.skip.min(available);
        self.skip -= count;
        count
    }

    /// Steps over as many complete headers of ordinary rows as there are: the hot loop of large results.
    fn pass_rows(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.skip > 0 || self.continues {
            return 0;
        }
        while let Some(&[a, b, c, _, first]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<5>()) {
            let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            if first >= 0xFE || length == 0 || length == MAX_PAYLOAD {
                break;
            }
            self.rows += 1;
            at += HEADER + length;
            if at > bytes.len() {
                self.skip = at - bytes.len();
                return bytes.len();
            }
        }
        at
    }

    /// Judges the packet that begins with `bytes` (or in the stash), or keeps what is missing for that.
    /// Gives the number of bytes taken; the rest of the packet is in `skip`.
    fn next_packet(&mut self, bytes: &[u8]) -> usize {
        if self.stash.is_empty() {
            match self.judge(bytes) {
                Ok(total) => {
                    self.skip = total;
                    return self.pass(bytes.len());
                }
                Err(_) => {
                    self.stash.extend_from_slice(bytes);
                    return bytes.len();
                }
            }
        }
        let mut stash = std::mem::take(&mut self.stash);
        let before = stash.len();
        loop {
            let taken = stash.len() - before;
            match self.judge(&stash) {
                Ok(total) => {
                    self.skip = total - stash.len();
                    return taken;
                }
                Err(wanted) if taken < bytes.len() => {
                    let more = (wanted - stash.len()).min(bytes.len() - taken);
                    stash.extend_from_slice(&bytes[taken..taken + more]);
                }
                Err(_) => {
                    self.stash = stash;
                    return taken;
                }
            }
        }
    }

    /// Decides what a packet is. `view` is its beginning or more. Gives its whole length with header, or,
    /// as an error, the number of bytes that must be in `view` to go on (more than are there).
    fn judge(&mut self, view: &[u8]) -> Result<usize, usize> {
        let header = Header::parse(view).ok_or(HEADER)?;
        let total = HEADER + header.length;
        if std::mem::replace(&mut self.continues, false) {
            self.continues = header.continues();
            return Ok(total);
        }
        let view = &view[..view.len().min(total)];
        let packet = Packet { payload: &view[HEADER..], length: header.length };
        let first = packet.at_least(1)?.first().copied();
        let outcome = if first == Some(0xFF) && self.kind != Kind::Raw {
            self.error(packet)?
        } else {
            self.step(packet, first.unwrap_or(0))?
        };
        if let Some(outcome) = outcome {
            if outcome.last {
                self.state = State::Done;
            } else {
                self.state = State::First;
                self.rows = 0;
            }
            self.event = Some(Event::Result(outcome));
        }
        self.continues = header.continues();
        Ok(total)
    }

    fn error(&mut self, packet: Packet<'_>) -> Result<Option<Outcome>, usize> {
        // MariaDB's progress reports look like errors with this number and precede the real answer.
        if packet.at_least(3)?.get(1..3) == Some(&[0xFF, 0xFF]) {
            return Ok(None);
        }
        Ok(Some(outcome::error(packet.at_least(DECODED)?)))
    }

    fn step(&mut self, packet: Packet<'_>, first: u8) -> Result<Option<Outcome>, usize> {
        match self.state {
            State::First => return self.first_packet(packet, first),
            State::Columns(left) => {
                self.state = if left > 1 { State::Columns(left - 1) } else { self.after_columns() };
            }
            // ## ColumnsEof => Rows, or the end of a result whose rows stay in a cursor
            State::ColumnsEof => {
                let status = outcome::end_status(packet.at_least(DECODED)?);
                if self.kind == Kind::Execute && status & status::CURSOR_EXISTS != 0 {
                    return Ok(Some(outcome::rows(0, true, status)));
                }
                self.out_params = status & status::PS_OUT_PARAMS != 0;
                self.state = State::Rows;
            }
            State::Rows if first == 0xFE && self.ends_rows(packet.length) => {
                let status = outcome::end_status(packet.at_least(DECODED)?);
                let cursor = self.kind == Kind::Execute && status & status::CURSOR_EXISTS != 0;
                let mut outcome = outcome::rows(self.rows, cursor, status);
                // After OUT parameters always comes an OK packet, but without `DEPRECATE_EOF` MySQL says
                // so only before the row, not after it.
                outcome.last &= !std::mem::take(&mut self.out_params);
                return Ok(Some(outcome));
            }
            State::Rows => self.rows += 1,
            State::PrepareParams(left) if left > 1 => self.state = State::PrepareParams(left - 1),
            State::PrepareParams(_) if !self.format.deprecate_eof => self.state = State::PrepareParamsEof,
            State::PrepareParams(_) => return Ok(self.prepare_columns()),
            State::PrepareParamsEof => {
                self.status = Some(outcome::end_status(packet.at_least(DECODED)?));
                return Ok(self.prepare_columns());
            }
            State::PrepareColumns(left) if left > 1 => self.state = State::PrepareColumns(left - 1),
            State::PrepareColumns(_) if !self.format.deprecate_eof => self.state = State::PrepareColumnsEof,
            State::PrepareColumns(_) => return Ok(Some(self.prepared_outcome())),
            State::PrepareColumnsEof => {
                self.status = Some(outcome::end_status(packet.at_least(DECODED)?));
                return Ok(Some(self.prepared_outcome()));
            }
            State::FieldList if first == 0xFE => {
                let status = outcome::end_status(packet.at_least(DECODED)?);
                return Ok(Some(Outcome { kind: OutcomeKind::Other, status: Some(status), last: true }));
            }
            State::FieldList | State::Done => {}
        }
        Ok(None)
    }

    fn first_packet(&mut self, packet: Packet<'_>, first: u8) -> Result<Option<Outcome>, usize> {
        match (self.kind, first) {
            (Kind::Single, _) => {
                return Ok(Some(Outcome { kind: OutcomeKind::Other, status: None, last: true }));
            }
            (Kind::ChangeUser, 0) => {
                let mut outcome = outcome::ok(packet.at_least(DECODED)?, self.format.session_track);
                outcome.last = true;
                return Ok(Some(outcome));
            }
            // A switch of the plugin (0xFE) or more data (0x01): authentication goes on.
            (Kind::ChangeUser, _) => return Ok(None),
            (Kind::Prepare, 0) => return self.prepare_ok(packet),
            (_, 0) => {
                return Ok(Some(outcome::ok(packet.at_least(DECODED)?, self.format.session_track)));
            }
            (_, 0xFE) => {
                let payload = packet.at_least(DECODED)?;
                return Ok(Some(if payload.len() < 7 {
                    let status = outcome::end_status(payload);
                    let last = status & status::MORE_RESULTS == 0;
                    Outcome { kind: OutcomeKind::Other, status: Some(status), last }
                } else {
                    outcome::ok(payload, self.format.session_track)
                }));
            }
            // ## First => First, after the file
            (_, 0xFB) => self.event = Some(Event::LocalInfile),
            _ => {
                let (columns, described) = self.column_count(packet.at_least(10)?);
                self.state =
                    if described && columns > 0 { State::Columns(columns) } else { self.after_columns() };
            }
        }
        Ok(None)
    }

    /// The number of columns and whether their definitions follow. Both servers put the flag after the
    /// number, though MySQL's protocol page has it the other way round.
    fn column_count(&self, payload: &[u8]) -> (u64, bool) {
        let mut reader = Reader::new(payload);
        let columns = reader.lenenc().unwrap_or(1);
        let flagged = self.format.optional_metadata || self.format.cache_metadata;
        (columns, !flagged || reader.u8() != Some(0))
    }

    fn after_columns(&self) -> State {
        if self.format.deprecate_eof { State::Rows } else { State::ColumnsEof }
    }

    /// Under `DEPRECATE_EOF` the end is an OK packet of any length below 16 MiB - 1; a row that begins
    /// with 0xFE holds a string of at least 16 MiB. Otherwise it is an EOF of at most 8 bytes.
    fn ends_rows(&self, length: usize) -> bool {
        if self.format.deprecate_eof { length < MAX_PAYLOAD } else { length < 9 }
    }

    fn prepare_ok(&mut self, packet: Packet<'_>) -> Result<Option<Outcome>, usize> {
        let payload = packet.at_least(13)?;
        let mut reader = Reader::new(payload);
        let _ok = reader.u8();
        let id = reader.u32().unwrap_or(0);
        let columns = reader.u16().unwrap_or(0);
        let params = reader.u16().unwrap_or(0);
        self.prepared = (id, params, columns);
        self.described = !self.format.optional_metadata || payload.get(12) != Some(&0);
        if params == 0 {
            return Ok(self.prepare_columns());
        }
        // Without definitions, their EOF packet comes all the same.
        self.state = match (self.described, self.format.deprecate_eof) {
            (true, _) => State::PrepareParams(params),
            (false, false) => State::PrepareParamsEof,
            (false, true) => return Ok(self.prepare_columns()),
        };
        Ok(None)
    }

    fn prepare_columns(&mut self) -> Option<Outcome> {
        self.state = match (self.prepared.2, self.described, self.format.deprecate_eof) {
            (0, _, _) | (_, false, true) => return Some(self.prepared_outcome()),
            (_, false, false) => State::PrepareColumnsEof,
            (columns, true, _) => State::PrepareColumns(columns),
        };
        None
    }

    fn prepared_outcome(&self) -> Outcome {
        let (id, params, columns) = self.prepared;
        Outcome { kind: OutcomeKind::Prepared { id, params, columns }, status: self.status, last: true }
    }
}

/// A packet, perhaps only in part.
#[derive(Clone, Copy)]
struct Packet<'a> {
    /// What is there.
    payload: &'a [u8],
    /// Its length by the header.
    length: usize,
}

impl<'a> Packet<'a> {
    /// The first `count` bytes of the payload (or all, if it has fewer), else how many bytes with header
    /// are wanted.
    fn at_least(self, count: usize) -> Result<&'a [u8], usize> {
        let wanted = count.min(self.length);
        // No more than that, even if it is there: what is decoded must not depend on how the bytes arrive.
        self.payload.get(..wanted).ok_or(HEADER + wanted)
    }
}

#[cfg(test)]
mod tests;
