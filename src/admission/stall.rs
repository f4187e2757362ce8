//! Who is to be asked after at the server because somebody is held behind him for long, and what the answer ends.

use std::time::Duration;

use super::Admission;
use crate::id::TxnId;

/// A hold that lasts longer is looked into: most end with a COMMIT in a few milliseconds.
const LONG: Duration = Duration::from_millis(100);

/// Most sessions that are asked after at a time.
const MAX_ASKED: usize = 16;

impl Admission {
    /// The server's connection ids of sessions with a statement under way, behind whom others are held for long.
    pub fn held_behind(&self) -> Vec<u32> {
        let moment = self.now().saturating_sub(LONG.as_millis() as u64);
        let behind = self.scheduler.held_behind(moment).into_iter();
        let sessions = behind.filter_map(|txn| self.registry.session_of(txn));
        sessions.filter(|entry| entry.is_busy()).map(|entry| entry.server_thread).take(MAX_ASKED).collect()
    }

    /// The server says which of its threads wait for which, the waiter first: see
    /// [`Scheduler::free_stalled`](crate::scheduler::Scheduler::free_stalled). False: nobody was held for that.
    pub fn free_stalled(&self, threads: &[(u32, u32)]) -> bool {
        let txn = |thread: u32| self.registry.by_thread(thread)?.transaction();
        let known = |&(waiter, owner): &(u32, u32)| Some((txn(waiter)?, txn(owner)?));
        let waits: Vec<(TxnId, TxnId)> = threads.iter().filter_map(known).collect();
        let woken = self.scheduler.free_stalled(&waits, self.now());
        let any = !woken.is_empty();
        self.deliver(woken);
        any
    }
}
