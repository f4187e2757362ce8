//! A statement under way, or done in an open transaction, whose locks are known widely only.
//!
//! ```text
//! noted wide ──answered──▶ held wide ──the transaction ends──▶ gone
//!     │ somebody runs into it  │
//!     └────────narrow──────────┴──▶ exact: what the server's indexes show
//! ```
//!
//! Whoever runs into it narrows it, on any thread; so its locks live here and not in its session's list.

use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::inquiry::Inquiry;
use super::statement::has_policy;
use crate::admission::search::Narrow;
use crate::catalog::Flavour;
use crate::id::{SearchId, TxnId};
use crate::intent::known::Known;
use crate::intent::outcome::{self, Answered, Rules};
use crate::lock::request::{Exact, Request, Settled};
use crate::lock::table::LockRefs;
use crate::sql::access::WaitPolicy;
use crate::sql::statement::Statement;

/// Such a statement.
pub(super) struct Search {
    pub(super) id: SearchId,
    txn: TxnId,
    inquiry: Inquiry,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// So many of them, at the end, are those of statements that it runs.
    inner: usize,
    /// What became of each, once it was answered.
    settled: Vec<Settled>,
    /// Its locks; `None` before they are noted and after the transaction has ended.
    refs: Option<LockRefs>,
    answered: Option<(Answered, Option<u64>)>,
    /// The requests are those that the server's indexes show.
    exact: bool,
    /// The transaction was rolled back to before it; whether its new entries leave gap locks.
    undone: Option<bool>,
    /// It was refused a lock instead of waiting for it (NOWAIT): it has what it had asked for before.
    refused: bool,
    /// The narrowing under way.
    narrowing: Option<Shared<BoxFuture<'static, ()>>>,
}

impl State {
    /// Of the locks `refs` these are left.
    fn stay(&mut self, refs: &LockRefs, kept: &LockRefs) {
        let still: Vec<bool> = refs.iter().map(|lock| kept.contains(lock)).collect();
        let own = self.requests.len().saturating_sub(self.inner);
        self.inner = still.iter().skip(own).filter(|still| **still).count();
        let mut each = still.iter().copied();
        self.requests.retain(|_| each.next().unwrap_or(false));
        let mut each = still.iter().copied();
        self.settled.retain(|_| each.next().unwrap_or(false));
    }
}

impl Search {
    /// A statement that is about to be noted.
    pub(super) fn open(inquiry: Inquiry, txn: TxnId) -> Arc<Search> {
        let searches = &inquiry.shared.admission.searches;
        let id = searches.number();
        let search = Arc::new(Search { id, txn, inquiry, state: Mutex::default() });
        let weak = Arc::downgrade(&search) as Weak<dyn Narrow>;
        search.inquiry.shared.admission.searches.open(id, weak);
        search
    }

    /// Its requests are noted, the last `inner` of them those of statements that it runs.
    pub(super) fn noted(&self, requests: Vec<Request>, inner: usize, refs: LockRefs) {
        let mut state = self.state.lock();
        state.requests = requests;
        state.inner = inner;
        state.refs = Some(refs);
    }

    /// Fetches the plan for the next execution, unless it is known.
    pub(super) fn explain(self: &Arc<Self>) {
        let search = Arc::clone(self);
        if let Some(knowledge) = &self.inquiry.shared.knowledge {
            knowledge.control.runtime().spawn(async move { search.inquiry.explain().await });
        }
    }

    /// The statement was answered. False: nothing of it is held.
    pub(super) fn answered(&self, answered: Answered, generated: Option<u64>) -> bool {
        let mut state = self.state.lock();
        let Some(refs) = state.refs.take() else { return false };
        let admission = &self.inquiry.shared.admission;
        let nowait = has_policy(self.inquiry.statement(), WaitPolicy::NoWait);
        if nowait && !matches!(answered, Answered::Failed(_)) {
            admission.believe(&refs, &state.requests);
        }
        if nowait && outcome::is_not_granted(&answered) {
            admission.doubt(&refs);
            let kept = vec![Settled::Kept; refs.len()];
            state.refs = Some(admission.answered(self.txn, refs, &kept));
            (state.settled, state.refused) = (kept, true);
            state.answered = Some((Answered::Unclear, generated));
            return true;
        }
        state.answered = Some((answered, generated));
        let answers =
            |refs, settled: &[Settled]| self.inquiry.shared.admission.answered(self.txn, refs, settled);
        let refs = self.settle(&mut state, refs, answers);
        let held = !refs.is_empty();
        state.refs = Some(refs);
        held
    }

    /// What was asked for became what the answer says; `settles` tells the scheduler.
    fn settle(
        &self,
        state: &mut State,
        refs: LockRefs,
        settles: impl FnOnce(LockRefs, &[Settled]) -> LockRefs,
    ) -> LockRefs {
        let Some((answered, generated)) = &state.answered else { return refs };
        let statement = &self.inquiry.analysed.plan.statement;
        let rules = Rules::of(&self.inquiry.context);
        let requests = (&*state.requests, state.inner);
        let settled = outcome::settle_all(statement, requests, state.exact, answered, *generated, rules);
        // The requests stay in step with the locks.
        let kept = settles(refs.clone(), &settled);
        state.settled = settled;
        state.stay(&refs, &kept);
        match state.undone {
            Some(gap_stays) => self.take_back(state, kept, gap_stays),
            None => kept,
        }
    }

