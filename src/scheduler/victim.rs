//! Whom the server is expected to choose when a circle closes.
//!
//! InnoDB rolls back the transaction of least weight: its records in the undo log, that is the rows that it has
//! changed, and its lock structures; of equals the one that closed the circle (MySQL:
//! `lock_wait_choose_victim`, MariaDB: `Deadlock::report`, both by `TRX_WEIGHT`). One structure stands for all
//! locks of a mode on a page; pages are not known here, so one is counted for an index. New entries have none
//! until somebody waits for them.
//! Waits for metadata are judged by another rule: there whoever closes the circle is named.

use rustc_hash::FxHashSet;

use super::conflict::{ConflictKind, Decision, Report, Submission, Taken};
use super::{Scheduler, judge};
use crate::id::{IndexId, TableId, TxnId};
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, REJECTED};
use crate::lock::table::LockRefs;

/// Of a circle with more members nobody is weighed: it takes a look at all that each has met.
const MAX_MEMBERS: usize = 64;

/// What a transaction would lose with a rollback.
#[derive(Clone, Default, Debug)]
pub struct Weight {
    changed: u64,
    tables: FxHashSet<TableId>,
    structures: FxHashSet<(IndexId, Mode, Shape)>,
}

/// Locks of different shape share no structure: (records, gaps).
type Shape = (bool, bool);

impl Weight {
    /// A transaction that has changed so many rows.
    pub fn new(changed: u64) -> Weight {
        Weight { changed, ..Weight::default() }
    }

    /// It has a lock.
    pub fn lock(&mut self, index: IndexId, mode: Mode, kind: Kind, range: &Range) {
        if index.is_whole() {
            return;
        }
        self.tables.insert(index.table);
        if !kind.of_own_row() && !matches!(kind, Kind::Passed | Kind::Ahead) {
            let shape = match kind {
                Kind::RecordOrGap => (true, false),
                // The lock on the end of the index is one on a record, and the gap below it.
                Kind::Gap if range.high.is_supremum() => (true, true),
                _ => (kind.records(), kind.gaps()),
            };
            self.structures.insert((index, mode, shape));
        }
    }

    /// With what a statement has got before it waits for its request number `stop`.
    fn with(mut self, submission: &Submission, stop: usize) -> Weight {
        // If the index that finds the rows changes with them, all are found before the first is changed.
        let of = |own: bool| {
            let requests = submission.requests.iter().filter(move |r| r.kind.of_own_row() == own);
            requests.map(|request| request.index)
        };
        let found: FxHashSet<IndexId> = of(false).collect();
        let at_once = !of(true).any(|index| found.contains(&index));
        for request in &submission.requests[..stop] {
            let matches = request.rule != REJECTED;
            let changed = submission.changes
                && at_once
                && matches
                && request.mode == Mode::X
                && request.range.is_entries();
            let row = request.index.index == 0 && !request.index.is_whole();
            // What is taken out again is in the undo log no more.
            let new = matches!(request.kind, Kind::Insert { .. });
            self.changed += u64::from(row && (changed || new));
            self.lock(request.index, request.mode, request.kind, &request.range);
        }
        if let Some(request) = submission.requests.get(stop) {
            self.tables.insert(request.index.table);
            // It may have got a part of a range.
            if !request.range.is_entries() && !request.kind.inserts() {
                self.lock(request.index, request.mode, request.kind, &request.range);
            }
        }
        self
    }

    fn total(&self) -> u64 {
        self.changed + (self.tables.len() + self.structures.len()) as u64
    }
}

/// A member of a circle.
struct Seen {
    weight: Weight,
    /// The circle as it sees it.
    report: Report,
    /// Whose new entries it waits for, and where.
    meets_new: Vec<(TxnId, IndexId)>,
}

impl Scheduler {
    /// The circle that a statement closes that was passed on, as the member sees it that the server is expected to
    /// choose; `None`: it is that statement's own transaction. `weigh`: what a transaction had before its statement
    /// at hand.
    pub fn loser(&self, closing: &Report, weigh: &dyn Fn(TxnId) -> Weight, now: u64) -> Option<Report> {
        if closing.kind != ConflictKind::Deadlock || closing.taken != Taken::Flagged || !closing.closed {
            return None;
        }
        if closing.cycle.len() > MAX_MEMBERS {
            return None;
        }
        let own = self.seen_by(closing.requester, weigh, now)?;
        let mut members: Vec<TxnId> = closing.cycle.iter().copied().collect();
        // The younger first: of equals it is chosen.
        members.sort_unstable_by(|a, b| b.cmp(a));
        let others = members.iter().filter_map(|member| self.seen_by(*member, weigh, now));
        let mut seen: Vec<Seen> = std::iter::once(own).chain(others).collect();
        // Who is waited for has a structure for what it had put without one.
        let made: Vec<(TxnId, IndexId)> = seen.iter().flat_map(|seen| seen.meets_new.clone()).collect();
        for one in &mut seen {
            for (_, index) in made.iter().filter(|(holder, _)| *holder == one.report.requester) {
                one.weight.structures.insert((*index, Mode::X, (true, false)));
            }
        }
        let mut seen = seen.into_iter();
        let mut least = seen.next()?.weight.total();
        let mut loser = None;
        for one in seen {
            let weight = one.weight.total();
            if weight < least {
                (least, loser) = (weight, Some(one.report));
            }
        }
        loser
    }

    /// What the statement of `txn` waits for when `gone`, whom the server has chosen, is rolled back. Where the circle
    /// closes later, when somebody gets on, it is not yet.
    pub fn left_without(&self, gone: TxnId, txn: TxnId, now: u64) -> Option<Report> {
        let later = self.graph.chain(gone, txn).is_some_and(|chain| self.graph.is_later(&chain));
        self.server_queue.look(txn, |waiting| {
            let mut met = self.locks.again(waiting.waiter(), now);
            met.conflicts.retain(|c| {
                let stays = later || c.holder != gone;
                c.certainty > Certainty::Unknown && stays && c.relation == Relation::Wait
            });
            if met.conflicts.is_empty() {
                return None;
            }
            let mut judged = judge::judge(&waiting.submission, met.conflicts, &[], None, &self.graph);
            judged.kind = ConflictKind::Wait;
            let forward = Decision::Forward { refs: LockRefs::new(), waits: true };
            Some(Report::new(&waiting.submission, judged, &forward))
        })
    }

    /// A circle as a member sees it whose statement waits for a place in an index, and what that one weighs.
    fn seen_by(&self, member: TxnId, weigh: &dyn Fn(TxnId) -> Weight, now: u64) -> Option<Seen> {
        let before = weigh(member);
        self.server_queue.look(member, |waiting| {
            let submission = &waiting.submission;
            let mut met = self.locks.again(waiting.waiter(), now);
            met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
            if met.conflicts.is_empty() {
                return None;
            }
            let new = |c: &Conflict| {
                let index = submission.requests.get(c.request)?.index;
                (c.implicit && c.relation == Relation::Wait).then_some((c.holder, index))
            };
            let meets_new = met.conflicts.iter().filter_map(new).collect();
            let judged = judge::judge(submission, met.conflicts, &[], None, &self.graph);
            let stop = judged.conflicts[judged.worst].request;
            let row = submission.requests.get(stop).is_some_and(|request| !request.index.is_whole());
            let forward = Decision::Forward { refs: LockRefs::new(), waits: true };
            (row && judged.kind == ConflictKind::Deadlock).then(|| Seen {
                weight: before.with(submission, stop),
                report: Report::new(submission, judged, &forward),
                meets_new,
            })
        })
    }
}
