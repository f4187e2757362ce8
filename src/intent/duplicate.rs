//! An INSERT whose key is there already: what that locks, and what the answer tells of it.
//!
//! | rule | what |
//! |---|---|
//! | `duplicate` | the entry that is there: the record in the primary key; next-key in a unique index, at READ COMMITTED too. S; X where the statement goes on to change it |
//! | `duplicate-row` | ON DUPLICATE KEY UPDATE, REPLACE: X on the row behind it |
//! | `next-entry` | REPLACE, unique index, when the new row is put again: X next-key on the entry behind it, or on the gap at the index's end |
//! | `returned-row` | what the statement does to the row that has its key, if somebody who has deleted it rolls back |
//! | `put-again` | REPLACE: the new row, once the one that had its key has gone |
//! | `put-beside` | REPLACE, unique index: insert intention in the gap above or below the entry that is marked as deleted, for the new one with its key |
//! | `changed-entry`, … | REPLACE whose key is the last unique one, with the same primary key: the row is changed in place, and entries that stay as they are are not locked. Not if another table refers to it or a trigger sees the deletion |
//! | `own-key` | an earlier row of the statement has put the key: the check finds that, S. If the statement fails it is a lock on the gap where the entry stood |
//! | `undone-entry` | MySQL: where the row had been put before its duplicate was met, an X gap lock stays; not at READ COMMITTED |
//!
//! Which key it was, a failed INSERT says itself; whether there was one, the number of affected rows (ON
//! DUPLICATE KEY UPDATE: 1 new, 2 changed, 0 the same; REPLACE: 1 new, more: replaced). The rest is read from
//! the server when somebody comes by.
//!
//! Observed on MySQL 9.7 and MariaDB 10.11.

use std::sync::Arc;

use super::assignment::on_duplicate;
use super::change::Change;
use super::foreign_key::{self, HAS_CHILDREN, Place};
use super::known::{Known, SeenEntry, SeenSpan};
use super::outcome::{Answered, Rules};
use super::read::{Tables, request};
use super::{Context, Intent, Values, value};
use crate::catalog::{Flavour, Table};
use crate::id::TableId;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, RETURNED, Request, Settled};
use crate::sql::statement::{Insert, Rows};
use crate::sql::value::Value;

/// The entry that is there already.
pub const DUPLICATE: &str = "duplicate";
/// The entry that an earlier row of the statement has put.
const OWN: &str = "own-key";
/// The row behind it.
const ROW: &str = "duplicate-row";
/// The entry behind it in its index.
const NEXT: &str = "next-entry";
/// The new row, put again after the row that had its key has gone.
pub(super) const AGAIN: &str = "put-again";
/// The gap beside the entry of the row that had its key.
const BESIDE: &str = "put-beside";
/// An entry of the new row that is taken out again.
const UNDONE: &str = "undone-entry";

/// The INSERT of a row into a table.
pub(super) struct Row<'a> {
    pub(super) insert: &'a Insert,
    pub(super) table: &'a Table,
    pub(super) context: &'a Context,
    pub(super) values: &'a dyn Values,
    pub(super) known: &'a Known,
    pub(super) find: Tables<'a>,
}

/// The entry that a new row would get in a unique index.
pub(super) struct NewEntry<'n> {
    /// The index.
    pub(super) at: usize,
    /// Its key.
    pub(super) key: &'n Key,
    /// The row.
    pub(super) row: New<'n>,
    /// How sure it is that the statement comes so far.
    pub(super) sure: Certainty,
}

/// The values of the new row, by column, as far as they are known.
type New<'n> = &'n dyn Fn(usize) -> Option<Value<'static>>;

impl<'a> Row<'a> {
    /// The entry with the key of a new one, as far as it was seen. The outer `None`: nobody has looked.
    pub(super) fn seen(&self, at: usize, key: &Key) -> Option<Option<(&'a SeenSpan, &'a SeenEntry)>> {
        let span = self.known.place(self.table.id, at, key)?;
        // Of a statement that is done, what it has met was there before it.
        let there = |entry: &&SeenEntry| entry.stands() || self.known.done && entry.committed;
        Some(span.entries.iter().find(there).map(|entry| (span, entry)))
    }

    /// Was there an entry that is about to come or to go?
    pub(super) fn is_moving(&self, at: usize, key: &Key) -> bool {
        self.known.place(self.table.id, at, key).is_some_and(|span| !span.entries.is_empty())
    }

