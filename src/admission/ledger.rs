//! The ledger: every conflict found, what was done, and what came of it. A bounded ring.
//!
//! How a conflict ends is read from what happens to its parties:
//!
//! | conflict | happened | averted | did not happen |
//! |---|---|---|---|
//! | wait, passed on | its answer came after a holder's end, or 1205/1213 | – | answered while all holders were open |
//! | hazard, deadlock, passed on | a party got 1213 (or 1205) | – | all parties ended without |
//! | held | a party got 1213 all the same | all parties ended without | – |
//! | rejected | – | at once | – |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use std::time::Duration;

use super::advice::{self, Advice};
use super::budget::Budget;
use super::deadlock::Reported;
use super::file::Writer;
use super::groups::{Group, GroupId, Tally};
use super::metadata;
use super::pattern;
use super::place::{self, Places};
use super::record::{Detected, Outcome, Party, Record, Resource};
use super::registry::{Entry, Registry};
use super::replay::Script;
use super::ring::Ring;
use crate::id::{SessionId, TxnId};
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::lock::request::Kind;
use crate::lock::table::LockTable;
use crate::metrics::Metrics;
use crate::metrics::labels::{Pattern, Prediction, RecordFate};
use crate::scheduler::conflict::{ConflictKind, Report, Taken};

/// Holders that a record shows; each comes with all of its statements.
pub(super) const MAX_PARTIES: usize = 8;

/// Records that are looked at for those of a transaction that was run again: the newest.
const MAX_RESTARTED: usize = 256;

/// Conflicts each second that are run again in the model, to see what advice would have done.
const REPLAYS_PER_SECOND: u64 = 10;

/// The conflicts, newest last.
#[derive(Debug)]
pub struct Ledger {
    ring: Mutex<Ring>,
    /// Conflicts without an outcome: most transactions end with no need to look at the ring.
    pending: AtomicUsize,
    keep: AtomicUsize,
    replays: Budget,
    metrics: Metrics,
}

/// A page of conflicts.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Ask for conflicts after this number next time.
    pub next: u64,
    /// Conflicts, oldest first.
    pub conflicts: Vec<Record>,
}

/// What the server reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// 1213, or MariaDB's 1467 for a cycle through the AUTO-INC lock.
    Deadlock(u16),
    /// 1205
    Timeout,
}

/// Who knows what the parties of a conflict have done.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// The sessions.
    pub registry: &'a Registry,
    /// Names of indexes.
    pub places: &'a Places,
    /// What they hold.
    pub locks: &'a LockTable,
    /// Hide literals.
    pub redact: bool,
    /// Milliseconds since the start.
    pub now: u64,
}

impl Witness<'_> {
    /// A session as a party.
    pub(super) fn party(&self, entry: &Entry) -> Party {
        entry.party(self.places, self.redact)
    }
}

impl Ledger {
    /// A ledger that keeps the newest `keep` conflicts.
    pub fn new(keep: usize, metrics: Metrics) -> Ledger {
        Ledger {
            ring: Mutex::default(),
            pending: AtomicUsize::new(0),
            keep: AtomicUsize::new(keep.max(1)),
            replays: Budget::new(REPLAYS_PER_SECOND),
            metrics,
        }
    }

    /// How many are kept from now on.
    pub fn keep(&self, keep: usize) {
        self.keep.store(keep.max(1), Ordering::Relaxed);
    }

    /// Conflicts after a number, oldest first, at most `limit`.
    pub fn page(&self, after: u64, limit: usize) -> Page {
        let ring = self.ring.lock();
        let mut wanted = ring.records.iter().filter(|record| record.seq > after);
        let conflicts: Vec<Record> = wanted.by_ref().take(limit).cloned().collect();
        let more = wanted.next().is_some();
        let next = conflicts.last().filter(|_| more).map_or(ring.last, |record| record.seq);
        Page { next, conflicts }
    }

    /// The newest conflicts, newest first, at most `limit`.
    pub fn newest(&self, limit: usize) -> Vec<Record> {
        self.ring.lock().records.iter().rev().take(limit).cloned().collect()
    }

    /// Forgets the conflicts up to a number; numbers go on counting.
    pub fn clear(&self, newest: u64) {
        let mut ring = self.ring.lock();
        let old = ring.records.iter().take_while(|record| record.seq <= newest).count();
        let gone: Vec<u64> = ring.records.drain(..old).map(|record| record.seq).collect();
        for seq in gone {
            ring.forget(seq);
        }
        self.pending.store(ring.pending.len(), Ordering::SeqCst);
    }

    /// Conflicts by their kind, the most frequent first.
    pub fn groups(&self) -> Vec<Group> {
        let ring = self.ring.lock();
        ring.groups.all(|seq| Ring::find(&ring.records, seq).cloned())
    }

