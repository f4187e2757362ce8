//! What can be looked at: the rows of every table, for the API, the console and the page alike.
//!
//! A look never keeps a statement waiting for longer than it takes to copy a few hundred locks: shards and
//! indexes are read one after the other, in bites ([`crate::lock::table::LockTable::look`]). So a table is
//! of no single moment: a transaction may be listed whose locks are gone already.

pub mod column;
pub mod rows;
pub mod snapshot;
pub mod tables;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::Admission;
use crate::admission::ledger::in_words;
use crate::admission::record::{Outcome, Record, Resource};
use crate::admission::registry::Look;
use crate::id::{IndexId, TxnId};
use crate::lock::index::Held;
use crate::lock::key::Key;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::Kind;
use crate::lock::wait_for::Edge;
use crate::metrics::Metrics;
use crate::metrics::labels::Predicted;
use rows::{Conflict, Digest, Hold, Lock, Session, Signature, Status, Transaction, Wait};

/// Locks that one look copies; of more, the rest is not shown.
pub const MAX_LOCKS: usize = 100_000;
/// Edges of the wait-for graph that one look copies.
const MAX_EDGES: usize = 100_000;

/// Names of indexes: schema, table and index by number.
pub type Names = Arc<dyn Fn() -> Box<dyn Fn(IndexId) -> Resource> + Send + Sync>;

/// Where the rows come from.
#[derive(Clone)]
pub struct View {
    /// Sessions, locks, holds and conflicts.
    pub admission: Arc<Admission>,
    /// Counters.
    pub metrics: Metrics,
    /// What the catalog knows of names, at the time of the call.
    pub names: Names,
    /// The rows of `digests`.
    pub digests: Arc<dyn Fn() -> Vec<Digest> + Send + Sync>,
    /// Sets the figures of `digests` to 0.
    pub clear_digests: Arc<dyn Fn() + Send + Sync>,
    /// The rows of `signatures`.
    pub signatures: Arc<dyn Fn() -> Vec<Signature> + Send + Sync>,
    /// The action in force.
    pub action: Arc<dyn Fn() -> String + Send + Sync>,
    /// Since when the process runs.
    pub started: Instant,
    /// The key of `locks.place`.
    pub places: RandomState,
}

/// Who runs what: sessions by transaction.
struct Who {
    looks: Vec<Look>,
    /// Position in `looks`.
    of: HashMap<TxnId, usize>,
}

impl View {
    /// Rows of `locks`, index by index.
    pub fn locks(&self, limit: usize) -> Vec<Lock> {
        self.locks_where(limit, |_| true)
    }

    fn locks_where(&self, limit: usize, wanted: impl Fn(&Held) -> bool) -> Vec<Lock> {
        let (who, names) = (self.who(), (self.names)());
        let mut known: HashMap<IndexId, Resource> = HashMap::new();
        let locks = self.admission.scheduler().locks().look(limit.min(MAX_LOCKS), wanted);
        let row = |(index, reach, held): (IndexId, Range, Held)| {
            let place = known.entry(index).or_insert_with(|| name(&*names, index)).clone();
            let session = who.session(held.txn);
            let redact = self.redact();
            let text = |key: &Key| {
                if redact && !key.is_lowest() && !key.is_supremum() { "?".to_owned() } else { edge(key) }
            };
            Lock {
                schema: place.schema,
                table: place.table,
                index: place.index,
                transaction: held.txn.0,
                session: session.map(|s| s.entry.id.0),
                server_thread: session.map(|s| s.entry.server_thread),
                mode: format!("{:?}", held.mode),
                kind: held.kind.name().to_owned(),
                lock_mode: lock_mode(held.mode, held.kind).map(str::to_owned),
                state: if held.tentative { "asked" } else { "granted" }.to_owned(),
                certainty: word(&held.certainty),
                // Records by their key, gaps by how far they reach. Keyed anew in each process, so that no key
                // can be guessed from it.
                place: format!("{:016x}", self.places.hash_one((index, &reach.low, &reach.high))),
                range: in_words(held.kind, &reach, redact),
                low: text(&held.named.low),
                high: text(&held.named.high),
            }
        };
        locks.into_iter().map(row).collect()
    }

    /// Rows of `waits`.
    pub fn waits(&self) -> Vec<Wait> {
        let who = self.who();
        let row = |(from, edge): (TxnId, Edge)| {
            let (waiter, holder) = (who.session(from), who.session(edge.to));
            Wait {
                waiter: from.0,
                waiter_session: waiter.map(|s| s.entry.id.0),
                waiter_statement: waiter.and_then(|s| s.statement.clone()),
                holder: edge.to.0,
                holder_session: holder.map(|s| s.entry.id.0),
                holder_statement: holder.and_then(|s| s.statement.clone()),
                at: if edge.held { "interlock" } else { "server" }.to_owned(),
                certainty: word(&edge.certainty),
            }
        };
        self.admission.scheduler().graph().look(MAX_EDGES).into_iter().map(row).collect()
    }

