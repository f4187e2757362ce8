//! `reorder.retry`: a victim's transaction is run again, and its client notices nothing; or it gets the error.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::shop::{Session, shops};
use support::{Interlock, Login, RawClient, Server, wait_until};

const SCHEMA: &[&str] = &[
    "CREATE TABLE shop.pair (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
    "INSERT INTO shop.pair VALUES (1, 0), (2, 0)",
    "CREATE TABLE shop.ballast (id INT PRIMARY KEY, n INT) ENGINE=InnoDB",
    "CREATE TABLE shop.elsewhere (id INT) ENGINE=MyISAM",
    "CREATE TABLE shop.entry (id INT PRIMARY KEY, target INT NOT NULL) ENGINE=InnoDB",
    "CREATE TRIGGER shop.counts AFTER INSERT ON shop.entry FOR EACH ROW UPDATE shop.pair SET n = n + 10 WHERE id = NEW.target",
    "CREATE TABLE shop.account (id INT PRIMARY KEY, balance INT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE shop.ledger (id INT PRIMARY KEY, payer INT NOT NULL, payee INT NOT NULL, amount INT NOT NULL) ENGINE=InnoDB",
    "INSERT INTO shop.account VALUES (1, 1000), (2, 1000), (3, 1000), (4, 1000), (5, 1000)",
];

const RETRY: (&str, &str) = ("INTERLOCK__REORDER__RETRY", "true");

/// An interlock in front of a shop on a server of each kind.
fn with(action: &str, environment: &[(&str, &str)], check: impl Fn(&Interlock, &Server)) {
    shops(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        for sql in SCHEMA {
            assert!(root.query(sql)[0].is_ok(), "{sql}");
        }
        let interlock = Interlock::start_with(server, &["--action", action], environment);
        check(&interlock, server);
        interlock.assert_nothing_is_left();
    });
}

fn restarts(interlock: &Interlock, outcome: &str) -> f64 {
    interlock.metric(&format!("interlock_restarts_total{{outcome=\"{outcome}\"}}")).expect("it is counted")
}

