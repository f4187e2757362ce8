//! What keys demand of each other, and of the machine.

use std::collections::BTreeMap;
use std::path::Path;

use super::address::Address;
use super::fault::{Fault, Origin};
use super::{Config, TlsMode};

/// Adds the faults that no single key shows. `origins` says where each key that is not at its default was
/// set.
pub fn validate(config: &Config, origins: &BTreeMap<String, Origin>, faults: &mut Vec<Fault>) {
    let mut report = |key: &str, found: String, allowed: &str| {
        faults.push(Fault {
            origin: origins.get(key).cloned().unwrap_or(Origin::Default),
            key: key.to_owned(),
            found,
            allowed: allowed.to_owned(),
        });
    };
    let unset = || "\"\"".to_owned();

    let tls = &config.frontend.tls;
    match (&tls.cert, &tls.key) {
        (Some(_), None) => report("frontend.tls.key", unset(), "a file, because frontend.tls.cert is set"),
        (None, Some(_)) => report("frontend.tls.cert", unset(), "a file, because frontend.tls.key is set"),
        _ => {}
    }
    if tls.required && tls.cert.is_none() {
        report("frontend.tls.required", "true".to_owned(), "true only if frontend.tls.cert and key are set");
    }
    if tls.client_ca.is_some() && tls.cert.is_none() {
        report("frontend.tls.cert", unset(), "a file, because frontend.tls.client_ca is set");
    }

    let tls = &config.upstream.tls;
    match (&tls.cert, &tls.key) {
        (Some(_), None) => report("upstream.tls.key", unset(), "a file, because upstream.tls.cert is set"),
        (None, Some(_)) => report("upstream.tls.cert", unset(), "a file, because upstream.tls.key is set"),
        _ => {}
    }
    let verifies = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    if verifies && tls.ca.is_none() {
        report("upstream.tls.ca", unset(), "a file, because upstream.tls.mode verifies the certificate");
    }
    let unix = matches!(config.upstream.address, Address::Unix(_));
    if tls.mode == TlsMode::VerifyIdentity && unix && tls.server_name.is_none() {
        report("upstream.tls.server_name", unset(), "a name, because a Unix socket has none to verify");
    }

    for (key, file) in [
        ("frontend.tls.cert", &config.frontend.tls.cert),
        ("frontend.tls.key", &config.frontend.tls.key),
        ("frontend.tls.client_ca", &config.frontend.tls.client_ca),
        ("upstream.tls.ca", &tls.ca),
        ("upstream.tls.cert", &tls.cert),
        ("upstream.tls.key", &tls.key),
    ] {
        if let Some(file) = file
            && let Err(error) = readable(file)
        {
            report(key, format!("{} ({error})", file.display()), "a file that can be read");
        }
    }

    if let Some(listen) = &config.admin.listen
        && *listen == config.frontend.listen
        && !matches!(listen, Address::Tcp { port: 0, .. })
    {
        report("admin.listen", format!("\"{listen}\""), "another address than frontend.listen");
    }
    let console = &config.console;
    if let Some(Address::Tcp { host, port }) = &console.listen
        && console.users.is_empty()
        && !is_loopback(host)
    {
        let found = format!("\"{host}:{port}\"");
        report("console.listen", found, "a loopback address, because console.users has no account");
    }
    if config.control.fresh > config.control.refresh {
        let found = humantime::format_duration(config.control.fresh).to_string();
        report("control.fresh", format!("\"{found}\""), "at most control.refresh");
    }
}

/// Only this machine can reach it. A name other than `localhost` may mean anything.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn readable(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path).map(drop)
}
