//! The words in which the scheduler speaks: what comes in, what is decided, what is reported.

use std::collections::HashSet;

use serde::Serialize;

use super::policy::Action;
use super::signature::SignatureId;
use super::signatures::Seen;
use crate::id::{IndexId, SearchId, SessionId, TableId, Token, TxnId};
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Origin, Request, Settled};
use crate::lock::table::LockRefs;

/// A statement that asks for locks.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Whose statement it is.
    pub session: SessionId,
    /// The transaction that it belongs to.
    pub txn: TxnId,
    /// The statement itself, as far as what happened before tells of it.
    pub seen: Seen,
    /// What may be done about a conflict.
    pub action: Action,
    /// What it asks for, in the order in which it does.
    pub requests: Vec<Request>,
    /// What was read from the server about them.
    pub known: Known,
    /// The longest that it may be held, besides the general limit: a part of the session's own lock wait
    /// timeout, milliseconds.
    pub patience_ms: u64,
    /// Whoever holds a lock passes those that wait for it: see [`crate::lock::asking::Asking`].
    pub overtakes: bool,
    /// INSERT IGNORE, ON DUPLICATE KEY UPDATE: a row whose key is there is not put, and the next one is looked at.
    pub leaves_out: bool,
    /// It changes the rows that it locks.
    pub changes: bool,
    /// The locks are kept after the statement (it runs in a transaction). An autocommit statement cannot
    /// be part of a hazard.
    pub keeps: bool,
}

/// What is known of a submission's requests besides themselves: see [`Origin`].
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Whom to ask for the exact locks.
    pub search: Option<SearchId>,
    /// How far the gaps reach, by request.
    pub reaches: Vec<Option<Range>>,
    /// It never waits: NOWAIT fails, SKIP LOCKED passes over what is locked.
    pub never_waits: bool,
    /// The server is not going to be asked first: what is anybody's guess counts for nothing.
    pub as_it_is: bool,
}

impl Submission {
    /// The origin of its requests.
    pub fn origin(&self) -> Origin<'_> {
        Origin { search: self.known.search, reaches: &self.known.reaches }
    }

    /// Would another transaction that asks for the very same have to wait for this one?
    pub fn excludes_equals(&self, other: &Submission) -> bool {
        let exclusive = |r: &Request| r.mode == Mode::X && r.kind.records();
        self.keeps && self.requests.iter().any(exclusive) && self.requests == other.requests
    }

    /// Locks of another in these indexes turned out to be less than they might have been: may that have let it on?
    pub fn is_let_on(&self, lessened: &[(IndexId, &Settled)]) -> bool {
        // What is anybody's guess has stopped nobody. A lookup that has found nothing has no record there, and its gap.
        let met = |request: &Request, settled: &Settled| match settled {
            Settled::Became(Kind::Gap, range) => request.range.intersects(range),
            _ => true,
        };
        let asks = |(index, settled): &(IndexId, &Settled)| {
            let mut asked = self.requests.iter().filter(|request| request.certainty > Certainty::Unknown);
            asked.any(|request| request.index == *index && met(request, settled))
        };
        lessened.iter().any(asks)
            && !lessened.iter().any(|(index, settled)| self.still_meets(*index, settled))
    }

    /// Is a lock that was just settled still in its way?
    fn still_meets(&self, index: IndexId, settled: &Settled) -> bool {
        let Settled::Became(kind, range) = settled else { return false };
        self.requests.iter().any(|request| {
            let met = kind.records() && request.kind.records() && request.mode == Mode::X
                || kind.gaps() && request.kind.gaps();
            met && request.index == index && request.range.intersects(range)
        })
    }
}

/// Would one of two requests have to wait for the other, or be a hazard with it? On the careful side.
pub(super) fn excludes(a: &Request, b: &Request) -> bool {
    let inserts = a.kind.inserts() || b.kind.inserts();
    let records = a.kind.records() && b.kind.records() && (a.mode == Mode::X || b.mode == Mode::X);
    let gaps = a.kind.gaps() && b.kind.gaps();
    a.index == b.index && a.range.intersects(&b.range) && (inserts || records || gaps)
}

/// What becomes of a statement.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to the server; its requests are noted.
    Forward {
        /// Where they are noted.
        refs: LockRefs,
        /// It is expected to wait there: edges stand in the wait-for graph until it is answered.
        waits: bool,
    },
    /// It stays in the queue.
    Hold,
    /// It is refused with a deadlock error, and its transaction is rolled back.
    Reject,
}

/// A held statement that goes on.
#[derive(Clone, Debug)]
pub struct Woken {
    /// Its place in the queue.
    pub token: Token,
    /// Its transaction.
    pub txn: TxnId,
    /// `Forward` or `Reject`.
    pub decision: Decision,
    /// Why the hold ended.
    pub end: HoldEnd,
}

/// Why a hold ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    /// What stood in the way has gone.
    Released,
    /// The holder was about to wait for the held session.
    HolderStalled,
    /// The deadline.
    Deadline,
    /// The held client has gone.
    ClientGone,
    /// `KILL QUERY`, by another session.
    Killed,
    /// Somebody released it by hand.
    Operator,
    /// interlock shuts down.
    Shutdown,
}

/// Kinds of conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictKind {
    /// Compatible locks whose holders would wait for each other at the next insert.
    Hazard,
    /// The statement would wait.
    Wait,
    /// The statement would close a cycle.
    Deadlock,
}

