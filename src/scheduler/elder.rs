//! Nobody goes past a statement that is held for long.
//!
//! A held statement is not in the lock table, so one that comes later and agrees with what is held there goes
//! past it: without that, one hold would stop a whole table. But a row that is read all the time would never be
//! free for a change. So whoever is held for long becomes an *elder*: what would stand in its way waits behind it.

use std::sync::atomic::Ordering;

use super::Scheduler;
use super::conflict::{Judged, Submission};
use super::hold_queue::HoldQueue;
use super::judge;
use super::policy::Action;
use crate::id::Token;
use crate::lock::asking::Met;

impl Scheduler {
    /// A statement that would go past one that is held for long stays behind it.
    pub(super) fn behind_elder(
        &self,
        token: Token,
        asked: &Submission,
        met: &Met,
        queue: &HoldQueue,
        now: u64,
    ) -> Option<Judged> {
        let old = self.old(now).filter(|_| asked.action == Action::Reorder)?;
        let elder = queue.elder(token, asked, old)?;
        // Who is waited for goes first.
        if self.graph.chain(elder.txn, asked.txn).is_some() {
            return None;
        }
        // So does who has gone past it already: for one that is held that stands in no graph.
        if self.locks.is_in_way(asked.txn, elder.txn, elder.requests, now) {
            return None;
        }
        let conflicts = met.conflicts.iter().cloned().chain([judge::behind(elder)]).collect();
        let judged = judge::judge(asked, conflicts, &met.behind, None, &self.graph);
        let full = queue.is_full(&self.limits.read(), &judged);
        (!full && !judged.closed && !judged.hold_would_cycle).then_some(judged)
    }

    /// Since when one must be held not to be overtaken; `None`: nobody is.
    pub(super) fn old(&self, now: u64) -> Option<u64> {
        if self.contenders.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let old = now.checked_sub(self.limits.read().max_overtaking_ms)?;
        self.oldest.is_before(old).then_some(old)
    }
}
