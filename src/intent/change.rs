//! What an UPDATE or DELETE locks beyond its search: the entries of other indexes that it touches.
//!
//! InnoDB locks these entries without a lock object until somebody meets them; for who waits for whom they
//! count as held. Which entries they are, the row tells: before the server is asked, only as far as WHERE and
//! SET name their columns.
//!
//! | rule | where | waits for |
//! |---|---|---|
//! | `changed-entry` | the row's entry in each index with a column that changes; for DELETE in all | any lock on it |
//! | `moved-entry` | the place of its new entry: an insert there | gap locks; equal keys in a unique index |
//! | `taken-key` | the new key is there: the duplicate check, S on that record, in a unique index next-key | |
//! | `same-key` | the primary key changes, the unique key does not: the duplicate check around it, and on to the entry behind it; of MySQL's UPDATE the gaps alone | |
//!
//! Observed on MySQL 9.7 and MariaDB 10.11.

mod place;

use super::assignment::{To, assigned, with_moments};
use super::duplicate;
use super::entry::{Entry, entry};
use super::footprint::Search;
use super::foreign_key::{self, Child, Goes, Place};
use super::known::{Known, SeenEntry};
use super::outcome::{Answered, Rules};
use super::read::{Searched, Tables, request};
use super::{Context, Intent, Values, computed, scalar, value};
use crate::catalog::{Index, Table};
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::request::{Kind, Request, Settled};
use crate::sql::access::{Condition, TableAccess, Test};
use crate::sql::formula::{Formula, Inputs, Moment};
use crate::sql::statement::{Statement, Update};
use crate::sql::value::Value;
use std::sync::Arc;

/// The row's entry where its columns change.
const CHANGED: &str = "changed-entry";
/// The place of its new entry.
const MOVED: &str = "moved-entry";
/// The duplicate check around a unique key that stays.
const SAME_KEY: &str = "same-key";
/// The entry that has the key already.
const TAKEN: &str = "taken-key";

