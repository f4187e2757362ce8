//! Leads, with all locks at hand: learnt where a row is put, followed where one is looked up.

use super::range::Range;
use super::request::{Kind, Request, UNIQUE_LOOKUP};
use super::table::{LockRef, LockTable};
use crate::id::IndexId;

impl LockTable {
    /// Where a statement has put one row, its entries in unique indexes lead to its clustered record. `kept` are the
    /// statement's locks.
    pub(super) fn learn_row(&self, kept: &[LockRef], now: u64) {
        for lock in kept.iter().filter(|lock| lock.index.index != 0) {
            let wanted = self.indexes.get(&lock.index).is_some_and(|locks| locks.leads.are_wanted(now));
            if !wanted {
                continue;
            }
            let Some(entry) = self.new_entry(*lock) else { continue };
            let clustered = IndexId { index: 0, ..lock.index };
            let mut rows =
                kept.iter().filter(|row| row.index == clustered).filter_map(|row| self.new_entry(*row));
            let row = rows.next().filter(|row| rows.next().is_none() && !row.low.is_end());
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.leads.put(entry.low, row.map(|row| row.low), now, now + self.fence_lifetime);
            }
        }
    }

    /// What a statement asks for was read from the server: entries with the clustered records behind them.
    pub(super) fn tell(&self, requests: &[Request], now: u64) {
        requests.windows(2).for_each(|pair| self.tell_one(&pair[0], &pair[1], now));
    }

    fn tell_one(&self, entry: &Request, record: &Request, now: u64) {
        let named = entry.range.is_entries() && record.range.is_entries();
        if !named || !is_behind(record, entry) {
            return;
        }
        if let Some(mut locks) =
            self.indexes.get_mut(&entry.index).filter(|locks| locks.leads.are_wanted(now))
        {
            let (key, row) = (entry.range.low.clone(), Some(record.range.low.clone()));
            locks.leads.put(key, row, now, now + self.fence_lifetime);
        }
    }

    /// Of a statement that looks one row up by a unique secondary key it is not known which clustered record that is: if
    /// the statement that has put the row has told, or a look, it is there that the lock is asked for, as far as
    /// anybody knows.
    pub fn lead(&self, requests: &mut [Request], now: u64) {
        for at in 1..requests.len() {
            let (before, rest) = requests.split_at_mut(at);
            let (entry, record) = (&before[at - 1], &mut rest[0]);
            let looked_up = entry.rule.starts_with(UNIQUE_LOOKUP) && entry.range.is_entries();
            if !is_behind(record, entry) || !looked_up || record.range != Range::all() {
                self.tell_one(entry, record, now);
                continue;
            }
            let until = now + self.fence_lifetime;
            // The last of several keys tells nothing of the others.
            let one = before.iter().filter(|other| other.index == entry.index).count() == 1;
            let row = self.indexes.entry(entry.index).or_default().leads.find(&entry.range, now, until);
            if let Some(row) = row.filter(|_| one) {
                record.range = Range::entries(&row);
            }
        }
    }
}

