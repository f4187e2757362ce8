//! How statements, answers and connection commands move the state.

use crate::sql::statement::{Isolation, Scope, Setting, Statement, Xa};

use super::effect::{
    After, Effect, Ending, Outcome, Runs, STATUS_AUTOCOMMIT, STATUS_IN_TRANS, STATUS_IN_TRANS_READONLY,
};
use super::state::{Open, Savepoint, TransactionState, XaState};

impl TransactionState {
    /// What a statement will do if it succeeds. Changes nothing: the answer does. For several statements in
    /// one text see [`TransactionState::before_each`]; here they count by their first.
    pub fn before(&self, statement: &Statement) -> Effect {
        let ends = self.ends(statement);
        let stays_open = self.is_open() && ends.is_none();
        let runs = match statement {
            Statement::Multi(parts) if !parts.is_empty() => return self.before(&parts[0]),
            _ if !touches(statement) => Runs::Outside,
            Statement::Ddl { commits: true, .. } => Runs::Alone,
            _ if stays_open || !self.autocommit => Runs::Transaction,
            _ => Runs::Alone,
        };
        let begins = match statement {
            Statement::Begin { .. } => !self.xa_open(),
            Statement::Commit { chain, .. } | Statement::Rollback { chain, .. } => *chain,
            Statement::Xa(Xa::Start) => !self.is_open(),
            Statement::Ddl { .. } => false,
            _ => runs == Runs::Transaction && !stays_open,
        };
        let said = match statement {
            Statement::Begin { read_only, .. } => *read_only,
            _ => None,
        };
        let (isolation, read_only) = self.characteristics(statement, stays_open);
        Effect {
            ends,
            begins,
            runs,
            isolation,
            read_only: said.unwrap_or(read_only),
            select_locks: isolation == Isolation::Serializable && runs == Runs::Transaction,
            transaction: if stays_open || (runs == Runs::Outside && !begins) {
                self.number
            } else {
                self.number + 1
            },
        }
    }

    /// What each statement of a text will do if those before it succeed.
    pub fn before_each(&self, statement: &Statement) -> Vec<Effect> {
        let Statement::Multi(parts) = statement else {
            return vec![self.before(statement)];
        };
        let mut ahead = self.clone();
        let effects = parts.iter().map(|part| {
            let effect = ahead.before(part);
            ahead.assume(part);
            effect
        });
        effects.collect()
    }

    /// Moves on as if the statement had succeeded.
    fn assume(&mut self, statement: &Statement) {
        let status = self.status_if_done(statement);
        self.after(statement, Outcome::Ok { status });
    }

    /// The flags that the server's answer will have if the statement succeeds.
    pub fn status_if_done(&self, statement: &Statement) -> u16 {
        let effect = self.before(statement);
        let open = effect.begins || (self.is_open() && effect.ends.is_none());
        let autocommit = match statement {
            Statement::Set(settings) => autocommit_setting(settings).unwrap_or(self.autocommit),
            _ => self.autocommit,
        };
        (if open { STATUS_IN_TRANS } else { 0 }) | if autocommit { STATUS_AUTOCOMMIT } else { 0 }
    }

    /// Takes in the answer. For several statements in one text, or several results of one, it is called once
    /// per result, with the part that the result belongs to.
    pub fn after(&mut self, statement: &Statement, outcome: Outcome) -> After {
        let effect = self.before(statement);
        match outcome {
            Outcome::Ok { status } => self.succeeded(statement, effect, status),
            Outcome::Error { code } => self.failed(statement, effect, code),
        }
    }

    /// COM_RESET_CONNECTION has succeeded: as after login, but for the default schema.
    pub fn reset_connection(&mut self) -> After {
        let schema = self.schema.take();
        self.begin_again(schema)
    }

    /// COM_CHANGE_USER has succeeded.
    pub fn change_user(&mut self, schema: Option<String>) -> After {
        self.begin_again(schema)
    }

    /// The connection is gone, and the transaction with it.
    pub fn disconnected(&mut self) -> After {
        self.begin_again(None)
    }

    /// A command without SQL (COM_PING, COM_INIT_DB, COM_STMT_PREPARE, …) was answered with flags.
    pub fn observed(&mut self, status: u16) -> After {
        self.succeeded(&Statement::Harmless, self.before(&Statement::Harmless), status)
    }

