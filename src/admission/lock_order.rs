//! Hazards that never collided: cycles in the order in which transactions lock, as Linux's lockdep finds them.
//!
//! A **class** is an index with what is locked in it: `orders.PRIMARY, record, X`. A transaction that holds one
//! class and asks for another draws an edge. A cycle of edges, of which each asks for what the next one holds,
//! is a deadlock that may come, though the transactions may never have met:
//!
//! ```text
//! checkout   holds orders, asks for stock
//! restock    holds stock, asks for orders        ⇒ a hazard
//! get-or-create   holds a gap, inserts into it   ⇒ a hazard with itself
//! ```
//!
//! Rows of one index are one class, so within it the order of the keys is looked at: only if some transaction
//! goes up and some goes down is there a cycle. A table that is locked through several of its indexes is entered
//! through the first; an order between indexes of one table is not looked for, because each statement that finds
//! rows by one index and locks them in another would be a cycle with itself.
//!
//! A transaction costs a hash of its locks when it ends; one of a shape that is new is analysed once. Everything is
//! bounded; over a limit nothing new is learned.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxBuildHasher, FxHashSet, FxHasher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advice::{self, Advice};
use super::history::{History, Standing};
use super::place::Places;
use crate::id::IndexId;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::Kind;
use crate::metrics::Metrics;
use crate::metrics::labels::Pattern;

/// Shapes of transactions that are remembered; with more, no new one is analysed.
const MAX_SHAPES: usize = 20_000;
/// Edges between classes.
const MAX_EDGES: usize = 20_000;
/// Hazards that are kept.
const MAX_HAZARDS: usize = 1000;
/// Edges of the longest cycle that is looked for.
const MAX_CYCLE: usize = 4;
/// Steps of the search for the cycles of one new edge: in a graph where everybody locks everything, the search ends.
const MAX_STEPS: usize = 5_000;
/// Locks of one transaction that are looked at.
const MAX_LOCKS: usize = 64;

/// What is locked in an index, as far as it matters for who waits for whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Records.
    Record,
    /// Gaps.
    Gap,
    /// Records and gaps.
    Range,
    /// A new entry.
    Insert,
}

/// A class of locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Class {
    index: IndexId,
    what: What,
    mode: Mode,
}

/// Which way the keys go from the lock held to the lock asked for, in one index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Way {
    /// Two indexes, or nothing to compare.
    None,
    Up,
    Down,
    /// The same place.
    Same,
}

/// An edge: some transaction holds `from` and asks for `to`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Edge {
    from: Class,
    to: Class,
    way: Way,
}

/// One transaction's part in a hazard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Leg {
    /// What it holds: `X record of shop.orders (id)`.
    pub holds: String,
    /// The statement that took it.
    pub holding: Arc<str>,
    /// What it asks for.
    pub asks: String,
    /// The statement that asks.
    pub asking: Arc<str>,
    /// Who ran it first.
    pub program: Option<String>,
}

/// A deadlock that may come.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Hazard {
    /// Its name: the same in every process, for a baseline.
    pub id: String,
    /// Which shape it has.
    #[schemars(with = "String")]
    pub pattern: Pattern,
    /// In one sentence.
    pub summary: String,
    /// The tables, in the order in which the legs hold them.
    pub tables: Vec<String>,
    /// Each transaction's part; one leg is a transaction that collides with another of its own kind.
    pub legs: Vec<Leg>,
    /// What helps.
    pub advice: Vec<Advice>,
    /// When it was found, RFC 3339.
    pub found: String,
}

/// The order of locks, over all sessions.
#[derive(Debug)]
pub struct LockOrder {
    shapes: RwLock<FxHashSet<u64>>,
    graph: Mutex<Graph>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Graph {
    edges: HashMap<Edge, Leg, FxBuildHasher>,
    from: HashMap<IndexId, Vec<Edge>, FxBuildHasher>,
    hazards: Vec<Hazard>,
    known: HashSet<String>,
}

impl LockOrder {
    /// Knows nothing yet.
    pub fn new(metrics: Metrics) -> LockOrder {
        LockOrder { shapes: RwLock::default(), graph: Mutex::default(), metrics }
    }

    /// The hazards found so far, oldest first.
    pub fn hazards(&self) -> Vec<Hazard> {
        self.graph.lock().hazards.clone()
    }

    /// How many have been found.
    pub fn found(&self) -> usize {
        self.graph.lock().hazards.len()
    }

