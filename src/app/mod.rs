//! Composition root: builds every room from the configuration, starts them, and ends them in order.
//!
//! The end, in phases: let go on what is held, stop accepting, let idle sessions go and open transactions end (`shutdown.grace`),
//! close the rest with error 1053.

mod admin;
mod look;
pub mod map;
mod clock;
mod state;
mod notify;
pub mod reload;
mod signals;
pub mod sockets;
mod stall;
mod upgrade;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::admin::turns::Turns;
use crate::admission::Admission;
use crate::admission::file::Writer;
use crate::admission::lock_order::Hazard;
use crate::admission::state::StateError;
use crate::backend::catalog_loader::Loader;
use crate::backend::catalog_store::{Catalog, LoadEnd};
use crate::backend::control::{Control, ControlError, Lane};
use crate::backend::coordinator::Ends;
use crate::backend::explain::Explainer;
use crate::backend::probe::{ProbeEnd, Prober};
use crate::backend::procedures::Procedures;
use crate::backend::scan::Scanner;
use crate::config::{Config, Loaded};
use crate::frontend::listener::{BindError, Listener};
use crate::frontend::worker::{Handler, Workers};
use crate::metrics::{self, Metrics, MetricsError};
use crate::session::analyze::Plans;
use crate::session::place;
use crate::session::programs::Programs;
use crate::session::serve::{Knowledge, Shared, serve};
use crate::session::views::Views;
use crate::shutdown::{Drain, Phase};
use reload::{ReloadError, Reloader, SetLevel, Source};
use signals::{Signals, Successor};
use sockets::Sockets;

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The clients' address.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] ReloadError),
    /// The control account.
    #[error("control.url: {0}")]
    Control(#[from] ControlError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The admin address.
    #[error("admin.listen {address}: {source}")]
    Admin {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file of signatures.
    #[error("state.dir: {0}")]
    State(#[from] StateError),
    /// The file of conflicts.
    #[error("conflicts.file {file}: {source}")]
    ConflictsFile {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Threads or signals.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

/// What a process begins with.
pub struct Start {
    /// The configuration.
    pub loaded: Loaded,
    /// Where it came from, for those who ask to have it read again.
    pub source: Source,
    /// Changes the level of the log.
    pub set_level: SetLevel,
    /// Lines of the log that were dropped so far.
    pub lost_lines: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Sockets that are open already.
    pub sockets: Sockets,
    /// The process ends when nobody has been connected for so long, once somebody was.
    pub exit_after_idle: Option<Duration>,
}

/// Builds every room from the configuration, runs until a signal, and drains. Returns the hazards in the order of
/// locks that it has seen.
pub async fn run(start: Start) -> Result<Vec<Hazard>, AppError> {
    let Start { loaded, source, set_level, lost_lines, sockets, exit_after_idle } = start;
    // Before anybody can see that this process is there, and tell it something.
    let signals = Signals::catch()?;
    let config = loaded.config.clone();
    let (frontend, backend) = (map::frontend(&config), map::backend(&config));
    let listener = Listener::open(&frontend, sockets.clients).await?;
    let drain = Drain::new();
    let shared = Arc::new(shared(&config, &drain)?);
    shared.metrics.watch_log(lost_lines)?;
    open_conflicts_file(&config, &shared)?;
    let keeper = state::Keeper::open(&config, &shared)?;
    let reloader = Arc::new(Reloader::new(source, set_level, shared.clone(), listener.connections(), loaded));
    let handed_over = Arc::new(Notify::new());
    let turns = Turns::default();
    let admin = admin::start(
        admin::Parts {
            config: &config,
            backend: &backend,
            shared: &shared,
            drain: &drain,
            reloader: &reloader,
            turns: &turns,
        },
        sockets.admin,
        handed_over.clone(),
    )
    .await?;
    look::console(&config, &shared, &reloader, &drain, turns);
    let workers = {
        let shared = shared.clone();
        let plans = config.limits.plans;
        let factory = move |_worker| {
            let shared = shared.clone();
            let plans = Rc::new(Plans::new(plans, shared.digests.clone()));
            let handler: Handler =
                Rc::new(move |stream, peer| serve(shared.clone(), stream, peer, plans.clone()));
            handler
        };
        Workers::start(&frontend, Arc::new(factory))?
    };
    info!(listen = %listener.address(), upstream = %config.upstream.address, "ready for clients");
    let mut process = vec![(sockets::CLIENTS, listener.duplicate()?)];
    let admin = admin.map(|(task, socket)| {
        process.push((sockets::ADMIN, socket));
        task
    });
    let successor = Successor { sockets: process, file: listener.file(), handed_over };
    let open = listener.connections();
    let mut stop = drain.watch();
    let watchdog = tokio::spawn(notify::watchdog(workers.pulse()));
    let stalls = tokio::spawn(stall::watch(shared.clone()));
    let ends = signals::Ends { drain: drain.clone(), exit_after_idle };
    let signals = tokio::spawn(signals::listen(signals, ends, shared.clone(), reloader, successor));
    let stop = async move {
        stop.reached(Phase::Draining).await;
    };
    notify::ready();
    upgrade::taken_over();
    listener.serve(&workers, stop).await;
    info!(open = open.open(), "no longer accepting");
    workers.join().await;
    signals.abort();
    watchdog.abort();
    stalls.abort();
    info!("all sessions have ended");
    keeper.close().await;
    close_conflicts_file(&shared).await;
    drain.close();
    if let Some(admin) = admin {
        // Ends by itself within a second; a panic there must not spoil an orderly end.
        let _ = admin.await;
    }
    Ok(shared.admission.order.hazards())
}

/// The rooms that all sessions share. Needs no socket: `interlock explain` uses them without any client.
pub fn shared(config: &Config, drain: &Drain) -> Result<Shared, AppError> {
    let limits = metrics::Settings { max_tables: config.metrics.max_tables };
    let metrics = Metrics::with(&prometheus::Registry::new(), limits)?;
    let shared = Shared {
        live: ArcSwap::from_pointee(reload::live(config, None)?),
        admission: Admission::new(map::admission(config), metrics.clone()),
        knowledge: knowledge(config, &metrics)?,
        metrics,
        digests: Arc::default(),
        watch: drain.watch(),
    };
    name_places(&shared);
    Ok(shared)
}

/// Conflicts go to a file as well, if there is to be one.
fn open_conflicts_file(config: &Config, shared: &Shared) -> Result<(), AppError> {
    let Some(settings) = map::conflicts_file(config) else { return Ok(()) };
    let file = settings.path.display().to_string();
    let writer = Writer::open(settings, shared.metrics.clone())
        .map_err(|source| AppError::ConflictsFile { file, source })?;
    shared.admission.ledger.write_to(writer);
    Ok(())
}

async fn close_conflicts_file(shared: &Shared) {
    let Some(writer) = shared.admission.ledger.close_file() else { return };
    // It waits for the disk. A panic there must not spoil an orderly end.
    let _ = tokio::task::spawn_blocking(move || writer.finish()).await;
}

/// Records name indexes as the catalog does.
fn name_places(shared: &Shared) {
    let Some(knowledge) = &shared.knowledge else { return };
    let catalog = knowledge.catalog.clone();
    shared.admission.places.name_by(Box::new(move |index| {
        let table = catalog.find(index.table)?;
        Some(place::place(&table, index.index))
    }));
}

/// What interlock can ask the server.
fn knowledge(config: &Config, metrics: &Metrics) -> Result<Option<Knowledge>, AppError> {
    let Some(options) = map::control(config) else {
        warn!("no control.url: tables and indexes are not known, so no lock conflict can be foreseen");
        return Ok(None);
    };
    let control = Control::new(&options)?;
    let (loads, probes) = (metrics.clone(), metrics.clone());
    let loaded = move |end: LoadEnd, took: Duration| {
        loads.catalog_loads.inc(end.into());
        loads.catalog_seconds.observe(took.as_secs_f64());
    };
    let probed = move |end: ProbeEnd, took: Duration| {
        probes.probes.inc(end.into());
        probes.probe_seconds.observe(took.as_secs_f64());
    };
    let catalog = Catalog::new(Some(Arc::new(Loader::new(control.clone()))), map::catalog(config), loaded);
    let prober = Prober::new(Some(Arc::new(control.clone())), config.control.probe_timeout, probed);
    tokio::spawn(catalog.clone().run());
    let first = control.clone();
    tokio::spawn(async move {
        if let Err(error) = first.facts().await {
            warn!(%error, "the server's settings are not known yet");
        }
        // So that the first look at a gap finds a connection. If it fails, that look opens one.
        let _ = first.query(Lane::Probe, "DO 0".to_owned()).await;
    });
    let plans = metrics.clone();
    let explainer = Explainer::new(Some(control.clone()), map::PLAN_LIFETIME, move |end| {
        plans.explains.inc(end.into());
    });
    let scanner = Scanner::new(Some(control.clone()), config.control.probe_timeout);
    let procedures = Procedures::new(control.clone(), config.control.refresh);
    Ok(Some(Knowledge {
        control,
        catalog,
        prober,
        explainer,
        scanner,
        ends: Ends::new(),
        views: Views::default(),
        procedures,
        programs: Programs::default(),
    }))
}
