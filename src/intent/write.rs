//! What an INSERT or REPLACE locks: an insert intention in each index, then the new record.
//!
//! | rule | where | waits for |
//! |---|---|---|
//! | `insert-entry` | a secondary index that is not unique | gap locks of others at the spot |
//! | `insert-unique` | a unique index, the primary key included | gap locks, and any lock on an equal key |
//! | `auto-increment` | the table's AUTO-INC lock, in its old modes (MariaDB's default) | `INSERT … SELECT` under way |
//! | `insert-somewhere` | an index whose key only the server computes | whoever it turns out to meet: nobody is told |
//!
//! The locks on new records are implicit in InnoDB (no lock object until somebody meets them); for who
//! waits for whom they count as held.

mod met;

use std::sync::Arc;

use super::duplicate::NewEntry;
use super::foreign_key::{Child, Goes, Place};
use super::known::{Known, SeenRow, SeenSpan};
use super::source::Given;
use super::value;
use super::{Context, Intent, Values, computed, duplicate, scalar};
use crate::catalog::{Column, Family, Index, Table, TableKind};
use crate::id::IndexId;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::access::TableName;
use crate::sql::statement::{Insert, Rows};
use crate::sql::value::{Scalar, Value};

/// Rule of the AUTO-INC lock.
pub(super) const AUTO_INC: &str = "auto-increment";

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
    let Some(given) = Given::of(insert, known, find) else {
        intent.unknown = Some("insert_select");
        return;
    };
    if values.rows() > MAX_ROWS {
        intent.unknown = Some("many_rows");
    }
    let rows = Row::all(insert, &table, &given, values);
    if rows.is_empty() {
        return;
    }
    auto_increment(insert, &rows, context, intent);
    let met = duplicate::Row { insert, table: &table, context, values, known, find };
    // Whether a query finds anything is not known.
    let queried = matches!(&insert.rows, Rows::Select(source) if !source.tables.is_empty());
    let mut sure = if queried { Certainty::Likely } else { Certainty::Certain };
    for (number, row) in rows.iter().enumerate() {
        if !row.ask(&rows[..number], &met, &mut sure, intent) {
            return;
        }
    }
}

