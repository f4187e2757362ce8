//! The admin address: hands the rooms' figures to the HTTP room as closures.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::AppError;
use crate::admin::http::{self, Sources};
use crate::admin::view::View;
use crate::admin::view::rows::Digest;
use crate::admission::record::Resource;
use crate::backend;
use crate::backend::reach::Reach;
use crate::catalog::Table;
use crate::config::{Address, Config};
use crate::id::{IndexId, TableId};
use crate::metrics::{self, Level};
use crate::session::serve::Shared;
use crate::shutdown::{Drain, Phase};
use crate::sql::cache::Plan;

/// How long `/readyz` waits for the server.
const REACH_TIMEOUT: Duration = Duration::from_millis(800);

/// What the admin address shows and does.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) backend: &'a backend::Config,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) drain: &'a Drain,
}

/// Opens the admin address, if the configuration has one or a socket of it was inherited. Returns its task
/// and a copy of its socket.
pub(super) async fn start(
    parts: Parts<'_>,
    inherited: Option<std::net::TcpListener>,
    handed_over: Arc<Notify>,
) -> Result<Option<(JoinHandle<()>, OwnedFd)>, AppError> {
    watch_levels(parts.shared)?;
    let Some(listener) = listener(parts.config, inherited).await? else { return Ok(None) };
    info!(admin = ?listener.local_addr().ok(), "admin address open");
    let socket = listener.as_fd().try_clone_to_owned()?;
    let mut stop = parts.drain.watch();
    let sources = sources(parts);
    let stop = async move {
        tokio::select! {
            _ = stop.reached(Phase::Closing) => {}
            // Whoever has taken over answers from now on, and not sometimes this process.
            () = handed_over.notified() => {}
        }
    };
    let task = tokio::spawn(async move {
        if let Err(error) = http::serve(listener, sources, stop).await {
            warn!(%error, "the admin address has failed");
        }
    });
    Ok(Some((task, socket)))
}

async fn listener(
    config: &Config,
    inherited: Option<std::net::TcpListener>,
) -> Result<Option<TcpListener>, AppError> {
    if let Some(inherited) = inherited {
        inherited.set_nonblocking(true)?;
        return Ok(Some(TcpListener::from_std(inherited)?));
    }
    let Some(address) = &config.admin.listen else { return Ok(None) };
    let failed = |source| AppError::Admin { address: address.to_string(), source };
    match address {
        Address::Tcp { host, port } => {
            TcpListener::bind((host.as_str(), *port)).await.map(Some).map_err(failed)
        }
        Address::Unix(_) => Err(failed(std::io::ErrorKind::Unsupported.into())),
    }
}

fn sources(parts: Parts<'_>) -> Sources {
    let Parts { backend, shared, drain, .. } = parts;
    let control = shared.knowledge.as_ref().map(|knowledge| knowledge.control.clone());
    let reach = Reach::new(control, &backend.address, REACH_TIMEOUT);
    let metrics = shared.metrics.clone();
    let (conflicts, watch) = (shared.clone(), drain.watch());
    Sources {
        metrics: Arc::new(move || metrics.render()),
        metrics_type: metrics::MEDIA_TYPE,
        ready: Arc::new(move || {
            let (reach, phase) = (reach.clone(), watch.phase());
            Box::pin(async move {
                if phase != Phase::Running {
                    return Err("shutting down".to_owned());
                }
                reach.check().await.map_err(|error| error.to_string())
            })
        }),
        // A page of records has no map with keys that are no strings: it always serialises.
        conflicts: Arc::new(move |after| {
            serde_json::to_value(conflicts.admission.ledger.page(after)).unwrap_or(Value::Null)
        }),
        view: view(shared),
    }
}

/// The rows that the API, the console and the page show.
fn view(shared: &Arc<Shared>) -> View {
    let (names, digests, action) = (shared.clone(), shared.digests.clone(), shared.clone());
    View {
        admission: shared.admission.clone(),
        metrics: shared.metrics.clone(),
        names: Arc::new(move || {
            let known = names.knowledge.as_ref().map(|k| k.catalog.by_id()).unwrap_or_default();
            Box::new(move |index| place(&known, index))
        }),
        digests: Arc::new(move || rows_of(&digests.plans())),
        signatures: Arc::new(Vec::new),
        action: Arc::new(move || format!("{:?}", action.settings().action).to_lowercase()),
        started: Instant::now(),
    }
}

fn place(known: &HashMap<TableId, Arc<Table>>, index: IndexId) -> Resource {
    let Some(table) = known.get(&index.table) else { return Resource::default() };
    Resource {
        schema: table.schema.clone(),
        table: table.name.clone(),
        index: table.indexes.get(usize::from(index.index)).map(|i| i.name.clone()).unwrap_or_default(),
        ..Resource::default()
    }
}

/// One row for each digest; threads that know it are added up.
fn rows_of(plans: &[Arc<Plan>]) -> Vec<Digest> {
    let mut rows: HashMap<u128, Digest> = HashMap::new();
    for plan in plans {
        let row = rows.entry(plan.hash).or_insert_with(|| Digest::new(plan.hash, plan.text.clone()));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        row.executions += read(&plan.uses.executions);
        row.errors += read(&plan.uses.errors);
        row.deadlocks += read(&plan.uses.deadlocks);
        row.conflicts += read(&plan.uses.conflicts);
        row.holds += read(&plan.uses.holds);
        row.server_ms += read(&plan.uses.server_nanos) as f64 / 1e6;
    }
    let mut rows: Vec<Digest> = rows.into_values().collect();
    for row in &mut rows {
        row.average_ms = row.server_ms / (row.executions.max(1) as f64);
    }
    rows.sort_by(|a, b| b.server_ms.total_cmp(&a.server_ms));
    rows
}

fn watch_levels(shared: &Arc<Shared>) -> Result<(), AppError> {
    let metrics = &shared.metrics;
    let of = |level, value: fn(&Shared) -> usize| {
        let shared = shared.clone();
        metrics.watch(level, move || value(&shared))
    };
    of(Level::Locks, |shared| shared.admission.scheduler().locks().len())?;
    of(Level::Transactions, |shared| shared.admission.registry.transactions())?;
    of(Level::WaitEdges, |shared| shared.admission.scheduler().graph().len())?;
    of(Level::CatalogTables, |shared| shared.knowledge.as_ref().map_or(0, |k| k.catalog.len()))?;
    Ok(())
}
