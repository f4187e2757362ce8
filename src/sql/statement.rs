//! What the rest of interlock knows of a statement once it has been read: a plan, not a syntax tree.
//!
//! A plan holds no literal of the statement's text. Where the text has a literal (or a `?`), the plan has a
//! [`Scalar::Slot`] that is filled from the text of each execution, so one plan serves every statement with
//! the same digest.

use std::sync::Arc;

use super::access::{TableAccess, TableName};
use super::value::Scalar;

/// A statement that was read, ready to be kept in the digest cache.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// `BEGIN`, `START TRANSACTION …`
    Begin {
        /// `READ ONLY` / `READ WRITE` if said.
        read_only: Option<bool>,
        /// `WITH CONSISTENT SNAPSHOT`: InnoDB's read view is opened now.
        snapshot: bool,
    },
    /// `COMMIT [AND [NO] CHAIN] [[NO] RELEASE]`
    Commit {
        /// `AND CHAIN`
        chain: bool,
        /// `RELEASE`: the server closes the connection.
        release: bool,
    },
    /// `ROLLBACK [AND [NO] CHAIN] [[NO] RELEASE]`
    Rollback {
        /// `AND CHAIN`
        chain: bool,
        /// `RELEASE`
        release: bool,
    },
    /// `SAVEPOINT name` (names are lower-cased: they compare without case)
    Savepoint(String),
    /// `ROLLBACK [WORK] TO [SAVEPOINT] name`
    RollbackTo(String),
    /// `RELEASE SAVEPOINT name`
    ReleaseSavepoint(String),
    /// `SET …`: the parts that change transactions or how later text is read; other parts are dropped.
    Set(Vec<Setting>),
    /// `XA …`
    Xa(Xa),
    /// `LOCK TABLES …`
    LockTables(Vec<(TableName, bool)>),
    /// `UNLOCK TABLES`
    UnlockTables,
    /// `USE schema`
    Use(String),
    /// Data definition and everything else that commits implicitly; the tables that it names.
    Ddl {
        /// Tables whose definition changes (or that appear or go), as far as the text tells.
        tables: Vec<TableName>,
        /// First two words, upper case: `CREATE TABLE`, `TRUNCATE`.
        verb: &'static str,
        /// False for `CREATE/DROP TEMPORARY TABLE` and the like, which do not commit.
        commits: bool,
        /// Tables whose definition is only read: `… LIKE t`, what a view selects from.
        reads: Vec<TableName>,
        /// `CREATE TABLE … SELECT`: where the rows come from.
        source: Option<Box<Select>>,
    },
    /// A plain or locking `SELECT`, `TABLE t`, `VALUES …`
    Select(Select),
    /// `INSERT`, `REPLACE`
    Insert(Insert),
    /// `UPDATE`
    Update(Update),
    /// `DELETE`
    Delete(Delete),
    /// `CALL`, `DO`, `HANDLER`, `LOAD DATA`, text-level `EXECUTE`: may lock what the text does not show.
    Routine {
        /// First word(s), upper case.
        verb: &'static str,
        /// Tables that the text names.
        tables: Vec<TableName>,
        /// What it runs, where the text names that.
        runs: Option<Box<Runs>>,
    },
    /// `PREPARE name FROM …`; without a source `DEALLOCATE PREPARE name`. Names are lower-cased.
    Prepare {
        /// The name.
        name: String,
        /// Where the text comes from.
        from: Option<Argument>,
    },
    /// `SELECT`, `DO` or `SET` without a table that calls `GET_LOCK` and its kin: the calls in text order.
    NamedLocks(Vec<NamedLock>),
    /// `KILL QUERY id`: takes no lock, but ends the statement of another session. (`KILL CONNECTION` is harmless:
    /// the server tells that session itself.)
    KillQuery(Scalar),
    /// Read and known to take no lock and to change no transaction: `SHOW`, `KILL`, `EXPLAIN`, …
    Harmless,
    /// Not understood. Relayed and counted; tables named after FROM/JOIN/INTO/UPDATE are kept where seen.
    Opaque {
        /// Why, from a closed set (it is a metric label).
        reason: OpaqueReason,
        /// Tables that it names, as far as the lexer saw.
        tables: Vec<TableName>,
    },
    /// Several statements in one text, in order.
    Multi(Vec<Arc<Statement>>),
}

