//! Requests that wait: whom they block, and who passes them.

use super::super::asking::{Asking, Met};
use super::super::index::Relation;
use super::super::index::tests::{asking, enter, key, met};
use super::super::key::Key;
use super::super::mode::Certainty;
use super::super::request::{Request, Settled};
use super::*;
use crate::id::{IndexId, TableId, TxnId};
use Certainty::{Certain, Likely};
use Relation::Wait;

fn request(kind: Kind, mode: Mode, value: i128) -> Request {
    let range = Range::entries(&key(value));
    let index = IndexId { table: TableId(1), index: 1 };
    Request { index, mode, range, kind, certainty: Certain, rule: "test" }
}

/// A transaction asks for this, and waits for it.
fn enter_waiting(locks: &mut IndexLocks, txn: u64, request: &Request) -> Handle {
    let reach = locks.reach(request, 0);
    locks.enter(asking(txn), request, reach, Got { waits: true, ..Got::all(&request.range) })
}

/// Transaction 2 asks for what 1 has, and waits.
fn held_and_waited_for(mode: Mode, waiting: Mode) -> IndexLocks {
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &request(Kind::Record, mode, 5));
    locks.settle(handle, &Settled::Kept, 9);
    enter_waiting(&mut locks, 2, &request(Kind::Record, waiting, 5));
    locks
}

#[test]
fn nobody_overtakes_a_waiting_request() {
    let shared = request(Kind::Record, Mode::S, 5);
    let mut locks = held_and_waited_for(Mode::S, Mode::X);
    assert_eq!(met(&mut locks, 3, &shared), Some((Wait, Likely)));
}

#[test]
fn what_one_has_one_need_not_ask_for() {
    let mut locks = held_and_waited_for(Mode::X, Mode::S);
    assert_eq!(met(&mut locks, 1, &request(Kind::Record, Mode::X, 5)), None);
    assert_eq!(met(&mut locks, 1, &request(Kind::NextKey, Mode::X, 5)), None, "the gap alone");
}

#[test]
fn mysql_lets_an_upgrade_pass_its_own_waiter_and_mariadb_does_not() {
    let exclusive = request(Kind::Record, Mode::X, 5);
    let mut locks = held_and_waited_for(Mode::S, Mode::X);
    assert_eq!(met(&mut locks, 1, &exclusive), None);
    let mut met = Met::default();
    locks.meet(Asking { overtakes: false, ..asking(1) }, &exclusive, &exclusive.range, &mut met);
    assert_eq!(met.conflicts.len(), 1);
}

/// Two inserts of one key into a secondary unique index: the second asks for a next-key lock, whose gap
/// keeps the first from inserting below.
#[test]
fn a_waiting_duplicate_check_blocks_the_gap_below() {
    let insert = |value| request(Kind::Insert { check: Some(Mode::S) }, Mode::X, value);
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &insert(5));
    locks.settle(handle, &Settled::Became(Kind::Record, insert(5).range), 9);
    let second = enter_waiting(&mut locks, 2, &insert(5));
    assert_eq!(met(&mut locks, 1, &insert(4)), None);
    locks.checks(second, Mode::S, false, 0);
    assert_eq!(met(&mut locks, 1, &insert(4)), Some((Wait, Likely)));
}

#[test]
fn what_a_waiting_statement_has_not_come_to_is_in_nobodys_way() {
    let mut locks = IndexLocks::default();
    let scan = Request { range: Range::all(), ..request(Kind::NextKey, Mode::X, 0) };
    let got = Got { asked: Range { low: Key::lowest(), high: key(5).after() }, waits: true, exact: false };
    locks.enter(asking(2), &scan, Range::all(), got);
    assert_eq!(met(&mut locks, 1, &request(Kind::Record, Mode::X, 4)), Some((Wait, Likely)));
    let beyond = request(Kind::Record, Mode::X, 6);
    let mut met = Met::default();
    locks.meet(asking(1), &beyond, &beyond.range, &mut met);
    assert_eq!((met.conflicts.len(), met.behind), (0, vec![TxnId(2)]));
}

