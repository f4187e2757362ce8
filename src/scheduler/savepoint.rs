//! ROLLBACK TO SAVEPOINT: a transaction goes on, without what it has done since.

use super::Scheduler;
use super::conflict::Woken;
use crate::id::TxnId;
use crate::lock::table::{LockRef, LockRefs};

impl Scheduler {
    /// A moment that a transaction may go back to.
    pub fn moment(&self) -> u64 {
        self.locks.moment()
    }

    // ## Transaction => the same, at an earlier point

    /// A transaction was rolled back to a moment; `refs` are its locks, `gap_stays`: see
    /// [`IndexLocks::undo`](crate::lock::index::IndexLocks::undo). Returned: those that stay, and the statements
    /// that may go on.
    pub fn rolled_back_to(
        &self,
        txn: TxnId,
        refs: &[LockRef],
        moment: u64,
        gap_stays: bool,
        now: u64,
    ) -> (LockRefs, Vec<Woken>) {
        let undone: Vec<LockRef> = refs.iter().filter(|lock| lock.is_since(moment)).copied().collect();
        let order = self.release_order(txn, &undone, false);
        let kept = self.locks.undo(refs, moment, gap_stays);
        self.get_further(txn, &order, |_| true, now);
        (kept, self.wake(now, |queue| queue.behind(txn)))
    }
}