    /// REPLACE changes the row that it has met: to these values, by column.
    fn changes(&self, columns: Vec<(usize, Option<Value<'a>>)>) -> Change<'a> {
        Change::replaced(self.table, self.context, columns, self.known, self.find)
    }

    /// Does the statement go on after it has met a duplicate, and with what?
    fn goes_on(&self, new: New<'_>) -> Option<Change<'a>> {
        let set = match &self.insert.on_duplicate {
            Some(set) => set.as_slice(),
            None if self.insert.replace => &[],
            None => return None,
        };
        let (table, deletes) = (self.table, self.insert.replace);
        let new = |name: &str| new(table.column(name)?);
        let assigned = on_duplicate(set, table, self.values, &new);
        Some(Change::upsert(table, self.context, assigned, self.values, deletes, self.known, self.find))
    }

    /// What there is to ask about beside the row that has a key, if that row is to go or to change: its children, and
    /// the unique keys and parents that it gets. `table` is the one of this row.
    pub(super) fn beyond(
        &self,
        table: &Arc<Table>,
        (at, key): (usize, &Key),
        new: New<'_>,
        places: &mut Vec<Place>,
    ) {
        let (Some(change), Some(Some((_, entry)))) = (self.goes_on(new), self.seen(at, key)) else { return };
        for row in &entry.rows {
            let read = |c: usize| row.iter().find(|(column, _)| *column == c).map(|(_, v)| v.clone());
            foreign_key::places(&change, &read, places);
            places.extend(change.places(table, &read));
        }
    }

    /// The row's key is there: requests `from` on are those that it has made so far; with `columns` REPLACE changes
    /// that row. False: it comes no further.
    pub(super) fn meets(
        &self,
        NewEntry { at, key, row: new, sure }: NewEntry<'_>,
        (span, entry): (&SeenSpan, &SeenEntry),
        from: usize,
        columns: Option<Vec<(usize, Option<Value<'a>>)>>,
        intent: &mut Intent,
    ) -> bool {
        take_out(&mut intent.requests[from..]);
        let change = columns.map(|columns| self.changes(columns)).or_else(|| self.goes_on(new));
        let mode = if change.is_some() { Mode::X } else { Mode::S };
        let of = |at, mode, range, kind, rule| request(self.table, at, mode, range, kind, sure, rule);
        if at == 0 {
            intent.add(of(0, mode, Range::entries(key), Kind::Record, DUPLICATE), None);
        } else {
            let (range, reach) = check(key, span);
            intent.add(of(at, mode, range, Kind::NextKey, DUPLICATE), Some(reach));
        }
        let Some(change) = change else { return false };
        if at != 0 {
            intent.add(of(0, Mode::X, Range::entries(&entry.clustered), Kind::Record, ROW), None);
        }
        change.exact(&[entry], Some(at), Certainty::Likely, intent)
    }

    /// The row that has the key was deleted by somebody, and stays if that is rolled back: then it is changed.
    pub(super) fn may_stay(&self, NewEntry { at, key, row: new, sure }: NewEntry<'_>, intent: &mut Intent) {
        let gone = |entry: &&SeenEntry| entry.committed && !entry.newest;
        let span = self.known.place(self.table.id, at, key);
        let entry = span.and_then(|span| span.entries.iter().find(gone));
        let (Some(entry), Some(change)) = (entry, self.goes_on(new)) else { return };
        let first = intent.requests.len();
        if at != 0 {
            let row = Range::entries(&entry.clustered);
            intent.add(request(self.table, 0, Mode::X, row, Kind::Record, sure, RETURNED), None);
        }
        change.exact(&[entry], Some(at), Certainty::Likely, intent);
        for request in &mut intent.requests[first..] {
            (request.rule, request.certainty) = (RETURNED, request.certainty.min(Certainty::Likely));
        }
    }

    /// Has an earlier row of the statement put the key? Without a look it is not known whether a row of IGNORE, REPLACE
    /// or ON DUPLICATE KEY UPDATE was put.
    pub(super) fn has_put(&self, new: &Request, earlier: &[Request]) -> bool {
        let put = |request: &Request| {
            request.kind == new.kind && request.index == new.index && request.range == new.range
        };
        let told = self.known.asked || !self.insert.ignore && !changes(self.insert);
        told && earlier.iter().any(put)
    }

    /// An earlier row of the statement has put the key: requests `from` on are those that this one has made so far.
    pub(super) fn meets_own(&self, new: &Request, from: usize, intent: &mut Intent) {
        take_out(&mut intent.requests[from..]);
        let kind = if new.index.index == 0 { Kind::Record } else { Kind::NextKey };
        intent.add(Request { mode: Mode::S, kind, rule: OWN, ..new.clone() }, None);
    }

    /// REPLACE has taken the row out by another key; its entry here stands, marked, and the check finds it all the same.
    pub(super) fn meets_removed(
        &self,
        new: &Request,
        (span, entry): (&SeenSpan, &SeenEntry),
        intent: &mut Intent,
    ) {
        let at = usize::from(new.index.index);
        let (range, reach) = check(&new.range.low, span);
        let asked = |r: &Request| r.rule == DUPLICATE && r.index == new.index && r.range == range;
        if !intent.requests.iter().any(asked) {
            let check = request(self.table, at, Mode::X, range, Kind::NextKey, new.certainty, DUPLICATE);
            intent.add(check, Some(reach));
        }
        self.behind(at, span, entry, new.certainty, intent);
    }

    /// REPLACE's check goes on to the entry behind those with its key.
    fn behind(&self, at: usize, span: &SeenSpan, entry: &SeenEntry, sure: Certainty, intent: &mut Intent) {
        let (range, kind, reach) = span.next(entry.key.after());
        let next = request(self.table, at, Mode::X, range, kind, sure, NEXT);
        if !intent.requests.contains(&next) {
            intent.add(next, Some(reach));
        }
    }

    /// Nobody has looked: whatever a duplicate would lock is unknown.
    pub(super) fn wide(&self, intent: &mut Intent) {
        let Some(change) = self.goes_on(&|_| None) else { return };
        let (all, unknown) = (Range::all(), Certainty::Unknown);
        intent.add(request(self.table, 0, Mode::X, all.clone(), Kind::Record, unknown, ROW), None);
        let unique = |at: &usize| *at != 0 && self.table.indexes[*at].unique && self.table.indexes[*at].btree;
        for at in (0..self.table.indexes.len()).filter(unique).filter(|_| self.insert.replace) {
            intent.add(request(self.table, at, Mode::X, all.clone(), Kind::NextKey, unknown, NEXT), None);
        }
        change.wide(None, intent);
    }
}

/// Does a statement go on to change the row that has the key of a new one?
pub(super) fn changes(insert: &Insert) -> bool {
    insert.replace || insert.on_duplicate.is_some()
}

/// The new entries of a row are taken out again.
fn take_out(row: &mut [Request]) {
    for request in row.iter_mut().filter(|request| request.kind.inserts()) {
        request.rule = UNDONE;
        request.kind = Kind::Tried { check: request.kind.check() };
    }
}

/// What the check for a key in a secondary index locks: the place, and how far the gap below it reaches.
fn check(key: &Key, span: &SeenSpan) -> (Range, Range) {
    let range = Range::entries(key);
    let low = span.below.as_ref().map(|entry| entry.key.after()).unwrap_or_default();
    let reach = Range { low, high: range.high.clone() };
    (range, reach)
}

/// A new entry whose key an entry has that is marked as deleted, and stays: which one is behind the other, the
/// clustered key tells.
pub(super) fn beside(entry: &Request, span: &SeenSpan, above: bool) -> Request {
    let key = &entry.range.low;
    let below = || span.below.as_ref().map(|entry| entry.key.after()).unwrap_or_default();
    let range = if above { Range::entries(&key.after()) } else { Range { low: below(), high: key.clone() } };
    Request { range, kind: Kind::Insert { check: None }, rule: BESIDE, ..entry.clone() }
}

/// Is this a lock of these rules, besides the new entries?
pub(super) fn is_of(request: &Request) -> bool {
    matches!(request.rule, DUPLICATE | OWN | ROW | NEXT | RETURNED)
}

/// What became of the requests of an INSERT or REPLACE into `table`.
pub(super) fn settle(
    insert: &Insert,
    requests: &[Request],
    answered: &Answered,
    generated: Option<u64>,
    rules: Rules,
) -> Vec<Settled> {
    let table = requests.iter().find(|r| r.kind.inserts()).map(|r| r.index.table);
    let of_row = |request: &Request| {
        request.kind.inserts() && Some(request.index.table) == table && request.rule != RETURNED
    };
    let rows = rows(requests, table);
    let told = told(insert, requests, &rows, answered);
    let mut settled = vec![Settled::Kept; requests.len()];
    let entry = |row: usize, index: u16| {
        let part = rows.get(row).map_or(&[][..], |row| &requests[row.clone()]);
        part.iter().find(|r| (of_row(r) || r.rule == OWN) && r.index.index == index).map(|r| &r.range)
    };
    let of_own = |failed: &usize, index: u16, number: usize| {
        let key = entry(*failed, index);
        key.is_some()
            && number <= *failed
            && (0..*failed).any(|row| entry(row, index) == key)
            && entry(number, index) == key
    };
    let mut given = 0;
    for (number, row) in rows.iter().enumerate() {
        let part = &requests[row.clone()];
        // Rows that bring a number of their own use none up.
        let takes = part.iter().any(|r| of_row(r) && r.index.index == 0 && r.range.low.is_end());
        let generated = generated.filter(|_| takes).map(|first| first + given);
        given += u64::from(takes);
        // The server was asked, and there was a duplicate.
        let met = part.iter().any(|request| matches!(request.rule, DUPLICATE | OWN));
        for (request, settled) in part.iter().zip(&mut settled[row.clone()]) {
            *settled = match &told {
                // The entry itself has a request of its own.
                _ if request.rule == BESIDE => Settled::Released,
                Told::Met | Told::Replaced if request.rule == RETURNED && request.kind.inserts() => {
                    Settled::Became(Kind::Record, request.range.clone())
                }
                Told::Met | Told::Replaced if request.rule == RETURNED => Settled::Kept,
                _ if request.rule == RETURNED => Settled::Released,
                Told::Failed(..) if request.rule == OWN => Settled::Undone,
                _ if met && !of_row(request) => Settled::Kept,
                _ if met && request.rule == UNDONE => undone(rules),
                Told::Refused | Told::New if !of_row(request) => Settled::Released,
                Told::Refused => Settled::Released,
                _ if !of_row(request) => Settled::Kept,
                Told::New | Told::Replaced => became(request, generated),
                // A row of the statement itself had the key: it is taken out again, and the check on it is a lock on
                // the gap where it stood.
                Told::Failed(failed, Some(index))
                    if of_own(failed, *index, number) && request.index.index == *index =>
                {
                    Settled::Undone
                }
                Told::Failed(failed, _) if number < *failed => undone(rules),
                Told::Failed(failed, _) if number > *failed => Settled::Released,
                Told::Failed(_, index) => duplicate(insert, request, *index, part, rules),
                Told::Met => duplicate(insert, request, only(part), part, rules),
            };
        }
    }
    settled
}

/// What the answer tells of the rows.
enum Told {
    /// All of them are new.
    New,
    /// New entries, and perhaps old rows that are gone.
    Replaced,
    /// All of them were there.
    Met,
    /// This row's key in this index was there.
    Failed(usize, Option<u16>),
    /// Nothing was done.
    Refused,
}

/// The requests of each row: they begin with the clustered index.
fn rows(requests: &[Request], table: Option<TableId>) -> Vec<std::ops::Range<usize>> {
    let begins = |r: &Request| {
        let own = r.rule != AGAIN && r.rule != RETURNED;
        Some(r.index.table) == table && r.index.index == 0 && r.kind.inserts() && own
    };
    let first = |r: &Request| begins(r) || matches!(r.rule, DUPLICATE | OWN) && r.index.index == 0;
    let mut starts: Vec<usize> = (0..requests.len()).filter(|at| first(&requests[*at])).collect();
    // What stands before belongs to the first.
    match starts.first_mut() {
        Some(start) => *start = 0,
        None => starts.push(0),
    }
    let ends = starts.iter().skip(1).copied().chain([requests.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

fn told(insert: &Insert, requests: &[Request], rows: &[std::ops::Range<usize>], answered: &Answered) -> Told {
    let changes = changes(insert);
    let one = rows.len() == 1;
    match answered {
        Answered::Duplicate { index, entry } => {
            let same = |r: &Request| Some(r.index.index) == *index && spelled(&r.range.low) == *entry;
            // Of two rows with this key the second: the first has put it.
            let row = rows.iter().rposition(|row| requests[row.clone()].iter().any(same));
            Told::Failed(row.unwrap_or(rows.len() - 1), *index)
        }
        Answered::Failed(1062) => Told::Failed(rows.len() - 1, None),
        // A row that it would replace has children: it was met, and stays locked.
        Answered::Failed(HAS_CHILDREN) if insert.replace => Told::Failed(rows.len() - 1, None),
        Answered::Failed(_) => Told::Refused,
        Answered::Changed { affected: 0, .. } if matches!(insert.rows, Rows::Select(_)) && !insert.ignore => {
            Told::Refused
        }
        Answered::Changed { affected: 0, .. } if insert.ignore || insert.on_duplicate.is_some() => Told::Met,
        Answered::Changed { affected, .. } if changes && *affected != rows.len() as u64 => match one {
            true if insert.on_duplicate.is_some() => Told::Met,
            _ => Told::Replaced,
        },
        Answered::Changed { .. } | Answered::Rows(_) if changes => Told::New,
        Answered::Unclear if changes => Told::Replaced,
        _ => Told::New,
    }
}

/// The key that the server names in its message, `20-k3`, as it compares. As it stands where its parts cannot be told
/// apart.
pub fn compared(table: &Table, index: u16, entry: &str) -> String {
    let Some(index) = table.indexes.get(usize::from(index)) else { return entry.to_owned() };
    let values: Vec<&str> = match index.parts.len() {
        1 => vec![entry],
        _ => entry.split('-').collect(),
    };
    let mut key = Key::default();
    let pushed = values.iter().zip(&index.parts).all(|(value, part)| {
        let value = Value::Text(value.as_bytes().into());
        part.column.and_then(|column| value::push(&mut key, &table.columns[column], part, &value)).is_some()
    });
    if pushed && values.len() == index.parts.len() { spelled(&key) } else { entry.to_owned() }
}

/// A key as the server writes it in its message: `20-3`.
pub(super) fn spelled(key: &Key) -> String {
    key.to_string().replace(", ", "-").replace('\'', "")
}

/// The only index in which a key can have been there.
fn only(row: &[Request]) -> Option<u16> {
    let mut checked = row.iter().filter(|request| request.kind.check().is_some());
    let first = checked.next()?;
    checked.next().is_none().then_some(first.index.index)
}

/// What became of a request of a row that met its key in an index, if it is known in which.
fn duplicate(
    insert: &Insert,
    request: &Request,
    index: Option<u16>,
    row: &[Request],
    rules: Rules,
) -> Settled {
    let mode = if changes(insert) { Mode::X } else { Mode::S };
    let kind = if request.index.index == 0 { Kind::Record } else { Kind::NextKey };
    let Some(index) = index else {
        let maybe = request.kind.check().is_some();
        let certainty = Certainty::Unknown;
        return if maybe { Settled::Met { mode, kind, certainty } } else { Settled::Released };
    };
    let place = |index: u16| row.iter().position(|r| r.kind.inserts() && r.index.index == index);
    match (place(request.index.index), place(index)) {
        _ if request.index.index == index => met(request, mode),
        (Some(own), Some(met)) if own < met => undone(rules),
        _ => Settled::Released,
    }
}

/// The entry that was there already.
pub(super) fn met(request: &Request, mode: Mode) -> Settled {
    let kind = if request.index.index == 0 { Kind::Record } else { Kind::NextKey };
    // Where only the server has computed the key, what it met there is no better known.
    let nowhere = request.range.low.is_lowest();
    let certainty = if nowhere { Certainty::Unknown } else { request.certainty.max(Certainty::Likely) };
    Settled::Met { mode, kind, certainty }
}

/// An entry that was there for a moment.
pub(super) fn undone(rules: Rules) -> Settled {
    let stays = rules.flavour == Flavour::MySql && rules.gaps;
    if stays { Settled::Undone } else { Settled::Released }
}

/// A new entry that is there now. `generated`: the number that its row has got, if the server gave it one.
fn became(request: &Request, generated: Option<u64>) -> Settled {
    let range = match (generated, request.range.low.before_end()) {
        (Some(number), Some(mut key)) => {
            key.push_int(number.into(), false);
            Range::entries(&key)
        }
        // How the key ends is not known: any of those that begin so.
        (None, Some(key)) if !key.is_lowest() && request.certainty < Certainty::Certain => {
            Range::entries(&key)
        }
        _ => request.range.clone(),
    };
    Settled::Became(Kind::Record, range)
}

#[cfg(test)]
#[path = "duplicate_tests.rs"]
mod tests;
