//! Forward, hold or reject: the decision on each statement's lock requests.
//!
//! ```text
//! enter ──no conflict──────────────────────────────▶ Forward
//!   │ conflict (nothing is noted)
//!   ▼
//! contend ─▶ judge: hazard | wait | deadlock ─▶ policy ─▶ Forward | Hold ⟲ | Reject
//! ```
//!
//! A statement without conflict touches the lock table only. One with a conflict takes the queue's mutex,
//! looks again, and is judged there, so that two sessions cannot decide to wait for each other.
//!
//! This room knows no clock (`now` comes in, in milliseconds of any steady clock), no SQL, and no sockets
//! (reports go out). It is the room to test by the million.

pub mod conflict;
pub mod hold_queue;
pub mod policy;
pub mod learn;
pub mod signature;
pub mod signatures;
mod collision;
mod elder;
mod following;
mod judge;
mod release;
mod savepoint;
mod server_queue;
mod stall;
pub mod victim;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod signature_tests;
#[cfg(test)]
mod queue_tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::id::{Counter, IndexId, SessionId, Token, TxnId};
use crate::lock::asking::Met;
use crate::lock::evidence::Asker;
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::lock::request::{Exact, Kind, Request, Settled};
use crate::lock::shown::Neighbours;
use crate::lock::table::{LockRef, LockRefs, LockTable};
use crate::lock::wait_for::WaitFor;
use collision::Foreseen;
use conflict::{Decision, Doubts, Judged, Report, Submission, Woken};
use hold_queue::{Hold, HoldQueue, Oldest};
use learn::Learned;
use policy::Limits;
use server_queue::ServerQueue;
use signatures::Signatures;

/// Decides on statements, and again whenever a transaction ends.
#[derive(Debug)]
pub struct Scheduler {
    locks: LockTable,
    graph: WaitFor,
    server_queue: ServerQueue,
    queue: Mutex<HoldQueue>,
    /// Since when somebody is held: nobody goes past one that is held for long.
    oldest: Arc<Oldest>,
    /// Statements that are held or are about to be: who gives locks up looks at the queue only if there
    /// are any. Raised before the locks are looked at and read after they were given up, so no one is missed.
    contenders: AtomicUsize,
    tokens: Counter,
    limits: RwLock<Limits>,
    learned: Learned,
    signatures: Signatures,
    foreseen: Foreseen,
}

/// The answer to a statement with conflicts.
#[derive(Debug)]
pub struct Contended {
    /// What becomes of the statement.
    pub decision: Decision,
    /// What was found, if there still was a conflict.
    pub report: Option<Report>,
    /// What a look at the server could make sure.
    pub doubts: Doubts,
    /// Other statements that may go on because of it.
    pub woken: Vec<Woken>,
}

impl Scheduler {
    /// A scheduler without locks. `fence_lifetime`: see [`LockTable::new`].
    pub fn new(limits: Limits, fence_lifetime: Duration) -> Scheduler {
        let oldest = Arc::<Oldest>::default();
        Scheduler {
            locks: LockTable::new(fence_lifetime.as_millis() as u64),
            graph: WaitFor::default(),
            server_queue: ServerQueue::default(),
            queue: Mutex::new(HoldQueue::new(oldest.clone())),
            oldest,
            contenders: AtomicUsize::new(0),
            tokens: Counter::default(),
            limits: RwLock::new(limits),
            learned: Learned::default(),
            signatures: Signatures::default(),
            foreseen: Foreseen::default(),
        }
    }

    /// What transactions went on to do, per digest.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// The deadlocks that happened.
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// The lock table, to look at.
    pub fn locks(&self) -> &LockTable {
        &self.locks
    }

    /// The wait-for graph, to look at.
    pub fn graph(&self) -> &WaitFor {
        &self.graph
    }

    /// How much may be held from now on; what is held already stays.
    pub fn limit(&self, limits: Limits) {
        *self.limits.write() = limits;
    }

    /// The statement of a session that is held: its place and its transaction.
    pub fn held_of(&self, session: SessionId) -> Option<(Token, TxnId)> {
        self.queue.lock().of(session)
    }