/// The table's AUTO-INC lock (manual, "AUTO_INCREMENT Handling in InnoDB"). A statement that does not know how many
/// rows it inserts has it until it ends; others take it only if somebody has it, and not beyond their own numbers.
/// Mode 0: all have it until they end; mode 2: nobody takes it.
fn auto_increment(insert: &Insert, rows: &[Row<'_>], context: &Context, intent: &mut Intent) {
    let generates = |row: &Row<'_>| {
        let mut columns = row.table.columns.iter().enumerate();
        columns.any(|(at, column)| {
            column.auto_increment && matches!(row.new_value(at, column), New::NextAutoIncrement)
        })
    };
    let Some(row) = rows.iter().find(|row| generates(row)).filter(|_| context.autoinc_lock_mode < 2) else {
        return;
    };
    let whole = context.autoinc_lock_mode == 0 || matches!(insert.rows, Rows::Select(_));
    let (mode, kind) = if whole { (Mode::X, Kind::Record) } else { (Mode::S, Kind::Passed) };
    let certainty = if whole { Certainty::Likely } else { Certainty::Certain };
    let index = IndexId::auto_increment(row.table.id);
    let request = Request { index, mode, range: Range::all(), kind, certainty, rule: AUTO_INC };
    // It is asked for with the first row that is read, before those that the statement may wait for.
    intent.reaches.resize(intent.requests.len(), None);
    intent.requests.insert(0, request);
    intent.reaches.insert(0, None);
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
    let Some(given) = Given::of(insert, known, find) else { return Vec::new() };
    let met = duplicate::Row { insert, table: &table, context, values, known, find };
    let mut places = Vec::new();
    for row in Row::all(insert, &table, &given, values) {
        let new = |column: usize| row.value(column).map(|value| value.outliving());
        let unique = table.indexes.iter().enumerate().filter(|(_, index)| index.btree && index.unique);
        for (at, index) in unique {
            let request = row.request(at, index);
            if request.kind.check().is_none() {
                continue;
            }
            let Some(mut values) = row.values_of(index, &request.range.low) else { continue };
            values.truncate(index.parts.len());
            met.beyond(&table, (at, &request.range.low), &new, &mut places);
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
    let row = Row { table, insert, scalars, values, number, source: None };
    let value = |(at, column)| match row.new_value(at, column) {
        New::Is(value) => Some((at, value.outliving())),
        New::NextAutoIncrement | New::Unknown => None,
    };
    table.columns.iter().enumerate().filter_map(value).collect()
}

/// The values of the new entry whose place in an index is `wanted`.
pub(super) fn values_of(
    insert: &Insert,
    values: &dyn Values,
    table: &Table,
    index: &Index,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    wanted: &Key,
) -> Option<Vec<Value<'static>>> {
    let known = Known::default();
    let given = Given::of(insert, &known, find)?;
    Row::all(insert, table, &given, values).into_iter().find_map(|row| row.values_of(index, wanted))
}

/// One row of a VALUES list.
#[derive(Clone, Copy)]
struct Row<'a> {
    table: &'a Table,
    insert: &'a Insert,
    scalars: &'a [Scalar],
    values: &'a dyn Values,
    number: usize,
    /// What it is made of, where a query gives it.
    source: Option<(&'a Given<'a>, &'a SeenRow)>,
}

/// What is known of a column's value in a new row.
enum New<'a> {
    Is(Value<'a>),
    NextAutoIncrement,
    Unknown,
}

impl<'a> Row<'a> {
    /// The rows that the statement inserts, as far as they are followed; one that stands for all where a query gives
    /// them and was not read.
    fn all(
        insert: &'a Insert,
        table: &'a Table,
        given: &'a Given<'a>,
        values: &'a dyn Values,
    ) -> Vec<Row<'a>> {
        let one = |number, source| Row { table, insert, scalars: &given.scalars, values, number, source };
        match &given.rows {
            Some(rows) => rows.iter().map(|row| one(0, Some((given, *row)))).collect(),
            None => (0..values.rows().min(MAX_ROWS)).map(|number| one(number, None)).collect(),
        }
    }

    /// The insert intention in an index of which not even the first column is known.
    fn somewhere(self, at: usize) -> Request {
        Request {
            index: IndexId { table: self.table.id, index: at as u16 },
            mode: Mode::X,
            range: Range::all(),
            kind: Kind::Insert { check: None },
            certainty: Certainty::Unknown,
            rule: "insert-somewhere",
        }
    }

    /// The insert intention in one index.
    fn request(self, at: usize, index: &Index) -> Request {
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
            let Some(place) = part.column else { return self.somewhere(at) };
            let column = &self.table.columns[place];
            let given = self.given(place, column);
            let new = match self.value_given(given, place, column) {
                New::Is(value) => match value::push(&mut key, column, part, &value) {
                    Some(sure) => {
                        unique &= value != Value::Null;
                        certainty = certainty.min(if is_of_session(given, column) {
                            Certainty::Likely
                        } else {
                            sure
                        });
                        continue;
                    }
                    // What does not compare stands somewhere.
                    None => New::Unknown,
                },
                new => new,
            };
            match new {
                New::NextAutoIncrement => {
                    key.push_end();
                    end = true;
                    unique = false;
                    break;
                }
                New::Unknown if n == 0 => return self.somewhere(at),
                New::Unknown | New::Is(_) => {
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
        Request {
            index: IndexId { table: self.table.id, index: at as u16 },
            mode: Mode::X,
            range,
            kind: Kind::Insert { check: unique.then_some(self.check()) },
            certainty: if self.table.partitioned { certainty.min(Certainty::Likely) } else { certainty },
            rule: if unique { "insert-unique" } else { "insert-entry" },
        }
    }

    /// The row's requests, in the order in which the server asks; `earlier` are the statement's rows before it. False:
    /// the statement ends with it.
    fn ask(
        self,
        earlier: &[Row<'_>],
        met: &duplicate::Row<'_>,
        sure: &mut Certainty,
        intent: &mut Intent,
    ) -> bool {
        let (context, from) = (met.context, intent.requests.len());
        if context.parents_first && !self.parents(None, sure, met, intent) {
            return false;
        }
        // Unique indexes come first; a key that is there ends the row.
        let mut order: Vec<usize> = (0..self.table.indexes.len()).collect();
        order.sort_by_key(|at| *at != 0 && !self.table.indexes[*at].unique);
        let order: Vec<usize> = order.into_iter().filter(|at| self.table.indexes[*at].btree).collect();
        let mut asked = true;
        let new = |column: usize| self.value(column).map(|value| value.outliving());
        let (own, unseen) = (self.own_rows(earlier), SeenSpan::default());
        // REPLACE takes out the rows that have its keys, and puts its own anew after each.
        let mut replaced: Vec<&Key> = Vec::new();
        let (mut next, mut from) = (0, from);
        while let Some(at) = order.get(next).copied() {
            next += 1;
            let again = !replaced.is_empty();
            if !context.parents_first && !again && !self.parents(Some(at), sure, met, intent) {
                return false;
            }
            let mut request = self.request(at, &self.table.indexes[at]);
            request.certainty = request.certainty.min(*sure);
            if again && at == 0 {
                request.rule = duplicate::AGAIN;
            }
            let unique = request.kind.check().is_some();
            let has_put = unique && met.has_put(&request, &intent.requests[..from]);
            if has_put && !duplicate::changes(self.insert) {
                met.meets_own(&request, from, intent);
                return self.insert.ignore;
            }
            let own = own.iter().find(|(index, _)| has_put && *index == at).map(|(_, entry)| entry);
            let of_own = own.map(|entry| {
                let there = met.known.place(self.table.id, at, &request.range.low);
                Some((there.unwrap_or(&unseen), entry))
            });
            match unique.then(|| of_own.or_else(|| met.seen(at, &request.range.low))).flatten() {
                Some(Some((span, entry))) if replaced.contains(&&entry.clustered) => {
                    let own = self.request(0, &self.table.indexes[0]).range.low;
                    if at != 0 {
                        met.meets_removed(&request, (span, entry), intent);
                    }
                    if at == 0 || own == entry.clustered {
                        continue;
                    }
                    intent.add(duplicate::beside(&request, span, own > entry.clustered), None);
                }
                Some(Some(seen)) => {
                    let columns = self.replaces_in_place(at, seen.1).then(|| self.columns());
                    let in_place = columns.is_some();
                    let entry = NewEntry { at, key: &request.range.low, row: &new, sure: *sure };
                    let goes_on = met.meets(entry, seen, from, columns, intent);
                    if in_place && goes_on {
                        return true;
                    }
                    if !self.insert.replace || !goes_on {
                        return self.insert.ignore || self.insert.on_duplicate.is_some();
                    }
                    replaced.push(&seen.1.clustered);
                    (next, from) = (0, intent.requests.len());
                    continue;
                }
                // Somebody has put it there, or takes it away: who, is not known.
                Some(None) if met.is_moving(at, &request.range.low) => {
                    *sure = (*sure).min(Certainty::Likely);
                    let key = request.range.low.clone();
                    intent.add(request, None);
                    met.may_stay(NewEntry { at, key: &key, row: &new, sure: *sure }, intent);
                    continue;
                }
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
        if duplicate::changes(self.insert) { Mode::X } else { Mode::S }
    }

    /// What the statement gives a column.
    fn given(self, at: usize, column: &Column) -> &'a Scalar {
        let given = match &self.insert.columns {
            Some(names) => names.iter().position(|name| name.eq_ignore_ascii_case(&column.name)),
            None => Some(at),
        };
        given.and_then(|n| self.scalars.get(n)).unwrap_or(&Scalar::Default)
    }

    fn new_value(self, at: usize, column: &'a Column) -> New<'a> {
        self.value_given(self.given(at, column), at, column)
    }

    fn value_given(self, given: &'a Scalar, at: usize, column: &'a Column) -> New<'a> {
        let value = match given {
            // What is given for a generated column can only be DEFAULT.
            _ if column.generated => return self.own_value(at),
            Scalar::Default => None,
            given => match self.scalar(given) {
                Some(value) => Some(value),
                None => return New::Unknown,
            },
        };
        match (value, &column.default) {
            (None | Some(Value::Null | Value::Int(0)), _) if column.auto_increment => New::NextAutoIncrement,
            (Some(value), _) => New::Is(value),
            (None, None) => New::Is(Value::Null),
            (None, Some(_)) if column.default_is_expression => self.own_value(at),
            (None, Some(default)) => match default.parse() {
                Ok(number) if column.family == Family::Integer => New::Is(Value::Int(number)),
                _ => New::Is(Value::Text(default.as_bytes().into())),
            },
        }
    }

    /// The values of its entry in an index, if that begins with `wanted`.
    fn values_of(self, index: &Index, wanted: &Key) -> Option<Vec<Value<'static>>> {
        let (mut key, mut found) = (Key::default(), Vec::new());
        let clustered: &[_] =
            if std::ptr::eq(index, &self.table.indexes[0]) { &[] } else { &self.table.indexes[0].parts };
        for (n, part) in index.parts.iter().chain(clustered).enumerate() {
            let column = &self.table.columns[part.column?];
            let New::Is(value) = self.new_value(part.column?, column) else {
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
            found.push(value.outliving());
        }
        wanted.starts_with(&key).then_some(found)
    }

    /// The value of what the statement gives.
    fn scalar(self, given: &'a Scalar) -> Option<Value<'a>> {
        match (given, self.source) {
            (Scalar::Computed(formula), Some((given, row))) => {
                computed::value(formula, self.values, self.number, &|column| given.value(row, column))
            }
            _ => scalar(given, self.values, self.number),
        }
    }

    /// What the column's own formula gives.
    fn own_value(self, at: usize) -> New<'a> {
        let value_of = |column: usize| self.value(column);
        computed::own(self.table, at, self.values.moment(), &value_of).map_or(New::Unknown, New::Is)
    }
}

/// Does the clock say what the column's value is? The session's time zone may be another than the server's.
fn is_of_session(given: &Scalar, column: &Column) -> bool {
    match given {
        Scalar::Computed(formula) => formula.is_of_session(),
        Scalar::Default => computed::is_of_session(column),
        _ => false,
    }
}
