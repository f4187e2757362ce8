//! What a request meets in an index.

use super::super::asking::Met;
use super::super::shown::Neighbours;
use super::*;
use crate::id::{IndexId, TableId};
use Certainty::{Certain, Likely};
use Relation::{Hazard, Wait};

pub(in crate::lock) fn key(value: i128) -> Key {
    let mut key = Key::default();
    key.push_int(value, false);
    key
}

fn request(kind: Kind, mode: Mode, value: i128) -> Request {
    let range = Range::entries(&key(value));
    let index = IndexId { table: TableId(1), index: 0 };
    Request { index, mode, range, kind, certainty: Certain, rule: "test" }
}

pub(in crate::lock) fn asking(txn: u64) -> Asking {
    Asking {
        by: TxnId(txn).into(),
        number: 0,
        order: 9,
        now: 0,
        overtakes: true,
        exact: false,
        anew: false,
        search: None,
    }
}

pub(in crate::lock) fn met(
    locks: &mut IndexLocks,
    txn: u64,
    request: &Request,
) -> Option<(Relation, Certainty)> {
    let mut met = Met::default();
    let reach = locks.reach(request, 0);
    locks.meet(asking(txn), request, &reach, &mut met);
    assert!(met.conflicts.len() <= 1);
    met.conflicts.pop().map(|c| (c.relation, c.certainty))
}

pub(in crate::lock) fn enter(locks: &mut IndexLocks, request: &Request) -> Handle {
    let reach = locks.reach(request, 0);
    locks.enter(asking(1), request, reach, Got::all(&request.range))
}

/// Transaction 1 has looked 9 up and found nothing, between the records 7 and 12.
fn gap_at_nine(probed: bool) -> IndexLocks {
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 9));
    assert!(locks.settle(handle, &Settled::Became(Kind::Gap, Range::entries(&key(9))), 9));
    if probed {
        let seen =
            Neighbours { asked: 0, place: key(9), present: false, below: Some(key(7)), above: Some(key(12)) };
        locks.learn(&seen, 0, 9);
    }
    locks
}

#[test]
fn a_second_lookup_in_the_gap_is_a_hazard() {
    let asked = request(Kind::RecordOrGap, Mode::X, 10);
    assert_eq!(met(&mut gap_at_nine(true), 2, &asked), Some((Hazard, Certain)));
    assert_eq!(met(&mut gap_at_nine(false), 2, &asked), Some((Hazard, Likely)));
    assert_eq!(met(&mut gap_at_nine(true), 1, &asked), None, "its own lock");
    let elsewhere = request(Kind::RecordOrGap, Mode::X, 13);
    assert_eq!(met(&mut gap_at_nine(true), 2, &elsewhere), None, "a record lies between");
}

#[test]
fn an_insert_waits_for_the_gap() {
    let insert = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 8);
    assert_eq!(met(&mut gap_at_nine(true), 2, &insert), Some((Wait, Certain)));
    let beyond = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 13);
    assert_eq!(met(&mut gap_at_nine(true), 2, &beyond), None);
    let record = request(Kind::Record, Mode::X, 12);
    assert_eq!(met(&mut gap_at_nine(true), 2, &record), None, "a gap lock does not cover the record");
}

#[test]
fn the_holders_own_insert_does_not_narrow_its_gap() {
    let mut locks = gap_at_nine(false);
    let handle = enter(&mut locks, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 9));
    locks.settle(handle, &Settled::Became(Kind::Record, Range::entries(&key(9))), 9);
    locks.learn(
        &Neighbours { asked: 0, place: key(11), present: false, below: Some(key(9)), above: None },
        0,
        9,
    );
    let insert = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 8);
    assert_eq!(met(&mut locks, 2, &insert), Some((Wait, Likely)));
}

