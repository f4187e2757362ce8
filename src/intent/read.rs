//! What a search locks: locking reads, and the search part of UPDATE and DELETE.
//!
//! Rules (observed on MySQL 9.7 and MariaDB 10.11; manual, "Locks Set by Different SQL Statements"):
//!
//! | rule | reads | locks at REPEATABLE READ and above |
//! |---|---|---|
//! | `unique-lookup` | all columns of a unique index | the record, or the gap where it would be |
//! | `equal-entries` | leading columns of an index | next-key on the matches, the gap behind the last |
//! | `interval` | a range of an index | next-key on what is read, up to the record beyond |
//! | `full-scan` | every record | next-key on all of them, and the supremum |
//!
//! At READ COMMITTED and below the records alone.

use std::sync::Arc;

use super::access_path::{self, Reads};
use super::{Context, Intent, Values};
use crate::catalog::{Table, TableKind};
use crate::id::IndexId;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::statement::{Delete, Isolation, RowLock, Select, TableAccess, TableName, Update, WaitPolicy};

type Tables<'t> = &'t dyn Fn(&TableName) -> Option<Arc<Table>>;

/// A SELECT: its locking clause, or shared locks where SERIALIZABLE turns a plain read into one.
pub(super) fn select(
    select: &Select,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    let serializable = context.isolation == Isolation::Serializable && context.in_transaction;
    let implied = serializable.then_some(RowLock { exclusive: false, wait: WaitPolicy::Wait });
    for access in &select.tables {
        if let Some(lock) = access.lock.or(implied) {
            search(access, lock, select.limited, values, context, table, intent);
        }
    }
}

/// The SELECT of an INSERT … SELECT or CREATE TABLE … SELECT: what it reads is locked shared, at READ
/// COMMITTED only where it says so itself.
pub(super) fn source(
    select: &Select,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    let implied = context.locks_gaps().then_some(RowLock { exclusive: false, wait: WaitPolicy::Wait });
    for access in &select.tables {
        if let Some(lock) = access.lock.or(implied) {
            search(access, lock, select.limited, values, context, table, intent);
        }
    }
}

/// An UPDATE: its search. Tables that are only read are locked in shared mode.
pub(super) fn update(
    update: &Update,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    change(&update.tables, update.limited, values, context, table, intent);
}

/// A DELETE: its search, as for UPDATE.
pub(super) fn delete(
    delete: &Delete,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    change(&delete.tables, delete.limited, values, context, table, intent);
}

fn change(
    tables: &[TableAccess],
    limited: bool,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    for access in tables {
        // A source that is only read is a consistent read at READ COMMITTED, else locked shared.
        let source = context.locks_gaps().then_some(RowLock { exclusive: false, wait: WaitPolicy::Wait });
        if let Some(lock) = access.lock.or(source) {
            search(access, lock, limited, values, context, table, intent);
        }
    }
}

/// The requests of one table's search.
fn search(
    access: &TableAccess,
    lock: RowLock,
    limited: bool,
    values: &dyn Values,
    context: &Context,
    table: Tables<'_>,
    intent: &mut Intent,
) {
    let Some(table) = table(&access.table) else {
        intent.unknown = Some("table_not_loaded");
        return;
    };
    if table.kind != TableKind::InnoDb {
        intent.unknown = intent.unknown.or((table.kind == TableKind::View).then_some("view"));
        return;
    }
    if lock.wait != WaitPolicy::Wait {
        // NOWAIT and SKIP LOCKED never wait; what they lock in the end only the server knows.
        intent.unknown = Some("skip_locked");
        return;
    }
    let path = access_path::choose(&table, &access.predicate, values);
    let joined = access.nested || limited;
    let certainty = if joined { path.certainty.min(Certainty::Likely) } else { path.certainty };
    let index = IndexId { table: table.id, index: path.index as u16 };
    let mode = if lock.exclusive { Mode::X } else { Mode::S };
    let gaps = context.locks_gaps();
    let (ranges, kind, rule) = match path.reads {
        Reads::Unique(ranges) => {
            (ranges, if gaps { Kind::RecordOrGap } else { Kind::Record }, "unique-lookup")
        }
        Reads::Equal(ranges) => (ranges, scanned(gaps), "equal-entries"),
        Reads::Interval(range) => (vec![range], scanned(gaps), "interval"),
        Reads::All => (vec![Range::all()], scanned(gaps), "full-scan"),
    };
    let requests = ranges.into_iter().map(|range| Request { index, mode, range, kind, certainty, rule });
    intent.requests.extend(requests);
}

fn scanned(gaps: bool) -> Kind {
    if gaps { Kind::NextKey } else { Kind::Record }
}