    /// Statements held now.
    pub fn held(&self) -> usize {
        self.queue.lock().len()
    }

    /// A place in the queue. It is given out before [`contend`](Self::contend), so that the caller can be
    /// found when somebody wakes it.
    pub fn token(&self) -> Token {
        Token(self.tokens.next())
    }

    // ## A statement comes => Forward, if nothing is in its way

    /// Notes the statement's requests if nothing conflicts that counts; `None`: ask [`contend`](Self::contend).
    pub fn enter(&self, submission: &Submission, now: u64) -> Option<LockRefs> {
        if self.signatures.concerns(submission.seen.digest) || self.old(now).is_some() {
            return None;
        }
        if submission.known.never_waits {
            let (refs, met) = self.note(submission, now);
            // What others have locked it passes over: which rows remain is not known before it is answered.
            let waits = met.conflicts.iter().filter(|c| c.relation == Relation::Wait);
            let passed: SmallVec<[LockRef; 4]> = waits.map(|c| refs[c.request]).collect();
            self.locks.doubt(&passed, true);
            self.get_behind(&met.behind, submission.txn);
            return Some(refs);
        }
        let (by, requests, origin) = (self.asker(submission), &submission.requests, submission.origin());
        let (overtakes, guesses) = (submission.overtakes, submission.known.as_it_is);
        let (refs, behind) = self.locks.enter_free(by, requests, origin, overtakes, guesses, now)?;
        self.get_behind(&behind, submission.txn);
        Some(refs)
    }

    // ## A statement comes => Forward, Hold or Reject, if something is

    /// Decides on a statement with conflicts. If it is to be held, `queued` is called before anybody can wake it.
    pub fn contend(
        &self,
        token: Token,
        submission: &Submission,
        now: u64,
        queued: impl FnOnce(),
    ) -> Contended {
        self.contenders.fetch_add(1, Ordering::SeqCst);
        let mut woken = Vec::new();
        let mut queue = self.queue.lock();
        let (decision, judged, doubts) = self.decide(token, submission, &mut queue, &mut woken, now);
        let (reasons, hazard) = match (&decision, &judged) {
            (Decision::Hold, Some(judged)) => {
                (policy::reasons(submission, judged), policy::is_hazard(submission, judged))
            }
            _ => Default::default(),
        };
        let report = judged.map(|judged| Report::new(submission, judged, &decision));
        // One that only would have been held shows as well whether there was need.
        if let Some(signature) = report.as_ref().and_then(|report| report.signature) {
            self.signatures.completed(submission.txn, signature);
        }
        if let (Decision::Hold, Some(report)) = (&decision, &report) {
            queued();
            let (blockers, submission) = (report.holders.clone(), submission.clone());
            queue.push(token, Hold { blockers, reasons, submission, hazard, since: now });
        } else {
            self.contenders.fetch_sub(1, Ordering::SeqCst);
        }
        Contended { decision, report, doubts, woken }
    }

    // ## A transaction is about to be run again => Hold

    /// Holds a transaction that has no locks until another one has ended. False: no room.
    pub fn wait_for(&self, token: Token, submission: Submission, other: TxnId, now: u64) -> bool {
        let mut queue = self.queue.lock();
        if queue.len() >= self.limits.read().max_held {
            return false;
        }
        self.contenders.fetch_add(1, Ordering::SeqCst);
        self.graph.set(submission.txn, judge::edge_to(other, true));
        let blockers = vec![other];
        queue
            .push(token, Hold { reasons: blockers.clone(), blockers, submission, hazard: false, since: now });
        true
    }

    // ## Forwarded => answered

    /// A statement was answered; `settled` says what became of each lock. Returns the locks that stay, and
    /// the statements that may go on.
    pub fn answered(
        &self,
        txn: TxnId,
        refs: LockRefs,
        settled: &[Settled],
        now: u64,
    ) -> (LockRefs, Vec<Woken>) {
        let waited = self.server_queue.leave(txn);
        // It waits for nobody: a circle through it is none any more.
        self.graph.clear(txn);
        let (kept, woken) = self.settled(txn, refs, settled, now);
        // What was thought to be in its way in between was not.
        self.graph.clear(txn);
        if waited {
            self.outrun(txn, &kept, now);
        }
        (kept, woken)
    }

