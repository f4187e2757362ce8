//! What became of the executions of a plan, and whether it is worth to ask the server about the next one.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the executions of a plan. A plan belongs to one thread, so counting is cheap; others read.
#[derive(Debug, Default)]
pub struct Uses {
    /// Answered.
    pub executions: AtomicU64,
    /// Answered with an error.
    pub errors: AtomicU64,
    /// Answered with a deadlock error.
    pub deadlocks: AtomicU64,
    /// Conflicts that were met.
    pub conflicts: AtomicU64,
    /// Held.
    pub holds: AtomicU64,
    /// The server's time, nanoseconds.
    pub server_nanos: AtomicU64,
    /// Looks at the server in a row, before it was sent, that have shown nothing in its way.
    vain_looks: AtomicU64,
}

/// So many looks in a row must be in vain before half as many are made.
const PATIENCE: u64 = 8;

impl Uses {
    /// An execution was answered.
    pub fn answered(&self, errno: Option<u16>, server_nanos: u64) {
        self.executions.fetch_add(1, Ordering::Relaxed);
        self.server_nanos.fetch_add(server_nanos, Ordering::Relaxed);
        if let Some(errno) = errno {
            self.errors.fetch_add(1, Ordering::Relaxed);
            self.deadlocks.fetch_add(u64::from(errno == 1213), Ordering::Relaxed);
        }
    }

    /// Counts anew from 0.
    pub fn clear(&self) {
        let all = [
            &self.executions,
            &self.errors,
            &self.deadlocks,
            &self.conflicts,
            &self.holds,
            &self.server_nanos,
        ];
        all.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// An execution met a conflict.
    pub fn met(&self, held: bool) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
        self.holds.fetch_add(u64::from(held), Ordering::Relaxed);
    }

    /// A look at the server before an execution has shown something in its way, or nothing.
    pub fn looked(&self, something: bool) {
        let vain = if something { 0 } else { self.vain_looks.load(Ordering::Relaxed) + 1 };
        self.vain_looks.store(vain, Ordering::Relaxed);
    }

    /// Is the server to be asked what is in the way of this execution? Looks that show nothing become rarer; one that
    /// does makes them frequent again.
    pub fn are_worth_a_look(&self) -> bool {
        let doublings = (self.vain_looks.load(Ordering::Relaxed) / PATIENCE).min(10);
        self.executions.load(Ordering::Relaxed).is_multiple_of(1 << doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::{PATIENCE, Uses};

    /// How many of 1024 executions are worth a look.
    fn looks(uses: &Uses) -> usize {
        let next = |_: &u32| {
            uses.answered(None, 0);
            uses.are_worth_a_look()
        };
        (0..1024).filter(next).count()
    }

    #[test]
    fn looks_that_show_nothing_become_rarer() {
        let uses = Uses::default();
        assert_eq!(looks(&uses), 1024);
        for _ in 0..PATIENCE {
            uses.looked(false);
        }
        assert_eq!(looks(&uses), 512);
        for _ in 0..100 * PATIENCE {
            uses.looked(false);
        }
        assert_eq!(looks(&uses), 1, "but they do not cease");
        uses.looked(true);
        assert_eq!(looks(&uses), 1024);
    }
}
