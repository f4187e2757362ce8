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
mod budget;
mod dry_run;
mod replay;
mod restart;
mod ring;
mod hold;
pub mod search;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::oneshot;

use crate::id::{Counter, IndexId, SessionId, Token, TxnId};
use crate::lock::index::Neighbours;
use crate::lock::request::{Exact, Request, Settled};
use crate::lock::table::{LockRef, LockRefs};
use crate::metrics::Metrics;
use crate::metrics::labels::{FailOpen, Predicted, TimeSpent};
use crate::scheduler::Scheduler;
use crate::scheduler::conflict::{ConflictKind, Decision, Doubts, HoldEnd, Report, Submission, Taken, Woken};
use crate::scheduler::policy::{Action, Limits};
use budget::{Allowance, Budget};
use dry_run::DryRun;
pub use hold::Hold;
use ledger::{Happened, Ledger, Witness};
use lock_order::LockOrder;
use place::Places;
use record::Resource;
use registry::{Entry, Registry};

/// Conflicts that are logged each second; the rest are counted in the next line.
const LOG_LINES_PER_SECOND: u64 = 10;

/// Plain waits that were passed on and are written down each second, with all that their parties did; the rest
/// are counted. Hazards, deadlocks and whatever was held or rejected are all written down.
const WAITS_PER_SECOND: u64 = 100;

/// Deadlocks each second of which the parties are looked for.
const SCENES_PER_SECOND: u64 = 20;

/// Most holds end sooner than this: they need no look.
const FIRST_LOOK: Duration = Duration::from_millis(2);

/// How admission works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time that a statement is held.
    pub hold_timeout: Duration,
    /// Of each second, how long statements may be kept back in all for looks at the server. Held statements do
    /// not count: they wait anyway.
    pub look_time: Duration,
    /// How much may be held.
    pub limits: Limits,
    /// How long a record that was met is believed to exist.
    pub fence_lifetime: Duration,
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
    /// Who has to be told when a held statement may go on. Entered before the statement is queued.
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

/// A held statement as a look at it shows it.
#[derive(Clone, Copy, Debug)]
pub struct HoldLook {
    /// Its place in the queue.
    pub token: Token,
    /// Whose statement it is.
    pub session: SessionId,
    /// The transaction that it belongs to.
    pub txn: TxnId,
    /// Since when it is held.
    pub since: Instant,
    /// The longest that it will be.
    pub patience: Duration,
    /// The conflict's number in the ledger.
    pub conflict: u64,
}

/// A statement is kept back for a look at the server, for as long as this lives.
#[derive(Debug)]
pub struct Looking {
    admission: Arc<Admission>,
    since: Instant,
}

impl Drop for Looking {
    fn drop(&mut self) {
        let Looking { admission, since } = self;
        admission.looks.end(admission.now(), since.elapsed(), admission.settings.load().look_time);
    }
}

/// What a held statement waits for.
#[derive(Debug)]
struct Delivery {
    woken: Woken,
    at: Instant,
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

