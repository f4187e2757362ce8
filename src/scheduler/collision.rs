//! Deadlocks that the end of a transaction closes among those who wait for it.
//!
//! After a ROLLBACK inserts of one key that wait for it run into each other: whoever inserts a key that another
//! transaction has put and not committed asks for the record there, to see whether it is a duplicate. If that
//! record is taken out again, each of those who wait keeps a lock on the gap where it stood, and then inserts
//! into it: with two of them, each waits for the other's gap. (MySQL 9.7 and MariaDB 10.11, primary and unique
//! keys, at every isolation level; moved entries as new ones.)
//!
//! After a COMMIT the same happens to inserts of a key that the transaction has deleted: all get the shared lock of
//! their duplicate check on the record that is marked as deleted, and then each asks for more. On MariaDB one alone
//! meets a search that waits there exclusively behind it: it does not overtake that.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Scheduler;
use super::conflict::{ConflictKind, Report, Taken};
use crate::id::TxnId;
use crate::lock::index::{Conflict, Relation};
use crate::lock::mode::{Certainty, Mode};
use crate::lock::request::Kind;
use crate::lock::table::LockRef;

/// Deadlocks that close when a transaction ends, until somebody writes them down.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    reports: Mutex<Vec<Report>>,
    any: AtomicBool,
}

impl Foreseen {
    pub(super) fn put(&self, mut found: Vec<Report>) {
        if !found.is_empty() {
            self.reports.lock().append(&mut found);
            self.any.store(true, Ordering::SeqCst);
        }
    }
}

impl Scheduler {
    /// The deadlocks that have been foreseen among statements that wait already, each once.
    pub fn foreseen(&self) -> Vec<Report> {
        // Mostly there are none, and whoever comes late finds them the next time.
        if !self.foreseen.any.load(Ordering::Relaxed) || !self.foreseen.any.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.foreseen.reports.lock())
    }

    /// The circles that close among those who wait for `txn`, if it is committed or rolled back now; `refs` are its
    /// locks.
    pub fn collisions(&self, txn: TxnId, refs: &[LockRef], commits: bool) -> Vec<Report> {
        let mut found = Vec::new();
        if self.server_queue.is_empty() {
            return found;
        }
        for lock in refs {
            let place = if commits { self.locks.gone_entry(*lock) } else { self.locks.new_entry(*lock) };
            let Some(place) = place else { continue };
            let mut first: Option<(TxnId, Option<Mode>)> = None;
            self.each_behind(txn, |waiting| {
                let submission = &waiting.submission;
                let checks = submission.requests.iter().position(|request| {
                    let same = request.range.covers(&place) || place.covers(&request.range);
                    request.index == lock.index && request.kind.check().is_some() && same
                });
                let searches = || {
                    let behind = commits && first.is_some_and(|(_, mode)| mode == Some(Mode::S));
                    let mut asked = submission.requests.iter();
                    asked.position(|request| {
                        let here = request.index == lock.index && request.range.intersects(&place);
                        let records = request.kind.records() && !request.kind.of_own_row();
                        behind && !submission.overtakes && here && records && request.mode == Mode::X
                    })
                };
                let (Some(at), requester) = (checks.or_else(searches), submission.txn) else { return };
                if !waiting.refs.get(at).is_some_and(|lock| self.locks.waits_for(*lock)) {
                    return;
                }
                let Some((holder, _)) = first else {
                    first = Some((requester, submission.requests[at].kind.check()));
                    return;
                };
                let request = submission.requests[at].clone();
                let conflict = Conflict {
                    holder,
                    request: at,
                    relation: Relation::Wait,
                    hazard: false,
                    expected: true,
                    certainty: Certainty::Likely,
                    mode: request.mode,
                    kind: Kind::Gap,
                    range: request.range.clone(),
                    gap: false,
                    implicit: false,
                    search: None,
                };
                found.push(Report {
                    session: submission.session,
                    requester,
                    holders: vec![holder],
                    kind: ConflictKind::Deadlock,
                    certainty: Certainty::Likely,
                    taken: Taken::Flagged,
                    would_hold: false,
                    request,
                    conflict,
                    unsure_of_gap: false,
                    signature: None,
                    cycle: HashSet::from([holder, requester]),
                    closed: true,
                    asks: None,
                });
            });
        }
        found
    }
}
