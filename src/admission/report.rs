//! What is written down, counted and logged of conflicts and of what came of them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::deadlock;
use super::ledger::{Happened, Witness};
use super::{Admission, Names};
use crate::id::{SessionId, TxnId};
use crate::metrics::labels::Predicted;
use crate::scheduler::conflict::{ConflictKind, Report, Taken};

impl Admission {
    /// A statement of which a conflict was reported has been answered, with this error number if it failed.
    pub fn came_true(&self, txn: TxnId, errno: Option<u16>) {
        self.scheduler.waits_no_more(txn);
        self.ledger.answered(txn, errno);
    }

    /// The server has reported a deadlock or a lock wait timeout. True if it was foreseen.
    pub fn server_reported(&self, session: SessionId, txn: TxnId, happened: Happened) -> bool {
        let foreseen = self.ledger.server_reported(session, txn, happened, &self.witness());
        if matches!(happened, Happened::Deadlock(_)) {
            self.metrics.server_deadlocks.inc(if foreseen { Predicted::Yes } else { Predicted::No });
        }
        foreseen
    }

    /// Holds behind this transaction would end now.
    pub(super) fn rehearsed(&self, txn: TxnId) {
        for (seq, held) in self.dry_run.ended(txn, Instant::now()) {
            self.metrics.would_hold_seconds.observe(held.as_secs_f64());
            self.ledger.would_have_held(seq, held);
        }
    }

    pub(super) fn write_down(&self, report: &Report, names: Names<'_>, patience: Duration) -> u64 {
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
        let seq = self.ledger.report(report, names(report.request.index), &self.witness());
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
    pub(super) fn witness(&self) -> Witness<'_> {
        let redact = self.settings.load().redact;
        let (registry, places, locks) = (&self.registry, &self.places, self.scheduler.locks());
        Witness { registry, places, locks, redact, now: self.now() }
    }

    /// Conflicts can come by the thousand each second; the log gets a few of them, the ledger all. Returns
    /// how many were left out since the last line.
    pub(super) fn may_log(&self) -> Option<u64> {
        if !self.log_lines.take(self.now()) {
            self.log_suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.log_suppressed.swap(0, Ordering::Relaxed))
    }
}
