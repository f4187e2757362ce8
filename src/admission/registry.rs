//! The session registry: who is connected, and what each open transaction has done so far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;

use super::record::{Party, Step};
use crate::id::{SessionId, TxnId};

/// All sessions, and the transactions that have asked for locks.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: DashMap<SessionId, Arc<Entry>>,
    transactions: DashMap<TxnId, Arc<Entry>, FxBuildHasher>,
}

/// A session as reports show it.
#[derive(Debug)]
pub struct Entry {
    /// Its number.
    pub id: SessionId,
    /// The server's connection id.
    pub server_thread: u32,
    /// The program's name, if it told one.
    pub program: Option<String>,
    user: Mutex<Arc<str>>,
    history: Mutex<History>,
    /// Statements remembered per transaction; later ones push the middle out.
    limit: usize,
}

#[derive(Debug)]
struct History {
    began: Instant,
    steps: Vec<(Duration, Arc<str>)>,
}

impl Registry {
    /// A session begins.
    pub fn open(&self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.sessions.insert(entry.id, entry.clone());
        entry
    }

    /// A session has ended.
    pub fn close(&self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// A transaction asks for its first lock.
    pub fn began(&self, txn: TxnId, session: &Arc<Entry>) {
        self.transactions.insert(txn, session.clone());
    }

    /// A transaction has ended.
    pub fn ended(&self, txn: TxnId) {
        self.transactions.remove(&txn);
    }

    /// The session that runs a transaction.
    pub fn session_of(&self, txn: TxnId) -> Option<Arc<Entry>> {
        self.transactions.get(&txn).map(|entry| entry.clone())
    }

    /// A session by its number.
    pub fn session(&self, id: SessionId) -> Option<Arc<Entry>> {
        self.sessions.get(&id).map(|entry| entry.clone())
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Number of open transactions that have asked for locks.
    pub fn transactions(&self) -> usize {
        self.transactions.len()
    }
}

impl Entry {
    /// A session that remembers `limit` statements of its transaction.
    pub fn new(
        id: SessionId,
        server_thread: u32,
        user: &str,
        program: Option<String>,
        limit: usize,
    ) -> Entry {
        let history = Mutex::new(History { began: Instant::now(), steps: Vec::new() });
        Entry { id, server_thread, program, user: Mutex::new(user.into()), history, limit }
    }

    /// COM_CHANGE_USER has succeeded.
    pub fn rename(&self, user: &str) {
        *self.user.lock() = user.into();
    }

    /// A statement is about to run. `first`: it begins a transaction (or is one).
    pub fn note(&self, text: Arc<str>, first: bool) {
        let now = Instant::now();
        let mut history = self.history.lock();
        if first {
            history.steps.clear();
            history.began = now;
        }
        if history.steps.len() >= self.limit.max(2) {
            // The first statements took the oldest locks, the last ones the newest: the middle goes.
            let middle = self.limit.max(2) / 2;
            history.steps.remove(middle);
        }
        let at = now.duration_since(history.began);
        history.steps.push((at, text));
    }

    /// The session and its transaction, as a party of a conflict.
    pub fn party(&self) -> Party {
        let history = self.history.lock();
        let step = |(at, text): &(Duration, Arc<str>)| Step {
            at_ms: (at.as_micros() as f64) / 1000.0,
            statement: text.clone(),
        };
        Party {
            session: self.id.0,
            server_thread: self.server_thread,
            user: self.user.lock().clone(),
            program: self.program.clone(),
            age_ms: history.began.elapsed().as_micros() as f64 / 1000.0,
            statement: history.steps.last().map(|(_, text)| text.clone()),
            transaction: history.steps.iter().map(step).collect(),
        }
    }
}
