//! What can be looked at from outside, against real work: the JSON API.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Interlock, Login, RawClient, both, wait_until};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, UNIQUE KEY by_server (server_id)) ENGINE=InnoDB",
    "INSERT INTO shop.batch (server_id) VALUES (7), (12), (30)",
];

fn client(interlock: &Interlock) -> RawClient {
    RawClient::login(interlock.port, &Login { schema: Some("shop".into()), ..Login::default() })
}

fn rows(interlock: &Interlock, table: &str) -> Vec<Value> {
    let (status, body) = interlock.get(&format!("/api/{table}")).expect("the admin address answers");
    assert_eq!(status, 200, "{body}");
    let name = table.split('?').next().expect("split gives at least one part");
    let mut answer: Value = serde_json::from_str(&body).expect("JSON");
    match answer[name].take() {
        Value::Array(rows) => rows,
        other => panic!("{name} is not a list: {other}"),
    }
}

fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql}: {:?}", last.error());
}

#[test]
fn locks_transactions_and_holds_are_shown_while_they_last() {
    both(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        SCHEMA.iter().for_each(|sql| run(&mut root, sql));
        let interlock = Interlock::start(server, &["--action", "reorder"]);
        let (mut a, b) = (client(&interlock), client(&interlock));
        run(&mut a, "BEGIN");
        run(&mut a, "SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE");
        let locks = rows(&interlock, "locks");
        let lock = locks.iter().find(|l| l["index"] == "by_server").expect("a lock in by_server");
        assert_eq!((&lock["schema"], &lock["table"]), (&"shop".into(), &"batch".into()));
        assert_eq!((&lock["lock_mode"], &lock["state"]), (&"X,GAP".into(), &"granted".into()));
        assert_eq!(lock["low"], "?", "literals are redacted");
        assert_eq!(rows(&interlock, "locks?index=by_server&state=granted").len(), 1);
        assert_eq!(rows(&interlock, "locks?index=PRIMARY&state=asked").len(), 0);

        let held = std::thread::spawn(move || {
            let mut b = b;
            run(&mut b, "BEGIN");
            run(&mut b, "SELECT * FROM batch WHERE server_id = 70000010 FOR UPDATE");
            run(&mut b, "COMMIT");
        });
        wait_until("the second lookup is held", Duration::from_secs(10), || {
            !rows(&interlock, "holds").is_empty()
        });
        let hold = rows(&interlock, "holds").remove(0);
        let transactions = rows(&interlock, "transactions");
        let of = |session: &Value| transactions.iter().find(|t| t["session"] == *session).expect("listed");
        assert_eq!(of(&hold["session"])["state"], "held");
        let holder = transactions.iter().find(|t| t["session"] != hold["session"]).expect("the other");
        assert_eq!((&holder["state"], &holder["statements"]), (&"idle".into(), &2.into()));
        assert_eq!(hold["behind"], holder["transaction"].to_string());
        let wait = rows(&interlock, "waits").remove(0);
        assert_eq!((&wait["at"], &wait["holder"]), (&"interlock".into(), &holder["transaction"]));
        assert!(rows(&interlock, "sessions").iter().any(|s| s["state"] == "held" && s["user"] == "root"));

        run(&mut a, "COMMIT");
        held.join().expect("the held statement goes on");
        assert!(rows(&interlock, "holds").is_empty());
        let digests = rows(&interlock, "digests");
        let text = |d: &Value| d["text"].as_str().expect("text").contains("FOR UPDATE");
        let digest = digests.iter().find(|d| text(d)).expect("the lookup");
        assert!(digest["executions"] == 2 && digest["holds"] == 1, "{digest}");
        let body = interlock.get("/api/digests").expect("an answer").1;
        assert!(!body.contains("7000001"), "no literals: {body}");
        drop(a);
        interlock.assert_nothing_is_left();
    });
}
