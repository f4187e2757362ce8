//! A held statement, as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::{Admission, Admitted, Delivery, HoldLook};
use crate::id::{SessionId, Token, TxnId};
use crate::scheduler::conflict::{Decision, HoldEnd};

/// A deadline that is noticed so much later than it was: the whole process has stood still (a virtual machine that was
/// moved, a laptop that slept).
const LATE: Duration = Duration::from_millis(100);

/// What a hold gets then, once: in it is read what the holder has sent in the meantime.
const GRACE: Duration = Duration::from_millis(200);

/// Resolves when the statement goes on or is refused: when what stood in its way has gone, or at the
/// deadline. Dropping it takes the statement out of the queue.
#[derive(Debug)]
pub struct Hold {
    admission: Arc<Admission>,
    session: SessionId,
    txn: TxnId,
    token: Token,
    woken: oneshot::Receiver<Delivery>,
    deadline: Pin<Box<Sleep>>,
    /// It has had its [`GRACE`].
    graced: bool,
    since: Instant,
    /// The conflict's number in the ledger.
    seq: u64,
    done: bool,
}

impl Hold {
    pub(super) fn new(
        admission: Arc<Admission>,
        session: SessionId,
        (txn, token): (TxnId, Token),
        woken: oneshot::Receiver<Delivery>,
        patience: Duration,
        seq: u64,
    ) -> Hold {
        let since = Instant::now();
        let look = HoldLook { token, session, txn, since: since.into_std(), patience, conflict: seq };
        admission.holds.insert(token, look);
        let deadline = Box::pin(tokio::time::sleep_until(since + patience));
        Hold { admission, session, txn, token, woken, deadline, graced: false, since, seq, done: false }
    }

    fn finish(&mut self, decision: Decision, end: HoldEnd) -> Admitted {
        self.done = true;
        self.admission.hold_ended(self.seq, end, self.since.elapsed());
        tracing::debug!(session = %self.session, ?end, held = ?self.since.elapsed(), "hold ended");
        match decision {
            Decision::Forward { refs, waits } => Admitted::Forward { refs, waits },
            Decision::Hold | Decision::Reject if end == HoldEnd::Killed => Admitted::Killed,
            Decision::Hold | Decision::Reject => Admitted::Reject,
        }
    }
}

impl Future for Hold {
    type Output = Admitted;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Admitted> {
        if let Poll::Ready(Ok(Delivery { woken, at })) = Pin::new(&mut self.woken).poll(context) {
            if woken.end == HoldEnd::Released {
                self.admission.metrics.handover_seconds.observe(at.elapsed().as_secs_f64());
            }
            return Poll::Ready(self.finish(woken.decision, woken.end));
        }
        let mut due = self.deadline.as_mut().poll(context).is_ready();
        if due && !self.graced && self.deadline.deadline().elapsed() > LATE {
            self.graced = true;
            self.deadline.as_mut().reset(Instant::now() + GRACE);
            due = self.deadline.as_mut().poll(context).is_ready();
        }
        if due && let Some((refs, woken)) = self.admission.scheduler.expire(self.token, self.admission.now())
        {
            self.admission.waiting.remove(&self.token);
            self.admission.deliver(woken);
            let decision = Decision::Forward { refs, waits: true };
            return Poll::Ready(self.finish(decision, HoldEnd::Deadline));
        }
        // Past the deadline but no longer queued: somebody is about to send the decision.
        Poll::Pending
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.admission.holds.remove(&self.token);
        if self.done {
            return;
        }
        // From here on nothing can be sent any more; what was sent is there.
        self.woken.close();
        if self.admission.waiting.remove(&self.token).is_some() {
            // Not told yet. If it is not in the queue either, the one who took it out finds no one to tell
            // and gives the locks back.
            let woken = self.admission.scheduler.cancel(self.token, self.admission.now());
            self.admission.deliver(woken.unwrap_or_default());
        } else if let Ok(Delivery { woken, .. }) = self.woken.try_recv()
            && let Decision::Forward { refs, .. } = woken.decision
        {
            self.admission.give_up(self.txn, &refs);
        }
        self.admission.hold_ended(self.seq, HoldEnd::ClientGone, self.since.elapsed());
    }
}
