//! Whom the server is expected to choose when a circle closes.
//!
//! InnoDB rolls back the transaction of least weight: its records in the undo log, that is the rows that it has
//! changed, and its lock structures; of equals the one that closed the circle (MySQL:
//! `lock_wait_choose_victim`, MariaDB: `Deadlock::report`, both by `TRX_WEIGHT`). One structure stands for all
//! locks of a mode on a page; pages are not known here, so one is counted for an index. New entries have none.
//! Waits for metadata are judged by another rule: there whoever closes the circle is named.

use rustc_hash::FxHashSet;

use super::conflict::{ConflictKind, Decision, Judged, Report, Submission};
use super::server_queue::Waiting;
use super::{Scheduler, judge};
use crate::id::{IndexId, TableId};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::Kind;
use crate::lock::table::LockRefs;

/// What a transaction would lose with a rollback.
#[derive(Clone, Default, Debug)]
pub struct Weight {
    changed: u64,
    changes: bool,
    tables: FxHashSet<TableId>,
    structures: FxHashSet<(IndexId, Mode, Shape)>,
}

/// Locks of different shape share no structure: (records, gaps).
type Shape = (bool, bool);

impl Weight {
    /// A transaction that has changed so many rows; `changes`: the statement at hand changes the rows that it
    /// locks.
    pub fn new(changed: u64, changes: bool) -> Weight {
        Weight { changed, changes, ..Weight::default() }
    }

    /// It has a lock.
    pub fn lock(&mut self, index: IndexId, mode: Mode, kind: Kind, range: &Range) {
        if index.is_whole() {
            return;
        }
        self.tables.insert(index.table);
        if !kind.of_own_row() && kind != Kind::Passed {
            let shape = match kind {
                Kind::RecordOrGap => (true, false),
                // The lock on the end of the index is one on a record, and the gap below it.
                Kind::Gap if range.high.is_supremum() => (true, true),
                _ => (kind.records(), kind.gaps()),
            };
            self.structures.insert((index, mode, shape));
        }
    }

    /// With what the statement at hand has got before it waits for its request number `stop`.
    fn total(mut self, submission: &Submission, stop: usize) -> u64 {
        // If the index that finds the rows changes with them, all are found before the first is changed.
        let of = |own: bool| {
            let requests = submission.requests.iter().filter(move |r| r.kind.of_own_row() == own);
            requests.map(|request| request.index)
        };
        let found: FxHashSet<IndexId> = of(false).collect();
        let at_once = !of(true).any(|index| found.contains(&index));
        for request in &submission.requests[..stop] {
            let changed = self.changes && at_once && request.mode == Mode::X && request.range.is_entries();
            let row = request.index.index == 0 && !request.index.is_whole();
            self.changed += u64::from(row && (changed || request.kind.inserts()));
            self.lock(request.index, request.mode, request.kind, &request.range);
        }
        if let Some(request) = submission.requests.get(stop) {
            self.tables.insert(request.index.table);
            // It may have got a part of a range.
            if !request.range.is_entries() && !request.kind.inserts() {
                self.lock(request.index, request.mode, request.kind, &request.range);
            }
        }
        self.changed + (self.tables.len() + self.structures.len()) as u64
    }
}

impl Scheduler {
    /// The same circle as another of its members sees it, if that one is expected to be the victim of a statement
    /// that is sent and closes it.
    pub(super) fn loser(&self, closer: &Submission, judged: &Judged, now: u64) -> Option<Report> {
        if judged.kind != ConflictKind::Deadlock || !judged.closed {
            return None;
        }
        let mut least = weigh(closer, judged)?;
        let mut loser = None;
        for member in judged.stalled.iter().filter(|member| **member != closer.txn) {
            let lighter = self.server_queue.look(*member, |waiting| self.lighter(waiting, least, now));
            if let Some((weight, report)) = lighter {
                (least, loser) = (weight, Some(report));
            }
        }
        loser
    }

    /// The circle as a statement sees it that waits, if its transaction weighs less.
    fn lighter(&self, waiting: &Waiting, than: u64, now: u64) -> Option<(u64, Report)> {
        let Waiting { submission, refs } = waiting;
        let mut met = self.locks.again(submission.txn, &submission.requests, refs, submission.overtakes, now);
        met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
        if met.conflicts.is_empty() {
            return None;
        }
        let judged = judge::judge(submission, met.conflicts, &[], None, &self.graph);
        let weight = weigh(submission, &judged).filter(|weight| *weight < than)?;
        let forward = Decision::Forward { refs: LockRefs::new(), waits: true };
        (judged.kind == ConflictKind::Deadlock).then(|| (weight, Report::new(submission, judged, &forward)))
    }
}

/// The weight of a transaction whose statement waits there; `None` if that is no place in an index.
fn weigh(submission: &Submission, judged: &Judged) -> Option<u64> {
    let stop = judged.conflicts[judged.worst].request;
    let request = submission.requests.get(stop)?;
    (!request.index.is_whole())
        .then(|| submission.weight.as_deref().cloned().unwrap_or_default().total(submission, stop))
}