    fn begin_again(&mut self, schema: Option<String>) -> After {
        let number = self.number;
        // MariaDB keeps a prepared XA transaction beyond the session; it goes by `PreparedEnded`.
        let ended = self.is_open() && self.xa != XaState::Prepared;
        *self = TransactionState { number, ..TransactionState::new(self.defaults, schema) };
        if ended { After::Ended(Ending::RolledBack) } else { After::Continues }
    }

    fn xa_open(&self) -> bool {
        self.xa != XaState::None
    }

    /// How the statement ends the open transaction.
    fn ends(&self, statement: &Statement) -> Option<Ending> {
        if !self.is_open() {
            return None;
        }
        if self.xa_open() {
            // Everything else fails inside an XA transaction (1399) and ends nothing.
            return match statement {
                Statement::Xa(Xa::Commit) => Some(Ending::Committed),
                Statement::Xa(Xa::Rollback) => Some(Ending::RolledBack),
                _ => None,
            };
        }
        match statement {
            Statement::Commit { .. } | Statement::Begin { .. } | Statement::LockTables(_) => {
                Some(Ending::Committed)
            }
            Statement::Ddl { commits: true, .. } => Some(Ending::Committed),
            Statement::Rollback { .. } => Some(Ending::RolledBack),
            Statement::UnlockTables if self.tables_locked => Some(Ending::Committed),
            Statement::Set(settings) if !self.autocommit && autocommit_setting(settings) == Some(true) => {
                Some(Ending::Committed)
            }
            _ => None,
        }
    }

    fn characteristics(&self, statement: &Statement, stays_open: bool) -> (Isolation, bool) {
        // AND CHAIN hands the level and the access mode on.
        let chain = matches!(
            statement,
            Statement::Commit { chain: true, .. } | Statement::Rollback { chain: true, .. }
        );
        if stays_open || (chain && self.is_open()) {
            return (self.current_isolation, self.current_read_only);
        }
        let next = (self.next_isolation, self.next_read_only);
        // A one-shot value is for the next transaction, which cannot be this one if one is open.
        let next = if self.is_open() { (None, None) } else { next };
        (next.0.unwrap_or(self.isolation), next.1.unwrap_or(self.read_only))
    }

    // ## Open or not => what the flags say

    fn succeeded(&mut self, statement: &Statement, effect: Effect, status: u16) -> After {
        let was_open = self.is_open();
        let in_trans = status & STATUS_IN_TRANS != 0;
        self.autocommit = status & STATUS_AUTOCOMMIT != 0;
        self.uncertain = false;
        let after = match statement {
            Statement::Xa(xa) => self.xa_succeeded(*xa, effect, in_trans),
            _ if was_open && effect.ends.is_some() => self.end(effect.ends.unwrap_or(Ending::Unknown)),
            _ if was_open && !in_trans => {
                let prepared = self.xa == XaState::Prepared;
                let ended = self.end(Ending::Unknown);
                if prepared { After::Continues } else { ended }
            }
            _ if effect.runs == Runs::Alone && !in_trans => {
                self.number = effect.transaction;
                self.end(Ending::Committed)
            }
            Statement::Commit { .. } | Statement::Rollback { .. } => {
                // With nothing to end it still uses up a one-shot level.
                (self.next_isolation, self.next_read_only) = (None, None);
                After::Continues
            }
            _ => After::Continues,
        };
        if in_trans && !self.is_open() {
            self.begin(statement, effect);
        }
        if in_trans {
            self.current_read_only |= status & STATUS_IN_TRANS_READONLY != 0;
        }
        self.settle(statement).unwrap_or(after)
    }

    /// A transaction is open now that was not.
    fn begin(&mut self, statement: &Statement, effect: Effect) {
        let explicit = matches!(
            statement,
            Statement::Begin { .. }
                | Statement::Commit { .. }
                | Statement::Rollback { .. }
                | Statement::Xa(Xa::Start)
        );
        self.open = if explicit { Open::Explicit } else { Open::Implicit };
        // Begun by something that does not show it: a stored procedure, a text-level EXECUTE.
        self.uncertain = !effect.begins;
        self.number += 1;
        self.current_isolation = effect.isolation;
        self.current_read_only = effect.read_only;
        (self.next_isolation, self.next_read_only) = (None, None);
        self.savepoints.clear();
        self.marker = 0;
    }

