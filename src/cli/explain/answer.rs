//! What the server would answer: read from the tables as they are, and from what the script itself has
//! changed.

use std::collections::HashMap;

use super::words::Around;
use crate::id::{IndexId, TableId};
use crate::intent::duplicate;
use crate::intent::known::{SeenEntry, SeenSpan};
use crate::lock::key::Key;
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::session::analysis::Answer;
use crate::session::analyze::{Foreseen, ForeseenLock, Supposed};
use crate::session::serve::Knowledge;
use crate::sql::statement::{Insert, Rows, Statement};
use crate::wire::outcome::OutcomeKind;

/// ER_DUP_ENTRY
const DUPLICATE_KEY: u16 = 1062;

/// Rows that the script has made or taken away, oldest first.
#[derive(Default)]
pub struct Changes {
    changes: Vec<Change>,
}

struct Change {
    session: usize,
    table: TableId,
    /// The row's key in the clustered index.
    clustered: Key,
    /// Its keys in all indexes, of a row that was made.
    entries: Vec<(u16, Key)>,
    exists: bool,
    open: bool,
}

impl Changes {
    /// Does the script know whether a key exists?
    fn exists(&self, request: &Request) -> Option<bool> {
        let IndexId { table, index } = request.index;
        let is_it = |change: &&Change| {
            let entry = |(at, key): &(u16, Key)| *at == index && request.range.contains(key);
            change.table == table && change.entries.iter().any(entry)
        };
        let made = self.changes.iter().rev().find(is_it)?;
        Some(!self.is_gone(table, &made.clustered))
    }

    /// Is the row gone for good? One that was deleted in an open transaction is still there, and locked.
    fn is_gone(&self, table: TableId, clustered: &Key) -> bool {
        let of_row = |change: &&Change| change.table == table && change.clustered == *clustered;
        self.changes.iter().rev().find(of_row).is_some_and(|change| !change.exists && !change.open)
    }

    /// A statement was done.
    pub fn done(&mut self, session: usize, foreseen: &Foreseen, answer: &Answer) {
        if !matches!(answer.result, OutcomeKind::Ok { affected: 1.., .. }) {
            return;
        }
        if matches!(foreseen.plan.statement, Statement::Delete(_)) {
            for (table, clustered) in foreseen.rows.iter().flatten().cloned() {
                let entries = Vec::new();
                self.changes.push(Change { session, table, clustered, entries, exists: false, open: true });
            }
        }
        for request in foreseen.locks.iter().map(|lock| &lock.request).filter(|r| r.kind.inserts()) {
            let IndexId { table, index } = request.index;
            let key = request.range.low.clone();
            // The clustered entry is the first of each row.
            if index == 0 {
                let (clustered, entries) = (key.clone(), Vec::new());
                self.changes.push(Change { session, table, clustered, entries, exists: true, open: true });
            }
            let row = self.changes.last_mut().filter(|row| row.table == table && row.exists);
            if let Some(row) = row {
                row.entries.push((index, key));
            }
        }
    }

    /// A transaction has ended; what it changed stays if it was committed.
    pub fn ended(&mut self, session: usize, committed: bool) {
        self.changes.retain(|change| change.session != session || !change.open || committed);
        for change in self.changes.iter_mut().filter(|change| change.session == session) {
            change.open = false;
        }
    }
}

impl Supposed for Changes {
    fn correct(&self, table: TableId, index: u16, range: &Range, seen: &mut SeenSpan) {
        let gone = |entry: &SeenEntry| self.is_gone(table, &entry.clustered);
        seen.entries.retain(|entry| !gone(entry));
        // What lies behind an edge that is gone is not known: the gap is taken for as wide as it may be.
        seen.below = seen.below.take().filter(|entry| !gone(entry));
        seen.above = seen.above.take().filter(|entry| !gone(entry));
        for change in self.changes.iter().filter(|change| change.table == table && change.exists) {
            let clustered = &change.clustered;
            let Some((_, key)) = change.entries.iter().find(|(at, _)| *at == index) else { continue };
            if self.is_gone(table, clustered) {
                continue;
            }
            let (key, clustered) = (key.clone(), clustered.clone());
            let committed = !change.open;
            let entry =
                SeenEntry { key, clustered, matches: true, newest: true, committed, ..SeenEntry::default() };
            let (key, clustered) = (&entry.key.clone(), &entry.clustered.clone());
            if range.contains(key) {
                if !seen.entries.iter().any(|known| known.clustered == *clustered) {
                    seen.entries.push(entry);
                }
            } else if *key < range.low {
                if seen.below.as_ref().is_none_or(|known| known.key < *key) {
                    seen.below = Some(entry);
                }
            } else if seen.above.as_ref().is_none_or(|known| known.key > *key) {
                seen.above = Some(entry);
            }
        }
        seen.entries.sort_by(|a, b| a.key.cmp(&b.key));
    }
}

