//! The lock table and the wait-for graph against models that are too simple to be wrong.
//!
//! The records of the one index are 10, 20 and 30. A gap lock reaches from the record below the place that
//! was named to the one above it; nothing is ever committed, so no other record comes to be known.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::index::Relation;
use super::key::Key;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Kind, Origin, Request, Settled};
use super::shown::Neighbours;
use super::table::{LockRefs, LockTable};
use super::wait_for::{Edge, WaitFor};
use crate::id::{IndexId, TableId, TxnId};

const INDEX: IndexId = IndexId { table: TableId(1), index: 0 };
const RECORDS: [i128; 3] = [10, 20, 30];

fn key(value: i128) -> Key {
    let mut key = Key::default();
    key.push_int(value, false);
    key
}

/// The same cases in every run, unless `PROPTEST_RNG_SEED` says otherwise.
fn config() -> ProptestConfig {
    let given = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(given.unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

// ## The lock table

/// A lock as the simple model has it.
#[derive(Clone, Debug)]
struct Simple {
    txn: u64,
    place: i128,
    kind: Kind,
    mode: Mode,
    granted: bool,
}

impl Simple {
    /// Would this wait for `other`? The table of the manual, written down. `own`: the entry is there, and is the
    /// asker's.
    fn waits_for(&self, other: &Simple, own: bool) -> bool {
        let asked = match self.kind {
            Kind::Gap => None,
            Kind::Insert { check } => check,
            _ => Some(self.mode),
        };
        let inserts = |kind| matches!(kind, Kind::Insert { .. });
        let covers = matches!(other.kind, Kind::Record | Kind::NextKey) || inserts(other.kind);
        let gap = matches!(other.kind, Kind::Gap | Kind::NextKey);
        let both_shared = asked == Some(Mode::S) && other.mode == Mode::S;
        let record = asked.is_some() && covers && self.place == other.place && !both_shared;
        record || (inserts(self.kind) && !own && gap && other.reaches(self.place))
    }

    /// Does its gap reach a place?
    fn reaches(&self, place: i128) -> bool {
        let below = RECORDS.iter().rev().find(|record| **record < self.place);
        let above = RECORDS.iter().find(|record| **record > self.place);
        below.is_none_or(|record| *record < place) && above.is_none_or(|record| place < *record)
    }
}

/// A table that knows the records.
fn table() -> LockTable {
    let table = LockTable::new(1_000_000);
    for (at, record) in RECORDS.iter().enumerate() {
        let neighbour = |at: Option<usize>| at.and_then(|at| RECORDS.get(at)).map(|record| key(*record));
        let seen = Neighbours {
            asked: 0,
            place: key(*record),
            present: true,
            below: neighbour(at.checked_sub(1)),
            above: neighbour(Some(at + 1)),
        };
        table.learn(INDEX, &seen, 0);
    }
    table
}

#[derive(Clone, Debug)]
enum Step {
    Ask { txn: u64, place: i128, kind: Kind, mode: Mode },
    End { txn: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        Just(Kind::Record),
        Just(Kind::Gap),
        Just(Kind::NextKey),
        Just(Kind::Insert { check: None }),
        Just(Kind::Insert { check: Some(Mode::S) }),
        Just(Kind::Insert { check: Some(Mode::X) }),
    ];
    let place = (0..8i128).prop_map(|n| n * 5);
    let mode = prop_oneof![Just(Mode::S), Just(Mode::X)];
    let ask = (0..5u64, place, kind, mode).prop_map(|(txn, place, kind, mode)| {
        // A new entry is always exclusive.
        let mode = if kind.inserts() { Mode::X } else { mode };
        Step::Ask { txn, place, kind, mode }
    });
    let end = (0..5u64).prop_map(|txn| Step::End { txn });
    prop::collection::vec(prop_oneof![5 => ask, 1 => end], 1..80)
}

fn ask(table: &LockTable, simple: &Simple, overtakes: bool) -> (LockRefs, BTreeSet<u64>) {
    let range = Range::entries(&key(simple.place));
    let (kind, mode) = (simple.kind, simple.mode);
    let request = Request { index: INDEX, mode, range, kind, certainty: Certainty::Certain, rule: "test" };
    let (refs, met) = table.enter(TxnId(simple.txn), &[request], Origin::default(), overtakes, 0);
    let waits = met.conflicts.iter().filter(|conflict| conflict.relation == Relation::Wait);
    (refs, waits.map(|conflict| conflict.holder.0).collect())
}

proptest! {
    #![proptest_config(config())]

    /// Whoever is let on is compatible with all that was granted, whoever waits has somebody to wait for,
    /// and nothing is left of those who have gone.
    #[test]
    fn no_two_incompatible_grants(steps in steps(), overtakes: bool) {
        let table = table();
        let mut simple: Vec<Simple> = Vec::new();
        let mut held: BTreeMap<u64, LockRefs> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Ask { txn, place, kind, mode } => {
                    // Who waits says nothing more.
                    if simple.iter().any(|lock| lock.txn == txn && !lock.granted) {
                        continue;
                    }
                    let mut asked = Simple { txn, place, kind, mode, granted: true };
                    let (refs, waits) = ask(&table, &asked, overtakes);
                    let own = simple.iter().any(|lock| {
                        let record = lock.kind == Kind::Record && lock.mode == Mode::X && lock.granted;
                        lock.txn == txn && lock.place == place && record
                    });
                    let others = simple.iter().filter(|lock| lock.txn != txn && asked.waits_for(lock, own));
                    let in_the_way: BTreeSet<u64> = others.clone().map(|lock| lock.txn).collect();
                    let granted: BTreeSet<u64> = others.filter(|lock| lock.granted).map(|lock| lock.txn).collect();
                    prop_assert!(waits.is_superset(&granted), "{:?} passed {:?}, saw {:?}", asked, granted, waits);
                    prop_assert!(waits.is_subset(&in_the_way), "{:?} waits for {:?}, not {:?}", asked, waits, in_the_way);
                    asked.granted = waits.is_empty();
                    let kept = if asked.granted { table.settle(refs, &[Settled::Kept], 0) } else { refs };
                    held.entry(txn).or_default().extend(kept);
                    simple.push(asked);
                }
                Step::End { txn } => {
                    simple.retain(|lock| lock.txn != txn);
                    table.release(&held.remove(&txn).unwrap_or_default(), false, 0);
                }
            }
        }
        for refs in held.values() {
            table.release(refs, false, 0);
        }
        prop_assert!(table.is_empty(), "{} locks are left", table.len());
    }
}