    /// What became of the locks of a statement that was answered, now or some time ago: its transaction may be
    /// waiting with another one by now. Returns what [`answered`](Self::answered) does.
    pub fn settled(
        &self,
        txn: TxnId,
        refs: LockRefs,
        settled: &[Settled],
        now: u64,
    ) -> (LockRefs, Vec<Woken>) {
        let mut lessened: SmallVec<[_; 4]> = SmallVec::new();
        let less = |index, settled| lessened.push((index, settled));
        let kept = self.locks.settle_telling(refs, settled, now, less);
        if settled.iter().any(|settled| matches!(settled, Settled::Became(Kind::Gap, _))) {
            self.locks.let_past(&kept, |inserter| self.graph.meets(inserter, txn));
        }
        if lessened.is_empty() {
            return (kept, Vec::new());
        }
        let let_on = |waits: &Submission| waits.is_let_on(&lessened);
        self.get_further(txn, &[], let_on, now);
        let woken = self
            .wake(now, |queue| queue.tokens(|hold| hold.blockers.contains(&txn) && let_on(&hold.submission)));
        (kept, woken)
    }

    /// The statement no longer waits at the server.
    pub fn waits_no_more(&self, txn: TxnId) {
        self.graph.clear(txn);
    }

    // ## Transaction => ending

    /// A COMMIT or ROLLBACK is on its way to the server. Its transaction asks for nothing more, so it can
    /// be part of no cycle any more: who waits for it may be sent now and, if it comes too early, waits in
    /// the server for no longer than the COMMIT takes. The hand-over costs no round trip.
    pub fn ending(&self, txn: TxnId, refs: &[LockRef], commits: bool, now: u64) -> Vec<Woken> {
        let order = self.release_order(txn, refs, commits);
        self.learned.take_in(&mut self.locks.release(refs, commits, now));
        self.signatures.leave(txn);
        self.move_on(txn, &order, now);
        self.wake_behind(txn, now)
    }

    // ## Transaction => ended

    /// A transaction has ended: its locks go, and the statements that may go on are returned.
    pub fn ended(&self, txn: TxnId, refs: &[LockRef], committed: bool, now: u64) -> Vec<Woken> {
        // In this order: whoever looks at the queue sets edges for those that it finds there.
        self.server_queue.leave(txn);
        self.graph.clear(txn);
        let order = self.release_order(txn, refs, committed);
        self.learned.take_in(&mut self.locks.release(refs, committed, now));
        self.signatures.leave(txn);
        self.move_on(txn, &order, now);
        self.wake_behind(txn, now)
    }

    /// Locks that were noted for a statement that does not go on after all.
    pub fn given_up(&self, txn: TxnId, refs: &[LockRef], now: u64) -> Vec<Woken> {
        // In this order: whoever looks at the queue sets edges for those that it finds there.
        self.server_queue.leave(txn);
        self.graph.clear(txn);
        self.locks.withdraw(refs);
        self.get_further(txn, &[], |_| true, now);
        self.wake_behind(txn, now)
    }

    /// Notes a lock that a transaction has already.
    pub fn hold(&self, txn: TxnId, request: &Request, now: u64) -> LockRefs {
        self.locks.hold(txn, request, now)
    }

    /// Records in a range are being deleted.
    pub fn forget(&self, index: IndexId, range: &Range) {
        self.locks.forget(index, range);
    }

    /// The transaction has deleted what it has locked in this range.
    pub fn deleted(&self, txn: TxnId, index: IndexId, range: &Range) {
        self.locks.delete(txn, index, range);
    }

    /// The locks of a statement turn out to be these: see [`LockTable::replace`].
    pub fn replace(
        &self,
        txn: TxnId,
        refs: &[LockRef],
        exact: Exact<'_>,
        now: u64,
    ) -> (LockRefs, Vec<Woken>) {
        let (noted, mut met) = self.locks.replace(txn, refs, exact, now);
        if !exact.answered {
            met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
            let edges = judge::edges(&met.conflicts, false);
            self.server_queue.renew(txn, exact, &noted, || self.graph.set(txn, edges));
        }
        (noted, self.wake(now, |queue| queue.behind(txn)))
    }