/// The holder of a gap is just inserting the key: whether the record or the gap is met is a race.
#[test]
fn a_wait_does_not_hide_a_hazard() {
    let mut locks = gap_at_nine(true);
    enter(&mut locks, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 9));
    let asked = request(Kind::RecordOrGap, Mode::X, 9);
    let (mut met, reach) = (Met::default(), locks.reach(&asked, 0));
    locks.meet(asking(2), &asked, &reach, &mut met);
    let found = met.conflicts;
    assert_eq!((found.len(), found[0].relation, found[0].hazard), (1, Wait, true));
}

#[test]
fn records_wait_by_mode() {
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &request(Kind::RecordOrGap, Mode::S, 5));
    let (shared, exclusive) = (request(Kind::Record, Mode::S, 5), request(Kind::RecordOrGap, Mode::X, 5));
    assert_eq!(met(&mut locks, 2, &shared), None);
    assert_eq!(met(&mut locks, 2, &exclusive), Some((Wait, Likely)), "not answered yet");
    locks.settle(handle, &Settled::Became(Kind::Record, Range::entries(&key(5))), 9);
    assert_eq!(met(&mut locks, 2, &exclusive), Some((Wait, Certain)));
    locks.release(handle, true, 9);
    assert_eq!(met(&mut locks, 2, &exclusive), None);
    assert!(locks.is_empty());
}

/// SELECT … FOR UPDATE of a row, then an INSERT of a child: its parent is there.
#[test]
fn a_parent_that_the_transaction_has_locked_is_there() {
    let mut locks = IndexLocks::default();
    let check = request(Kind::RecordOrGap, Mode::S, 5);
    let handle = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 5));
    assert_eq!(locks.of_own(TxnId(1), &check).kind, Kind::RecordOrGap, "not answered yet");
    locks.settle(handle, &Settled::Became(Kind::Record, Range::entries(&key(5))), 9);
    assert_eq!(locks.of_own(TxnId(1), &check).kind, Kind::Record);
    assert_eq!(locks.of_own(TxnId(2), &check).kind, Kind::RecordOrGap, "another's");
    locks.delete(TxnId(1), &Range::entries(&key(5)));
    assert_eq!(locks.of_own(TxnId(1), &check).kind, Kind::RecordOrGap);
}

#[test]
fn where_a_look_finds_nothing_a_lookup_under_way_finds_nothing_either() {
    let mut locks = gap_at_nine(false);
    for _ in 0..50 {
        let found = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 20));
        assert!(locks.settle(found, &Settled::Became(Kind::Record, Range::entries(&key(20))), 9));
        locks.release(found, true, 9);
    }
    enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 30));
    locks.learn(&Neighbours { asked: 0, place: key(40), present: true, below: None, above: None }, 0, 9);
    assert_eq!(met(&mut locks, 2, &request(Kind::Gap, Mode::X, 31)), None, "rows are mostly found");
    assert_eq!(met(&mut locks, 2, &request(Kind::Gap, Mode::X, 30)), Some((Hazard, Likely)));
}

/// Both get the shared lock of a failed duplicate check, and an UPDATE of that row by each waits for the other's.
#[test]
fn failed_duplicate_checks_are_a_hazard_if_more_is_expected() {
    let expecting = |upgrade| {
        let expects = Expects { gap: true, certain_gap: true, missing: true, upgrade };
        move |txn| Asking { by: Asker { expects, ..TxnId(txn).into() }, ..asking(txn) }
    };
    let insert = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 5);
    let met = Settled::Met { mode: Mode::S, kind: Kind::Record, certainty: Certain };
    for (first, second, found) in [(true, true, Some(Hazard)), (true, false, None), (false, true, None)] {
        for (becomes, there) in [(&met, true), (&Settled::Undone, false)] {
            let mut locks = IndexLocks::default();
            let reach = locks.reach(&insert, 0);
            let handle = locks.enter(expecting(first)(1), &insert, reach.clone(), Got::all(&insert.range));
            locks.settle(handle, becomes, 9);
            let mut met = Met::default();
            locks.meet(expecting(second)(2), &insert, &reach, &mut met);
            let relation = met.conflicts.first().map(|conflict| conflict.relation);
            // Where it was taken back there is no record, only a gap to wait for.
            assert_eq!(relation, if there { found } else { Some(Wait) }, "{first} {second} {there}");
        }
    }
}

