//! All that the page shows at one time, bounded: what is of interest first.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::View;
use super::rows::{Hold, Lock, Status, Transaction, Wait};
use crate::admission::groups::Tally;

/// Transactions that the page draws.
const TRANSACTIONS: usize = 60;
/// Their locks.
const LOCKS: usize = 400;
/// Waits and holds.
const WAITS: usize = 200;
/// Groups of conflicts: the most frequent ones, and the newest of the others.
const GROUPS: (usize, usize) = (40, 20);

/// The data of an event `state`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Snapshot {
    /// Figures.
    pub status: Status,
    /// Open transactions: those that wait or are waited for first, then the oldest.
    pub transactions: Vec<Transaction>,
    /// Open transactions that are not listed.
    pub more_transactions: u64,
    /// Locks of the listed transactions.
    pub locks: Vec<Lock>,
    /// Who waits for whom.
    pub waits: Vec<Wait>,
    /// Statements held now.
    pub holds: Vec<Hold>,
    /// Conflicts by their kind, the most frequent first, and the newest of the others among them.
    pub groups: Vec<Tally>,
    /// Groups that are not listed.
    pub more_groups: u64,
}

impl View {
    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        let mut transactions = self.transactions();
        // Stable: among equals, the oldest stays first.
        transactions.sort_by_key(|t| !(t.blocks > 0 || t.state == "held" || t.state == "waiting"));
        let more = transactions.len().saturating_sub(TRANSACTIONS);
        transactions.truncate(TRANSACTIONS);
        let shown: HashSet<u64> = transactions.iter().filter_map(|t| t.transaction).collect();
        let locks = self.locks_where(LOCKS, |held| shown.contains(&held.txn.0));
        let (mut waits, mut holds) = (self.waits(), self.holds());
        waits.retain(|wait| shown.contains(&wait.waiter) && shown.contains(&wait.holder));
        waits.truncate(WAITS);
        holds.truncate(WAITS);
        let (groups, all) = self.admission.ledger.tallies(GROUPS.0, GROUPS.1);
        let more_groups = (all - groups.len()) as u64;
        Snapshot {
            status: self.status(),
            transactions,
            more_transactions: more as u64,
            locks,
            waits,
            holds,
            groups,
            more_groups,
        }
    }
}
