//! The hold queue: nobody starves, limits hold, and who leaves lets those behind it on.

use std::time::Duration;

use super::Scheduler;
use super::conflict::{ConflictKind, Decision, Known, Submission, Woken};
use super::policy::{Action, Limits};
use super::signatures::Seen;
use super::victim::Weight;
use crate::id::{IndexId, SessionId, TableId, Token, TxnId};
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request, Settled, UNIQUE_LOOKUP};
use crate::lock::table::LockRefs;

const LIMITS: Limits = Limits { max_held: 100, max_queue: 100, max_overtaking_ms: 100 };

struct World {
    scheduler: Scheduler,
    now: u64,
}

#[derive(Debug)]
enum Asked {
    /// It went on and was answered; its locks.
    Holds(LockRefs),
    Held(Token),
}

impl World {
    fn new(limits: Limits) -> World {
        World { scheduler: Scheduler::new(limits, Duration::from_secs(1)), now: 0 }
    }

    /// Transaction `txn` asks for a record.
    fn ask(&mut self, txn: u64, record: i128, mode: Mode, action: Action) -> Asked {
        let submission = submission(txn, record, mode, action);
        if let Some(refs) = self.scheduler.enter(&submission, self.now) {
            return self.answered(txn, refs);
        }
        let token = self.scheduler.token();
        match self.scheduler.contend(token, &submission, self.now, || ()).decision {
            Decision::Forward { refs, .. } => self.answered(txn, refs),
            Decision::Hold => Asked::Held(token),
            Decision::Reject => panic!("nothing here closes a cycle"),
        }
    }

    fn answered(&mut self, txn: u64, refs: LockRefs) -> Asked {
        self.scheduler.waits_no_more(TxnId(txn));
        Asked::Holds(self.scheduler.answered(TxnId(txn), refs, &[Settled::Kept], self.now).0)
    }

    fn end(&mut self, txn: u64, locks: &LockRefs) -> Vec<Woken> {
        self.scheduler.ended(TxnId(txn), locks, true, self.now)
    }
}

/// Transaction `txn` asks for a record.
fn submission(txn: u64, record: i128, mode: Mode, action: Action) -> Submission {
    let mut key = Key::default();
    key.push_int(record, false);
    let index = IndexId { table: TableId(1), index: 0 };
    let (range, kind, certainty) = (Range::entries(&key), Kind::Record, Certainty::Certain);
    Submission {
        session: SessionId(txn),
        txn: TxnId(txn),
        seen: Seen::default(),
        action,
        requests: vec![Request { index, mode, range, kind, certainty, rule: "test" }],
        patience_ms: 1000,
        overtakes: true,
        leaves_out: false,
        changes: false,
        keeps: true,
        known: Known::default(),
    }
}

fn holds(asked: Asked) -> LockRefs {
    match asked {
        Asked::Holds(refs) => refs,
        Asked::Held(token) => panic!("held: {token:?}"),
    }
}

fn held(asked: Asked) -> Token {
    match asked {
        Asked::Holds(_) => panic!("not held"),
        Asked::Held(token) => token,
    }
}

/// A row that is read all the time, each reader before the last one has ended, and one change: after how many
/// milliseconds it comes to its turn.
fn change_among_readers(limits: Limits) -> Option<u64> {
    let mut world = World::new(limits);
    let mut readers = vec![(1, holds(world.ask(1, 7, Mode::S, Action::Reorder)))];
    let writer = held(world.ask(2, 7, Mode::X, Action::Reorder));
    let mut waiting = Vec::new();
    for number in 3..200 {
        world.now += 20;
        match world.ask(number, 7, Mode::S, Action::Reorder) {
            Asked::Holds(refs) => readers.push((number, refs)),
            Asked::Held(token) => waiting.push(token),
        }
        if readers.len() < 2 && waiting.is_empty() {
            continue;
        }
        let (oldest, refs) = readers.remove(0);
        let woken = world.end(oldest, &refs);
        let Some(first) = woken.first() else { continue };
        assert_eq!(first.token, writer, "the oldest first");
        assert_eq!(woken.len(), 1, "and alone");
        let Decision::Forward { refs, waits: false } = first.decision.clone() else { panic!("{first:?}") };
        let Asked::Holds(refs) = world.answered(2, refs) else { unreachable!("it was answered") };
        let after = world.now;
        let mut woken = world.end(2, &refs);
        woken.sort_by_key(|woken| woken.token);
        assert_eq!(
            woken.iter().map(|w| w.token).collect::<Vec<_>>(),
            waiting,
            "then all who waited behind it"
        );
        return Some(after);
    }
    None
}

