//! What an INSERT or REPLACE locks: an insert intention in each index, then the new record.
//!
//! | rule | where | waits for |
//! |---|---|---|
//! | `insert-entry` | a secondary index that is not unique | gap locks of others at the spot |
//! | `insert-unique` | a unique index, the primary key included | gap locks, and any lock on an equal key |
//!
//! The locks on new records are implicit in InnoDB (no lock object until somebody meets them); for who
//! waits for whom they count as held.

use std::sync::Arc;

use super::foreign_key::{Child, Goes, Place};
use super::known::Known;
use super::value;
use super::{Context, Intent, Values, duplicate, scalar};
use crate::catalog::{Column, Index, Table, TableKind};
use crate::id::IndexId;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::statement::{Insert, Rows, Scalar, TableName, Value};

/// Most rows of one statement that are followed one by one; more make the rest `unknown`.
const MAX_ROWS: usize = 64;

/// The requests of an INSERT or REPLACE.
pub(super) fn insert(
    insert: &Insert,
    values: &dyn Values,
    context: &Context,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    known: &Known,
    intent: &mut Intent,
) {
    let Some(table) = find(&insert.table) else {
        intent.unknown = Some("table_not_loaded");
        return;
    };
    if table.kind != TableKind::InnoDb {
        return;
    }
    intent.triggers |= !table.triggers.is_empty();
    let Some(row) = insert.values() else {
        intent.unknown = Some("insert_select");
        return;
    };
    if values.rows() > MAX_ROWS {
        intent.unknown = Some("many_rows");
    }
    let met = duplicate::Row { insert, table: &table, context, known, find };
    // Whether a query finds anything is not known.
    let queried = matches!(&insert.rows, Rows::Select(source) if !source.tables.is_empty());
    let mut sure = if queried { Certainty::Likely } else { Certainty::Certain };
    for number in 0..values.rows().min(MAX_ROWS) {
        let row = Row { table: &table, insert, scalars: row, values, number };
        if !row.ask(&met, &mut sure, intent) {
            return;
        }
    }
}

/// The unique keys of the new rows, and those of their parents: whether they are there can be asked about.
pub(super) fn places(
    insert: &Insert,
    values: &dyn Values,
    context: &Context,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    known: &Known,
) -> Vec<Place> {
    let Some(table) = find(&insert.table).filter(|table| table.kind == TableKind::InnoDb) else {
        return Vec::new();
    };
    let Some(scalars) = insert.values() else { return Vec::new() };
    let mut places = Vec::new();
    for number in 0..values.rows().min(MAX_ROWS) {
        let row = Row { table: &table, insert, scalars, values, number };
        let unique = table.indexes.iter().enumerate().filter(|(_, index)| index.btree && index.unique);
        for (at, index) in unique {
            let Some(request) = row.request(at, index).filter(|r| r.kind.check().is_some()) else { continue };
            let place = values_of(insert, values, &table, index, &request.range.low);
            let Some(found) = place else { continue };
            let values = found.iter().take(index.parts.len()).map(Value::outliving).collect();
            let (key, certainty) = (Some(request.range.low), request.certainty);
            places.push(Place { table: table.clone(), index: at, key, values, certainty });
        }
        let (value_of, changes) = (|at: usize| row.value(at), |_| true);
        let (table, changes, value_of) = (&*table, &changes as _, &value_of as _);
        let child = Child { table, context, changes, value_of, known, find, at: None };
        places.extend(child.places(&mut None));
    }
    places
}

/// The values of a new row by column, as far as they are known.
pub(super) fn new_row(
    insert: &Insert,
    table: &Table,
    values: &dyn Values,
    number: usize,
) -> Vec<(usize, Value<'static>)> {
    let Some(scalars) = insert.values() else { return Vec::new() };
    let row = Row { table, insert, scalars, values, number };
    let value = |(at, column)| match row.new_value(at, column) {
        New::Is(value) => Some((at, value.outliving())),
        New::NextAutoIncrement | New::Unknown => None,
    };
    table.columns.iter().enumerate().filter_map(value).collect()
}

