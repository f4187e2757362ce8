//! Byte equality: each command and kind of result gives through interlock what it gives direct.

mod commands;
mod coordination;
mod large;
mod prepared;
#[path = "../support/mod.rs"]
mod support;
mod talk;
mod text;
mod transactions;

use support::raw::capability::{DEFAULT, DEPRECATE_EOF, LOCAL_FILES, QUERY_ATTRIBUTES, SESSION_TRACK};
use support::{Interlock, Login, RawClient, Server, both};

/// Schema and tables that conversations use. The flush empties MySQL's cache of passwords.
const SETUP: &str = "FLUSH PRIVILEGES; DROP DATABASE IF EXISTS conv; CREATE DATABASE conv;
    CREATE TABLE conv.t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40), body LONGTEXT, d DATE) ENGINE=InnoDB;
    CREATE TABLE conv.n (id INT PRIMARY KEY) ENGINE=InnoDB";

/// Logins that differ in the form of the answers.
fn logins(server: &Server) -> Vec<Login> {
    let login = |capabilities, mariadb_capabilities| Login {
        schema: Some("conv".into()),
        capabilities,
        mariadb_capabilities,
        ..Login::default()
    };
    let mut logins = vec![
        login(DEFAULT, 0),
        login(DEFAULT | LOCAL_FILES | DEPRECATE_EOF, 0),
        login(DEFAULT | LOCAL_FILES | DEPRECATE_EOF | SESSION_TRACK, 0),
        login(DEFAULT | SESSION_TRACK, 0),
    ];
    if server.is_mysql() {
        logins.push(login(DEFAULT | LOCAL_FILES | DEPRECATE_EOF | SESSION_TRACK | QUERY_ATTRIBUTES, 0));
    } else {
        // Bulk execution; with extended metadata and cached metadata.
        logins.push(login(DEFAULT | DEPRECATE_EOF, 0b00100));
        logins.push(login(DEFAULT, 0b11100));
        logins.push(login(DEFAULT | DEPRECATE_EOF, 0b11101));
    }
    logins
}

/// Holds one conversation with every login, on both servers.
fn everywhere(script: impl Fn(&Server, &mut talk::Talk)) {
    both(|server| {
        let interlock = Interlock::start(server, &["--action", "reorder"]);
        for login in logins(server) {
            talk::same(server, &interlock, &login, SETUP, |talk| script(server, talk));
        }
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn greeting_differs_in_masked_capabilities_only() {
    both(|server| {
        let interlock = Interlock::start(server, &[]);
        let parts = |port| {
            let client = RawClient::connect(port);
            let at = client.greeting.iter().position(|&byte| byte == 0).unwrap();
            let bytes = &client.greeting;
            // Behind the version: id, 8 bytes of scramble, 0, capabilities, charset, status, more of them.
            let low = u16::from_le_bytes([bytes[at + 14], bytes[at + 15]]);
            let high = u16::from_le_bytes([bytes[at + 19], bytes[at + 20]]);
            let capabilities = u32::from(high) << 16 | u32::from(low);
            let rest = [&bytes[..at], &bytes[at + 16..at + 19], &bytes[at + 21..at + 32], &bytes[at + 44..]];
            (capabilities, rest.concat())
        };
        let (direct, through) = (parts(server.port), parts(interlock.port));
        assert_eq!(through.1, direct.1);
        assert_eq!(through.0 & !direct.0, 0, "nothing is offered that the server does not have");
        // Compression (zlib, zstd), and TLS, for which this interlock has no certificate.
        let masked = 1 << 5 | 1 << 11 | 1 << 26;
        assert_eq!(direct.0 & !through.0 & !masked, 0, "{:x} {:x}", direct.0, through.0);
        assert_eq!(through.0 & (1 << 5 | 1 << 26), 0);
    });
}

#[test]
fn refused_logins_are_the_servers_own() {
    both(|server| {
        let interlock = Interlock::start(server, &[]);
        let base = Login::default();
        let app = |password: &str| Login { user: "app".into(), password: password.into(), ..base.clone() };
        let cases = [
            app("wrong"),
            app(""),
            Login { user: "nobody".into(), ..base.clone() },
            Login { user: "nobody".into(), password: "x".into(), ..base.clone() },
            Login { schema: Some("nowhere".into()), ..base.clone() },
            Login { schema: Some("nowhere".into()), ..app("app") },
            app("app"),
        ];
        for login in cases {
            let answer = |port| {
                let mut client = RawClient::connect(port);
                let last = client.authenticate(&login);
                // A refused client sees its connection closed.
                (last.clone(), last.error().is_some().then(|| client.read_to_end().ok()))
            };
            // Twice: a cache of the server may make the second login shorter.
            answer(server.port);
            assert_eq!(answer(interlock.port), answer(server.port), "{login:?}");
        }
        interlock.assert_nothing_is_left();
    });
}