#[test]
fn a_change_does_not_starve_among_readers() {
    let after = change_among_readers(LIMITS).expect("it comes to its turn");
    assert!((100..=200).contains(&after), "{after}");
    assert_eq!(change_among_readers(Limits { max_overtaking_ms: u64::MAX, ..LIMITS }), None);
}

#[test]
fn an_elder_stops_neither_those_it_waits_for_nor_those_that_are_only_flagged() {
    let mut world = World::new(LIMITS);
    let row = holds(world.ask(1, 7, Mode::S, Action::Reorder));
    held(world.ask(2, 7, Mode::X, Action::Reorder));
    world.now = 500;
    holds(world.ask(3, 7, Mode::S, Action::Flag));
    holds(world.ask(4, 8, Mode::X, Action::Reorder));
    holds(world.ask(1, 7, Mode::S, Action::Reorder));
    held(world.ask(5, 7, Mode::S, Action::Reorder));
    assert!(world.end(1, &row).is_empty(), "3 reads the row still");
}

#[test]
fn who_leaves_the_queue_lets_those_behind_it_on() {
    let mut world = World::new(LIMITS);
    holds(world.ask(1, 7, Mode::S, Action::Reorder));
    let elder = held(world.ask(2, 7, Mode::X, Action::Reorder));
    world.now = 500;
    let behind = held(world.ask(3, 7, Mode::S, Action::Reorder));
    let woken = world.scheduler.cancel(elder, world.now).expect("it was held");
    assert_eq!(woken.iter().map(|w| w.token).collect::<Vec<_>>(), [behind]);
    assert!(world.scheduler.cancel(elder, world.now).is_none());
    assert_eq!(world.scheduler.held(), 0);
}

#[test]
fn beyond_the_limits_nobody_is_held() {
    let mut world = World::new(Limits { max_held: 3, max_queue: 2, ..LIMITS });
    let first = holds(world.ask(1, 7, Mode::X, Action::Reorder));
    let second = holds(world.ask(2, 8, Mode::X, Action::Reorder));
    held(world.ask(3, 7, Mode::X, Action::Reorder));
    held(world.ask(4, 7, Mode::X, Action::Reorder));
    holds(world.ask(5, 7, Mode::X, Action::Reorder)); // two behind the first: to the server
    held(world.ask(6, 8, Mode::X, Action::Reorder));
    holds(world.ask(7, 8, Mode::X, Action::Reorder)); // three in all: to the server
    assert_eq!(world.scheduler.held(), 3);
    drop((first, second));
}

/// Sends a statement that asks for one record, whatever is in its way.
fn send(world: &World, txn: u64, record: i128) -> LockRefs {
    let (sent, _) = submit(world, txn, record, &|_| 0);
    sent
}

/// The same where each transaction has changed so many rows. Returned with it: what is reported, and as whose.
fn submit(
    world: &World,
    txn: u64,
    record: i128,
    rows: &dyn Fn(TxnId) -> u64,
) -> (LockRefs, Option<(TxnId, ConflictKind)>) {
    let submission = submission(txn, record, Mode::X, Action::Flag);
    if let Some(refs) = world.scheduler.enter(&submission, world.now) {
        return (refs, None);
    }
    let contended = world.scheduler.contend(world.scheduler.token(), &submission, world.now, || ());
    match contended.decision {
        Decision::Forward { refs, .. } => {
            let weigh = |txn: TxnId| Weight::new(rows(txn));
            let report = contended
                .report
                .map(|report| world.scheduler.loser(&report, &weigh, world.now).unwrap_or(report));
            (refs, report.map(|report| (report.requester, report.kind)))
        }
        decision => panic!("flagged only: {decision:?}"),
    }
}

#[test]
fn who_has_gone_past_an_elder_is_waited_for_and_goes_first() {
    let mut world = World::new(LIMITS);
    holds(world.ask(1, 7, Mode::S, Action::Reorder));
    held(world.ask(2, 7, Mode::X, Action::Reorder));
    holds(world.ask(3, 7, Mode::S, Action::Reorder));
    world.now = 500;
    holds(world.ask(3, 7, Mode::S, Action::Reorder));
    held(world.ask(4, 7, Mode::S, Action::Reorder));
}