    /// A transaction ends: what it locked, in order.
    pub(super) fn learn(&self, history: &History, program: Option<&str>, places: &Places) {
        let Some(shape) = shape(history) else { return };
        let full = |shapes: &FxHashSet<u64>| shapes.len() >= MAX_SHAPES || shapes.contains(&shape);
        if full(&self.shapes.read()) || !self.shapes.write().insert(shape) {
            return;
        }
        let taken = taken(history);
        let mut graph = self.graph.lock();
        for (at, asking) in taken.iter().enumerate() {
            for holding in taken[..at].iter().filter(|holding| holding.step < asking.step) {
                let Some(edge) = edge(&holding.lock, &asking.lock) else { continue };
                if graph.edges.len() >= MAX_EDGES || graph.edges.contains_key(&edge) {
                    continue;
                }
                let leg = Leg {
                    holds: class_in_words(edge.from, places),
                    holding: holding.text.clone(),
                    asks: class_in_words(edge.to, places),
                    asking: asking.text.clone(),
                    program: program.map(str::to_owned),
                };
                let found = graph.add(edge, leg, places);
                (0..found).for_each(|_| self.metrics.hazards.inc(()));
            }
        }
    }
}

/// A lock with the statement that took it.
struct Taken {
    step: usize,
    text: Arc<str>,
    lock: Standing,
}

/// The locks of a transaction in order. Of one statement in one table only those of the index that it came through.
fn taken(history: &History) -> Vec<Taken> {
    let mut all: Vec<Taken> = Vec::new();
    for (step, noted) in history.steps.iter().enumerate() {
        noted.visit(&mut |lock| {
            let elsewhere = |t: &Taken| {
                t.step == step && t.lock.index.table == lock.index.table && t.lock.index != lock.index
            };
            // An insert has an entry in each index, and each is a place of its own.
            let first = lock.inserted || !all.iter().any(elsewhere);
            if !lock.index.is_whole() && first && all.len() < MAX_LOCKS {
                all.push(Taken { step, text: noted.text.clone(), lock: lock.clone() });
            }
        });
    }
    all
}

/// A number for the order in which a transaction locks; `None` if it has no order.
fn shape(history: &History) -> Option<u64> {
    // Most transactions are one statement.
    if history.steps.len() < 2 {
        return None;
    }
    let mut hasher = FxHasher::default();
    let (mut steps, mut left) = (0, MAX_LOCKS);
    let mut last: Option<Standing> = None;
    for (step, noted) in history.steps.iter().enumerate() {
        let mut locks = false;
        noted.visit(&mut |lock| {
            if left == 0 {
                return;
            }
            left -= 1;
            locks = true;
            let way = last
                .as_ref()
                .filter(|last| last.index == lock.index)
                .map(|last| way(&last.range, &lock.range));
            (step, lock.index, lock.mode, lock.kind, lock.inserted, way).hash(&mut hasher);
            last = Some(lock.clone());
        });
        steps += usize::from(locks);
    }
    (steps > 1).then(|| hasher.finish())
}

impl Graph {
    /// Adds an edge; returns how many new hazards it makes.
    fn add(&mut self, edge: Edge, leg: Leg, places: &Places) -> usize {
        self.edges.insert(edge, leg);
        self.from.entry(edge.from.index).or_default().push(edge);
        if self.hazards.len() >= MAX_HAZARDS {
            return 0;
        }
        let (mut cycles, mut left) = (Vec::new(), MAX_STEPS);
        self.cycles(edge, &mut vec![edge], &mut cycles, &mut left);
        let before = self.hazards.len();
        for cycle in cycles {
            self.note(&cycle, places);
        }
        self.hazards.len() - before
    }

    /// All cycles that begin with an edge and come back to what it holds.
    fn cycles(&self, first: Edge, path: &mut Vec<Edge>, found: &mut Vec<Vec<Edge>>, left: &mut usize) {
        let Some(last) = path.last().copied() else { return };
        if blocks(first.from, last.to) && makes_sense(path) {
            found.push(path.clone());
            return;
        }
        if path.len() == MAX_CYCLE {
            return;
        }
        // Who holds what the last one asks for?
        for next in self.from.get(&last.to.index).into_iter().flatten() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            if blocks(next.from, last.to) && !path.contains(next) {
                path.push(*next);
                self.cycles(first, path, found, left);
                path.pop();
            }
        }
    }