/// What a statement does to the rows that it finds in a table.
pub(super) struct Change<'a> {
    pub(super) table: &'a Table,
    pub(super) context: &'a Context,
    /// Columns that are set, in text order.
    assigned: Vec<(usize, To<'a>)>,
    /// The statement's values.
    values: Option<&'a dyn Values>,
    /// The rows are deleted.
    pub(super) deletes: bool,
    /// What was read from the server.
    pub(super) known: &'a Known,
    pub(super) find: Tables<'a>,
    /// What WHERE says of the row.
    given: Vec<(usize, Value<'a>)>,
    /// How many foreign keys it has come down.
    pub(super) depth: u8,
    /// The mode in which it asks for a unique key that is there.
    check: Mode,
}

impl<'a> Change<'a> {
    /// `None`: the statement only reads this table.
    pub(super) fn of(
        search: &Search<'a>,
        searched: &Searched<'a>,
        values: &'a dyn Values,
        known: &'a Known,
        find: Tables<'a>,
    ) -> Option<Change<'a>> {
        if !searched.lock.exclusive || searched.table.nested {
            return None;
        }
        let table = search.table;
        let (assigned, deletes) = match search.statement {
            Statement::Delete(_) => (Vec::new(), true),
            Statement::Update(update) => (assigned(update, searched.table, table, values), false),
            _ => return None,
        };
        let given = given(searched.table, table, values);
        let assigned = with_moments(table, assigned, deletes);
        let values = Some(values);
        let context = search.context;
        Some(Change {
            table,
            context,
            assigned,
            values,
            deletes,
            known,
            find,
            given,
            depth: 0,
            check: Mode::S,
        })
    }

    /// The same for the row that an INSERT … ON DUPLICATE KEY UPDATE or REPLACE has met.
    pub(super) fn upsert(
        table: &'a Table,
        context: &'a Context,
        assigned: Vec<(usize, To<'a>)>,
        values: &'a dyn Values,
        deletes: bool,
        known: &'a Known,
        find: Tables<'a>,
    ) -> Change<'a> {
        let assigned = with_moments(table, assigned, deletes);
        let (values, given) = (Some(values), Vec::new());
        Change { table, context, assigned, values, deletes, known, find, given, depth: 0, check: Mode::X }
    }

    /// The same for a row that a REPLACE has met and changes: to these values, by column.
    pub(super) fn replaced(
        table: &'a Table,
        context: &'a Context,
        columns: Vec<(usize, Option<Value<'a>>)>,
        known: &'a Known,
        find: Tables<'a>,
    ) -> Change<'a> {
        let assigned = columns.into_iter().map(|(column, to)| (column, To::Value(to))).collect();
        let (values, given, deletes) = (None, Vec::new(), false);
        Change { table, context, assigned, values, deletes, known, find, given, depth: 0, check: Mode::X }
    }

    /// The same for the children of a row, that go with it or get another key. `set`: the columns of the key, and
    /// whether they become NULL.
    pub(super) fn cascaded<'c>(
        &self,
        table: &'c Table,
        deletes: bool,
        (set, to_null): (&[String], bool),
    ) -> Change<'c>
    where
        'a: 'c,
    {
        let to = || To::Value(to_null.then_some(Value::Null));
        let assigned = set.iter().filter_map(|name| Some((table.column(name)?, to()))).collect();
        let (context, known, find, depth) = (self.context, self.known, self.find, self.depth + 1);
        let (values, given, check) = (None, Vec::new(), Mode::S);
        Change { table, context, assigned, values, deletes, known, find, given, depth, check }
    }

    /// A column's value in the row as it is, as far as WHERE tells.
    pub(super) fn given(&self, column: usize) -> Option<Value<'a>> {
        self.given.iter().find(|(c, _)| *c == column).map(|(_, value)| value.clone())
    }

    /// The rows get another primary key.
    fn moves(&self) -> bool {
        !self.deletes && self.sets(&self.table.indexes[0])
    }

    /// Is a row changed as soon as it is found? Where the index that is searched changes, the rows are found first.
    pub(super) fn goes_with_search(&self, via: usize) -> bool {
        self.deletes || !(self.sets(&self.table.indexes[via]) || self.moves())
    }

    fn sets(&self, index: &Index) -> bool {
        index.parts.iter().any(|part| match part.column {
            Some(column) => self.table.hangs_on(column, &|c| self.is_set(c)),
            // An expression: of which columns is not known.
            None => true,
        })
    }

    /// Does a generated column hang on one that is set?
    fn generates(&self, column: usize) -> bool {
        self.table.columns[column].generated && self.table.hangs_on(column, &|c| self.is_set(c))
    }

    /// Is the column set?
    pub(super) fn is_set(&self, column: usize) -> bool {
        self.assigned.iter().any(|(c, _)| *c == column)
    }

    /// Does the clock say where the new entry stands?
    fn is_clocked(&self, at: usize) -> bool {
        let timed = |to: &To<'a>| match to {
            To::Now => true,
            To::Computed(formula) => formula.is_of_session(),
            To::Value(_) => false,
        };
        let of = |column: usize| self.assigned.iter().any(|(c, to)| *c == column && timed(to));
        self.table.indexes[at].parts.iter().filter_map(|part| part.column).any(of)
    }

    /// Indexes whose entries change: secondary ones, in the order in which the server sees to them.
    fn touched(&self) -> Vec<usize> {
        if !self.deletes && self.assigned.is_empty() {
            return Vec::new();
        }
        let all = self.deletes || self.moves();
        let touched = |at: &usize| {
            let index = &self.table.indexes[*at];
            *at != 0 && index.btree && (all || self.sets(index))
        };
        let mut touched: Vec<usize> = (0..self.table.indexes.len()).filter(touched).collect();
        touched.sort_by_key(|at| !self.table.indexes[*at].unique);
        touched
    }

    /// Nothing is known of the rows but what the text says. `via`: the index by which they are found.
    pub(super) fn wide(&self, via: Option<usize>, intent: &mut Intent) {
        let old = |column: usize| self.given(column);
        let mut likely = Certainty::Likely;
        self.row(&old, via, 0, &mut likely, intent);
    }

    /// The rows have been read. False: the statement fails with one.
    pub(super) fn exact(
        &self,
        found: &[&SeenEntry],
        via: Option<usize>,
        mut certainty: Certainty,
        intent: &mut Intent,
    ) -> bool {
        found.iter().all(|entry| self.entry(entry, via, &mut certainty, intent))
    }

    /// A row has been read. False: the statement fails with it.
    pub(super) fn entry(
        &self,
        entry: &SeenEntry,
        via: Option<usize>,
        certainty: &mut Certainty,
        intent: &mut Intent,
    ) -> bool {
        let before = intent.requests.len();
        // What a statement that is done has computed, it has computed from the row as it was, not as it is now.
        let computes = self.assigned.iter().any(|(_, to)| matches!(to, To::Computed(_)));
        let as_it_was = if self.known.done && computes { entry.rows.len().saturating_sub(1) } else { 0 };
        entry.rows[as_it_was..].iter().all(|row| {
            let read = |column: usize| row.iter().find(|(c, _)| *c == column).map(|(_, v)| v.clone());
            self.row(&read, via, before, certainty, intent)
        })
    }

    fn moment(&self) -> Moment {
        self.values.map(|values| values.moment()).unwrap_or_default()
    }

    /// A column's value when the row has been changed.
    fn new_value(&self, old: &dyn Fn(usize) -> Option<Value<'a>>, column: usize) -> Option<Value<'a>> {
        self.set_before(self.assigned.len(), old, column)
    }

    /// A column's value when the first `count` of the columns that are set have been set: a later expression sees
    /// what an earlier one has made of the row.
    fn set_before(
        &self,
        count: usize,
        old: &dyn Fn(usize) -> Option<Value<'a>>,
        column: usize,
    ) -> Option<Value<'a>> {
        let Some(at) = self.assigned[..count].iter().rposition(|(c, _)| *c == column) else {
            if self.generates(column) {
                let value_of = |c: usize| self.set_before(count, old, c);
                return computed::own(self.table, column, self.moment(), &value_of);
            }
            return old(column);
        };
        match &self.assigned[at].1 {
            To::Value(value) => value.clone(),
            To::Computed(formula) => {
                let value_of = |c: usize| self.set_before(at, old, c);
                let named = |name: &str| computed::named(self.table, name, &value_of);
                computed::value(formula, self.values?, 0, &named)
            }
            To::Now => {
                let stays = |(column, to): &(usize, To<'a>)| {
                    matches!(to, To::Now) || {
                        let new = self.set_before(at, old, *column);
                        new.is_some() && new == old(*column)
                    }
                };
                if self.assigned[..at].iter().all(stays) {
                    return old(column);
                }
                let moment = self.moment();
                Formula::Now(true).value(&Inputs { slot: &|_| None, column: &|_| None, moment })
            }
        }
    }

    /// The value of a column of the row as it is; one that is generated can be computed from the others.
    fn old_value(&self, old: &dyn Fn(usize) -> Option<Value<'a>>, column: usize) -> Option<Value<'a>> {
        old(column).or_else(|| computed::own_generated(self.table, column, old))
    }

    /// Is the column set to something that differs from what it is, as far as that is known?
    pub(super) fn is_changed<'v>(&self, column: usize, old: &dyn Fn(usize) -> Option<Value<'v>>) -> bool {
        let to = self.assigned.iter().rfind(|(c, _)| *c == column);
        to.is_some_and(|(_, to)| match to {
            To::Value(Some(to)) => old(column).as_ref() != Some(to),
            _ => true,
        })
    }

    /// The unique keys that a row gets, and its new parents: whether they are there can be asked about.
    pub(super) fn places(&self, table: &Arc<Table>, old: &dyn Fn(usize) -> Option<Value<'a>>) -> Vec<Place> {
        let mut places = Vec::new();
        if self.deletes {
            return places;
        }
        let new = |column: usize| self.new_value(old, column);
        let clustered = self.moves().then_some(0);
        for at in clustered.into_iter().chain(self.touched()) {
            let (before, after) = (entry(self.table, at, old), entry(self.table, at, &new));
            let asked = |key: &Key| before.unique.as_ref() != Some(key) || self.checks_same(at);
            let Some(key) = after.unique.filter(asked) else { continue };
            let parts = &self.table.indexes[at].parts;
            let values: Option<Vec<_>> =
                parts.iter().map(|part| Some(new(part.column?)?.outliving())).collect();
            let Some(values) = values else { continue };
            let (table, certainty) = (table.clone(), after.certainty);
            places.push(Place { table, index: at, key: Some(key), values, certainty });
        }
        let differs = |column: usize| self.differs(old, column);
        places.extend(self.child(&differs, &new).places(&mut None));
        places
    }

    fn child<'c, 'v>(
        &'c self,
        changes: &'c dyn Fn(usize) -> bool,
        value_of: &'c dyn Fn(usize) -> Option<Value<'v>>,
    ) -> Child<'c, 'v> {
        let (table, context, known, find) = (self.table, self.context, self.known, self.find);
        Child { table, context, changes, value_of, known, find, at: None }
    }

    fn differs(&self, old: &dyn Fn(usize) -> Option<Value<'a>>, column: usize) -> bool {
        let new = || self.new_value(old, column);
        self.is_set(column) && (new().is_none() || new() != old(column))
    }

    /// The requests of one row; `earlier`: how many were made for those before it, `sure`: how sure it is that the
    /// statement comes so far. False: it fails here.
    fn row(
        &self,
        old: &dyn Fn(usize) -> Option<Value<'a>>,
        via: Option<usize>,
        earlier: usize,
        sure: &mut Certainty,
        intent: &mut Intent,
    ) -> bool {
        let read = old;
        let old: &dyn Fn(usize) -> Option<Value<'a>> = &|column| self.old_value(read, column);
        let new = |column: usize| self.new_value(old, column);
        let differs = |column: usize| self.differs(old, column);
        let comes = |goes: Goes, sure: &mut Certainty| {
            if goes == Goes::Perhaps {
                *sure = (*sure).min(Certainty::Likely);
            }
            goes != Goes::NoFurther
        };
        if !self.deletes {
            let goes = self.child(&differs, &new).parents(*sure, intent);
            if !comes(goes, sure) {
                return false;
            }
        }
        let goes = foreign_key::parent_goes(self, old, *sure, intent);
        if !comes(goes, sure) {
            return false;
        }
        let certain = |built: &Entry, sure: Certainty| {
            if built.whole { sure.min(built.certainty) } else { Certainty::Unknown }
        };
        // The session's time zone may be another than the server's.
        let clocked =
            |at: usize, sure: Certainty| if self.is_clocked(at) { sure.min(Certainty::Likely) } else { sure };
        if self.moves() {
            let (before, after) = (entry(self.table, 0, old), entry(self.table, 0, &new));
            if !(before.whole && after.whole && before.key == after.key) {
                let goes = self.put(0, [&before, &after], earlier, certain(&after, *sure), intent);
                if !comes(goes, sure) {
                    return false;
                }
            }
        }
        for at in self.touched() {
            let (before, after) = (entry(self.table, at, old), entry(self.table, at, &new));
            if !self.deletes && before.whole && after.whole && before.key == after.key {
                continue;
            }
            if via != Some(at) {
                let range = before.range();
                let sure = certain(&before, *sure);
                push(intent, request(self.table, at, Mode::X, range, Kind::Entry, sure, CHANGED));
            }
            if self.deletes {
                continue;
            }
            if self.checks_same(at)
                && after.own
                && let Some(key) = &after.unique
            {
                self.same_key(at, key, intent);
            }
            let goes = self.put(at, [&before, &after], earlier, clocked(at, certain(&after, *sure)), intent);
            if !comes(goes, sure) {
                return false;
            }
        }
        true
    }
}

