//! The session registry: who is connected, and what each open transaction has done so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;

use super::history::{History, Running};
use super::journal::Journal;
use super::lock_order::LockOrder;
use super::metadata::Uses;
use super::place::Places;
use super::record::Party;
use super::search::Narrow;
use crate::id::{SessionId, TxnId};
use crate::lock::request::{Request, Settled};
use crate::scheduler::victim::Weight;

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
    /// What the connection tells of itself.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// The client's address.
    pub client: String,
    /// When it logged in.
    pub opened: Instant,
    /// What its transaction has run, by digests.
    pub journal: Mutex<Journal>,
    user: Mutex<Arc<str>>,
    history: Mutex<History>,
    /// The tables that its transaction has named.
    pub uses: Uses,
    /// Rows that its transaction has changed.
    pub changed: AtomicU64,
    now: Now,
    killed: AtomicBool,
    waker: AtomicWaker,
    /// Statements remembered per transaction; later ones push the middle out.
    limit: usize,
}

/// What a session is doing, written with each command and answer, read by whoever looks.
#[derive(Debug, Default)]
struct Now {
    /// A command has not been answered.
    busy: AtomicBool,
    /// The server says that a transaction is open.
    open: AtomicBool,
    /// The transaction that asks for locks; 0: none.
    txn: AtomicU64,
}

/// A session as a look at it shows it.
#[derive(Clone, Debug)]
pub struct Look {
    /// The session.
    pub entry: Arc<Entry>,
    /// User name.
    pub user: Arc<str>,
    /// A command has not been answered.
    pub busy: bool,
    /// A transaction is open.
    pub open: bool,
    /// The transaction that asks for locks.
    pub txn: Option<TxnId>,
    /// Since the transaction began, or the last statement outside of one.
    pub age: Duration,
    /// Statements since then.
    pub statements: usize,
    /// The newest of them.
    pub statement: Option<Arc<str>>,
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

    /// Looks at every session.
    pub fn each(&self, mut look: impl FnMut(&Arc<Entry>)) {
        self.sessions.iter().for_each(|entry| look(entry.value()));
    }

    /// A transaction asks for its first lock.
    pub fn began(&self, txn: TxnId, session: &Arc<Entry>) {
        session.now.txn.store(txn.0, Ordering::Relaxed);
        self.transactions.insert(txn, session.clone());
    }

