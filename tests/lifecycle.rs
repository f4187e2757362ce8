//! How connections, servers and the process itself come to an end, and what is told to whom.

mod support;

use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use support::{Interlock, Kind, Login, RawClient, Server, both, wait_until};

const TABLE: &str = "CREATE TABLE test.l (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;
    INSERT INTO test.l VALUES (1, 0), (2, 0), (10, 0)";

fn prepare(server: &Server) -> RawClient {
    let mut root = RawClient::login(server.port, &Login::default());
    assert!(root.query(TABLE).iter().all(|packet| packet.error().is_none()));
    root
}

fn client(port: u16) -> RawClient {
    RawClient::login(port, &Login { schema: Some("test".into()), ..Login::default() })
}

/// Whether the server holds nobody's lock on the row.
fn is_free(root: &mut RawClient, id: u32) -> bool {
    let sql = format!("BEGIN; SELECT * FROM test.l WHERE id = {id} FOR UPDATE NOWAIT; ROLLBACK");
    let free = root.query(&sql).iter().all(|packet| packet.error().is_none());
    root.query("ROLLBACK");
    free
}

fn begin_with_lock(port: u16, id: u32) -> RawClient {
    let mut client = client(port);
    let answer = client.query(&format!("BEGIN; UPDATE l SET n = n + 1 WHERE id = {id}"));
    assert!(answer.iter().all(|packet| packet.is_ok()), "{answer:?}");
    client
}

