//! What foreign keys make a change lock in other tables.
//!
//! | rule | when | MySQL | MariaDB |
//! |---|---|---|---|
//! | `parent-row` | a child gets a key that is not NULL | S on the parent's entry; S on the gap if there is none | the same |
//! | `child-entries` | a parent goes, its key changes | S on the gap if there is no child; one that is found: S next-key | … S record |
//! | `cascaded-entry` | CASCADE, SET NULL | a search by the child's index with X: next-key, and the gap behind | S on each entry, S on the gap behind |
//! | `cascaded-row` | the same | X on the row behind each entry | the same |
//!
//! At READ COMMITTED records alone. MySQL from 9.6 on checks the parents of a row before it inserts anything;
//! before that, and in MariaDB, the engine does so at the entry of the foreign key's index.
//!
//! Observed on MySQL 9.7 and MariaDB 10.11.

use std::sync::Arc;

use super::change::Change;
use super::entry::{Entry, entry};
use super::known::{Known, SeenEntry};
use super::outcome::Answered;
use super::read::{Tables, request};
use super::{Context, Intent};
use crate::catalog::{Flavour, ForeignKey, ReferentialAction, Table, TableKind};
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request, Settled};
use crate::sql::access::TableName;
use crate::sql::value::Value;

/// The parent's entry that a child needs.
const PARENT: &str = "parent-row";
/// The children that a parent must not have.
const CHILDREN: &str = "child-entries";
/// The child's entry that changes with its parent.
const CASCADED: &str = "cascaded-entry";
/// The row behind it.
const CASCADED_ROW: &str = "cascaded-row";

/// ER_NO_REFERENCED_ROW_2
const NO_PARENT: u16 = 1452;
/// ER_ROW_IS_REFERENCED_2
pub(super) const HAS_CHILDREN: u16 = 1451;

/// Tables that a foreign key joins with this one, by schema and name, each once: parents, then children.
pub fn relatives(table: &Table) -> Vec<(&str, &str)> {
    let parents = table.foreign_keys.iter().map(|key| &key.parent);
    let children = table.referenced_by.iter().map(|key| &key.child);
    let mut found: Vec<(&str, &str)> = Vec::new();
    for (schema, name) in parents.chain(children) {
        let pair = (schema.as_str(), name.as_str());
        if !found.contains(&pair) && pair != (table.schema.as_str(), table.name.as_str()) {
            found.push(pair);
        }
    }
    found
}

/// The tables that change when a row of this one goes or gets another key, by schema and name.
pub fn children_of(table: &Table) -> Vec<(&str, &str)> {
    let follows = |key: &&ForeignKey| {
        key.on_delete != ReferentialAction::Restrict || key.on_update != ReferentialAction::Restrict
    };
    let children = table.referenced_by.iter().filter(follows).map(|key| &key.child);
    children.map(|(schema, name)| (schema.as_str(), name.as_str())).collect()
}

/// Part of an index of another table.
pub struct Place {
    /// The table.
    pub table: Arc<Table>,
    /// Position of the index.
    pub index: usize,
    /// The entries that begin with this key; `None`: not known.
    pub key: Option<Key>,
    /// Its values.
    pub values: Vec<Value<'static>>,
    /// How sure the comparison is.
    pub certainty: Certainty,
}

impl Place {
    fn range(&self) -> Range {
        self.key.as_ref().map_or_else(Range::all, Range::entries)
    }
}

fn named(name: &(String, String), find: Tables<'_>) -> Option<Arc<Table>> {
    find(&TableName { schema: Some(name.0.clone()), name: name.1.clone() })
}

/// The place of a foreign key's values in the index of one of its tables. `None`: the table is not known.
fn place<'v>(
    table: Arc<Table>,
    columns: &[String],
    values: &dyn Fn(usize) -> Option<Value<'v>>,
) -> Option<Place> {
    let begins = |index: &crate::catalog::Index| {
        let of_columns = |(n, name): (usize, &String)| {
            index.parts.get(n).is_some_and(|part| part.column.is_some() && part.column == table.column(name))
        };
        index.btree && columns.iter().enumerate().all(of_columns)
    };
    // The shortest: a unique key of just these columns, if there is one.
    let fitting = table.indexes.iter().enumerate().filter(|(_, index)| begins(index));
    let (index, parts) = fitting.min_by_key(|(_, index)| index.parts.len()).map(|(at, i)| (at, &i.parts))?;
    let (mut key, mut found, mut certainty) = (Key::default(), Vec::new(), Certainty::Certain);
    for (n, part) in parts.iter().enumerate().take(columns.len()) {
        let value = values(n).and_then(|value| {
            let sure = super::value::push(&mut key, &table.columns[part.column?], part, &value)?;
            certainty = certainty.min(sure);
            Some(value.outliving())
        });
        match value {
            Some(value) => found.push(value),
            None => return Some(Place { table, index, key: None, values: Vec::new(), certainty }),
        }
    }
    Some(Place { table, index, key: Some(key), values: found, certainty })
}

