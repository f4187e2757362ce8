//! The async door to the scheduler: a statement comes in, and goes on at once, later, or not at all.
//!
//! The scheduler is pure; this room gives it a clock, wakes the sessions that it lets go on, and writes
//! down what happened. What is taken here is given back on drop: a [`Hold`] whose session has gone leaves
//! the queue, and a statement that was let go on in that same moment gives its locks back.

pub mod advice;
pub mod comment;
pub mod file;
pub mod groups;
pub mod history;
pub mod lock_order;
pub mod place;
pub mod registry;
pub mod ledger;
pub mod metadata;
pub mod record;
pub mod journal;
pub mod deadlock;
pub mod document;
pub mod state;
pub mod pattern;
mod tag_value;
mod room;
mod budget;
mod dry_run;
mod replay;
mod restart;
mod ring;
mod hold;
mod look;
mod report;
mod stall;
mod wake;
pub mod search;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::oneshot;

use crate::id::{Counter, IndexId, SessionId, Token, TxnId};
use crate::lock::request::{Exact, Kind, Request, Settled};
use crate::lock::table::{LockRef, LockRefs};
use crate::metrics::Metrics;
use crate::metrics::labels::FailOpen;
use crate::scheduler::Scheduler;
use crate::scheduler::conflict::{Decision, Doubts, Report, Submission, Taken};
use crate::scheduler::policy::{Action, Limits};
use budget::{Allowance, Budget};
use dry_run::DryRun;
pub use hold::Hold;
use ledger::Ledger;
use lock_order::LockOrder;
pub use look::Looking;
use place::Places;
use record::Resource;
use registry::{Entry, Registry};
use room::Room;
use wake::Delivery;
pub use wake::HoldLook;

/// Conflicts that are logged each second; the rest are counted in the next line.
const LOG_LINES_PER_SECOND: u64 = 10;

/// Plain waits that were passed on and are written down each second, with all that their parties did; the rest
/// are counted. Hazards, deadlocks and whatever was held or rejected are all written down.
const WAITS_PER_SECOND: u64 = 100;

/// Deadlocks each second of which the parties are looked for.
const SCENES_PER_SECOND: u64 = 20;

/// How admission works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time that a statement is held.
    pub hold_timeout: Duration,
    /// The same, where a deadlock is known to follow otherwise; not shorter.
    pub deadlock_hold_timeout: Duration,
    /// Of each second, how long statements may be kept back in all for looks at the server. Held statements do
    /// not count: they wait anyway.
    pub look_time: Duration,
    /// How much may be held.
    pub limits: Limits,
    /// How long a record that was met is believed to exist.
    pub fence_lifetime: Duration,
    /// Locks that are followed, over all sessions.
    pub max_locks: usize,
    /// Conflicts kept in memory.
    pub keep: usize,
    /// Hide literals in all that is kept.
    pub redact: bool,
}

/// The door. One for the process, shared by all sessions.
#[derive(Debug)]
pub struct Admission {
    scheduler: Scheduler,
    settings: ArcSwap<Settings>,
    /// Who has to be told when a held statement may go on. Entered before the statement can be found in the queue.
    waiting: DashMap<Token, oneshot::Sender<Delivery>>,
    /// The same statements for those who look.
    holds: DashMap<Token, HoldLook>,
    /// Sessions and what their transactions have done.
    pub registry: Registry,
    /// Conflicts, newest last.
    pub ledger: Ledger,
    /// Statements whose locks can be narrowed.
    pub searches: search::Searches,
    /// The order in which transactions lock.
    pub order: LockOrder,
    /// Names of indexes.
    pub places: Places,
    transactions: Counter,
    sessions: Counter,
    started: Instant,
    /// Looks in a row that let nobody on.
    vain_looks: AtomicU32,
    log_lines: Budget,
    looks: Allowance,
    room: Room,
    waits: Budget,
    scenes: Budget,
    /// Statements that exclude others from tables.
    excluding: AtomicUsize,
    dry_run: DryRun,
    log_suppressed: AtomicU64,
    metrics: Metrics,
}

/// What becomes of a statement.
#[derive(Debug)]
pub enum Admitted {
    /// It goes on; these are its locks. `waits`: it is expected to wait at the server.
    Forward {
        /// Its locks, as noted.
        refs: LockRefs,
        /// Edges stand in the wait-for graph until the answer.
        waits: bool,
    },
    /// It is held; await it.
    Hold(Hold),
    /// It is refused.
    Reject,
    /// Another session has killed it while it was held: its transaction stays.
    Killed,
    /// Nothing was decided: what is locked is not known exactly, and a look at the server would tell. Only
    /// if the caller said that it can look.
    Look {
        /// What is unsure.
        doubts: Doubts,
        /// The request whose surroundings matter, by its position, if the edges of a gap are not known.
        request: Option<usize>,
        /// To be kept for as long as the look takes.
        looking: Looking,
    },
}