#[test]
fn lookups_that_usually_find_do_not_shy_at_each_other() {
    let mut locks = IndexLocks::default();
    for _ in 0..16 {
        let handle = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 5));
        locks.settle(handle, &Settled::Became(Kind::Record, Range::entries(&key(5))), 0);
        locks.release(handle, true, 0);
    }
    enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 5));
    let behind = request(Kind::RecordOrGap, Mode::X, 6);
    assert_eq!(met(&mut locks, 2, &behind), Some((Hazard, Likely)), "what stands behind all is new");
    locks.learn(&Neighbours { asked: 0, place: key(7), present: true, below: None, above: None }, 0, 9);
    assert_eq!(met(&mut locks, 2, &behind), None);
    assert_eq!(met(&mut locks, 2, &request(Kind::RecordOrGap, Mode::X, 5)), Some((Wait, Likely)));
}

#[test]
fn entries_of_changed_rows_meet_searches_only() {
    let mut locks = IndexLocks::default();
    let anywhere = Request { range: Range::all(), ..request(Kind::Entry, Mode::X, 0) };
    let insert = request(Kind::Insert { check: None }, Mode::X, 5);
    let (entry, new) = (enter(&mut locks, &anywhere), enter(&mut locks, &insert));
    assert_eq!(met(&mut locks, 2, &anywhere), None, "another row's entry, or one that was met before");
    let search = request(Kind::Record, Mode::X, 5);
    assert!(met(&mut locks, 2, &search).is_some());
    let searched = enter(&mut locks, &search);
    assert!(met(&mut locks, 2, &anywhere).is_some());
    for handle in [searched, entry, new] {
        locks.release(handle, true, 9);
    }
    assert_eq!((locks.searches, locks.len()), (0, 0));
}

#[test]
fn a_rollback_to_a_savepoint_leaves_what_searches_have_locked() {
    for gap_stays in [true, false] {
        let mut locks = IndexLocks::default();
        let (insert, searched) =
            (request(Kind::Insert { check: None }, Mode::X, 5), request(Kind::Record, Mode::X, 9));
        let (new, found) = (enter(&mut locks, &insert), enter(&mut locks, &searched));
        let changed = enter(&mut locks, &request(Kind::Entry, Mode::X, 7));
        locks.settle(new, &Settled::Became(Kind::Record, insert.range.clone()), 9);
        locks.settle(found, &Settled::Kept, 9);
        locks.settle(changed, &Settled::Kept, 9);
        assert_eq!([new, found, changed].map(|lock| locks.undo(lock, gap_stays)), [gap_stays, true, false]);
        assert_eq!(met(&mut locks, 2, &request(Kind::Record, Mode::X, 9)), Some((Wait, Certain)));
        assert_eq!(met(&mut locks, 2, &request(Kind::Record, Mode::X, 5)), None, "it is not there any more");
        assert_eq!(met(&mut locks, 2, &insert), gap_stays.then_some((Wait, Likely)));
    }
}

#[test]
fn two_checks_share_a_record_that_is_there() {
    let insert = |value, mode| request(Kind::Insert { check: Some(mode) }, Mode::X, value);
    let mut locks = IndexLocks::default();
    let asked = request(Kind::NextKey, Mode::S, 5);
    let reach = Range { low: key(3).after(), high: key(5).after() };
    let handle = locks.enter(asking(1), &asked, reach, Got { exact: true, ..Got::all(&asked.range) });
    locks.settle(handle, &Settled::Kept, 9);
    assert_eq!(met(&mut locks, 2, &insert(5, Mode::S)), None, "a duplicate, and no more");
    assert_eq!(met(&mut locks, 2, &insert(5, Mode::X)), Some((Wait, Certain)));
    assert_eq!(met(&mut locks, 2, &insert(4, Mode::S)), Some((Wait, Certain)), "in the gap below");
}

