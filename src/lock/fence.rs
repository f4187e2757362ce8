//! Fences: records that are known to exist, and so part one gap from the next.
//!
//! A locking read that finds nothing locks the gap between the two records around the place. Two such reads
//! with different keys collide only if no record lies between them. interlock cannot see the index; it
//! remembers the records that it has met (found, inserted and committed, or seen by a probe) for a while.
//!
//! A fence that is missing makes the model see one gap where there are two: a conflict is then only
//! `likely`. A fence that is wrong (its record was deleted behind interlock's back) would split what the
//! server joins, so fences do not live long, and a delete that is seen takes them away.

use std::collections::BTreeMap;

use super::key::Key;
use super::range::Range;

/// Most fences kept in one index; at the limit the oldest half goes.
const LIMIT: usize = 4096;

/// The records known in one index.
#[derive(Debug, Default)]
pub struct Fences {
    /// Key → until when it may be believed, in milliseconds of the caller's clock.
    known: BTreeMap<Key, u64>,
}

impl Fences {
    /// A record was met; it may be believed until `until`.
    pub fn put(&mut self, key: Key, until: u64) {
        if self.known.len() >= LIMIT && !self.known.contains_key(&key) {
            let mut ends: Vec<u64> = self.known.values().copied().collect();
            let (_, median, _) = ends.select_nth_unstable(LIMIT / 2);
            let median = *median;
            let mut surplus = LIMIT / 2;
            self.known.retain(|_, end| {
                // Equal times are common (one probe brings many): count, so that half really goes.
                let goes = *end <= median && surplus > 0;
                surplus -= usize::from(goes);
                !goes
            });
        }
        self.known.insert(key, until);
    }

    /// Records in the range were deleted, or may have been.
    pub fn drop_range(&mut self, range: &Range) {
        let gone: Vec<Key> = self.known.range(&range.low..&range.high).map(|(k, _)| k.clone()).collect();
        for key in gone {
            self.known.remove(&key);
        }
    }

    /// Is a record known in the range?
    pub fn any_in(&self, range: &Range, now: u64) -> bool {
        !range.is_empty() && self.known.range(&range.low..&range.high).any(|(_, until)| *until > now)
    }

    /// How far a gap that touches `range` can reach: to the nearest known records on both sides.
    /// Those that are no longer believed are dropped on the way.
    pub fn around(&mut self, range: &Range, now: u64) -> Range {
        let below = loop {
            match self.known.range(..&range.low).next_back() {
                Some((key, until)) if *until <= now => {
                    let key = key.clone();
                    self.known.remove(&key);
                }
                // Of a record only the first columns may be known: then it need not stand before the range.
                Some((key, _)) if range.low.starts_with(key) => break key.clone(),
                below => break below.map_or(Key::lowest(), |(key, _)| key.after()),
            }
        };
        let above = loop {
            match self.known.range(&range.high..).next() {
                Some((key, until)) if *until <= now => {
                    let key = key.clone();
                    self.known.remove(&key);
                }
                above => break above.map_or(Key::supremum(), |(key, _)| key.clone()),
            }
        };
        Range { low: below, high: above }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(parts: &[i128]) -> Key {
        let mut key = Key::default();
        parts.iter().for_each(|part| key.push_int(*part, false));
        key
    }

    proptest! {
        /// Records of which all columns are known, or only the first: a gap reaches at least over its own range.
        #[test]
        fn what_is_asked_for_is_within_reach(
            known in prop::collection::vec((0..6i128, prop::option::of(0..6i128)), 0..12),
            asked in (0..6i128, prop::option::of(0..6i128)),
        ) {
            let parts = |(first, second): (i128, Option<i128>)| -> Vec<i128> { [first].into_iter().chain(second).collect() };
            let mut fences = Fences::default();
            known.into_iter().for_each(|record| fences.put(key(&parts(record)), 1));
            let range = Range::entries(&key(&parts(asked)));
            prop_assert!(fences.around(&range, 0).covers(&range));
        }
    }
}
