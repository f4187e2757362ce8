//! The end of the process, announced to everything that lives in it.
//!
//! A [`Drain`] is the handle that announces, a [`Watch`] is what each listener and session keeps. A watch
//! costs one atomic load when nothing has happened, so a session can look at it on every pass.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// How far the shutdown has come; later phases are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// No shutdown.
    Running,
    /// Accept no more connections, end sessions when they are idle and outside a transaction.
    Draining,
    /// End everything.
    Closing,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    next: AtomicU64,
    wakers: Mutex<HashMap<u64, Waker>>,
}

impl Shared {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Closing,
        }
    }
}

/// Announces the phases of a shutdown.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Shared>);

impl Drain {
    /// A handle in [`Phase::Running`].
    pub fn new() -> Drain {
        Drain::default()
    }

    /// A watch on this shutdown.
    pub fn watch(&self) -> Watch {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        Watch { shared: self.0.clone(), key, registered: None }
    }

    /// Stop accepting; sessions end when they are idle.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Everything ends now.
    pub fn close(&self) {
        self.advance(Phase::Closing);
    }

    /// Number of watches that wait; for the log of a shutdown.
    pub fn waiting(&self) -> usize {
        self.0.wakers.lock().len()
    }

    fn advance(&self, phase: Phase) {
        self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Wake after unlocking: a woken task may look at its watch at once.
        let wakers: Vec<Waker> = self.0.wakers.lock().values().cloned().collect();
        wakers.iter().for_each(Waker::wake_by_ref);
    }
}

/// Sees the phases of a shutdown.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    key: u64,
    registered: Option<Waker>,
}

impl Watch {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// The phase now; the task is woken when it changes.
    pub fn poll_phase(&mut self, context: &mut Context<'_>) -> Phase {
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            let waker = context.waker().clone();
            self.registered = Some(waker.clone());
            self.shared.wakers.lock().insert(self.key, waker);
        }
        // Read after registering, so that a change in between is not lost.
        self.phase()
    }

    /// Waits until the phase is at least `phase`.
    pub async fn reached(&mut self, phase: Phase) -> Phase {
        poll_fn(|context| match self.poll_phase(context) {
            now if now >= phase => Poll::Ready(now),
            _ => Poll::Pending,
        })
        .await
    }
}

impl Clone for Watch {
    fn clone(&self) -> Watch {
        Drain(self.shared.clone()).watch()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.registered.is_some() {
            self.shared.wakers.lock().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watches_see_each_phase_and_leave_nothing_behind() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        assert_eq!(watch.phase(), Phase::Running);
        let task = tokio::spawn(async move {
            let first = watch.reached(Phase::Draining).await;
            (first, watch.reached(Phase::Closing).await)
        });
        tokio::task::yield_now().await;
        assert_eq!(drain.waiting(), 1);
        drain.drain();
        tokio::task::yield_now().await;
        drain.close();
        drain.drain();
        assert_eq!(task.await.unwrap(), (Phase::Draining, Phase::Closing));
        assert_eq!(drain.waiting(), 0);
    }
}
