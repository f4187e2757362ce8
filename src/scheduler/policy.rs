//! What is done about a conflict: the three actions and their limits.

use serde::{Deserialize, Serialize};

use super::conflict::{ConflictKind, Judged, Submission, holders};
use crate::id::TxnId;
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::Certainty;
use crate::lock::request::Kind;

/// What interlock may do about a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Pass every statement on; report.
    #[default]
    Flag,
    /// Hold a statement until what stands in its way has ended.
    Reorder,
    /// Refuse a statement that would begin a hazard or close a cycle.
    Reject,
}

/// How much may be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Statements held in all; beyond it: forward.
    pub max_held: usize,
    /// Statements held behind one transaction; beyond it: forward.
    pub max_queue: usize,
    /// A statement that is held for longer than this, milliseconds, is overtaken no more by those that it
    /// would have to wait for.
    pub max_overtaking_ms: u64,
}

/// What the policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Pass it on.
    Forward,
    /// Keep it back.
    Hold,
    /// Refuse it.
    Reject,
}

/// The decision on a judged conflict. `full`: a limit of the queue is reached.
pub fn decide(submission: &Submission, judged: &Judged, full: bool) -> Verdict {
    match submission.action {
        Action::Flag => Verdict::Forward,
        Action::Reorder if judged.closed => closing(judged),
        Action::Reorder if would_hold(submission, judged) && !full => Verdict::Hold,
        Action::Reorder => Verdict::Forward,
        Action::Reject => match judged.kind {
            ConflictKind::Deadlock => closing(judged),
            ConflictKind::Hazard if submission.keeps => Verdict::Reject,
            ConflictKind::Hazard | ConflictKind::Wait => Verdict::Forward,
        },
    }
}

/// Would `reorder` hold this statement (apart from the limits)?
pub fn would_hold(submission: &Submission, judged: &Judged) -> bool {
    if judged.hold_would_cycle || judged.closed {
        return false;
    }
    // It is a deadlock only if the statement is sent.
    let deadlock = judged.kind == ConflictKind::Deadlock;
    deadlock || judged.together || judged.conflicts.iter().any(|conflict| is_held_for(submission, conflict))
}

/// Those that must all have gone before a held statement can go on; empty: each that goes may change that.
pub fn reasons(submission: &Submission, judged: &Judged) -> Vec<TxnId> {
    if judged.kind == ConflictKind::Deadlock || judged.together || judged.signature.is_some() {
        return Vec::new();
    }
    holders(judged.conflicts.iter().filter(|conflict| is_held_for(submission, conflict)))
}

/// Does a statement ask for a gap that another has, and are both expected to insert into it?
pub fn is_hazard(submission: &Submission, judged: &Judged) -> bool {
    let asked = |conflict: &Conflict| submission.requests.get(conflict.request).map(|request| request.kind);
    let gap = |c: &Conflict| c.relation == Relation::Hazard && asked(c).is_some_and(Kind::gaps);
    submission.keeps && judged.conflicts.iter().any(|conflict| gap(conflict) && conflict.expected)
}

/// Is one conflict reason enough to hold a statement?
fn is_held_for(submission: &Submission, conflict: &Conflict) -> bool {
    match conflict.relation {
        // It would wait anyway; queued at the server it becomes part of cycles.
        Relation::Wait if conflict.certainty == Certainty::Certain => true,
        // Either there is a record (or it comes in a moment), then it waits; or there is none when the
        // statement gets there, then it is a hazard.
        Relation::Wait => {
            let Some(asked) = submission.requests.get(conflict.request).map(|r| r.kind) else { return false };
            let either = asked.gaps() && (conflict.kind.gaps() || conflict.kind.inserts());
            // An equal key is on its way: with a third session before both, two duplicate checks that are let
            // on together share the record, and neither gets further. One that is there and locked already: the
            // check would wait with a lock on the gap below it, into which the holder may be about to insert.
            let a_record = matches!(conflict.kind, Kind::Record | Kind::Clustered { .. } | Kind::Entry);
            let same_key = asked.inserts() && conflict.kind.inserts() || asked.check().is_some() && a_record;
            same_key || submission.keeps && (either || conflict.hazard && conflict.expected)
        }
        // What has deadlocked once can do so in a transaction of one statement.
        Relation::Hazard if conflict.request >= submission.requests.len() => true,
        Relation::Hazard => submission.keeps && conflict.expected,
    }
}

/// A cycle that closes cannot be reordered any more. A chain that runs through a hold is not a deadlock
/// yet: the hold ends and the statement goes on.
fn closing(judged: &Judged) -> Verdict {
    if judged.certainty == Certainty::Certain && !judged.hold_would_cycle {
        Verdict::Reject
    } else {
        Verdict::Forward
    }
}
