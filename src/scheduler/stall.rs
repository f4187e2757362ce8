//! Holds whose holder waits at the server for the held session, and nothing here shows that.
//!
//! What a statement locks that is not analysed nobody knows: not that of a trigger in a schema without grants, not what
//! was sent through another proxy. If the holder waits for such a lock, the hold would last until its deadline, where
//! InnoDB alone had found the deadlock at once, or none. The server knows who waits there for whom.

use rustc_hash::FxHashSet;

use super::Scheduler;
use super::conflict::{HoldEnd, Woken};
use super::hold_queue::Hold;
use crate::id::{Token, TxnId};

impl Scheduler {
    /// Whom statements are held behind since `moment` (milliseconds) or longer.
    pub fn held_behind(&self, moment: u64) -> Vec<TxnId> {
        if !self.oldest.is_before(moment) {
            return Vec::new();
        }
        let mut behind = self.queue.lock().blockers(|hold| hold.since <= moment);
        behind.sort_unstable();
        behind.dedup();
        behind
    }

    /// The server says who waits there for whom, the waiter first: holds of those end for whom their holders wait, be it
    /// by way of others.
    pub fn free_stalled(&self, at_server: &[(TxnId, TxnId)], now: u64) -> Vec<Woken> {
        let mut woken = Vec::new();
        if at_server.is_empty() {
            return woken;
        }
        let mut queue = self.queue.lock();
        let first = |tokens: Vec<Token>| tokens.first().copied();
        while let Some(token) = first(queue.tokens(|hold| self.waits_for_itself(hold, at_server))) {
            self.send_on(token, HoldEnd::HolderStalled, &mut queue, &mut woken, now);
        }
        woken
    }

    /// Does a way lead back from those that it is held behind?
    fn waits_for_itself(&self, hold: &Hold, at_server: &[(TxnId, TxnId)]) -> bool {
        let (mut next, mut seen) = (hold.blockers.clone(), FxHashSet::default());
        while let Some(txn) = next.pop() {
            if txn == hold.submission.txn {
                return true;
            }
            if seen.insert(txn) {
                next.extend(self.graph.edges_of(txn).iter().map(|edge| edge.to));
                next.extend(at_server.iter().filter(|(waiter, _)| *waiter == txn).map(|(_, owner)| *owner));
            }
        }
        false
    }
}
