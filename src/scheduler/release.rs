//! How a hold ends: what stood in the way has gone, or it goes on whatever stands there, or nobody wants it any more.

use std::sync::atomic::Ordering;

use super::conflict::{Decision, HoldEnd, Judged, Submission, Woken};
use super::hold_queue::{Hold, HoldQueue};
use super::policy::Limits;
use super::{Scheduler, judge, policy};
use crate::id::{IndexId, Token, TxnId};
use crate::lock::index::Relation;
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::lock::request::Request;
use crate::lock::table::LockRefs;

/// A held statement that was let on, for those held behind it.
struct First {
    submission: Submission,
    /// The gaps that it may lock.
    gaps: Vec<(IndexId, Range)>,
}

impl First {
    /// Would the other come to wait for it, or be a hazard with it as with the one that has gone? It need not be asked.
    fn stops(&self, other: &Hold) -> bool {
        let (first, asked) = (&self.submission, &other.submission);
        let here = |request: &Request| {
            let mut gaps = self.gaps.iter().filter(|(index, _)| *index == request.index);
            request.kind.gaps() && gaps.any(|(_, gap)| gap.contains(&request.range.low))
        };
        let alike = other.hazard && first.keeps && first.seen.digest == asked.seen.digest;
        first.excludes_equals(asked) || alike && asked.requests.iter().any(here)
    }
}

/// Would a held statement wait for one of those that were let on before it, in the same moment?
pub(super) fn beside(let_on: &[Woken], judged: &Judged) -> bool {
    let sent = |woken: &Woken| matches!(woken.decision, Decision::Forward { .. });
    let waits_for = |txn| judged.conflicts.iter().any(|c| c.relation == Relation::Wait && c.holder == txn);
    let_on.iter().any(|woken| sent(woken) && waits_for(woken.txn))
}

impl Scheduler {
    // ## Held => Forward, whatever is in the way

    /// A hold has reached its deadline, or its holder stalls: the statement goes on. `None`: it was not
    /// held any more; somebody has woken it. Returned with it: others that it would have stalled behind.
    pub fn expire(&self, token: Token, now: u64) -> Option<(LockRefs, Vec<Woken>)> {
        let mut queue = self.queue.lock();
        let hold = queue.remove(token)?;
        self.contenders.fetch_sub(1, Ordering::SeqCst);
        let mut woken = Vec::new();
        let refs = self.force(&hold.submission, &mut queue, &mut woken, now);
        Some((refs, woken))
    }

    /// The process is about to end: every held statement goes on, oldest first, and none is held any more.
    pub fn release_all(&self, now: u64) -> Vec<Woken> {
        // Nothing fits in any more: whoever decides to hold does so under the queue's mutex, before or after.
        let nothing = Limits { max_held: 0, max_queue: 0, ..*self.limits.read() };
        self.limit(nothing);
        let mut woken = Vec::new();
        let mut queue = self.queue.lock();
        for token in queue.tokens(|_| true) {
            self.send_on(token, HoldEnd::Shutdown, &mut queue, &mut woken, now);
        }
        woken
    }

    /// A held statement goes on, whatever is in its way; nothing happens if another one that went on has let it on.
    pub(super) fn send_on(
        &self,
        token: Token,
        end: HoldEnd,
        queue: &mut HoldQueue,
        woken: &mut Vec<Woken>,
        now: u64,
    ) {
        // Taken out of the queue first: a hold that ends may end others, and so this comes to an end.
        let Some(hold) = queue.remove(token) else { return };
        self.contenders.fetch_sub(1, Ordering::SeqCst);
        let refs = self.force(&hold.submission, queue, woken, now);
        let decision = Decision::Forward { refs, waits: true };
        woken.push(Woken { token, txn: hold.submission.txn, decision, end });
    }

    // ## Held => gone