/// A row of a child table, new or changed.
pub(super) struct Child<'a, 'v> {
    pub(super) table: &'a Table,
    pub(super) context: &'a Context,
    /// The columns that change.
    pub(super) changes: &'a dyn Fn(usize) -> bool,
    pub(super) value_of: &'a dyn Fn(usize) -> Option<Value<'v>>,
    pub(super) known: &'a Known,
    pub(super) find: Tables<'a>,
    /// Only of the foreign keys that this index serves.
    pub(super) at: Option<usize>,
}

/// Does the statement come any further?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goes {
    /// It does.
    On,
    /// That hangs on what nobody has looked at.
    Perhaps,
    /// It fails here.
    NoFurther,
}

impl Child<'_, '_> {
    /// Where its parents are: of the foreign keys with a column that changes.
    pub(super) fn places(&self, unknown: &mut Option<&'static str>) -> Vec<Place> {
        let mut places = Vec::new();
        if !self.context.foreign_keys {
            return places;
        }
        for key in &self.table.foreign_keys {
            let columns: Option<Vec<usize>> =
                key.child_columns.iter().map(|name| self.table.column(name)).collect();
            let served = |columns: &Vec<usize>| self.at.is_none() || self.at == serves(self.table, columns);
            let columns = columns.filter(served);
            let Some(columns) = columns.filter(|columns| columns.iter().any(|c| (self.changes)(*c))) else {
                continue;
            };
            // A NULL in any column: it has no parent.
            if columns.iter().any(|c| (self.value_of)(*c) == Some(Value::Null)) {
                continue;
            }
            let Some(parent) = named(&key.parent, self.find) else {
                *unknown = Some("table_not_loaded");
                continue;
            };
            let value = |n: usize| columns.get(n).and_then(|c| (self.value_of)(*c));
            let found = place(parent, &key.parent_columns, &value).filter(|place| place.key.is_some());
            places.extend(found);
        }
        places
    }

    /// The locks on its parents.
    pub(super) fn parents(&self, certainty: Certainty, intent: &mut Intent) -> Goes {
        let mut goes = Goes::On;
        for place in self.places(&mut intent.unknown) {
            let index = &place.table.indexes[place.index];
            let unique = index.unique && index.parts.len() == place.values.len();
            let gaps = self.context.locks_gaps() && unique;
            let kind = if gaps { Kind::RecordOrGap } else { Kind::Record };
            let sure = certainty.min(place.certainty).min(if unique { certainty } else { Certainty::Likely });
            let of = |kind| request(&place.table, place.index, Mode::S, place.range(), kind, sure, PARENT);
            let span = place.key.as_ref().and_then(|key| self.known.place(place.table.id, place.index, key));
            match span {
                // A parent that is not there: the statement fails.
                Some(span) if span.entries.is_empty() => {
                    if gaps {
                        intent.add(of(Kind::Gap), Some(span.reach()));
                    }
                    return Goes::NoFurther;
                }
                Some(span) if span.entries.iter().any(SeenEntry::stands) => {}
                _ => goes = Goes::Perhaps,
            }
            add(intent, of(kind));
        }
        goes
    }
}

/// The index of a child that a foreign key of these columns goes by.
fn serves(table: &Table, columns: &[usize]) -> Option<usize> {
    let begins = |index: &crate::catalog::Index| {
        let part =
            |(n, column): (usize, &usize)| index.parts.get(n).is_some_and(|p| p.column == Some(*column));
        index.btree && columns.iter().enumerate().all(part)
    };
    table.indexes.iter().position(begins)
}

/// Foreign keys that a change is followed down, one after the other.
const MAX_DEPTH: u8 = 5;

/// What happens to the children behind a foreign key.
fn below<'c>(
    change: &Change<'c>,
    key: &ForeignKey,
    action: ReferentialAction,
    child: &'c Table,
) -> Change<'c> {
    let goes = change.deletes && action == ReferentialAction::Cascade;
    let set: &[String] = if goes { &[] } else { &key.child_columns };
    change.cascaded(child, goes, (set, action == ReferentialAction::SetNull))
}

