//! Neighbour probes: which entries of an index lie next to a key?
//!
//! Two different missing keys meet in one gap if no entry lies between them; only the server knows. Probes
//! read uncommitted entries, as the gap is bordered by them too. Entries that are deleted but not yet purged
//! still border a gap and are not seen, so an answer is never more than likely.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::control::{Control, ControlError, Lane};
use super::probe_sql::{self, ProbeSql};
use crate::catalog::Table;
use crate::metrics::labels;

pub use super::probe_sql::{Neighbours, ProbeValue};

/// How a probe ended, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProbeEnd {
    /// Answered.
    Answered,
    /// The key, the index or a value cannot be asked about.
    Unsupported,
    /// No answer within the time.
    TimedOut,
    /// Too many probes.
    Busy,
    /// The server could not be asked, or answered with an error.
    Failed,
}

/// Asks for neighbours. Shared by all sessions; equal probes that run at the same time are one.
pub struct Prober {
    control: Option<Arc<Control>>,
    timeout: Duration,
    running: Arc<Mutex<HashMap<String, Running>>>,
    observe: Arc<dyn Fn(ProbeEnd, Duration) + Send + Sync>,
}

/// A probe on its way, for all who ask the same.
type Running = Shared<BoxFuture<'static, Result<Neighbours, ProbeEnd>>>;

impl Prober {
    /// Asks over `control`, or knows nothing without it; waits for `timeout` at most. `observe` is told the
    /// end of each question and how long it took.
    pub fn new(
        control: Option<Arc<Control>>,
        timeout: Duration,
        observe: impl Fn(ProbeEnd, Duration) + Send + Sync + 'static,
    ) -> Prober {
        let running = Arc::new(Mutex::new(HashMap::new()));
        Prober { control, timeout, running, observe: Arc::new(observe) }
    }

    /// The entries around a key, or around the first parts of a key, of an index. `None`: not known; go on
    /// without.
    pub async fn neighbours(&self, table: &Table, index: u16, key: &[ProbeValue]) -> Option<Neighbours> {
        self.ask(probe_sql::build(table, index, key)).await
    }

    /// The last entry of an index; the inner `None`: it has none. The outer `None`: not known.
    pub async fn last(&self, table: &Table, index: u16) -> Option<Option<Vec<ProbeValue>>> {
        self.ask(probe_sql::build_last(table, index)).await.map(|seen| seen.previous)
    }

    async fn ask(&self, sql: Option<ProbeSql>) -> Option<Neighbours> {
        let control = self.control.as_ref()?;
        let begin = Instant::now();
        let result = match sql {
            None => Err(ProbeEnd::Unsupported),
            Some(sql) => {
                let running = self.join(control, sql);
                tokio::time::timeout(self.timeout, running).await.unwrap_or(Err(ProbeEnd::TimedOut))
            }
        };
        let end = result.as_ref().err().copied().unwrap_or(ProbeEnd::Answered);
        (self.observe)(end, begin.elapsed());
        result.ok()
    }

    /// Joins the same probe if it runs already, else starts it.
    fn join(&self, control: &Arc<Control>, sql: ProbeSql) -> Running {
        let mut running = self.running.lock();
        if let Some(same) = running.get(&sql.text) {
            return same.clone();
        }
        let question = control.query(Lane::Probe, sql.text.clone());
        let text = sql.text.clone();
        let all = Arc::clone(&self.running);
        let ask = async move {
            let answer = match question.await {
                Ok(results) => sql.read(results.first().map_or(&[], Vec::as_slice)).ok_or(ProbeEnd::Failed),
                Err(ControlError::TimedOut) => Err(ProbeEnd::TimedOut),
                Err(ControlError::Busy) => Err(ProbeEnd::Busy),
                Err(error) => {
                    tracing::debug!(%error, "probe failed");
                    Err(ProbeEnd::Failed)
                }
            };
            all.lock().remove(&sql.text);
            answer
        };
        // A task of its own drives it, so that it ends, and leaves the map, even if every caller goes away.
        let task = control.runtime().spawn(ask);
        let shared = async move { task.await.unwrap_or(Err(ProbeEnd::Failed)) }.boxed().shared();
        running.insert(text, shared.clone());
        shared
    }
}

impl From<ProbeEnd> for labels::Probe {
    fn from(end: ProbeEnd) -> labels::Probe {
        match end {
            ProbeEnd::Answered => labels::Probe::Answered,
            ProbeEnd::Unsupported => labels::Probe::Unsupported,
            ProbeEnd::TimedOut => labels::Probe::TimedOut,
            ProbeEnd::Busy => labels::Probe::Busy,
            ProbeEnd::Failed => labels::Probe::Failed,
        }
    }
}
