//! Control connections: how interlock itself asks the server, never on a client's connection.
//!
//! Few, opened when first needed, opened again after a fault with growing pauses. Nothing waits for them at
//! start-up, and whoever asks gets an error instead of a wait when the server cannot be reached.
//!
//! The catalog and the probes have lanes of their own, because they differ in the time that a statement may
//! take, and because a slow load must not stand before a probe that a client waits for.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::control_connect::{self, Connector};
use crate::catalog::ServerFacts;

/// Where and how control connections log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlOptions {
    /// `mysql://user:password@host:port`, or with `?socket=/path`.
    pub url: String,
    /// Most connections of each lane.
    pub pool_size: usize,
    /// From connect to the end of the login and the set-up.
    pub connect_timeout: Duration,
    /// Longest time of one statement of the catalog lane.
    pub catalog_timeout: Duration,
    /// Longest time of one statement of the probe lane.
    pub probe_timeout: Duration,
    /// TLS, as on the sessions' connections.
    pub tls: ControlTls,
}

/// TLS of control connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ControlTls {
    /// When TLS is used and what is verified.
    pub mode: ControlTlsMode,
    /// Authorities, PEM.
    pub ca: Option<PathBuf>,
    /// interlock's certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name to verify instead of the URL's host.
    pub server_name: Option<String>,
}

/// When TLS is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ControlTlsMode {
    /// Never.
    #[default]
    Disabled,
    /// If the server offers it; nothing is verified.
    Preferred,
    /// Always; nothing is verified.
    Required,
    /// Always; the authority is verified.
    VerifyCa,
    /// Always; authority and name are verified.
    VerifyIdentity,
}

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Definitions: `information_schema`, `EXPLAIN`.
    Catalog,
    /// Neighbour probes.
    Probe,
}

/// Why a question has no answer. The caller goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The URL cannot be used.
    #[error("the control URL cannot be used: {0}")]
    Url(#[from] mysql_async::UrlError),
    /// The last attempt to connect failed; the next one is not due yet.
    #[error("the server cannot be reached on a control connection")]
    Unreachable,
    /// Too many questions are waiting.
    #[error("too many questions are waiting for a control connection")]
    Busy,
    /// The time is up.
    #[error("no answer on the control connection in time")]
    TimedOut,
    /// The server's answer is an error: number and text.
    #[error("the server answers error {0}: {1}")]
    Server(u16, String),
    /// The connection failed.
    #[error("the control connection failed: {0}")]
    Connection(String),
}

/// A row of the text protocol; NULL is `None`.
pub type TextRow = Vec<Option<Vec<u8>>>;

/// The control connections to one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    /// Where questions run. Sessions live on threads of their own, and a connection belongs to the runtime
    /// that opened it.
    runtime: Handle,
    catalog: Pool,
    probe: Pool,
    /// What the server said at the last log-in of any connection.
    facts: Mutex<Option<Arc<ServerFacts>>>,
    /// `lower_case_table_names` of `facts`, read for every name that is looked up; 255 is unknown.
    lower_case: AtomicU8,
    /// As in the facts; `i64::MIN` before it is known.
    clock_ahead: AtomicI64,
    /// As in the facts, read for every statement that locks; 255 is unknown.
    autoinc_lock_mode: AtomicU8,
    backoff: Mutex<Backoff>,
}

/// Connections of one lane.
#[derive(Debug)]
struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Conn>>,
    /// Questions waiting or under way.
    pending: AtomicUsize,
    timeout: Duration,
}

/// When to connect again.
#[derive(Debug, Default)]
struct Backoff {
    /// Faults since the last success.
    faults: u32,
    until: Option<Instant>,
}

/// Questions of one lane that may be waiting or under way; the next one gets [`ControlError::Busy`].
const MAX_PENDING: usize = 1024;
/// Pause after the first failed connect; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Could a control connection log in with this URL?
pub fn is_url(text: &str) -> bool {
    mysql_async::Opts::from_url(text).is_ok_and(|opts| opts.user().is_some_and(|user| !user.is_empty()))
}

// === impl Control ===