#[test]
fn what_is_only_passed_over_is_in_the_way_while_it_is_waited_for() {
    let mut locks = IndexLocks::default();
    let passed = request(Kind::Passed, Mode::X, 5);
    enter(&mut locks, &passed);
    assert_eq!(met(&mut locks, 2, &request(Kind::Record, Mode::X, 5)), None, "let go at once");
    let got = Got { waits: true, ..Got::all(&passed.range) };
    let reach = locks.reach(&passed, 0);
    locks.enter(Asking { order: 3, ..asking(1) }, &passed, reach, got);
    assert_eq!(met(&mut locks, 2, &request(Kind::Record, Mode::X, 5)), Some((Wait, Likely)));
}

/// A check for a duplicate waits for a new record, and that is taken out again.
#[test]
fn a_check_inherits_the_gap_of_a_record_that_is_taken_out() {
    let insert = |value| request(Kind::Insert { check: Some(Mode::S) }, Mode::X, value);
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &insert(5));
    locks.settle(handle, &Settled::Became(Kind::Record, insert(5).range), 9);
    assert_eq!(locks.new_entry(handle), Some(insert(5).range));
    let reach = locks.reach(&insert(5), 0);
    let got = Got { waits: true, ..Got::all(&insert(5).range) };
    let second = locks.enter(Asking { order: 3, ..asking(2) }, &insert(5), reach, got);
    locks.checks(second, Mode::S, true, 0);
    assert_eq!(met(&mut locks, 3, &insert(4)), None, "a record alone");
    locks.release(handle, false, 9);
    assert_eq!(met(&mut locks, 3, &insert(4)), Some((Wait, Likely)));
}

#[test]
fn a_lock_that_is_asked_for_later_stands_behind_those_that_wait() {
    let mut locks = IndexLocks::default();
    let first = request(Kind::Record, Mode::X, 5);
    let none = Range { high: first.range.low.clone(), ..first.range.clone() };
    let handle =
        locks.enter(asking(1), &first, first.range.clone(), Got { asked: none, waits: true, exact: false });
    assert_eq!(locks.asked_at(handle), None);
    locks.advance(handle, 12, Got { waits: true, ..Got::all(&first.range) });
    assert_eq!(locks.asked_at(handle), Some(12));
}

/// A check that waited for a record that was taken out goes on to its place: who came later stands there first.
#[test]
fn an_insert_goes_to_its_place_behind_those_that_wait() {
    let insert = |value| request(Kind::Insert { check: Some(Mode::S) }, Mode::X, value);
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &insert(5));
    locks.settle(handle, &Settled::Became(Kind::Record, insert(5).range), 9);
    let wait = |locks: &mut IndexLocks, txn, order, value| {
        let reach = locks.reach(&insert(value), 0);
        let got = Got { waits: true, ..Got::all(&insert(value).range) };
        let handle = locks.enter(Asking { order, ..asking(txn) }, &insert(value), reach, got);
        locks.checks(handle, Mode::S, false, 0);
        handle
    };
    let first = wait(&mut locks, 2, 3, 5);
    assert!(!locks.goes_to_its_place(first));
    wait(&mut locks, 3, 4, 7);
    locks.release(handle, false, 9);
    assert!(locks.goes_to_its_place(first));
    let mut ask = |anew| {
        let mut met = Met::default();
        let reach = locks.reach(&insert(5), 0);
        locks.meet(Asking { order: 3, anew, ..asking(2) }, &insert(5), &reach, &mut met);
        met.conflicts.len()
    };
    assert_eq!((ask(false), ask(true)), (0, 1));
}

