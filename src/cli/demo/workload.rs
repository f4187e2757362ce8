//! The get-or-create workload: clients, their transactions, and what came of them.

use super::server::Target;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder};
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Error numbers of the server that the workload expects.
const DEADLOCK: u16 = 1213;
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Rows of the pre-filled key space, and the distance between their keys.
const SPARSE_ROWS: i64 = 20_000;
const SPARSE_STEP: i64 = 1000;

/// Which keys the transactions ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Pattern {
    /// Each asks for a new, larger key: all miss in the gap after the last row.
    Append,
    /// All ask for the key of the current 100 ms: one creates it, the others find it.
    Hot,
    /// Random keys between 20,000 rows, present or missing: conflicts are rare.
    Sparse,
}

impl Pattern {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Append => "append",
            Pattern::Hot => "hot",
            Pattern::Sparse => "sparse",
        }
    }

    /// Keys that are there before the run.
    pub fn prefilled(self) -> impl Iterator<Item = i64> {
        let rows = if self == Pattern::Sparse { SPARSE_ROWS } else { 1 };
        (0..rows).map(|row| row * SPARSE_STEP)
    }
}

/// One run's size.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: u16,
    pub length: Duration,
    pub pattern: Pattern,
    /// Show a line of progress.
    pub progress: bool,
}

/// What came of one run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figures {
    /// `direct`, `flag` or `reorder`.
    pub run: String,
    pub seconds: f64,
    pub committed: u64,
    pub committed_per_second: f64,
    pub deadlocks: u64,
    pub deadlocks_per_second: f64,
    /// Transactions that ended in a lock wait timeout.
    pub timeouts: u64,
    /// Transactions that ended otherwise.
    pub errors: u64,
    pub first_error: Option<String>,
    /// Time from BEGIN to the answer of COMMIT, of committed transactions.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// What all clients of a run share.
struct Shared {
    pattern: Pattern,
    start: Instant,
    deadline: Instant,
    next_key: AtomicI64,
    committed: AtomicU64,
    deadlocks: AtomicU64,
    timeouts: AtomicU64,
    errors: AtomicU64,
}

