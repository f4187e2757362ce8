//! What transactions went on to do after a lock, per digest.
//!
//! A locking read that finds nothing is a hazard only if its transaction goes on to insert there; a shared
//! lock only if it goes on to upgrade. Which digests do is learned from the transactions that ended:
//!
//! | | a digest never seen | later |
//! |---|---|---|
//! | gap | is expected to insert | if at least one in eight did (where the model is certain: one in 64) |
//! | gap in which nothing was found | is expected to insert | the same, or if at least one in eight did of those that found nothing |
//! | shared lock (asked for as such, of a foreign key, of a duplicate check) | is expected to upgrade, until two transactions did not | if at least one in eight did |
//!
//! Old evidence fades: counts are halved when they grow large. Bounded: of more digests than fit, some are
//! forgotten, and count as never seen.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::id::DigestId;
use crate::lock::evidence::{Evidence, Expects};

const SHARDS: usize = 16;
/// Digests kept in each shard.
const MAX_DIGESTS: usize = 1024;
/// Runs at which counts are halved.
const MANY: u16 = 256;

/// What is known of all digests.
#[derive(Debug, Default)]
pub struct Learned {
    shards: [Mutex<FxHashMap<DigestId, Habit>>; SHARDS],
}

/// What is known of one digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Habit {
    /// Gaps that it locked, and into how many its transaction inserted.
    pub gap: Rate,
    /// The same, of the statements that found nothing. A get-or-create that mostly finds its row inserts seldom,
    /// but always then.
    pub missing: Rate,
    /// Shared locks that it took, and how many its transaction upgraded.
    pub share: Rate,
}

/// So many of so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Transactions that did.
    pub used: u16,
    /// Transactions in all.
    pub runs: u16,
}

// === impl Learned ===

impl Learned {
    /// What is to be expected of a transaction that runs this statement; of no statement, no upgrade.
    pub fn expects(&self, digest: DigestId) -> Expects {
        let habit = self.habit(digest).unwrap_or_default();
        Expects {
            gap: habit.gap.at_least(8, 8),
            certain_gap: habit.gap.at_least(64, 64),
            missing: habit.missing.used > 0 && habit.missing.at_least(8, 0),
            upgrade: digest != DigestId::default() && habit.share.at_least(8, 2),
        }
    }

    /// What is known of a digest.
    pub fn habit(&self, digest: DigestId) -> Option<Habit> {
        self.shard(digest).lock().get(&digest).copied()
    }

    /// Takes in what a transaction that has ended did with its locks. Several locks of one statement count
    /// as one.
    pub fn take_in(&self, evidence: &mut [Evidence]) {
        evidence.sort_unstable_by_key(|e| e.digest);
        for of_one in evidence.chunk_by(|a, b| a.digest == b.digest) {
            let any = |pick: fn(&Evidence) -> Option<bool>| of_one.iter().filter_map(pick).max();
            let mut shard = self.shard(of_one[0].digest).lock();
            if shard.len() >= MAX_DIGESTS
                && !shard.contains_key(&of_one[0].digest)
                && let Some(some) = shard.keys().next().copied()
            {
                shard.remove(&some);
            }
            let habit = shard.entry(of_one[0].digest).or_default();
            let gap = any(|e| e.gap);
            habit.gap.count(gap);
            habit.missing.count(gap.filter(|_| !of_one.iter().any(|e| e.found)));
            habit.share.count(any(|e| e.share));
        }
    }

    fn shard(&self, digest: DigestId) -> &Mutex<FxHashMap<DigestId, Habit>> {
        &self.shards[digest.0 as usize % SHARDS]
    }
}

impl Rate {
    fn count(&mut self, used: Option<bool>) {
        let Some(used) = used else { return };
        self.runs += 1;
        self.used += u16::from(used);
        if self.runs >= MANY {
            self.runs /= 2;
            self.used /= 2;
        }
    }

    /// At least one in `share` did; with fewer than `patience` runs nothing is said against it yet.
    fn at_least(self, share: u16, patience: u16) -> bool {
        self.runs < patience || u32::from(self.used) * u32::from(share) >= u32::from(self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(gap: &[bool], share: &[bool]) -> Expects {
        let learned = Learned::default();
        let digest = DigestId(7);
        for used in gap {
            learned.take_in(&mut [Evidence { digest, gap: Some(*used), found: true, share: None }]);
        }
        for used in share {
            learned.take_in(&mut [Evidence { digest, gap: None, found: true, share: Some(*used) }]);
        }
        learned.expects(digest)
    }

    #[test]
    fn the_unknown_is_expected_and_soon_known() {
        assert_eq!(after(&[], &[]), Expects { gap: true, certain_gap: true, missing: false, upgrade: true });
        assert!(after(&[false; 7], &[]).gap);
        assert!(!after(&[false; 8], &[]).gap);
        assert!(after(&[false; 63], &[]).certain_gap);
        assert!(!after(&[false; 64], &[]).certain_gap);
        assert!(!after(&[], &[false; 2]).upgrade);
        assert!(after(&[], &[true, false, false, false]).upgrade);
    }

    #[test]
    fn who_inserts_whenever_nothing_was_found_is_expected_to() {
        let learned = Learned::default();
        let digest = DigestId(7);
        let run =
            |used, found| learned.take_in(&mut [Evidence { digest, gap: Some(used), found, share: None }]);
        for _ in 0..20 {
            run(true, false);
            (0..100).for_each(|_| run(false, true));
        }
        let expected = Expects { gap: false, certain_gap: false, missing: true, upgrade: true };
        assert_eq!(learned.expects(digest), expected);
        // The gap behind the row that was found is locked by itself.
        let behind = Evidence { digest, gap: Some(false), found: false, share: None };
        (0..100).for_each(|_| learned.take_in(&mut [behind, Evidence { found: true, ..behind }]));
        assert!(learned.expects(digest).missing);
        (0..1000).for_each(|_| run(false, false));
        assert!(!learned.expects(digest).missing);
    }

    #[test]
    fn old_evidence_fades() {
        let mut uses = vec![true; 300];
        uses.extend([false; 2000]);
        assert!(!after(&uses, &[]).gap);
        uses.extend([true; 100]);
        assert!(after(&uses, &[]).gap);
    }

    #[test]
    fn several_locks_of_one_statement_count_once() {
        let learned = Learned::default();
        let lock = |used| Evidence { digest: DigestId(1), gap: Some(used), found: false, share: None };
        learned.take_in(&mut [lock(false), lock(true), lock(false)]);
        assert_eq!(learned.habit(DigestId(1)).unwrap().gap, Rate { used: 1, runs: 1 });
    }

    #[test]
    fn memory_is_bounded() {
        let learned = Learned::default();
        for digest in 0..100_000 {
            let digest = DigestId(digest);
            learned.take_in(&mut [Evidence { digest, gap: Some(false), found: false, share: None }]);
        }
        let kept: usize = learned.shards.iter().map(|shard| shard.lock().len()).sum();
        assert_eq!(kept, SHARDS * MAX_DIGESTS);
    }
}