    /// A shutdown: what is held goes on now, and nothing is held any more.
    pub fn release_all(&self) {
        let woken = self.scheduler.release_all(self.now());
        self.deliver(woken);
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

    /// Lets a statement on if nothing is in its way.
    pub fn enter(&self, submission: &Submission) -> Option<LockRefs> {
        self.scheduler.enter(submission, self.now())
    }

    /// Decides on a statement that [`enter`](Self::enter) did not let on. With `can_look`, a conflict that
    /// hangs on the unknown edges of a gap is given back undecided.
    pub fn contend(
        self: &Arc<Self>,
        submission: Submission,
        can_look: bool,
        names: Names<'_>,
    ) -> (Admitted, Option<Report>) {
        let token = self.scheduler.token();
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(token, sender);
        let (session, txn, action) = (submission.session, submission.txn, submission.action);
        let patience = Duration::from_millis(submission.patience_ms).min(self.settings.load().hold_timeout);
        let begun = Instant::now();
        let contended = self.scheduler.contend(token, submission, self.now());
        self.metrics.decision_seconds.observe(begun.elapsed().as_secs_f64());
        self.deliver(contended.woken);
        if !matches!(contended.decision, Decision::Hold) {
            self.waiting.remove(&token);
        }
        // There is time to look while a statement is held; the others have to wait for it.
        let report = contended.report.as_ref();
        let held = report.is_some_and(|r| r.taken == Taken::Held);
        let unsure = !contended.doubts.is_empty() || report.is_some_and(|r| r.unsure_of_gap);
        let looking = if can_look && unsure && !held { self.looking() } else { None };
        if let Some(looking) = looking {
            if let Decision::Forward { refs, .. } = &contended.decision {
                self.give_up(txn, refs);
            }
            let request = report.filter(|r| r.unsure_of_gap).map(|r| r.conflict.request);
            return (Admitted::Look { doubts: contended.doubts, request, looking }, None);
        }
        // What should be held and is passed on has found the queue full.
        if action == Action::Reorder && report.is_some_and(|r| r.would_hold && r.taken == Taken::Flagged) {
            self.metrics.fail_open.inc(FailOpen::HoldLimit);
        }
        let seq = match (&contended.loser, &contended.report) {
            (Some(loser), _) => {
                Some(self.write_down(loser, self.places.name(loser.request.index), Duration::ZERO))
            }
            (None, report) => {
                report.as_ref().map(|report| self.write_down(report, names(report.request.index), patience))
            }
        };
        let admitted = match contended.decision {
            Decision::Forward { refs, waits } => Admitted::Forward { refs, waits },
            Decision::Reject => Admitted::Reject,
            Decision::Hold => {
                self.metrics.held.inc();
                Admitted::Hold(Hold::new(
                    self.clone(),
                    session,
                    (txn, token),
                    receiver,
                    patience,
                    seq.unwrap_or(0),
                ))
            }
        };
        (admitted, contended.report)
    }

    /// A statement may be kept back for a look, if there is time left for that.
    fn looking(self: &Arc<Self>) -> Option<Looking> {
        let begun = self.looks.begin(self.now(), self.settings.load().look_time);
        begun.then(|| Looking { admission: self.clone(), since: Instant::now() })
    }

    /// The statements held now, oldest first.
    pub fn holds(&self) -> Vec<HoldLook> {
        let mut holds: Vec<HoldLook> = self.holds.iter().map(|hold| *hold).collect();
        holds.sort_unstable_by_key(|hold| hold.token);
        holds
    }

    /// Lets a held statement go on, whatever is in its way. False: it is not held (any more).
    pub fn release(&self, token: Token) -> bool {
        // Looked up first: if its session goes in this moment, the delivery finds nobody and gives the locks back.
        let Some(txn) = self.holds.get(&token).map(|hold| hold.txn) else { return false };
        let Some((refs, mut woken)) = self.scheduler.expire(token, self.now()) else { return false };
        woken.push(Woken {
            token,
            txn,
            decision: Decision::Forward { refs, waits: true },
            end: HoldEnd::Operator,
        });
        self.deliver(woken);
        true
    }

    /// `KILL QUERY` was carried out: if the session's statement is held here, and so not at the server, it ends here.
    /// False: it is not held.
    pub fn kill_query(&self, server_thread: u32) -> bool {
        let Some(session) = self.registry.by_thread(server_thread) else { return false };
        let Some((token, txn)) = self.scheduler.held_of(session.id) else { return false };
        let Some(mut woken) = self.scheduler.cancel(token, self.now()) else { return false };
        woken.push(Woken { token, txn, decision: Decision::Reject, end: HoldEnd::Killed });
        self.deliver(woken);
        true
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

    /// The locks of a statement turn out to be these.
    pub fn replace(&self, txn: TxnId, refs: &[LockRef], exact: Exact<'_>) -> LockRefs {
        let (noted, woken) = self.scheduler.replace(txn, refs, exact, self.now());
        self.deliver(woken);
        noted
    }

    /// A statement of which a conflict was reported has been answered, with this error number if it failed.
    pub fn came_true(&self, txn: TxnId, errno: Option<u16>) {
        self.scheduler.waits_no_more(txn);
        self.ledger.answered(txn, errno);
    }

    /// A session's transaction ends: the order of its locks may be one that nobody has seen.
    pub fn learn_order(&self, entry: &Entry) {
        entry.teach(&self.order, &self.places);
    }

    /// A COMMIT (or ROLLBACK) is about to be sent: nobody needs to be held behind it any more.
    pub fn ending(&self, txn: TxnId, refs: &[LockRef], commits: bool) {
        for report in self.scheduler.collisions(txn, refs, commits) {
            self.write_down(&report, self.places.name(report.request.index), Duration::ZERO);
        }
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

    /// Holds behind this transaction would end now.
    fn rehearsed(&self, txn: TxnId) {
        for (seq, held) in self.dry_run.ended(txn, Instant::now()) {
            self.metrics.would_hold_seconds.observe(held.as_secs_f64());
            self.ledger.would_have_held(seq, held);
        }
    }

    /// The server has reported a deadlock or a lock wait timeout. True if it was foreseen.
    pub fn server_reported(&self, session: SessionId, txn: TxnId, happened: Happened) -> bool {
        let foreseen = self.ledger.server_reported(session, txn, happened, &self.witness());
        if matches!(happened, Happened::Deadlock(_)) {
            self.metrics.server_deadlocks.inc(if foreseen { Predicted::Yes } else { Predicted::No });
        }
        foreseen
    }

    /// Takes in what a probe has shown.
    pub fn learn(&self, index: IndexId, seen: &Neighbours) {
        let woken = self.scheduler.learn(index, seen, self.now());
        if woken.is_empty() {
            self.vain_looks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.vain_looks.store(0, Ordering::Relaxed);
        }
        self.deliver(woken);
    }

    /// How long a statement that is held on a guess waits before somebody looks whether the guess is right.
    /// Looks that let nobody on become rarer; one that does makes them frequent again.
    pub fn look_after(&self) -> Duration {
        let doublings = (self.vain_looks.load(Ordering::Relaxed) / 4).min(7);
        FIRST_LOOK * (1 << doublings)
    }

    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Locks of a statement that does not go on after all.
    fn give_up(&self, txn: TxnId, refs: &[LockRef]) {
        let woken = self.scheduler.given_up(txn, refs, self.now());
        self.deliver(woken);
    }

    fn deliver(&self, woken: Vec<Woken>) {
        for report in self.scheduler.foreseen() {
            self.write_down(&report, self.places.name(report.request.index), Duration::ZERO);
        }
        for woken in woken {
            let undelivered = match self.waiting.remove(&woken.token) {
                Some((_, sender)) => {
                    sender.send(Delivery { woken, at: Instant::now() }).err().map(|returned| returned.woken)
                }
                None => Some(woken),
            };
            // Its session has gone in this moment: nobody will run the statement.
            if let Some(Woken { txn, decision: Decision::Forward { refs, .. }, .. }) = undelivered {
                self.give_up(txn, &refs);
            }
        }
    }

    fn write_down(&self, report: &Report, resource: Resource, patience: Duration) -> u64 {
        if let Some(signature) = report.signature {
            self.scheduler.signatures().matched(signature, deadlock::unix_now());
            self.metrics.signature_matches.inc(report.taken);
        }
        self.metrics.conflicts.inc((report.kind, report.taken, report.certainty));
        if report.would_hold && report.taken == Taken::Flagged {
            self.metrics.would_hold.inc(report.kind);
        }
        let plain = report.kind == ConflictKind::Wait && report.taken == Taken::Flagged;
        if plain && !self.waits.take(self.now()) {
            return 0;
        }
        let seq = self.ledger.report(report, resource, &self.witness());
        if report.would_hold && report.taken == Taken::Flagged {
            self.dry_run.begin(seq, &report.holders, patience, Instant::now());
            // One that ended meanwhile has not been told of it.
            let gone = |txn: &&TxnId| self.registry.session_of(**txn).is_none();
            report.holders.iter().filter(gone).for_each(|txn| self.rehearsed(*txn));
        }
        let Some(suppressed) = self.may_log() else { return seq };
        tracing::warn!(
            target: "interlock::conflict",
            seq,
            suppressed,
            kind = ?report.kind,
            certainty = ?report.certainty,
            action = ?report.taken,
            requester = %report.session,
            statements = %self.ledger.statements(seq),
            "lock conflict"
        );
        seq
    }

    /// What a record is written from.
    fn witness(&self) -> Witness<'_> {
        let redact = self.settings.load().redact;
        let (registry, places, locks) = (&self.registry, &self.places, self.scheduler.locks());
        Witness { registry, places, locks, redact, now: self.now() }
    }

    /// Conflicts can come by the thousand each second; the log gets a few of them, the ledger all. Returns
    /// how many were left out since the last line.
    fn may_log(&self) -> Option<u64> {
        if !self.log_lines.take(self.now()) {
            self.log_suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.log_suppressed.swap(0, Ordering::Relaxed))
    }

    fn hold_ended(&self, seq: u64, end: HoldEnd, held: Duration) {
        self.metrics.hold_seconds.observe(held.as_secs_f64());
        self.metrics.held.dec();
        self.metrics.time.add(TimeSpent::Held, held.as_nanos() as u64);
        if let Some(kind) = self.ledger.hold_ended(seq, held) {
            self.metrics.holds.inc((kind, end));
        }
    }
}

#[cfg(test)]
mod tests;
