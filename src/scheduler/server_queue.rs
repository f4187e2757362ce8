//! The statements that were passed on and are expected to wait at the server.
//!
//! When what they wait for has gone they get further: the locks that they come to then may be held by
//! others, and the wait-for graph has to know before the next statement is judged. Most of the time the
//! queue is empty, which one atomic read tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::conflict::{Known, Submission};
use crate::id::TxnId;
use crate::lock::progress::Waiter;
use crate::lock::request::Exact;
use crate::lock::table::LockRefs;
use crate::lock::wait_for::WaitFor;

/// So many of those who wait for one transaction are followed when it ends. Each is looked at together with all that
/// is asked for at the same place: of a herd the rest is as it was, until its turn comes.
const MAX_FOLLOWED: usize = 16;

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

    /// The transaction's statement was answered, or the transaction is over.
    pub(super) fn leave(&self, txn: TxnId) {
        if self.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut queue = self.waiting.lock();
        if let Some(place) = queue.of.remove(&txn) {
            queue.places.remove(&place);
            self.length.store(queue.places.len(), Ordering::SeqCst);
        }
    }

    /// Looks at the transaction's statement, if it waits; it does not leave meanwhile, so its locks are its own.
    pub(super) fn look<T>(&self, txn: TxnId, look: impl FnOnce(&Waiting) -> Option<T>) -> Option<T> {
        let queue = self.waiting.lock();
        look(queue.places.get(queue.of.get(&txn)?)?)
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::SeqCst) == 0
    }

    /// Looks at the statements that wait for `txn`, oldest first, at most [`MAX_FOLLOWED`].
    pub(super) fn each_behind(&self, txn: TxnId, graph: &WaitFor, look: impl FnMut(&Waiting)) {
        self.each_in_order(txn, graph, &[], look);
    }

    /// The same in this order; who is not in it comes last.
    pub(super) fn each_in_order(
        &self,
        txn: TxnId,
        graph: &WaitFor,
        order: &[TxnId],
        mut look: impl FnMut(&Waiting),
    ) {
        if self.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let queue = self.waiting.lock();
        let behind = |waiting: &&Waiting| graph.waits_for(waiting.submission.txn, txn);
        let mut found: Vec<&Waiting> = queue.places.values().filter(behind).collect();
        if !order.is_empty() {
            let places: FxHashMap<TxnId, usize> = order.iter().copied().zip(0..).collect();
            let place = |waiting: &&Waiting| places.get(&waiting.submission.txn).copied();
            found.sort_by_key(|waiting| place(waiting).unwrap_or(usize::MAX));
        }
        found.into_iter().take(MAX_FOLLOWED).for_each(&mut look);
    }
}