#[test]
fn a_lost_client_loses_its_locks_at_once() {
    both(|server| {
        let mut root = prepare(server);
        let interlock = Interlock::start(server, &["--action", "reorder"]);
        let soon = Duration::from_secs(1);
        // Idle in its transaction.
        let idle = begin_with_lock(interlock.port, 1);
        assert!(!is_free(&mut root, 1));
        drop(idle);
        wait_until("the lock of an idle client goes", soon, || is_free(&mut root, 1));

        // While its statement waits at the server for a lock of somebody who is not known to interlock.
        let mut foreign = begin_with_lock(server.port, 2);
        let mut waiting = begin_with_lock(interlock.port, 1);
        waiting.command(3, b"UPDATE l SET n = 5 WHERE id = 2");
        std::thread::sleep(Duration::from_millis(200));
        drop(waiting);
        // Neither server looks at its sockets while a statement waits for a row: the locks go when the wait
        // is over, as without a proxy.
        foreign.query("ROLLBACK");
        wait_until("the locks of a waiting client go", Duration::from_secs(3), || is_free(&mut root, 1));
        wait_until("and the lock that it got", Duration::from_secs(3), || is_free(&mut root, 2));

        // While its statement is held.
        let mut first = client(interlock.port);
        first.query("BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE");
        let mut held = begin_with_lock(interlock.port, 1);
        held.command(3, b"SELECT * FROM l WHERE id = 5 FOR UPDATE");
        wait_until("the statement is held", Duration::from_secs(2), || interlock.status()["held"] == 1);
        held.shut(Shutdown::Both);
        wait_until("the locks of a held client go", soon, || is_free(&mut root, 1));
        first.query("COMMIT");
        drop(first);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn a_lost_server_is_an_error_for_everybody_and_comes_back() {
    for kind in Kind::ALL {
        let Some(mut server) = Server::start(kind) else { continue };
        prepare(&server);
        let interlock = Interlock::start(&server, &["--action", "reorder"]);
        let mut idle = client(interlock.port);
        let mut working = client(interlock.port);
        working.command(3, b"SELECT SLEEP(30)");
        let mut first = begin_with_lock(interlock.port, 1);
        first.query("SELECT * FROM l WHERE id = 5 FOR UPDATE");
        let mut held = client(interlock.port);
        held.query("BEGIN");
        held.command(3, b"SELECT * FROM l WHERE id = 5 FOR UPDATE");
        wait_until("a statement is held", Duration::from_secs(2), || interlock.status()["held"] == 1);
        let begin = Instant::now();
        server.kill();
        for client in [&mut idle, &mut working, &mut first, &mut held] {
            client.set_timeout(Duration::from_secs(3));
            // An error packet or the end of the connection.
            while client
                .try_receive()
                .map_err(|error| assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock))
                .is_ok()
            {}
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        interlock.assert_nothing_is_left();
        // The killed process' port takes connections for a moment more, and drops them.
        wait_until("the port is closed", Duration::from_secs(5), || {
            std::net::TcpStream::connect(server.address()).is_err()
        });
        let mut refused = RawClient::connect(interlock.port);
        let (code, text) = refused.greeting_error().expect("an error packet");
        assert!(code == 2003 && text.contains(&server.address()), "{code} {text}");
        assert_eq!(refused.read_to_end().map(|rest| rest.len()).ok(), Some(0));

        server.restart();
        let mut again = client(interlock.port);
        again.query("BEGIN");
        let rows = again.query("SELECT n FROM l WHERE id = 1 FOR UPDATE");
        assert!(rows.iter().all(|packet| packet.error().is_none()), "{rows:?}");
        drop(again);
        interlock.assert_nothing_is_left();
    }
}

#[test]
fn connections_are_killed_by_their_own_id() {
    both(|server| {
        let mut root = prepare(server);
        let interlock = Interlock::start(server, &[]);
        let mut one = begin_with_lock(interlock.port, 1);
        let id = one.query("SELECT CONNECTION_ID()")[3].payload[1..].to_vec();
        let id: u32 = String::from_utf8(id).unwrap().parse().unwrap();
        assert_eq!(id, one.connection_id);
        let listed = root.query(&format!("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {id}"));
        assert_eq!(listed.len(), 5, "it is in the process list");

        let mut killer = client(interlock.port);
        one.command(3, b"SELECT SLEEP(20), n FROM l");
        std::thread::sleep(Duration::from_millis(200));
        assert!(killer.query(&format!("KILL QUERY {id}"))[0].is_ok());
        let begin = Instant::now();
        // The killed SLEEP is an error, or gives 1 before the error comes.
        while one.receive().error().is_none_or(|(code, _)| code != 1317) {}
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert!(!is_free(&mut root, 1), "the transaction goes on");
        assert!(killer.query(&format!("KILL {id}"))[0].is_ok());
        while one.try_receive().is_ok() {}
        wait_until("the lock goes", Duration::from_secs(2), || is_free(&mut root, 1));
        drop((one, killer));
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn shutdown_lets_transactions_end() {
    both(|server| {
        let mut root = prepare(server);
        let mut interlock = Interlock::start_with(server, &[], &[("INTERLOCK__SHUTDOWN__GRACE", "20s")]);
        let mut idle = client(interlock.port);
        let mut open = begin_with_lock(interlock.port, 1);
        interlock.signal("TERM");
        assert_eq!(idle.receive().error().expect("an error packet").0, 1053);
        assert_eq!(idle.read_to_end().map(|rest| rest.len()).ok(), Some(0));
        std::thread::sleep(Duration::from_millis(200));
        assert!(interlock.is_running());
        assert!(std::net::TcpStream::connect(("127.0.0.1", interlock.port)).is_err(), "it accepts nobody");
        assert!(open.query("UPDATE l SET n = 7 WHERE id = 1")[0].is_ok());
        assert!(open.query("COMMIT")[0].is_ok());
        assert_eq!(open.receive().error().expect("an error packet").0, 1053);
        assert_eq!(interlock.wait(Duration::from_secs(5)).code(), Some(0));
        let rows = root.query("SELECT n FROM test.l WHERE id = 1");
        assert_eq!(rows[3].payload, b"\x017");
    });
}

#[test]
fn shutdown_ends_with_the_grace_period() {
    both(|server| {
        let mut root = prepare(server);
        let mut interlock = Interlock::start_with(server, &[], &[("INTERLOCK__SHUTDOWN__GRACE", "500ms")]);
        let mut open = begin_with_lock(interlock.port, 1);
        let mut working = client(interlock.port);
        working.command(3, b"SELECT SLEEP(30)");
        std::thread::sleep(Duration::from_millis(100));
        let begin = Instant::now();
        interlock.signal("TERM");
        let last = open.receive();
        assert_eq!((last.error().expect("an error packet").0, last.sequence), (1053, 0));
        let last = working.receive();
        assert_eq!((last.error().expect("an error packet").0, last.sequence), (1053, 1));
        assert!(begin.elapsed() >= Duration::from_millis(400));
        assert_eq!(interlock.wait(Duration::from_secs(5)).code(), Some(0));
        wait_until("the lock goes", Duration::from_secs(2), || is_free(&mut root, 1));
    });
}

#[test]
fn too_many_connections() {
    both(|server| {
        let limit = [("INTERLOCK__FRONTEND__MAX_CONNECTIONS", "2")];
        let interlock = Interlock::start_with(server, &[], &limit);
        let one = client(interlock.port);
        let two = client(interlock.port);
        assert_eq!(RawClient::connect(interlock.port).greeting_error().expect("an error").0, 1040);
        drop(one);
        wait_until("a place is free", Duration::from_secs(2), || {
            RawClient::connect(interlock.port).greeting_error().is_none()
        });
        drop(two);
        interlock.assert_nothing_is_left();
    });
    // The server's own limit, in its own words.
    for kind in Kind::ALL {
        let Some(server) = Server::start_with(kind, &["--max-connections=1"]) else { continue };
        let upstream = server.address();
        let interlock = Interlock::start_raw(&["--upstream", &upstream]);
        let mut held = vec![client(server.port)];
        let refusal = loop {
            let mut next = RawClient::connect(server.port);
            match next.greeting_error() {
                Some(_) => break next.greeting,
                None => drop(next.authenticate(&Login::default())),
            }
            held.push(next);
        };
        assert_eq!(RawClient::connect(interlock.port).greeting, refusal);
    }
}

#[test]
fn a_silent_server_and_a_silent_client_are_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let times =
        [("INTERLOCK__FRONTEND__HANDSHAKE_TIMEOUT", "1s"), ("INTERLOCK__UPSTREAM__CONNECT_TIMEOUT", "1s")];
    let interlock = Interlock::start_bare(&["--upstream", &address], &times);
    let begin = Instant::now();
    let client = RawClient::connect(interlock.port);
    let (code, text) = client.greeting_error().expect("an error packet");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!([2003, 2013, 1159].contains(&code), "{code} {text}");
    interlock.assert_nothing_is_left();

    both(|server| {
        let interlock = Interlock::start_with(server, &[], &times);
        let begin = Instant::now();
        let mut client = RawClient::connect(interlock.port);
        assert_eq!(client.receive().error().expect("an error packet").0, 1159);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        interlock.assert_nothing_is_left();
    });
}
