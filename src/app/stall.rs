//! Asks the server, while somebody is held for long, whether the holder waits there for something unseen.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

use crate::backend::control::ControlError;
use crate::backend::lock_waits;
use crate::session::serve::Shared;

/// How often it is asked, at most.
const EVERY: Duration = Duration::from_millis(100);

/// How long it is not asked where it has refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub(super) async fn watch(shared: Arc<Shared>) {
    let Some(knowledge) = &shared.knowledge else { return };
    let (mut ticks, mut told) = (tokio::time::interval(EVERY), false);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let behind = shared.admission.held_behind();
        if behind.is_empty() {
            continue;
        }
        match lock_waits::ask(&knowledge.control, &behind).await {
            Ok(waits) => shared.admission.wait_at_server(&waits),
            // ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
            Err(ControlError::Server(1142 | 1227, text)) => {
                if !std::mem::replace(&mut told, true) {
                    info!(
                        "the control account may not see who waits at the server, a hold whose holder waits for it unseen ends at its deadline: {text}"
                    );
                }
                tokio::time::sleep(REFUSED).await;
            }
            Err(error) => debug!(%error, "the server does not say who waits there"),
        }
    }
}