impl Control {
    /// Prepares control connections; opens none. To be called in the tokio runtime that questions shall run in.
    pub fn new(options: &ControlOptions) -> Result<Control, ControlError> {
        let pool = |timeout| Pool {
            permits: Semaphore::new(options.pool_size.max(1)),
            idle: Mutex::new(Vec::new()),
            pending: AtomicUsize::new(0),
            timeout,
        };
        Ok(Control {
            shared: Arc::new(Shared {
                connector: Connector::new(options)?,
                runtime: Handle::current(),
                catalog: pool(options.catalog_timeout),
                probe: pool(options.probe_timeout),
                facts: Mutex::new(None),
                lower_case: AtomicU8::new(u8::MAX),
                clock_ahead: AtomicI64::new(i64::MIN),
                autoinc_lock_mode: AtomicU8::new(u8::MAX),
                backoff: Mutex::new(Backoff::default()),
            }),
        })
    }

    /// The runtime that questions run in.
    pub fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    /// What the server said of itself at the last log-in; connects if there was none yet.
    pub async fn facts(&self) -> Result<Arc<ServerFacts>, ControlError> {
        if let Some(facts) = self.known_facts() {
            return Ok(facts);
        }
        self.query(Lane::Catalog, "DO 0".to_owned()).await?;
        self.known_facts().ok_or(ControlError::Unreachable)
    }

    /// What the server said of itself at the last log-in, if there was one.
    pub fn known_facts(&self) -> Option<Arc<ServerFacts>> {
        self.shared.facts.lock().clone()
    }

    /// `lower_case_table_names`, once it is known.
    pub fn lower_case_table_names(&self) -> Option<u8> {
        Some(self.shared.lower_case.load(Ordering::Relaxed)).filter(|value| *value != u8::MAX)
    }

    /// How far the server's clock, in its time zone, is ahead of this machine's in UTC, in seconds, once it is known.
    pub fn clock_ahead(&self) -> Option<i64> {
        Some(self.shared.clock_ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != i64::MIN)
    }

    /// `innodb_autoinc_lock_mode`, once it is known.
    pub fn autoinc_lock_mode(&self) -> Option<u8> {
        Some(self.shared.autoinc_lock_mode.load(Ordering::Relaxed)).filter(|mode| *mode != u8::MAX)
    }

    /// Sends one text, which may hold several statements, and gives the rows of each result.
    ///
    /// The question runs to its end even if the caller goes away: a connection that was left in the middle
    /// of an answer could not be used again.
    pub fn query(
        &self,
        lane: Lane,
        sql: String,
    ) -> impl Future<Output = Result<Vec<Vec<TextRow>>, ControlError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let task = self.shared.runtime.spawn(async move {
            let pool = shared.pool(lane);
            let _pending = Pending::enter(pool)?;
            // The limit covers waiting for a connection as well; connecting has a limit of its own.
            let permit = tokio::time::timeout(pool.timeout * 2, pool.permits.acquire()).await;
            let Ok(Ok(_permit)) = permit else { return Err(ControlError::Busy) };
            shared.ask(lane, &sql).await
        });
        async move { task.await.unwrap_or_else(|error| Err(ControlError::Connection(error.to_string()))) }
    }
}

// === impl Shared ===

impl Shared {
    fn pool(&self, lane: Lane) -> &Pool {
        match lane {
            Lane::Catalog => &self.catalog,
            Lane::Probe => &self.probe,
        }
    }

    /// Asks on an idle connection, or on a new one if there is none or the idle one has died meanwhile.
    async fn ask(&self, lane: Lane, sql: &str) -> Result<Vec<Vec<TextRow>>, ControlError> {
        let pool = self.pool(lane);
        let idle = pool.idle.lock().pop();
        if let Some(conn) = idle {
            match pool.ask_on(conn, sql).await {
                // The server closes idle connections (wait_timeout, restart): that is no fault of the question.
                Err(ControlError::Connection(_)) => {}
                answer => return answer,
            }
        }
        let conn = self.connect(lane).await?;
        pool.ask_on(conn, sql).await
    }

    async fn connect(&self, lane: Lane) -> Result<Conn, ControlError> {
        if self.backoff.lock().until.is_some_and(|until| Instant::now() < until) {
            return Err(ControlError::Unreachable);
        }
        let statement_timeout = self.pool(lane).timeout;
        match self.connector.connect(statement_timeout).await {
            Ok((conn, facts)) => {
                if std::mem::take(&mut *self.backoff.lock()).faults > 0 {
                    tracing::info!("control connection is back");
                }
                self.lower_case.store(facts.lower_case_table_names, Ordering::Relaxed);
                self.clock_ahead.store(facts.clock_ahead, Ordering::Relaxed);
                self.autoinc_lock_mode.store(facts.autoinc_lock_mode, Ordering::Relaxed);
                *self.facts.lock() = Some(Arc::new(facts));
                Ok(conn)
            }
            Err(error) => {
                let first = self.backoff.lock().fault(Instant::now());
                // One line per outage: the pauses would otherwise fill the log.
                if first {
                    tracing::warn!(%error, "control connection failed; going on without the server's answers");
                }
                Err(error)
            }
        }
    }
}

