//! The admin address: hands the rooms' figures to the HTTP room as closures.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::reload::Reloader;
use super::{AppError, look};
use crate::admin::http::{self, Sources};
use crate::admin::turns::Turns;
use crate::backend;
use crate::backend::reach::Reach;
use crate::config::{Address, Config};
use crate::metrics::Level;
use crate::metrics::exposition::Exposition;
use crate::session::serve::Shared;
use crate::shutdown::{Drain, Phase};

/// How long `/readyz` waits for the server.
const REACH_TIMEOUT: Duration = Duration::from_millis(800);

/// What the admin address shows and does.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) backend: &'a backend::Config,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) drain: &'a Drain,
    pub(super) reloader: &'a Arc<Reloader>,
    pub(super) turns: &'a Turns,
}

/// Opens the admin address, if the configuration has one or a socket of it was inherited. Returns its task
/// and a copy of its socket.
pub(super) async fn start(
    parts: Parts<'_>,
    inherited: Option<std::net::TcpListener>,
    handed_over: Arc<Notify>,
) -> Result<Option<(JoinHandle<()>, OwnedFd)>, AppError> {
    watch_levels(&parts)?;
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
    let watch = drain.watch();
    Sources {
        metrics: Arc::new(move |accept| {
            let form = Exposition::accepted(accept);
            (form.media_type(), metrics.render(form))
        }),
        ready: Arc::new(move || {
            let (reach, phase) = (reach.clone(), watch.phase());
            Box::pin(async move {
                if phase != Phase::Running {
                    return Err("shutting down".to_owned());
                }
                reach.check().await.map_err(|error| error.to_string())
            })
        }),
        view: look::view(shared),
        operator: look::operator(shared, parts.reloader),
        access: look::access(parts.reloader),
        turns: parts.turns.clone(),
    }
}

fn watch_levels(parts: &Parts<'_>) -> Result<(), AppError> {
    let (shared, metrics) = (parts.shared, &parts.shared.metrics);
    let of = |level, value: fn(&Shared) -> f64| {
        let shared = shared.clone();
        metrics.watch(level, move || value(&shared))
    };
    of(Level::Locks, |shared| shared.admission.scheduler().locks().len() as f64)?;
    of(Level::Transactions, |shared| shared.admission.registry.transactions() as f64)?;
    of(Level::OldestTransaction, |shared| shared.admission.registry.oldest().as_secs_f64())?;
    of(Level::WaitEdges, |shared| shared.admission.scheduler().graph().len() as f64)?;
    of(Level::CatalogTables, |shared| shared.knowledge.as_ref().map_or(0.0, |k| k.catalog.len() as f64))?;
    of(Level::Signatures, |shared| shared.admission.scheduler().signatures().len() as f64)?;
    // Both may change with a reload.
    let (sessions, held) = (parts.reloader.clone(), parts.reloader.clone());
    metrics.watch(Level::SessionLimit, move || sessions.config().frontend.max_connections as f64)?;
    metrics.watch(Level::HeldLimit, move || held.config().reorder.max_held as f64)?;
    Ok(())
}