#[test]
fn a_lookup_that_waits_for_its_record_blocks_no_gap() {
    let mut locks = IndexLocks::default();
    let looks = request(Kind::RecordOrGap, Mode::X, 5);
    let reach = locks.reach(&looks, 0);
    locks.enter(asking(2), &looks, reach, Got { waits: true, ..Got::all(&looks.range) });
    let insert = request(Kind::Insert { check: None }, Mode::X, 4);
    assert_eq!(met(&mut locks, 1, &insert), None);
    let mut met = Met::default();
    locks.meet(Asking { overtakes: false, ..asking(1) }, &insert, &insert.range, &mut met);
    assert_eq!(met.conflicts.len(), 1, "MariaDB, in an index that is not the clustered one");
}

/// The server has given an insert under way a key; a look shows it.
#[test]
fn a_generated_key_becomes_known() {
    let mut end = Key::default();
    end.push_end();
    let range = Range { high: end.after(), low: end };
    let new = Request { range, ..request(Kind::Insert { check: None }, Mode::X, 0) };
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &new);
    let reads = request(Kind::Record, Mode::S, 7);
    assert_eq!(met(&mut locks, 2, &reads), None);
    locks.name_new(&[key(7), key(8)]);
    assert_eq!(met(&mut locks, 2, &reads).map(|(relation, _)| relation), Some(Wait));
    assert_eq!(met(&mut locks, 2, &request(Kind::Record, Mode::S, 8)), None, "there is one insert only");
    assert!(locks.has_got(handle));
}

#[test]
fn what_is_taken_out_again_is_in_nobodys_way() {
    let tried = request(Kind::Tried { check: Some(Mode::S) }, Mode::X, 5);
    let mut locks = IndexLocks::default();
    let handle = enter(&mut locks, &tried);
    let reads = request(Kind::Record, Mode::S, 5);
    assert_eq!(met(&mut locks, 2, &reads).map(|(relation, _)| relation), Some(Wait));
    assert!(locks.take_out(handle));
    assert_eq!(met(&mut locks, 2, &reads), None);
    assert!(!locks.take_out(handle));
}

/// READ COMMITTED: a row that WHERE rejects is let go if it was got at once, and kept if it was waited for.
#[test]
fn what_was_waited_for_is_not_passed_over_any_more() {
    for waits in [false, true] {
        let mut locks = IndexLocks::default();
        let passed = request(Kind::Passed, Mode::X, 5);
        let handle = if waits { enter_waiting(&mut locks, 1, &passed) } else { enter(&mut locks, &passed) };
        locks.advance(handle, 3, Got::all(&passed.range));
        let exclusive = request(Kind::Record, Mode::X, 5);
        assert_eq!(met(&mut locks, 2, &exclusive).is_some(), waits, "while its statement is under way");
        assert_eq!(locks.settle(handle, &Settled::Released, 9), waits, "when it was answered");
        assert_eq!(met(&mut locks, 2, &exclusive).is_some(), waits);
    }
}

/// A statement that fails while it waits has not got what it waited for.
#[test]
fn what_was_waited_for_in_vain_is_let_go() {
    let mut locks = IndexLocks::default();
    let handle = enter_waiting(&mut locks, 2, &request(Kind::Passed, Mode::X, 5));
    assert!(!locks.settle(handle, &Settled::Released, 9));
    assert!(locks.is_empty());
}

