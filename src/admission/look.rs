//! Looks at the server while a statement is kept back or held: how much of them there may be, and what they show.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Admission;
use super::budget::Left;
use crate::id::IndexId;
use crate::lock::shown::Neighbours;

/// Most holds end sooner than this: they need no look.
const FIRST_LOOK: Duration = Duration::from_millis(2);

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

impl Admission {
    /// Is there time left to keep a statement back for a look? Where there is little, only if that is `worth` it.
    pub fn may_look(&self, worth: impl FnOnce() -> bool) -> bool {
        match self.looks.left(self.now(), self.settings.load().look_time) {
            Left::Nothing => false,
            Left::Little => worth(),
            Left::Plenty => true,
        }
    }

    /// A statement may be kept back for a look, if there is time left for that.
    pub(super) fn looking(self: &Arc<Self>) -> Option<Looking> {
        let begun = self.looks.begin(self.now(), self.settings.load().look_time);
        begun.then(|| Looking { admission: self.clone(), since: Instant::now() })
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
}