/// Looks at the entries around the place of each lock that is a single key.
pub async fn look(foreseen: &Foreseen, knowledge: &Knowledge, changes: &Changes) -> Vec<Option<Around>> {
    let mut all = Vec::with_capacity(foreseen.locks.len());
    let mut known: HashMap<(IndexId, Key), Option<Around>> = HashMap::new();
    for lock in &foreseen.locks {
        let request = &lock.request;
        let searched = matches!(request.kind, Kind::RecordOrGap | Kind::Record) && !foreseen.exact;
        if !searched && !request.kind.inserts() {
            all.push(None);
            continue;
        }
        let place = (request.index, request.range.low.clone());
        if !known.contains_key(&place) {
            let around = probe(lock, knowledge).await;
            known.insert(place.clone(), around);
        }
        let mut around = known.get(&place).cloned().flatten();
        if let Some(exists) = changes.exists(request) {
            around.get_or_insert_default().exists = exists;
        }
        all.push(around);
    }
    all
}

async fn probe(lock: &ForeseenLock, knowledge: &Knowledge) -> Option<Around> {
    let place = lock.place.as_ref()?;
    let seen = knowledge.prober.neighbours(&lock.table, lock.request.index.index, place).await?;
    Some(Around { exists: seen.exact.is_some(), below: seen.previous, above: seen.next })
}

/// The answer of a statement that nothing hinders.
pub fn of(foreseen: &Foreseen, around: &[Option<Around>]) -> Answer {
    let statement = &foreseen.plan.statement;
    let ok =
        |affected: u64, info: String| OutcomeKind::Ok { affected, last_insert_id: 0, info, schema: None };
    let result = match statement {
        Statement::Insert(insert) => inserted(insert, foreseen, around),
        Statement::Select(_) => match found(foreseen, around) {
            Some(rows) => OutcomeKind::Rows { rows, cursor: false },
            // With a cursor the rows come later: nothing is known of them yet.
            None => OutcomeKind::Rows { rows: 0, cursor: true },
        },
        Statement::Update(_) | Statement::Delete(_) => match found(foreseen, around) {
            Some(rows) => ok(rows, format!("Rows matched: {rows}  Changed: {rows}  Warnings: 0")),
            None => OutcomeKind::Rows { rows: 0, cursor: true },
        },
        _ => ok(0, String::new()),
    };
    let failed = matches!(result, OutcomeKind::Error { .. });
    let status = (!failed).then_some(foreseen.status);
    Answer { result, status, last: true, ..Answer::default() }
}

/// The error of a deadlock's victim.
pub fn deadlock() -> Answer {
    let result = OutcomeKind::Error { code: 1213, message: String::new() };
    Answer { result, last: true, ..Answer::default() }
}

/// Rows that a search finds, if that could be read.
fn found(foreseen: &Foreseen, around: &[Option<Around>]) -> Option<u64> {
    if let Some(rows) = &foreseen.rows {
        return Some(rows.len() as u64);
    }
    let mut rows = 0;
    for (lock, around) in foreseen.locks.iter().zip(around) {
        if lock.request.rule != "unique-lookup" {
            return None;
        }
        rows += u64::from(around.as_ref()?.exists);
    }
    (!foreseen.locks.is_empty()).then_some(rows)
}

fn inserted(insert: &Insert, foreseen: &Foreseen, around: &[Option<Around>]) -> OutcomeKind {
    let checked = |lock: &ForeseenLock| matches!(lock.request.kind, Kind::Insert { check: Some(_) });
    let exists = |around: &Option<Around>| around.as_ref().is_some_and(|around| around.exists);
    let is_met = |(lock, around): (&ForeseenLock, &Option<Around>)| {
        lock.request.rule == duplicate::DUPLICATE || checked(lock) && exists(around)
    };
    let duplicates = foreseen.locks.iter().zip(around).filter(|pair| is_met(*pair)).count() as u64;
    // Each row begins with its entry in the clustered index: a new one, or one that was there.
    let is_row = |lock: &&ForeseenLock| {
        let (kind, rule) = (lock.request.kind, lock.request.rule);
        lock.request.index.index == 0 && (kind.inserts() || rule == duplicate::DUPLICATE)
    };
    let rows = foreseen.locks.iter().filter(is_row).count().max(1) as u64;
    let affected = match (duplicates, &insert.on_duplicate, insert.replace) {
        (0, ..) => rows,
        (_, Some(_), _) | (_, _, true) => rows + duplicates,
        (_, None, false) if insert.ignore => rows.saturating_sub(duplicates),
        (_, None, false) => {
            return OutcomeKind::Error { code: DUPLICATE_KEY, message: "the key exists".to_owned() };
        }
    };
    match insert.rows {
        Rows::Values(_) => OutcomeKind::Ok { affected, last_insert_id: 0, info: String::new(), schema: None },
        Rows::Select(_) => OutcomeKind::Rows { rows: 0, cursor: true },
    }
}