    /// Rows of `transactions`.
    pub fn transactions(&self) -> Vec<Transaction> {
        let (who, states) = (self.who(), self.states());
        let mut locks: HashMap<TxnId, u64> = HashMap::new();
        // Counted where they are: nothing is copied.
        self.admission.scheduler().locks().look(1, |held| {
            *locks.entry(held.txn).or_default() += 1;
            false
        });
        let row = |txn: Option<TxnId>, look: &Look, state: String| Transaction {
            transaction: txn.map(|txn| txn.0),
            session: look.entry.id.0,
            server_thread: look.entry.server_thread,
            user: look.user.clone(),
            program: look.entry.program.clone(),
            state,
            age_ms: millis(look.age),
            statements: look.statements as u64,
            locks: txn.and_then(|txn| locks.get(&txn)).copied().unwrap_or(0),
            blocks: txn.and_then(|txn| states.blocks.get(&txn)).copied().unwrap_or(0),
            statement: look.statement.clone(),
        };
        let open = who.looks.iter().filter(|look| look.open || look.txn.is_some());
        let mut rows: Vec<Transaction> = open.map(|look| row(look.txn, look, states.of(look))).collect();
        for (txn, entry) in self.admission.registry.prepared() {
            if let Some(look) = who.looks.iter().find(|look| look.entry.id == entry.id) {
                rows.push(row(Some(txn), look, "prepared".to_owned()));
            }
        }
        rows.sort_by(|a, b| b.age_ms.total_cmp(&a.age_ms));
        rows
    }

    /// Rows of `sessions`.
    pub fn sessions(&self) -> Vec<Session> {
        let states = self.states();
        let row = |look: Look| Session {
            session: look.entry.id.0,
            server_thread: look.entry.server_thread,
            client: look.entry.client.clone(),
            program: look.entry.program.clone(),
            state: states.of(&look),
            in_transaction: look.open,
            transaction: look.txn.map(|txn| txn.0),
            connected_ms: millis(look.entry.opened.elapsed()),
            user: look.user,
            statement: look.statement,
        };
        self.admission.registry.look().into_iter().map(row).collect()
    }

    /// Rows of `holds`.
    pub fn holds(&self) -> Vec<Hold> {
        let who = self.who();
        let graph = self.admission.scheduler().graph();
        let row = |hold: crate::admission::HoldLook| {
            let session = who.looks.iter().find(|look| look.entry.id == hold.session);
            let behind: Vec<String> =
                graph.edges_of(hold.txn).iter().filter(|e| e.held).map(|e| e.to.0.to_string()).collect();
            Hold {
                hold: hold.token.0,
                session: hold.session.0,
                server_thread: session.map(|s| s.entry.server_thread),
                user: session.map(|s| s.user.clone()),
                transaction: hold.txn.0,
                statement: session.and_then(|s| s.statement.clone()),
                held_ms: millis(hold.since.elapsed()),
                deadline_ms: millis(hold.patience),
                behind: behind.join(", "),
                conflict: hold.conflict,
            }
        };
        self.admission.holds().into_iter().map(row).collect()
    }

    /// Rows of `conflicts`, newest first.
    pub fn conflicts(&self, limit: usize) -> Vec<Conflict> {
        self.admission.ledger.newest(limit).iter().map(conflict).collect()
    }

    /// The row of `status`.
    pub fn status(&self) -> Status {
        let (admission, metrics) = (&self.admission, &self.metrics);
        let outcomes = metrics.outcomes();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            action: (self.action)(),
            redact: self.redact(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            sessions: admission.registry.sessions() as u64,
            transactions: admission.registry.transactions() as u64,
            locks: admission.scheduler().locks().len() as u64,
            wait_edges: admission.scheduler().graph().len() as u64,
            held: admission.scheduler().held() as u64,
            conflicts: metrics.conflicts.total(),
            averted: outcomes.averted,
            happened: outcomes.happened,
            did_not_happen: outcomes.did_not_happen,
            deadlocks_foreseen: metrics.server_deadlocks.get(Predicted::Yes),
            deadlocks_missed: metrics.server_deadlocks.get(Predicted::No),
            hazards: admission.order.found() as u64,
            holds: metrics.holds.total(),
            held_seconds: metrics.hold_seconds.get_sample_sum(),
            rejected: outcomes.rejected,
            restarted: outcomes.restarted,
        }
    }

    fn redact(&self) -> bool {
        self.admission.settings().redact
    }

    fn who(&self) -> Who {
        let looks = self.admission.registry.look();
        let of = looks.iter().enumerate().filter_map(|(at, look)| Some((look.txn?, at))).collect();
        Who { looks, of }
    }