    fn end(&mut self, ending: Ending) -> After {
        self.open = Open::No;
        self.savepoints.clear();
        self.marker = 0;
        self.xa = XaState::None;
        (self.next_isolation, self.next_read_only) = (None, None);
        After::Ended(ending)
    }

    // ## XA: none => active => idle => prepared => none

    fn xa_succeeded(&mut self, xa: Xa, effect: Effect, in_trans: bool) -> After {
        match xa {
            Xa::Start => {
                if in_trans && !self.is_open() {
                    self.begin(&Statement::Xa(xa), effect);
                }
                self.xa = XaState::Active;
                After::Continues
            }
            Xa::End => {
                self.xa = XaState::Idle;
                After::Continues
            }
            Xa::Prepare if in_trans => {
                self.xa = XaState::Prepared;
                After::Prepared
            }
            Xa::Prepare => {
                self.end(Ending::Unknown);
                After::Prepared
            }
            Xa::Commit | Xa::Rollback => {
                let ending = if xa == Xa::Commit { Ending::Committed } else { Ending::RolledBack };
                let own = self.is_open() && self.xa != XaState::Prepared;
                if self.is_open() && !in_trans {
                    self.end(ending);
                }
                if own { After::Ended(ending) } else { After::PreparedEnded(ending) }
            }
            Xa::Recover => After::Continues,
        }
    }

    // ## What a successful statement leaves behind in the session

    fn settle(&mut self, statement: &Statement) -> Option<After> {
        match statement {
            Statement::Savepoint(name) if self.is_open() => self.savepoint(name),
            Statement::RollbackTo(name) => return self.rolled_back_to(name),
            Statement::ReleaseSavepoint(name) => {
                if let Some(at) = self.position(name) {
                    self.savepoints.truncate(at);
                }
            }
            Statement::LockTables(_) => self.tables_locked = true,
            // BEGIN and everything that UNLOCK TABLES is part of.
            Statement::UnlockTables | Statement::Begin { .. } => self.tables_locked = false,
            Statement::Use(schema) => self.schema = Some(schema.clone()),
            Statement::Set(settings) => settings.iter().for_each(|setting| self.set(setting)),
            _ => {}
        }
        None
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().position(|savepoint| savepoint.name == name)
    }

    fn savepoint(&mut self, name: &str) {
        // The same name again replaces the older one.
        self.savepoints.retain(|savepoint| savepoint.name != name);
        if self.savepoints.len() >= self.defaults.max_savepoints.max(1) {
            self.savepoints.remove(0);
            self.forgotten = true;
        }
        self.marker = self.marker.saturating_add(1);
        self.savepoints.push(Savepoint { name: name.to_owned(), marker: self.marker });
    }

    fn rolled_back_to(&mut self, name: &str) -> Option<After> {
        let at = self.position(name)?;
        self.savepoints.truncate(at + 1);
        // Markers only grow: what is undone and what comes next must not carry the same.
        let marker = self.savepoints[at].marker;
        self.marker = self.marker.saturating_add(1);
        Some(After::RolledBackTo(marker))
    }

    fn set(&mut self, setting: &Setting) {
        match *setting {
            // The flags have told.
            Setting::Autocommit(_) | Setting::Variable(..) => {}
            Setting::Isolation(Scope::Next, level) => self.next_isolation = level.or(self.next_isolation),
            Setting::Isolation(Scope::Session, level) => {
                self.isolation = level.unwrap_or(self.defaults.isolation);
                if !self.is_open() {
                    // The session's level goes before a one-shot level that was set earlier.
                    self.next_isolation = None;
                }
            }
            Setting::ReadOnly(Scope::Next, mode) => self.next_read_only = mode.or(self.next_read_only),
            Setting::ReadOnly(Scope::Session, mode) => {
                self.read_only = mode.unwrap_or(self.defaults.read_only);
                if !self.is_open() {
                    self.next_read_only = None;
                }
            }
            Setting::Isolation(Scope::Global, level) => {
                self.defaults.isolation = level.unwrap_or(self.defaults.isolation);
            }
            Setting::ReadOnly(Scope::Global, mode) => {
                self.defaults.read_only = mode.unwrap_or(self.defaults.read_only);
            }
            Setting::SqlMode(mode) => self.sql_mode = mode.unwrap_or(self.sql_mode),
            Setting::ForeignKeyChecks(on) => self.foreign_key_checks = on.unwrap_or(true),
            Setting::UniqueChecks(on) => self.unique_checks = on.unwrap_or(true),
            Setting::LockWaitTimeout(seconds) => {
                self.lock_wait_timeout = seconds.unwrap_or(self.defaults.lock_wait_timeout);
            }
        }
    }

