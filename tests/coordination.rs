//! Several interlocks before one server, `coordination = "server"`: they keep out of each other's gaps, nobody
//! waits longer than a hold may last, and the server frees what a lost proxy had.

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use support::{Interlock, Login, RawClient, Server, both, wait_until};

const SCHEMA: &str = "CREATE DATABASE shop; CREATE TABLE shop.other (id INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE shop.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, UNIQUE KEY by_server (server_id)) ENGINE=InnoDB;
    INSERT INTO shop.other VALUES (1); INSERT INTO shop.batch (server_id) VALUES (7), (12), (30)";

/// A client whose statements run on a thread of their own, so that one can wait.
struct Session {
    thread_id: u32,
    statements: mpsc::Sender<String>,
    answers: mpsc::Receiver<Result<(), u16>>,
}

impl Session {
    fn open(interlock: &Interlock) -> Session {
        let login = Login { schema: Some("shop".into()), ..Login::default() };
        let mut client = RawClient::login(interlock.port, &login);
        let thread_id = client.connection_id;
        let (statements, to_run) = mpsc::channel::<String>();
        let (answered, answers) = mpsc::channel();
        thread::spawn(move || {
            for sql in to_run {
                client.command(3, sql.as_bytes());
                // The proxy may be killed meanwhile.
                let Ok(first) = client.try_receive() else { return };
                let code = first.error().map(|(code, _)| code);
                if code.is_none() && !first.is_ok() {
                    let mut ends = 0;
                    while ends < 2 {
                        ends += usize::from(client.receive().is_eof());
                    }
                }
                if answered.send(code.map_or(Ok(()), Err)).is_err() {
                    return;
                }
            }
        });
        Session { thread_id, statements, answers }
    }

    fn send(&self, sql: &str) {
        self.statements.send(sql.to_owned()).expect("the session runs");
    }

    fn answer(&self) -> Result<(), u16> {
        self.answers.recv_timeout(Duration::from_secs(20)).expect("the statement is answered")
    }

    fn run(&self, sql: &str) -> Result<(), u16> {
        self.send(sql);
        self.answer()
    }

    fn waits(&self) -> bool {
        self.answers.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

fn proxies<const N: usize>(server: &Server, hold_timeout: &str) -> [Interlock; N] {
    let mut root = RawClient::login(server.port, &Login::default());
    assert!(root.query(SCHEMA).iter().all(|packet| packet.error().is_none()));
    let environment =
        [("INTERLOCK__COORDINATION", "server"), ("INTERLOCK__REORDER__HOLD_TIMEOUT", hold_timeout)];
    std::array::from_fn(|_| Interlock::start_with(server, &["--action", "reorder"], &environment))
}

fn count(interlock: &Interlock, outcome: &str) -> f64 {
    let sample = format!("interlock_coordination_total{{outcome=\"{outcome}\"}}");
    interlock.metric(&sample).expect("the family is there from the start")
}

const LOOK: &str = "SELECT * FROM batch WHERE server_id = 40 FOR UPDATE";

#[test]
fn the_second_waits_until_the_first_has_ended() {
    both(|server| {
        let [left, right] = proxies(server, "10s");
        let (a, b) = (Session::open(&left), Session::open(&right));
        for (key, end) in [(40, "COMMIT"), (41, "ROLLBACK"), (42, "CREATE TABLE made (a INT)")] {
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run(&format!("SELECT * FROM batch WHERE server_id = {key} FOR UPDATE")), Ok(()));
            // Another key of the same gap: InnoDB would give both the gap, and then let neither insert.
            b.send(&format!("SELECT * FROM batch WHERE server_id = {} FOR UPDATE", key + 100));
            assert!(b.waits());
            assert_eq!(a.run(&format!("INSERT INTO batch (server_id) VALUES ({key})")), Ok(()));
            assert_eq!(a.run(end), Ok(()));
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run(&format!("INSERT INTO batch (server_id) VALUES ({})", key + 100)), Ok(()));
            assert_eq!(b.run("ROLLBACK"), Ok(()));
        }
        assert_eq!(count(&right, "waited"), 3.0);
        for interlock in [&left, &right] {
            assert_eq!(interlock.metric("interlock_errors_total{errno=\"1213\"}"), Some(0.0));
        }
    });
}

#[test]
fn another_gap_does_not_wait() {
    both(|server| {
        let [left, right] = proxies(server, "10s");
        let (a, b) = (Session::open(&left), Session::open(&right));
        // Which places count as the end is known a second after the first use, if the index is used.
        for (session, interlock) in [(&a, &left), (&b, &right)] {
            wait_until("the end of the index is known", Duration::from_secs(20), || {
                for sql in ["BEGIN", "SELECT * FROM batch WHERE server_id = 9 FOR UPDATE", "ROLLBACK"] {
                    assert_eq!(session.run(sql), Ok(()));
                }
                interlock.metric("interlock_probes_total{result=\"answered\"}") > Some(3.0)
            });
        }
        for session in [&a, &b] {
            assert_eq!(session.run("BEGIN"), Ok(()));
        }
        assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
        let begun = Instant::now();
        assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 20 FOR UPDATE"), Ok(()));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(b.run("ROLLBACK"), Ok(()));
        assert_eq!(b.run("BEGIN"), Ok(()));
        b.send("SELECT * FROM batch WHERE server_id = 8 FOR UPDATE");
        assert!(b.waits(), "the same gap does");
        assert_eq!(a.run("COMMIT"), Ok(()));
        assert_eq!(b.answer(), Ok(()));
    });
}

