//! Room in the lock table: how many locks all sessions together may have.
//!
//! Counting the table takes longer than a statement should wait for it. So what is asked for is added up since the
//! last count, as if nobody gave anything back: that sum is never too small, and only when it reaches the limit is
//! the table counted again, seldom.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Milliseconds between two counts of a table that is full.
const PAUSE: u64 = 50;

/// How full the table may be at most. What is on its way into the table while it is counted may come on top: one
/// statement of each thread.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Locks at the last count, and those asked for since.
    at_most: AtomicUsize,
    /// When a full table may be counted again.
    next_count: AtomicU64,
}

impl Room {
    /// Takes places, if there are as many. `now` in milliseconds.
    pub(super) fn take(&self, locks: usize, limit: usize, now: u64, count: impl Fn() -> usize) -> bool {
        if self.at_most.fetch_add(locks, Ordering::Relaxed).saturating_add(locks) <= limit {
            return true;
        }
        let next = self.next_count.load(Ordering::Relaxed);
        let mine =
            || self.next_count.compare_exchange(next, now + PAUSE, Ordering::Relaxed, Ordering::Relaxed);
        if now < next || mine().is_err() {
            return false;
        }
        // What others take while it is counted stays in the sum, whether the count has found it or not.
        let before = self.at_most.load(Ordering::Relaxed);
        let change = count().saturating_add(locks).wrapping_sub(before);
        self.at_most.fetch_add(change, Ordering::Relaxed).wrapping_add(change) <= limit
    }

    /// Places were taken that nobody could refuse.
    pub(super) fn taken(&self, locks: usize) {
        self.at_most.fetch_add(locks, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{PAUSE, Room};

    const LIMIT: usize = 100;

    #[test]
    fn no_more_than_the_limit_is_let_in() {
        let (room, table, counts) = (Room::default(), Cell::new(0), Cell::new(0));
        let count = || {
            counts.set(counts.get() + 1);
            table.get()
        };
        let mut refused = 0;
        for now in 0..10_000 {
            if room.take(3, LIMIT, now, count) {
                table.set(table.get() + 3);
            } else {
                refused += 1;
            }
            assert!(table.get() <= LIMIT, "{} locks", table.get());
            // Transactions end, and give all back.
            if now % 1000 == 999 {
                table.set(0);
            }
        }
        assert!(counts.get() <= 10_000 / PAUSE, "{} counts", counts.get());
        // Ten times thirty-three are let in, and each time soon after the table was emptied.
        assert_eq!(refused, 10_000 - 10 * 33);
    }

    #[test]
    fn what_is_given_back_is_found_when_it_is_needed() {
        let room = Room::default();
        let counts = Cell::new(0);
        let empty = || {
            counts.set(counts.get() + 1);
            0
        };
        assert!((0..1000).all(|now| room.take(1, LIMIT, now * PAUSE, empty)));
        assert_eq!(counts.get(), 1000 / LIMIT as u64 - 1);
        // More than there will ever be.
        assert!(!room.take(LIMIT + 1, LIMIT, 1_000_000, empty));
        assert!(room.take(LIMIT, LIMIT, 2_000_000, empty));
    }
}