#[test]
fn those_that_the_server_lets_another_pass_wait_for_it() {
    let mut world = World::new(LIMITS);
    let first = holds(world.ask(1, 7, Mode::X, Action::Flag));
    let (expected, passes) = (send(&world, 2, 7), send(&world, 3, 7));
    world.end(1, &first);
    assert!(world.scheduler.graph().edges_of(TxnId(2)).is_empty(), "2 is thought to be next");
    let passes = holds(world.answered(3, passes));
    assert!(world.scheduler.graph().waits_for(TxnId(2), TxnId(3)));
    holds(world.ask(3, 7, Mode::X, Action::Reorder));
    world.end(3, &passes);
    holds(world.answered(2, expected));
    assert!(world.scheduler.graph().is_empty());
}

#[test]
fn one_that_was_sent_first_and_comes_second_waits() {
    let mut world = World::new(LIMITS);
    let (sent_first, comes_first) = (send(&world, 1, 7), send(&world, 2, 7));
    assert!(world.scheduler.graph().waits_for(TxnId(2), TxnId(1)));
    let comes_first = holds(world.answered(2, comes_first));
    assert!(world.scheduler.graph().waits_for(TxnId(1), TxnId(2)));
    assert!(!world.scheduler.graph().waits_for(TxnId(2), TxnId(1)));
    world.end(2, &comes_first);
    holds(world.answered(1, sent_first));
    assert!(world.scheduler.graph().is_empty());
}

#[test]
fn a_herd_waits_on_behind_the_first_of_it() {
    let mut world = World::new(LIMITS);
    let mut locks = holds(world.ask(1, 7, Mode::X, Action::Flag));
    let herd: Vec<_> = (2..40).map(|txn| (txn, send(&world, txn, 7))).collect();
    for (txn, refs) in herd {
        world.end(txn - 1, &locks);
        let graph = world.scheduler.graph();
        assert!((txn + 1..40).all(|later| graph.waits_for(TxnId(later), TxnId(txn))), "all behind {txn}");
        assert!(!graph.is_waited_for(TxnId(txn - 1)), "nobody waits for one that has gone");
        locks = holds(world.answered(txn, refs));
    }
}

#[test]
fn who_has_changed_less_is_expected_to_lose() {
    for (first, second, loser) in [(0, 0, 2), (1, 0, 2), (0, 1, 1), (2, 3, 1), (3, 2, 2)] {
        let mut world = World::new(LIMITS);
        let rows = |txn: TxnId| if txn == TxnId(1) { first } else { second };
        for txn in [1, 2] {
            holds(world.ask(txn, i128::from(txn), Mode::X, Action::Flag));
        }
        let (_, waits) = submit(&world, 1, 2, &rows);
        assert_eq!(waits, Some((TxnId(1), ConflictKind::Wait)), "a wait is reported as the waiter's");
        let (_, closes) = submit(&world, 2, 1, &rows);
        assert_eq!(closes, Some((TxnId(loser), ConflictKind::Deadlock)), "{first} rows against {second}");
    }
}

#[test]
fn what_becomes_known_of_an_earlier_statement_ends_no_wait() {
    let mut world = World::new(LIMITS);
    let own = [1, 2].map(|txn| holds(world.ask(txn, i128::from(txn), Mode::X, Action::Flag)));
    let _ = send(&world, 1, 2);
    // The first statement of the one that waits was narrowed meanwhile.
    let became = Settled::Became(Kind::Record, Range::all());
    let _ = world.scheduler.settled(TxnId(1), own[0].clone(), &[became], world.now);
    let (_, closes) = submit(&world, 2, 1, &|_| 0);
    assert_eq!(closes, Some((TxnId(2), ConflictKind::Deadlock)), "the first one waits still");
}

/// One whose transaction ends while another's end lets it get further must not be left in the graph.
#[test]
fn nobody_waits_who_has_gone() {
    for _ in 0..2000 {
        let mut world = World::new(LIMITS);
        let [first, second] = [1, 2].map(|txn| holds(world.ask(txn, 7, Mode::S, Action::Flag)));
        let waits = send(&world, 3, 7);
        let (scheduler, start) = (&world.scheduler, std::sync::Barrier::new(2));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                start.wait();
                scheduler.ended(TxnId(1), &first, true, 0)
            });
            start.wait();
            scheduler.ended(TxnId(3), &waits, false, 0);
        });
        assert!(scheduler.graph().is_empty(), "{:?}", scheduler.graph().look(9));
        world.end(2, &second);
    }
}