    /// The client of a held statement has gone, or it was killed. `None`: it was not held any more. Returned:
    /// others that did not want to overtake it.
    pub fn cancel(&self, token: Token, now: u64) -> Option<Vec<Woken>> {
        let txn = {
            let hold = self.queue.lock().remove(token)?;
            self.contenders.fetch_sub(1, Ordering::SeqCst);
            hold.submission.txn
        };
        self.graph.clear(txn);
        Some(self.wake_behind(txn, now))
    }

    /// A transaction has gone: looks again at the held statements that may go on because of it.
    pub(super) fn wake_behind(&self, gone: TxnId, now: u64) -> Vec<Woken> {
        self.wake(now, |queue| queue.without(gone))
    }

    /// Looks again at the held statements that `concerned` picks, oldest first. One that would wait for another that
    /// was let on before it, here and now, stays behind it.
    pub(super) fn wake(&self, now: u64, concerned: impl FnOnce(&mut HoldQueue) -> Vec<Token>) -> Vec<Woken> {
        let mut woken = Vec::new();
        if self.contenders.load(Ordering::SeqCst) == 0 {
            return woken;
        }
        let mut queue = self.queue.lock();
        // The last statement let on that has nothing in its way.
        let mut first: Option<First> = None;
        for token in concerned(&mut queue) {
            let Some(mut hold) = queue.remove(token) else { continue };
            if let Some(first) = first.as_ref().filter(|first| first.stops(&hold)) {
                let first = first.submission.txn;
                self.graph.set(hold.submission.txn, judge::edge_to(first, true));
                let blockers = vec![first];
                queue.push(token, Hold { reasons: blockers.clone(), blockers, ..hold });
                continue;
            }
            // The row that it looks up may have been put meanwhile.
            self.locks.lead(&mut hold.submission.requests, now);
            let (decision, judged, _) = self.decide(token, &hold.submission, &mut queue, &mut woken, now);
            match (decision, judged) {
                (Decision::Hold, Some(judged)) => {
                    let reasons = policy::reasons(&hold.submission, &judged);
                    let hazard = policy::is_hazard(&hold.submission, &judged);
                    queue.push(token, Hold { blockers: judged.holders(), reasons, hazard, ..hold });
                }
                (decision, _) => {
                    self.contenders.fetch_sub(1, Ordering::SeqCst);
                    let txn = hold.submission.txn;
                    if matches!(decision, Decision::Forward { waits: false, .. }) {
                        let gaps = self.locks.gaps(&hold.submission.requests, now);
                        first = Some(First { submission: hold.submission, gaps });
                    }
                    woken.push(Woken { token, txn, decision, end: HoldEnd::Released });
                }
            }
        }
        woken
    }

    /// Notes the requests of a statement that goes on although something is in its way, and lets those go
    /// on that it would stall behind.
    pub(super) fn force(
        &self,
        submission: &Submission,
        queue: &mut HoldQueue,
        woken: &mut Vec<Woken>,
        now: u64,
    ) -> LockRefs {
        self.graph.clear(submission.txn);
        let (refs, mut met) = self.note(submission, now);
        self.signatures.passed_on(submission.txn, &submission.seen);
        self.get_behind(&met.behind, submission.txn);
        met.conflicts.retain(|c| c.certainty > Certainty::Unknown);
        if !met.conflicts.is_empty() {
            let judged = judge::judge(submission, met.conflicts, &[], None, &self.graph);
            self.wait_at_server(submission, &refs, &judged.conflicts);
            self.free_chain(submission.txn, &judged, queue, woken, now);
        }
        refs
    }

    /// A statement is about to stall behind sessions that interlock itself holds back: those holds end at
    /// once, or nobody would move.
    pub(super) fn free_chain(
        &self,
        own: TxnId,
        judged: &Judged,
        queue: &mut HoldQueue,
        woken: &mut Vec<Woken>,
        now: u64,
    ) {
        let stalled =
            |hold: &Hold| hold.submission.txn != own && judged.stalled.contains(&hold.submission.txn);
        for token in queue.tokens(stalled) {
            self.send_on(token, HoldEnd::HolderStalled, queue, woken, now);
        }
    }
}
