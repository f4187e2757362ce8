//! What the open transaction of a session has run, as signatures see it.

use std::time::{Duration, Instant};

use crate::scheduler::signature::{Party, Ran};

/// Statements kept; of a longer transaction the middle goes: the first took the oldest locks, the last
/// wait.
const MAX_STATEMENTS: usize = 64;

/// A longer list is not kept for the next transaction.
const KEPT_CAPACITY: usize = 16;

/// The statements of one transaction.
#[derive(Debug, Default)]
pub struct Journal {
    schema: u64,
    statements: Vec<Ran>,
    at: At,
}

/// Where the newest statement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// No transaction is open.
    #[default]
    Nowhere,
    /// On its way, held, or at the server.
    UnderWay,
    /// Answered; the transaction is open.
    Answered(Instant),
}

// === impl Journal ===

impl Journal {
    /// A statement is about to run. `first`: it begins a transaction (or is one).
    pub fn note(&mut self, ran: Ran, schema: u64, first: bool) {
        if first {
            self.begin();
        }
        self.schema = schema;
        self.at = At::UnderWay;
        if ran.tables == 0 && !ran.locks {
            return;
        }
        if self.statements.len() >= MAX_STATEMENTS {
            self.statements.remove(MAX_STATEMENTS / 2);
        }
        self.statements.push(ran);
    }

    /// The newest statement was answered.
    pub fn answered(&mut self) {
        if self.at == At::UnderWay {
            self.at = At::Answered(Instant::now());
        }
    }

    /// The transaction is over.
    pub fn begin(&mut self) {
        self.statements.clear();
        if self.statements.capacity() > KEPT_CAPACITY {
            self.statements = Vec::new();
        }
        self.at = At::Nowhere;
    }

    /// As a party of a deadlock that happened just now: if a statement is under way, or was answered no
    /// longer ago than `since`, because a victim's end had let it go on.
    pub fn party(&self, since: Duration) -> Option<Party> {
        let concerned = match self.at {
            At::Nowhere => false,
            At::UnderWay => true,
            At::Answered(at) => at.elapsed() <= since,
        };
        (concerned && !self.statements.is_empty()).then(|| Party {
            schema: self.schema,
            statements: self.statements.clone(),
            ..Party::default()
        })
    }
}
