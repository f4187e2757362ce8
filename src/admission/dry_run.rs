//! What `reorder` would have cost, while the action is `flag`.
//!
//! A statement that `reorder` would have held is passed on, and from then on followed: the hold would have lasted
//! until every transaction in its way had ended, or to its deadline.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::id::TxnId;

/// Statements that are followed at one time; of more, the time is not known.
const MAX_FOLLOWED: usize = 10_000;

/// The statements that would be held now.
#[derive(Debug, Default)]
pub(super) struct DryRun {
    /// How many: most transactions end with no need to look.
    open: AtomicUsize,
    followed: Mutex<Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    /// By the conflict's number in the ledger.
    statements: HashMap<u64, Statement>,
    behind: HashMap<TxnId, Vec<u64>>,
}

#[derive(Debug)]
struct Statement {
    since: Instant,
    patience: Duration,
    in_the_way: HashSet<TxnId>,
}

impl DryRun {
    /// A statement is passed on that would be held behind these, for `patience` at most.
    pub(super) fn begin(&self, seq: u64, in_the_way: &[TxnId], patience: Duration, now: Instant) {
        let mut followed = self.followed.lock();
        if followed.statements.len() >= MAX_FOLLOWED {
            return;
        }
        let in_the_way: HashSet<TxnId> = in_the_way.iter().copied().collect();
        for txn in &in_the_way {
            followed.behind.entry(*txn).or_default().push(seq);
        }
        followed.statements.insert(seq, Statement { since: now, patience, in_the_way });
        self.open.store(followed.statements.len(), Ordering::SeqCst);
    }

    /// A transaction has ended. Returns the statements that would go on now, and for how long they would have
    /// been held.
    pub(super) fn ended(&self, txn: TxnId, now: Instant) -> Vec<(u64, Duration)> {
        if self.open.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut followed = self.followed.lock();
        let mut gone_on = Vec::new();
        for seq in followed.behind.remove(&txn).unwrap_or_default() {
            let Some(statement) = followed.statements.get_mut(&seq) else { continue };
            statement.in_the_way.remove(&txn);
            if statement.in_the_way.is_empty() {
                gone_on.push((seq, now.duration_since(statement.since).min(statement.patience)));
                followed.statements.remove(&seq);
            }
        }
        self.open.store(followed.statements.len(), Ordering::SeqCst);
        gone_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[test]
    fn it_lasts_until_the_last_has_ended_and_no_longer_than_a_hold_may() {
        let (dry, begun) = (DryRun::default(), Instant::now());
        let after = |ms| begun + Duration::from_millis(ms);
        dry.begin(1, &[TxnId(1), TxnId(2)], PATIENCE, begun);
        dry.begin(2, &[TxnId(2)], PATIENCE, after(10));
        dry.begin(3, &[TxnId(3)], PATIENCE, begun);
        assert_eq!(dry.ended(TxnId(9), after(20)), []);
        assert_eq!(dry.ended(TxnId(2), after(30)), [(2, Duration::from_millis(20))]);
        assert_eq!(dry.ended(TxnId(2), after(40)), []);
        assert_eq!(dry.ended(TxnId(1), after(50)), [(1, Duration::from_millis(50))]);
        assert_eq!(dry.ended(TxnId(3), after(60_000)), [(3, PATIENCE)]);
        let followed = dry.followed.lock();
        assert!(followed.statements.is_empty() && followed.behind.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (dry, now) = (DryRun::default(), Instant::now());
        for seq in 0..20_000 {
            dry.begin(seq, &[TxnId(1)], PATIENCE, now);
        }
        assert_eq!(dry.ended(TxnId(1), now).len(), MAX_FOLLOWED);
    }
}
