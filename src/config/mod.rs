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

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use address::{Address, Network};
pub use fault::{Fault, Faults, Origin};
pub use load::{Change, Loaded, Overrides, load, load_layers};
pub use secret::{ControlUrl, Secret};

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

/// The clients' side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendConfig {
    /// Where clients connect.
    pub listen: Address,
    /// Clients at one time; the next one gets error 1040.
    pub max_connections: usize,
    /// From accept to the end of the login.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Bytes of a command up to which its text is analysed; longer ones are relayed and counted.
    pub max_statement_bytes: usize,
    /// Runtime threads; 0 is one per core.
    pub workers: usize,
    /// TCP keep-alive on both legs: silence before the first probe.
    #[serde(with = "humantime_serde")]
    pub keepalive_idle: Duration,
    /// Time between two keep-alive probes.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// Probes without an answer after which the connection counts as dead.
    pub keepalive_count: u32,
    /// TLS towards clients.
    pub tls: FrontendTlsConfig,
    /// PROXY protocol from load balancers.
    pub proxy_protocol: ProxyProtocolConfig,
}

/// TLS towards clients; offered if `cert` and `key` are set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendTlsConfig {
    /// Certificate chain, PEM.
    #[serde(with = "unset")]
    pub cert: Option<PathBuf>,
    /// Private key, PEM.
    #[serde(with = "unset")]
    pub key: Option<PathBuf>,
    /// Authorities of client certificates, PEM; set, a client must show a certificate.
    #[serde(with = "unset")]
    pub client_ca: Option<PathBuf>,
    /// Refuse clients without TLS.
    pub required: bool,
}

/// PROXY protocol from load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Networks whose connections begin with a PROXY header, version 1 or 2.
    pub accept_from: Vec<Network>,
}

/// The server's side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The server.
    pub address: Address,
    /// From connect to the server's greeting.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// PROXY header sent to the server.
    pub proxy_protocol: ProxyVersion,
    /// TLS towards the server.
    pub tls: UpstreamTlsConfig,
}

/// Version of the PROXY header that the server gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// No header.
    #[default]
    None,
    /// Text header.
    V1,
    /// Binary header.
    V2,
}

/// TLS towards the server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsConfig {
    /// When TLS is used and what is verified.
    pub mode: TlsMode,
    /// Authorities of the server's certificate, PEM.
    #[serde(with = "unset")]
    pub ca: Option<PathBuf>,
    /// interlock's own certificate for the server, PEM.
    #[serde(with = "unset")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(with = "unset")]
    pub key: Option<PathBuf>,
    /// Name that the server's certificate must carry; unset, the host of `upstream.address`.
    #[serde(with = "unset")]
    pub server_name: Option<String>,
    /// Let a client without TLS log in over a secure server leg: interlock then sees its password.
    pub allow_plain_client: bool,
}

/// When TLS is used towards the server, as `--ssl-mode` of the server's own clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Never. The default: clients connect without TLS by default too, and a full login of
    /// `caching_sha2_password` fails if only the server leg is secure.
    #[default]
    Disabled,
    /// If the server offers it; nothing is verified.
    Preferred,
    /// Always; nothing is verified.
    Required,
    /// Always; the certificate must come from `ca`.
    VerifyCa,
    /// Always; the certificate must come from `ca` and carry `server_name`.
    VerifyIdentity,
}

/// The admin address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Metrics, health and the JSON API over HTTP; `None` opens no port.
    #[serde(with = "unset")]
    pub listen: Option<Address>,
    /// What a request must show to change something; `None`: nothing can be changed over HTTP.
    #[serde(with = "unset")]
    pub token: Option<Secret>,
    /// Names under which browsers may reach the page and the API, besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// The console: a MySQL port of interlock's own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where MySQL clients reach it; `None` opens no port.
    #[serde(with = "unset")]
    pub listen: Option<Address>,
    /// `name:hash`, the hash as MySQL's `mysql_native_password` writes it.
    pub users: Vec<Secret>,
}

/// Control connections: how interlock itself asks the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Account and address of the control connections; `None`: there are none.
    #[serde(with = "unset")]
    pub url: Option<ControlUrl>,
    /// Most connections for each of the two uses, catalog and probes.
    pub pool_size: usize,
    /// How often known tables are loaded again.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
    /// A table definition that is younger than this is used without asking again.
    #[serde(with = "humantime_serde")]
    pub fresh: Duration,
    /// How long the first statement on an unknown table waits for its definition.
    #[serde(with = "humantime_serde")]
    pub first_use_timeout: Duration,
    /// How long a statement waits for a neighbour probe.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// Of each second, how long statements may be kept back in all to look things up before they are passed on.
    #[serde(with = "humantime_serde")]
    pub look_time: Duration,
    /// How long the answer of a probe is trusted as the border of a gap.
    #[serde(with = "humantime_serde")]
    pub fence_lifetime: Duration,
}

/// What is done about a predicted conflict.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// The strongest thing that interlock does.
    pub action: Action,
}