    /// One of them.
    pub fn group(&self, id: GroupId) -> Option<Group> {
        let ring = self.ring.lock();
        ring.groups.one(id, |seq| Ring::find(&ring.records, seq).cloned())
    }

    /// The figures of the `most` frequent groups and the `newest` of the others, and how many there are in all.
    pub fn tallies(&self, most: usize, newest: usize) -> (Vec<Tally>, usize) {
        let ring = self.ring.lock();
        (ring.groups.tallies(most, newest), ring.groups.len())
    }

    /// From now on conflicts go to a file as well, once their outcome is known.
    pub fn write_to(&self, file: Writer) {
        self.ring.lock().file = Some(file);
    }

    /// What is not written yet is written now. Returns what has to be waited for.
    pub fn close_file(&self) -> Option<Writer> {
        let mut ring = self.ring.lock();
        let file = ring.file.take()?;
        let open = ring.records.iter().filter(|record| record.is_open());
        open.for_each(|record| file.write(record));
        Some(file)
    }

    /// The server is going to be asked about a deadlock of this session that is about to be reported.
    pub(super) fn asks(&self, session: SessionId) {
        self.ring.lock().asked.insert(session);
    }

    /// What the server says of the newest deadlock of a session that nobody had foreseen; nothing if it does
    /// not say. `parties`: its own sessions among them, the victim not.
    pub(super) fn told(
        &self,
        session: SessionId,
        pattern: Pattern,
        reported: Vec<Reported>,
        parties: Vec<Party>,
    ) {
        let mut ring = self.ring.lock();
        ring.asked.remove(&session);
        let Ring { records, groups, file, .. } = &mut *ring;
        let mine = |r: &&mut Record| r.asking && r.requester.session == session.0;
        let Some(record) = records.iter_mut().rev().find(mine) else { return };
        record.asking = false;
        if !reported.is_empty() {
            let place = reported.iter().find(|party| party.server_thread == record.requester.server_thread);
            record.resource = place.and_then(Reported::place).unwrap_or_default();
            self.metrics.tables.deadlock(&record.resource.schema, &record.resource.table);
            (record.pattern, record.holders, record.server) = (pattern, parties, reported);
            groups.uncount(record.group, record.outcome);
            record.group = GroupId::of(pattern, &record.resource, record.requester.digest);
            record.advice = groups
                .advice(record.group)
                .unwrap_or_else(|| advice::of(pattern, &record.resource, &[]).into());
            groups.count(record.group, record);
            groups.closed(record.group, record);
        }
        if let (false, Some(file)) = (record.is_open(), file) {
            file.write(record);
        }
    }

    /// A session's transaction is about to be run again: what its deadlock came to is known when that is over.
    pub fn restarts(&self, session: SessionId) {
        self.ring.lock().restarting.insert(session);
    }

    /// It is over. With `unnoticed`, its client has seen no error.
    pub fn restarted(&self, session: SessionId, unnoticed: bool) {
        let mut ring = self.ring.lock();
        if !ring.restarting.remove(&session) {
            return;
        }
        let Ring { records, file, .. } = &mut *ring;
        let refused =
            |record: &Record| record.action == Taken::Rejected && record.requester.session == session.0;
        let newest = records.iter_mut().rev().take(MAX_RESTARTED);
        let mine = newest.filter(|record| record.restarting == Some(session) || refused(record));
        for (before, record) in mine.enumerate() {
            // One that was refused has had its outcome, and is in the file already.
            let open = record.restarting.take().is_some();
            if unnoticed && (open || before == 0) {
                record.outcome = Outcome::Restarted;
            }
            if let (true, false, Some(file)) = (open, record.is_open(), &*file) {
                file.write(record);
            }
        }
    }

    /// One conflict, if it is still kept.
    pub fn get(&self, seq: u64) -> Option<Record> {
        self.ring.lock().record(seq).map(|record| record.clone())
    }

    /// Both sides' statements of a conflict, for a log line.
    pub fn statements(&self, seq: u64) -> String {
        let ring = self.ring.lock();
        let Some(record) = ring.records.iter().rev().find(|r| r.seq == seq) else { return String::new() };
        let side = |party: &Party| {
            let steps: Vec<&str> = party.transaction.iter().map(|s| &*s.statement).collect();
            format!("s{} [{}]", party.session, steps.join("; "))
        };
        std::iter::once(&record.requester).chain(&record.holders).map(side).collect::<Vec<_>>().join(" / ")
    }