    // ## Open => ended, by an error

    fn failed(&mut self, statement: &Statement, effect: Effect, code: u16) -> After {
        let was_open = self.is_open();
        if gone(code) {
            return self.disconnected();
        }
        if self.rolls_back(statement, code) {
            if !was_open {
                self.number = effect.transaction;
            }
            return self.end(Ending::RolledBack);
        }
        // What commits implicitly does so before it can fail, but after it was parsed and admitted.
        let implicit =
            matches!(statement, Statement::Ddl { .. } | Statement::LockTables(_) | Statement::Begin { .. });
        if was_open && implicit && effect.ends.is_some() && !refused(code) {
            return self.end(Ending::Committed);
        }
        if was_open {
            return After::StatementRolledBack;
        }
        match effect.runs {
            Runs::Outside => After::Continues,
            Runs::Alone => {
                self.number = effect.transaction;
                self.end(Ending::RolledBack)
            }
            // With autocommit off the transaction was begun; if not, the next flags tell.
            Runs::Transaction if refused(code) => After::Continues,
            Runs::Transaction => {
                self.begin(statement, effect);
                self.uncertain = true;
                After::StatementRolledBack
            }
        }
    }

    /// Does the error end the whole transaction?
    fn rolls_back(&mut self, statement: &Statement, code: u16) -> bool {
        match code {
            // ER_LOCK_DEADLOCK. MariaDB's GET_LOCK gives the same code and keeps the transaction.
            1213 if self.defaults.mariadb => match statement {
                Statement::Select(select) => !(select.user_lock && select.tables.is_empty()),
                Statement::NamedLocks(_) => false,
                Statement::Routine { .. } | Statement::Set(_) => {
                    self.uncertain = true;
                    false
                }
                _ => true,
            },
            1213 => true,
            // ER_LOCK_WAIT_TIMEOUT
            1205 => self.defaults.rollback_on_timeout,
            // ER_XA_RBROLLBACK, ER_XA_RBTIMEOUT, ER_XA_RBDEADLOCK
            1402 | 1613 | 1614 => true,
            // ER_ERROR_DURING_COMMIT, ER_RUN_HOOK_ERROR, ER_TRANSACTION_ROLLBACK_DURING_COMMIT
            1180 | 3100 | 3101 => self.is_open(),
            _ => false,
        }
    }
}

/// The statement was refused before it did anything: ER_PARSE_ERROR, ER_SYNTAX_ERROR, ER_XAER_RMFAIL,
/// ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE.
fn refused(code: u16) -> bool {
    matches!(code, 1064 | 1149 | 1290 | 1399 | 1792 | 1836)
}

/// The server closes the connection: ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED (MariaDB), ER_SESSION_WAS_KILLED,
/// ER_CLIENT_INTERACTION_TIMEOUT.
fn gone(code: u16) -> bool {
    matches!(code, 1053 | 1927 | 3169 | 4031)
}

/// The value that a SET leaves in autocommit: the last one counts.
fn autocommit_setting(settings: &[Setting]) -> Option<bool> {
    settings.iter().rev().find_map(|setting| match setting {
        Setting::Autocommit(value) => *value,
        _ => None,
    })
}

/// Does it touch a table, so that a transaction begins with autocommit off and a one-shot level is used up?
fn touches(statement: &Statement) -> bool {
    match statement {
        Statement::Select(select) => !select.tables.is_empty(),
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => true,
        Statement::Ddl { .. } => true,
        Statement::Routine { verb, tables, .. } => *verb != "DO" || !tables.is_empty(),
        Statement::Opaque { .. } => true,
        _ => false,
    }
}
