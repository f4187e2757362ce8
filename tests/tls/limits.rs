//! What a server says instead of a greeting reaches the client as it was.

use super::client::Client;
use super::support::{Kind, Login, RawClient, Server, wait_until};
use super::{AUTHORITY, interlock, offered};
use std::time::Duration;

#[test]
fn too_many_connections_at_the_server() {
    for kind in Kind::ALL {
        let Some(server) = Server::start_with(kind, &["--max-connections=1"]) else { continue };
        let identity = AUTHORITY.issue(&format!("limits-{kind:?}"), "127.0.0.1");
        let keys = [&offered(&identity)[..], &[("upstream.tls.mode", "preferred")]].concat();
        let interlock = interlock(&server.address(), &keys);
        // How many there are beside the limit (one for an administrator, MariaDB's minimum of 10) is theirs.
        let mut held = Vec::new();
        let direct = loop {
            let mut next = RawClient::connect(server.port);
            if next.greeting_error().is_some() {
                break next;
            }
            next.authenticate(&Login::default());
            held.push(next);
        };
        let through = RawClient::connect(interlock.port);
        assert_eq!(direct.greeting_error().map(|(code, _)| code), Some(1040));
        assert_eq!(through.greeting, direct.greeting);
        let refused = Client::tls(interlock.port, "root", "", &AUTHORITY).ask("SELECT 1");
        assert_eq!(refused.expect_err("too many").code, Some(1040), "before TLS, too");
        drop((direct, through, held));
        interlock.assert_nothing_is_left();
    }
}

/// A PROXY header of a client at 127.0.0.2: the servers never block 127.0.0.1 itself.
const ELSEWHERE: &[u8] = b"PROXY TCP4 127.0.0.2 127.0.0.1 4711 3306\r\n";

fn app() -> Login {
    Login { user: "app".into(), password: "app".into(), ..Login::default() }
}

#[test]
fn hosts_that_the_server_blocks() {
    let options = ["--proxy-protocol-networks=127.0.0.1", "--max-connect-errors=2"];
    let Some(server) = Server::start_with(Kind::MariaDb, &options) else { return };
    let keys = [("upstream.proxy_protocol", "v1"), ("frontend.proxy_protocol.accept_from", "127.0.0.0/8")];
    let interlock = interlock(&server.address(), &keys);
    let login = |port| RawClient::connect_after(port, ELSEWHERE).authenticate(&app());
    // Logins that break off are what servers block hosts for. Behind a proxy that would be everybody.
    for _ in 0..5 {
        drop(RawClient::connect_after(interlock.port, ELSEWHERE));
        let mut broken = RawClient::connect_after(interlock.port, ELSEWHERE);
        broken.send(1, b"no login");
    }
    interlock.assert_nothing_is_left();
    assert!(login(server.port).is_ok() && login(interlock.port).is_ok());

    for _ in 0..5 {
        RawClient::connect_after(server.port, ELSEWHERE).send(1, b"no login");
    }
    wait_until("the server blocks the host", Duration::from_secs(5), || !login(server.port).is_ok());
    let direct = login(server.port);
    assert_eq!(direct.error().map(|(code, _)| code), Some(1129), "{:?}", direct.error());
    // The payload is the same; the number is right only through interlock (MariaDB counts one too few).
    assert_eq!(login(interlock.port).payload, direct.payload);
    interlock.assert_nothing_is_left();
}
