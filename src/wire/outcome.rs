//! What the packets that end a result say: OK, EOF and ERR.
//!
//! All are read leniently: a field that is missing counts as zero or empty.

use super::flags::status;
use super::packet::Reader;

/// One result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What it was.
    pub kind: OutcomeKind,
    /// Status flags of the packet that ended it, if that packet has any.
    pub status: Option<u16>,
    /// The answer is complete.
    pub last: bool,
}

/// The kinds of results.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum OutcomeKind {
    /// An OK packet.
    Ok {
        /// Affected rows (changed rows, or matched rows with `CLIENT_FOUND_ROWS`).
        affected: u64,
        /// Last insert id; 0 if none.
        last_insert_id: u64,
        /// The info text (`Rows matched: 1  Changed: 0  Warnings: 0`); empty if none.
        info: String,
        /// Schema that session tracking reported, if it did.
        schema: Option<String>,
    },
    /// A result set, complete or (with `cursor`) only described.
    Rows {
        /// Rows that passed.
        rows: u64,
        /// A cursor was opened (`SERVER_STATUS_CURSOR_EXISTS`): rows come with COM_STMT_FETCH.
        cursor: bool,
    },
    /// The answer to COM_STMT_PREPARE.
    Prepared {
        /// Statement id.
        id: u32,
        /// Number of `?`.
        params: u16,
        /// Number of result columns.
        columns: u16,
    },
    /// An error packet.
    Error {
        /// MySQL error number.
        code: u16,
        /// The message, for reports. It may hold literals.
        message: String,
    },
    /// Nothing to tell: no answer at all (COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA), EOF, definitions, statistics.
    #[default]
    Other,
}

/// A result set that ended with these status flags.
pub(super) fn rows(rows: u64, cursor: bool, status: u16) -> Outcome {
    let last = status & status::MORE_RESULTS == 0;
    Outcome { kind: OutcomeKind::Rows { rows, cursor }, status: Some(status), last }
}

/// Status flags of an EOF packet (warnings precede them) or of an OK packet that stands for one.
pub(super) fn end_status(payload: &[u8]) -> u16 {
    let mut reader = Reader::new(payload);
    let _header = reader.u8();
    if payload.len() < 7 {
        let _warnings = reader.u16();
    } else {
        let _affected = reader.lenenc();
        let _id = reader.lenenc();
    }
    reader.u16().unwrap_or(0)
}

/// What an OK packet says.
pub(super) fn ok(payload: &[u8], session_track: bool) -> Outcome {
    let mut reader = Reader::new(payload);
    let _header = reader.u8();
    let affected = reader.lenenc().unwrap_or(0);
    let last_insert_id = reader.lenenc().unwrap_or(0);
    let status = reader.u16().unwrap_or(0);
    let _warnings = reader.u16();
    let mut schema = None;
    let info = if session_track {
        let info = reader.lenenc_bytes().unwrap_or_default();
        if status & status::SESSION_STATE_CHANGED != 0 {
            schema = reader.lenenc_bytes().and_then(tracked_schema);
        }
        info
    } else {
        // Servers put a length before this text too, though the protocol page says otherwise.
        reader.lenenc_bytes().filter(|_| reader.is_empty()).unwrap_or(reader.rest())
    };
    let kind = OutcomeKind::Ok { affected, last_insert_id, info: text(info), schema };
    Outcome { kind, status: Some(status), last: status & status::MORE_RESULTS == 0 }
}

/// The schema among the changes of session state, if it is there.
fn tracked_schema(changes: &[u8]) -> Option<String> {
    const SESSION_TRACK_SCHEMA: u8 = 1;
    let mut reader = Reader::new(changes);
    loop {
        let kind = reader.u8()?;
        let data = reader.lenenc_bytes()?;
        if kind == SESSION_TRACK_SCHEMA {
            return Reader::new(data).lenenc_bytes().map(text);
        }
    }
}

/// What an ERR packet says.
pub(super) fn error(payload: &[u8]) -> Outcome {
    let mut reader = Reader::new(payload);
    let _header = reader.u8();
    let code = reader.u16().unwrap_or(0);
    if reader.rest().first() == Some(&b'#') {
        let _sqlstate = reader.take(6);
    }
    let kind = OutcomeKind::Error { code, message: text(reader.rest()) };
    Outcome { kind, status: None, last: true }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
