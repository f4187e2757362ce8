//! Tests of the order of locks.

use super::*;
use crate::admission::comment::Tags;
use crate::admission::history::Running;
use crate::id::TableId;
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::request::{Request, Settled};
use std::time::Instant;

/// Table, mode, kind and key of the one lock of each statement.
type Lock = (u32, Mode, Kind, i128);

const RECORD: Kind = Kind::Record;
const INSERT: Kind = Kind::Insert { check: Some(Mode::S) };

fn transaction(locks: &[Lock]) -> History {
    let mut history = History::new(Instant::now());
    for (at, (table, mode, kind, key)) in locks.iter().enumerate() {
        let text = format!("statement {at}").into();
        let step = history.note(Running { text, digest: 1, tags: Tags::default(), first: at == 0 }, 100);
        let mut place = Key::default();
        place.push_int(*key, false);
        let index = IndexId { table: TableId(*table), index: 0 };
        let (range, certainty) = (Range::entries(&place), Certainty::Certain);
        let request = Request { index, mode: *mode, range, kind: *kind, certainty, rule: "test" };
        let settled = match kind {
            Kind::Insert { .. } => Settled::Became(RECORD, request.range.clone()),
            _ => Settled::Kept,
        };
        history.locked(step, vec![request], vec![settled]);
    }
    history
}

fn check(transactions: &[&[Lock]], expected: &[Pattern]) {
    let order = LockOrder::new(Metrics::new(&Default::default()).unwrap());
    let places = Places::default();
    for locks in transactions.iter().chain(transactions) {
        order.learn(&transaction(locks), None, &places);
    }
    let found: Vec<Pattern> = order.hazards().iter().map(|hazard| hazard.pattern).collect();
    assert_eq!(found, expected, "{:#?}", order.hazards());
}

#[test]
fn two_tables_in_opposite_order() {
    let (checkout, restock) = (
        [(1, Mode::X, RECORD, 1), (2, Mode::X, RECORD, 9)],
        [(2, Mode::X, RECORD, 4), (1, Mode::X, RECORD, 7)],
    );
    check(&[&checkout, &restock], &[Pattern::OppositeOrder]);
    check(&[&checkout, &checkout], &[]);
    let reads = restock.map(|(table, _, kind, key)| (table, Mode::S, kind, key));
    let shares = checkout.map(|(table, _, kind, key)| (table, Mode::S, kind, key));
    check(&[&shares, &reads], &[]);
}

#[test]
fn three_transactions_in_a_circle() {
    let leg = |from, to| [(from, Mode::X, RECORD, 1), (to, Mode::X, RECORD, 1)];
    check(&[&leg(1, 2), &leg(2, 3), &leg(3, 1)], &[Pattern::OppositeOrder]);
    check(&[&leg(1, 2), &leg(2, 3), &leg(1, 3)], &[]);
}

#[test]
fn keys_of_one_index_up_and_down() {
    let (up, down) = (
        [(1, Mode::X, RECORD, 1), (1, Mode::X, RECORD, 2)],
        [(1, Mode::X, RECORD, 8), (1, Mode::X, RECORD, 5)],
    );
    check(&[&up], &[]);
    check(&[&up, &down], &[Pattern::OppositeOrder]);
}

#[test]
fn a_transaction_that_collides_with_another_of_its_kind() {
    check(&[&[(1, Mode::X, Kind::Gap, 5), (1, Mode::X, INSERT, 5)]], &[Pattern::GapThenInsert]);
    check(&[&[(1, Mode::S, RECORD, 5), (1, Mode::X, RECORD, 5)]], &[Pattern::SharedThenExclusive]);
    check(&[&[(1, Mode::X, RECORD, 5), (1, Mode::X, RECORD, 5)]], &[]);
    check(&[&[(1, Mode::X, INSERT, 5), (2, Mode::X, INSERT, 5), (1, Mode::X, INSERT, 6)]], &[]);
}

#[test]
fn a_name_does_not_depend_on_who_came_first() {
    let (one, two) = (
        transaction(&[(1, Mode::X, RECORD, 1), (2, Mode::X, RECORD, 1)]),
        transaction(&[(2, Mode::X, RECORD, 1), (1, Mode::X, RECORD, 1)]),
    );
    let name = |transactions: [&History; 2]| {
        let order = LockOrder::new(Metrics::new(&Default::default()).unwrap());
        transactions.iter().for_each(|t| order.learn(t, None, &Places::default()));
        order.hazards()[0].id.clone()
    };
    assert_eq!(name([&one, &two]), name([&two, &one]));
}

#[test]
fn memory_is_bounded() {
    let order = LockOrder::new(Metrics::new(&Default::default()).unwrap());
    for number in 0..MAX_SHAPES as u32 + 100 {
        let (a, b) = (number % 300 + 1, number / 300 + 1);
        order.learn(
            &transaction(&[(a, Mode::X, RECORD, 1), (b, Mode::X, RECORD, 2)]),
            None,
            &Places::default(),
        );
    }
    let graph = order.graph.lock();
    assert!(order.shapes.read().len() <= MAX_SHAPES && graph.edges.len() <= MAX_EDGES);
    assert!(graph.hazards.len() <= MAX_HAZARDS);
}
