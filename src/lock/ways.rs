//! The ways that lead through the wait-for graph from some transactions to others, all found in one search.
//!
//! A herd of a thousand sessions at one row makes a graph of tens of thousands of edges, and a statement that
//! meets sixty of them must not search it sixty times. A search returns wait chains, not a yes or no: a report shows
//! them, and the scheduler looks in them for a hold that it can end.

use rustc_hash::{FxHashMap, FxHashSet};

use super::wait_for::WaitFor;
use crate::id::TxnId;

/// Most transactions that one search visits; beyond it the search says "no cycle".
const MAX_VISITED: usize = 10_000;

/// What leads from the transactions that were asked about to their targets.
#[derive(Debug, Default)]
pub struct Ways {
    /// One step nearer to a target, on the shortest way; a target leads to itself.
    next: FxHashMap<TxnId, TxnId>,
}

impl WaitFor {
    /// The ways from any of `from` to any of `to`.
    pub fn ways(&self, from: impl Iterator<Item = TxnId> + Clone, to: &[TxnId]) -> Ways {
        let leads = |target: &TxnId| self.is_waited_for(*target) || from.clone().any(|txn| txn == *target);
        if !to.iter().any(leads) {
            return Ways::default();
        }
        let targets: FxHashSet<TxnId> = to.iter().copied().collect();
        let mut reached: FxHashSet<TxnId> = from.collect();
        let mut frontier: Vec<TxnId> = reached.iter().copied().collect();
        let mut backwards: FxHashMap<TxnId, Vec<TxnId>> = FxHashMap::default();
        while let Some(at) = frontier.pop() {
            // Beyond a target no way goes on.
            if targets.contains(&at) || reached.len() > MAX_VISITED {
                continue;
            }
            self.each_edge(at, |edge| {
                backwards.entry(edge.to).or_default().push(at);
                if reached.insert(edge.to) {
                    frontier.push(edge.to);
                }
            });
        }
        let mut level: Vec<TxnId> = targets.intersection(&reached).copied().collect();
        let mut next: FxHashMap<TxnId, TxnId> = level.iter().map(|target| (*target, *target)).collect();
        while !level.is_empty() {
            let mut further = Vec::new();
            for at in level {
                for before in backwards.get(&at).into_iter().flatten() {
                    next.entry(*before).or_insert_with(|| {
                        further.push(*before);
                        at
                    });
                }
            }
            level = further;
        }
        Ways { next }
    }

    /// The shortest chain `from → … → target`, both ends included, or `None`.
    pub fn chain(&self, from: TxnId, target: TxnId) -> Option<Vec<TxnId>> {
        self.ways([from].into_iter(), &[target]).chain(from)
    }

    /// The shortest circle of waits that a transaction is in, itself at the end; empty if it is in none. Others that only
    /// wait behind it do not belong to it.
    pub fn circle(&self, txn: TxnId) -> Vec<TxnId> {
        let edges = self.edges_of(txn);
        let ways = self.ways(edges.iter().map(|edge| edge.to), &[txn]);
        let chains = edges.iter().filter_map(|edge| ways.chain(edge.to));
        chains.min_by_key(Vec::len).unwrap_or_default()
    }
}

impl Ways {
    /// The shortest chain `from → … → target`, both ends included; `None` if no way leads there.
    pub fn chain(&self, from: TxnId) -> Option<Vec<TxnId>> {
        let mut chain = vec![from];
        let mut at = from;
        loop {
            let next = *self.next.get(&at)?;
            if next == at {
                return Some(chain);
            }
            chain.push(next);
            at = next;
        }
    }

    /// Every transaction on any of the ways, both ends included. The shortest chain may be broken by the server; what
    /// then remains of the others must not hang on a hold.
    pub fn everybody(&self) -> impl Iterator<Item = TxnId> {
        self.next.keys().copied()
    }

    /// Is it on one of the ways?
    pub fn has(&self, txn: TxnId) -> bool {
        self.next.contains_key(&txn)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::lock::mode::Certainty;
    use crate::lock::wait_for::Edge;

    fn edge(to: u64) -> Edge {
        Edge { to: TxnId(to), held: false, certainty: Certainty::Likely, later: false }
    }

    fn on_chains(graph: &WaitFor, from: u64, target: u64) -> HashSet<TxnId> {
        graph.ways([TxnId(from)].into_iter(), &[TxnId(target)]).everybody().collect()
    }

    #[test]
    fn finds_the_chain_and_not_more() {
        let graph = WaitFor::default();
        graph.set(TxnId(1), vec![edge(2), edge(5)]);
        graph.set(TxnId(2), vec![edge(3)]);
        graph.set(TxnId(3), vec![edge(2), edge(4)]);
        assert_eq!(graph.chain(TxnId(1), TxnId(4)), Some([1, 2, 3, 4].map(TxnId).to_vec()));
        assert_eq!(graph.chain(TxnId(4), TxnId(1)), None);
        assert_eq!(graph.chain(TxnId(7), TxnId(7)), Some(vec![TxnId(7)]));
        assert_eq!(graph.circle(TxnId(2)), [3, 2].map(TxnId).to_vec());
        assert!(graph.circle(TxnId(1)).is_empty(), "it waits behind a circle");
        assert_eq!(graph.chain_certainty(&[TxnId(1), TxnId(5)]), Certainty::Likely);
        graph.set(TxnId(5), vec![edge(4)]);
        assert_eq!(on_chains(&graph, 1, 4), [1, 2, 3, 4, 5].map(TxnId).into());
        assert_eq!(on_chains(&graph, 4, 1), HashSet::new());
        graph.clear(TxnId(2));
        graph.clear(TxnId(5));
        assert_eq!(graph.chain(TxnId(1), TxnId(4)), None);
    }

    #[test]
    fn all_ways_are_found_in_one_search() {
        let graph = WaitFor::default();
        graph.set(TxnId(1), vec![edge(2)]);
        graph.set(TxnId(2), vec![edge(9)]);
        graph.set(TxnId(3), vec![edge(4)]);
        graph.set(TxnId(5), vec![edge(8)]);
        let ways = graph.ways([1, 3, 5, 7].map(TxnId).into_iter(), &[8, 9].map(TxnId));
        assert_eq!(ways.chain(TxnId(1)), Some([1, 2, 9].map(TxnId).to_vec()));
        assert_eq!(ways.chain(TxnId(5)), Some([5, 8].map(TxnId).to_vec()));
        assert!(ways.chain(TxnId(3)).is_none() && ways.chain(TxnId(7)).is_none());
        assert_eq!(ways.everybody().collect::<HashSet<_>>(), [1, 2, 5, 8, 9].map(TxnId).into());
    }
}