/// The values of the new entry whose place in an index is `wanted`.
pub(super) fn values_of<'v>(
    insert: &'v Insert,
    values: &'v dyn Values,
    table: &'v Table,
    index: &Index,
    wanted: &Key,
) -> Option<Vec<Value<'v>>> {
    let scalars = insert.values()?;
    (0..values.rows().min(MAX_ROWS)).find_map(|number| {
        let row = Row { table, insert, scalars, values, number };
        let (mut key, mut found) = (Key::default(), Vec::new());
        let clustered: &[_] =
            if std::ptr::eq(index, &table.indexes[0]) { &[] } else { &table.indexes[0].parts };
        for (n, part) in index.parts.iter().chain(clustered).enumerate() {
            let column = &table.columns[part.column?];
            let New::Is(value) = row.new_value(part.column?, column) else {
                // Behind all entries that are equal in the index's own columns.
                if n < index.parts.len() {
                    return None;
                }
                break;
            };
            let before = key.clone();
            value::push(&mut key, column, part, &value)?;
            if n >= index.parts.len() && !wanted.starts_with(&key) {
                key = before;
                break;
            }
            found.push(value);
        }
        wanted.starts_with(&key).then_some(found)
    })
}

/// One row of a VALUES list.
#[derive(Clone, Copy)]
struct Row<'a> {
    table: &'a Table,
    insert: &'a Insert,
    scalars: &'a [Scalar],
    values: &'a dyn Values,
    number: usize,
}

/// What is known of a column's value in a new row.
enum New<'a> {
    Is(Value<'a>),
    NextAutoIncrement,
    Unknown,
}

impl<'a> Row<'a> {
    /// The insert intention in one index; `None` if not even its first column is known.
    fn request(self, at: usize, index: &Index) -> Option<Request> {
        let mut key = Key::default();
        let mut certainty = Certainty::Certain;
        let mut unique = index.unique;
        let mut end = false;
        // An entry of a secondary index ends with the clustered key.
        let clustered = if at == 0 { None } else { self.table.indexes.first() };
        let own = index.parts.len();
        for (n, part) in index.parts.iter().chain(clustered.iter().flat_map(|c| &c.parts)).enumerate() {
            if n >= own && unique {
                break;
            }
            let column = &self.table.columns[part.column?];
            match self.new_value(part.column?, column) {
                New::Is(value) => {
                    unique &= value != Value::Null;
                    certainty = certainty.min(value::push(&mut key, column, part, &value)?);
                }
                New::NextAutoIncrement => {
                    key.push_end();
                    end = true;
                    unique = false;
                    break;
                }
                New::Unknown if n == 0 => return None,
                New::Unknown => {
                    key.push_end();
                    certainty = Certainty::Likely;
                    unique = false;
                    break;
                }
            }
        }
        if key.is_lowest() {
            // A hidden row id: always the next number, and nobody else's.
            key.push_end();
            end = true;
            unique = false;
        }
        let range = if end { Range { high: key.after(), low: key } } else { Range::entries(&key) };
        Some(Request {
            index: IndexId { table: self.table.id, index: at as u16 },
            mode: Mode::X,
            range,
            kind: Kind::Insert { check: unique.then_some(self.check()) },
            certainty: if self.table.partitioned { certainty.min(Certainty::Likely) } else { certainty },
            rule: if unique { "insert-unique" } else { "insert-entry" },
        })
    }

