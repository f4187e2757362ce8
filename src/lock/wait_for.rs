//! The wait-for graph: who waits for whom, at the server or in interlock's own hold queue.
//!
//! Both kinds of waiting stand in one graph, so a hold can never close a cycle that was not there. The
//! search returns the wait chain, not a yes or no: a report shows it, and the scheduler looks in it for a
//! hold that it can end (Gray and Reuter, "Transaction Processing", section 7.11).

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use std::collections::{HashMap, HashSet};

use super::mode::Certainty;
use crate::id::TxnId;

/// Most transactions that one search visits; beyond it the search says "no cycle".
const MAX_VISITED: usize = 10_000;

/// One transaction waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The transaction that is waited for.
    pub to: TxnId,
    /// Its statement is held by interlock (true) or expected to wait at the server (false).
    pub held: bool,
    /// How sure that is.
    pub certainty: Certainty,
    /// It waits for somebody else first.
    pub later: bool,
}

/// Who waits for whom.
#[derive(Debug, Default)]
pub struct WaitFor {
    edges: DashMap<TxnId, Vec<Edge>, FxBuildHasher>,
}

impl WaitFor {
    /// `from` waits for these, and for nobody else.
    pub fn set(&self, from: TxnId, edges: Vec<Edge>) {
        if edges.is_empty() {
            self.edges.remove(&from);
        } else {
            self.edges.insert(from, edges);
        }
    }

    /// `from`, if it waits for somebody already, will come to wait for `to` as well.
    pub fn comes_to(&self, from: TxnId, to: TxnId) {
        if from != to
            && let Some(mut edges) = self.edges.get_mut(&from)
            && edges.iter().all(|edge| edge.to != to)
        {
            edges.push(Edge { to, held: false, certainty: Certainty::Likely, later: true });
        }
    }

    /// Does somebody in this chain wait for the next only when another wait of his is over?
    pub fn is_later(&self, chain: &[TxnId]) -> bool {
        let mut steps = chain.windows(2);
        steps.any(|step| self.edges_of(step[0]).iter().any(|edge| edge.to == step[1] && edge.later))
    }

    /// `from` waits no more.
    pub fn clear(&self, from: TxnId) {
        self.edges.remove(&from);
    }

    /// All edges with where they come from, at most `limit`, oldest waiter first.
    pub fn look(&self, limit: usize) -> Vec<(TxnId, Edge)> {
        let mut from: Vec<TxnId> = self.edges.iter().map(|entry| *entry.key()).collect();
        from.sort_unstable();
        from.into_iter()
            .flat_map(|from| self.edges_of(from).into_iter().map(move |e| (from, e)))
            .take(limit)
            .collect()
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.edges.iter().map(|e| e.len()).sum()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The shortest chain `from → … → target`, both ends included, or `None`.
    pub fn chain(&self, from: TxnId, target: TxnId) -> Option<Vec<TxnId>> {
        if from != target && !self.waits(from) {
            return None;
        }
        let mut came_from: HashMap<TxnId, TxnId> = HashMap::new();
        let mut seen = HashSet::from([from]);
        let mut frontier = vec![from];
        while !frontier.is_empty() && seen.len() <= MAX_VISITED {
            let mut next = Vec::new();
            for at in frontier {
                if at == target {
                    let mut chain = vec![at];
                    while let Some(before) = came_from.get(chain.last().unwrap_or(&at)) {
                        chain.push(*before);
                    }
                    chain.reverse();
                    return Some(chain);
                }
                // Copied out: no guard is held while another entry is read.
                let edges = self.edges_of(at);
                for edge in edges {
                    if seen.insert(edge.to) {
                        came_from.insert(edge.to, at);
                        next.push(edge.to);
                    }
                }
            }
            frontier = next;
        }
        None
    }

    /// Those that `from` waits for.
    pub fn edges_of(&self, from: TxnId) -> Vec<Edge> {
        self.edges.get(&from).map(|edges| edges.clone()).unwrap_or_default()
    }

    /// Does it wait for anybody? Most do not, and need no search.
    fn waits(&self, txn: TxnId) -> bool {
        self.edges.contains_key(&txn)
    }

    /// Does `from` wait for `to`, at the server or in interlock?
    pub fn waits_for(&self, from: TxnId, to: TxnId) -> bool {
        self.edges.get(&from).is_some_and(|edges| edges.iter().any(|e| e.to == to))
    }

    /// Is `from` kept back by interlock behind `to`?
    pub fn is_held(&self, from: TxnId, to: TxnId) -> bool {
        self.edges.get(&from).is_some_and(|edges| edges.iter().any(|e| e.to == to && e.held))
    }

    /// Every transaction on any chain `from → … → target`, both ends included; empty if there is none. The
    /// shortest chain may be broken by the server; what then remains of the others must not hang on a hold.
    pub fn on_chains(&self, from: TxnId, target: TxnId) -> HashSet<TxnId> {
        if from != target && !self.waits(from) {
            return HashSet::new();
        }
        let mut reached = HashSet::from([from]);
        let mut frontier = vec![from];
        let mut backwards: HashMap<TxnId, Vec<TxnId>> = HashMap::new();
        while let Some(at) = frontier.pop() {
            if at == target || reached.len() > MAX_VISITED {
                continue;
            }
            for edge in self.edges_of(at) {
                backwards.entry(edge.to).or_default().push(at);
                if reached.insert(edge.to) {
                    frontier.push(edge.to);
                }
            }
        }
        if !reached.contains(&target) {
            return HashSet::new();
        }
        let mut on_chains = HashSet::from([target]);
        frontier.push(target);
        while let Some(at) = frontier.pop() {
            for before in backwards.get(&at).into_iter().flatten() {
                if on_chains.insert(*before) {
                    frontier.push(*before);
                }
            }
        }
        on_chains
    }

    /// How sure a chain is: as sure as its least sure edge. `Certain` for a chain of one.
    pub fn chain_certainty(&self, chain: &[TxnId]) -> Certainty {
        let edge = |pair: &[TxnId]| {
            let edges = self.edges.get(&pair[0])?;
            edges.iter().find(|e| e.to == pair[1]).map(|e| e.certainty)
        };
        chain
            .windows(2)
            .map(|pair| edge(pair).unwrap_or(Certainty::Unknown))
            .min()
            .unwrap_or(Certainty::Certain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(to: u64) -> Edge {
        Edge { to: TxnId(to), held: false, certainty: Certainty::Likely, later: false }
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
        assert_eq!(graph.chain_certainty(&[TxnId(1), TxnId(5)]), Certainty::Likely);
        graph.set(TxnId(5), vec![edge(4)]);
        assert_eq!(graph.on_chains(TxnId(1), TxnId(4)), [1, 2, 3, 4, 5].map(TxnId).into());
        assert_eq!(graph.on_chains(TxnId(4), TxnId(1)), HashSet::new());
        graph.clear(TxnId(2));
        graph.clear(TxnId(5));
        assert_eq!(graph.chain(TxnId(1), TxnId(4)), None);
    }

    #[test]
    fn who_comes_to_wait_waits_later() {
        let graph = WaitFor::default();
        graph.set(TxnId(1), vec![edge(2)]);
        graph.comes_to(TxnId(1), TxnId(3));
        assert!(!graph.is_later(&[1, 2].map(TxnId)) && graph.is_later(&[1, 3].map(TxnId)));
        graph.comes_to(TxnId(1), TxnId(2));
        assert!(!graph.is_later(&[1, 2].map(TxnId)), "it waits already");
    }
}
