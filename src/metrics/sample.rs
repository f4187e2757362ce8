//! Every n-th of something is timed, and counts for n: a clock for each would cost more than it tells.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// One of so many is timed.
const EVERY: u32 = 16;

thread_local! {
    /// Counts on each thread over all of its sessions, so that short sessions are not timed more often.
    static TURN: Cell<u32> = const { Cell::new(0) };
}

/// The time now, if it is this one's turn.
pub(super) fn turn() -> Option<Instant> {
    let turn = TURN.get().wrapping_add(1);
    TURN.set(turn);
    turn.is_multiple_of(EVERY).then(Instant::now)
}

/// What a timing counts for, in nanoseconds.
pub(super) fn weighted(elapsed: Duration) -> u64 {
    elapsed.as_nanos() as u64 * u64::from(EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_sixteen_is_timed() {
        assert_eq!((0..160).filter(|_| turn().is_some()).count(), 10);
    }
}
