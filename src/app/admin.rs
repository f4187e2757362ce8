//! The admin address: hands the rooms' figures to the HTTP room as closures.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::AppError;
use crate::admin::http::{self, Sources};
use crate::backend;
use crate::backend::reach::Reach;
use crate::config::{Address, Config};
use crate::metrics::{self, Level};
use crate::session::serve::Shared;
use crate::shutdown::{Drain, Phase};

/// How long `/readyz` waits for the server.
const REACH_TIMEOUT: Duration = Duration::from_millis(800);

/// Opens the admin address, if the configuration has one.
pub(super) async fn start(
    config: &Config,
    backend: &backend::Config,
    shared: &Arc<Shared>,
    drain: &Drain,
) -> Result<Option<JoinHandle<()>>, AppError> {
    watch_levels(shared)?;
    let Some(address) = &config.admin.listen else { return Ok(None) };
    let failed = |source| AppError::Admin { address: address.to_string(), source };
    let listener = match address {
        Address::Tcp { host, port } => TcpListener::bind((host.as_str(), *port)).await.map_err(failed)?,
        Address::Unix(_) => return Err(failed(std::io::ErrorKind::Unsupported.into())),
    };
    info!(admin = ?listener.local_addr().ok(), "admin address open");
    let sources = sources(config, backend, shared, drain);
    let mut stop = drain.watch();
    let stop = async move {
        stop.reached(Phase::Closing).await;
    };
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = http::serve(listener, sources, stop).await {
            warn!(%error, "the admin address has failed");
        }
    })))
}

fn sources(config: &Config, backend: &backend::Config, shared: &Arc<Shared>, drain: &Drain) -> Sources {
    let control = shared.knowledge.as_ref().map(|knowledge| knowledge.control.clone());
    let reach = Reach::new(control, &backend.address, REACH_TIMEOUT);
    let metrics = shared.metrics.clone();
    let (conflicts, status) = (shared.clone(), shared.clone());
    let (watch, action) = (drain.watch(), config.policy.action);
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
        status: Arc::new(move || {
            let admission = &status.admission;
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "action": action,
                "sessions": admission.registry.sessions(),
                "transactions": admission.registry.transactions(),
                "locks": admission.scheduler().locks().len(),
                "wait_edges": admission.scheduler().graph().len(),
                "held": admission.scheduler().held(),
            })
        }),
    }
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
