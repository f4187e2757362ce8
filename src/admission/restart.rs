//! Victims whose transaction is run again: whom they wait for, and what becomes of their record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Admission, Hold};
use crate::id::{SessionId, TxnId};
use crate::scheduler::conflict::{Known, Submission};
use crate::scheduler::policy::Action;
use crate::scheduler::signatures::Seen;

impl Admission {
    /// The other transactions in a circle with this one, as far as the graph knows.
    pub fn circle(&self, txn: TxnId) -> Vec<TxnId> {
        let mut circle = self.scheduler.graph().circle(txn);
        circle.retain(|other| *other != txn);
        circle
    }

    /// The open transactions of these connections of the server, but for a session's own.
    pub fn transactions_of(&self, threads: &[u32], own: SessionId) -> Vec<TxnId> {
        let entries = threads.iter().filter_map(|thread| self.registry.by_thread(*thread));
        entries.filter(|entry| entry.id != own).filter_map(|entry| entry.transaction()).collect()
    }

    /// A transaction without locks waits until another one has ended, at most until `deadline`. It is held like a
    /// statement: it can be seen, released and killed there. False: it was killed.
    pub async fn until_ended(
        self: &Arc<Self>,
        session: SessionId,
        txn: TxnId,
        other: TxnId,
        deadline: Instant,
    ) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() || self.registry.session_of(other).is_none() {
            return true;
        }
        match self.behind(session, txn, other, patience) {
            Some(hold) => !matches!(hold.await, super::Admitted::Killed),
            None => true,
        }
    }

    fn behind(
        self: &Arc<Self>,
        session: SessionId,
        txn: TxnId,
        other: TxnId,
        patience: Duration,
    ) -> Option<Hold> {
        let token = self.scheduler.token();
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(token, sender);
        let submission = Submission {
            session,
            txn,
            seen: Seen::default(),
            action: Action::Reorder,
            requests: Vec::new(),
            known: Known::default(),
            patience_ms: patience.as_millis() as u64,
            overtakes: false,
            leaves_out: false,
            changes: false,
            keeps: true,
        };
        if !self.scheduler.wait_for(token, submission, other, self.now()) {
            self.waiting.remove(&token);
            return None;
        }
        self.metrics.held.inc();
        let hold = Hold::new(self.clone(), session, (txn, token), receiver, patience, 0);
        // One that ended before it was queued for has woken nobody. It leaves the registry first, so either it is
        // missing there now, or it finds this one in the queue.
        if self.registry.session_of(other).is_none() {
            self.release(token);
        }
        Some(hold)
    }
}
