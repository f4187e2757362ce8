//! So many of something each second, and no more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A budget that is full again at each new second. Under races it gives a few more, never none.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: u64,
    second: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    pub(super) const fn new(per_second: u64) -> Budget {
        Budget { per_second, second: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Takes one, if there is one left. `now` in milliseconds.
    pub(super) fn take(&self, now: u64) -> bool {
        let second = now / 1000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.used.store(0, Ordering::Relaxed);
        }
        self.used.fetch_add(1, Ordering::Relaxed) < self.per_second
    }
}

/// What is left of an [`Allowance`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    Nothing,
    /// For what is worth it.
    Little,
    Plenty,
}

/// Time that may be spent, as a share of the time that goes by: what is spent is paid back before much more is.
///
/// The generic cell rate algorithm (ITU-T I.371) with time as its cells, and the cost known at the end only.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When all that was spent will be paid back, in milliseconds.
    paid_at: AtomicU64,
    under_way: AtomicU64,
}

impl Allowance {
    /// How far ahead of its payment a spending may begin, in milliseconds.
    const CREDIT: u64 = 5_000;
    /// Spendings at the same time: none of them is paid for yet.
    const AT_ONCE: u64 = 16;

    /// What is left to spend; `now` in milliseconds.
    pub(super) fn left(&self, now: u64, per_second: Duration) -> Left {
        let ahead = self.paid_at.load(Ordering::Relaxed).saturating_sub(now);
        match ahead {
            _ if per_second.is_zero() || ahead > Self::CREDIT => Left::Nothing,
            _ if ahead > Self::CREDIT / 2 => Left::Little,
            _ => Left::Plenty,
        }
    }

    /// May a spending begin? Every `true` is followed by [`end`](Self::end).
    pub(super) fn begin(&self, now: u64, per_second: Duration) -> bool {
        if self.left(now, per_second) == Left::Nothing {
            return false;
        }
        let first = self.under_way.fetch_add(1, Ordering::Relaxed) < Self::AT_ONCE;
        if !first {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        first
    }

    /// A spending has ended, and has cost so much.
    pub(super) fn end(&self, now: u64, spent: Duration, per_second: Duration) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let price = spent.as_micros() / per_second.as_millis().max(1);
        let pay = |at: u64| Some(at.max(now).saturating_add(u64::try_from(price).unwrap_or(u64::MAX)));
        let _ = self.paid_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Budget};
    use std::time::Duration;

    #[test]
    fn is_full_again_each_second() {
        let budget = Budget::new(2);
        let taken: Vec<bool> = [0, 1, 2, 999, 1000, 1001, 1002].map(|now| budget.take(now)).to_vec();
        assert_eq!(taken, [true, true, false, false, true, true, false]);
    }

    #[test]
    fn time_is_spent_as_it_comes_in() {
        let (allowance, share) = (Allowance::default(), Duration::from_millis(100));
        // Looks of 50 ms, one after the other, for ten minutes.
        let (mut now, mut looks) = (0, 0);
        while now < 600_000 {
            if allowance.begin(now, share) {
                allowance.end(now + 50, Duration::from_millis(50), share);
                (now, looks) = (now + 50, looks + 1);
            } else {
                now += 10;
            }
        }
        // A tenth of the time, and the credit on top.
        let expected = (600_000 + Allowance::CREDIT) / 10 / 50;
        assert!((expected - 2..=expected + 2).contains(&looks), "{looks}");
    }

    #[test]
    fn few_spend_at_once_and_nothing_is_nothing() {
        let (allowance, share) = (Allowance::default(), Duration::from_millis(100));
        assert!(!allowance.begin(0, Duration::ZERO));
        let begun = (0..100).filter(|_| allowance.begin(0, share)).count() as u64;
        assert_eq!(begun, Allowance::AT_ONCE);
        allowance.end(1, Duration::from_millis(1), share);
        assert!(allowance.begin(1, share) && !allowance.begin(1, share));
    }
}