/// Is that the clustered record behind this entry?
fn is_behind(record: &Request, entry: &Request) -> bool {
    record.kind == Kind::Clustered { via: entry.index.index } && record.index.table == entry.index.table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{TableId, TxnId};
    use crate::lock::key::Key;
    use crate::lock::mode::{Certainty, Mode};
    use crate::lock::request::{Exact, Origin, Settled};

    const ROWS: IndexId = IndexId { table: TableId(1), index: 0 };
    const CODES: IndexId = IndexId { table: TableId(1), index: 1 };

    fn place(value: i128) -> Range {
        let mut key = Key::default();
        key.push_int(value, false);
        Range::entries(&key)
    }

    fn request(index: IndexId, kind: Kind, range: Range, rule: &'static str) -> Request {
        Request { index, mode: Mode::X, range, kind, certainty: Certainty::Unknown, rule }
    }

    /// `WHERE code IN (…) FOR UPDATE`
    fn lookup(codes: &[i128], rule: &'static str) -> Vec<Request> {
        let entry = |code: &i128| request(CODES, Kind::RecordOrGap, place(*code), rule);
        let row = request(ROWS, Kind::Clustered { via: 1 }, Range::all(), "clustered-record");
        codes.iter().map(entry).chain([row]).collect()
    }

    /// Where the record of a lookup is.
    fn led(locks: &LockTable, mut requests: Vec<Request>, now: u64) -> Range {
        locks.lead(&mut requests, now);
        requests.pop().unwrap().range
    }

    /// Rows `(id, code)` are put by one statement.
    fn put(locks: &LockTable, rows: &[(i128, i128)], now: u64) {
        let insert = Kind::Insert { check: Some(Mode::S) };
        let entries = |row: &(i128, i128)| [(ROWS, place(row.0)), (CODES, place(row.1))];
        let entries: Vec<(IndexId, Range)> = rows.iter().flat_map(entries).collect();
        let certain = |(index, range): &(IndexId, Range)| Request {
            certainty: Certainty::Certain,
            ..request(*index, insert, range.clone(), "insert")
        };
        let requests: Vec<Request> = entries.iter().map(certain).collect();
        let (refs, _) = locks.enter(TxnId(9), &requests, Origin::default(), true, now);
        let became = |(_, range): &(IndexId, Range)| Settled::Became(Kind::Record, range.clone());
        let settled: Vec<Settled> = entries.iter().map(became).collect();
        let kept = locks.settle(refs, &settled, now);
        locks.release(&kept, true, now);
    }

    #[test]
    fn a_lookup_of_a_row_that_was_put_asks_for_its_record() {
        let locks = LockTable::new(100);
        put(&locks, &[(1, 51)], 0);
        assert_eq!(led(&locks, lookup(&[51], UNIQUE_LOOKUP), 0), Range::all(), "nobody had asked for leads");
        put(&locks, &[(2, 52)], 1);
        assert_eq!(led(&locks, lookup(&[52], UNIQUE_LOOKUP), 100), place(2));
        assert_eq!(led(&locks, lookup(&[52], UNIQUE_LOOKUP), 101), Range::all(), "too long ago");
        assert_eq!(led(&locks, lookup(&[53], UNIQUE_LOOKUP), 100), Range::all());
    }

    #[test]
    fn a_look_tells_where_a_record_is() {
        let locks = LockTable::new(100);
        let (entry, row) = (lookup(&[51], UNIQUE_LOOKUP), place(1));
        assert_eq!(led(&locks, entry.clone(), 0), Range::all());
        let read = [entry[0].clone(), Request { range: row.clone(), ..entry[1].clone() }];
        let exact = Exact { requests: &read, reaches: &[], answered: true, overtakes: true };
        let (refs, _) = locks.replace(TxnId(9), &[], exact, 0);
        locks.release(&refs, true, 0);
        assert_eq!(led(&locks, entry, 0), row);
    }

    #[test]
    fn what_may_be_several_rows_leads_nowhere() {
        let locks = LockTable::new(100);
        led(&locks, lookup(&[0], UNIQUE_LOOKUP), 0);
        put(&locks, &[(1, 51), (2, 52)], 1);
        assert_eq!(led(&locks, lookup(&[51], UNIQUE_LOOKUP), 1), Range::all(), "which of the two");
        put(&locks, &[(3, 53)], 1);
        assert_eq!(led(&locks, lookup(&[53, 51], UNIQUE_LOOKUP), 1), Range::all());
        assert_eq!(led(&locks, lookup(&[53], "equal-entries"), 1), Range::all());
    }

    #[test]
    fn a_key_that_is_deleted_or_goes_to_another_row_is_forgotten() {
        let locks = LockTable::new(100);
        led(&locks, lookup(&[0], UNIQUE_LOOKUP), 0);
        put(&locks, &[(1, 51)], 1);
        locks.forget(CODES, &place(51));
        assert_eq!(led(&locks, lookup(&[51], UNIQUE_LOOKUP), 1), Range::all());
        put(&locks, &[(2, 52)], 1);
        // UPDATE … SET code = 52: the row is not put, its entry is.
        let moved = [Request {
            certainty: Certainty::Certain,
            ..request(CODES, Kind::Insert { check: Some(Mode::S) }, place(52), "moved-entry")
        }];
        let (refs, _) = locks.enter(TxnId(8), &moved, Origin::default(), true, 2);
        locks.settle(refs, &[Settled::Became(Kind::Record, place(52))], 2);
        assert_eq!(led(&locks, lookup(&[52], UNIQUE_LOOKUP), 2), Range::all());
    }
}
