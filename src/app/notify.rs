//! What the service manager is told (`sd_notify`), where there is one.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{debug, info};

use crate::frontend::worker::Pulse;

/// Clients can connect.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock"),
    }
}

/// The process drains.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Another process is the service from now on.
pub(super) fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager takes no message");
    }
}

/// Tells the watchdog that the process lives, for as long as every worker thread answers.
pub(super) async fn watchdog(pulse: Pulse) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    info!(?limit, "watched by the service manager");
    let half = limit / 2;
    let mut ticks = tokio::time::interval(half);
    loop {
        ticks.tick().await;
        // Silence is the message: the service manager restarts a process whose threads hang.
        if tokio::time::timeout(half.max(Duration::from_millis(1)), pulse.beat()).await == Ok(true) {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
