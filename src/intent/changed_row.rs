//! The rows that a statement makes, changes or removes, as far as their values are known: what triggers see as
//! `OLD` and `NEW`.

use std::sync::Arc;

use super::known::Known;
use super::read::{Searched, Tables, searched};
use super::{Context, Values, assignment, change, write};
use crate::catalog::{Table, TableKind, TriggerEvent};
use crate::sql::statement::{Insert, Statement};
use crate::sql::value::Value;

/// Rows of one statement that are followed one by one.
const MAX_ROWS: usize = 16;

/// Values by column.
type Row = Vec<(usize, Value<'static>)>;

/// A row that changes.
#[derive(Clone, Debug)]
pub struct ChangedRow {
    /// Its table.
    pub table: Arc<Table>,
    /// What happens to it.
    pub event: TriggerEvent,
    /// It happens if the statement succeeds and finds what it is looking for.
    pub sure: bool,
    old: Row,
    new: Row,
}

impl ChangedRow {
    /// A column before the change.
    pub fn before(&self, column: &str) -> Option<Value<'static>> {
        self.value(&self.old, column)
    }

    /// A column after the change.
    pub fn after(&self, column: &str) -> Option<Value<'static>> {
        self.value(&self.new, column)
    }

    fn value(&self, row: &Row, column: &str) -> Option<Value<'static>> {
        let at = self.table.column(column)?;
        row.iter().find(|(c, _)| *c == at).map(|(_, value)| value.clone())
    }
}

/// The rows that a statement changes in tables with triggers. False: there may be more.
pub fn changed_rows(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    find: Tables<'_>,
    known: &Known,
) -> (Vec<ChangedRow>, bool) {
    let has = |table: &Arc<Table>| table.kind == TableKind::InnoDb && !table.triggers.is_empty();
    let mut rows = Vec::new();
    if let Statement::Insert(insert) = statement {
        if let Some(table) = find(&insert.table).filter(has) {
            inserted(insert, &table, values, &mut rows);
        }
    } else {
        for searched in searched(statement, context) {
            if let Some(table) = find(&searched.table.table).filter(has) {
                changed(statement, &searched, &table, values, known, &mut rows);
            }
        }
    }
    let all = rows.len() <= MAX_ROWS;
    rows.truncate(MAX_ROWS);
    (rows, all)
}

fn inserted(insert: &Insert, table: &Arc<Table>, values: &dyn Values, rows: &mut Vec<ChangedRow>) {
    let upsert = insert.on_duplicate.is_some();
    let mut row = |event, new, sure| {
        rows.push(ChangedRow { table: table.clone(), event, sure, old: Vec::new(), new });
    };
    for number in 0..values.rows().min(MAX_ROWS + 1) {
        let new = write::new_row(insert, table, values, number);
        row(TriggerEvent::Insert, new, !insert.ignore && !upsert);
        if upsert {
            row(TriggerEvent::Update, Vec::new(), false);
        }
        if insert.replace {
            row(TriggerEvent::Delete, Vec::new(), false);
        }
    }
}

fn changed(
    statement: &Statement,
    searched: &Searched<'_>,
    table: &Arc<Table>,
    values: &dyn Values,
    known: &Known,
    rows: &mut Vec<ChangedRow>,
) {
    if !searched.lock.exclusive || searched.table.nested {
        return;
    }
    let (event, assigned) = match statement {
        Statement::Update(update) => {
            (TriggerEvent::Update, assignment::assigned(update, searched.table, table, values))
        }
        Statement::Delete(_) => (TriggerEvent::Delete, Vec::new()),
        _ => return,
    };
    let given = change::given(searched.table, table, values);
    let given: Row = given.into_iter().map(|(column, value)| (column, value.outliving())).collect();
    let mut row = |old: Row| {
        let mut new: Row = Vec::new();
        if event == TriggerEvent::Update {
            let stays = |column: &usize| !assigned.iter().any(|(c, _)| c == column);
            let kept = old.iter().filter(|(c, _)| stays(c) && !table.columns[*c].generated);
            new.extend(kept.cloned());
            let set = assigned.iter().filter_map(|(c, to)| Some((*c, to.value()?.outliving())));
            new.extend(set);
        }
        rows.push(ChangedRow { table: table.clone(), event, sure: true, old, new });
    };
    let seen: Vec<_> = known.seen.iter().filter(|path| path.access == searched.access).collect();
    let spans = || seen.iter().flat_map(|path| &path.spans);
    if seen.is_empty() || spans().any(|span| span.unread) {
        return row(given);
    }
    for entry in spans().flat_map(|span| &span.entries).filter(|entry| entry.matches).take(MAX_ROWS + 1) {
        let mut old: Row = entry.rows.first().cloned().unwrap_or_default();
        old.extend(given.iter().filter(|(c, _)| !entry.rows.iter().flatten().any(|(k, _)| k == c)).cloned());
        row(old);
    }
}