    /// A conflict was found before its statement was passed on.
    pub fn report(&self, report: &Report, place: Resource, witness: &Witness<'_>) -> u64 {
        let (registry, redact) = (witness.registry, witness.redact);
        let party = |txn: TxnId| registry.session_of(txn).map(|entry| witness.party(&entry));
        let Some(requester) = party(report.requester) else { return 0 };
        let whole = metadata::place(report.request.index, &report.request.range, redact);
        let mut record = Record {
            seq: 0,
            time: now(),
            kind: report.kind,
            pattern: Pattern::Other,
            detected: Detected::Before,
            certainty: report.certainty,
            action: report.taken,
            outcome: if report.taken == Taken::Rejected { Outcome::Averted } else { Outcome::Pending },
            errno: None,
            held_ms: 0.0,
            would_hold: report.would_hold,
            would_hold_ms: 0.0,
            signature: report.signature.map(|id| id.to_string()),
            resource: match whole {
                // Signatures know statements, not locks.
                _ if report.signature.is_some() && place.table.is_empty() => place,
                Some(place) => place::whole(place, report.request.mode),
                None => place::locked(
                    place,
                    report.request.mode,
                    report.request.kind,
                    (report.conflict.kind, &report.conflict.range),
                    redact,
                ),
            },
            requester,
            holders: report.holders.iter().filter_map(|txn| party(*txn)).take(MAX_PARTIES).collect(),
            group: GroupId::default(),
            advice: Arc::default(),
            server: Vec::new(),
            asking: false,
            restarting: None,
        };
        record.pattern = pattern::of(report, &record);
        record.group = GroupId::of(record.pattern, &record.resource, record.requester.digest);
        record.advice = self.advice(report, &record, witness);
        // What only a signature knows is counted for the table that the statement asks for.
        let asked = report.asks.filter(|_| record.resource.table.is_empty() && report.signature.is_some());
        let asked = asked.map(|index| witness.places.name(index));
        let Resource { schema, table, .. } = asked.as_ref().unwrap_or(&record.resource);
        self.metrics.tables.conflict(schema, table, record.pattern, record.action);
        let seq = self.push(&mut self.ring.lock(), record, report.requester, &report.holders);
        // One that ended while this was written down has not been told of it.
        for txn in report.holders.iter().filter(|txn| registry.session_of(**txn).is_none()) {
            self.ended(*txn);
        }
        seq
    }

    /// The same for all conflicts of a group; the first one is run again as the advice would have it.
    fn advice(&self, report: &Report, record: &Record, witness: &Witness<'_>) -> Arc<[Advice]> {
        if let Some(known) = self.ring.lock().groups.advice(record.group) {
            return known;
        }
        let mut scripts = Vec::new();
        if self.replays.take(witness.now) {
            let mut own = Script::of(witness.locks, report.requester, true);
            own.ask(&report.request);
            scripts.push(own);
            scripts.push(Script::of(witness.locks, report.conflict.holder, false));
        }
        advice::of(record.pattern, &record.resource, &scripts).into()
    }

    fn push(&self, ring: &mut Ring, record: Record, requester: TxnId, holders: &[TxnId]) -> u64 {
        let keep = self.keep.load(Ordering::Relaxed);
        let full = ring.records.len() >= keep;
        let seq = ring.push(record, keep, requester, holders);
        self.metrics.records.inc(RecordFate::Kept);
        if full {
            self.metrics.records.inc(RecordFate::PushedOut);
        }
        self.pending.store(ring.pending.len(), Ordering::SeqCst);
        seq
    }

    /// A hold has ended. Returns what it was for, if the record is still there.
    pub fn hold_ended(&self, seq: u64, held: Duration) -> Option<ConflictKind> {
        let mut ring = self.ring.lock();
        let record = ring.record(seq)?;
        record.held_ms = held.as_micros() as f64 / 1000.0;
        self.metrics.tables.held(&record.resource.schema, &record.resource.table, held);
        Some(record.kind)
    }

    /// With `flag`: a hold would have ended now.
    pub fn would_have_held(&self, seq: u64, held: Duration) {
        if let Some(record) = self.ring.lock().record(seq) {
            record.would_hold_ms = held.as_micros() as f64 / 1000.0;
        }
    }

    /// The outcome of a conflict is known.
    fn close(&self, ring: &mut Ring, seq: u64, outcome: Outcome) {
        let closed = ring.close(seq, outcome);
        self.pending.store(ring.pending.len(), Ordering::SeqCst);
        if let Some(kind) = closed {
            let outcome = match outcome {
                Outcome::Happened | Outcome::Restarted => Prediction::Hit,
                Outcome::Averted => Prediction::Averted,
                Outcome::DidNotHappen | Outcome::Pending => Prediction::FalseAlarm,
            };
            self.metrics.predictions.inc((kind, outcome));
        }
    }