#[test]
fn a_hold_ends_when_the_server_shows_its_holder_behind_it() {
    let mut world = World::new(LIMITS);
    let first = holds(world.ask(1, 7, Mode::X, Action::Reorder));
    let (second, third) = (held(world.ask(2, 7, Mode::X, Action::Reorder)), TxnId(3));
    assert!(world.scheduler.held_behind(world.now).contains(&TxnId(1)));
    let free = |waits: &[(TxnId, TxnId)]| world.scheduler.free_stalled(waits, 0);
    assert!(free(&[(TxnId(1), third)]).is_empty(), "the third waits for nobody");
    let woken = free(&[(TxnId(1), third), (third, TxnId(2))]);
    assert_eq!(woken.iter().map(|woken| woken.token).collect::<Vec<_>>(), [second]);
    assert_eq!((world.scheduler.held(), world.scheduler.held_behind(0)), (0, Vec::new()));
    world.end(1, &first);
}

#[test]
fn a_victim_is_in_no_circle_any_more() {
    let mut world = World::new(LIMITS);
    let own = [1, 2].map(|txn| holds(world.ask(txn, i128::from(txn), Mode::X, Action::Flag)));
    let waits = send(&world, 1, 2);
    let closes = send(&world, 2, 1);
    // The server answers the second with 1213: what it asked for is not held.
    let _ = world.scheduler.answered(TxnId(2), closes, &[Settled::Released], world.now);
    assert_eq!(world.scheduler.foreseen().len(), 0, "the circle was reported when it was closed");
    world.scheduler.waits_no_more(TxnId(2));
    world.end(2, &own[1]);
    let _ = world.scheduler.answered(TxnId(1), waits, &[Settled::Kept], world.now);
    world.end(1, &own[0]);
    assert_eq!(world.scheduler.foreseen().len(), 0);
}

#[test]
fn a_guess_counts_for_nothing_once_nobody_looks() {
    let mut world = World::new(LIMITS);
    let mut wide = submission(1, 0, Mode::X, Action::Reorder);
    (wide.requests[0].range, wide.requests[0].certainty) = (Range::all(), Certainty::Unknown);
    assert!(world.scheduler.enter(&wide, world.now).is_some(), "nothing is there yet");
    let mut other = submission(2, 5, Mode::X, Action::Reorder);
    assert!(world.scheduler.enter(&other, world.now).is_none(), "a look would tell");
    other.known.as_it_is = true;
    let refs = world.scheduler.enter(&other, world.now).expect("nobody looks");
    holds(world.answered(2, refs));
    // What is known is in the way, whether anybody looks or not.
    let mut third = submission(3, 5, Mode::X, Action::Reorder);
    third.known.as_it_is = true;
    assert!(world.scheduler.enter(&third, world.now).is_none());
    assert!(matches!(world.ask(3, 5, Mode::X, Action::Reorder), Asked::Held(_)));
}

/// A transaction asks for entries of a unique index, each at one value.
fn at_values(txn: u64, asked: &[(u16, Kind, i128)]) -> Submission {
    let request = |&(at, kind, value): &(u16, Kind, i128)| {
        let mut key = Key::default();
        key.push_int(value, false);
        let (index, range) = (IndexId { table: TableId(1), index: at }, Range::entries(&key));
        let (mode, certainty) = (Mode::X, Certainty::Certain);
        Request { index, mode, range, kind, certainty, rule: UNIQUE_LOOKUP }
    };
    Submission {
        requests: asked.iter().map(request).collect(),
        ..submission(txn, 0, Mode::X, Action::Reorder)
    }
}

/// Of three lookups the first has ended, the second is let on: is the third, at `value`, let on with it?
fn is_let_on_with_ten(value: i128) -> bool {
    let (scheduler, insert) = (Scheduler::new(LIMITS, Duration::from_secs(1)), Kind::Insert { check: None });
    let place = |value| at_values(1, &[(1, insert, value)]).requests.remove(0).range;
    let first = at_values(1, &[(1, Kind::RecordOrGap, 15)]);
    let refs = scheduler.enter(&first, 0).expect("free");
    let missed = [Settled::Became(Kind::Gap, place(15))];
    let (mut locks, _) = scheduler.answered(TxnId(1), refs, &missed, 0);
    let tokens = [(2, 10), (3, value)].map(|(txn, value)| {
        let token = scheduler.token();
        let asks = at_values(txn, &[(1, Kind::RecordOrGap, value)]);
        assert!(matches!(scheduler.contend(token, &asks, 0, || ()).decision, Decision::Hold));
        token
    });
    let put = scheduler.enter(&at_values(1, &[(1, insert, 15)]), 0).expect("its own gap");
    let became = [Settled::Became(Kind::Record, place(15))];
    let (put, woken) = scheduler.answered(TxnId(1), put, &became, 0);
    assert!(woken.is_empty(), "its gap is in the way as before");
    locks.extend(put);
    let woken: Vec<Token> = scheduler.ended(TxnId(1), &locks, true, 0).iter().map(|w| w.token).collect();
    assert_eq!(woken[0], tokens[0]);
    assert_eq!(scheduler.graph().waits_for(TxnId(3), TxnId(2)), woken.len() == 1);
    woken.contains(&tokens[1])
}

