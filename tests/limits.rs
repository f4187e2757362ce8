//! Everything that a client can make grow has a limit: over it, statements go on unchanged and it is counted.
//!
//! What the limits are is in `deploy/SECURITY.md`. Here each is reached, on both servers; the client notices
//! nothing, and nothing is left.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Interlock, Login, RawClient, Server, both, wait_until};

/// Longest time until something is seen that needs no more than a few milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// One thread, so that its digest cache is the only one.
const SMALL: &[(&str, &str)] = &[
    ("INTERLOCK__FRONTEND__WORKERS", "1"),
    ("INTERLOCK__FRONTEND__MAX_STATEMENT_BYTES", "2000"),
    ("INTERLOCK__LIMITS__PREPARED_STATEMENTS", "3"),
    ("INTERLOCK__LIMITS__SAVEPOINTS", "4"),
    ("INTERLOCK__LIMITS__LOCKS_PER_TRANSACTION", "5"),
    ("INTERLOCK__LIMITS__HISTORY", "6"),
    ("INTERLOCK__LIMITS__PLANS", "40"),
    ("INTERLOCK__REORDER__MAX_HELD", "1"),
    ("INTERLOCK__CONFLICTS__KEEP", "2"),
];

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    run(&mut root, "CREATE TABLE test.t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    let rows: Vec<String> = (1..=100).map(|id| format!("({id}, 0)")).collect();
    run(&mut root, &format!("INSERT INTO test.t VALUES {}", rows.join(", ")));
}

fn client(interlock: &Interlock) -> RawClient {
    RawClient::login(interlock.port, &Login { schema: Some("test".into()), ..Login::default() })
}

fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql:.80}: {:?}", last.error());
}

/// How often statements went on without the model's advice for this reason.
fn passed_on(interlock: &Interlock, reason: &str) -> f64 {
    interlock.metric(&format!("interlock_fail_open_total{{reason=\"{reason}\"}}")).unwrap_or(0.0)
}

