//! Error packets that interlock itself sends.

use super::packet::write_packet;

/// `ER_CON_COUNT_ERROR`
pub const TOO_MANY_CONNECTIONS: u16 = 1040;
/// `ER_HANDSHAKE_ERROR`
pub const HANDSHAKE_ERROR: u16 = 1043;
/// `ER_SERVER_SHUTDOWN`
pub const SERVER_SHUTDOWN: u16 = 1053;
/// `ER_LOCK_WAIT_TIMEOUT`
pub const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// `ER_LOCK_DEADLOCK`
pub const LOCK_DEADLOCK: u16 = 1213;
/// `ER_QUERY_INTERRUPTED`
pub const QUERY_INTERRUPTED: u16 = 1317;

/// An error for the client (protocol page "ERR_Packet").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorPacket {
    /// MySQL error number, for example 1213.
    pub code: u16,
    /// SQLSTATE, five characters, for example `40001`.
    pub sqlstate: &'static str,
    /// Text for people.
    pub message: String,
}

impl ErrorPacket {
    /// 1040: the limit of connections is reached.
    pub fn too_many_connections() -> ErrorPacket {
        ErrorPacket::new(TOO_MANY_CONNECTIONS, "08004", "Too many connections")
    }

    /// 1053: the proxy or the server is shutting down.
    pub fn shutdown() -> ErrorPacket {
        ErrorPacket::new(SERVER_SHUTDOWN, "08S01", "Server shutdown in progress")
    }

    /// 1213: the transaction was rolled back and should be tried again.
    pub fn deadlock() -> ErrorPacket {
        let message = "Deadlock found when trying to get lock; try restarting transaction";
        ErrorPacket::new(LOCK_DEADLOCK, "40001", message)
    }

    /// 1317: the statement was interrupted.
    pub fn interrupted() -> ErrorPacket {
        ErrorPacket::new(QUERY_INTERRUPTED, "70100", "Query execution was interrupted")
    }

    /// An error from its parts.
    pub fn new(code: u16, sqlstate: &'static str, message: impl Into<String>) -> ErrorPacket {
        ErrorPacket { code, sqlstate, message: message.into() }
    }

    /// The packet's bytes, header included. The SQLSTATE is only sent under `CLIENT_PROTOCOL_41`, and
    /// never before the client's capabilities are known.
    pub fn encode(&self, sequence: u8, protocol_41: bool) -> Vec<u8> {
        let mut payload = Vec::with_capacity(9 + self.message.len());
        payload.push(0xFF);
        payload.extend_from_slice(&self.code.to_le_bytes());
        if protocol_41 {
            payload.push(b'#');
            payload.extend_from_slice(self.sqlstate.as_bytes());
        }
        payload.extend_from_slice(self.message.as_bytes());
        let mut packet = Vec::with_capacity(payload.len() + 4);
        write_packet(&mut packet, sequence, &payload);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_encoded_for_both_protocols() {
        let error = ErrorPacket::new(1213, "40001", "no");
        assert_eq!(error.encode(1, true), b"\x0b\0\0\x01\xff\xbd\x04#40001no");
        assert_eq!(error.encode(0, false), b"\x05\0\0\0\xff\xbd\x04no");
    }
}