    /// The row's requests, in the order in which the server asks. False: the statement ends with it.
    fn ask(self, met: &duplicate::Row<'_>, sure: &mut Certainty, intent: &mut Intent) -> bool {
        let (context, from) = (met.context, intent.requests.len());
        if context.parents_first && !self.parents(None, sure, met, intent) {
            return false;
        }
        // Unique indexes come first; a key that is there ends the row.
        let mut order: Vec<usize> = (0..self.table.indexes.len()).collect();
        order.sort_by_key(|at| *at != 0 && !self.table.indexes[*at].unique);
        let mut asked = true;
        for at in order.into_iter().filter(|at| self.table.indexes[*at].btree) {
            if !context.parents_first && !self.parents(Some(at), sure, met, intent) {
                return false;
            }
            let Some(mut request) = self.request(at, &self.table.indexes[at]) else { continue };
            request.certainty = request.certainty.min(*sure);
            let unique = request.kind.check().is_some();
            match unique.then(|| met.seen(at, &request.range.low)).flatten() {
                Some(Some(seen)) => {
                    met.meets(at, &request.range.low, seen, from, intent);
                    if !self.insert.replace {
                        return self.insert.ignore || self.insert.on_duplicate.is_some();
                    }
                    continue;
                }
                // Somebody has put it there, or takes it away: who, is not known.
                Some(None) if met.is_moving(at, &request.range.low) => *sure = (*sure).min(Certainty::Likely),
                Some(None) => {}
                // Whether the statement comes any further is not known.
                None if unique => {
                    asked = false;
                    *sure = (*sure).min(Certainty::Likely);
                }
                None => {}
            }
            intent.add(request, None);
        }
        if !asked {
            intent.may_pass_over |= self.insert.ignore;
            met.wide(intent);
        }
        true
    }

    /// The parents that the row needs, or those of the foreign keys that an index serves. False: one is missing.
    fn parents(
        self,
        at: Option<usize>,
        sure: &mut Certainty,
        met: &duplicate::Row<'_>,
        intent: &mut Intent,
    ) -> bool {
        let (value_of, changes) = (|column: usize| self.value(column), |_| true);
        let (table, context, known, find) = (self.table, met.context, met.known, met.find);
        let child = Child { table, context, changes: &changes, value_of: &value_of, known, find, at };
        match child.parents(*sure, intent) {
            Goes::NoFurther => false,
            Goes::Perhaps => {
                *sure = (*sure).min(Certainty::Likely);
                true
            }
            Goes::On => true,
        }
    }

    /// A column's value in the new row, where it is known.
    fn value(self, at: usize) -> Option<Value<'a>> {
        match self.new_value(at, &self.table.columns[at]) {
            New::Is(value) => Some(value),
            New::NextAutoIncrement | New::Unknown => None,
        }
    }

    /// The mode in which an equal key is locked: REPLACE and ON DUPLICATE KEY UPDATE go on to change it.
    fn check(self) -> Mode {
        let changes = self.insert.replace || self.insert.on_duplicate.is_some();
        if changes { Mode::X } else { Mode::S }
    }

    fn new_value(self, at: usize, column: &Column) -> New<'a> {
        let given = match &self.insert.columns {
            Some(names) => names.iter().position(|name| name.eq_ignore_ascii_case(&column.name)),
            None => Some(at),
        };
        let given = given.and_then(|n| self.scalars.get(n)).unwrap_or(&Scalar::Default);
        let value = match given {
            Scalar::Default => None,
            given => match scalar(given, self.values, self.number) {
                Some(value) => Some(value),
                None => return New::Unknown,
            },
        };
        match (value, &column.default) {
            (None | Some(Value::Null | Value::Int(0)), _) if column.auto_increment => New::NextAutoIncrement,
            (Some(value), _) => New::Is(value),
            (None, None) if column.generated => New::Unknown,
            (None, None) => New::Is(Value::Null),
            (None, Some(default))
                if !column.default_is_expression && default.bytes().all(|b| b.is_ascii_digit()) =>
            {
                default.parse().map_or(New::Unknown, |n| New::Is(Value::Int(n)))
            }
            (None, Some(_)) => New::Unknown,
        }
    }
}
