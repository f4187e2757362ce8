//! What a set of conflicts amounts to: a hazard, a wait, or the end of a cycle.

use std::collections::HashSet;

use super::conflict::{ConflictKind, Judged, Submission, unknown_request};
use super::hold_queue::Elder;
use super::signatures::Completes;
use crate::id::TxnId;
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::Certainty;
use crate::lock::wait_for::{Edge, WaitFor};
use crate::lock::ways::Ways;

/// Judges the conflicts of a statement; there is at least one, or a signature that it would complete.
pub(super) fn judge(
    submission: &Submission,
    mut conflicts: Vec<Conflict>,
    behind: &[TxnId],
    completes: Option<Completes>,
    graph: &WaitFor,
) -> Judged {
    let me = submission.txn;
    let signature = completes.as_ref().map(|completes| completes.signature);
    conflicts
        .extend(completes.into_iter().flat_map(|c| c.members).map(|holder| by_signature(holder, submission)));
    let back = graph.ways(conflicts.iter().map(|c| c.holder), &[me]);
    // Those that wait already, and for this statement as well once it is sent.
    let waits = conflicts.iter().filter(|c| c.relation == Relation::Wait);
    let front = graph.ways(waits.map(|c| c.holder), behind);
    let mut worst = (ConflictKind::Hazard, Certainty::Unknown, 0);
    let (mut hold_would_cycle, mut closed) = (false, false);
    for (at, conflict) in conflicts.iter().enumerate() {
        let chain = back.chain(conflict.holder);
        let this = match (conflict.relation, &chain) {
            (Relation::Hazard, _) => (ConflictKind::Hazard, conflict.certainty, at),
            (Relation::Wait, Some(chain)) => {
                closed = true;
                let certainty = conflict.certainty.min(graph.chain_certainty(chain));
                (ConflictKind::Deadlock, certainty, at)
            }
            (Relation::Wait, None) => match front.chain(conflict.holder) {
                None => (ConflictKind::Wait, conflict.certainty, at),
                Some(chain) => {
                    let sure = graph.chain_certainty(&chain).min(Certainty::Likely);
                    (ConflictKind::Deadlock, conflict.certainty.min(sure), at)
                }
            },
        };
        if (this.0, this.1) > (worst.0, worst.1) {
            worst = this;
        }
        hold_would_cycle |= conflict.relation == Relation::Hazard && chain.is_some();
    }
    hold_would_cycle |= through_hold(&back, graph);
    let (kind, certainty, worst) = worst;
    let stalled = stalled(me, &conflicts, graph);
    let together = false;
    Judged { kind, certainty, worst, conflicts, stalled, hold_would_cycle, closed, together, signature }
}

/// Every transaction on a chain from what the statement waits for back to it, as the graph is now.
pub(super) fn stalled(me: TxnId, conflicts: &[Conflict], graph: &WaitFor) -> HashSet<TxnId> {
    let waits = conflicts.iter().filter(|c| c.relation == Relation::Wait);
    graph.ways(waits.map(|c| c.holder), &[me]).everybody().collect()
}

/// A member of a constellation that the statement would complete stands in its way like a hazard.
fn by_signature(holder: TxnId, submission: &Submission) -> Conflict {
    let nothing = unknown_request();
    Conflict {
        holder,
        request: submission.requests.len(),
        relation: Relation::Hazard,
        hazard: true,
        expected: true,
        certainty: nothing.certainty,
        mode: nothing.mode,
        kind: nothing.kind,
        range: nothing.range,
        gap: false,
        implicit: false,
        search: None,
    }
}

/// A statement that has been held for long stands in the way of one that would overtake it.
pub(super) fn behind(elder: Elder<'_>) -> Conflict {
    Conflict {
        holder: elder.txn,
        request: elder.request,
        relation: Relation::Wait,
        hazard: false,
        expected: true,
        certainty: Certainty::Likely,
        mode: elder.theirs.mode,
        kind: elder.theirs.kind,
        range: elder.theirs.range.clone(),
        gap: false,
        implicit: false,
        search: None,
    }
}

/// The edges that a statement with these conflicts has: to all holders if it is held, else to those that
/// it would wait for at the server. For what it asks for behind its first wait it waits later.
pub(super) fn edges(conflicts: &[Conflict], held: bool) -> Vec<Edge> {
    let waits = || conflicts.iter().filter(|c| held || c.relation == Relation::Wait);
    let first = waits().map(|c| c.request).min();
    let mut edges: Vec<Edge> = Vec::new();
    for Conflict { holder, certainty, request, .. } in waits() {
        let later = !held && Some(*request) > first;
        match edges.iter_mut().find(|e| e.to == *holder) {
            Some(edge) => {
                edge.certainty = edge.certainty.max(*certainty);
                edge.later &= later;
            }
            None => edges.push(Edge { to: *holder, held, certainty: *certainty, later }),
        }
    }
    edges
}

/// The edge of a statement that waits for one transaction, held or at the server.
pub(super) fn edge_to(txn: TxnId, held: bool) -> Vec<Edge> {
    vec![Edge { to: txn, held, certainty: Certainty::Likely, later: false }]
}

/// Is one of these sessions held by interlock itself behind another of them?
fn through_hold(ways: &Ways, graph: &WaitFor) -> bool {
    ways.everybody().any(|from| graph.edges_of(from).iter().any(|e| e.held && ways.has(e.to)))
}
