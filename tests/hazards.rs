//! Deadlocks that may come although they never did: found in the order of locks, with a run that fails on new ones.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{Interlock, Login, RawClient, Server, both, wait_until};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY, state INT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE shop.stock (id INT PRIMARY KEY, n INT NOT NULL, sku INT NOT NULL, UNIQUE KEY (sku)) ENGINE=InnoDB",
    "INSERT INTO shop.orders VALUES (1, 0), (2, 0), (3, 0)",
    "INSERT INTO shop.stock VALUES (1, 10, 101), (2, 10, 102), (3, 10, 103)",
];
const CHECKOUT: &[&str] =
    &["UPDATE orders SET state = 1 WHERE id = 1", "UPDATE stock SET n = n - 1 WHERE id = 1"];
const RESTOCK: &[&str] =
    &["UPDATE stock SET n = n + 9 WHERE id = 2", "UPDATE orders SET state = 2 WHERE id = 2"];
/// Always in the order of the keys, through a secondary index.
const SORTED: &[&str] = &[
    "UPDATE stock SET n = n - 1 WHERE sku = 101",
    "UPDATE stock SET n = n - 1 WHERE sku = 102",
    "UPDATE stock SET n = n - 1 WHERE sku = 103",
];
/// Longest time until something happens that needs no more than a second.
const SOON: Duration = Duration::from_secs(30);

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    SCHEMA.iter().for_each(|sql| run(&mut root, sql));
}

fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql}: {:?}", last.error());
}

/// One after the other: they never meet.
fn transactions(interlock: &Interlock, all: &[&[&str]]) {
    let mut client =
        RawClient::login(interlock.port, &Login { schema: Some("shop".into()), ..Login::default() });
    for statements in all {
        run(&mut client, "BEGIN");
        statements.iter().for_each(|sql| run(&mut client, sql));
        run(&mut client, "COMMIT");
    }
}

fn hazards(interlock: &Interlock) -> Vec<Value> {
    let (status, body) = interlock.get("/api/hazards").expect("the admin address answers");
    assert_eq!(status, 200, "{body}");
    let mut answer: Value = serde_json::from_str(&body).expect("JSON");
    match answer["hazards"].take() {
        Value::Array(all) => all,
        other => panic!("hazards is no list: {other}"),
    }
}

/// Runs the transactions through an interlock that ends by itself; its status and what it has said.
fn status(server: &Server, all: &[&[&str]], args: &[&str]) -> (Option<i32>, String) {
    let mut every = vec!["--fail-on", "hazard", "--exit-after-idle", "200ms"];
    every.extend(args);
    let mut interlock = Interlock::start(server, &every);
    transactions(&interlock, all);
    let status = interlock.wait(SOON);
    (status.code(), interlock.output())
}

#[test]
fn an_opposite_order_is_reported_though_nobody_ever_met() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start(server, &[]);
        transactions(&interlock, &[CHECKOUT, SORTED, CHECKOUT]);
        assert_eq!(hazards(&interlock), Vec::<Value>::new());
        transactions(&interlock, &[RESTOCK, CHECKOUT, RESTOCK]);
        wait_until("the hazard is found", SOON, || !hazards(&interlock).is_empty());
        let all = hazards(&interlock);
        assert_eq!(all.len(), 1, "{all:#?}");
        let hazard = &all[0];
        assert_eq!(hazard["pattern"], "opposite_order", "{hazard:#}");
        let side = |leg: &Value| (leg["holding"].clone(), leg["asking"].clone());
        let sides: Vec<_> = hazard["legs"].as_array().expect("a list").iter().map(side).collect();
        let orders = Value::from("UPDATE orders SET state = ? WHERE id = ?");
        assert!(sides.iter().any(|(holding, _)| *holding == orders), "{hazard:#}");
        assert!(sides.iter().any(|(_, asking)| *asking == orders), "{hazard:#}");
        assert_eq!(interlock.metric("interlock_lock_order_hazards_total"), Some(1.0));
        assert_eq!(interlock.conflicts(), Vec::<Value>::new(), "nothing has collided");
    });
}

#[test]
fn a_run_fails_on_a_new_hazard_and_a_baseline_accepts_it() {
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().expect("a folder");
        let baseline = folder.path().join("hazards.json");
        let file = |path: &Path| path.to_str().expect("a text").to_owned();

        let (code, output) = status(server, &[CHECKOUT, SORTED], &[]);
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("no new lock-order hazard (0 known)"), "{output}");
        let (code, output) = status(server, &[CHECKOUT, RESTOCK], &[]);
        assert_eq!(code, Some(3), "{output}");
        for words in
            ["1 new lock-order hazards (0 known)", "UPDATE orders SET state = ? WHERE id = ?", "shop.stock"]
        {
            assert!(output.contains(words), "{words} is not in {output}");
        }

        let accepting = ["--baseline", &file(&baseline), "--write-baseline"];
        assert_eq!(status(server, &[RESTOCK, CHECKOUT], &accepting).0, Some(0));
        let known = ["--baseline", &file(&baseline)];
        let (code, output) = status(server, &[CHECKOUT, RESTOCK], &known);
        assert_eq!(code, Some(0), "the name does not depend on the run: {output}");
        // What is new is told beside what is known.
        let first = ["SELECT id FROM orders WHERE id = 77 FOR UPDATE", "INSERT INTO orders VALUES (77, 0)"];
        let (code, output) = status(server, &[CHECKOUT, RESTOCK, &first], &known);
        assert_eq!(code, Some(3), "{output}");
        assert!(output.contains("1 new lock-order hazards (1 known)"), "{output}");
    });
}

#[test]
fn the_report_comes_at_a_signal_too() {
    both(|server| {
        prepare(server);
        let mut interlock = Interlock::start(server, &["--fail-on", "hazard"]);
        transactions(&interlock, &[CHECKOUT, RESTOCK]);
        interlock.signal("TERM");
        assert_eq!(interlock.wait(SOON).code(), Some(3));
    });
}
