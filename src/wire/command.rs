//! Commands of the client (protocol pages "Command Phase", `COM_*`).

use super::binary;
use super::flags::capability;
use super::packet::Reader;

/// A command with its borrowed payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// The command byte.
    pub code: u8,
    /// The rest of the packet; only its beginning if `truncated`.
    pub body: &'a [u8],
    /// Whole length of the payload in bytes, command byte included. Of a payload that is continued in
    /// further packets only the first packet's length is known: 16 MiB - 1.
    pub length: usize,
    /// The payload is longer than the limit up to which commands are analysed: `body` is a prefix.
    pub truncated: bool,
}

/// An empty packet, or the byte itself: the server answers with an error.
pub const COM_SLEEP: u8 = 0x00;
/// The client leaves.
pub const COM_QUIT: u8 = 0x01;
/// `USE schema`
pub const COM_INIT_DB: u8 = 0x02;
/// A statement as text.
pub const COM_QUERY: u8 = 0x03;
/// Columns of a table (deprecated).
pub const COM_FIELD_LIST: u8 = 0x04;
/// Counters as a text.
pub const COM_STATISTICS: u8 = 0x09;
/// The process list (deprecated).
pub const COM_PROCESS_INFO: u8 = 0x0A;
/// `KILL` (deprecated).
pub const COM_PROCESS_KILL: u8 = 0x0C;
/// Makes the server write its state to its log.
pub const COM_DEBUG: u8 = 0x0D;
/// Asks whether the server lives.
pub const COM_PING: u8 = 0x0E;
/// Logs in as another user.
pub const COM_CHANGE_USER: u8 = 0x11;
/// Streams the binary log from here on.
pub const COM_BINLOG_DUMP: u8 = 0x12;
/// Streams a table (obsolete).
pub const COM_TABLE_DUMP: u8 = 0x13;
/// A replica makes itself known.
pub const COM_REGISTER_SLAVE: u8 = 0x15;
/// Prepares a statement.
pub const COM_STMT_PREPARE: u8 = 0x16;
/// Executes a prepared statement.
pub const COM_STMT_EXECUTE: u8 = 0x17;
/// A piece of a long parameter; no answer.
pub const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
/// Forgets a prepared statement; no answer.
pub const COM_STMT_CLOSE: u8 = 0x19;
/// Forgets long parameters and the cursor.
pub const COM_STMT_RESET: u8 = 0x1A;
/// Turns multi-statements on or off.
pub const COM_SET_OPTION: u8 = 0x1B;
/// Rows of a cursor.
pub const COM_STMT_FETCH: u8 = 0x1C;
/// Streams the binary log by GTID from here on.
pub const COM_BINLOG_DUMP_GTID: u8 = 0x1E;
/// A fresh session on the same connection.
pub const COM_RESET_CONNECTION: u8 = 0x1F;
/// Streams a copy of the server from here on.
pub const COM_CLONE: u8 = 0x20;
/// Streams group replication from here on.
pub const COM_SUBSCRIBE_GROUP_REPLICATION: u8 = 0x21;
/// MariaDB: executes a prepared statement with many rows of parameters.
pub const COM_STMT_BULK_EXECUTE: u8 = 0xFA;

/// Opens a cursor (flag byte of COM_STMT_EXECUTE).
pub const CURSOR_READ_ONLY: u8 = 0x01;
/// The parameter count is sent, with query attributes after the statement's own parameters.
pub const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;

/// The whole packet is needed to decide on such a command; of the others the first bytes will do.
pub fn needs_body(code: u8) -> bool {
    matches!(
        code,
        COM_QUERY
            | COM_STMT_PREPARE
            | COM_STMT_EXECUTE
            | COM_STMT_BULK_EXECUTE
            | COM_INIT_DB
            | COM_CHANGE_USER
            | COM_STMT_CLOSE
            | COM_STMT_RESET
            | COM_STMT_FETCH
            | COM_PROCESS_KILL
            | COM_SET_OPTION
    )
}