/// The places of the children of a row, and of theirs as far as those were seen.
pub(super) fn places<'v>(
    change: &Change<'_>,
    old: &dyn Fn(usize) -> Option<Value<'v>>,
    found: &mut Vec<Place>,
) {
    for (key, action, place) in children(change, old) {
        let Some(place) = place.filter(|place| place.key.is_some()) else { continue };
        let span = place.key.as_ref().and_then(|key| change.known.place(place.table.id, place.index, key));
        if let (Some(span), true) = (span, action != ReferentialAction::Restrict && change.depth < MAX_DEPTH)
        {
            let child = place.table.clone();
            let below = below(change, key, action, &child);
            for row in span.entries.iter().flat_map(|entry| &entry.rows) {
                let read = |c: usize| row.iter().find(|(column, _)| *column == c).map(|(_, v)| v.clone());
                places(&below, &read, found);
            }
        }
        found.push(place);
    }
}

/// The children of a row that is deleted, or whose key changes: where they are looked for, and what becomes of
/// them. `old`: the row's values.
pub(super) fn children<'k, 'v>(
    change: &'k Change<'_>,
    old: &dyn Fn(usize) -> Option<Value<'v>>,
) -> Vec<(&'k ForeignKey, ReferentialAction, Option<Place>)> {
    let table = change.table;
    if !change.context.foreign_keys {
        return Vec::new();
    }
    let mut found = Vec::new();
    for key in &table.referenced_by {
        let columns: Option<Vec<usize>> = key.parent_columns.iter().map(|name| table.column(name)).collect();
        let Some(columns) = columns else { continue };
        if !change.deletes && !columns.iter().any(|column| change.is_changed(*column, old)) {
            continue;
        }
        let action = if change.deletes { key.on_delete } else { key.on_update };
        let value = |n: usize| columns.get(n).and_then(|c| old(*c));
        let child = named(&key.child, change.find).filter(|child| child.kind == TableKind::InnoDb);
        found.push((key, action, child.and_then(|child| place(child, &key.child_columns, &value))));
    }
    found
}

/// What a row that goes locks in its children.
pub(super) fn parent_goes<'v>(
    change: &Change<'_>,
    old: &dyn Fn(usize) -> Option<Value<'v>>,
    certainty: Certainty,
    intent: &mut Intent,
) -> Goes {
    let mut goes = Goes::On;
    for (key, action, place) in children(change, old) {
        let Some(place) = place else {
            intent.unknown = Some("table_not_loaded");
            goes = Goes::Perhaps;
            continue;
        };
        let sure = if place.key.is_some() { certainty.min(place.certainty) } else { Certainty::Unknown };
        if action == ReferentialAction::Restrict {
            match restrict(change, &place, sure, intent) {
                Goes::NoFurther => return Goes::NoFurther,
                Goes::Perhaps => goes = Goes::Perhaps,
                Goes::On => {}
            }
            continue;
        }
        let below = below(change, key, action, &place.table);
        if cascade(change, &below, key, &place, sure, intent) == Goes::NoFurther {
            return Goes::NoFurther;
        }
    }
    goes
}

/// A parent that may have no children.
fn restrict(change: &Change<'_>, place: &Place, sure: Certainty, intent: &mut Intent) -> Goes {
    let gaps = change.context.locks_gaps();
    let of = |range, kind| request(&place.table, place.index, Mode::S, range, kind, sure, CHILDREN);
    let span = place.key.as_ref().and_then(|key| change.known.place(place.table.id, place.index, key));
    if let Some(span) = span {
        if let Some(child) = span.entries.iter().find(|entry| entry.stands()) {
            let range = Range::entries(&child.key);
            if gaps && change.context.flavour == Flavour::MySql {
                let reach = Range { high: range.high.clone(), ..span.reach() };
                intent.add(of(range, Kind::NextKey), Some(reach));
            } else {
                add(intent, of(range, Kind::Record));
            }
            return Goes::NoFurther;
        }
        if span.entries.is_empty() {
            if gaps {
                intent.add(of(place.range(), Kind::Gap), Some(span.reach()));
            }
            return Goes::On;
        }
    }
    add(intent, of(place.range(), if gaps { Kind::RecordOrGap } else { Kind::Record }));
    Goes::Perhaps
}