#[test]
fn of_lookups_in_one_gap_one_is_let_on_at_a_time() {
    assert!(!is_let_on_with_ten(11));
    assert!(is_let_on_with_ten(20), "a record stands between them now");
}

#[test]
fn an_insert_that_was_let_past_a_lookup_waits_for_its_gap() {
    let (scheduler, insert) = (Scheduler::new(LIMITS, Duration::from_secs(1)), Kind::Insert { check: None });
    let enters = |txn, kind, value| scheduler.enter(&at_values(txn, &[(1, kind, value)]), 0).expect("free");
    let settle = |txn: u64, refs: &LockRefs, kind, value: i128| {
        let place = at_values(txn, &[(1, kind, value)]).requests.remove(0).range;
        scheduler.answered(TxnId(txn), refs.clone(), &[Settled::Became(kind, place)], 0).0
    };
    // Lookups find their record here, on both sides of the place.
    for (txn, value) in (1..20).zip([7, 20].into_iter().cycle()) {
        let found = settle(txn, &enters(txn, Kind::RecordOrGap, value), Kind::Record, value);
        scheduler.ended(TxnId(txn), &found, true, 0);
    }
    let looks = [(21, 9), (22, 10)].map(|(txn, value)| (txn, value, enters(txn, Kind::RecordOrGap, value)));
    settle(21, &looks[0].2, Kind::Gap, 9);
    let sent = enters(21, insert, 9);
    assert!(scheduler.graph().is_empty(), "that the other lookup finds nothing nobody knows yet");
    settle(22, &looks[1].2, Kind::Gap, 10);
    assert!(scheduler.graph().waits_for(TxnId(21), TxnId(22)));
    // Held it would wait until the deadline: the other one waits for it.
    let asks = at_values(22, &[(1, insert, 10)]);
    let contended = scheduler.contend(scheduler.token(), &asks, 0, || ());
    assert!(matches!(contended.decision, Decision::Forward { .. }), "{contended:?}");
    assert_eq!(contended.report.map(|report| report.kind), Some(ConflictKind::Deadlock));
    settle(21, &sent, Kind::Record, 9);
    assert!(!scheduler.graph().waits_for(TxnId(21), TxnId(22)), "it has got it");
}

#[test]
fn a_lookup_that_was_held_while_its_row_was_put_asks_for_that_row() {
    let scheduler = Scheduler::new(LIMITS, Duration::from_secs(1));
    let place = |value: i128| {
        let mut key = Key::default();
        key.push_int(value, false);
        Range::entries(&key)
    };
    let request = |at: u16, range: Range, kind: Kind, certainty| {
        let index = IndexId { table: TableId(1), index: at };
        Request { index, mode: Mode::X, range, kind, certainty, rule: UNIQUE_LOOKUP }
    };
    let asks = |txn: u64, requests: Vec<Request>| Submission {
        requests,
        ..submission(txn, 0, Mode::X, Action::Reorder)
    };
    let insert = Kind::Insert { check: Some(Mode::S) };
    let mut lookup = vec![
        request(1, place(51), Kind::RecordOrGap, Certainty::Certain),
        request(0, Range::all(), Kind::Clustered { via: 1 }, Certainty::Unknown),
    ];
    scheduler.locks().lead(&mut lookup, 0);
    let puts = [(0, 1), (1, 51)].map(|(at, value)| request(at, place(value), insert, Certainty::Certain));
    let refs = scheduler.enter(&asks(1, puts.to_vec()), 0).expect("nobody is in the way");
    let contended = scheduler.contend(scheduler.token(), &asks(2, lookup), 0, || ());
    assert!(matches!(contended.decision, Decision::Hold));
    let became = [1, 51].map(|value| Settled::Became(Kind::Record, place(value)));
    let (kept, _) = scheduler.answered(TxnId(1), refs, &became, 0);
    assert_eq!(scheduler.ended(TxnId(1), &kept, true, 0).len(), 1);
    let asked = scheduler.locks().look(9, |held| matches!(held.kind, Kind::Clustered { .. }));
    assert_eq!(asked.into_iter().map(|(_, _, held)| held.named).collect::<Vec<_>>(), [place(1)]);
}