fn limited(check: impl Fn(&Interlock)) {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start_with(server, &["--action", "reorder"], SMALL);
        check(&interlock);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn prepared_statements() {
    limited(|interlock| {
        let mut client = client(interlock);
        let mut prepared = Vec::new();
        for number in 0..8 {
            client.command(0x16, format!("UPDATE t SET n = n + 1 WHERE id = {}", number + 1).as_bytes());
            let answer = client.receive();
            assert_eq!(answer.payload[0], 0, "{answer:?}");
            prepared.push(answer.payload[1..5].to_vec());
        }
        for id in &prepared {
            client.command(0x17, &[&id[..], &[0, 1, 0, 0, 0]].concat());
            assert!(client.receive().is_ok());
        }
        assert_eq!(passed_on(interlock, "prepared_limit"), 5.0);
        assert_eq!(client.rows("SELECT SUM(n) FROM t")[0][0].as_deref(), Some("8"), "all were executed");
        // Closing makes room.
        for id in &prepared {
            client.command(0x19, id);
        }
        client.command(0x16, b"UPDATE t SET n = 0 WHERE id = 9");
        let id = client.receive().payload[1..5].to_vec();
        client.command(0x17, &[&id[..], &[0, 1, 0, 0, 0]].concat());
        assert!(client.receive().is_ok());
        assert_eq!(passed_on(interlock, "prepared_limit"), 5.0);
    });
}

#[test]
fn savepoints_locks_and_statements_of_a_transaction() {
    limited(|interlock| {
        let mut client = client(interlock);
        run(&mut client, "BEGIN");
        for number in 0..20 {
            run(&mut client, &format!("SAVEPOINT s{number}"));
        }
        run(&mut client, "ROLLBACK TO SAVEPOINT s0");
        assert_eq!(passed_on(interlock, "savepoint_limit"), 16.0);
        for id in 1..=30 {
            run(&mut client, &format!("UPDATE t SET n = {id} WHERE id = {id}"));
        }
        assert!(passed_on(interlock, "lock_limit") >= 10.0, "{}", passed_on(interlock, "lock_limit"));
        let locks = interlock.status()["locks"].as_u64().expect("a number");
        assert!((1..=10).contains(&locks), "{locks} locks");
        // Who waits for it anyway is shown its first and its newest statements.
        let mut other = self::client(interlock);
        let waiting = std::thread::spawn(move || run(&mut other, "UPDATE t SET n = 0 WHERE id = 1"));
        wait_until("the conflict is seen", SOON, || !interlock.conflicts().is_empty());
        run(&mut client, "COMMIT");
        waiting.join().expect("it goes on");
        let shown = interlock.conflicts()[0]["holders"][0]["transaction"].as_array().expect("a list").len();
        assert_eq!(shown, 6);
        assert_eq!(client.rows("SELECT SUM(n) FROM t")[0][0].as_deref(), Some("464"), "1 + … + 30 - 1");
    });
}

#[test]
fn the_lock_table() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start_with(server, &[], &[("INTERLOCK__LIMITS__LOCKS", "10")]);
        let update = |client: &mut RawClient, id: u32| {
            run(client, &format!("UPDATE t SET n = n + 1 WHERE id = {id}"));
        };
        let mut clients: Vec<RawClient> = (0..5).map(|_| client(&interlock)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            run(client, "BEGIN");
            (1..=10).for_each(|id| update(client, number as u32 * 20 + id));
        }
        let locks = || interlock.status()["locks"].as_u64().expect("a number");
        assert!((1..=10).contains(&locks()), "{} locks", locks());
        assert!(
            passed_on(&interlock, "lock_table_full") >= 40.0,
            "{}",
            passed_on(&interlock, "lock_table_full")
        );
        // Nobody notices, and what is given back is there for others.
        clients.iter_mut().for_each(|client| run(client, "COMMIT"));
        assert_eq!(clients[0].rows("SELECT SUM(n) FROM t")[0][0].as_deref(), Some("50"));
        let mut next = client(&interlock);
        wait_until("it has room again", SOON, || {
            run(&mut next, "BEGIN");
            update(&mut next, 100);
            let followed = locks() > 0;
            run(&mut next, "COMMIT");
            followed
        });
        drop((clients, next));
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn long_and_deep_statements() {
    limited(|interlock| {
        let mut client = client(interlock);
        let long = format!("UPDATE t SET n = 1 WHERE id IN ({}1)", "1, ".repeat(1000));
        run(&mut client, &long);
        assert_eq!(passed_on(interlock, "too_long"), 1.0);
        assert_eq!(client.rows("SELECT n FROM t WHERE id = 1")[0][0].as_deref(), Some("1"));
    });
    both(|server| {
        prepare(server);
        // What is long but read, and becomes a tree as deep as it is long. The server may refuse it.
        let interlock = Interlock::start(server, &[]);
        let mut client = client(&interlock);
        for (link, end) in [
            ("id = 1 OR ", "1"),
            ("1+", "1"),
            ("NOT ", "1"),
            ("(", "1"),
            ("id IN (SELECT id FROM t WHERE ", "1"),
        ] {
            for links in [1000, 8000, 60_000] {
                client.query(&format!("SELECT id FROM t WHERE {}{end}", link.repeat(links)));
                client.query("SELECT 1");
            }
        }
        drop(client);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn holds() {
    limited(|interlock| {
        let mut holder = client(interlock);
        run(&mut holder, "BEGIN");
        run(&mut holder, "UPDATE t SET n = n + 1 WHERE id = 50");
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let mut next = client(interlock);
                std::thread::spawn(move || run(&mut next, "UPDATE t SET n = n + 1 WHERE id = 50"))
            })
            .collect();
        wait_until("all but one are passed on", SOON, || passed_on(interlock, "hold_limit") >= 3.0);
        assert!(interlock.status()["held"].as_u64() <= Some(1), "{}", interlock.status());
        run(&mut holder, "COMMIT");
        waiting.into_iter().for_each(|one| one.join().expect("it goes on"));
        assert_eq!(holder.rows("SELECT n FROM t WHERE id = 50")[0][0].as_deref(), Some("5"));
    });
}

#[test]
fn digests_and_conflicts() {
    limited(|interlock| {
        let mut client = client(interlock);
        for number in 0..200 {
            run(&mut client, &format!("SELECT id AS c{number} FROM t WHERE id = 1"));
        }
        let list = |table: &str| -> Vec<Value> {
            let (status, body) = interlock.get(&format!("/api/{table}")).expect("an answer");
            assert_eq!(status, 200, "{body}");
            let mut answer: Value = serde_json::from_str(&body).expect("JSON");
            answer[table].take().as_array().expect("a list").clone()
        };
        let digests = list("digests").len();
        assert!((30..=40).contains(&digests), "{digests} digests");
        for round in 0..5 {
            let mut other = self::client(interlock);
            run(&mut client, "BEGIN");
            run(&mut client, &format!("UPDATE t SET n = n + 1 WHERE id = {}", 60 + round));
            let sql = format!("UPDATE t SET n = n + 2 WHERE id = {}", 60 + round);
            let waiting = std::thread::spawn(move || run(&mut other, &sql));
            wait_until("it is held", SOON, || interlock.status()["held"] == 1);
            run(&mut client, "COMMIT");
            waiting.join().expect("it goes on");
        }
        assert_eq!(interlock.conflicts().len(), 2, "the newest are kept");
        // A long list comes in parts.
        let part = |after: u64| -> Value {
            let (_, body) =
                interlock.get(&format!("/api/conflicts?after={after}&limit=1")).expect("an answer");
            serde_json::from_str(&body).expect("JSON")
        };
        let (mut after, mut seen) = (0, Vec::new());
        for _ in 0..3 {
            let answer = part(after);
            let records = answer["conflicts"].as_array().expect("a list");
            seen.extend(records.iter().map(|record| record["seq"].as_u64().expect("a number")));
            after = answer["next"].as_u64().expect("a number");
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen[0] < seen[1] && after >= seen[1], "{seen:?}, {after}");
        assert!(interlock.status()["conflicts"].as_u64() >= Some(5));
    });
}
