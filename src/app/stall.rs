//! Asks the server, while somebody is held for long, whether the holder waits there for something unseen.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::backend::control::ControlError;
use crate::backend::lock_waits;
use crate::session::serve::Shared;

/// How often it is asked, at most.
const EVERY: Duration = Duration::from_millis(100);

/// How often where the answers lead to nothing: the server keeps all who lock waiting while it collects one, and where a
/// herd waits for a few rows somebody is always held for long.
const IN_VAIN: Duration = Duration::from_millis(1600);

/// How long it is not asked where it has refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub(super) async fn watch(shared: Arc<Shared>) {
    let Some(knowledge) = &shared.knowledge else { return };
    let (mut pause, mut told) = (EVERY, false);
    loop {
        tokio::time::sleep(pause).await;
        let behind = shared.admission.held_behind();
        pause = match behind.is_empty() {
            true => EVERY,
            false => (pause * 2).min(IN_VAIN),
        };
        if behind.is_empty() {
            continue;
        }
        match lock_waits::ask(&knowledge.control, &behind).await {
            Ok(waits) if shared.admission.free_stalled(&waits) => pause = EVERY,
            Ok(_) => {}
            // ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
            Err(ControlError::Server(1142 | 1227, text)) => {
                if !std::mem::replace(&mut told, true) {
                    info!(
                        "the control account may not see who waits at the server, so a hold whose holder waits for it \
                         unseen ends at its deadline: {text}"
                    );
                }
                pause = REFUSED;
            }
            Err(error) => debug!(%error, "the server does not say who waits there"),
        }
    }
}