// ## The wait-for graph

/// Everybody who can be reached, `from` included.
fn reached(edges: &BTreeMap<u64, Vec<u64>>, from: u64) -> BTreeSet<u64> {
    let (mut seen, mut stack) = (BTreeSet::from([from]), vec![from]);
    while let Some(at) = stack.pop() {
        stack.extend(edges.get(&at).into_iter().flatten().filter(|next| seen.insert(**next)));
    }
    seen
}

proptest! {
    #![proptest_config(config())]

    /// A chain is there exactly if the target can be reached, and each of its links is an edge.
    #[test]
    fn every_wait_chain_is_a_real_path(
        edges in prop::collection::btree_map(0..9u64, prop::collection::vec(0..9u64, 0..4), 0..9),
        from in 0..9u64,
        target in 0..9u64,
    ) {
        let graph = WaitFor::default();
        let edge = |to: &u64| Edge { to: TxnId(*to), held: false, certainty: Certainty::Likely, later: false };
        for (waiter, holders) in &edges {
            graph.set(TxnId(*waiter), holders.iter().map(edge).collect());
        }
        let chain = graph.chain(TxnId(from), TxnId(target));
        prop_assert_eq!(chain.is_some(), reached(&edges, from).contains(&target));
        if let Some(chain) = chain {
            prop_assert_eq!((chain[0], chain[chain.len() - 1]), (TxnId(from), TxnId(target)));
            for link in chain.windows(2) {
                prop_assert!(edges[&link[0].0].contains(&link[1].0), "no edge {:?}", link);
            }
        }
        // Beyond the target no chain goes on.
        let mut up_to_target = edges.clone();
        up_to_target.remove(&target);
        let on_chains = reached(&up_to_target, from).into_iter().filter(|at| reached(&up_to_target, *at).contains(&target));
        let expected: BTreeSet<u64> = on_chains.collect();
        let ways = graph.ways([TxnId(from)].into_iter(), &[TxnId(target)]);
        let found: BTreeSet<u64> = ways.everybody().map(|txn| txn.0).collect();
        prop_assert_eq!(found, expected);
        for waiter in edges.keys() {
            graph.clear(TxnId(*waiter));
        }
        prop_assert!(graph.is_empty());
    }
}
