//! What the process does at a signal.
//!
//! | signal | what |
//! |---|---|
//! | SIGTERM, SIGINT | drain, then end; a second one ends at once |
//! | SIGHUP | read the configuration again |
//! | SIGUSR2 | start the program anew, hand the sockets over, drain |

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::reload::Reloader;
use super::{notify, upgrade};
use crate::frontend::listener::Keep;
use crate::session::serve::Shared;
use crate::shutdown::Drain;

/// What a process that takes over gets, and what changes here when it has.
pub(super) struct Successor {
    pub(super) sockets: Vec<(&'static str, OwnedFd)>,
    pub(super) file: Keep,
    pub(super) handed_over: Arc<Notify>,
}

/// How often an unset `reload.poll` is looked at: a reload may set it.
const NEVER: Duration = Duration::from_secs(3600);

/// What the process is told from outside. Each signal waits here until somebody listens.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    upgrade: Signal,
}

impl Signals {
    /// From now on no signal ends the process by itself. Fails if the system refuses a handler.
    pub(super) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

/// How the process ends.
pub(super) struct Ends {
    pub(super) drain: Drain,
    pub(super) exit_after_idle: Option<Duration>,
}

/// Follows the signals until the process has ended.
pub(super) async fn listen(
    mut signals: Signals,
    ends: Ends,
    shared: Arc<Shared>,
    reloader: Arc<Reloader>,
    successor: Successor,
) {
    let Ends { drain, exit_after_idle } = ends;
    tokio::select! {
        () = run(&mut signals, &reloader, &successor) => {}
        () = idle(&shared, exit_after_idle) => {}
    }
    // So that nobody takes a socket that is about to be closed for one that is served.
    drop(successor);
    let grace = reloader.config().shutdown.grace;
    info!(?grace, "shutting down: open transactions may end");
    drain.drain();
    // Whoever is held has a transaction that can end only when it goes on.
    shared.admission.release_all();
    tokio::select! {
        () = tokio::time::sleep(grace) => {}
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    warn!(sessions = drain.waiting(), "grace period over or second signal: closing what is left");
    drain.close();
    std::future::pending::<()>().await;
}

/// Until nobody has been connected for so long, once somebody was. Without a duration: for ever.
async fn idle(shared: &Shared, after: Option<Duration>) {
    let Some(after) = after else { return std::future::pending().await };
    let mut seen = (0, Instant::now());
    loop {
        tokio::time::sleep((after / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))).await;
        // Connections are counted when they end, so a short one between two looks is not missed.
        let ended = shared.metrics.connections.total();
        if shared.admission.registry.sessions() > 0 || ended != seen.0 {
            seen = (ended, Instant::now());
        } else if ended > 0 && seen.1.elapsed() >= after {
            info!(?after, "nobody has been connected for so long");
            return;
        }
    }
}

/// Until the process is to end.
async fn run(signals: &mut Signals, reloader: &Arc<Reloader>, successor: &Successor) {
    let mut seen = reloader.fingerprint();
    loop {
        let poll = Some(reloader.poll()).filter(|poll| !poll.is_zero());
        tokio::select! {
            _ = signals.terminate.recv() => return notify::stopping(),
            _ = signals.interrupt.recv() => return notify::stopping(),
            _ = signals.reload.recv() => {
                reload(reloader).await;
                seen = reloader.fingerprint();
            }
            _ = signals.upgrade.recv() => {
                let upgraded = tokio::select! {
                    upgraded = take_over(successor) => upgraded,
                    _ = signals.terminate.recv() => return notify::stopping(),
                };
                if upgraded {
                    return;
                }
            }
            () = tokio::time::sleep(poll.unwrap_or(NEVER)), if poll.is_some() => {
                let now = reloader.fingerprint();
                // Once for each content, faulty or not.
                if std::mem::replace(&mut seen, now) != now {
                    info!("a file of the configuration has changed");
                    reload(reloader).await;
                }
            }
        }
    }
}

async fn reload(reloader: &Arc<Reloader>) {
    notify::reloading();
    let reloader = reloader.clone();
    // It has said itself what came of it.
    let _ = spawn_blocking(move || reloader.reload()).await;
    notify::ready();
}

/// True if another process has taken over.
async fn take_over(successor: &Successor) -> bool {
    let copies = successor.sockets.iter().map(|(name, socket)| Ok((*name, socket.try_clone()?)));
    let outcome = match copies.collect::<io::Result<Vec<_>>>() {
        Ok(copies) => spawn_blocking(move || upgrade::hand_over(copies)).await,
        Err(error) => {
            error!(%error, "no descriptor is left to hand the sockets over");
            return false;
        }
    };
    match outcome {
        Ok(Ok(pid)) => {
            info!(pid, "another process serves now");
            successor.file.keep();
            successor.handed_over.notify_one();
            notify::main_process(pid);
            true
        }
        Ok(Err(error)) => {
            error!(%error, "nobody has taken over, this process goes on");
            false
        }
        Err(panicked) => {
            error!(%panicked, "nobody has taken over, this process goes on");
            false
        }
    }
}