/// What a statement runs that stands elsewhere.
#[derive(Clone, PartialEq, Debug)]
pub enum Runs {
    /// `CALL procedure (…)`
    Procedure {
        /// Its name.
        name: TableName,
        /// What it is given.
        arguments: Vec<Argument>,
    },
    /// `EXECUTE name USING …`
    Prepared {
        /// Its name, lower-cased.
        name: String,
        /// One for each `?`.
        using: Vec<Argument>,
    },
    /// MariaDB's `EXECUTE IMMEDIATE … USING …`
    Text {
        /// Where the text comes from.
        from: Argument,
        /// One for each `?`.
        using: Vec<Argument>,
    },
}

/// What a statement is given by name or value.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// A literal or `?`, or [`Scalar::Unknown`] for an expression.
    Scalar(Scalar),
    /// `@name`, lower-cased.
    Variable(String),
}

/// Why a statement was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpaqueReason {
    /// Neither the lexer nor the parser could read it.
    Syntax,
    /// Longer than the limit up to which text is analysed.
    TooLong,
    /// The bytes are not text in a character set that is read.
    NotText,
    /// Read, but of a shape that the model does not know.
    Shape,
}

/// A call of a function that works on named locks.
#[derive(Clone, PartialEq, Debug)]
pub enum NamedLock {
    /// `GET_LOCK(name, timeout)`
    Get {
        /// The name.
        name: Scalar,
        /// Seconds; 0 does not wait, a negative number waits for ever.
        timeout: Scalar,
    },
    /// `RELEASE_LOCK(name)`
    Release(Scalar),
    /// `RELEASE_ALL_LOCKS()`
    ReleaseAll,
}

/// One part of a `SET` statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Setting {
    /// `SET [SESSION] autocommit = 0|1`; `None`: a value that the text does not tell.
    Autocommit(Option<bool>),
    /// `SET [GLOBAL|SESSION] TRANSACTION ISOLATION LEVEL …`, `SET … transaction_isolation / tx_isolation = …`
    Isolation(Scope, Option<Isolation>),
    /// `SET … TRANSACTION READ ONLY|WRITE`, `transaction_read_only`
    ReadOnly(Scope, Option<bool>),
    /// `sql_mode`: whether it holds ANSI_QUOTES and NO_BACKSLASH_ESCAPES; `None`: unknown value.
    SqlMode(Option<SqlMode>),
    /// `foreign_key_checks`
    ForeignKeyChecks(Option<bool>),
    /// `unique_checks`
    UniqueChecks(Option<bool>),
    /// `innodb_lock_wait_timeout`, seconds.
    LockWaitTimeout(Option<u64>),
    /// `@name = …`
    Variable(String, Argument),
}

/// How far a `SET` reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Only the next transaction.
    Next,
    /// This session from now on.
    Session,
    /// Sessions that begin later.
    Global,
}

/// The isolation levels of the SQL standard, as InnoDB has them; ordered from weak to strong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Isolation {
    /// `READ UNCOMMITTED`
    ReadUncommitted,
    /// `READ COMMITTED`
    ReadCommitted,
    /// `REPEATABLE READ`
    RepeatableRead,
    /// `SERIALIZABLE`
    Serializable,
}

/// The parts of `sql_mode` that change how text is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SqlMode {
    /// `"x"` is an identifier.
    pub ansi_quotes: bool,
    /// A backslash in a string is an ordinary character.
    pub no_backslash_escapes: bool,
}

/// `XA` verbs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Xa {
    /// `XA START|BEGIN`
    Start,
    /// `XA END`
    End,
    /// `XA PREPARE`
    Prepare,
    /// `XA COMMIT` (also `ONE PHASE`)
    Commit,
    /// `XA ROLLBACK`
    Rollback,
    /// `XA RECOVER`
    Recover,
}