    /// A transaction has ended.
    pub fn ended(&self, txn: TxnId) {
        if let Some((_, session)) = self.transactions.remove(&txn) {
            // A prepared XA transaction may end after another one has begun.
            let _ = session.now.txn.compare_exchange(txn.0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The session that runs a transaction.
    pub fn session_of(&self, txn: TxnId) -> Option<Arc<Entry>> {
        self.transactions.get(&txn).map(|entry| entry.clone())
    }

    /// A session by its number.
    pub fn session(&self, id: SessionId) -> Option<Arc<Entry>> {
        self.sessions.get(&id).map(|entry| entry.clone())
    }

    /// The session with this connection id of the server.
    pub fn by_thread(&self, server_thread: u32) -> Option<Arc<Entry>> {
        self.sessions.iter().find(|entry| entry.server_thread == server_thread).map(|entry| entry.clone())
    }

    /// All sessions, oldest first.
    pub fn look(&self) -> Vec<Look> {
        // Copied out shard by shard; each session is looked at without a guard.
        let mut entries: Vec<Arc<Entry>> = self.sessions.iter().map(|entry| entry.clone()).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries.into_iter().map(Entry::look).collect()
    }

    /// Transactions whose session has gone on to another one: prepared by XA.
    pub fn prepared(&self) -> Vec<(TxnId, Arc<Entry>)> {
        let gone_on = |txn: &TxnId, entry: &Entry| entry.now.txn.load(Ordering::Relaxed) != txn.0;
        let all = self.transactions.iter().filter(|item| gone_on(item.key(), item.value()));
        all.map(|item| (*item.key(), item.value().clone())).collect()
    }

    /// All sessions, in no order.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.sessions.iter().map(|entry| entry.clone()).collect()
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Age of the oldest open transaction that has asked for locks; zero if there is none.
    pub fn oldest(&self) -> Duration {
        self.transactions.iter().map(|entry| entry.history.lock().began.elapsed()).max().unwrap_or_default()
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
        client: String,
        limit: usize,
    ) -> Entry {
        let opened = Instant::now();
        Entry {
            id,
            server_thread,
            program,
            attributes: Arc::default(),
            client,
            opened,
            journal: Mutex::default(),
            user: Mutex::new(user.into()),
            uses: Uses::default(),
            changed: AtomicU64::new(0),
            history: Mutex::new(History::new(opened)),
            now: Now::default(),
            killed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            limit,
        }
    }

    /// Its transaction, if that asks for locks.
    pub fn transaction(&self) -> Option<TxnId> {
        Some(self.now.txn.load(Ordering::Relaxed)).filter(|txn| *txn != 0).map(TxnId)
    }

    /// A command was passed on or kept back.
    pub fn busy(&self) {
        self.now.busy.store(true, Ordering::Relaxed);
    }

    /// A command was answered: are others under way, and is a transaction open?
    pub fn answered(&self, busy: bool, open: bool) {
        self.now.busy.store(busy, Ordering::Relaxed);
        self.now.open.store(open, Ordering::Relaxed);
    }

    /// Has a command not been answered?
    pub fn is_busy(&self) -> bool {
        self.now.busy.load(Ordering::Relaxed)
    }

    /// Closes the session: [`poll_killed`](Self::poll_killed) becomes ready.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ready once somebody has killed the session.
    pub fn poll_killed(&self, context: &mut Context<'_>) -> Poll<()> {
        // Registered before it is read, so that a kill in between is not lost.
        self.waker.register(context.waker());
        if self.killed.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn look(self: Arc<Entry>) -> Look {
        let (age, statements, statement) = {
            let history = self.history.lock();
            let newest = history.steps.last().map(|step| step.text.clone());
            (history.began.elapsed(), history.count, newest)
        };
        let txn = self.transaction();
        let user = self.user.lock().clone();
        Look {
            user,
            busy: self.now.busy.load(Ordering::Relaxed),
            open: self.now.open.load(Ordering::Relaxed),
            txn,
            age,
            statements,
            statement,
            entry: self,
        }
    }

    /// The user.
    pub fn user(&self) -> Arc<str> {
        self.user.lock().clone()
    }

    /// COM_CHANGE_USER has succeeded.
    pub fn rename(&self, user: &str) {
        *self.user.lock() = user.into();
    }

    /// A statement is about to run. Returns its number in the transaction.
    pub fn note(&self, running: Running) -> usize {
        self.history.lock().note(running, self.limit)
    }

    /// A statement that asked for locks was answered.
    pub fn locked(&self, step: usize, requests: Vec<Request>, settled: Vec<Settled>) {
        self.history.lock().locked(step, requests, settled);
    }

    /// What it locked is known there.
    pub fn searched(&self, step: usize, search: Weak<dyn Narrow>) {
        self.history.lock().searched(step, search);
    }

    /// What its transaction has changed and locked.
    pub fn weight(&self) -> Weight {
        self.history.lock().weight(self.changed.load(Ordering::Relaxed))
    }

    /// Its transaction ends: the order in which it has locked is learned.
    pub(super) fn teach(&self, order: &LockOrder, places: &Places) {
        order.learn(&self.history.lock(), self.program.as_deref(), places);
    }

    /// The session and its transaction, as a party of a conflict.
    pub fn party(&self, places: &Places, redact: bool) -> Party {
        let mut history = self.history.lock();
        Party {
            session: self.id.0,
            server_thread: self.server_thread,
            user: self.user.lock().clone(),
            program: self.program.clone(),
            attributes: self.attributes.clone(),
            age_ms: history.began.elapsed().as_micros() as f64 / 1000.0,
            statement: history.steps.last().map(|step| step.text.clone()),
            digest: history.steps.last().map_or(0, |step| step.digest),
            transaction: history.show(places, redact),
        }
    }
}
