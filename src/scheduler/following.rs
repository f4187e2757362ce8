//! Those who wait at the server get further: their way is followed from one lock to the next.
//!
//! When a transaction ends, all who wait for it get on at the same time, each to the next lock that it has not asked
//! for yet; there may stand another of them. And when the server lets another one on than the one that was thought to
//! be next, it is the server that is right.

use super::conflict::{Decision, Report, Submission};
use super::server_queue::Waiting;
use super::{Scheduler, judge};
use crate::id::TxnId;
use crate::lock::index::Conflict;
use crate::lock::mode::Certainty;
use crate::lock::table::{LockRef, LockRefs};

/// Most locks that those who wait for one transaction get in turns; what is left each gets at once.
const MAX_TURNS: usize = 64;

/// So many of those who wait for one transaction are followed when it ends. Each is looked at together with all that
/// is asked for at the same place: of a herd the rest waits on behind the first of these, until its turn comes.
const MAX_FOLLOWED: usize = 8;

impl Scheduler {
    /// A transaction has gone that statements wait for at the server: they get further, and wait for others.
    pub(super) fn move_on(&self, gone: TxnId, order: &[TxnId], now: u64) {
        let mut behind = self.server_queue.behind(gone, &self.graph, order, |_| true);
        let rest = behind.split_off(behind.len().min(MAX_FOLLOWED));
        self.follow(&behind, now);
        for txn in rest {
            // Who asks for the same waits for the first of those who do.
            match behind.iter().find(|first| self.server_queue.asks_for_the_same(**first, txn)) {
                Some(first) => self.graph.waits_instead(txn, gone, *first),
                None => {
                    self.follow(&[txn], now);
                    behind.push(txn);
                }
            }
        }
    }

    /// Locks of a transaction that goes on are less than they might have been, which may have `let_on` statements that
    /// wait at the server. The rest of a herd still waits for it.
    pub(super) fn get_further(
        &self,
        txn: TxnId,
        order: &[TxnId],
        let_on: impl Fn(&Submission) -> bool,
        now: u64,
    ) {
        let mut behind = self.server_queue.behind(txn, &self.graph, order, |_| true);
        if behind.len() > MAX_FOLLOWED {
            behind = self.server_queue.behind(txn, &self.graph, order, let_on);
            behind.truncate(MAX_FOLLOWED);
        }
        self.follow(&behind, now);
    }

    /// Looks again at statements that wait at the server.
    fn follow(&self, waiters: &[TxnId], now: u64) {
        self.step_by_step(waiters, now);
        let moved: Vec<(TxnId, Vec<Conflict>)> =
            waiters.iter().filter_map(|txn| Some((*txn, self.waits_for_now(*txn, now)?))).collect();
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
        self.foreseen.put(found);
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
            let queued = self.server_queue.look(txn, |waiting| {
                self.locks.set_back(&waiting.refs);
                Some(())
            });
            if queued.is_some() {
                self.waits_for_now(txn, now);
            } else {
                // It was sent when nothing was in its way.
                self.graph.set(txn, judge::edge_to(first, false));
            }
        }
    }

    /// What a statement that waits at the server waits for as things are now. `None`: it does not.
    fn waits_for_now(&self, txn: TxnId, now: u64) -> Option<Vec<Conflict>> {
        self.server_queue.look(txn, |waiting| {
            let mut met = self.locks.again(waiting.waiter(), now);
            met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
            self.graph.set(txn, judge::edges(&met.conflicts, false));
            Some(met.conflicts)
        })
    }

    /// Looks at the first statements that wait for `txn`, oldest first.
    pub(super) fn each_behind(&self, txn: TxnId, mut look: impl FnMut(&Waiting)) {
        for waiter in self.server_queue.behind(txn, &self.graph, &[], |_| true).into_iter().take(MAX_FOLLOWED)
        {
            self.server_queue.look(waiter, |waiting| {
                look(waiting);
                Some(())
            });
        }
    }
}
