//! What is known of a session's transaction between two statements.

use crate::sql::statement::{Isolation, SqlMode};

/// What a new session begins with: the server's global values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionDefaults {
    /// `autocommit`
    pub autocommit: bool,
    /// `transaction_isolation`
    pub isolation: Isolation,
    /// `transaction_read_only`
    pub read_only: bool,
    /// `innodb_rollback_on_timeout`: error 1205 ends the transaction.
    pub rollback_on_timeout: bool,
    /// `innodb_lock_wait_timeout`, seconds.
    pub lock_wait_timeout: u64,
    /// The parts of `sql_mode` that change how text is read.
    pub sql_mode: SqlMode,
    /// MariaDB: 1213 also comes from GET_LOCK, and XA PREPARE leaves IN_TRANS set.
    pub mariadb: bool,
    /// Savepoints kept per transaction (`limits.savepoints`); beyond, the oldest is forgotten, and a rollback
    /// to it is taken as one that gives up nothing.
    pub max_savepoints: usize,
}

impl Default for SessionDefaults {
    /// MySQL's own defaults.
    fn default() -> Self {
        SessionDefaults {
            autocommit: true,
            isolation: Isolation::RepeatableRead,
            read_only: false,
            rollback_on_timeout: false,
            lock_wait_timeout: 50,
            sql_mode: SqlMode::default(),
            mariadb: false,
            max_savepoints: 64,
        }
    }
}

/// Whether a transaction is open, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// None.
    No,
    /// BEGIN, START TRANSACTION, XA START.
    Explicit,
    /// The first statement that touched a table with autocommit off; or the server's flag says so and the
    /// text did not (a stored procedure, a text-level EXECUTE).
    Implicit,
}

/// Where an XA transaction of this session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XaState {
    /// None.
    None,
    /// Between XA START and XA END.
    Active,
    /// After XA END.
    Idle,
    /// After XA PREPARE, where the server keeps it with the session (MariaDB). MySQL detaches it.
    Prepared,
}

/// A savepoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Savepoint {
    /// Lower-case name.
    pub name: String,
    /// What is done after it carries this marker or a larger one.
    pub marker: u32,
}

/// A session's transaction as the server has it, as far as interlock saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionState {
    pub(super) defaults: SessionDefaults,
    pub(super) open: Open,
    pub(super) autocommit: bool,
    /// Of the session, of the next transaction alone, and of the open one.
    pub(super) isolation: Isolation,
    pub(super) next_isolation: Option<Isolation>,
    pub(super) current_isolation: Isolation,
    pub(super) read_only: bool,
    pub(super) next_read_only: Option<bool>,
    pub(super) current_read_only: bool,
    pub(super) savepoints: Vec<Savepoint>,
    /// One was forgotten because there were too many.
    pub(super) forgotten: bool,
    pub(super) marker: u32,
    pub(super) tables_locked: bool,
    pub(super) xa: XaState,
    pub(super) sql_mode: SqlMode,
    pub(super) schema: Option<String>,
    pub(super) foreign_key_checks: bool,
    pub(super) unique_checks: bool,
    pub(super) lock_wait_timeout: u64,
    pub(super) number: u64,
    pub(super) uncertain: bool,
}

impl TransactionState {
    /// A session after login.
    pub fn new(defaults: SessionDefaults, schema: Option<String>) -> Self {
        TransactionState {
            defaults,
            open: Open::No,
            autocommit: defaults.autocommit,
            isolation: defaults.isolation,
            next_isolation: None,
            current_isolation: defaults.isolation,
            read_only: defaults.read_only,
            next_read_only: None,
            current_read_only: defaults.read_only,
            savepoints: Vec::new(),
            forgotten: false,
            marker: 0,
            tables_locked: false,
            xa: XaState::None,
            sql_mode: defaults.sql_mode,
            schema,
            foreign_key_checks: true,
            unique_checks: true,
            lock_wait_timeout: defaults.lock_wait_timeout,
            number: 0,
            uncertain: false,
        }
    }

    /// Is a transaction open, and why.
    pub fn open(&self) -> Open {
        self.open
    }

    /// Is a transaction open?
    pub fn is_open(&self) -> bool {
        self.open != Open::No
    }

    /// `autocommit`
    pub fn autocommit(&self) -> bool {
        self.autocommit
    }

    /// Isolation level of the open transaction, or of the one that would begin now.
    pub fn isolation(&self) -> Isolation {
        if self.is_open() { self.current_isolation } else { self.next_isolation.unwrap_or(self.isolation) }
    }

    /// Access mode of the open transaction, or of the one that would begin now.
    pub fn read_only(&self) -> bool {
        if self.is_open() { self.current_read_only } else { self.next_read_only.unwrap_or(self.read_only) }
    }

    /// A level or an access mode was set for the next transaction alone.
    pub fn one_shot(&self) -> bool {
        self.next_isolation.is_some() || self.next_read_only.is_some()
    }

    /// The savepoints of the open transaction, oldest first.
    pub fn savepoints(&self) -> &[Savepoint] {
        &self.savepoints
    }

    /// Has a savepoint been forgotten, because there were more than `limits.savepoints`, since this was asked last?
    pub fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.forgotten)
    }

    /// The marker that what is done now carries: it grows with each savepoint of a transaction, and a
    /// rollback to a savepoint undoes what carries its marker or a larger one.
    pub fn marker(&self) -> u32 {
        self.marker
    }

    /// LOCK TABLES is in force.
    pub fn tables_locked(&self) -> bool {
        self.tables_locked
    }

    /// Where an XA transaction stands.
    pub fn xa(&self) -> XaState {
        self.xa
    }

    /// How this session's text is read.
    pub fn sql_mode(&self) -> SqlMode {
        self.sql_mode
    }

    /// The default schema.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// USE, COM_INIT_DB, or what session tracking reported.
    pub fn set_schema(&mut self, schema: Option<String>) {
        self.schema = schema;
    }

    /// `foreign_key_checks`
    pub fn foreign_key_checks(&self) -> bool {
        self.foreign_key_checks
    }

    /// `unique_checks`
    pub fn unique_checks(&self) -> bool {
        self.unique_checks
    }

    /// `innodb_lock_wait_timeout` of this session, seconds.
    pub fn lock_wait_timeout(&self) -> u64 {
        self.lock_wait_timeout
    }

    /// Counts the transactions of this session, autocommit statements included: the number of the open one,
    /// or of the last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The state is a guess until the server's next flags: after an error that does not tell, or a
    /// transaction that was begun out of sight.
    pub fn uncertain(&self) -> bool {
        self.uncertain
    }
}