    fn states(&self) -> States {
        let held = self.admission.holds().into_iter().map(|hold| hold.txn).collect();
        let mut blocks: HashMap<TxnId, u64> = HashMap::new();
        let mut waiting = HashMap::new();
        for (from, edge) in self.admission.scheduler().graph().look(MAX_EDGES) {
            *blocks.entry(edge.to).or_default() += 1;
            waiting.insert(from, edge.held);
        }
        States { held, waiting, blocks }
    }
}

impl Who {
    fn session(&self, txn: TxnId) -> Option<&Look> {
        self.of.get(&txn).map(|at| &self.looks[*at])
    }
}

/// What keeps transactions.
struct States {
    held: std::collections::HashSet<TxnId>,
    waiting: HashMap<TxnId, bool>,
    blocks: HashMap<TxnId, u64>,
}

impl States {
    fn of(&self, look: &Look) -> String {
        let state = match look.txn {
            Some(txn) if self.held.contains(&txn) => "held",
            Some(txn) if look.busy && self.waiting.contains_key(&txn) => "waiting",
            _ if look.busy => "running",
            _ => "idle",
        };
        state.to_owned()
    }
}

fn conflict(record: &Record) -> Conflict {
    let holders: Vec<String> = record.holders.iter().map(|party| party.session.to_string()).collect();
    let statements: Vec<&str> =
        record.holders.iter().filter_map(|party| party.statement.as_deref()).collect();
    Conflict {
        seq: record.seq,
        time: record.time.clone(),
        kind: word(&record.kind),
        pattern: word(&record.pattern),
        detected: word(&record.detected),
        certainty: word(&record.certainty),
        action: word(&record.action),
        outcome: word::<Outcome>(&record.outcome),
        errno: record.errno,
        held_ms: record.held_ms,
        would_hold: record.would_hold,
        would_hold_ms: record.would_hold_ms,
        schema: record.resource.schema.clone(),
        table: record.resource.table.clone(),
        index: record.resource.index.clone(),
        range: record.resource.range.clone(),
        mode: record.resource.mode.clone(),
        signature: record.signature.clone(),
        session: record.requester.session,
        statement: record.requester.statement.clone(),
        holders: holders.join(", "),
        holder_statements: statements.join("; "),
    }
}

/// The word that a value serialises to.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn name(names: &dyn Fn(IndexId) -> Resource, index: IndexId) -> Resource {
    let named = names(index);
    if !named.table.is_empty() {
        return named;
    }
    // The catalog has dropped the definition since.
    let (table, index) = (format!("#{}", index.table.0), format!("#{}", index.index));
    Resource { table, index, ..Resource::default() }
}

/// `performance_schema.data_locks.LOCK_MODE` of a lock of this mode and kind.
fn lock_mode(mode: Mode, kind: Kind) -> Option<&'static str> {
    Some(match (mode, kind) {
        (Mode::S, Kind::Record | Kind::Passed | Kind::Clustered { .. } | Kind::Entry) => "S,REC_NOT_GAP",
        (Mode::X, Kind::Record | Kind::Passed | Kind::Clustered { .. } | Kind::Entry) => "X,REC_NOT_GAP",
        (Mode::S, Kind::Gap) => "S,GAP",
        (Mode::X, Kind::Gap) => "X,GAP",
        (Mode::S, Kind::NextKey) => "S",
        (Mode::X, Kind::NextKey) => "X",
        (_, Kind::Insert { .. } | Kind::Tried { .. }) => "X,INSERT_INTENTION",
        (Mode::S, Kind::Ahead) => "S,REC_NOT_GAP",
        (Mode::X, Kind::Ahead) => "X,REC_NOT_GAP",
        (Mode::IS, _) => "IS",
        (Mode::IX, _) => "IX",
        (_, Kind::RecordOrGap) => return None,
    })
}

fn edge(key: &Key) -> String {
    match (key.is_lowest(), key.is_supremum()) {
        (true, _) => "first".to_owned(),
        (_, true) => "end".to_owned(),
        _ => key.to_string(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
impl View {
    /// A view of a proxy that nobody uses.
    pub(super) fn empty() -> View {
        use crate::admission::Settings;
        use crate::scheduler::policy::Limits;
        let metrics = Metrics::new(&Default::default()).unwrap();
        let settings = Settings {
            hold_timeout: Duration::from_secs(1),
            deadlock_hold_timeout: Duration::from_secs(1),
            look_time: Duration::from_millis(100),
            limits: Limits { max_held: 10, max_queue: 10, max_overtaking_ms: 100 },
            fence_lifetime: Duration::from_secs(1),
            max_locks: 1000,
            keep: 10,
            redact: true,
        };
        View {
            admission: Admission::new(settings, metrics.clone()),
            metrics,
            names: Arc::new(|| Box::new(|_| Resource::default())),
            digests: Arc::new(Vec::new),
            clear_digests: Arc::new(|| ()),
            signatures: Arc::new(Vec::new),
            action: Arc::new(|| "flag".to_owned()),
            started: Instant::now(),
            places: RandomState::new(),
        }
    }
}
