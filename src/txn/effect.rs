//! What a statement will do to the transaction, and what its answer says it did.

use crate::sql::statement::Isolation;

/// `SERVER_STATUS_IN_TRANS`
pub const STATUS_IN_TRANS: u16 = 0x0001;
/// `SERVER_STATUS_AUTOCOMMIT`
pub const STATUS_AUTOCOMMIT: u16 = 0x0002;
/// `SERVER_STATUS_IN_TRANS_READONLY`
pub const STATUS_IN_TRANS_READONLY: u16 = 0x2000;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Its changes stay.
    Committed,
    /// Its changes are undone.
    RolledBack,
    /// The server says that it is over, and nothing told why.
    Unknown,
}

/// Where a statement runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runs {
    /// In no transaction: it touches no table.
    Outside,
    /// In a transaction that outlives it.
    Transaction,
    /// In a transaction of its own: autocommit.
    Alone,
}

/// What a statement will do if it succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effect {
    /// The open transaction ends: before the statement runs (implicit commit) or by it (COMMIT).
    pub ends: Option<Ending>,
    /// A transaction that outlives the statement begins.
    pub begins: bool,
    /// Where it runs.
    pub runs: Runs,
    /// Isolation level that it runs under.
    pub isolation: Isolation,
    /// The transaction is READ ONLY.
    pub read_only: bool,
    /// At SERIALIZABLE inside a transaction a plain SELECT locks as `LOCK IN SHARE MODE` does.
    pub select_locks: bool,
    /// Number of the transaction that it runs in ([`super::state::TransactionState::number`]).
    pub transaction: u64,
}

/// How a statement (or one result of several) ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An OK or EOF packet.
    Ok {
        /// Its `SERVER_STATUS_*` flags.
        status: u16,
    },
    /// An ERR packet, which has no flags.
    Error {
        /// MySQL error number.
        code: u16,
    },
}

/// What has become of the transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It goes on; or there is none and was none.
    Continues,
    /// The transaction that was open, or the autocommit statement's own, is over: its locks are gone. What
    /// is open now ([`super::state::TransactionState::is_open`]) is a new one.
    Ended(Ending),
    /// The statement failed and was undone. The transaction goes on, with the locks it had taken.
    StatementRolledBack,
    /// Rolled back to a savepoint: what carries this marker or a larger one is undone.
    RolledBackTo(u32),
    /// XA PREPARE: locks stay until `PreparedEnded`, whatever becomes of this session.
    Prepared,
    /// A prepared XA transaction is over: this session's, or one of a session that may be gone.
    PreparedEnded(Ending),
}