    /// A statement that met conflicts was answered.
    pub fn answered(&self, txn: TxnId, errno: Option<u16>) {
        if matches!(errno, Some(1205 | 1213 | 1467)) {
            // What the server reports is written down by `server_reported`.
            return;
        }
        let mut ring = self.ring.lock();
        for seq in ring.of.get(&txn).cloned().unwrap_or_default() {
            let Some(pending) = ring.pending.get(&seq) else { continue };
            let (mine, waited) = (pending.requester == txn, pending.holder_ended);
            let Some(record) = ring.record(seq) else { continue };
            if record.kind != ConflictKind::Wait || !mine || record.action != Taken::Flagged {
                continue;
            }
            record.errno = errno.or(record.errno);
            self.close(&mut ring, seq, if waited { Outcome::Happened } else { Outcome::DidNotHappen });
        }
    }

    /// A transaction has ended.
    pub fn ended(&self, txn: TxnId) {
        if self.pending.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut ring = self.ring.lock();
        for seq in ring.of.remove(&txn).unwrap_or_default() {
            let Some(pending) = ring.pending.get_mut(&seq) else { continue };
            pending.open.remove(&txn);
            pending.holder_ended |= pending.holders.contains(&txn);
            if pending.open.is_empty() {
                let held = ring.record(seq).is_some_and(|r| r.action == Taken::Held);
                self.close(&mut ring, seq, if held { Outcome::Averted } else { Outcome::DidNotHappen });
            }
        }
    }

    /// The server has reported a deadlock or a timeout. True if a conflict of this transaction was known.
    pub fn server_reported(
        &self,
        session: SessionId,
        txn: TxnId,
        happened: Happened,
        witness: &Witness<'_>,
    ) -> bool {
        let (errno, kind) = match happened {
            Happened::Deadlock(errno) => (errno, ConflictKind::Deadlock),
            Happened::Timeout => (1205, ConflictKind::Wait),
        };
        let mut ring = self.ring.lock();
        let restarting = ring.restarting.get(&session).copied();
        let known = ring.of.get(&txn).cloned().unwrap_or_default();
        let mut foreseen = false;
        for seq in known {
            let mine = ring.pending.get(&seq).is_some_and(|pending| pending.requester == txn);
            let Some(record) = ring.record(seq) else { continue };
            // A timeout is the end of one wait; a deadlock is what every conflict of the transaction led to.
            if kind == ConflictKind::Wait && !(mine && record.kind == ConflictKind::Wait) {
                continue;
            }
            record.errno = Some(errno);
            record.restarting = restarting;
            if record.kind == ConflictKind::Deadlock {
                self.metrics.tables.deadlock(&record.resource.schema, &record.resource.table);
            }
            foreseen |= kind == ConflictKind::Wait || record.kind != ConflictKind::Wait;
            self.close(&mut ring, seq, Outcome::Happened);
        }
        if let (false, Some(entry)) = (foreseen, witness.registry.session(session)) {
            let requester = witness.party(&entry);
            let record = Record {
                seq: 0,
                time: now(),
                kind,
                pattern: Pattern::Other,
                detected: Detected::After,
                certainty: Certainty::Certain,
                action: Taken::Flagged,
                outcome: Outcome::Happened,
                errno: Some(errno),
                held_ms: 0.0,
                would_hold: false,
                would_hold_ms: 0.0,
                resource: Resource::default(),
                signature: None,
                group: GroupId::of(Pattern::Other, &Resource::default(), requester.digest),
                requester,
                holders: Vec::new(),
                advice: Arc::default(),
                server: Vec::new(),
                asking: kind == ConflictKind::Deadlock && ring.asked.remove(&session),
                restarting,
            };
            self.push(&mut ring, record, txn, &[]);
            self.metrics.predictions.inc((kind, Prediction::Miss));
        }
        foreseen
    }
}

pub(super) fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// The part of the index in words. Key values are literals: they are shown only without redaction.
pub fn in_words(kind: Kind, range: &Range, redact: bool) -> String {
    let edge = |key: &crate::lock::key::Key| match (key.is_lowest(), key.is_supremum()) {
        (true, _) => "the first record".to_owned(),
        (_, true) => "the end".to_owned(),
        _ if redact => "?".to_owned(),
        _ => key.to_string(),
    };
    let (low, high) = (edge(&range.low), edge(&range.high));
    match kind {
        Kind::Record
        | Kind::Passed
        | Kind::Clustered { .. }
        | Kind::Entry
        | Kind::Insert { .. }
        | Kind::Tried { .. } => {
            format!("the record at {low}")
        }
        Kind::Gap => format!("the gap between {low} and {high}"),
        Kind::Ahead => format!("new records between {low} and {high}"),
        Kind::RecordOrGap => format!("a record between {low} and {high}, or the gap there"),
        Kind::NextKey => format!("records and gaps between {low} and {high}"),
    }
}