    /// The transaction is rolled back to a moment. What the statement did is undone if it came later.
    pub(super) fn undo(&self, moment: u64, gap_stays: bool) {
        let mut state = self.state.lock();
        if state.undone.is_none()
            && state.refs.as_ref().is_some_and(|refs| refs.iter().any(|r| r.is_since(moment)))
        {
            state.undone = Some(gap_stays);
            let refs = state.refs.take().unwrap_or_default();
            state.refs = Some(self.take_back(&mut state, refs, gap_stays));
        }
    }

    /// Leaves of its locks what a rollback to a savepoint leaves.
    fn take_back(&self, state: &mut State, refs: LockRefs, gap_stays: bool) -> LockRefs {
        let kept = self.inquiry.shared.admission.rolled_back_to(self.txn, &refs, 0, gap_stays);
        state.stay(&refs, &kept);
        kept
    }

    /// The transaction ends: the locks are given to the caller, and nobody narrows them any more.
    pub(super) fn close(&self) -> LockRefs {
        self.inquiry.shared.admission.searches.close(self.id);
        self.state.lock().refs.take().unwrap_or_default()
    }

    async fn run(self: Arc<Self>) {
        let done = self.state.lock().answered.is_some();
        let known = Known { done, ..self.inquiry.ask().await };
        let mut known = if done && fills_its_source(&self.inquiry.analysed.plan.statement) {
            known.without_new()
        } else {
            known
        };
        let mut intent = self.inquiry.intent(&known);
        let admission = &self.inquiry.shared.admission;
        let mut state = self.state.lock();
        state.narrowing = None;
        let Some(refs) = state.refs.take() else { return };
        // MAX gives a row where there is none.
        let statement = &self.inquiry.analysed.plan.statement;
        let aggregated = matches!(statement, Statement::Select(select) if select.aggregated);
        let found = |answered: &Answered| answered.rows().filter(|_| !aggregated);
        if has_policy(statement, WaitPolicy::SkipLocked) {
            let Some((Answered::Rows(rows), _)) = &state.answered else {
                state.refs = Some(refs);
                return;
            };
            let mut passes = false;
            while let Some((passed, sure)) = admission.first_in_way(self.txn, &intent.requests, &refs) {
                if !sure {
                    // What was in its way is not known itself yet.
                    state.refs = Some(refs);
                    return;
                }
                if !known.pass_over(&intent.requests[passed]) {
                    break;
                }
                passes = true;
                intent = self.inquiry.intent(&known);
            }
            let gives = known.gives().filter(|_| !aggregated);
            if gives.map_or(passes, |gives| gives != *rows) {
                // Whoever was in its way has gone: which rows it has is not known.
                state.refs = Some(refs);
                return admission.searches.close(self.id);
            }
        }
        if state.answered.as_ref().is_some_and(|(answered, _)| known.contradicts(found(answered))) {
            // Its own transaction has inserted or deleted there since: the wide locks stay.
            state.refs = Some(refs);
            return admission.searches.close(self.id);
        }
        if state.refused {
            let Some((got, _)) = admission.first_in_way(self.txn, &intent.requests, &refs) else {
                // Whoever was in its way has gone.
                state.refs = Some(refs);
                return admission.searches.close(self.id);
            };
            intent.requests.truncate(got);
            intent.reaches.truncate(got);
            intent.inner = 0;
        }
        let exact = Exact {
            requests: &intent.requests,
            reaches: &intent.reaches,
            answered: state.answered.is_some(),
            overtakes: self.inquiry.context.flavour == Flavour::MySql,
        };
        let noted = admission.replace(self.txn, &refs, exact);
        state.exact = intent.exact;
        state.requests = intent.requests;
        state.inner = intent.inner;
        // By now its transaction may be waiting with another statement.
        let noted =
            self.settle(&mut state, noted, |refs, settled| admission.settled(self.txn, refs, settled));
        state.refs = Some(noted);
        drop(state);
        admission.searches.close(self.id);
    }
}

/// `INSERT INTO t SELECT … FROM t`
fn fills_its_source(statement: &Statement) -> bool {
    let Statement::Insert(insert) = statement else { return false };
    insert.sources().iter().any(|source| source.table == insert.table)
}

impl Narrow for Search {
    fn narrow(self: Arc<Self>) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock();
        if let Some(narrowing) = &state.narrowing {
            return narrowing.clone().boxed();
        }
        let Some(knowledge) = &self.inquiry.shared.knowledge else {
            return futures_util::future::ready(()).boxed();
        };
        // A task of its own drives it, so that it ends even if every caller goes away.
        let task = knowledge.control.runtime().spawn(Arc::clone(&self).run());
        let narrowing = async move {
            let _ = task.await;
        }
        .boxed()
        .shared();
        state.narrowing = Some(narrowing.clone());
        narrowing.boxed()
    }

    fn visit(&self, each: &mut dyn FnMut(&Request, &Settled)) -> bool {
        // Whoever asks holds locks of its own: it gets nothing rather than wait for one that is being changed.
        let Some(state) = self.state.try_lock() else { return false };
        state.requests.iter().zip(&state.settled).for_each(|(request, settled)| each(request, settled));
        state.exact
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.inquiry.shared.admission.searches.close(self.id);
    }
}
