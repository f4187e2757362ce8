//! The configuration, read again while the process runs.
//!
//! A reload builds everything that the new configuration asks for before it replaces anything. If a key is
//! faulty, or a certificate cannot be read, nothing changes. What a running process cannot change is told:
//! in the log, in the answer, and in `interlock_config_pending_keys`.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use super::map;
use crate::config::{self, Action, Change, Config, Faults, Loaded, Overrides, keys};
use crate::frontend::{self, Connections};
use crate::metrics::labels::Reloaded;
use crate::session::login;
use crate::session::serve::{Live, Shared};
use crate::shutdown::Phase;

/// Sets the level of the process's log (`log.level`). The text has been checked.
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Where the configuration comes from.
pub struct Source {
    /// The file, and the flags of the command line.
    pub overrides: Overrides,
    /// The environment of the process.
    pub environment: Vec<(String, String)>,
}

/// Reads the configuration again. One for the process.
pub struct Reloader {
    source: Source,
    set_level: SetLevel,
    shared: Arc<Shared>,
    connections: Connections,
    /// What is in force. Locked during a reload, so that two at one time come one after the other.
    in_force: Mutex<InForce>,
    /// Those who take settings from the configuration by themselves.
    listeners: Mutex<Vec<Listener>>,
}

/// Is told of each configuration that has come into force.
type Listener = Box<dyn Fn(&Config) + Send + Sync>;

struct InForce {
    loaded: Loaded,
    /// An operator's `SET action`, with what the configuration said at that time.
    set_action: Option<SetAction>,
}

/// What an operator has set stays until the configuration says something else than it did then.
#[derive(Clone, Copy)]
struct SetAction {
    configured: Action,
    set: Action,
}

/// What a reload did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// In force now.
    pub changed: Vec<Change>,
    /// In the file, but in force only after a restart.
    pub pending: Vec<Change>,
    /// The action that an operator has set, and that the configuration has not changed since.
    pub kept: Option<Action>,
}

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is faulty; all faults.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// Certificates of the clients' side.
    #[error("frontend.tls: {0}")]
    FrontendTls(crate::backend::tls::TlsError),
    /// Certificates of the server's side.
    #[error("upstream.tls: {0}")]
    UpstreamTls(login::SettingsError),
    /// The process is about to end.
    #[error("shutting down")]
    ShuttingDown,
    /// The log.
    #[error("log.level: {0}")]
    Level(String),
}

impl Source {
    /// Reads it.
    pub fn load(&self) -> Result<Loaded, Faults> {
        config::load_layers(&self.overrides, self.environment.iter().cloned())
    }
}

impl Reloader {
    /// Reloads from `source`; `in_force` is what the process was started with.
    pub(super) fn new(
        source: Source,
        set_level: SetLevel,
        shared: Arc<Shared>,
        connections: Connections,
        in_force: Loaded,
    ) -> Reloader {
        let in_force = Mutex::new(InForce { loaded: in_force, set_action: None });
        Reloader { source, set_level, shared, connections, in_force, listeners: Mutex::default() }
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.in_force.lock().loaded.config.clone()
    }

    /// Calls `listener` with the configuration now, and with each one that comes into force.
    pub(super) fn listen(&self, listener: impl Fn(&Config) + Send + Sync + 'static) {
        listener(&self.config());
        self.listeners.lock().push(Box::new(listener));
    }

    /// Sets the action, until a reload finds that the configuration has another one than it had now.
    pub fn set_action(&self, action: Action) -> Result<(), ReloadError> {
        let mut in_force = self.in_force.lock();
        let mut config = in_force.loaded.config.clone();
        let configured = in_force.set_action.map_or(config.policy.action, |known| known.configured);
        config.policy.action = action;
        let live = live(&config, self.shared.live.load().login.own_key.clone())?;
        self.shared.live.store(Arc::new(live));
        in_force.loaded.config = config;
        in_force.set_action = Some(SetAction { configured, set: action });
        Ok(())
    }

