//! Which locks will this statement ask for? The one room that knows both SQL and locks.
//!
//! ```text
//! Statement + values + catalog + isolation ─▶ access path ─▶ requests        (before it is sent)
//! requests + rows found, affected, error    ─▶ what was really taken          (after it is answered)
//! ```
//!
//! Every request carries the name of the rule that made it and how sure the rule is. What the model does
//! not know it says ([`Intent::unknown`]); it never invents a lock.

pub mod value;
mod computed;
pub mod access_path;
mod planned_path;
mod shortest_path;
mod contradiction;
pub mod known;
pub mod footprint;
pub mod read;
mod source;
pub mod write;
mod assignment;
mod entry;
mod change;
pub mod changed_row;
pub mod duplicate;
pub mod foreign_key;
pub mod outcome;
pub mod metadata;
#[cfg(test)]
mod test_support;

use std::sync::Arc;

use crate::catalog::{Flavour, Table};
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::access::TableName;
use crate::sql::binding::Binding;
use crate::sql::formula::Moment;
use crate::sql::statement::{Isolation, Statement};
use crate::sql::value::{Scalar, Value};
use foreign_key::Place;
use known::Known;

/// The values of one execution, by slot.
pub trait Values {
    /// The value of a slot.
    fn value(&self, slot: usize) -> Value<'_>;
    /// The values of a folded list.
    fn list(&self, slot: usize) -> Vec<Value<'_>>;
    /// Number of rows of a folded `VALUES` list, at least 1.
    fn rows(&self) -> usize;
    /// The value of a slot in the n-th row, counted from 0.
    fn row_value(&self, row: usize, slot: usize) -> Value<'_>;
    /// When the statement runs, and what its session was given.
    fn moment(&self) -> Moment {
        Moment::default()
    }
}

impl Values for Binding<'_> {
    fn value(&self, slot: usize) -> Value<'_> {
        self.value(slot)
    }

    fn list(&self, slot: usize) -> Vec<Value<'_>> {
        self.list(slot).collect()
    }

    fn rows(&self) -> usize {
        self.rows()
    }

    fn row_value(&self, row: usize, slot: usize) -> Value<'_> {
        self.row_value(row, slot)
    }

    fn moment(&self) -> Moment {
        self.moment()
    }
}

/// What a statement runs under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The isolation level of its transaction.
    pub isolation: Isolation,
    /// Whose rules.
    pub flavour: Flavour,
    /// It runs in a transaction that goes on after it (then SERIALIZABLE makes plain reads lock).
    pub in_transaction: bool,
    /// `foreign_key_checks`
    pub foreign_keys: bool,
    /// The parents of a row are checked before anything of it is inserted (MySQL from 9.6 on), and not entry
    /// by entry.
    pub parents_first: bool,
    /// UPDATE and DELETE of one table look for a full key as for any range (MariaDB before 11).
    pub ranges_keys: bool,
    /// `innodb_autoinc_lock_mode`
    pub autoinc_lock_mode: u8,
}

impl Context {
    /// Does this level lock gaps (manual, "Transaction Isolation Levels")?
    pub fn locks_gaps(&self) -> bool {
        self.isolation >= Isolation::RepeatableRead
    }
}

/// What a statement will ask for.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Intent {
    /// In the order in which the server asks.
    pub requests: Vec<Request>,
    /// Something that it locks is not known, and why (from a closed set: a metric label).
    pub unknown: Option<&'static str>,
    /// How far the gaps of each request reach, by position, where that was read from the server.
    pub reaches: Vec<Option<Range>>,
    /// The statement deletes what its requests find.
    pub deletes: bool,
    /// Every search was read from the server's indexes: the requests are what will be locked, no more.
    pub exact: bool,
    /// Rows whose key is there are left out (INSERT IGNORE): which, the answer does not tell.
    pub may_pass_over: bool,
    /// Which way a search goes only the server's plan would tell.
    pub needs_plan: bool,
    /// NOWAIT, SKIP LOCKED: it never waits for a lock.
    pub never_waits: bool,
    /// It changes a table that has triggers.
    pub triggers: bool,
    /// So many requests at the end are those of statements that it runs.
    pub inner: usize,
}

impl Intent {
    /// One more request, with the reach of its gaps if that was read from the server.
    pub fn add(&mut self, request: Request, reach: Option<Range>) {
        // Other rules push requests without a reach.
        self.reaches.resize(self.requests.len(), None);
        self.requests.push(request);
        self.reaches.push(reach);
    }