#[test]
fn an_entry_that_its_owner_has_deleted_is_put_back_without_asking_for_the_gap() {
    let mut locks = IndexLocks::default();
    let deleted = enter(&mut locks, &request(Kind::Record, Mode::X, 5));
    locks.settle(deleted, &Settled::Kept, 9);
    let scan = request(Kind::NextKey, Mode::X, 5);
    let reach = locks.reach(&scan, 0);
    locks.enter(Asking { order: 3, ..asking(2) }, &scan, reach, Got { waits: true, ..Got::all(&scan.range) });
    assert_eq!(met(&mut locks, 1, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 5)), None);
    let beside = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 4);
    assert_eq!(met(&mut locks, 1, &beside), Some((Wait, Likely)));
}

#[test]
fn a_record_that_a_look_does_not_find_is_believed_in_no_more() {
    let mut locks = IndexLocks::default();
    let seen = Neighbours { asked: 0, place: key(9), present: true, below: None, above: None };
    locks.learn(&seen, 0, 9);
    let lookup = request(Kind::RecordOrGap, Mode::X, 9);
    assert!(!locks.may_lock_gap(&lookup, 0), "it finds the record");
    let empty = request(Kind::Gap, Mode::X, 9);
    let reach = locks.reach(&empty, 0);
    locks.enter(asking(1), &empty, reach, Got { exact: true, ..Got::all(&empty.range) });
    assert!(locks.may_lock_gap(&lookup, 0));
    assert!(matches!(met(&mut locks, 2, &lookup), Some((Hazard, _))), "both lock the gap");
}

#[test]
fn a_record_of_somebody_else_bounds_a_gap_that_was_filled() {
    let looked = |below: i128| {
        let mut locks = gap_at_nine(false);
        let put = enter(&mut locks, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 9));
        assert!(locks.settle(put, &Settled::Became(Kind::Record, Range::entries(&key(9))), 9));
        let seen =
            Neighbours { asked: 0, place: key(30), present: false, below: Some(key(below)), above: None };
        locks.learn(&seen, 0, 9);
        met(&mut locks, 2, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 30))
    };
    assert_eq!(looked(12), None, "12 was there before the gap was locked");
    assert_eq!(looked(9), Some((Wait, Likely)), "9 is the holder's own, and its gap reaches beyond");
}

#[test]
fn a_deleted_record_is_gone_unless_it_was_put_again() {
    let mut locks = IndexLocks::default();
    let found = enter(&mut locks, &request(Kind::Record, Mode::X, 9));
    assert!(locks.settle(found, &Settled::Kept, 9));
    assert_eq!(locks.gone_entry(found), None, "it was only locked");
    locks.delete(TxnId(2), &Range::all());
    assert_eq!(locks.gone_entry(found), None, "that was somebody else");
    locks.delete(TxnId(1), &Range::all());
    assert_eq!(locks.gone_entry(found), Some(Range::entries(&key(9))));
    enter(&mut locks, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 9));
    assert_eq!(locks.gone_entry(found), None);
}

#[test]
fn what_was_put_and_deleted_again_stands_there_marked() {
    let mut locks = IndexLocks::default();
    let put = enter(&mut locks, &request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 9));
    assert!(locks.settle(put, &Settled::Became(Kind::Record, Range::entries(&key(9))), 9));
    // A search that was told that nothing is there.
    let nothing = Request { range: Range { low: key(5), high: key(12) }, ..request(Kind::Gap, Mode::X, 9) };
    assert_eq!(met(&mut locks, 2, &nothing), None);
    locks.delete(TxnId(1), &Range::all());
    assert_eq!(met(&mut locks, 2, &nothing), Some((Wait, Likely)));
    assert_eq!(met(&mut locks, 1, &nothing), None, "its own");
}

