//! The statements that were passed on and are expected to wait at the server.
//!
//! When what they wait for has gone they get further: the locks that they come to then may be held by
//! others, and the wait-for graph has to know before the next statement is judged. Most of the time the
//! queue is empty, which one atomic read tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::conflict::{Known, Submission, excludes};
use crate::id::TxnId;
use crate::lock::progress::Waiter;
use crate::lock::request::Exact;
use crate::lock::table::LockRefs;
use crate::lock::wait_for::WaitFor;

/// A statement that waits at the server.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What it asks for.
    pub(super) submission: Submission,
    /// Where that is noted.
    pub(super) refs: LockRefs,
}

impl Waiting {
    /// As the lock table knows it.
    pub(super) fn waiter(&self) -> Waiter<'_> {
        let Submission { txn, requests, overtakes, leaves_out, .. } = &self.submission;
        let (overtakes, leaves_out) = (*overtakes, *leaves_out);
        Waiter { txn: *txn, requests, refs: &self.refs, overtakes, leaves_out }
    }
}

/// The statements that wait at the server, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct ServerQueue {
    waiting: Mutex<Queue>,
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    places: BTreeMap<u64, Waiting>,
    of: std::collections::HashMap<TxnId, u64>,
}

impl ServerQueue {
    /// A statement begins to wait.
    pub(super) fn enter(&self, submission: &Submission, refs: &LockRefs) {
        let mut queue = self.waiting.lock();
        let place = queue.next;
        queue.next += 1;
        if let Some(old) = queue.of.insert(submission.txn, place) {
            queue.places.remove(&old);
        }
        queue.places.insert(place, Waiting { submission: submission.clone(), refs: refs.clone() });
        self.length.store(queue.places.len(), Ordering::SeqCst);
    }

    /// What a statement that waits asks for turns out to be this; `then` runs before it can leave. Nothing is done
    /// if it does not wait.
    pub(super) fn renew(&self, txn: TxnId, exact: Exact<'_>, refs: &LockRefs, then: impl FnOnce()) {
        let mut queue = self.waiting.lock();
        let Some(place) = queue.of.get(&txn).copied() else { return };
        let Some(waiting) = queue.places.get_mut(&place) else { return };
        waiting.submission.requests = exact.requests.to_vec();
        waiting.submission.known = Known { reaches: exact.reaches.to_vec(), ..Known::default() };
        waiting.refs = refs.clone();
        then();
    }

    /// The transaction's statement was answered, or the transaction is over. False: it did not wait.
    pub(super) fn leave(&self, txn: TxnId) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut queue = self.waiting.lock();
        let Some(place) = queue.of.remove(&txn) else { return false };
        queue.places.remove(&place);
        self.length.store(queue.places.len(), Ordering::SeqCst);
        true
    }

    /// Looks at the transaction's statement, if it waits; it does not leave meanwhile, so its locks are its own.
    pub(super) fn look<T>(&self, txn: TxnId, look: impl FnOnce(&Waiting) -> Option<T>) -> Option<T> {
        let queue = self.waiting.lock();
        look(queue.places.get(queue.of.get(&txn)?)?)
    }

    /// Does one who waits ask for something that another who waits excludes him from?
    pub(super) fn asks_for_the_same(&self, one: TxnId, other: TxnId) -> bool {
        let queue = self.waiting.lock();
        let of = |txn: TxnId| queue.places.get(queue.of.get(&txn)?).map(|w| &w.submission.requests);
        let (Some(one), Some(other)) = (of(one), of(other)) else { return false };
        one.iter().any(|ours| other.iter().any(|theirs| excludes(ours, theirs)))
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::SeqCst) == 0
    }

    /// Those who wait for `txn` and are `concerned`: in this order, who is not in it last, oldest first.
    pub(super) fn behind(
        &self,
        txn: TxnId,
        graph: &WaitFor,
        order: &[TxnId],
        concerned: impl Fn(&Submission) -> bool,
    ) -> Vec<TxnId> {
        if self.is_empty() || !graph.is_waited_for(txn) {
            return Vec::new();
        }
        let queue = self.waiting.lock();
        let waiting = queue.places.values().map(|waiting| &waiting.submission);
        let behind = waiting.filter(|waits| graph.waits_for(waits.txn, txn) && concerned(waits));
        let mut behind: Vec<TxnId> = behind.map(|waits| waits.txn).collect();
        if !order.is_empty() {
            let places: FxHashMap<TxnId, usize> = order.iter().copied().zip(0..).collect();
            behind.sort_by_key(|waiter| places.get(waiter).copied().unwrap_or(usize::MAX));
        }
        behind
    }
}