    fn note(&mut self, cycle: &[Edge], places: &Places) {
        if self.hazards.len() >= MAX_HAZARDS {
            return;
        }
        let legs: Vec<Leg> = cycle.iter().filter_map(|edge| self.edges.get(edge).cloned()).collect();
        let id = id(cycle, places);
        if !self.known.insert(id.clone()) {
            return;
        }
        let sentence = |leg: &Leg| format!("one holds {} and asks for {}", leg.holds, leg.asks);
        let summary = match &legs[..] {
            [only] => {
                format!("two transactions of one kind: each holds {} and asks for {}", only.holds, only.asks)
            }
            legs => legs.iter().map(sentence).collect::<Vec<_>>().join("; "),
        };
        let mut tables: Vec<String> = Vec::new();
        for edge in cycle {
            let table = places.name(edge.from.index).table;
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        let pattern = pattern(cycle);
        let advice = cycle.first().map(|edge| advice::of(pattern, &places.name(edge.to.index), &[]));
        let advice = advice.unwrap_or_default();
        let hazard = Hazard { id, pattern, summary, tables, legs, advice, found: super::ledger::now() };
        tracing::warn!(
            target: "interlock::hazard",
            id = %hazard.id,
            pattern = ?hazard.pattern,
            summary = %hazard.summary,
            "lock order hazard"
        );
        self.hazards.push(hazard);
    }
}

/// The edge between two locks of one transaction, if the second can wait for anybody.
fn edge(holds: &Standing, asks: &Standing) -> Option<Edge> {
    let (from, to) = (class(holds), class(asks));
    // A gap is granted at once.
    if to.what == What::Gap {
        return None;
    }
    let same_index = holds.index == asks.index;
    if !same_index && holds.index.table == asks.index.table {
        return None;
    }
    let way = if same_index { way(&holds.range, &asks.range) } else { Way::None };
    // What is held already is not waited for, unless it is held in a weaker mode.
    let stronger = to.mode > from.mode || to.what == What::Insert;
    if way == Way::Same && !stronger {
        return None;
    }
    Some(Edge { from, to, way })
}

fn class(lock: &Standing) -> Class {
    let what = match lock.kind {
        _ if lock.inserted => What::Insert,
        Kind::Gap => What::Gap,
        Kind::RecordOrGap | Kind::NextKey => What::Range,
        Kind::Record | Kind::Passed | Kind::Ahead | Kind::Clustered { .. } | Kind::Entry => What::Record,
        Kind::Insert { .. } | Kind::Tried { .. } => What::Insert,
    };
    Class { index: lock.index, what, mode: lock.mode }
}

fn way(from: &Range, to: &Range) -> Way {
    if from.intersects(to) {
        Way::Same
    } else if from.low < to.low {
        Way::Up
    } else {
        Way::Down
    }
}

/// Would a transaction that asks for `asked` wait for one that holds `held`?
fn blocks(held: Class, asked: Class) -> bool {
    if held.index != asked.index {
        return false;
    }
    let record = match (held.what, asked.what) {
        (What::Gap, _) | (_, What::Gap) => false,
        // Nobody asks for a record by its key before it is committed; a search of a range runs into it.
        (What::Insert, What::Record) => false,
        _ => !held.mode.compatible(asked.mode),
    };
    let gap = matches!(held.what, What::Gap | What::Range) && asked.what == What::Insert;
    // Two inserts meet only on one key; that they do is not known from the class.
    let inserts = held.what == What::Insert && asked.what == What::Insert;
    (record && !inserts) || gap
}

/// Within one index the keys tell more than the class.
fn makes_sense(cycle: &[Edge]) -> bool {
    let one_index = cycle.iter().all(|e| e.from.index == e.to.index && e.from.index == cycle[0].from.index);
    if !one_index {
        return true;
    }
    let collides = |edge: &Edge| {
        let insert = matches!(edge.from.what, What::Gap | What::Range) && edge.to.what == What::Insert;
        let upgrade = edge.from.mode == Mode::S && edge.to.mode == Mode::X;
        edge.way == Way::Same && (insert || upgrade)
    };
    match cycle {
        [only] => collides(only),
        several => {
            let goes = |way| several.iter().any(|edge| edge.way == way);
            goes(Way::Up) && goes(Way::Down) && !several.iter().any(|edge| edge.way == Way::Same)
        }
    }
}

fn pattern(cycle: &[Edge]) -> Pattern {
    match cycle {
        [only] if only.to.what == What::Insert => Pattern::GapThenInsert,
        [_] => Pattern::SharedThenExclusive,
        several if several.iter().any(|edge| edge.to.what == What::Insert) => Pattern::RangeAndInsert,
        _ => Pattern::OppositeOrder,
    }
}

fn class_in_words(class: Class, places: &Places) -> String {
    let place = places.name(class.index);
    let what = match class.what {
        What::Record => "the record lock",
        What::Gap => "the gap",
        What::Range => "the records and gaps",
        What::Insert => "an insert",
    };
    format!("{what} ({:?}) of {}.{} index {}", class.mode, place.schema, place.table, place.index)
}

/// A name that does not depend on which leg was seen first, nor on the process's numbers.
fn id(cycle: &[Edge], places: &Places) -> String {
    let leg = |edge: &Edge| {
        format!("{} > {} {:?}", class_in_words(edge.from, places), class_in_words(edge.to, places), edge.way)
    };
    let legs: Vec<String> = cycle.iter().map(leg).collect();
    let turned = |n: usize| legs[n..].iter().chain(&legs[..n]).cloned().collect::<Vec<_>>().join(" | ");
    let smallest = (0..legs.len()).map(turned).min().unwrap_or_default();
    // FNV-1a: stable between versions of the compiler and of libraries.
    let hash = smallest
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
#[path = "lock_order_tests.rs"]
mod tests;
