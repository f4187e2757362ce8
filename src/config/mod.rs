//! Configuration: every key, its type and its default.
//!
//! Order of precedence: the defaults below, the file, the environment (`INTERLOCK__SECTION__KEY`), flags.
//! [`load()`] reads the layers and reports all faults at once; [`keys`] holds what each key allows;
//! [`validate`] holds what keys demand of each other. `config/interlock.toml` shows every key with its
//! default; a test keeps the two equal.
//!
//! A key that may be unset has the default `""`, so that the file can show it: TOML has no null.

pub mod address;
pub mod fault;
pub mod keys;
pub mod load;
pub mod rules;
pub mod secret;
pub mod validate;
mod control;
mod frontend;
mod look;
mod policy;
mod process;
mod remember;
mod unset;
mod upstream;

use serde::{Deserialize, Serialize};

pub use address::{Address, Network};
pub use control::ControlConfig;
pub use fault::{Fault, Faults, Origin};
pub use frontend::{FrontendConfig, FrontendTlsConfig, ProxyProtocolConfig};
pub use load::{Change, Loaded, Overrides, load, load_layers};
pub use look::{AdminConfig, ConsoleConfig};
pub use policy::{Action, Coordination, PolicyConfig, ReorderConfig};
pub use process::{LimitsConfig, ReloadConfig, ShutdownConfig};
pub use remember::{ConflictsConfig, LogConfig, LogFormat, MetricsConfig, StateConfig};
pub use secret::{ControlUrl, Secret};
pub use upstream::{ProxyVersion, TlsMode, UpstreamConfig, UpstreamTlsConfig};

/// The whole configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Literals of statements are replaced by `?` in logs, records, metrics and pages.
    pub redact: bool,
    /// Who else reorders statements before the same server.
    pub coordination: Coordination,
    /// Another action for some statements; the first rule that matches decides.
    pub rules: Vec<rules::RuleConfig>,
    /// The clients' side.
    pub frontend: FrontendConfig,
    /// The server's side.
    pub upstream: UpstreamConfig,
    /// The admin address.
    pub admin: AdminConfig,
    /// The console on a MySQL port.
    pub console: ConsoleConfig,
    /// Control connections: how interlock itself asks the server.
    pub control: ControlConfig,
    /// What is done about a predicted conflict.
    pub policy: PolicyConfig,
    /// Limits of `action = "reorder"`.
    pub reorder: ReorderConfig,
    /// What survives a restart.
    pub state: StateConfig,
    /// Conflict records.
    pub conflicts: ConflictsConfig,
    /// Metrics.
    pub metrics: MetricsConfig,
    /// Logs.
    pub log: LogConfig,
    /// The end of the process.
    pub shutdown: ShutdownConfig,
    /// Changes while the process runs.
    pub reload: ReloadConfig,
    /// Limits of memory.
    pub limits: LimitsConfig,
}

// === impl Config ===

impl Config {
    /// Every key with its value in TOML, secrets masked.
    pub fn shown(&self) -> std::collections::BTreeMap<String, String> {
        load::shown(self)
    }

    /// The effective configuration as TOML, passwords masked.
    pub fn effective(&self) -> String {
        // Serialising cannot fail: every key is a string and every value one of TOML's types.
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            redact: true,
            coordination: Coordination::default(),
            rules: Vec::new(),
            frontend: FrontendConfig::default(),
            upstream: UpstreamConfig::default(),
            admin: AdminConfig::default(),
            console: ConsoleConfig::default(),
            control: ControlConfig::default(),
            policy: PolicyConfig::default(),
            reorder: ReorderConfig::default(),
            state: StateConfig::default(),
            conflicts: ConflictsConfig::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
            shutdown: ShutdownConfig::default(),
            reload: ReloadConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests;