/// The names that a report shows for an index.
pub type Names<'a> = &'a dyn Fn(IndexId) -> Resource;

impl Admission {
    /// A door with nobody inside.
    pub fn new(settings: Settings, metrics: Metrics) -> Arc<Admission> {
        Arc::new(Admission {
            scheduler: Scheduler::new(settings.limits, settings.fence_lifetime),
            waiting: DashMap::new(),
            holds: DashMap::new(),
            registry: Registry::default(),
            ledger: Ledger::new(settings.keep, metrics.clone()),
            searches: search::Searches::default(),
            order: LockOrder::new(metrics.clone()),
            places: Places::default(),
            transactions: Counter::default(),
            sessions: Counter::default(),
            started: Instant::now(),
            vain_looks: AtomicU32::new(0),
            log_lines: Budget::new(LOG_LINES_PER_SECOND),
            looks: Allowance::default(),
            room: Room::default(),
            waits: Budget::new(WAITS_PER_SECOND),
            scenes: Budget::new(SCENES_PER_SECOND),
            excluding: AtomicUsize::new(0),
            dry_run: DryRun::default(),
            log_suppressed: AtomicU64::new(0),
            metrics,
            settings: ArcSwap::from_pointee(settings),
        })
    }

    /// The scheduler, to look at.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// How admission works now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// How admission works from now on. What is held stays held for as long as it was promised.
    pub fn configure(&self, settings: Settings) {
        self.scheduler.limit(settings.limits);
        self.ledger.keep(settings.keep);
        self.settings.store(Arc::new(settings));
    }

    /// A number for a new session.
    pub fn session(&self) -> SessionId {
        SessionId(self.sessions.next())
    }

    /// A number for a new transaction.
    pub fn transaction(&self) -> TxnId {
        TxnId(self.transactions.next())
    }

    /// May the request lock a gap into which its transaction inserts later?
    pub fn may_lock_gap(&self, request: &Request) -> bool {
        self.scheduler.locks().may_lock_gap(request, self.now())
    }

    /// See [`LockTable::lead`](crate::lock::table::LockTable::lead).
    pub fn lead(&self, requests: &mut [Request]) {
        if requests.iter().any(|request| matches!(request.kind, Kind::Clustered { .. })) {
            self.scheduler.locks().lead(requests, self.now());
        }
    }

    /// Is there room for so many more locks? What asks for them is to be followed only if there is.
    pub fn has_room(&self, locks: usize) -> bool {
        let settings = self.settings.load();
        self.room.take(locks, settings.max_locks, self.now(), || self.scheduler.locks().len())
    }

    /// Lets a statement on if nothing is in its way.
    pub fn enter(&self, submission: &Submission) -> Option<LockRefs> {
        self.scheduler.enter(submission, self.now())
    }

    /// Decides on a statement that [`enter`](Self::enter) did not let on. A conflict that hangs on what a look
    /// would show is given back undecided, unless the statement is to be decided as it is.
    pub fn contend(
        self: &Arc<Self>,
        submission: &Submission,
        names: Names<'_>,
    ) -> (Admitted, Option<Report>) {
        let token = self.scheduler.token();
        let mut woken = None;
        let (session, txn, action) = (submission.session, submission.txn, submission.action);
        let begun = Instant::now();
        let contended = self.scheduler.contend(token, submission, self.now(), || {
            let (sender, receiver) = oneshot::channel();
            self.waiting.insert(token, sender);
            woken = Some(receiver);
        });
        self.metrics.decision_seconds.observe(begun.elapsed().as_secs_f64());
        self.deliver(contended.woken);
        // There is time to look while a statement is held; the others have to wait for it.
        let report = contended.report.as_ref();
        let held = report.is_some_and(|r| r.taken == Taken::Held);
        let unsure = !contended.doubts.is_empty() || report.is_some_and(|r| r.unsure_of_gap);
        let looking = if !submission.known.as_it_is && unsure && !held { self.looking() } else { None };
        if let Some(looking) = looking {
            if let Decision::Forward { refs, .. } = &contended.decision {
                self.give_up(txn, refs);
            }
            let request = report.filter(|r| r.unsure_of_gap).map(|r| r.conflict.request);
            return (Admitted::Look { doubts: contended.doubts, request, looking }, None);
        }
        let patience = self.patience(submission, report);
        // What should be held and is passed on has found the queue full.
        if action == Action::Reorder && report.is_some_and(|r| r.would_hold && r.taken == Taken::Flagged) {
            self.metrics.fail_open.inc(FailOpen::HoldLimit);
        }
        let weigh = |txn| self.registry.session_of(txn).map(|entry| entry.weight()).unwrap_or_default();
        let seq = report.map(|report| match self.scheduler.loser(report, &weigh, self.now()) {
            Some(loser) => {
                let place = |index| self.places.name(index);
                if let Some(left) = self.scheduler.left_without(loser.requester, txn, self.now()) {
                    self.write_down(&left, names, patience);
                }
                self.write_down(&loser, &place, Duration::ZERO)
            }
            None => self.write_down(report, names, patience),
        });
        let admitted = match (contended.decision, woken) {
            (Decision::Forward { refs, waits }, _) => Admitted::Forward { refs, waits },
            (Decision::Hold, Some(woken)) => {
                self.metrics.held.inc();
                let seq = seq.unwrap_or(0);
                Admitted::Hold(Hold::new(self.clone(), session, (txn, token), woken, patience, seq))
            }
            (Decision::Hold | Decision::Reject, _) => Admitted::Reject,
        };
        (admitted, contended.report)
    }

