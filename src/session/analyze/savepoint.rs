//! Savepoints: which of the locks were taken behind one, and what ROLLBACK TO leaves of them.
//!
//! What a search has locked stays locked. A row that is taken out again leaves, on MySQL at REPEATABLE READ, an
//! X gap lock in each of its indexes; on MariaDB, and at READ COMMITTED, nothing. (Observed on MySQL 9.7 and
//! MariaDB 10.11; a transaction that first used a table behind the savepoint loses everything: see `touched`.)

use std::sync::atomic::Ordering;

use super::Analyzer;
use crate::catalog::Flavour;
use crate::sql::statement::Isolation;

/// The savepoints of the open transaction.
#[derive(Debug, Default)]
pub(super) struct Savepoints(Vec<Set>);

/// When a savepoint was set.
#[derive(Clone, Copy, Debug)]
struct Set {
    marker: u32,
    /// Among the statements that ask for locks.
    moment: u64,
    /// Rows that the transaction had changed.
    changed: u64,
}

impl Savepoints {
    /// The transaction is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Analyzer {
    /// SAVEPOINT was answered.
    pub(super) fn set_savepoint(&mut self) {
        let state = &self.state;
        // Those that are forgotten there are forgotten here.
        self.savepoints.0.retain(|set| state.savepoints().iter().any(|known| known.marker == set.marker));
        if let Some(newest) = state.savepoints().last() {
            let moment = self.shared.admission.scheduler().moment();
            let changed = self.entry.changed.load(Ordering::Relaxed);
            self.savepoints.0.push(Set { marker: newest.marker, moment, changed });
        }
    }

    /// ROLLBACK TO was answered.
    pub(super) fn back_to(&mut self, marker: u32) {
        let known = self.savepoints.0.iter().find(|set| set.marker == marker);
        let (Some(&Set { moment, changed, .. }), Some(txn)) = (known, self.txn) else { return };
        self.entry.changed.store(changed, Ordering::Relaxed);
        let gap_stays = self.flavour == Flavour::MySql && self.state.isolation() >= Isolation::RepeatableRead;
        let admission = &self.shared.admission;
        let kept = admission.rolled_back_to(txn, &self.held, moment, gap_stays);
        self.held.clear();
        self.held.extend(kept);
        self.searches.iter().for_each(|search| search.undo(moment, gap_stays));
    }
}