/// All that came of deadlocks, for messages.
fn outcomes(interlock: &Interlock) -> String {
    let (_, text) = interlock.get("/metrics").expect("the admin address answers");
    let lines =
        text.lines().filter(|line| line.starts_with("interlock_restarts_total") && !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join(", ")
}

fn rows(server: &Server, sql: &str) -> Vec<Vec<Option<String>>> {
    RawClient::login(server.port, &Login { schema: Some("shop".into()), ..Login::default() }).rows(sql)
}

fn pair(server: &Server) -> Vec<String> {
    rows(server, "SELECT n FROM pair ORDER BY id").into_iter().flatten().flatten().collect()
}

/// `a` changes the first row, after much else: a server's victim is whoever has changed less, unless the other has
/// changed a table of another engine and it has not.
fn heavy(a: &Session) {
    assert_eq!(a.run("BEGIN"), Ok(()));
    assert_eq!(a.run("INSERT INTO elsewhere VALUES (0)"), Ok(()));
    let values: Vec<String> = (0..50).map(|id| format!("({id}, 1)")).collect();
    assert_eq!(a.run(&format!("INSERT INTO ballast VALUES {}", values.join(","))), Ok(()));
    assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 1"), Ok(()));
}

fn crossed(interlock: &Interlock, before: &[(&str, Result<(), u16>)]) -> Result<(), u16> {
    crossed_while(interlock, before, || ())
}

/// The two rows in opposite order; `b` runs `before` first, and then somebody else does something. What `b`'s last
/// statement was answered.
fn crossed_while(
    interlock: &Interlock,
    before: &[(&str, Result<(), u16>)],
    meanwhile: impl FnOnce(),
) -> Result<(), u16> {
    let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
    heavy(&a);
    assert_eq!(b.run("BEGIN"), Ok(()));
    for (sql, answer) in before {
        assert_eq!(b.run(sql), *answer, "{sql}");
    }
    meanwhile();
    // Not held, though this has ended in a deadlock before.
    assert_eq!(b.run("/* interlock:flag */ UPDATE pair SET n = n + 10 WHERE id = 2"), Ok(()));
    b.send("UPDATE pair SET n = n + 10 WHERE id = 1");
    assert_eq!(b.within(Duration::from_millis(200)), None, "a has that row");
    assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 2"), Ok(()));
    let early = b.within(Duration::from_millis(300));
    assert_eq!(a.run("COMMIT"), Ok(()));
    let answer = early.unwrap_or_else(|| b.answer());
    if answer.is_ok() {
        assert_eq!(early, None, "nothing before the other has ended");
        assert_eq!(b.run("COMMIT"), Ok(()));
    }
    answer
}

#[test]
fn the_victims_client_notices_nothing() {
    with("reorder", &[RETRY], |interlock, server| {
        let before = [
            ("INSERT INTO entry VALUES (1, 7)", Ok(())),
            ("INSERT INTO entry VALUES (1, 7)", Err(1062)),
            ("SELECT * FROM entry", Ok(())),
            ("INSERT INTO batch (server_id) VALUES (91), (92)", Ok(())),
            ("SAVEPOINT s", Ok(())),
            ("INSERT INTO entry VALUES (2, 7)", Ok(())),
            ("ROLLBACK TO SAVEPOINT s", Ok(())),
            ("SELECT @@autocommit", Ok(())),
            ("SHOW WARNINGS", Ok(())),
        ];
        assert_eq!(crossed(interlock, &before), Ok(()), "{}", outcomes(interlock));
        assert_eq!(pair(server), ["11", "11"]);
        assert_eq!(rows(server, "SELECT id FROM entry"), [[Some("1".to_owned())]]);
        // The keys that the client was told of, and no others.
        let keys = rows(
            server,
            "SELECT id - (SELECT MAX(id) FROM batch WHERE server_id < 91) FROM batch WHERE server_id > 90",
        );
        assert_eq!(keys.into_iter().flatten().flatten().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(restarts(interlock, "done"), 1.0);
        let of_b = |c: &&serde_json::Value| c["errno"] == 1213;
        let deadlock = interlock.conflicts().iter().find(of_b).expect("it is on record").clone();
        assert_eq!(deadlock["outcome"], "restarted", "{deadlock:#}");
    });
}

#[test]
fn without_it_the_error_goes_to_the_client() {
    with("reorder", &[], |interlock, server| {
        assert_eq!(crossed(interlock, &[]), Err(1213));
        assert_eq!(pair(server), ["1", "1"]);
        for outcome in ["done", "not_repeatable"] {
            assert_eq!(restarts(interlock, outcome), 0.0);
        }
    });
    with("flag", &[RETRY], |interlock, _| assert_eq!(crossed(interlock, &[]), Err(1213)));
}

#[test]
fn another_result_is_the_end() {
    with("reorder", &[RETRY], |interlock, server| {
        // What was read is something else when it is read again.
        let before = [("SELECT balance FROM account WHERE id = 1", Ok(()))];
        let answer = crossed_while(interlock, &before, || {
            assert_eq!(Session::open(server.port).run("UPDATE account SET balance = 1 WHERE id = 1"), Ok(()));
        });
        assert_eq!(answer, Err(1213));
        assert_eq!(pair(server), ["1", "1"]);
        assert_eq!(restarts(interlock, "differs"), 1.0);
    });
}

#[test]
fn what_cannot_be_repeated_is_not() {
    let not_repeatable = [
        "SELECT NOW()",
        "SELECT UUID()",
        "SET @x = 1",
        "SELECT GET_LOCK('x', 0)",
        "SELECT 1 INTO @x",
        "UPDATE entry SET target = RAND()",
        "CREATE TEMPORARY TABLE own (id INT)",
        "SELECT 1; SELECT 2",
        "USE shop",
        "SELECT n INTO OUTFILE '/nowhere/at/all' FROM pair",
    ];
    with("reorder", &[RETRY], |interlock, server| {
        for (number, sql) in not_repeatable.iter().enumerate() {
            let direct = Session::open(server.port).run(sql);
            assert_eq!(crossed(interlock, &[(sql, direct)]), Err(1213), "{sql}");
            assert_eq!(restarts(interlock, "not_repeatable"), number as f64 + 1.0, "{sql}");
            RawClient::login(server.port, &Login::default())
                .query("DELETE FROM shop.ballast; DELETE FROM shop.entry");
        }
        assert_eq!(restarts(interlock, "done"), 0.0);
        assert_eq!(crossed(interlock, &[("INSERT INTO elsewhere VALUES (1)", Ok(()))]), Err(1213));
        assert_eq!(restarts(interlock, "not_undone"), 1.0);
        assert_eq!(
            rows(server, "SELECT COUNT(*) FROM elsewhere WHERE id = 1"),
            [[Some("1".to_owned())]],
            "once only"
        );
    });
    with("reorder", &[RETRY, ("INTERLOCK__REORDER__RETRY_MAX_BYTES", "2000")], |interlock, _| {
        assert_eq!(crossed(interlock, &[("SELECT REPEAT('x', 3000)", Ok(()))]), Err(1213));
        assert_eq!(restarts(interlock, "too_large"), 1.0);
    });
}

#[test]
fn locks_that_the_model_does_not_see() {
    with("reorder", &[RETRY], |interlock, server| {
        let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
        heavy(&a);
        assert_eq!(b.run("SET autocommit = 0"), Ok(()));
        assert_eq!(b.run("INSERT INTO entry VALUES (1, 2)"), Ok(()));
        b.send("INSERT INTO entry VALUES (2, 1)");
        assert_eq!(b.within(Duration::from_millis(200)), None);
        assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 2"), Ok(()));
        assert_eq!(a.run("COMMIT"), Ok(()));
        assert_eq!(b.answer(), Ok(()), "{}", outcomes(interlock));
        assert_eq!(b.run("COMMIT"), Ok(()));
        assert_eq!(pair(server), ["11", "11"]);
        assert_eq!(restarts(interlock, "done"), 1.0);
    });
}

/// `UPDATE pair SET n = n + ? WHERE id = ?`, prepared, executed, and closed at once, as some drivers do.
fn prepared(client: &mut RawClient, id: i32) {
    client.command(0x16, b"UPDATE pair SET n = n + ? WHERE id = ?");
    let answer = client.receive();
    let statement = &answer.payload[1..5];
    while !client.receive().is_eof() {}
    let types = [0, 1, 3, 0, 3, 0];
    let values = [10i32.to_le_bytes(), id.to_le_bytes()].concat();
    client.command(0x17, &[statement, &[0, 1, 0, 0, 0], &types, &values].concat());
    if id == 2 {
        assert!(client.receive().is_ok());
        client.command(0x19, statement);
    }
}

#[test]
fn prepared_statements_are_run_again_though_they_are_closed() {
    with("reorder", &[RETRY], |interlock, server| {
        let a = Session::open(interlock.port);
        let mut b =
            RawClient::login(interlock.port, &Login { schema: Some("shop".into()), ..Login::default() });
        heavy(&a);
        assert!(b.query("BEGIN")[0].is_ok());
        prepared(&mut b, 2);
        prepared(&mut b, 1);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 2"), Ok(()));
        assert_eq!(a.run("COMMIT"), Ok(()));
        let answer = b.receive();
        assert!(answer.is_ok(), "{:?}", answer.error());
        assert!(b.query("COMMIT")[0].is_ok());
        assert_eq!(pair(server), ["11", "11"]);
        assert_eq!(restarts(interlock, "done"), 1.0);
        wait_until("the closed statement is closed at the server too", Duration::from_secs(5), || {
            let count = rows(server, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
            count[0][1].as_deref() == Some("1")
        });
    });
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_nothing() {
    with("reorder", &[RETRY], |interlock, server| {
        let a = Session::open(interlock.port);
        let mut b =
            RawClient::login(interlock.port, &Login { schema: Some("shop".into()), ..Login::default() });
        heavy(&a);
        for sql in ["BEGIN", "UPDATE pair SET n = n + 10 WHERE id = 2"] {
            assert!(b.query(sql)[0].is_ok());
        }
        b.command(0x03, b"UPDATE pair SET n = n + 10 WHERE id = 1");
        thread::sleep(Duration::from_millis(200));
        assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 2"), Ok(()));
        wait_until("it waits for a", Duration::from_secs(5), || interlock.status()["held"] == 1);
        drop(b);
        wait_until("it is gone", Duration::from_secs(5), || interlock.status()["held"] == 0);
        assert_eq!(a.run("COMMIT"), Ok(()));
        assert_eq!(pair(server), ["1", "1"]);
        assert_eq!(restarts(interlock, "client_gone"), 1.0);
    });
}

#[test]
fn kill_query_ends_a_restart_with_the_error() {
    with("reorder", &[RETRY], |interlock, server| {
        let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
        heavy(&a);
        assert_eq!(b.run("BEGIN"), Ok(()));
        assert_eq!(b.run("UPDATE pair SET n = n + 10 WHERE id = 2"), Ok(()));
        b.send("UPDATE pair SET n = n + 10 WHERE id = 1");
        thread::sleep(Duration::from_millis(200));
        assert_eq!(a.run("UPDATE pair SET n = n + 1 WHERE id = 2"), Ok(()));
        wait_until("it waits for a", Duration::from_secs(5), || interlock.status()["held"] == 1);
        assert_eq!(a.run(&format!("KILL QUERY {}", b.thread)), Ok(()));
        assert_eq!(b.answer(), Err(1213));
        assert_eq!(a.run("COMMIT"), Ok(()));
        assert_eq!(b.run("COMMIT"), Ok(()));
        assert_eq!(pair(server), ["1", "1"]);
        assert_eq!(restarts(interlock, "killed"), 1.0);
    });
}

/// Transfers between few accounts in any order. True: it was committed.
fn transfer(client: &mut RawClient, number: u64) -> bool {
    let mix = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let payer = (mix >> 33) % 5 + 1;
    let payee = (payer + (mix >> 45) % 4) % 5 + 1;
    let amount = (mix >> 50) % 20 + 1;
    let statements = [
        "BEGIN".to_owned(),
        format!("UPDATE account SET balance = balance - {amount} WHERE id = {payer}"),
        format!("INSERT INTO ledger VALUES ({number}, {payer}, {payee}, {amount})"),
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {payee}"),
        "COMMIT".to_owned(),
    ];
    for sql in statements {
        match client.query(&sql)[0].error() {
            None => {}
            Some((1213, _)) => return false,
            Some(error) => panic!("{sql}: {error:?}"),
        }
    }
    true
}

#[test]
fn under_load_no_money_is_lost_and_each_commit_counts_once() {
    with("reorder", &[RETRY], |interlock, server| {
        let committed = Arc::new(AtomicU64::new(0));
        let port = interlock.port;
        let clients = (0..8).map(|client| {
            let committed = committed.clone();
            thread::spawn(move || {
                let login = Login { schema: Some("shop".into()), ..Login::default() };
                let mut connection = RawClient::login(port, &login);
                for number in 0..100 {
                    if transfer(&mut connection, client * 1000 + number) {
                        committed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.join().expect("a client that saw nothing strange");
        }
        let one = |sql: &str| rows(server, sql)[0][0].clone().unwrap_or_default();
        assert_eq!(one("SELECT COUNT(*) FROM ledger"), committed.load(Ordering::Relaxed).to_string());
        let wrong = "SELECT COUNT(*) FROM account a WHERE balance <> 1000
            - (SELECT COALESCE(SUM(amount), 0) FROM ledger WHERE payer = a.id)
            + (SELECT COALESCE(SUM(amount), 0) FROM ledger WHERE payee = a.id)";
        assert_eq!(one(wrong), "0");
        let done = restarts(interlock, "done");
        let deadlocks = interlock.metric("interlock_errors_total{errno=\"1213\"}").expect("it is counted");
        println!("{done} run again, {deadlocks} seen by clients");
        assert!(done > deadlocks, "{done} run again, {deadlocks} seen by clients");
    });
}