/// A `SELECT`.
#[derive(Clone, PartialEq, Debug)]
pub struct Select {
    /// Every table that it reads, in text order; empty for `SELECT 1`.
    pub tables: Vec<TableAccess>,
    /// `LIMIT` is present.
    pub limited: bool,
    /// How many rows it lets through, where that is a plain value.
    pub limit: Option<Scalar>,
    /// `ORDER BY` columns of the first table with descending flag, if it is a plain column list.
    pub order: Vec<(String, bool)>,
    /// It has aggregate functions, GROUP BY, DISTINCT, HAVING, a UNION …: the number of result rows is not
    /// the number of rows found.
    pub aggregated: bool,
    /// It calls `GET_LOCK`, `RELEASE_LOCK` or another function with effects on locks.
    pub user_lock: bool,
}

/// An `INSERT` or `REPLACE`.
#[derive(Clone, PartialEq, Debug)]
pub struct Insert {
    /// The table.
    pub table: TableName,
    /// `REPLACE`
    pub replace: bool,
    /// `IGNORE`
    pub ignore: bool,
    /// `ON DUPLICATE KEY UPDATE`: the columns that it changes, and to what.
    pub on_duplicate: Option<Vec<(String, Scalar)>>,
    /// Column list; `None`: all columns in table order.
    pub columns: Option<Vec<String>>,
    /// Where the rows come from.
    pub rows: Rows,
    /// What a `SELECT` gives each column of a new row, computed from its only table's columns; empty: not even how
    /// many.
    pub selected: Vec<Scalar>,
    /// `SELECT *` from one table.
    pub selects_all: bool,
    /// Tables that subqueries among the values read.
    pub reads: Vec<TableAccess>,
}

impl Statement {
    /// The tables that it reads, each as often as it does; nothing for several statements in one text.
    pub fn accesses(&self) -> &[TableAccess] {
        match self {
            Statement::Select(select) => &select.tables,
            Statement::Update(update) => &update.tables,
            Statement::Delete(delete) => &delete.tables,
            Statement::Insert(insert) => insert.sources(),
            _ => &[],
        }
    }
}

impl Insert {
    /// What the columns of a new row get; `None`: the text does not tell.
    pub fn values(&self) -> Option<&[Scalar]> {
        match &self.rows {
            Rows::Values(row) => Some(row),
            Rows::Select(_) => Some(self.selected.as_slice()).filter(|selected| !selected.is_empty()),
        }
    }

    /// The tables that it reads.
    pub fn sources(&self) -> &[TableAccess] {
        match &self.rows {
            Rows::Values(_) => &self.reads,
            Rows::Select(source) => &source.tables,
        }
    }
}

/// Where an `INSERT` takes its rows from.
#[derive(Clone, PartialEq, Debug)]
pub enum Rows {
    /// `VALUES (…)[, (…)]*` or `SET`: one folded row; its slots repeat for each row of the text.
    Values(Vec<Scalar>),
    /// `SELECT …`
    Select(Box<Select>),
}

/// An `UPDATE`.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// Tables: `lock` is exclusive where columns are set, `None` where the table is only read.
    pub tables: Vec<TableAccess>,
    /// Columns set: alias (empty if not said), column, value.
    pub assignments: Vec<(String, String, Scalar)>,
    /// `LIMIT` is present.
    pub limited: bool,
    /// `ORDER BY`, as in [`Select`].
    pub order: Vec<(String, bool)>,
}

/// A `DELETE`.
#[derive(Clone, PartialEq, Debug)]
pub struct Delete {
    /// Tables: `lock` is exclusive where rows are deleted, `None` where the table is only read.
    pub tables: Vec<TableAccess>,
    /// `LIMIT` is present.
    pub limited: bool,
    /// `ORDER BY`, as in [`Select`].
    pub order: Vec<(String, bool)>,
}