/// The strongest thing that interlock does about a predicted conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Report it and forward the statement.
    #[default]
    Flag,
    /// Hold the statement until the other transaction has ended.
    Reorder,
    /// Roll the transaction back and answer error 1213.
    Reject,
}

/// Who else reorders statements before the same server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordination {
    /// Nobody: all clients come through this process.
    #[default]
    Local,
    /// Other interlocks: they keep out of each other's gaps by named locks on the server.
    Server,
}

/// Limits of `action = "reorder"`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReorderConfig {
    /// Longest time that a statement is held; then it is forwarded.
    #[serde(with = "humantime_serde")]
    pub hold_timeout: Duration,
    /// Statements held for one resource; the next one is forwarded.
    pub max_queue: usize,
    /// Statements held at one time; the next one is forwarded.
    pub max_held: usize,
    /// Run a deadlock victim's transaction again instead of passing error 1213 on.
    pub retry: bool,
    /// Bytes of statements and answers up to which a transaction can be run again.
    pub retry_max_bytes: usize,
}

/// What survives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Directory of the file of signatures; `None`: they end with the process.
    #[serde(with = "unset")]
    pub dir: Option<PathBuf>,
    /// A signature that was of no use for so long is dropped.
    #[serde(with = "humantime_serde")]
    pub signature_lifetime: Duration,
}

/// Conflict records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConflictsConfig {
    /// Records kept in memory; the oldest goes first.
    pub keep: usize,
    /// Where every conflict is written as a line of JSON; `None`: nowhere.
    #[serde(with = "unset")]
    pub file: Option<PathBuf>,
    /// Bytes after which a new file is begun.
    pub file_max_bytes: u64,
    /// Old files that are kept.
    pub file_keep: usize,
}

/// Metrics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Tables with series of their own; further ones are counted together as `other`.
    pub max_tables: usize,
}

/// Logs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level, or levels per module: `info,interlock::scheduler=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text; coloured if standard error is a terminal.
    #[default]
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object per line.
    Json,
}

/// The end of the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long open transactions may go on after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

/// Changes while the process runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadConfig {
    /// How often the files are looked at for a change; zero: only when asked to.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
}

/// Limits of memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Prepared statements of one session that are analysed; further ones are relayed and counted.
    pub prepared_statements: usize,
    /// Statement plans in the digest cache.
    pub plans: usize,
    /// Statements of one transaction that a report can show; the oldest go first.
    pub history: usize,
    /// Savepoints of one transaction that are followed; with more, the oldest is forgotten.
    pub savepoints: usize,
    /// Locks of one transaction in the lock table; with more it becomes uncertain.
    pub locks_per_transaction: usize,
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

impl Default for FrontendConfig {
    fn default() -> Self {
        FrontendConfig {
            listen: Address::tcp("127.0.0.1", 6033),
            max_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            max_statement_bytes: 1024 * 1024,
            workers: 0,
            keepalive_idle: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 6,
            tls: FrontendTlsConfig::default(),
            proxy_protocol: ProxyProtocolConfig::default(),
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            address: Address::tcp("127.0.0.1", 3306),
            connect_timeout: Duration::from_secs(5),
            proxy_protocol: ProxyVersion::None,
            tls: UpstreamTlsConfig::default(),
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: Some(Address::tcp("127.0.0.1", 6034)), token: None, hosts: Vec::new() }
    }
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        ConsoleConfig { listen: Some(Address::tcp("127.0.0.1", 6035)), users: Vec::new() }
    }
}

impl Default for ControlConfig {
    fn default() -> Self {
        ControlConfig {
            url: None,
            pool_size: 2,
            refresh: Duration::from_secs(60),
            fresh: Duration::from_secs(1),
            first_use_timeout: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(100),
            look_time: Duration::from_millis(100),
            fence_lifetime: Duration::from_secs(10),
        }
    }
}

impl Default for ReorderConfig {
    fn default() -> Self {
        ReorderConfig {
            hold_timeout: Duration::from_secs(2),
            max_queue: 200,
            max_held: 1000,
            retry: false,
            retry_max_bytes: 1024 * 1024,
        }
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        StateConfig { dir: None, signature_lifetime: Duration::from_secs(30 * 86_400) }
    }
}

impl Default for ConflictsConfig {
    fn default() -> Self {
        ConflictsConfig { keep: 1000, file: None, file_max_bytes: 64 << 20, file_keep: 4 }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { max_tables: 100 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        ShutdownConfig { grace: Duration::from_secs(30) }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            prepared_statements: 16_382,
            plans: 10_000,
            history: 200,
            savepoints: 64,
            locks_per_transaction: 10_000,
        }
    }
}

/// `""` in the file is `None` here.
mod unset {
    use serde::de::value::StringDeserializer;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(out),
            None => out.serialize_str(""),
        }
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(input)?;
        if text.is_empty() {
            return Ok(None);
        }
        T::deserialize(StringDeserializer::new(text)).map(Some)
    }
}

#[cfg(test)]
mod tests;
