//! The ways that lead through the wait-for graph from some transactions to others, all found in one search.
//!
//! A herd of a thousand sessions at one row makes a graph of tens of thousands of edges, and a statement that
//! meets sixty of them must not search it sixty times.

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
