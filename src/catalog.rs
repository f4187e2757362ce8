//! The catalog: what tables, columns, indexes and foreign keys are like. A plain snapshot.
//!
//! It is loaded by `backend::catalog_loader` from `information_schema` and never changed in place: a new
//! definition is a new [`Table`] with the next `generation`.

use std::sync::Arc;

use crate::id::{IndexId, TableId};
use crate::sql::formula::Formula;

/// A table, as it was when it was loaded.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// The number that locks are kept under; the same for every generation of the same name.
    pub id: TableId,
    /// Counts the definitions of this name that were loaded.
    pub generation: u64,
    /// Schema name.
    pub schema: String,
    /// Table name.
    pub name: String,
    /// `BASE TABLE` of the InnoDB engine? Other engines and views take no row locks that the model knows.
    pub kind: TableKind,
    /// Columns in table order, then the expressions of functional indexes.
    pub columns: Vec<Column>,
    /// Indexes; the first is the clustered one: PRIMARY, or the first unique index without nullable
    /// columns, or (with no columns) the hidden row id (InnoDB manual, "Clustered and Secondary Indexes").
    pub indexes: Vec<Index>,
    /// Foreign keys that this table has (it is the child).
    pub foreign_keys: Vec<ForeignKey>,
    /// Foreign keys of other tables that point here (it is the parent).
    pub referenced_by: Vec<ForeignKey>,
    /// It has partitions, each with its own indexes: equal keys of two of them do not meet.
    pub partitioned: bool,
    /// A view's SELECT, in the server's canonical form; `None` for a table, or without the right to see it.
    pub definition: Option<String>,
    /// What is run besides the statements that change it, in the order in which it runs.
    pub triggers: Vec<Trigger>,
}

/// A trigger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// The change that it runs with.
    pub event: TriggerEvent,
    /// `BEFORE`: it may change the new row.
    pub before: bool,
    /// Its body, as written.
    pub body: String,
    /// The sql_mode that the body is read under.
    pub sql_mode: String,
}

/// What a trigger runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TriggerEvent {
    /// A new row.
    Insert,
    /// A row that changes.
    Update,
    /// A row that goes.
    Delete,
}

/// A procedure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Procedure {
    /// Names of its parameters, in order.
    pub parameters: Vec<String>,
    /// Its body, as written; `None` without the right to see it.
    pub body: Option<String>,
    /// The sql_mode that the body is read under.
    pub sql_mode: String,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    /// A table of InnoDB.
    InnoDb,
    /// A table of another engine.
    OtherEngine,
    /// A view.
    View,
}

/// A column.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// Name, in the table's spelling.
    pub name: String,
    /// How its values compare.
    pub family: Family,
    /// NULL is allowed.
    pub nullable: bool,
    /// `AUTO_INCREMENT`
    pub auto_increment: bool,
    /// Generated, virtual or stored.
    pub generated: bool,
    /// The default value, without quotes; `None` is NULL (or none).
    pub default: Option<String>,
    /// `default` is an expression (`uuid()`, `CURRENT_TIMESTAMP`): its value is not known beforehand.
    pub default_is_expression: bool,
    /// What gives it a value where the statement does not: the expression of its default, or of a generated
    /// column. `None`: there is none, or it cannot be computed here.
    pub formula: Option<Arc<Formula>>,
    /// `ON UPDATE CURRENT_TIMESTAMP`
    pub on_update: bool,
    /// No column, but the expression of a functional index, as the server writes it.
    pub expression: Option<String>,
}

impl Column {
    /// A column that takes what it is given and has no other value than that.
    pub fn plain(name: &str, family: Family, nullable: bool) -> Column {
        Column {
            name: name.to_owned(),
            family,
            nullable,
            auto_increment: false,
            generated: false,
            default: None,
            default_is_expression: false,
            formula: None,
            on_update: false,
            expression: None,
        }
    }
}

/// How the values of a column compare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Family {
    /// Integer types, YEAR, BIT.
    Integer,
    /// DECIMAL with its number of digits after the point.
    Decimal(u8),
    /// FLOAT, DOUBLE.
    Float,
    /// CHAR, VARCHAR, TEXT with their collation's name.
    Text(String),
    /// BINARY(n) (padded with zero bytes to n), VARBINARY and BLOB (`None`).
    Binary(Option<u32>),
    /// DATE
    Date,
    /// DATETIME, TIMESTAMP with fractional digits.
    DateTime(u8),
    /// TIME with fractional digits.
    Time(u8),
    /// ENUM, SET, JSON, geometry, …: not compared by the model.
    Other,
}

/// An index.
#[derive(Clone, PartialEq, Debug)]
pub struct Index {
    /// Name: `PRIMARY`, `idx_server`, …; `GEN_CLUST_INDEX` for the hidden row id.
    pub name: String,
    /// Unique, primary included.
    pub unique: bool,
    /// Key parts in order.
    pub parts: Vec<KeyPart>,
    /// False for FULLTEXT and SPATIAL, which the model does not know.
    pub btree: bool,
}