#[test]
fn a_killed_proxy_frees_its_names() {
    both(|server| {
        let [left, right] = proxies(server, "15s");
        let (a, b) = (Session::open(&left), Session::open(&right));
        assert_eq!(a.run("BEGIN"), Ok(()));
        assert_eq!(a.run(LOOK), Ok(()));
        assert_eq!(b.run("BEGIN"), Ok(()));
        b.send(LOOK);
        assert!(b.waits());
        let killed = Instant::now();
        left.signal("KILL");
        assert_eq!(b.answer(), Ok(()));
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        assert_eq!(count(&right, "waited"), 1.0);
        assert_eq!(b.run("INSERT INTO batch (server_id) VALUES (40)"), Ok(()));
        // So does a client that leaves without a word.
        let c = Session::open(&right);
        drop(b);
        for sql in ["BEGIN", LOOK, "INSERT INTO batch (server_id) VALUES (40)", "COMMIT"] {
            assert_eq!(c.run(sql), Ok(()), "{sql}");
        }
    });
}

#[test]
fn nobody_waits_longer_than_a_hold_may_last() {
    both(|server| {
        let [left, right] = proxies(server, "1500ms");
        let (a, b) = (Session::open(&left), Session::open(&right));
        assert_eq!(a.run("BEGIN"), Ok(()));
        assert_eq!(a.run(LOOK), Ok(()));
        assert_eq!(b.run("BEGIN"), Ok(()));
        let begun = Instant::now();
        assert_eq!(b.run(LOOK), Ok(()));
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(1400) && took < Duration::from_secs(4), "{took:?}");
        assert_eq!(count(&right, "timed_out"), 1.0);
        // Both have the gap now, as without interlock; the server sees the cycle, and it is counted.
        a.send("INSERT INTO batch (server_id) VALUES (40)");
        assert!(a.waits());
        let results = [b.run("INSERT INTO batch (server_id) VALUES (40)"), a.answer()];
        assert!(results.contains(&Err(1213)), "{results:?}");
        assert_eq!((a.run("ROLLBACK"), b.run("ROLLBACK")), (Ok(()), Ok(())));
        assert_eq!(
            count(&left, "deadlocked") + count(&right, "deadlocked"),
            f64::from(u8::from(results[1].is_err()))
        );
    });
}

#[test]
fn a_session_that_others_may_wait_for_does_not_wait() {
    both(|server| {
        let [left, right] = proxies(server, "15s");
        // A cycle of a row and a name, which InnoDB does not see: neither row locks nor the application's own
        // names may make it. One with a metadata lock the server sees.
        for (first, wish, outcome) in [
            ("UPDATE other SET id = 2 WHERE id = 1", "UPDATE other SET id = 3 WHERE id = 1", "not_free"),
            ("SELECT GET_LOCK('mine', 0)", "SELECT GET_LOCK('mine', 10)", "not_free"),
            ("SELECT * FROM other", "ALTER TABLE other ADD COLUMN more INT", "cycle"),
        ] {
            let (a, b) = (Session::open(&left), Session::open(&right));
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(b.run(first), Ok(()));
            assert_eq!(a.run(LOOK), Ok(()));
            a.send(wish);
            assert!(a.waits(), "{first}");
            let (begun, before) = (Instant::now(), count(&right, outcome));
            assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 50 FOR UPDATE"), Ok(()));
            assert!(begun.elapsed() < Duration::from_secs(5), "{first}: {:?}", begun.elapsed());
            assert_eq!(count(&right, outcome), before + 1.0, "{first}");
            assert_eq!(b.run("ROLLBACK"), Ok(()));
            drop(b);
            assert_eq!(a.answer(), Ok(()), "{wish}");
            assert_eq!(a.run("ROLLBACK"), Ok(()));
        }
    });
}

#[test]
fn a_statement_that_waits_for_a_name_can_be_killed() {
    both(|server| {
        let [left, right] = proxies(server, "15s");
        let (a, b) = (Session::open(&left), Session::open(&right));
        assert_eq!(a.run("BEGIN"), Ok(()));
        assert_eq!(a.run(LOOK), Ok(()));
        assert_eq!(b.run("BEGIN"), Ok(()));
        b.send(LOOK);
        assert!(b.waits());
        let mut root = RawClient::login(server.port, &Login::default());
        assert!(root.query(&format!("KILL QUERY {}", b.thread_id))[0].is_ok());
        assert_eq!(b.answer(), Err(1317));
        assert_eq!(b.run("INSERT INTO other VALUES (2)"), Ok(()), "the transaction is still there");
        assert_eq!(count(&right, "killed"), 1.0);
        // A client that leaves while it waits leaves nothing behind.
        let c = Session::open(&right);
        assert_eq!(c.run("BEGIN"), Ok(()));
        c.send(LOOK);
        assert!(c.waits());
        drop(c);
        drop(b);
        assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (40)"), Ok(()));
        assert_eq!(a.run("COMMIT"), Ok(()));
        drop(a);
        for interlock in [&left, &right] {
            interlock.assert_nothing_is_left();
        }
    });
}
