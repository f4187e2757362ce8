//! The wait-for graph: who waits for whom, at the server or in interlock's own hold queue.
//!
//! Both kinds of waiting stand in one graph, so a hold can never close a cycle that was not there (Gray and Reuter,
//! "Transaction Processing", section 7.11). What leads through it `ways` finds.

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;

use super::mode::Certainty;
use crate::id::TxnId;

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
    /// How many edges lead to each: most transactions are waited for by nobody, and need no search. Never too few.
    waited_for: DashMap<TxnId, usize, FxBuildHasher>,
}

impl WaitFor {
    /// `from` waits for these, and for nobody else.
    pub fn set(&self, from: TxnId, edges: Vec<Edge>) {
        if edges.is_empty() {
            return self.clear(from);
        }
        for edge in &edges {
            self.count(edge.to);
        }
        let before = self.edges.insert(from, edges);
        self.forget(before.unwrap_or_default());
    }

    /// `from`, if it waits for somebody already, will come to wait for `to` as well.
    pub fn comes_to(&self, from: TxnId, to: TxnId) {
        if from != to
            && let Some(mut edges) = self.edges.get_mut(&from)
            && edges.iter().all(|edge| edge.to != to)
        {
            self.count(to);
            edges.push(Edge { to, held: false, certainty: Certainty::Likely, later: true });
        }
    }

    /// `from`, which was sent when nothing was in its way, waits for `to` at the server.
    pub fn meets(&self, from: TxnId, to: TxnId) {
        let mut edges = self.edges.entry(from).or_default();
        if from != to && edges.iter().all(|edge| edge.to != to) {
            self.count(to);
            edges.push(Edge { to, held: false, certainty: Certainty::Likely, later: false });
        }
    }

    /// `from` waits no more for `gone`, but for `to`.
    pub fn waits_instead(&self, from: TxnId, gone: TxnId, to: TxnId) {
        let Some(mut edges) = self.edges.get(&from).map(|edges| edges.clone()) else { return };
        edges.retain(|edge| edge.to != gone && edge.to != to);
        edges.push(Edge { to, held: false, certainty: Certainty::Likely, later: false });
        self.set(from, edges);
    }

    /// `from` waits no more.
    pub fn clear(&self, from: TxnId) {
        // Most do not wait, and need no lock.
        if self.edges.contains_key(&from)
            && let Some((_, before)) = self.edges.remove(&from)
        {
            self.forget(before);
        }
    }

    fn count(&self, to: TxnId) {
        *self.waited_for.entry(to).or_default() += 1;
    }

    fn forget(&self, edges: Vec<Edge>) {
        for edge in edges {
            if let Some(mut count) = self.waited_for.get_mut(&edge.to) {
                *count -= 1;
            }
            self.waited_for.remove_if(&edge.to, |_, count| *count == 0);
        }
    }

    /// Does somebody in this chain wait for the next only when another wait of his is over?
    pub fn is_later(&self, chain: &[TxnId]) -> bool {
        let mut steps = chain.windows(2);
        steps.any(|step| self.edges_of(step[0]).iter().any(|edge| edge.to == step[1] && edge.later))
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

    /// Those that `from` waits for.
    pub fn edges_of(&self, from: TxnId) -> Vec<Edge> {
        self.edges.get(&from).map(|edges| edges.clone()).unwrap_or_default()
    }

    /// Shows each of those that `from` waits for.
    pub(super) fn each_edge(&self, from: TxnId, each: impl FnMut(&Edge)) {
        if let Some(edges) = self.edges.get(&from) {
            edges.iter().for_each(each);
        }
    }

    /// Does anybody wait for it?
    pub fn is_waited_for(&self, txn: TxnId) -> bool {
        self.waited_for.contains_key(&txn)
    }

    /// Does `from` wait for `to`, at the server or in interlock?
    pub fn waits_for(&self, from: TxnId, to: TxnId) -> bool {
        self.edges.get(&from).is_some_and(|edges| edges.iter().any(|e| e.to == to))
    }

    /// Is `from` kept back by interlock behind `to`?
    pub fn is_held(&self, from: TxnId, to: TxnId) -> bool {
        self.edges.get(&from).is_some_and(|edges| edges.iter().any(|e| e.to == to && e.held))
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
    fn only_who_is_waited_for_is_searched_for() {
        let graph = WaitFor::default();
        graph.set(TxnId(1), vec![edge(2), edge(3)]);
        graph.set(TxnId(4), vec![edge(2)]);
        graph.comes_to(TxnId(4), TxnId(5));
        assert!([2, 3, 5].map(TxnId).iter().all(|txn| graph.is_waited_for(*txn)));
        assert!(!graph.is_waited_for(TxnId(1)));
        graph.set(TxnId(1), vec![edge(3)]);
        assert!(graph.is_waited_for(TxnId(2)), "by another");
        graph.clear(TxnId(4));
        assert!(!graph.is_waited_for(TxnId(2)) && !graph.is_waited_for(TxnId(5)));
        graph.set(TxnId(1), Vec::new());
        assert!(graph.waited_for.is_empty(), "nothing is kept");
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
