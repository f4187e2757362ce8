//! TLS towards the server: each mode, with good and bad certificates.

use super::certificates::Authority;
use super::client::{Client, Refused};
use super::support::{Kind, Server};
use super::{AUTHORITY, interlock, offered, run, shared, text};
use interlock::backend::control::{Control, ControlError, ControlOptions, ControlTls, ControlTlsMode};
use std::path::Path;
use std::time::Duration;

/// Whether the server's leg has TLS, in the words of either server.
fn has_tls(server: &Server, client: &Client) -> Result<bool, Refused> {
    let schema = if server.is_mysql() { "performance_schema" } else { "information_schema" };
    let sql =
        format!("SELECT VARIABLE_VALUE FROM {schema}.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'");
    client.ask(&sql).map(|cipher| !cipher.is_empty())
}

/// What a client with TLS finds behind an interlock with these keys.
fn behind(server: &Server, upstream: &str, keys: &[(&str, &str)]) -> Result<bool, Refused> {
    let identity =
        AUTHORITY.issue(&format!("front-{:?}-{keys:?}", server.kind).replace(['/', '"'], ""), "127.0.0.1");
    let keys = [&offered(&identity)[..], keys].concat();
    let interlock = interlock(upstream, &keys);
    let found = has_tls(server, &Client::tls(interlock.port, "root", "", &AUTHORITY));
    interlock.assert_nothing_is_left();
    found
}

#[test]
fn modes_and_what_they_find() {
    let other = Authority::new();
    shared(|server| {
        let (ca, wrong) = (text(&AUTHORITY.ca), text(&other.ca));
        let verify_ca = ("upstream.tls.mode", "verify_ca");
        let identity = ("upstream.tls.mode", "verify_identity");
        let name = ("upstream.tls.server_name", "db.example");
        let address = server.address();
        let tcp = |keys: &[(&str, &str)]| behind(server, &address, keys);
        assert!(!tcp(&[("upstream.tls.mode", "disabled")]).expect("a session"));
        assert!(tcp(&[("upstream.tls.mode", "preferred")]).expect("a session"));
        assert!(tcp(&[("upstream.tls.mode", "required")]).expect("a session"));
        assert!(tcp(&[verify_ca, ("upstream.tls.ca", ca)]).expect("a session"));
        // Another name does not matter to verify_ca.
        assert!(tcp(&[verify_ca, ("upstream.tls.ca", ca), name]).expect("a session"));
        assert!(tcp(&[identity, ("upstream.tls.ca", ca)]).expect("a session"));
        for mode in [verify_ca, identity] {
            let refused = tcp(&[mode, ("upstream.tls.ca", wrong)]).expect_err("a wrong authority");
            assert_eq!(refused.code, Some(2026), "{refused:?}");
            assert!(refused.text.contains("UnknownIssuer"), "{refused:?}");
        }
        let refused = tcp(&[identity, ("upstream.tls.ca", ca), name]).expect_err("a wrong name");
        assert_eq!(refused.code, Some(2026), "{refused:?}");
        assert!(
            refused.text.contains("not valid for name") && refused.text.contains("db.example"),
            "{refused:?}"
        );

        // A Unix socket needs no TLS, but gets it where the configuration insists.
        let socket = format!("unix:{}", server.socket.display());
        assert!(!behind(server, &socket, &[("upstream.tls.mode", "preferred")]).expect("a session"));
        let name = ("upstream.tls.server_name", "127.0.0.1");
        assert!(behind(server, &socket, &[identity, ("upstream.tls.ca", ca), name]).expect("a session"));
    });
}

