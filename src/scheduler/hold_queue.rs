//! The held statements, oldest first.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::conflict::{Judged, Submission, excludes};
use super::policy::Limits;
use crate::id::{SessionId, Token, TxnId};
use crate::lock::request::Request;

/// A held statement.
#[derive(Debug)]
pub struct Hold {
    /// What it asks for.
    pub submission: Submission,
    /// The transactions that it waits for.
    pub blockers: Vec<TxnId>,
    /// Of these, those that must all have gone before it can go on; empty: each that goes may change that.
    pub reasons: Vec<TxnId>,
    /// One of these has locked a gap that both are expected to insert into.
    pub hazard: bool,
    /// Since when, milliseconds of the caller's clock.
    pub since: u64,
}

/// A statement that has been held for long and must not be overtaken.
#[derive(Clone, Copy, Debug)]
pub struct Elder<'a> {
    /// Its transaction.
    pub txn: TxnId,
    /// The request that would stand in its way, by its position.
    pub request: usize,
    /// What it asks for there.
    pub theirs: &'a Request,
    /// All that it asks for.
    pub requests: &'a [Request],
}

/// All held statements, in the order in which they came.
#[derive(Debug, Default)]
pub struct HoldQueue {
    holds: BTreeMap<Token, Hold>,
    /// How many stand behind each transaction.
    counts: FxHashMap<TxnId, usize>,
    oldest: Arc<Oldest>,
}

/// Since when the oldest held statement is held, to be read without the queue's mutex.
#[derive(Debug)]
pub struct Oldest(AtomicU64);

impl Default for Oldest {
    fn default() -> Oldest {
        Oldest(AtomicU64::new(u64::MAX))
    }
}

impl Oldest {
    /// Somebody has been held since then or longer.
    pub fn is_before(&self, moment: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= moment
    }
}

impl HoldQueue {
    /// An empty queue that keeps `oldest` up to date.
    pub fn new(oldest: Arc<Oldest>) -> HoldQueue {
        HoldQueue { oldest, ..HoldQueue::default() }
    }

    /// The oldest statement that came before `token`, is held since `moment` or longer, and would have to wait
    /// for what is asked for now.
    pub fn elder(&self, token: Token, asked: &Submission, moment: u64) -> Option<Elder<'_>> {
        let old = self.holds.range(..token).map(|(_, hold)| hold).filter(|hold| hold.since <= moment);
        old.filter(|hold| hold.submission.txn != asked.txn).find_map(|hold| {
            let pairs =
                |(at, request)| hold.submission.requests.iter().map(move |theirs| (at, request, theirs));
            let mut pairs = asked.requests.iter().enumerate().flat_map(pairs);
            let (request, _, theirs) = pairs.find(|(_, ours, theirs)| excludes(ours, theirs))?;
            let requests = &hold.submission.requests;
            Some(Elder { txn: hold.submission.txn, request, theirs, requests })
        })
    }

    /// Number of held statements.
    pub fn len(&self) -> usize {
        self.holds.len()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// Is there no room for one more behind these holders?
    pub fn is_full(&self, limits: &Limits, judged: &Judged) -> bool {
        let behind = |txn: TxnId| self.counts.get(&txn).copied().unwrap_or(0);
        self.holds.len() >= limits.max_held
            || (self.holds.len() >= limits.max_queue
                && judged.conflicts.iter().any(|conflict| behind(conflict.holder) >= limits.max_queue))
    }

    /// The statement of a session that is held.
    pub fn of(&self, session: SessionId) -> Option<(Token, TxnId)> {
        let mut all = self.holds.iter();
        let (token, hold) = all.find(|(_, hold)| hold.submission.session == session)?;
        Some((*token, hold.submission.txn))
    }

    /// Puts a statement in; a statement that comes back keeps its place.
    pub fn push(&mut self, token: Token, hold: Hold) {
        for blocker in &hold.blockers {
            *self.counts.entry(*blocker).or_default() += 1;
        }
        self.holds.insert(token, hold);
        self.tell();
    }

    /// Takes a statement out.
    pub fn remove(&mut self, token: Token) -> Option<Hold> {
        let hold = self.holds.remove(&token)?;
        for blocker in &hold.blockers {
            if let Entry::Occupied(mut count) = self.counts.entry(*blocker) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        self.tell();
        Some(hold)
    }

    fn tell(&self) {
        // Tokens count up, so the first came first.
        let oldest = self.holds.values().next().map_or(u64::MAX, |hold| hold.since);
        self.oldest.0.store(oldest, Ordering::Relaxed);
    }

    /// Whom the statements that `concerned` picks are held behind.
    pub fn blockers(&self, concerned: impl Fn(&Hold) -> bool) -> Vec<TxnId> {
        self.holds.values().filter(|hold| concerned(hold)).flat_map(|hold| hold.blockers.clone()).collect()
    }

    /// The places of the statements that are held behind a transaction, oldest first.
    pub fn behind(&self, txn: TxnId) -> Vec<Token> {
        self.tokens(|hold| hold.blockers.contains(&txn))
    }

    /// A transaction has gone: the places of the statements that may go on because of it, oldest first.
    pub fn without(&mut self, txn: TxnId) -> Vec<Token> {
        let behind = self.holds.iter_mut().filter(|(_, hold)| hold.blockers.contains(&txn));
        let free = behind.filter_map(|(token, hold)| {
            let any = hold.reasons.is_empty();
            hold.reasons.retain(|reason| *reason != txn);
            (any || hold.reasons.is_empty()).then_some(*token)
        });
        free.collect()
    }

    /// The places of the statements that `concerned` picks, oldest first.
    pub fn tokens(&self, concerned: impl Fn(&Hold) -> bool) -> Vec<Token> {
        self.holds.iter().filter(|(_, hold)| concerned(hold)).map(|(token, _)| *token).collect()
    }
}