#[test]
fn what_it_has_already_is_nobody_elses() {
    let mut locks = IndexLocks::default();
    // Rows that another has found by a secondary index: which ones is not known yet.
    let anywhere = Request {
        range: Range::all(),
        certainty: Certainty::Unknown,
        ..request(Kind::Clustered { via: 1 }, Mode::X, 0)
    };
    enter(&mut locks, &anywhere);
    let parent = request(Kind::Record, Mode::S, 9);
    assert_eq!(met(&mut locks, 2, &parent), Some((Wait, Certainty::Unknown)));
    let reach = locks.reach(&parent, 0);
    let own = locks.enter(asking(2), &parent, reach, Got::all(&parent.range));
    assert_eq!(met(&mut locks, 2, &parent), Some((Wait, Certainty::Unknown)), "it has not been answered");
    assert!(locks.settle(own, &Settled::Kept, 9));
    assert_eq!(met(&mut locks, 2, &parent), None);
    let more = request(Kind::Record, Mode::X, 9);
    assert_eq!(
        met(&mut locks, 2, &more),
        Some((Wait, Certainty::Unknown)),
        "it shares that row with anybody"
    );
}

#[test]
fn a_lookup_under_way_keeps_no_insert_out_where_lookups_find() {
    let mut locks = IndexLocks::default();
    let insert = request(Kind::Insert { check: None }, Mode::X, 9);
    enter(&mut locks, &request(Kind::RecordOrGap, Mode::S, 7));
    assert_eq!(met(&mut locks, 2, &insert), Some((Wait, Likely)), "it may find nothing");
    for value in 20..40 {
        let handle = enter(&mut locks, &request(Kind::RecordOrGap, Mode::S, value));
        locks.settle(handle, &Settled::Became(Kind::Record, Range::entries(&key(value))), 0);
    }
    assert_eq!(met(&mut locks, 2, &insert), None, "they all have found a record");
}

/// A look that is answered late: meanwhile a record was put into the gap that it has shown, and a lookup below that has
/// locked the smaller gap.
#[test]
fn a_look_that_is_older_than_a_record_makes_no_gap_wider() {
    let looked = Neighbours { asked: 5, place: key(20), present: false, below: Some(key(7)), above: None };
    for (put_at, is_newer) in [(8, true), (4, false)] {
        let mut locks = IndexLocks::default();
        locks.fences.put(key(12), put_at + 9);
        let lookup = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 9));
        assert!(locks.settle(lookup, &Settled::Became(Kind::Gap, Range::entries(&key(9))), 19));
        locks.learn(&looked, 10, 19);
        let insert = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 13);
        assert_eq!(met(&mut locks, 2, &insert), (!is_newer).then_some((Wait, Certain)), "put at {put_at}");
        assert_eq!(locks.fences.take_wrong(), !is_newer, "a record that was known and is gone");
    }
}

/// The same with a record that is not committed: it may go again, and the gap with it.
#[test]
fn a_look_is_not_sure_of_a_gap_that_somebody_has_put_a_record_into() {
    let mut locks = IndexLocks::default();
    let insert = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 12);
    let reach = locks.reach(&insert, 0);
    let put = locks.enter(asking(3), &insert, reach, Got::all(&insert.range));
    assert!(locks.settle(put, &Settled::Became(Kind::Record, Range::entries(&key(12))), 9));
    let lookup = enter(&mut locks, &request(Kind::RecordOrGap, Mode::X, 9));
    assert!(locks.settle(lookup, &Settled::Became(Kind::Gap, Range::entries(&key(9))), 9));
    locks.learn(
        &Neighbours { asked: 0, place: key(20), present: false, below: Some(key(7)), above: None },
        0,
        9,
    );
    let behind = request(Kind::Insert { check: Some(Mode::S) }, Mode::X, 13);
    assert_eq!(met(&mut locks, 2, &behind), Some((Wait, Likely)));
}