#[test]
fn a_plain_client_does_not_get_a_secure_server_leg() {
    shared(|server| {
        let preferred = interlock(&server.address(), &[("upstream.tls.mode", "preferred")]);
        let found = has_tls(server, &Client::plain(preferred.port, "root", ""));
        assert!(!found.expect("a session"), "preferred: the same security on both legs");
        let required = interlock(&server.address(), &[("upstream.tls.mode", "required")]);
        let refused = has_tls(server, &Client::plain(required.port, "root", "")).expect_err("refused");
        assert!(refused.code == Some(3159) && refused.text.contains("allow_plain_client"), "{refused:?}");
        let keys = [("upstream.tls.mode", "required"), ("upstream.tls.allow_plain_client", "true")];
        let allowed = interlock(&server.address(), &keys);
        assert!(has_tls(server, &Client::plain(allowed.port, "root", "")).expect("a session"));
        for interlock in [preferred, required, allowed] {
            interlock.assert_nothing_is_left();
        }
    });
}

#[test]
fn servers_without_tls_and_with_certificates_of_their_own() {
    // MariaDB 10.11 without a certificate offers no TLS.
    if let Some(server) = Server::start(Kind::MariaDb) {
        let found = |mode| behind(&server, &server.address(), &[("upstream.tls.mode", mode)]);
        assert!(!found("preferred").expect("a session"));
        let refused = found("required").expect_err("no TLS to be had");
        assert!(refused.code == Some(2026) && refused.text.contains("does not offer TLS"), "{refused:?}");
    }
    // MySQL makes its own certificates: they carry no name, so only verify_ca can accept them.
    if let Some(server) = Server::start(Kind::MySql) {
        let ca = server.socket.with_file_name("data").join("ca.pem");
        let found = |keys: &[(&str, &str)]| behind(&server, &server.address(), keys);
        assert!(found(&[("upstream.tls.mode", "required")]).expect("a session"));
        let keys = [("upstream.tls.mode", "verify_ca"), ("upstream.tls.ca", text(&ca))];
        assert!(found(&keys).expect("a session"));
        let keys = [("upstream.tls.mode", "verify_identity"), ("upstream.tls.ca", text(&ca))];
        let refused = found(&keys).expect_err("no name in it");
        assert!(refused.code == Some(2026) && refused.text.contains("not valid for name"), "{refused:?}");
    }
}

/// What a control connection with these settings says: nothing, or its error.
fn control(server: &Server, mode: ControlTlsMode, ca: &Path, name: Option<&str>) -> Result<(), String> {
    let tls = ControlTls {
        mode,
        ca: mode.ne(&ControlTlsMode::Required).then(|| ca.to_owned()),
        identity: None,
        server_name: name.map(str::to_owned),
    };
    let options = ControlOptions {
        // An account that the server lets in over TLS only.
        url: format!("mysql://secure:secret@127.0.0.1:{}", server.port),
        pool_size: 1,
        connect_timeout: Duration::from_secs(5),
        catalog_timeout: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(1),
        tls,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let facts = runtime.block_on(async { Control::new(&options)?.facts().await });
    facts.map(|_| ()).map_err(|error: ControlError| error.to_string())
}

#[test]
fn control_connections_follow_the_same_modes() {
    use ControlTlsMode::{Disabled, Preferred, Required, VerifyCa, VerifyIdentity};
    let other = Authority::new();
    shared(|server| {
        run(server, "CREATE USER secure IDENTIFIED BY 'secret' REQUIRE SSL");
        let good = &AUTHORITY.ca;
        for (mode, ca, name, expected) in [
            (Disabled, good, None, false),
            (Preferred, good, None, true),
            (Required, good, None, true),
            (VerifyCa, good, None, true),
            // Not verify_ca with another name: mysql_async 0.37 looks for the words of an older rustls in
            // the error, so that it verifies the name all the same. It errs on the safe side.
            (VerifyCa, &other.ca, None, false),
            (VerifyIdentity, good, None, true),
            (VerifyIdentity, good, Some("db.example"), false),
            (VerifyIdentity, &other.ca, None, false),
        ] {
            let outcome = control(server, mode, ca, name);
            assert_eq!(outcome.is_ok(), expected, "{:?} {mode:?} {name:?}: {outcome:?}", server.kind);
        }
    });
}
