//! TLS towards clients: offered, required, with client certificates, and read again on SIGHUP.

use super::certificates::{Authority, write};
use super::client::Client;
use super::support::{Interlock, Login, RawClient, free_port, wait_until};
use super::{AUTHORITY, interlock, offered, shared, text};
use std::path::Path;
use std::time::Duration;

const CIPHER: &str =
    "SELECT VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'";

#[test]
fn a_certificate_is_offered_and_used() {
    shared(|server| {
        let identity = AUTHORITY.issue("offered", "127.0.0.1");
        let interlock = interlock(&server.address(), &offered(&identity));
        let tls = Client::tls(interlock.port, "root", "", &AUTHORITY);
        assert_eq!(tls.ask("SELECT 1 + 1").expect("TLS is taken"), "2");
        // Somebody who does not know the authority is not fooled: it was this certificate.
        let stranger = Client::tls(interlock.port, "root", "", &Authority::new());
        assert_eq!(stranger.ask("SELECT 1").expect_err("an unknown authority").code, None);
        // The legs are apart: the server's has no TLS (mode = disabled).
        if server.is_mysql() {
            assert_eq!(tls.ask(CIPHER).expect("a session"), "");
        }
        assert_eq!(Client::plain(interlock.port, "root", "").ask("SELECT 2").expect("plain, too"), "2");
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn required_refuses_plain_clients() {
    shared(|server| {
        let identity = AUTHORITY.issue("required", "127.0.0.1");
        let mut keys = offered(&identity).to_vec();
        keys.push(("frontend.tls.required", "true"));
        let interlock = interlock(&server.address(), &keys);
        let mut plain = RawClient::connect(interlock.port);
        let last = plain.authenticate(&Login::default());
        let (code, text) = last.error().expect("an error packet");
        assert!(code == 3159 && text.contains("frontend.tls.required"), "{code} {text}");
        assert_eq!(last.sequence, 2);
        assert_eq!(plain.read_to_end().map(|rest| rest.len()).ok(), Some(0));
        let tls = Client::tls(interlock.port, "root", "", &AUTHORITY);
        assert_eq!(tls.ask("SELECT 1").expect("TLS is taken"), "1");
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn the_console_offers_the_same_certificate() {
    shared(|server| {
        let identity = AUTHORITY.issue("console", "127.0.0.1");
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        // The password is `secret`.
        let users = "dba:*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
        let keys =
            [&offered(&identity)[..], &[("console.listen", &listen), ("console.users", users)]].concat();
        let interlock = interlock(&server.address(), &keys);
        wait_until("the console is open", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let tls = |password: &str, authority: &Authority| {
            Client::tls(port, "dba", password, authority).ask("SELECT @@version_comment")
        };
        for _ in 0..20 {
            assert_eq!(tls("secret", &AUTHORITY).expect("TLS is taken"), "interlock console");
        }
        assert_eq!(tls("secret", &Authority::new()).expect_err("an unknown authority").code, None);
        assert!(tls("Secret", &AUTHORITY).expect_err("a wrong password").code.is_some());
        let plain = Client::plain(port, "dba", "secret").ask("SELECT @@version_comment");
        assert_eq!(plain.expect("plain, too"), "interlock console");
        // A request for TLS with something else behind it than a handshake.
        let mut broken = RawClient::connect(port);
        broken.send(1, &[&(1u32 << 9 | 1 << 11 | 1 << 15).to_le_bytes()[..], &[0; 28]].concat());
        broken.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
        let _ = broken.read_to_end();
        assert_eq!(tls("secret", &AUTHORITY).expect("others go on"), "interlock console");
        drop(broken);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn client_certificates_are_verified() {
    shared(|server| {
        let identity = AUTHORITY.issue("asking", "127.0.0.1");
        let mut keys = offered(&identity).to_vec();
        keys.push(("frontend.tls.client_ca", text(&AUTHORITY.ca)));
        let interlock = interlock(&server.address(), &keys);
        let client = Client::tls(interlock.port, "root", "", &AUTHORITY);
        let good = client.clone().with_identity(&AUTHORITY, &AUTHORITY.issue("client", "client.example"));
        assert_eq!(good.ask("SELECT 1").expect("a good certificate"), "1");
        let stranger = Authority::new();
        let foreign = stranger.issue("client", "client.example");
        for bad in [client.clone(), client.with_identity(&AUTHORITY, &foreign)] {
            let refused = bad.ask("SELECT 1").expect_err("no certificate, or a wrong one");
            assert_eq!(refused.code, None, "TLS itself says no: {}", refused.text);
            assert!(refused.text.contains("received fatal alert"), "{}", refused.text);
        }
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn certificates_are_read_again_on_sighup() {
    let Some(server) = &*super::MYSQL else { return };
    let (old, new) = (Authority::new(), Authority::new());
    let identity = old.issue("served", "127.0.0.1");
    // The other leg trusts whoever signs in this file.
    let trusted = old.ca.with_file_name("trusted.pem");
    write(&trusted, &pem(&AUTHORITY.ca));
    let keys = [("upstream.tls.mode", "verify_ca"), ("upstream.tls.ca", text(&trusted))];
    let interlock = interlock(&server.address(), &[&offered(&identity)[..], &keys].concat());
    let serves = |authority: &Authority| {
        Client::tls(interlock.port, "root", "", authority).ask("SELECT 1").is_ok_and(|one| one == "1")
    };
    assert!(serves(&old) && !serves(&new));

    identity.replace_by(&new.issue("fresh", "127.0.0.1"));
    assert!(serves(&old), "not before the signal");
    reload(&interlock, AGAIN);
    assert!(serves(&new) && !serves(&old));

    write(&identity.cert, "no certificate");
    reload(&interlock, KEPT);
    assert!(interlock.output().contains(text(&identity.cert)), "the message names the file");
    assert!(serves(&new));

    // A certificate and a key that do not belong together.
    write(
        &identity.cert,
        &std::fs::read_to_string(old.issue("other", "127.0.0.1").cert).expect("it is there"),
    );
    reload(&interlock, KEPT);
    assert!(serves(&new) && !serves(&old));

    identity.replace_by(&old.issue("good", "127.0.0.1"));
    reload(&interlock, AGAIN);
    assert!(serves(&old));

    // All or nothing: the server's side is good, but it does not go without the clients'.
    write(&identity.key, "no key");
    write(&trusted, &pem(&new.ca));
    reload(&interlock, KEPT);
    assert!(serves(&old));
    identity.replace_by(&old.issue("better", "127.0.0.1"));
    reload(&interlock, AGAIN);
    let refused = Client::tls(interlock.port, "root", "", &old).ask("SELECT 1").expect_err("not trusted");
    assert!(refused.code == Some(2026) && refused.text.contains("UnknownIssuer"), "{refused:?}");
    write(&trusted, "no certificate");
    reload(&interlock, KEPT);
    write(&trusted, &pem(&AUTHORITY.ca));
    reload(&interlock, AGAIN);
    assert!(serves(&old));
    interlock.assert_nothing_is_left();
}

const AGAIN: &str = "configuration read again";
const KEPT: &str = "configuration refused, the old one stays";

/// Sends SIGHUP and waits until one more of these messages has been logged.
fn reload(interlock: &Interlock, message: &str) {
    let said = || interlock.output().matches(message).count();
    let before = said();
    interlock.signal("HUP");
    wait_until(message, Duration::from_secs(20), || said() > before);
}

fn pem(file: &Path) -> String {
    std::fs::read_to_string(file).expect("it was written before")
}
