//! From the configuration's sections to the rooms' own settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::admission;
use crate::backend::catalog_store::CatalogOptions;
use crate::backend::control::{ControlOptions, ControlTls, ControlTlsMode};
use crate::backend::endpoint::Endpoint;
use crate::backend::stream::Keepalive;
use crate::config::rules::{RuleAction, RuleConfig};
use crate::config::{Action, Address, Config, Coordination, ProxyVersion, TlsMode};
use crate::scheduler::policy::{self, Limits};
use crate::session::rules::{Glob, Rule, Rules};
use crate::session::serve::Settings;
use crate::sql::tag::Tag;
use crate::{backend, frontend};

/// Longest time for loading a table's definition.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server's plan of a statement is believed: it depends on statistics.
pub(super) const PLAN_LIFETIME: Duration = Duration::from_secs(300);

/// The clients' side.
pub(super) fn frontend(config: &Config) -> frontend::Config {
    let section = &config.frontend;
    frontend::Config {
        listen: endpoint(&section.listen),
        max_connections: section.max_connections,
        handshake_timeout: section.handshake_timeout,
        workers: section.workers,
        tls: frontend::config::TlsConfig {
            cert: section.tls.cert.clone(),
            key: section.tls.key.clone(),
            client_ca: section.tls.client_ca.clone(),
            required: section.tls.required,
        },
        proxy_protocol: frontend::config::ProxyProtocolConfig {
            accept_from: section
                .proxy_protocol
                .accept_from
                .iter()
                .filter_map(|network| ipnet::IpNet::new(network.address, network.prefix).ok())
                .collect(),
        },
        keepalive: keepalive(config),
    }
}

/// The server's side.
pub(super) fn backend(config: &Config) -> backend::Config {
    let section = &config.upstream;
    backend::Config {
        address: endpoint(&section.address),
        connect_timeout: section.connect_timeout,
        tls: backend::config::TlsConfig {
            mode: match section.tls.mode {
                TlsMode::Disabled => backend::config::TlsMode::Disabled,
                TlsMode::Preferred => backend::config::TlsMode::Preferred,
                TlsMode::Required => backend::config::TlsMode::Required,
                TlsMode::VerifyCa => backend::config::TlsMode::VerifyCa,
                TlsMode::VerifyIdentity => backend::config::TlsMode::VerifyIdentity,
            },
            ca: section.tls.ca.clone(),
            cert: section.tls.cert.clone(),
            key: section.tls.key.clone(),
            server_name: section.tls.server_name.clone(),
            allow_plain_client: section.tls.allow_plain_client,
        },
        proxy_protocol: match section.proxy_protocol {
            ProxyVersion::None => backend::config::ProxyProtocol::None,
            ProxyVersion::V1 => backend::config::ProxyProtocol::V1,
            ProxyVersion::V2 => backend::config::ProxyProtocol::V2,
        },
        keepalive: keepalive(config),
    }
}

/// The control connections; `None` without an account.
pub(super) fn control(config: &Config) -> Option<ControlOptions> {
    let url = config.control.url.as_ref()?;
    let tls = &config.upstream.tls;
    Some(ControlOptions {
        url: url.expose().to_owned(),
        pool_size: config.control.pool_size,
        connect_timeout: config.upstream.connect_timeout,
        catalog_timeout: CATALOG_TIMEOUT,
        probe_timeout: config.control.probe_timeout,
        tls: ControlTls {
            mode: match tls.mode {
                TlsMode::Disabled => ControlTlsMode::Disabled,
                TlsMode::Preferred => ControlTlsMode::Preferred,
                TlsMode::Required => ControlTlsMode::Required,
                TlsMode::VerifyCa => ControlTlsMode::VerifyCa,
                TlsMode::VerifyIdentity => ControlTlsMode::VerifyIdentity,
            },
            ca: tls.ca.clone(),
            identity: pair(&tls.cert, &tls.key),
            server_name: tls.server_name.clone(),
        },
    })
}

/// The catalog.
pub(super) fn catalog(config: &Config) -> CatalogOptions {
    CatalogOptions { refresh: config.control.refresh, ..CatalogOptions::default() }
}

/// The door to the scheduler.
pub(super) fn admission(config: &Config) -> admission::Settings {
    admission::Settings {
        hold_timeout: config.reorder.hold_timeout,
        deadlock_hold_timeout: config.reorder.deadlock_hold_timeout.max(config.reorder.hold_timeout),
        look_time: config.control.look_time,
        limits: Limits {
            max_held: config.reorder.max_held,
            max_queue: config.reorder.max_queue,
            max_overtaking_ms: config.reorder.hold_timeout.as_millis() as u64 / 4,
        },
        fence_lifetime: config.control.fence_lifetime,
        max_locks: config.limits.locks,
        keep: config.conflicts.keep,
        redact: config.redact,
    }
}

/// The file of conflicts, if there is to be one.
pub(super) fn conflicts_file(config: &Config) -> Option<admission::file::Settings> {
    let section = &config.conflicts;
    let path = section.file.clone()?;
    Some(admission::file::Settings { path, max_bytes: section.file_max_bytes, keep: section.file_keep })
}

/// Every session.
pub(super) fn session(config: &Config) -> Settings {
    Settings {
        action: match config.policy.action {
            Action::Flag => policy::Action::Flag,
            Action::Reorder => policy::Action::Reorder,
            Action::Reject => policy::Action::Reject,
        },
        rules: rules(config),
        retry: config.reorder.retry.then_some(config.reorder.retry_max_bytes),
        coordinates: config.coordination == Coordination::Server,
        redact: config.redact,
        max_statement: config.frontend.max_statement_bytes,
        max_prepared: config.limits.prepared_statements,
        max_plans: config.limits.plans,
        max_savepoints: config.limits.savepoints,
        max_locks: config.limits.locks_per_transaction,
        history: config.limits.history,
        fresh: config.control.fresh,
        first_use_timeout: config.control.first_use_timeout,
        probe_timeout: config.control.probe_timeout,
    }
}

/// The rules, ready to match.
pub fn rules(config: &Config) -> Rules {
    let rule = |rule: &RuleConfig| Rule {
        action: match rule.action {
            RuleAction::Off => Tag::Off,
            RuleAction::Flag => Tag::Flag,
            RuleAction::Reorder => Tag::Reorder,
            RuleAction::Reject => Tag::Reject,
        },
        schema: Glob::new(&rule.schema),
        table: Glob::new(&rule.table),
        user: Glob::new(&rule.user),
        digest: Glob::new(&rule.digest),
    };
    Rules(config.rules.iter().map(rule).collect())
}

fn keepalive(config: &Config) -> Keepalive {
    let section = &config.frontend;
    Keepalive {
        idle: section.keepalive_idle,
        interval: section.keepalive_interval,
        count: section.keepalive_count,
    }
}

fn endpoint(address: &Address) -> Endpoint {
    match address {
        Address::Tcp { host, port } => Endpoint::Tcp { host: host.clone(), port: *port },
        Address::Unix(path) => Endpoint::Unix(path.clone()),
    }
}

fn pair(cert: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<(PathBuf, PathBuf)> {
    Some((cert.clone()?, key.clone()?))
}