    /// Reads the configuration and the files that it names, and puts all of it in force, or nothing. Reads
    /// files: not for a thread that serves sessions.
    pub fn reload(&self) -> Result<Applied, ReloadError> {
        let metrics = &self.shared.metrics;
        let outcome = self.replace();
        match &outcome {
            Ok(applied) => {
                let none = applied.changed.is_empty() && applied.pending.is_empty();
                metrics.config_reloads.inc(if none { Reloaded::Unchanged } else { Reloaded::Applied });
                metrics.config_pending.set(applied.pending.len() as i64);
                for Change { key, from, to } in &applied.changed {
                    info!(key, from, to, "configuration changed");
                }
                for Change { key, from, to } in &applied.pending {
                    warn!(key, from, to, "this change needs a restart");
                }
                if let Some(action) = applied.kept {
                    warn!(?action, "an operator has set the action; the configuration says another one");
                }
                info!(
                    changed = applied.changed.len(),
                    pending = applied.pending.len(),
                    "configuration read again"
                );
            }
            Err(error) => {
                metrics.config_reloads.inc(Reloaded::Refused);
                warn!(%error, "configuration refused, the old one stays");
            }
        }
        outcome
    }

    fn replace(&self) -> Result<Applied, ReloadError> {
        let mut in_force = self.in_force.lock();
        let newest = self.source.load()?;
        let mut next = in_force.loaded.with(&newest, keys::is_live)?;
        let configured = next.config.policy.action;
        let kept =
            in_force.set_action.filter(|known| known.configured == configured && known.set != configured);
        // What differs from the file without a restart being able to change it is no pending change.
        let pending = next.changes(&newest);
        if let Some(known) = kept {
            next.config.policy.action = known.set;
        }
        let live = live(&next.config, self.shared.live.load().login.own_key.clone())?;
        let changed = in_force.loaded.changes(&next);
        // Nothing above has changed anything; nothing below but the first step can fail.
        if self.shared.watch.phase() != Phase::Running {
            return Err(ReloadError::ShuttingDown);
        }
        if next.config.log.level != in_force.loaded.config.log.level {
            (self.set_level)(&next.config.log.level).map_err(ReloadError::Level)?;
        }
        self.shared.live.store(Arc::new(live));
        self.shared.admission.configure(map::admission(&next.config));
        self.connections.limit(next.config.frontend.max_connections);
        self.listeners.lock().iter().for_each(|listener| listener(&next.config));
        *in_force = InForce { loaded: next, set_action: kept };
        Ok(Applied { changed, pending, kept: kept.map(|known| known.set) })
    }

    /// How often the files are to be looked at; zero: never.
    pub(super) fn poll(&self) -> Duration {
        self.in_force.lock().loaded.config.reload.poll
    }

    /// A number that changes with the content of the file and of the files that it names.
    pub(super) fn fingerprint(&self) -> u64 {
        let files = {
            let in_force = self.in_force.lock();
            let config = &in_force.loaded.config;
            let (clients, server) = (&config.frontend.tls, &config.upstream.tls);
            [
                &self.source.overrides.file,
                &clients.cert,
                &clients.key,
                &clients.client_ca,
                &server.ca,
                &server.cert,
                &server.key,
            ]
            .map(Option::clone)
        };
        fingerprint(files.iter().flatten())
    }
}

/// Content, not times: a Kubernetes ConfigMap changes by a link, and a copy may keep its time.
fn fingerprint<'a>(files: impl Iterator<Item = &'a PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

/// The snapshot for a configuration; reads the files that it names.
pub(super) fn live(
    config: &Config,
    own_key: Option<Arc<crate::session::login::OwnKey>>,
) -> Result<Live, ReloadError> {
    let (clients, server) = (map::frontend(config), map::backend(config));
    let tls = frontend::tls::server_config(&clients.tls).map_err(ReloadError::FrontendTls)?;
    let login = login::Settings::new(server, clients.handshake_timeout, clients.tls.required, own_key)
        .map_err(ReloadError::UpstreamTls)?;
    Ok(Live { login, tls, settings: map::session(config) })
}