/// What interlock did about a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Taken {
    /// The statement was passed on.
    Flagged,
    /// It was held.
    Held,
    /// It was refused.
    Rejected,
}

/// A conflict as judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The worst that it is.
    pub kind: ConflictKind,
    /// How sure that is.
    pub certainty: Certainty,
    /// The conflict that made it so: position in `conflicts`.
    pub worst: usize,
    /// All that was met.
    pub conflicts: Vec<Conflict>,
    /// Every transaction on a wait chain from a lock that the statement would wait for back to the
    /// requester: if interlock holds one of them, nobody would move.
    pub stalled: HashSet<TxnId>,
    /// A hold behind one of the holders would close a cycle.
    pub hold_would_cycle: bool,
    /// A holder waits for the requester already: sent or held, that is a cycle. A deadlock that is not
    /// closed comes about only if the statement is sent: somebody who waits would come to wait for it too.
    pub closed: bool,
    /// It would wait for a statement that was let on in the same moment. Neither has its locks yet, and where both
    /// ask for the same rows in different orders, each may come to have what the other needs.
    pub together: bool,
    /// The deadlock that once happened like this.
    pub signature: Option<SignatureId>,
}

impl Judged {
    /// The transactions in the way, each once.
    pub fn holders(&self) -> Vec<TxnId> {
        holders(self.conflicts.iter())
    }
}

/// The transactions that these conflicts are with, each once.
pub(super) fn holders<'c>(conflicts: impl Iterator<Item = &'c Conflict>) -> Vec<TxnId> {
    let mut holders: Vec<TxnId> = conflicts.map(|conflict| conflict.holder).collect();
    holders.sort_unstable();
    holders.dedup();
    holders
}

/// What makes a decision unsure, and can be looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Doubts {
    /// The statement's own locks.
    pub own: bool,
    /// The locks of these statements.
    pub searches: Vec<SearchId>,
}

impl Doubts {
    /// Nothing is unsure.
    pub fn is_empty(&self) -> bool {
        !self.own && self.searches.is_empty()
    }

    pub(super) fn of(conflicts: &[Conflict]) -> Doubts {
        let mut doubts = Doubts::default();
        for conflict in conflicts.iter().filter(|c| c.certainty < Certainty::Certain) {
            doubts.own = true;
            if let Some(search) = conflict.search.filter(|s| !doubts.searches.contains(s)) {
                doubts.searches.push(search);
            }
        }
        doubts
    }
}

/// A conflict, for the ledger.
#[derive(Clone, Debug)]
pub struct Report {
    /// The session whose statement met it.
    pub session: SessionId,
    /// Its transaction.
    pub requester: TxnId,
    /// Those in the way.
    pub holders: Vec<TxnId>,
    /// What it is.
    pub kind: ConflictKind,
    /// How sure that is.
    pub certainty: Certainty,
    /// What was done.
    pub taken: Taken,
    /// With `reorder` the statement would have been held (the dry run of `flag`).
    pub would_hold: bool,
    /// The request that met it.
    pub request: Request,
    /// The lock that it met.
    pub conflict: Conflict,
    /// The edges of a gap were not known: a look at the server could tell more.
    pub unsure_of_gap: bool,
    /// The deadlock that once happened like this.
    pub signature: Option<SignatureId>,
    /// The transactions on the wait chains back to the requester: the cycle, if it is one.
    pub cycle: HashSet<TxnId>,
    /// See [`Judged::closed`].
    pub closed: bool,
    /// The first index that the statement asks for a lock in.
    pub asks: Option<IndexId>,
}

/// Signatures know statements, not locks: what a conflict shows that only a signature knows.
pub(super) fn unknown_request() -> Request {
    Request {
        index: IndexId { table: TableId(0), index: 0 },
        mode: Mode::X,
        range: crate::lock::range::Range::all(),
        kind: crate::lock::request::Kind::Record,
        certainty: Certainty::Likely,
        rule: "signature",
    }
}

impl Report {
    pub(super) fn new(submission: &Submission, judged: Judged, decision: &Decision) -> Report {
        let conflict = judged.conflicts[judged.worst].clone();
        let request = submission.requests.get(conflict.request).cloned().unwrap_or_else(unknown_request);
        let asks = submission.requests.iter().map(|request| request.index).find(|index| !index.is_whole());
        Report {
            asks,
            session: submission.session,
            requester: submission.txn,
            holders: judged.holders(),
            kind: judged.kind,
            certainty: match (judged.kind, decision) {
                // Of those in a circle the server chooses one, and the others go on.
                (ConflictKind::Deadlock, Decision::Forward { .. }) => judged.certainty.min(Certainty::Likely),
                _ => judged.certainty,
            },
            taken: match decision {
                Decision::Forward { .. } => Taken::Flagged,
                Decision::Hold => Taken::Held,
                Decision::Reject => Taken::Rejected,
            },
            would_hold: super::policy::would_hold(submission, &judged),
            unsure_of_gap: conflict.certainty == Certainty::Likely
                && conflict.kind.gaps()
                && (conflict.relation == Relation::Hazard || request.kind.inserts()),
            request,
            conflict,
            signature: judged.signature,
            cycle: judged.stalled,
            closed: judged.closed,
        }
    }
}
