//! What the end of a transaction, or of the whole session, gives back.

use std::sync::atomic::Ordering;

use super::{Analyzer, Pending, Waiting};
use crate::txn::effect::Ending;

/// A transaction's list of locks that is longer than this is not kept for the next one.
const KEPT_CAPACITY: usize = 32;

impl Analyzer {
    /// If a COMMIT or ROLLBACK has just been sent: who is held behind the transaction goes on.
    pub(super) fn leave(&mut self) {
        let Some(ending) = self.leaves.take() else { return };
        if let Some(txn) = self.txn {
            self.shared.admission.ending(txn, &self.held, ending == Ending::Committed);
            self.held.clear();
        }
    }

    /// The transaction is over: what it holds is given back.
    pub(super) fn end_transaction(&mut self, ending: Ending) {
        self.leaves = None;
        self.touched = None;
        self.savepoints.clear();
        self.entry.changed.store(0, Ordering::Relaxed);
        self.unfollowed = false;
        if self.txn.is_some() {
            self.shared.admission.learn_order(&self.entry);
        }
        self.close_searches();
        let stays = !self.owned.is_empty();
        if self.txn.is_some() || std::mem::take(&mut self.names_tables) {
            let (txn, locks) = self.entry.uses.end(stays);
            self.txn = self.txn.or(txn);
            self.held.extend(locks);
        }
        let committed = ending != Ending::RolledBack;
        match self.txn {
            Some(txn) if stays => self.shared.admission.emptied(txn, &self.held, committed),
            Some(txn) => self.shared.admission.ended(txn, &self.held, committed),
            None => {}
        }
        self.txn = self.txn.filter(|_| stays);
        self.names_tables = false;
        self.held.clear();
        if self.held.capacity() > KEPT_CAPACITY {
            self.held = Vec::new();
        }
    }

    /// Nothing of the transaction is narrowed any more: all of its locks are in `held`.
    pub(super) fn close_searches(&mut self) {
        for search in self.searches.drain(..) {
            self.held.extend(search.close());
        }
    }

    /// The XA transactions that this session has prepared are over. Which of them is not told: all go, and
    /// what then waits, waits at the server.
    pub(super) fn end_prepared(&mut self, ending: Ending) {
        self.xa_locks = 0;
        for (txn, held) in std::mem::take(&mut self.xa_prepared) {
            self.shared.admission.ended(txn, &held, ending != Ending::RolledBack);
        }
    }
}

impl Drop for Analyzer {
    fn drop(&mut self) {
        self.retry_dropped();
        // A hold leaves its queue first: it must not be let on any more.
        if let Some(Waiting::Guard(guarded)) = self.waiting.take() {
            self.txn = self.txn.or(Some(guarded.locking.txn));
            self.held.extend(guarded.locking.into_refs());
        }
        for pending in std::mem::take(&mut self.pending) {
            if let Pending::Statement { locking: Some(locking), .. } = pending {
                self.txn = self.txn.or(Some(locking.txn));
                self.held.extend(locking.into_refs());
            }
        }
        self.held.extend(self.owned.take());
        self.end_transaction(Ending::RolledBack);
        self.end_prepared(Ending::Unknown);
        self.shared.admission.registry.close(self.entry.id);
    }
}
