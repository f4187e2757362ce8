//! Who is held, and how held statements are let go: because what stood in their way has ended, or somebody says so.

use std::time::{Duration, Instant};

use super::Admission;
use crate::id::{SessionId, Token, TxnId};
use crate::lock::table::LockRef;
use crate::metrics::labels::TimeSpent;
use crate::scheduler::conflict::{Decision, HoldEnd, Woken};

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

/// What a held statement waits for.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) woken: Woken,
    pub(super) at: Instant,
}

impl Admission {
    /// A shutdown: what is held goes on now, and nothing is held any more.
    pub fn release_all(&self) {
        let woken = self.scheduler.release_all(self.now());
        self.deliver(woken);
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

    pub(super) fn deliver(&self, woken: Vec<Woken>) {
        for report in self.scheduler.foreseen() {
            self.write_down(&report, &|index| self.places.name(index), Duration::ZERO);
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

    /// Locks of a statement that does not go on after all.
    pub(super) fn give_up(&self, txn: TxnId, refs: &[LockRef]) {
        let woken = self.scheduler.given_up(txn, refs, self.now());
        self.deliver(woken);
    }

    pub(super) fn hold_ended(&self, seq: u64, end: HoldEnd, held: Duration) {
        self.metrics.hold_seconds.observe(held.as_secs_f64());
        self.metrics.held.dec();
        self.metrics.time.add(TimeSpent::Held, held.as_nanos() as u64);
        if let Some(kind) = self.ledger.hold_ended(seq, held) {
            self.metrics.holds.inc((kind, end));
        }
    }
}
