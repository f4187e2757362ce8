//! What a transaction has done so far: its statements, the locks that each took, what its comments say.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::comment::Tags;
use super::place::Places;
use super::record::{Resource, Step};
use super::search::Narrow;
use crate::id::IndexId;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request, Settled};
use crate::scheduler::victim::Weight;

/// The statements of a session's transaction.
pub(super) struct History {
    /// When the transaction began.
    pub began: Instant,
    /// Its statements, oldest first.
    pub steps: Vec<Noted>,
    /// Statements since BEGIN, those that were pushed out included.
    pub count: usize,
    /// Requests noted with their statements; beyond [`MAX_LOCKS`] no more are.
    locks: usize,
    /// All of it as records show it: one that many wait for is made once, and kept once.
    shown: Option<Arc<[Step]>>,
}

/// A statement that is about to run.
#[derive(Debug)]
pub struct Running {
    /// As it is shown.
    pub text: Arc<str>,
    /// The number of its digest.
    pub digest: u128,
    /// What its comment says.
    pub tags: Tags,
    /// It begins a transaction (or is one).
    pub first: bool,
}

/// A statement of a transaction.
pub(super) struct Noted {
    /// Counts from 1 at BEGIN.
    number: usize,
    /// Since BEGIN.
    at: Duration,
    /// As it is shown.
    pub text: Arc<str>,
    /// The number of its digest.
    pub digest: u128,
    tags: Tags,
    /// When its newest locks were known to be held, since BEGIN.
    answered: Option<Duration>,
    locks: Vec<Locks>,
    /// Who knows more of them: what is known widely only may be asked for later.
    search: Option<Weak<dyn Narrow>>,
    /// Locks that are not in `locks`.
    more: usize,
    /// The locks as records show them, once one did, and how many more there are.
    shown: Option<(Arc<[Resource]>, usize)>,
}

#[derive(Debug)]
struct Locks {
    requests: Vec<Request>,
    settled: Vec<Settled>,
}

/// A lock that a statement took.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Standing {
    /// Where.
    pub index: IndexId,
    /// Shared or exclusive.
    pub mode: Mode,
    /// What it covers.
    pub kind: Kind,
    /// Which part of the index.
    pub range: Range,
    /// It was asked for as a new entry.
    pub inserted: bool,
}

/// Requests of one transaction that are remembered with their statements.
const MAX_LOCKS: usize = 1024;
/// Locks of one statement that a record shows.
const MAX_SHOWN: usize = 16;

// === impl History ===

impl History {
    pub fn new(began: Instant) -> History {
        History { began, steps: Vec::new(), count: 0, locks: 0, shown: None }
    }

    /// A statement is about to run. Returns its number. `limit`: statements that are kept.
    pub fn note(&mut self, running: Running, limit: usize) -> usize {
        let now = Instant::now();
        let Running { text, digest, tags, first } = running;
        self.shown = None;
        if first {
            self.steps.clear();
            self.began = now;
            self.count = 0;
            self.locks = 0;
        }
        self.count += 1;
        if self.steps.len() >= limit.max(2) {
            // The first statements took the oldest locks, the last ones the newest: the middle goes.
            self.steps.remove(limit.max(2) / 2);
        }
        let (number, at) = (self.count, now.duration_since(self.began));
        let (answered, locks, search, more, shown) = (None, Vec::new(), None, 0, None);
        self.steps.push(Noted { number, at, text, digest, tags, answered, locks, search, more, shown });
        number
    }

    /// A statement was answered: this is what became of its requests.
    pub fn locked(&mut self, number: usize, mut requests: Vec<Request>, settled: Vec<Settled>) {
        let (free, began) = (MAX_LOCKS.saturating_sub(self.locks), self.began);
        // It is one of the newest, unless the transaction has ended with it.
        let Some(step) = self.steps.iter_mut().rev().find(|step| step.number == number) else { return };
        self.shown = None;
        step.answered = Some(began.elapsed());
        step.shown = None;
        if requests.len() > free {
            step.more += requests.len() - free;
            requests.truncate(free);
            requests.shrink_to_fit();
        }
        self.locks += requests.len();
        step.locks.push(Locks { requests, settled });
    }

    /// The locks of a statement that was answered are asked for there.
    pub fn searched(&mut self, number: usize, search: Weak<dyn Narrow>) {
        if let Some(step) = self.steps.iter_mut().rev().find(|step| step.number == number) {
            step.search = Some(search);
            step.shown = None;
            self.shown = None;
        }
    }

    /// What it has locked, and so many rows that it has changed.
    pub fn weight(&self, changed: u64) -> Weight {
        let mut weight = Weight::new(changed);
        for step in &self.steps {
            step.visit(&mut |lock| {
                // A duplicate that was met is locked as any other record.
                let new = lock.inserted && lock.mode == Mode::X && lock.kind == Kind::Record;
                let kind = if new { Kind::Entry } else { lock.kind };
                weight.lock(lock.index, lock.mode, kind, &lock.range);
            });
        }
        weight
    }

