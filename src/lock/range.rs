//! Half-open ranges of an index's key space.

use super::key::Key;

/// The places from `low` (included) up to `high` (not included). See [`Key::after`] for "behind a key".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// First place in the range.
    pub low: Key,
    /// First place behind the range.
    pub high: Key,
}

impl Range {
    /// All of an index, the supremum's gap included.
    pub fn all() -> Range {
        Range { low: Key::lowest(), high: Key::supremum() }
    }

    /// One key, or all entries that begin with it.
    pub fn entries(key: &Key) -> Range {
        Range { low: key.clone(), high: key.after() }
    }

    /// Is it one key, or one prefix, as [`entries`](Self::entries) makes it?
    pub fn is_entries(&self) -> bool {
        self.high.is_after(&self.low)
    }

    /// Nothing lies in it.
    pub fn is_empty(&self) -> bool {
        self.low >= self.high
    }

    /// Is the place in the range?
    pub fn contains(&self, key: &Key) -> bool {
        self.low <= *key && *key < self.high
    }

    /// Is all of `other` in the range?
    pub fn covers(&self, other: &Range) -> bool {
        self.low <= other.low && other.high <= self.high
    }

    /// Have the ranges a place in common?
    pub fn intersects(&self, other: &Range) -> bool {
        self.low < other.high && other.low < self.high
    }
}
