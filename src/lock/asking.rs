//! The words between a request and the locks of an index: who asks, what is met, how far one gets.

use super::evidence::Asker;
use super::index::Conflict;
use super::interval_tree::Handle;
use super::range::Range;
use crate::id::{SearchId, TxnId};

/// Who asks, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The transaction and its statement.
    pub by: Asker,
    /// Position of the request in the statement's list.
    pub number: usize,
    /// When it asks: locks that are waited for and were asked for later stand behind it.
    pub order: u64,
    /// Milliseconds of the caller's clock.
    pub now: u64,
    /// The holder of a lock passes those that wait for this very lock when it asks for more on the same
    /// record. MySQL does; on MariaDB it queues behind them, which is a deadlock.
    pub overtakes: bool,
    /// How far the request's gaps reach was read from the server.
    pub exact: bool,
    /// An insert goes on to its place, where it has not asked yet: the gaps of those that wait, even if they came
    /// later, are in its way.
    pub anew: bool,
    /// Whom to ask for the exact locks, if the requests are wider than what the statement will lock.
    pub search: Option<SearchId>,
}

impl Asking {
    /// Somebody's request, looked at and not noted.
    pub fn about(txn: TxnId, number: usize, order: u64, now: u64) -> Asking {
        Asking {
            by: txn.into(),
            number,
            order,
            now,
            overtakes: false,
            exact: false,
            anew: false,
            search: None,
        }
    }
}

/// What a request has met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Locks in its way, the strongest relation per holder.
    pub conflicts: Vec<Conflict>,
    /// Transactions that wait for something else already and will wait for this lock when they come to it.
    pub behind: Vec<TxnId>,
    /// Transactions that wait to insert the key of the last request.
    pub rivals: Vec<TxnId>,
    /// Locks of the asker's own that it goes on to use with the last request.
    pub used: Vec<Handle>,
}

/// How far a request gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    /// The part of its range that is asked for before the statement waits; empty if it waits before that.
    pub asked: Range,
    /// The statement waits, here or before.
    pub waits: bool,
    /// How far the request's gaps reach was read from the server.
    pub exact: bool,
}

impl Got {
    /// The statement waits for this lock, not for one before it.
    pub fn is_waited_for(&self) -> bool {
        self.waits && !self.asked.is_empty()
    }

    /// All of a range, without waiting.
    pub fn all(range: &Range) -> Got {
        Got { asked: range.clone(), waits: false, exact: false }
    }
}
