//! Capability and status bits that the relay looks at.

/// Capabilities of the MySQL handshake (protocol page "Capabilities Flags").
pub mod capability {
    /// Set by MySQL servers; MariaDB leaves it out to say that extended capabilities follow.
    pub const LONG_PASSWORD: u32 = 1;
    /// Affected rows of an UPDATE are the matched rows.
    pub const FOUND_ROWS: u32 = 1 << 1;
    /// The login names a schema.
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    /// zlib compression.
    pub const COMPRESS: u32 = 1 << 5;
    /// `LOAD DATA LOCAL INFILE`
    pub const LOCAL_FILES: u32 = 1 << 7;
    /// The protocol since MySQL 4.1.
    pub const PROTOCOL_41: u32 = 1 << 9;
    /// TLS.
    pub const SSL: u32 = 1 << 11;
    /// OK packets carry transaction flags.
    pub const TRANSACTIONS: u32 = 1 << 13;
    /// Authentication responses carry their length.
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    /// Several statements in one COM_QUERY.
    pub const MULTI_STATEMENTS: u32 = 1 << 16;
    /// Several results for one COM_QUERY.
    pub const MULTI_RESULTS: u32 = 1 << 17;
    /// Several results for one COM_STMT_EXECUTE.
    pub const PS_MULTI_RESULTS: u32 = 1 << 18;
    /// Authentication plugins.
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    /// Connection attributes.
    pub const CONNECT_ATTRS: u32 = 1 << 20;
    /// Authentication response with a length-encoded length.
    pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    /// OK packets carry changes of session state.
    pub const SESSION_TRACK: u32 = 1 << 23;
    /// Results end with an OK packet (0xFE) instead of EOF, and definitions end without one.
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// The server may leave out column definitions.
    pub const OPTIONAL_RESULTSET_METADATA: u32 = 1 << 25;
    /// zstd compression.
    pub const ZSTD_COMPRESSION: u32 = 1 << 26;
    /// COM_QUERY and COM_STMT_EXECUTE carry query attributes.
    pub const QUERY_ATTRIBUTES: u32 = 1 << 27;
    /// Several authentication factors.
    pub const MULTI_FACTOR: u32 = 1 << 28;
}

/// Extended capabilities of MariaDB, in the last four bytes of the filler.
pub mod mariadb_capability {
    /// Progress reports of long statements.
    pub const PROGRESS: u32 = 1;
    /// COM_STMT_BULK_EXECUTE.
    pub const STMT_BULK_OPERATIONS: u32 = 1 << 2;
    /// Column definitions carry extended types.
    pub const EXTENDED_METADATA: u32 = 1 << 3;
    /// The column count packet says whether definitions follow.
    pub const CACHE_METADATA: u32 = 1 << 4;
    /// Bulk execution may answer with a result set.
    pub const BULK_UNIT_RESULTS: u32 = 1 << 5;
}

/// Status flags in OK and EOF packets (`SERVER_STATUS_flags_enum`).
pub mod status {
    /// A transaction is open.
    pub const IN_TRANS: u16 = 1;
    /// autocommit = 1.
    pub const AUTOCOMMIT: u16 = 1 << 1;
    /// Another result follows for this command.
    pub const MORE_RESULTS: u16 = 1 << 3;
    /// A cursor was opened.
    pub const CURSOR_EXISTS: u16 = 1 << 6;
    /// The last row of the cursor has been sent.
    pub const LAST_ROW_SENT: u16 = 1 << 7;
    /// The result holds OUT parameters.
    pub const PS_OUT_PARAMS: u16 = 1 << 12;
    /// A read-only transaction is open.
    pub const IN_TRANS_READONLY: u16 = 1 << 13;
    /// Session state has changed: the OK packet says what.
    pub const SESSION_STATE_CHANGED: u16 = 1 << 14;
}
