//! Leads: to which row an entry of a unique secondary index leads.
//!
//! A lookup by such a key locks the entry and the clustered record behind it. Which record that is, the statement
//! does not say; whoever comes to lock a row by its primary key would have to ask the server whether it is that one.
//! The statement that has put the row has named both, so that is remembered for a while, of indexes that are looked
//! up:
//!
//! ```text
//! INSERT INTO batch (server_id) VALUES (9)          answered: id 13        9 ─▶ 13
//! SELECT … WHERE server_id = 9 FOR UPDATE           the entry 9, and the record 13 instead of any
//! ```
//!
//! A lead that is wrong (another proxy has put the row anew) makes a record lock stand at the wrong place until it
//! is looked at, so leads live no longer than fences.

use std::collections::BTreeMap;

use super::key::Key;
use super::range::Range;

/// Most leads kept in one index; at the limit those that are not believed any more go, or all.
const LIMIT: usize = 4096;

/// What is known of one index.
#[derive(Debug, Default)]
pub struct Leads {
    /// Entry → clustered key, and until when it may be believed, milliseconds of the caller's clock.
    known: BTreeMap<Key, (Key, u64)>,
    /// Until then somebody has asked for one.
    wanted: u64,
}

impl Leads {
    /// Has somebody asked for a lead here lately?
    pub fn are_wanted(&self, now: u64) -> bool {
        self.wanted > now
    }

    /// The clustered key of the row with its entry in this range, if it is known. They are wanted here until `until`.
    pub fn find(&mut self, range: &Range, now: u64, until: u64) -> Option<Key> {
        self.wanted = self.wanted.max(until);
        if range.is_empty() {
            return None;
        }
        let mut here = self.known.range(&range.low..&range.high).map(|(_, lead)| lead);
        here.find(|(_, end)| *end > now).map(|(row, _)| row.clone())
    }

    /// The row of an entry that was put: believed until `until`. `None`: it is not known.
    pub fn put(&mut self, entry: Key, row: Option<Key>, now: u64, until: u64) {
        let Some(row) = row else {
            self.known.remove(&entry);
            return;
        };
        if self.known.len() >= LIMIT && !self.known.contains_key(&entry) {
            self.known.retain(|_, (_, end)| *end > now);
            if self.known.len() >= LIMIT {
                self.known.clear();
            }
        }
        self.known.insert(entry, (row, until));
    }

    /// Rows in the range were deleted, or may have been.
    pub fn drop_range(&mut self, range: &Range) {
        if self.known.is_empty() || range.is_empty() {
            return;
        }
        let gone: Vec<Key> =
            self.known.range(&range.low..&range.high).map(|(entry, _)| entry.clone()).collect();
        for entry in gone {
            self.known.remove(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: i128) -> Key {
        let mut key = Key::default();
        key.push_int(value, false);
        key
    }

    #[test]
    fn a_lead_is_found_until_it_is_not_believed_any_more() {
        let mut leads = Leads::default();
        let (nine, ten) = (Range::entries(&key(9)), Range::entries(&key(10)));
        assert!(!leads.are_wanted(0));
        assert_eq!(leads.find(&nine, 0, 50), None);
        assert_eq!((leads.are_wanted(49), leads.are_wanted(50)), (true, false));
        leads.put(key(9), Some(key(13)), 0, 20);
        assert_eq!(leads.find(&nine, 19, 0), Some(key(13)));
        assert_eq!((leads.find(&nine, 20, 0), leads.find(&ten, 0, 0)), (None, None));
    }

    #[test]
    fn what_is_put_anew_or_deleted_leads_nowhere() {
        let mut leads = Leads::default();
        for value in 0..4 {
            leads.put(key(value), Some(key(100 + value)), 0, 20);
        }
        leads.put(key(1), Some(key(7)), 0, 20);
        leads.put(key(2), None, 0, 20);
        leads.drop_range(&Range { low: key(3), high: Key::supremum() });
        let rows: Vec<Option<Key>> =
            (0..4).map(|value| leads.find(&Range::entries(&key(value)), 0, 0)).collect();
        assert_eq!(rows, [Some(key(100)), Some(key(7)), None, None]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut leads = Leads::default();
        for value in 0..3 * LIMIT as i128 {
            leads.put(key(value), Some(key(value)), value as u64, value as u64 + 10);
        }
        assert!(leads.known.len() <= LIMIT, "{}", leads.known.len());
        assert!(leads.find(&Range::entries(&key(3 * LIMIT as i128 - 1)), 3 * LIMIT as u64 - 1, 0).is_some());
    }
}