    /// The longest that a statement may be held for what was reported of it.
    fn patience(&self, submission: &Submission, report: Option<&Report>) -> Duration {
        let settings = self.settings.load();
        let known_to_deadlock = report.is_some_and(|report| report.signature.is_some());
        let limit = if known_to_deadlock { settings.deadlock_hold_timeout } else { settings.hold_timeout };
        Duration::from_millis(submission.patience_ms).min(limit)
    }

    /// A statement was answered. Returns the locks that stay.
    pub fn answered(&self, txn: TxnId, refs: LockRefs, settled: &[Settled]) -> LockRefs {
        let (kept, woken) = self.scheduler.answered(txn, refs, settled, self.now());
        self.deliver(woken);
        kept
    }

    /// What became of the locks of a statement that was answered before. Returns the locks that stay.
    pub fn settled(&self, txn: TxnId, refs: LockRefs, settled: &[Settled]) -> LockRefs {
        let (kept, woken) = self.scheduler.settled(txn, refs, settled, self.now());
        self.deliver(woken);
        kept
    }

    /// The first of a statement's requests that somebody else's lock is in the way of: NOWAIT was refused that one, SKIP
    /// LOCKED has passed over it; and whether that lock is known to cover no more than it seems to. `refs` are its locks as
    /// they were noted. `None`: there is none (any more).
    pub fn first_in_way(&self, txn: TxnId, requests: &[Request], refs: &[LockRef]) -> Option<(usize, bool)> {
        let order = refs.first()?.order();
        self.scheduler.locks().first_in_way(txn, requests, order, self.now())
    }

    /// What these locks cover the server's indexes tell, and nobody else.
    pub fn doubt(&self, refs: &[LockRef]) {
        self.scheduler.locks().doubt(refs, true);
    }

    /// A statement that may have been refused a lock was not: it has what it asked for.
    pub fn believe(&self, refs: &[LockRef], requests: &[Request]) {
        self.scheduler.locks().believe(refs, requests);
    }

    /// The locks of a statement turn out to be these.
    pub fn replace(&self, txn: TxnId, refs: &[LockRef], exact: Exact<'_>) -> LockRefs {
        self.room.taken(exact.requests.len());
        let (noted, woken) = self.scheduler.replace(txn, refs, exact, self.now());
        self.deliver(woken);
        noted
    }

    /// A session's transaction ends: the order of its locks may be one that nobody has seen.
    pub fn learn_order(&self, entry: &Entry) {
        entry.teach(&self.order, &self.places);
    }

    /// A COMMIT (or ROLLBACK) is about to be sent: what it leads to among those who wait at the server is told.
    pub fn closes(&self, txn: TxnId, refs: &[LockRef], commits: bool) {
        for report in self.scheduler.collisions(txn, refs, commits) {
            self.write_down(&report, &|index| self.places.name(index), Duration::ZERO);
        }
    }

    /// It has been sent: nobody needs to be held behind it any more.
    pub fn ending(&self, txn: TxnId, refs: &[LockRef], commits: bool) {
        let woken = self.scheduler.ending(txn, refs, commits, self.now());
        self.deliver(woken);
        self.rehearsed(txn);
    }

    /// A transaction was rolled back to a savepoint: see [`Scheduler::rolled_back_to`]. Returns the locks that stay.
    pub fn rolled_back_to(&self, txn: TxnId, refs: &[LockRef], moment: u64, gap_stays: bool) -> LockRefs {
        let (kept, woken) = self.scheduler.rolled_back_to(txn, refs, moment, gap_stays, self.now());
        self.deliver(woken);
        kept
    }

    /// A transaction has ended.
    pub fn ended(&self, txn: TxnId, refs: &[LockRef], committed: bool) {
        // Before those are woken who wait for it: see `until_ended`.
        self.registry.ended(txn);
        let woken = self.scheduler.ended(txn, refs, committed, self.now());
        self.deliver(woken);
        self.ledger.ended(txn);
        self.rehearsed(txn);
    }

    /// Milliseconds since the start: the clock of what is known.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