/// The text of a COM_QUERY: `body` without the block of query attributes that precedes it under
/// `CLIENT_QUERY_ATTRIBUTES`. `None` if that block is malformed or longer than the body.
pub fn query_text(body: &[u8], capabilities: u32) -> Option<&[u8]> {
    if capabilities & capability::QUERY_ATTRIBUTES == 0 {
        return Some(body);
    }
    let mut reader = Reader::new(body);
    let count = reader.lenenc()?;
    let _sets = reader.lenenc()?;
    if count > 0 {
        binary::skip_attributes(&mut reader, usize::try_from(count).ok()?)?;
    }
    Some(reader.rest())
}

/// The statement id with which the body of a `COM_STMT_*` command other than PREPARE begins.
pub fn statement_id(body: &[u8]) -> Option<u32> {
    Reader::new(body).u32()
}

/// The schema that a COM_INIT_DB names.
pub fn init_db_schema(body: &[u8]) -> &[u8] {
    body
}

/// The thread that a COM_PROCESS_KILL names.
pub fn process_kill_id(body: &[u8]) -> Option<u32> {
    Reader::new(body).u32()
}

/// Statement id and parameter number of a COM_STMT_SEND_LONG_DATA.
pub fn long_data_target(body: &[u8]) -> Option<(u32, u16)> {
    let mut reader = Reader::new(body);
    Some((reader.u32()?, reader.u16()?))
}

/// What a COM_CHANGE_USER asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangeUser<'a> {
    /// The new user.
    pub user: &'a [u8],
    /// The authentication response.
    pub response: &'a [u8],
    /// The new default schema; empty: none.
    pub schema: &'a [u8],
    /// The authentication plugin, if named.
    pub plugin: Option<&'a [u8]>,
}

/// Reads a COM_CHANGE_USER.
pub fn change_user(body: &[u8], capabilities: u32) -> Option<ChangeUser<'_>> {
    let mut reader = Reader::new(body);
    let user = reader.nul_bytes()?;
    let response = if capabilities & capability::SECURE_CONNECTION != 0 {
        let length = reader.u8()?;
        reader.take(usize::from(length))?
    } else {
        reader.nul_bytes()?
    };
    let schema = reader.nul_bytes()?;
    let _collation = reader.u16();
    let plugin = if capabilities & capability::PLUGIN_AUTH != 0 { reader.nul_bytes() } else { None };
    Some(ChangeUser { user, response, schema, plugin })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: u32 = capability::QUERY_ATTRIBUTES;

    #[test]
    fn text_without_attributes() {
        assert_eq!(query_text(b"SELECT 1", 0), Some(&b"SELECT 1"[..]));
        assert_eq!(query_text(b"\x00\x01SELECT 1", ATTRIBUTES), Some(&b"SELECT 1"[..]));
    }

    #[test]
    fn text_after_attributes() {
        let mut body = vec![3, 1, 0b010, 1];
        body.extend_from_slice(b"\x08\x00\x01a"); // BIGINT a
        body.extend_from_slice(b"\xfd\x00\x01b"); // VAR_STRING b: NULL
        body.extend_from_slice(b"\xfe\x00\x00"); // STRING without a name
        body.extend_from_slice(&7u64.to_le_bytes());
        body.extend_from_slice(b"\x03xyzDO 0");
        assert_eq!(query_text(&body, ATTRIBUTES), Some(&b"DO 0"[..]));
        for end in 0..body.len() - 4 {
            assert_eq!(query_text(&body[..end], ATTRIBUTES), None, "cut at {end}");
        }
    }

    #[test]
    fn an_absurd_count_of_attributes_is_refused() {
        assert_eq!(query_text(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01", ATTRIBUTES), None);
    }

    #[test]
    fn change_user_is_read() {
        let capabilities = capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        let read = change_user(b"joe\0\x03abcshop\0\x2d\0plug\0", capabilities);
        let expect = ChangeUser { user: b"joe", response: b"abc", schema: b"shop", plugin: Some(b"plug") };
        assert_eq!(read, Some(expect));
        assert_eq!(change_user(b"joe\0\xf0abc", capabilities), None);
    }
}
