//! Fences: records that are known to exist, and so part one gap from the next.
//!
//! A locking read that finds nothing locks the gap between the two records around the place. Two such reads
//! with different keys collide only if no record lies between them. interlock cannot see the index; it
//! remembers the records that it has met (found, inserted and committed, or seen by a probe) for a while.
//!
//! A fence that is missing makes the model see one gap where there are two: a conflict is then only
//! `likely`. A fence that is wrong (its record was deleted behind interlock's back) would split what the
//! server joins, so fences do not live long, and a delete that is seen takes them away. Where a record turns out to
//! be gone all the same, others are (the table was emptied or made anew behind interlock's back): unless the records
//! that are met here mostly are as they are remembered, nothing that is remembered of the table is believed any more.

use std::collections::BTreeMap;

use super::key::Key;
use super::range::Range;

/// Most fences kept in one index; at the limit the oldest half goes.
const LIMIT: usize = 4096;

/// Where a smaller share of the records that are met again is gone, one that is gone says nothing of the others.
const SELDOM_GONE: f32 = 0.1;

/// The records known in one index.
#[derive(Debug)]
pub struct Fences {
    /// Key → until when it may be believed, in milliseconds of the caller's clock.
    known: BTreeMap<Key, u64>,
    /// Moving share of the remembered records that were gone when their place was met again, 0 to 1.
    gone: f32,
    /// Nothing that is remembered of the table is to be believed.
    wrong: bool,
}

impl Default for Fences {
    fn default() -> Self {
        // Unknown counts as "they are gone": the careful side.
        Fences { known: BTreeMap::new(), gone: 1.0, wrong: false }
    }
}

impl Fences {
    /// A record was found at this place.
    pub fn found(&mut self, key: &Key) {
        if self.known.contains_key(key) {
            self.gone -= self.gone / 16.0;
        }
    }

    /// Nothing was found in the range, or something put where nothing can have been.
    pub fn missed(&mut self, range: &Range) {
        if self.drop_range(range) {
            self.wrong |= self.gone > SELDOM_GONE;
            self.gone += (1.0 - self.gone) / 16.0;
        }
    }

    /// A look has shown no record in the gap but these: what was known there before is gone. True: something is known
    /// since then, to be believed until `since` or later.
    pub fn disproved<'k>(
        &mut self,
        gap: &Range,
        shown: impl Iterator<Item = &'k Key> + Clone,
        since: u64,
    ) -> bool {
        // Of a record only the first columns may be known.
        let is_shown = |key: &Key| shown.clone().any(|entry| entry.starts_with(key));
        let inside = self.known.range(&gap.low..&gap.high).filter(|(key, _)| !is_shown(key));
        let (newer, older): (Vec<_>, Vec<_>) =
            inside.map(|(k, until)| (k.clone(), *until)).partition(|f| f.1 >= since);
        older.iter().for_each(|(key, _)| self.missed(&Range::entries(key)));
        !newer.is_empty()
    }

    /// Is what is remembered of the table wrong, as far as was seen since this was asked last?
    pub fn take_wrong(&mut self) -> bool {
        std::mem::take(&mut self.wrong)
    }

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

    /// Records in the range were deleted, or may have been. True: one was remembered.
    pub fn drop_range(&mut self, range: &Range) -> bool {
        let gone: Vec<Key> = self.known.range(&range.low..&range.high).map(|(k, _)| k.clone()).collect();
        for key in &gone {
            self.known.remove(key);
        }
        !gone.is_empty()
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
    use crate::id::{IndexId, TableId, TxnId};
    use crate::lock::mode::{Certainty, Mode};
    use crate::lock::request::{Kind, Origin, Request, Settled};
    use crate::lock::table::LockTable;

    fn key(parts: &[i128]) -> Key {
        let mut key = Key::default();
        parts.iter().for_each(|part| key.push_int(*part, false));
        key
    }

    #[test]
    fn one_that_is_gone_tells_of_the_others_where_they_are_not_met_again() {
        let mut fences = Fences::default();
        let gone = |fences: &mut Fences| {
            fences.put(key(&[2]), 9);
            fences.missed(&Range::entries(&key(&[2])));
            fences.take_wrong()
        };
        fences.missed(&Range::entries(&key(&[3])));
        assert!(!fences.take_wrong(), "nothing was remembered there");
        assert!(gone(&mut fences));
        fences.put(key(&[1]), 9);
        (0..40).for_each(|_| fences.found(&key(&[1])));
        assert!(!gone(&mut fences), "of forty one");
        assert!(gone(&mut fences), "and another");
    }

    /// TRUNCATE past interlock: the numbers that the server gives begin anew.
    #[test]
    fn a_number_that_is_given_twice_leaves_nothing_known_of_the_table() {
        let (rows, codes) =
            (IndexId { table: TableId(1), index: 0 }, IndexId { table: TableId(1), index: 1 });
        let locks = LockTable::new(100);
        let mut end = Key::default();
        end.push_end();
        let insert = |number: i128, code: i128| {
            let next = Range::entries(&end);
            let asked =
                [(rows, next), (codes, Range::entries(&key(&[code])))].map(|(index, range)| Request {
                    index,
                    mode: Mode::X,
                    range,
                    kind: Kind::Insert { check: Some(Mode::S) },
                    certainty: Certainty::Certain,
                    rule: "insert",
                });
            let (refs, _) = locks.enter(TxnId(9), &asked, Origin::default(), true, 0);
            let places = [number, code].map(|part| Range::entries(&key(&[part])));
            let kept = locks.settle(refs, &places.map(|place| Settled::Became(Kind::Record, place)), 0);
            locks.release(&kept, true, 0);
        };
        let known = |code: i128| {
            locks
                .indexes
                .get(&codes)
                .is_some_and(|index| index.fences.any_in(&Range::entries(&key(&[code])), 0))
        };
        insert(1, 51);
        insert(2, 52);
        assert!(known(51) && known(52));
        insert(1, 53);
        assert!(!known(51) && !known(52), "they went with the first of them");
        assert!(known(53));
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
