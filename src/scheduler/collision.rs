//! What the end of a transaction sets off among those who wait for it.
//!
//! They get further, all at the same time, each from one lock to the next that it has not asked for yet; there may
//! stand another of them.
//!
//! After a ROLLBACK inserts of one key that wait for it run into each other: whoever inserts a key that another
//! transaction has put and not committed asks for the record there, to see whether it is a duplicate. If that
//! record is taken out again, each of those who wait keeps a lock on the gap where it stood, and then inserts
//! into it: with two of them, each waits for the other's gap. (MySQL 9.7 and MariaDB 10.11, primary and unique
//! keys, at every isolation level; moved entries as new ones.)
//!
//! After a COMMIT the same happens to inserts of a key that the transaction has deleted: all get the shared lock of
//! their duplicate check on the record that is marked as deleted, and then each asks for more. On MariaDB one alone
//! meets a search that waits there exclusively behind it: it does not overtake that.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::conflict::{ConflictKind, Decision, Report, Submission, Taken};
use super::server_queue::Waiting;
use super::{Scheduler, judge};
use crate::id::TxnId;
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::request::Kind;
use crate::lock::table::{LockRef, LockRefs};

/// Most locks that those who wait for one transaction get in turns; what is left each gets at once.
const MAX_TURNS: usize = 64;

/// So many of those who wait for one transaction are followed when it ends. Each is looked at together with all that
/// is asked for at the same place: of a herd the rest waits on behind the first of these, until its turn comes.
const MAX_FOLLOWED: usize = 8;

/// Deadlocks that close when a transaction ends, until somebody writes them down.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    reports: Mutex<Vec<Report>>,
    any: AtomicBool,
}