/// READ COMMITTED: a scan of 0 to 9 waits at 5. What is put behind that place keeps it back later, what is put before
/// does not, and nobody waits for it because of that.
#[test]
fn a_scan_comes_to_what_is_put_ahead_of_it() {
    let ahead = Request { range: Range { low: key(0), high: key(9) }, ..request(Kind::Ahead, Mode::X, 0) };
    let mut locks = IndexLocks::default();
    let stop = request(Kind::Record, Mode::X, 5);
    let at = enter_waiting(&mut locks, 2, &stop);
    let handle = enter_waiting(&mut locks, 2, &ahead);
    let stopped = [LockRef { index: stop.index, handle: at, order: 0 }];
    locks.stops_short(handle, stop.index, &[stop], &stopped);
    let mut put = |value| {
        let new = request(Kind::Insert { check: None }, Mode::X, value);
        let (mut met, reach) = (Met::default(), locks.reach(&new, 0));
        locks.meet(asking(3), &new, &reach, &mut met);
        (met.conflicts.len(), met.behind)
    };
    assert_eq!(put(7), (0, vec![TxnId(2)]));
    assert_eq!(put(3), (0, vec![]));
    // Its statement looks for them when it gets there.
    let new = request(Kind::Insert { check: None }, Mode::X, 7);
    let other = enter(&mut locks, &new);
    locks.settle(other, &Settled::Became(Kind::Record, new.range.clone()), 9);
    let asks = locks.asks(handle, &ahead).expect("it has not come to the end");
    assert_eq!(asks.range, Range { low: key(5).after(), high: key(9) });
    let mut met = Met::default();
    locks.meet(asking(2), &asks, &asks.range, &mut met);
    assert_eq!(met.conflicts.iter().map(|c| c.relation).collect::<Vec<_>>(), [Wait]);
    // A row that stood there all the time is asked for by itself.
    let mut locks = IndexLocks::default();
    let stood = enter(&mut locks, &request(Kind::Record, Mode::X, 7));
    locks.settle(stood, &Settled::Kept, 9);
    let mut met = Met::default();
    locks.meet(asking(2), &asks, &asks.range, &mut met);
    assert!(met.conflicts.is_empty());
}

/// What stands in the gap below an entry that a scan has not come to yet, it meets on its way there.
#[test]
fn a_scan_that_locks_gaps_asks_for_what_was_put_into_them() {
    let next = request(Kind::NextKey, Mode::X, 5);
    let mut locks = IndexLocks::default();
    let reach = Range { low: key(2).after(), high: next.range.high.clone() };
    let nothing =
        Got { asked: Range { high: next.range.low.clone(), ..next.range.clone() }, waits: true, exact: true };
    let handle = locks.enter(asking(2), &next, reach.clone(), nothing);
    assert_eq!(locks.asks(handle, &next).map(|asks| asks.range), Some(reach));
    // Once it waits for the entry itself it has come past the gap.
    let handle = enter_waiting(&mut locks, 3, &next);
    assert_eq!(locks.asks(handle, &next), None);
}

/// Two inserts of one key wait for one gap: on MariaDB either may be the first to get on.
#[test]
fn inserts_of_one_key_that_wait_for_a_gap_are_rivals() {
    let insert = |value| request(Kind::Insert { check: Some(Mode::S) }, Mode::X, value);
    let rivals = |waiting: &Request, coming: &Request| {
        let mut locks = IndexLocks::default();
        enter_waiting(&mut locks, 2, waiting);
        let mut met = Met::default();
        locks.meet(Asking { order: 10, ..asking(1) }, coming, &coming.range, &mut met);
        met.rivals
    };
    assert_eq!(rivals(&insert(5), &insert(5)), [TxnId(2)]);
    assert_eq!(rivals(&insert(5), &insert(6)), []);
    assert_eq!(rivals(&request(Kind::Record, Mode::X, 5), &insert(5)), []);
}

/// A statement that waits has deleted an entry: a look shows none, and the lookup waits for what stands there, marked.
#[test]
fn what_a_waiting_statement_has_deleted_stands_there_marked() {
    let mut locks = IndexLocks::default();
    let entry = request(Kind::Entry, Mode::X, 5);
    let handle = enter(&mut locks, &entry);
    let gap = request(Kind::Gap, Mode::X, 5);
    assert_eq!(met(&mut locks, 2, &gap), Some((Wait, Likely)));
    locks.settle(handle, &Settled::Kept, 9);
    assert_eq!(met(&mut locks, 2, &gap), None, "a later look shows it, if it is there");
}
