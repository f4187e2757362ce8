//! Composition root: builds every room from the configuration, starts them, and ends them in order.
//!
//! The end, in phases: stop accepting, let idle sessions go and open transactions end (`shutdown.grace`),
//! close the rest with error 1053.

mod admin;
mod map;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::admission::{Admission, Settings as AdmissionSettings};
use crate::backend::catalog_loader::Loader;
use crate::backend::catalog_store::{Catalog, LoadEnd};
use crate::backend::control::{Control, ControlError, Lane};
use crate::backend::probe::{ProbeEnd, Prober};
use crate::backend::tls::TlsError;
use crate::config::Config;
use crate::frontend::listener::{BindError, Listener};
use crate::frontend::tls::Tls;
use crate::frontend::worker::{Handler, Workers};
use crate::metrics::{Metrics, MetricsError};
use crate::scheduler::policy::Limits;
use crate::session::analyze::Plans;
use crate::session::login;
use crate::session::serve::{Knowledge, Shared, serve};
use crate::shutdown::{Drain, Phase};

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The clients' address.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Certificates of the clients' side.
    #[error("frontend.tls: {0}")]
    FrontendTls(TlsError),
    /// Certificates of the server's side, or the login's own key.
    #[error("upstream.tls: {0}")]
    Login(#[from] login::SettingsError),
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
    /// Threads or signals.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

/// Builds every room from the configuration, runs until a signal, and drains.
pub async fn run(config: Config) -> Result<(), AppError> {
    let (frontend, backend) = (map::frontend(&config), map::backend(&config));
    let listener = Listener::bind(&frontend).await?;
    let tls = Arc::new(Tls::new(&frontend.tls).map_err(AppError::FrontendTls)?);
    let login = login::Settings::new(backend.clone(), frontend.handshake_timeout, frontend.tls.required)?;
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let drain = Drain::new();
    let admission = Admission::new(admission_settings(&config), metrics.clone());
    let shared = Arc::new(Shared {
        login,
        admission,
        knowledge: knowledge(&config, &metrics)?,
        settings: map::session(&config),
        metrics,
        digests: Arc::default(),
        watch: drain.watch(),
    });
    let admin = admin::start(&config, &backend, &shared, &drain).await?;
    let workers = {
        let (shared, tls) = (shared.clone(), tls.clone());
        let factory = move |_worker| {
            let (shared, tls) = (shared.clone(), tls.clone());
            let plans = Rc::new(Plans::new(shared.settings.max_plans, shared.digests.clone()));
            let handler: Handler = Rc::new(move |stream, peer| {
                serve(shared.clone(), stream, peer, tls.current(), plans.clone())
            });
            handler
        };
        Workers::start(&frontend, Arc::new(factory))?
    };
    info!(listen = %listener.address(), upstream = %config.upstream.address, "ready for clients");
    let open = listener.connections();
    let mut stop = drain.watch();
    let signals = tokio::spawn(signals(drain.clone(), tls, shared.clone(), config.shutdown.grace)?);
    let stop = async move {
        stop.reached(Phase::Draining).await;
    };
    listener.serve(&workers, stop).await;
    info!(open = open.open(), "no longer accepting");
    workers.join().await;
    signals.abort();
    info!("all sessions have ended");
    drain.close();
    if let Some(admin) = admin {
        // Ends by itself within a second; a panic there must not spoil an orderly end.
        let _ = admin.await;
    }
    Ok(())
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
    Ok(Some(Knowledge { control, catalog, prober }))
}

fn admission_settings(config: &Config) -> AdmissionSettings {
    AdmissionSettings {
        hold_timeout: config.reorder.hold_timeout,
        limits: Limits { max_held: config.reorder.max_held, max_queue: config.reorder.max_queue },
        fence_lifetime: config.control.fence_lifetime,
        keep: config.conflicts.keep,
        redact: config.redact,
    }
}

/// The task that listens to signals.
fn signals(
    drain: Drain,
    tls: Arc<Tls>,
    shared: Arc<Shared>,
    grace: Duration,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = reload.recv() => reload_certificates(&tls, &shared),
            }
        }
        info!(?grace, "shutting down: open transactions may end");
        drain.drain();
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        warn!(sessions = drain.waiting(), "grace period over or second signal: closing what is left");
        drain.close();
        std::future::pending::<()>().await;
    })
}

/// Each leg by itself: a broken file of one must not keep the other's certificates from being renewed.
fn reload_certificates(tls: &Tls, shared: &Shared) {
    for (leg, outcome) in [("frontend", tls.reload()), ("upstream", shared.login.connector.reload())] {
        match outcome {
            Ok(()) => info!(leg, "certificates read again"),
            Err(error) => warn!(leg, %error, "certificates not replaced"),
        }
    }
}