// === impl Pool ===

impl Pool {
    /// Asks, and keeps the connection if it is still in step with the server.
    async fn ask_on(&self, mut conn: Conn, sql: &str) -> Result<Vec<Vec<TextRow>>, ControlError> {
        // The server has the same limit. This one is for a server or network that says nothing at all; the
        // connection is then dropped, which closes it.
        let limit = self.timeout + Duration::from_secs(1);
        let mut results = Vec::new();
        let answer = match tokio::time::timeout(limit, read_all(&mut conn, sql, &mut results)).await {
            Err(_) => return Err(ControlError::TimedOut),
            Ok(answer) => answer.map_err(control_connect::error),
        };
        // After an error behind the first result the driver may report it once more for the next question.
        let in_step = matches!((&answer, results.len()), (Ok(()), _) | (Err(ControlError::Server(..)), 0));
        if in_step {
            self.idle.lock().push(conn);
        }
        match answer.map(|()| results) {
            // ER_QUERY_TIMEOUT (MySQL), ER_STATEMENT_TIMEOUT (MariaDB)
            Err(ControlError::Server(3024 | 1969, _)) => Err(ControlError::TimedOut),
            answer => answer,
        }
    }
}

async fn read_all(
    conn: &mut Conn,
    sql: &str,
    results: &mut Vec<Vec<TextRow>>,
) -> Result<(), mysql_async::Error> {
    let mut answer = conn.query_iter(sql).await?;
    while !answer.is_empty() {
        results.push(Vec::new());
        let rows: Vec<mysql_async::Row> = answer.collect().await?;
        if let Some(last) = results.last_mut() {
            last.extend(rows.into_iter().map(text_row));
        }
    }
    // An error in the place of a later result shows only here.
    answer.drop_result().await
}

fn text_row(row: mysql_async::Row) -> TextRow {
    let text = |value| match value {
        Value::Bytes(bytes) => Some(bytes),
        // The text protocol knows nothing but bytes and NULL.
        _ => None,
    };
    row.unwrap().into_iter().map(text).collect()
}

/// Counts a question while it lives.
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn enter(pool: &'a Pool) -> Result<Self, ControlError> {
        let pending = Pending(&pool.pending);
        if pool.pending.fetch_add(1, Ordering::Relaxed) >= MAX_PENDING {
            return Err(ControlError::Busy);
        }
        Ok(pending)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Backoff ===

impl Backoff {
    /// Notes a fault; true for the first one of an outage.
    fn fault(&mut self, now: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.faults.min(16)).min(MAX_PAUSE);
        self.faults = self.faults.saturating_add(1);
        self.until = Some(now + pause);
        self.faults == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for n in 0..9 {
            assert_eq!(backoff.fault(now), n == 0);
            pauses.push((backoff.until.unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn urls_need_an_account() {
        assert!(is_url("mysql://u:p@db:3306"));
        assert!(is_url("mysql://u:p@localhost?socket=/run/mysqld/mysqld.sock"));
        assert!(!is_url("mysql://db:3306"));
        assert!(!is_url("db:3306"));
    }

    #[tokio::test]
    async fn an_unreachable_server_is_an_error_not_a_wait() {
        let options = ControlOptions {
            // Port 9 of the loopback is closed on any machine that runs no discard service.
            url: "mysql://u:p@127.0.0.1:9".to_owned(),
            pool_size: 1,
            connect_timeout: Duration::from_secs(5),
            catalog_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_millis(20),
            tls: ControlTls::default(),
        };
        let control = Control::new(&options).unwrap();
        let first = control.query(Lane::Catalog, "DO 0".to_owned()).await;
        assert!(matches!(first, Err(ControlError::Connection(_))), "{first:?}");
        let second = control.query(Lane::Probe, "DO 0".to_owned()).await;
        assert!(matches!(second, Err(ControlError::Unreachable)), "{second:?}");
        assert_eq!(control.known_facts(), None);
    }
}
