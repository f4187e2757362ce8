//! The held statements, oldest first.

use std::collections::BTreeMap;

use super::conflict::{Judged, Submission};
use super::policy::Limits;
use crate::id::{IndexId, Token, TxnId};
use crate::lock::mode::Mode;
use crate::lock::request::Settled;

/// A held statement.
#[derive(Debug)]
pub struct Hold {
    /// What it asks for.
    pub submission: Submission,
    /// The transactions that it waits for.
    pub blockers: Vec<TxnId>,
}

impl Hold {
    /// Does it ask for something in this index?
    pub fn asks_in(&self, index: IndexId) -> bool {
        self.submission.requests.iter().any(|request| request.index == index)
    }

    /// Is a lock that was just settled still in its way?
    pub fn still_meets(&self, index: IndexId, settled: &Settled) -> bool {
        let Settled::Became(kind, range) = settled else { return false };
        self.submission.requests.iter().any(|request| {
            let met = kind.records() && request.kind.records() && request.mode == Mode::X
                || kind.gaps() && request.kind.gaps();
            met && request.index == index && request.range.intersects(range)
        })
    }
}

/// All held statements, in the order in which they came.
#[derive(Debug, Default)]
pub struct HoldQueue {
    holds: BTreeMap<Token, Hold>,
}

impl HoldQueue {
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
        let behind = |txn: TxnId| self.holds.values().filter(|h| h.blockers.contains(&txn)).count();
        self.holds.len() >= limits.max_held
            || (self.holds.len() >= limits.max_queue
                && judged.holders().into_iter().any(|txn| behind(txn) >= limits.max_queue))
    }

    /// Puts a statement in; a statement that comes back keeps its place.
    pub fn push(&mut self, token: Token, hold: Hold) {
        self.holds.insert(token, hold);
    }

    /// Takes a statement out.
    pub fn remove(&mut self, token: Token) -> Option<Hold> {
        self.holds.remove(&token)
    }

    /// The places of the statements that `concerned` picks, oldest first.
    pub fn tokens(&self, concerned: impl Fn(&Hold) -> bool) -> Vec<Token> {
        self.holds.iter().filter(|(_, hold)| concerned(hold)).map(|(token, _)| *token).collect()
    }
}
