//! TLS on both legs, authentication plugins, and the PROXY protocol, on real servers.

mod authentication;
mod certificates;
mod client;
mod frontend;
mod limits;
mod proxy_protocol;
#[path = "../support/mod.rs"]
mod support;
mod upstream;

use certificates::Authority;
use std::path::Path;
use std::sync::LazyLock;
use support::{Interlock, Kind, Login, RawClient, Server};

/// The authority that everybody here trusts.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// Both servers with a certificate for 127.0.0.1, shared by all checks: starting them is what takes time.
/// They are never dropped; the script behind each notices that this process has ended.
static MYSQL: LazyLock<Option<Server>> = LazyLock::new(|| start(Kind::MySql, &[]));

/// MariaDB also believes PROXY headers, and asks no name server about the addresses in them.
static MARIADB: LazyLock<Option<Server>> =
    LazyLock::new(|| start(Kind::MariaDb, &["--proxy-protocol-networks=127.0.0.1", "--skip-name-resolve"]));

fn start(kind: Kind, more: &[&str]) -> Option<Server> {
    let identity = AUTHORITY.issue(&format!("{kind:?}"), "127.0.0.1");
    let tls = [
        format!("--ssl-ca={}", AUTHORITY.ca.display()),
        format!("--ssl-cert={}", identity.cert.display()),
        format!("--ssl-key={}", identity.key.display()),
    ];
    let options: Vec<&str> = tls.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Server::start_with(kind, &options)
}

/// Runs a check on those of the shared servers that can be had.
fn shared(check: impl Fn(&Server)) {
    [&*MYSQL, &*MARIADB].into_iter().flatten().for_each(check);
}

/// Runs statements as root, directly.
fn run(server: &Server, sql: &str) {
    let mut root = RawClient::login(server.port, &Login::default());
    let answer = root.query(sql);
    assert!(answer.iter().all(|packet| packet.error().is_none()), "{sql}: {answer:?}");
}

/// An interlock in front of `upstream`, with keys as in the file: `("frontend.tls.cert", "…")`.
fn interlock(upstream: &str, keys: &[(&str, &str)]) -> Interlock {
    let name = |key: &str| format!("INTERLOCK__{}", key.to_uppercase().replace('.', "__"));
    let named: Vec<(String, &str)> = keys.iter().map(|(key, value)| (name(key), *value)).collect();
    let environment: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    Interlock::start_bare(&["--upstream", upstream], &environment)
}

/// The keys with which clients are offered TLS.
fn offered(identity: &certificates::Identity) -> [(&'static str, &str); 2] {
    [("frontend.tls.cert", text(&identity.cert)), ("frontend.tls.key", text(&identity.key))]
}

/// A path as the value of a key.
fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}
