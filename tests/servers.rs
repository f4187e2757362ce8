//! The tests' own ground: private servers start, answer, and are gone afterwards.

mod support;

use std::net::TcpStream;
use support::{Login, RawClient, both};

#[test]
fn server_answers_and_ends() {
    both(|server| {
        let mut client = RawClient::login(server.port, &Login::default());
        let answer = client.query("SELECT 1; SELECT 2");
        assert_eq!(answer.len(), 10, "two results of five packets");
        assert!(server.socket.exists());
    });
}

#[test]
fn login_with_a_password() {
    both(|server| {
        let login = Login { user: "app".into(), password: "app".into(), ..Login::default() };
        for _ in 0..2 {
            // On MySQL the first is the full exchange with the server's RSA key, the second the fast path.
            let mut client = RawClient::login(server.port, &login);
            assert!(client.query("DO 1")[0].is_ok());
        }
        let mut client = RawClient::connect(server.port);
        let refused = client.authenticate(&Login { password: "wrong".into(), ..login });
        assert_eq!(refused.error().expect("an error packet").0, 1045);
    });
}

#[test]
fn nothing_is_left_behind() {
    both(|server| {
        let kind = server.kind;
        let Some(second) = support::Server::start(kind) else { return };
        let (port, socket) = (second.port, second.socket.clone());
        drop(second);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!socket.parent().expect("it lies in a directory").exists());
    });
}