impl Scheduler {
    /// The deadlocks that have been foreseen among statements that wait already, each once.
    pub fn foreseen(&self) -> Vec<Report> {
        // Mostly there are none, and whoever comes late finds them the next time.
        if !self.foreseen.any.load(Ordering::Relaxed) || !self.foreseen.any.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.foreseen.reports.lock())
    }

    /// A transaction has gone that statements wait for at the server.
    pub(super) fn all_move_on(&self, gone: TxnId, order: &[TxnId], now: u64) {
        let behind = self.server_queue.behind(gone, &self.graph, order, |_| true);
        self.move_on(gone, behind, now);
    }

    /// Locks of a transaction have turned out to be less than they might have been. Of a herd only those are looked at
    /// that this can have let on.
    pub(super) fn some_move_on(&self, txn: TxnId, let_on: impl Fn(&Submission) -> bool, now: u64) {
        let mut behind = self.server_queue.behind(txn, &self.graph, &[], |_| true);
        if behind.len() > MAX_FOLLOWED {
            behind = self.server_queue.behind(txn, &self.graph, &[], let_on);
        }
        self.move_on(txn, behind, now);
    }

    /// Something has gone that these wait for at the server: they get further, and wait for others.
    pub(super) fn move_on(&self, gone: TxnId, mut behind: Vec<TxnId>, now: u64) {
        let rest = behind.split_off(behind.len().min(MAX_FOLLOWED));
        self.step_by_step(&behind, now);
        let mut moved: Vec<(TxnId, Vec<Conflict>)> = Vec::new();
        let mut follow = |txn| {
            self.server_queue.look(txn, |waiting| {
                let mut met = self.locks.again(waiting.waiter(), now);
                met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
                self.graph.set(txn, judge::edges(&met.conflicts, false));
                moved.push((txn, met.conflicts));
                Some(())
            });
        };
        behind.iter().copied().for_each(&mut follow);
        for txn in rest {
            // Who asks for the same waits for the first of those who do.
            let first = behind.iter().find(|first| self.server_queue.asks_for_the_same(**first, txn));
            match first {
                Some(first) => self.graph.waits_instead(txn, gone, *first),
                None => {
                    follow(txn);
                    behind.push(txn);
                }
            }
        }
        // Only now: none of them waits as it did before.
        let mut found: Vec<Report> = Vec::new();
        for (me, conflicts) in moved {
            if judge::stalled(me, &conflicts, &self.graph).is_empty() {
                continue;
            }
            let report = self.server_queue.look(me, |waiting| {
                let judged = judge::judge(&waiting.submission, conflicts, &[], None, &self.graph);
                let forward = Decision::Forward { refs: LockRefs::new(), waits: true };
                Some(Report::new(&waiting.submission, judged, &forward))
            });
            if let Some(report) = report {
                // Of equals the server chooses the one that came last.
                found.retain(|earlier| !report.cycle.contains(&earlier.requester));
                found.push(report);
            }
        }
        if !found.is_empty() {
            self.foreseen.reports.lock().append(&mut found);
            self.foreseen.any.store(true, Ordering::SeqCst);
        }
    }

    /// In which order those who wait for a transaction are let on when it ends: the server gives its locks up from the
    /// newest structure to the oldest (`lock_release`), and one is made for what it has put or changed itself when
    /// somebody comes to wait for it. To be asked while it has them; rows that go with it are told to those who
    /// wait for them.
    pub(super) fn release_order(&self, txn: TxnId, refs: &[LockRef], commits: bool) -> Vec<TxnId> {
        let mut order = Vec::new();
        self.each_behind(txn, |waiting| {
            self.locks.lose_row(waiting.waiter(), refs, commits);
            let asked = waiting.submission.requests.iter().zip(&waiting.refs);
            let stopped = asked.filter(|(_, lock)| self.locks.waits_for(**lock)).map(|(request, _)| request);
            let made = stopped.map(|request| self.locks.made_at(refs, request)).next().flatten();
            order.push((made.unwrap_or((u64::MAX, usize::MAX)), waiting.submission.txn));
        });
        order.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        order.into_iter().map(|(_, txn)| txn).collect()
    }

    /// Those who wait for one that has gone get their next locks in turns, until each waits for another, or has all.
    fn step_by_step(&self, waiters: &[TxnId], now: u64) {
        // One alone takes all its steps at once.
        if waiters.len() < 2 {
            return;
        }
        let step = |txn: &&TxnId| {
            let stepped =
                self.server_queue.look(**txn, |waiting| Some(self.locks.step(waiting.waiter(), now)));
            stepped == Some(true)
        };
        for _ in 0..MAX_TURNS {
            if waiters.iter().filter(step).count() == 0 {
                return;
            }
        }
    }

    /// The server has let a transaction on before others that were thought to be first: they wait for it.
    pub(super) fn outrun(&self, first: TxnId, refs: &[LockRef], now: u64) {
        for txn in self.locks.outrun(refs) {
            let followed = self.server_queue.look(txn, |waiting| {
                self.locks.set_back(&waiting.refs);
                let mut met = self.locks.again(waiting.waiter(), now);
                met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
                self.graph.set(txn, judge::edges(&met.conflicts, false));
                Some(())
            });
            if followed.is_none() {
                // It was sent when nothing was in its way.
                self.graph.set(txn, judge::edge_to(first, false));
            }
        }
    }

    /// Looks at the first statements that wait for `txn`, oldest first.
    fn each_behind(&self, txn: TxnId, mut look: impl FnMut(&Waiting)) {
        for waiter in self.server_queue.behind(txn, &self.graph, &[], |_| true).into_iter().take(MAX_FOLLOWED)
        {
            self.server_queue.look(waiter, |waiting| {
                look(waiting);
                Some(())
            });
        }
    }

    /// The circles that close among those who wait for `txn`, if it is committed or rolled back now; `refs` are its
    /// locks.
    pub fn collisions(&self, txn: TxnId, refs: &[LockRef], commits: bool) -> Vec<Report> {
        let mut found = Vec::new();
        if self.server_queue.is_empty() {
            return found;
        }
        for lock in refs {
            let place = if commits { self.locks.gone_entry(*lock) } else { self.locks.new_entry(*lock) };
            let Some(place) = place else { continue };
            let mut first: Option<(TxnId, Option<Mode>)> = None;
            self.each_behind(txn, |waiting| {
                let submission = &waiting.submission;
                let checks = submission.requests.iter().position(|request| {
                    let same = request.range.covers(&place) || place.covers(&request.range);
                    request.index == lock.index && request.kind.check().is_some() && same
                });
                let searches = || {
                    let behind = commits && first.is_some_and(|(_, mode)| mode == Some(Mode::S));
                    let mut asked = submission.requests.iter();
                    asked.position(|request| {
                        let here = request.index == lock.index && request.range.intersects(&place);
                        let records = request.kind.records() && !request.kind.of_own_row();
                        behind && !submission.overtakes && here && records && request.mode == Mode::X
                    })
                };
                let (Some(at), requester) = (checks.or_else(searches), submission.txn) else { return };
                if !waiting.refs.get(at).is_some_and(|lock| self.locks.waits_for(*lock)) {
                    return;
                }
                let Some((holder, _)) = first else {
                    first = Some((requester, submission.requests[at].kind.check()));
                    return;
                };
                let request = submission.requests[at].clone();
                let conflict = Conflict {
                    holder,
                    request: at,
                    relation: Relation::Wait,
                    hazard: false,
                    expected: true,
                    certainty: Certainty::Likely,
                    mode: request.mode,
                    kind: Kind::Gap,
                    range: request.range.clone(),
                    gap: false,
                    implicit: false,
                    search: None,
                };
                found.push(Report {
                    session: submission.session,
                    requester,
                    holders: vec![holder],
                    kind: ConflictKind::Deadlock,
                    certainty: Certainty::Likely,
                    taken: Taken::Flagged,
                    would_hold: false,
                    request,
                    conflict,
                    unsure_of_gap: false,
                    signature: None,
                    cycle: HashSet::from([holder, requester]),
                    closed: true,
                    asks: None,
                });
            });
        }
        found
    }
}
