//! So many of something each second, and no more.

use std::sync::atomic::{AtomicU64, Ordering};

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

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn is_full_again_each_second() {
        let budget = Budget::new(2);
        let taken: Vec<bool> = [0, 1, 2, 999, 1000, 1001, 1002].map(|now| budget.take(now)).to_vec();
        assert_eq!(taken, [true, true, false, false, true, true, false]);
    }
}
