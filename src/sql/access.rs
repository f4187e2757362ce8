//! Which tables a statement reads, under what conditions, and with which lock.

use super::value::Scalar;

/// A table as the text names it: exact case, quotes removed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableName {
    /// `None`: the session's default schema.
    pub schema: Option<String>,
    /// The table's name.
    pub name: String,
}

/// One table that a statement reads or writes, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct TableAccess {
    /// Which table.
    pub table: TableName,
    /// The alias in the statement, or the table's name.
    pub alias: String,
    /// The lock that the statement asks for on the rows read (`None`: a consistent read).
    pub lock: Option<RowLock>,
    /// What WHERE (and ON) say about this table's columns.
    pub predicate: Predicate,
    /// True for a table inside a subquery, derived table or CTE.
    pub nested: bool,
    /// The only table of a `NOT EXISTS (…)`: a row that is found here keeps the others out.
    pub excludes: bool,
    /// The columns that its query block reads beside those of `predicate`, if they are plain columns and the block has
    /// no other table (to see covering indexes).
    pub columns: Option<Vec<String>>,
    /// Only the row with the least or greatest value of a column is wanted: `SELECT MAX(c) …`.
    pub extreme: Option<Extreme>,
}

/// `MIN(c)` or `MAX(c)`, and no other aggregate and no other column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extreme {
    /// The column.
    pub column: String,
    /// `MAX`
    pub greatest: bool,
}

/// The lock of a locking read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowLock {
    /// `FOR UPDATE` (true) or `FOR SHARE` / `LOCK IN SHARE MODE` (false).
    pub exclusive: bool,
    /// What to do where the lock is not free.
    pub wait: WaitPolicy,
}

/// What a locking read does where the lock is not free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitPolicy {
    /// Wait for it.
    Wait,
    /// Fail at once (also MariaDB's `WAIT 0`).
    NoWait,
    /// Pass over the row.
    SkipLocked,
}

/// The conditions that a row must meet, as a conjunction; what could not be read is `exact = false`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Predicate {
    /// Conditions joined by AND.
    pub conditions: Vec<Condition>,
    /// False if the text has more conditions than `conditions` shows (OR, functions, other tables, …).
    pub exact: bool,
    /// Of an OR that `conditions` cannot show, what each of its sides says, as a conjunction.
    pub sides: Vec<Vec<Condition>>,
}

impl Predicate {
    /// What a column must be equal to.
    pub fn equal(&self, column: &str) -> Option<&Scalar> {
        self.conditions.iter().find_map(|condition| match &condition.test {
            Test::Eq(value) if condition.column.eq_ignore_ascii_case(column) => Some(value),
            _ => None,
        })
    }
}

/// A condition on one column (or on a row constructor's columns, as several conditions).
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// Column name as written, without quotes; compare without case.
    pub column: String,
    /// What it must be.
    pub test: Test,
}

/// What a column must be.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// `=`, `<=>` with a value
    Eq(Scalar),
    /// `IN (…)`
    In(Vec<Scalar>),
    /// `<`, `<=`, `>`, `>=`, `BETWEEN`: bound and whether it is included.
    Range {
        /// Lower bound.
        low: Option<(Scalar, bool)>,
        /// Upper bound.
        high: Option<(Scalar, bool)>,
    },
    /// `LIKE 'prefix%'` with the pattern (the binder cuts it at the first wildcard).
    Like(Scalar),
    /// `IS NULL`
    IsNull,
    /// Equal to a column of another table in the statement: `alias.column`.
    EqColumn(String, String),
    /// Something else on this column (`<>`, a function of it, …): it restricts, but gives no range.
    Other,
}