/// The children that change with their parent.
fn cascade(
    change: &Change<'_>,
    below: &Change<'_>,
    key: &ForeignKey,
    place: &Place,
    sure: Certainty,
    intent: &mut Intent,
) -> Goes {
    let deeper = change.depth < MAX_DEPTH;
    let mariadb = change.context.flavour == Flavour::MariaDb;
    let (table, gaps) = (&place.table, change.context.locks_gaps());
    let mode = if mariadb { Mode::S } else { Mode::X };
    let of_index = |range, kind, sure| request(table, place.index, mode, range, kind, sure, CASCADED);
    let kind = if gaps && !mariadb { Kind::NextKey } else { Kind::Record };
    let Some(span) = place.key.as_ref().and_then(|key| change.known.place(table.id, place.index, key)) else {
        add(intent, of_index(place.range(), kind, sure.min(Certainty::Likely)));
        let via = Kind::Clustered { via: place.index as u16 };
        add(intent, request(table, 0, Mode::X, Range::all(), via, Certainty::Unknown, CASCADED_ROW));
        others(change, key, place, &|_| None, Certainty::Unknown, intent);
        if deeper {
            parent_goes(below, &|_| None::<Value<'_>>, Certainty::Unknown, intent);
        }
        return Goes::Perhaps;
    };
    let behind = |entry: &SeenEntry| entry.key.after();
    let before = span.below.as_ref().map(behind).unwrap_or_default();
    let above = span.above.as_ref().map_or(Key::supremum(), |entry| entry.key.clone());
    if kind == Kind::NextKey {
        let reach = Range { low: before.clone(), high: above.clone() };
        intent.add(of_index(place.range(), kind, sure), Some(reach));
    }
    for entry in &span.entries {
        if kind == Kind::Record {
            add(intent, of_index(Range::entries(&entry.key), kind, sure));
        }
        let row = Range::entries(&entry.clustered);
        add(intent, request(table, 0, Mode::X, row, Kind::Record, sure, CASCADED_ROW));
        for values in &entry.rows {
            let read = |c: usize| values.iter().find(|(column, _)| *column == c).map(|(_, v)| v.clone());
            others(change, key, place, &read, sure, intent);
            // The children of the children.
            if deeper && parent_goes(below, &read, sure, intent) == Goes::NoFurther {
                return Goes::NoFurther;
            }
        }
    }
    let gap = Range { low: span.entries.last().map_or(before, behind), high: above };
    if gaps && mariadb && !gap.is_empty() {
        intent.add(of_index(gap.clone(), Kind::Gap, sure), Some(gap));
    }
    Goes::On
}

/// The entries of a child's other indexes: all if the row goes, else those with a column of the key.
fn others<'v>(
    change: &Change<'_>,
    key: &ForeignKey,
    place: &Place,
    read: &dyn Fn(usize) -> Option<Value<'v>>,
    sure: Certainty,
    intent: &mut Intent,
) {
    let table = &place.table;
    let goes = change.deletes && key.on_delete == ReferentialAction::Cascade;
    let of_key = |part: &crate::catalog::KeyPart| {
        key.child_columns.iter().any(|name| part.column.is_some() && part.column == table.column(name))
    };
    for (at, index) in table.indexes.iter().enumerate().skip(1) {
        if at == place.index || !index.btree || !(goes || index.parts.iter().any(of_key)) {
            continue;
        }
        let before: Entry = entry(table, at, read);
        let sure = if before.whole { sure } else { Certainty::Unknown };
        add(intent, request(table, at, Mode::X, before.range(), Kind::Record, sure, CASCADED));
    }
}

fn add(intent: &mut Intent, request: Request) {
    if !intent.requests.contains(&request) {
        intent.add(request, None);
    }
}

/// Is this a lock of these rules?
pub(super) fn is_of(request: &Request) -> bool {
    matches!(request.rule, PARENT | CHILDREN | CASCADED | CASCADED_ROW)
}

/// What became of it. `none`: no row was found or changed.
pub(super) fn settle(request: &Request, answered: &Answered, none: bool, flavour: Flavour) -> Settled {
    let gap = || match request.kind {
        Kind::RecordOrGap => Settled::Became(Kind::Gap, request.range.clone()),
        Kind::Gap => Settled::Kept,
        _ => Settled::Released,
    };
    let record = |kind| match request.kind {
        Kind::RecordOrGap => Settled::Became(kind, request.range.clone()),
        _ => Settled::Kept,
    };
    match (request.rule, answered) {
        (PARENT, Answered::Failed(NO_PARENT)) => gap(),
        (CHILDREN, Answered::Failed(HAS_CHILDREN)) if flavour == Flavour::MySql => record(Kind::NextKey),
        (CHILDREN, Answered::Failed(HAS_CHILDREN)) => record(Kind::Record),
        // Whether the statement came to it is not told.
        (_, Answered::Failed(_) | Answered::Unclear) => Settled::Kept,
        _ if none => Settled::Released,
        (PARENT, _) => record(Kind::Record),
        (CHILDREN, _) => gap(),
        _ => Settled::Kept,
    }
}

#[cfg(test)]
#[path = "foreign_key_tests.rs"]
mod tests;