    /// The statements, as a record shows them.
    pub fn show(&mut self, places: &Places, redact: bool) -> Arc<[Step]> {
        if let Some(shown) = &self.shown {
            return shown.clone();
        }
        let shown: Arc<[Step]> = self.steps.iter_mut().map(|step| step.show(places, redact)).collect();
        if self.steps.iter().all(|step| step.shown.is_some()) {
            self.shown = Some(shown.clone());
        }
        shown
    }
}

impl Noted {
    /// Shows each lock that it took and that stands. False: they may be known better later.
    pub fn visit(&self, each: &mut dyn FnMut(&Standing)) -> bool {
        for (request, settled) in
            self.locks.iter().flat_map(|locks| locks.requests.iter().zip(&locks.settled))
        {
            standing(request, settled).iter().for_each(&mut *each);
        }
        let Some(search) = self.search.as_ref().and_then(Weak::upgrade) else { return true };
        search.visit(&mut |request, settled| standing(request, settled).iter().for_each(&mut *each))
    }

    /// The locks that it took and that stand, and whether they will not be known better.
    fn known(&self) -> (Vec<Standing>, bool) {
        let mut all = Vec::new();
        let exact = self.visit(&mut |lock| all.push(lock.clone()));
        (all, exact)
    }

    fn show(&mut self, places: &Places, redact: bool) -> Step {
        let millis = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        let (locks, more) = match &self.shown {
            Some(shown) => shown.clone(),
            None => {
                let (standing, exact) = self.known();
                let show =
                    |lock: &Standing| places.resource(lock.index, lock.mode, lock.kind, &lock.range, redact);
                let locks: Arc<[Resource]> = standing.iter().take(MAX_SHOWN).map(show).collect();
                let shown = (locks, standing.len().saturating_sub(MAX_SHOWN));
                if exact {
                    self.shown = Some(shown.clone());
                }
                shown
            }
        };
        Step {
            at_ms: millis(self.at),
            answered_ms: self.answered.map(millis),
            statement: self.text.clone(),
            tags: self.tags.clone(),
            more_locks: self.more + more,
            locks,
        }
    }
}

fn standing(request: &Request, settled: &Settled) -> Option<Standing> {
    let (mode, kind, range) = match settled {
        Settled::Kept => (request.mode, request.kind, &request.range),
        Settled::Became(kind, range) => (request.mode, *kind, range),
        Settled::Duplicate => (Mode::S, Kind::Record, &request.range),
        Settled::Met { mode, kind, .. } => (*mode, *kind, &request.range),
        Settled::Undone => (Mode::X, Kind::Gap, &request.range),
        Settled::Released => return None,
    };
    let inserted = request.kind.inserts();
    Some(Standing { index: request.index, mode, kind, range: range.clone(), inserted })
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TableId;
    use crate::lock::key::Key;
    use crate::lock::mode::Certainty;

    fn request(kind: Kind) -> Request {
        let mut key = Key::default();
        key.push_int(7, false);
        Request {
            index: IndexId { table: TableId(1), index: 0 },
            mode: Mode::X,
            range: Range::entries(&key),
            kind,
            certainty: Certainty::Certain,
            rule: "test",
        }
    }

    fn note(history: &mut History, first: bool) -> usize {
        history.note(Running { text: "S".into(), digest: 1, tags: Tags::default(), first }, 10)
    }

    #[test]
    fn locks_stand_with_the_statement_that_took_them() {
        let mut history = History::new(Instant::now());
        let one = note(&mut history, true);
        let two = note(&mut history, false);
        history.locked(one, vec![request(Kind::RecordOrGap)], vec![Settled::Released]);
        history.locked(two, vec![request(Kind::NextKey)], vec![Settled::Kept]);
        let steps = history.show(&Places::default(), true);
        let modes = |step: &Step| step.locks.iter().map(|lock| lock.mode.clone()).collect::<Vec<_>>();
        assert_eq!(steps.iter().map(modes).collect::<Vec<_>>(), [vec![], vec!["X next-key".to_owned()]]);
        note(&mut history, true);
        history.locked(two, vec![request(Kind::NextKey)], vec![Settled::Kept]);
        assert_eq!((history.count, history.show(&Places::default(), true)[0].locks.len()), (1, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::new(Instant::now());
        for number in 0..1000 {
            let step = note(&mut history, number == 0);
            history.locked(step, vec![request(Kind::Record); 50], vec![Settled::Kept; 50]);
        }
        assert_eq!((history.steps.len(), history.count), (10, 1000));
        let noted: usize = history.steps.iter().map(|step| step.known().0.len()).sum();
        assert!(noted <= MAX_LOCKS, "{noted}");
        let shown = history.show(&Places::default(), true);
        assert!(shown.iter().all(|step| step.locks.len() <= MAX_SHOWN));
        assert_eq!(shown[0].locks.len() + shown[0].more_locks, 50);
        assert_eq!((shown[9].locks.len(), shown[9].more_locks), (0, 50), "no room was left for them");
    }
}