/// The columns whose value WHERE tells.
pub(super) fn given<'v>(
    access: &TableAccess,
    table: &Table,
    values: &'v dyn Values,
) -> Vec<(usize, Value<'v>)> {
    let given = |condition: &Condition| match &condition.test {
        Test::Eq(wanted) => Some((table.column(&condition.column)?, scalar(wanted, values, 0)?)),
        Test::IsNull => Some((table.column(&condition.column)?, Value::Null)),
        _ => None,
    };
    access.predicate.conditions.iter().filter_map(given).collect()
}

/// The values of a row's new entry whose place in an index is `wanted`, as far as the text tells.
pub(super) fn values_of<'v>(
    update: &'v Update,
    access: &TableAccess,
    values: &'v dyn Values,
    table: &Table,
    index: &Index,
    wanted: &Key,
) -> Option<Vec<Value<'v>>> {
    let (set, given) = (assigned(update, access, table, values), given(access, table, values));
    let (mut key, mut found) = (Key::default(), Vec::new());
    for part in &index.parts {
        let column = part.column?;
        let new = match set.iter().rfind(|(c, _)| *c == column) {
            Some((_, To::Value(value))) => value.clone()?,
            Some(_) => return None,
            None => given.iter().find(|(c, _)| *c == column)?.1.clone(),
        };
        value::push(&mut key, &table.columns[column], part, &new)?;
        found.push(new);
    }
    (!found.is_empty() && wanted.starts_with(&key)).then_some(found)
}

/// One more request, unless it is there: two versions of a row may share an entry.
fn push(intent: &mut Intent, request: Request) {
    if !intent.requests.contains(&request) {
        intent.add(request, None);
    }
}

/// Is this a lock of these rules?
pub(super) fn is_of(request: &Request) -> bool {
    matches!(request.rule, CHANGED | MOVED | TAKEN | SAME_KEY)
}

/// What became of it. `none`: no row was found, or none was changed.
pub(super) fn settle(request: &Request, answered: &Answered, none: bool, rules: Rules) -> Settled {
    match answered {
        _ if none => Settled::Released,
        Answered::Duplicate { index, entry } if request.kind.inserts() => {
            let met = Some(request.index.index) == *index && duplicate::spelled(&request.range.low) == *entry;
            // A row that had been put before the duplicate was met is taken out again.
            if met { duplicate::met(request, Mode::S) } else { duplicate::undone(rules) }
        }
        Answered::Duplicate { .. } | Answered::Failed(_) if !matches!(request.rule, TAKEN | SAME_KEY) => {
            Settled::Released
        }
        _ if request.kind.inserts() => Settled::Became(Kind::Record, request.range.clone()),
        _ => Settled::Kept,
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