/// Runs the workload, clients spread over the ways to the server.
///
/// # Errors
/// When a client cannot connect; what happens later is counted.
pub async fn run(name: &str, plan: &Plan, ways: Vec<OptsBuilder>) -> Result<Figures, Error> {
    // A statement that waits for ever would outlive the run.
    let init = || vec!["SET SESSION innodb_lock_wait_timeout = 10"];
    let options = |way: OptsBuilder| Opts::from(way.db_name(Some(Target::schema())).init(init()));
    let ways: Vec<Opts> = ways.into_iter().map(options).collect();
    let mut connections = Vec::new();
    for way in ways.iter().cycle().take(plan.clients.into()) {
        connections.push((Conn::new(way.clone()).await?, way.clone()));
    }
    // One transaction on each way before the clock starts: what is slow only once (the server's caches, the
    // proxy's first sight of a table) is no part of the comparison.
    for (number, (connection, _)) in (1..).zip(connections.iter_mut().take(ways.len())) {
        get_or_create(connection, -number).await?;
    }
    let start = Instant::now();
    let shared = Arc::new(Shared {
        pattern: plan.pattern,
        start,
        deadline: start + plan.length,
        next_key: AtomicI64::new(SPARSE_ROWS * SPARSE_STEP),
        committed: AtomicU64::new(0),
        deadlocks: AtomicU64::new(0),
        timeouts: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    });
    let clients: Vec<_> = connections
        .into_iter()
        .map(|(connection, options)| tokio::spawn(client(connection, options, Arc::clone(&shared))))
        .collect();
    let progress = plan.progress.then(|| tokio::spawn(progress(name.to_owned(), Arc::clone(&shared))));
    let mut latencies = Vec::new();
    let mut first_error = None;
    for client in clients {
        if let Ok((its_latencies, its_error)) = client.await {
            latencies.extend(its_latencies);
            first_error = first_error.or(its_error);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if let Some(progress) = progress {
        progress.abort();
        eprint!("\r\x1b[K");
    }
    latencies.sort_unstable();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Figures {
        run: name.to_owned(),
        seconds,
        committed: count(&shared.committed),
        committed_per_second: count(&shared.committed) as f64 / seconds,
        deadlocks: count(&shared.deadlocks),
        deadlocks_per_second: count(&shared.deadlocks) as f64 / seconds,
        timeouts: count(&shared.timeouts),
        errors: count(&shared.errors),
        first_error,
        p50_ms: quantile(&latencies, 0.50),
        p99_ms: quantile(&latencies, 0.99),
    })
}

/// One client: transaction after transaction until the deadline. Latencies in microseconds.
async fn client(mut connection: Conn, options: Opts, shared: Arc<Shared>) -> (Vec<u32>, Option<String>) {
    let mut latencies = Vec::new();
    let mut first_error = None;
    while Instant::now() < shared.deadline {
        let begin = Instant::now();
        let error = match get_or_create(&mut connection, shared.key()).await {
            Ok(()) => {
                shared.committed.fetch_add(1, Ordering::Relaxed);
                latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
                continue;
            }
            Err(error) => error,
        };
        let number = if let Error::Server(error) = &error { error.code } else { 0 };
        if number == DEADLOCK {
            // The transaction is gone already: an application would begin again.
            shared.deadlocks.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let counter = if number == LOCK_WAIT_TIMEOUT { &shared.timeouts } else { &shared.errors };
        counter.fetch_add(1, Ordering::Relaxed);
        first_error = first_error.or_else(|| Some(error.to_string()));
        if connection.query_drop("ROLLBACK").await.is_err() {
            match Conn::new(options.clone()).await {
                Ok(again) => connection = again,
                Err(_) => break,
            }
        }
    }
    let _ = connection.disconnect().await;
    (latencies, first_error)
}

/// One transaction, in the words that an ORM uses.
async fn get_or_create(connection: &mut Conn, key: i64) -> Result<(), Error> {
    connection.query_drop("BEGIN").await?;
    let select = format!(
        "SELECT batch.id, batch.server_id, batch.created FROM batch WHERE batch.server_id = {key} LIMIT 1 FOR UPDATE"
    );
    let found: Option<mysql_async::Row> = connection.query_first(select).await?;
    let batch = match found.and_then(|row| row.get::<i64, _>(0)) {
        Some(id) => id,
        None => {
            connection.query_drop(format!("INSERT INTO batch (server_id) VALUES ({key})")).await?;
            connection.last_insert_id().unwrap_or_default() as i64
        }
    };
    let insert = format!("INSERT INTO cycle (batch_id, state) VALUES ({batch}, 'new')");
    connection.query_drop(insert).await?;
    connection.query_drop("COMMIT").await
}

impl Shared {
    /// The key that the next transaction asks for.
    fn key(&self) -> i64 {
        match self.pattern {
            Pattern::Append => self.next_key.fetch_add(1, Ordering::Relaxed) + 1,
            Pattern::Hot => {
                let window = self.start.elapsed().as_millis() / 100;
                SPARSE_ROWS * SPARSE_STEP + i64::try_from(window).unwrap_or(i64::MAX / 2)
            }
            Pattern::Sparse => {
                let mut random = rand::rng();
                let row = random.random_range(0..SPARSE_ROWS) * SPARSE_STEP;
                // Half of them are there.
                if random.random() { row } else { row + random.random_range(1..SPARSE_STEP) }
            }
        }
    }
}

/// A line that is written over again five times a second.
async fn progress(name: String, shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let seconds = shared.start.elapsed().as_secs_f64();
        let committed = shared.committed.load(Ordering::Relaxed);
        let deadlocks = shared.deadlocks.load(Ordering::Relaxed);
        eprint!("\r\x1b[K{name:<10}{seconds:>5.1} s {committed:>9} committed {deadlocks:>9} deadlocks");
    }
}

/// A quantile of sorted microseconds, in milliseconds.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    f64::from(sorted[at]) / 1000.0
}
