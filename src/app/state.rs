//! What survives a restart: signatures are read at the start, and written while the process runs and when
//! it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::clock::Calendar;
use crate::admission::state::{StateError, StateFile};
use crate::config::Config;
use crate::session::serve::Shared;

/// How often changes are written, and the file is looked at for those of others.
const PERIOD: Duration = Duration::from_secs(2);

/// Keeps the signatures and their file alike.
pub(super) struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

// === impl Keeper ===

impl Keeper {
    /// Reads the file, if there is to be one, and begins to keep it.
    pub(super) fn open(config: &Config, shared: &Arc<Shared>) -> Result<Keeper, StateError> {
        let signatures = shared.admission.scheduler().signatures();
        let mut file = match &config.state.dir {
            Some(dir) => {
                let file = StateFile::open(dir, signatures)?;
                info!(dir = %dir.display(), signatures = signatures.len(), "signatures read");
                Some(file)
            }
            None => None,
        };
        let (stop, mut stopped) = oneshot::channel();
        let (lifetime, shared) = (config.state.signature_lifetime.as_secs(), shared.clone());
        let task = tokio::spawn(async move {
            let (mut failing, mut calendar) = (false, Calendar::new());
            loop {
                let last = tokio::time::timeout(PERIOD, &mut stopped).await.is_ok();
                let signatures = shared.admission.scheduler().signatures();
                if let Some(now) = calendar.date() {
                    let expired = signatures.expire(now.saturating_sub(lifetime));
                    if expired > 0 {
                        info!(expired, "signatures that were of no use any more dropped");
                    }
                }
                file = match file.take() {
                    Some(file) => sync(file, shared.clone(), &mut failing).await,
                    None => None,
                };
                if last {
                    return;
                }
            }
        });
        Ok(Keeper { stop, task })
    }

    /// Writes what there is to write, and ends.
    pub(super) async fn close(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Off the threads that serve sessions: the file is synced to the disk.
async fn sync(mut file: StateFile, shared: Arc<Shared>, failing: &mut bool) -> Option<StateFile> {
    let synced = tokio::task::spawn_blocking(move || {
        let outcome = file.sync(shared.admission.scheduler().signatures());
        (file, outcome)
    });
    let (file, outcome) = synced.await.ok()?;
    // One line for each outage of the disk; the next round tries again.
    match outcome {
        Ok(()) => *failing = false,
        Err(error) if !*failing => {
            *failing = true;
            warn!(%error, "signatures not written");
        }
        Err(_) => {}
    }
    Some(file)
}