/// A part of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPart {
    /// Position in [`Table::columns`]; `None` for an expression that could not be read.
    pub column: Option<usize>,
    /// Prefix length in characters, if only a prefix is indexed.
    pub prefix: Option<u32>,
    /// Descending.
    pub descending: bool,
}

/// A foreign key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignKey {
    /// Constraint name.
    pub name: String,
    /// Child schema and table.
    pub child: (String, String),
    /// Child columns, in order.
    pub child_columns: Vec<String>,
    /// Parent schema and table.
    pub parent: (String, String),
    /// Parent columns, in order.
    pub parent_columns: Vec<String>,
    /// `ON DELETE`
    pub on_delete: ReferentialAction,
    /// `ON UPDATE`
    pub on_update: ReferentialAction,
}

/// What happens to the children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferentialAction {
    /// `RESTRICT`, `NO ACTION`
    Restrict,
    /// `CASCADE`
    Cascade,
    /// `SET NULL`
    SetNull,
}

/// MySQL or MariaDB: they lock differently in places.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flavour {
    /// Oracle MySQL and its relatives.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// What the server said of itself on the control connection.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerFacts {
    /// Which family.
    pub flavour: Flavour,
    /// `SELECT VERSION()`
    pub version: String,
    /// Global default isolation, `REPEATABLE-READ`.
    pub isolation: String,
    /// Global default of autocommit.
    pub autocommit: bool,
    /// `innodb_lock_wait_timeout`, seconds.
    pub lock_wait_timeout: u64,
    /// `innodb_rollback_on_timeout`
    pub rollback_on_timeout: bool,
    /// `innodb_autoinc_lock_mode`
    pub autoinc_lock_mode: u8,
    /// `lower_case_table_names`: 0 compares exactly, otherwise names are lower-cased.
    pub lower_case_table_names: u8,
    /// Seconds that its clock, in its time zone, is ahead of this machine's in UTC.
    pub clock_ahead: i64,
}

impl Default for ServerFacts {
    /// MySQL 8's defaults: what is assumed when there is no control connection.
    fn default() -> Self {
        ServerFacts {
            flavour: Flavour::MySql,
            version: String::new(),
            isolation: "REPEATABLE-READ".to_owned(),
            autocommit: true,
            lock_wait_timeout: 50,
            rollback_on_timeout: false,
            autoinc_lock_mode: 2,
            lower_case_table_names: 0,
            clock_ahead: 0,
        }
    }
}

impl Table {
    /// The clustered index: always at position 0.
    pub fn clustered(&self) -> IndexId {
        IndexId { table: self.id, index: 0 }
    }

    /// Position of a column, compared without case as the server does.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// Is the column, as it is, part of an index?
    pub fn is_indexed(&self, name: &str) -> bool {
        let column = self.column(name);
        column.is_some()
            && self.indexes.iter().flat_map(|index| &index.parts).any(|part| part.column == column)
    }

    /// Is the place of a row in an index another if this column is, as far as is known?
    pub fn keys_hang_on(&self, name: &str) -> bool {
        let column = self.column(name);
        let parts = self.indexes.iter().flat_map(|index| &index.parts);
        parts.into_iter().any(|part| part.column.is_none_or(|of| self.hangs_on(of, &|c| Some(c) == column)))
    }

    /// Is the column one of those, or generated from one of them, as far as is known?
    pub fn hangs_on(&self, column: usize, those: &dyn Fn(usize) -> bool) -> bool {
        those(column)
            || self.columns[column].generated && {
                let formula = self.columns[column].formula.as_ref();
                let one = |name: &str| self.column(name).is_none_or(|c| self.hangs_on(c, those));
                formula.is_none_or(|formula| formula.columns().into_iter().any(one))
            }
    }
}

/// How the server reads one table of a statement: a row of its EXPLAIN.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlanStep {
    /// The table's alias, or `<derived2>` and the like; empty where no table is read.
    pub table: String,
    /// `const`, `ref`, `range`, `index`, `ALL`, …; MariaDB adds `|filter`.
    pub access: String,
    /// The indexes used: one, several of an index merge or a rowid filter, or none.
    pub keys: Vec<String>,
    /// What the leading parts of the index are compared with: `const` or a column.
    pub refs: Vec<String>,
    /// The notes: `Using where; Using index`.
    pub extra: String,
}

impl PlanStep {
    /// The column of another table that the n-th part of the index is compared with: its alias and name.
    pub fn joined_by(&self, part: usize) -> Option<(&str, &str)> {
        let (table, column) = self.refs.get(part)?.rsplit_once('.')?;
        Some((table.rsplit_once('.').map_or(table, |(_, alias)| alias), column))
    }

    /// Do the notes say so?
    pub fn notes(&self, note: &str) -> bool {
        self.extra.split("; ").any(|known| known.eq_ignore_ascii_case(note))
    }
}