    /// Is any request of a search wider than what will be locked, so that asking the server would tell more?
    pub fn is_wide(&self) -> bool {
        let wide = |request: &Request| {
            let row = !request.kind.inserts() && request.kind != Kind::Ahead && !request.index.is_whole();
            row && request.certainty < Certainty::Certain
        };
        self.may_pass_over || self.requests.iter().any(wide)
    }
}

/// The tables whose definition [`requests`] needs.
pub fn tables(statement: &Statement) -> Vec<&TableName> {
    match statement {
        Statement::Select(select) => select.tables.iter().map(|t| &t.table).collect(),
        Statement::Update(update) => update.tables.iter().map(|t| &t.table).collect(),
        Statement::Delete(delete) => delete.tables.iter().map(|t| &t.table).collect(),
        Statement::Insert(insert) => {
            std::iter::once(&insert.table).chain(insert.sources().iter().map(|t| &t.table)).collect()
        }
        Statement::Ddl { source: Some(source), .. } => source.tables.iter().map(|t| &t.table).collect(),
        // Their foreign keys tell which other tables are locked.
        Statement::Ddl { tables, verb: "ALTER TABLE" | "DROP TABLE" | "RENAME TABLE", .. } => {
            tables.iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The locks that the statement will ask for. `table` finds definitions; a table that it does not know
/// makes the intent `unknown`.
pub fn requests(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    table: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Intent {
    requests_knowing(statement, values, context, table, &Known::default())
}

/// The same, with what was learnt from the server about this execution.
pub fn requests_knowing(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    table: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    known: &Known,
) -> Intent {
    let mut intent = Intent::default();
    match statement {
        Statement::Select(_) | Statement::Update(_) | Statement::Delete(_) => {
            intent.deletes = matches!(statement, Statement::Delete(_));
            read::searches(statement, values, context, table, known, &mut intent);
        }
        Statement::Insert(insert) => {
            // What it reads it reads first.
            read::searches(statement, values, context, table, known, &mut intent);
            write::insert(insert, values, context, table, known, &mut intent);
        }
        Statement::Ddl { source: Some(_), .. } => {
            read::searches(statement, values, context, table, known, &mut intent);
        }
        _ => {}
    }
    intent
}

/// The places beside its searches that a statement locks, and that can be asked about.
pub fn places(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    table: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    known: &Known,
) -> Vec<Place> {
    match statement {
        Statement::Insert(insert) => write::places(insert, values, context, table, known),
        _ => read::places(statement, values, context, table, known),
    }
}

/// The values behind the place of a request in its index, in the order of the index's parts: what a look at
/// the server asks for. `None`: they are not all known.
pub fn values_of<'v>(
    statement: &'v Statement,
    values: &'v dyn Values,
    table: &'v Table,
    request: &Request,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Option<Vec<Value<'v>>> {
    let index = table.indexes.get(usize::from(request.index.index))?;
    let place = &request.range.low;
    let mut of_table = statement.accesses().iter().filter(|a| a.table.name.eq_ignore_ascii_case(&table.name));
    let new = match statement {
        Statement::Insert(insert) => write::values_of(insert, values, table, index, find, place),
        Statement::Update(update) => {
            let moved = |access| change::values_of(update, access, values, table, index, place);
            of_table.clone().find_map(moved)
        }
        Statement::Multi(parts) => {
            return parts.iter().find_map(|part| values_of(part, values, table, request, find));
        }
        _ => None,
    };
    new.or_else(|| of_table.find_map(|a| access_path::values_of(table, index, &a.predicate, values, place)))
}

/// The value of a scalar in one row; `None` if only the server knows it.
pub fn scalar<'v>(scalar: &Scalar, values: &'v dyn Values, row: usize) -> Option<Value<'v>> {
    let value = match scalar {
        Scalar::Slot(slot) => values.row_value(row, *slot),
        Scalar::Negative(slot) => match values.row_value(row, *slot) {
            Value::Int(n) => Value::Int(-n),
            Value::Float(f) => Value::Float(-f),
            _ => return None,
        },
        Scalar::Null => Value::Null,
        Scalar::Computed(formula) => return computed::value(formula, values, row, &|_| None),
        Scalar::ListSlot(_) | Scalar::Default | Scalar::Unknown => return None,
    };
    (value != Value::Unknown).then_some(value)
}