    /// Takes in what a probe has shown; statements that turn out to be in another gap go on.
    pub fn learn(&self, index: IndexId, seen: &Neighbours, now: u64) -> Vec<Woken> {
        if !self.locks.learn(index, seen, now) {
            return Vec::new();
        }
        self.wake(now, |queue| queue.tokens(|hold| hold.submission.requests.iter().any(|r| r.index == index)))
    }

    /// Under the queue's mutex: looks, judges, and carries the decision out but for the queue itself.
    fn decide(
        &self,
        token: Token,
        submission: &Submission,
        queue: &mut HoldQueue,
        woken: &mut Vec<Woken>,
        now: u64,
    ) -> (Decision, Option<Judged>, Doubts) {
        self.graph.clear(submission.txn);
        let (refs, mut met) = self.note(submission, now);
        let completes = self.signatures.completes(submission.txn, &submission.seen);
        let doubts = Doubts::of(&met.conflicts);
        // What is anybody's guess is looked at, or it counts for nothing.
        met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
        if let Some(judged) = self.behind_elder(token, submission, &met, queue, now) {
            self.locks.withdraw(&refs);
            self.graph.set(submission.txn, judge::edges(&judged.conflicts, true));
            return (Decision::Hold, Some(judged), doubts);
        }
        if met.conflicts.is_empty() && completes.is_none() {
            self.signatures.passed_on(submission.txn, &submission.seen);
            self.get_behind(&met.behind, submission.txn);
            return (Decision::Forward { refs, waits: false }, None, doubts);
        }
        let mut judged = judge::judge(submission, met.conflicts, &met.behind, completes, &self.graph);
        judged.together = release::beside(woken, &judged);
        let full = queue.is_full(&self.limits.read(), &judged);
        match policy::decide(submission, &judged, full) {
            policy::Verdict::Forward => {
                if !met.behind.is_empty() {
                    self.get_behind(&met.behind, submission.txn);
                    judged.stalled = judge::stalled(submission.txn, &judged.conflicts, &self.graph);
                }
                let waits = self.wait_at_server(submission, &refs, &judged.conflicts);
                self.signatures.passed_on(submission.txn, &submission.seen);
                self.free_chain(submission.txn, &judged, queue, woken, now);
                (Decision::Forward { refs, waits }, Some(judged), doubts)
            }
            policy::Verdict::Hold => {
                self.locks.withdraw(&refs);
                self.graph.set(submission.txn, judge::edges(&judged.conflicts, true));
                (Decision::Hold, Some(judged), doubts)
            }
            policy::Verdict::Reject => {
                self.locks.withdraw(&refs);
                (Decision::Reject, Some(judged), doubts)
            }
        }
    }

    /// Notes the requests of a statement.
    fn note(&self, submission: &Submission, now: u64) -> (LockRefs, Met) {
        let asker = self.asker(submission);
        self.locks.enter(asker, &submission.requests, submission.origin(), submission.overtakes, now)
    }

    /// A statement is sent: those that wait already, and will come to wait for it, have an edge more. For one
    /// that is held they have not, or its own shadow would stand in its way.
    fn get_behind(&self, waiting: &[TxnId], sent: TxnId) {
        for txn in waiting {
            self.graph.comes_to(*txn, sent);
        }
    }

    /// A statement goes to the server. False: nothing is in its way there.
    fn wait_at_server(&self, submission: &Submission, refs: &LockRefs, conflicts: &[Conflict]) -> bool {
        let edges = judge::edges(conflicts, false);
        if edges.is_empty() {
            self.graph.clear(submission.txn);
            return false;
        }
        self.graph.set(submission.txn, edges);
        self.server_queue.enter(submission, refs);
        true
    }

    fn asker(&self, submission: &Submission) -> Asker {
        let expects = self.learned.expects(submission.seen.digest);
        Asker { txn: submission.txn, digest: submission.seen.digest, expects }
    }
}
