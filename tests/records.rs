//! Conflict records against real servers: who did what since BEGIN, which locks each statement took, where it
//! comes from.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Interlock, Login, RawClient, Server, both, wait_until};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, UNIQUE KEY by_server (server_id)) ENGINE=InnoDB",
    "INSERT INTO shop.batch (server_id) VALUES (7), (12), (30)",
    "CREATE TABLE shop.stock (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
    "INSERT INTO shop.stock VALUES (1, 10), (2, 10)",
];
/// Longest time until something is seen that needs no more than a few milliseconds.
const SOON: Duration = Duration::from_secs(20);

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    SCHEMA.iter().for_each(|sql| run(&mut root, sql));
}

fn client(interlock: &Interlock, program: &str) -> RawClient {
    let attributes = vec![
        ("program_name".to_owned(), program.to_owned()),
        ("_os".to_owned(), "Linux".to_owned()),
        ("team".to_owned(), "billing".to_owned()),
    ];
    RawClient::login(interlock.port, &Login { schema: Some("shop".into()), attributes, ..Login::default() })
}

fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql}: {:?}", last.error());
}

/// Waits for the newest record that fits.
fn record(interlock: &Interlock, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    wait_until(what, SOON, || {
        found = interlock.conflicts().into_iter().rev().find(&fits);
        found.is_some()
    });
    found.expect("wait_until returned, so there is one")
}

/// Two sessions look for a key that is not there; the first has changed a row before.
fn get_or_create(interlock: &Interlock) -> Value {
    let (mut a, mut b) = (client(interlock, "import"), client(interlock, "worker"));
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE stock SET n = n - 1 WHERE id = 2");
    run(
        &mut a,
        "SELECT * FROM batch WHERE server_id = 9 FOR UPDATE /*route='%2Fbatches',framework='django%3A4.2'*/",
    );
    run(&mut b, "BEGIN");
    run(&mut b, "SELECT * FROM batch WHERE server_id = 10 FOR UPDATE");
    let record = record(interlock, "the hazard is written down", |record| record["kind"] == "hazard");
    run(&mut b, "ROLLBACK");
    run(&mut a, "ROLLBACK");
    record
}

#[test]
fn a_record_shows_who_took_which_lock_and_where_it_comes_from() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start_with(server, &[], &[("INTERLOCK__REDACT", "false")]);
        let record = get_or_create(&interlock);
        assert_eq!(
            record["resource"]["place"], "the gap of `batch.server_id` between 7 and 12",
            "{record:#}"
        );
        assert_eq!(record["resource"]["columns"], serde_json::json!(["server_id"]));

        let (requester, holder) = (&record["requester"], &record["holders"][0]);
        assert_eq!((&requester["program"], &holder["program"]), (&"worker".into(), &"import".into()));
        assert_eq!(holder["attributes"]["team"], "billing");
        let steps = holder["transaction"].as_array().expect("a list");
        let texts: Vec<&str> = steps.iter().filter_map(|step| step["statement"].as_str()).collect();
        assert_eq!(texts[..2], ["BEGIN", "UPDATE stock SET n = n - 1 WHERE id = 2"]);
        assert_eq!(steps[0]["locks"], serde_json::json!([]));
        let lock = &steps[1]["locks"][0];
        assert_eq!(lock["place"], "the record of `stock.id` at 2", "{record:#}");
        assert_eq!((&lock["mode"], &lock["index"]), (&"X record".into(), &"PRIMARY".into()));
        let lock = &steps[2]["locks"][0];
        assert_eq!(
            (&lock["mode"], &lock["place"]),
            (&"X gap".into(), &"the gap of `batch.server_id` around 9".into())
        );
        let time = |step: &Value, key: &str| step[key].as_f64().expect("a number");
        assert!(time(&steps[1], "at_ms") <= time(&steps[1], "answered_ms"), "{record:#}");
        assert!(time(&steps[1], "answered_ms") <= time(&steps[2], "at_ms"), "{record:#}");
        assert_eq!(steps[2]["tags"]["route"], "/batches");
        assert_eq!(steps[2]["tags"]["framework"], "django:4.2");
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn redacted_a_record_shows_places_without_keys() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start(server, &[]);
        let record = get_or_create(&interlock);
        assert_eq!(record["resource"]["place"], "the gap of `batch.server_id` between ? and ?");
        let steps = &record["holders"][0]["transaction"];
        assert_eq!(steps[1]["locks"][0]["place"], "the record of `stock.id` at ?", "{record:#}");
        assert_eq!(steps[1]["statement"], "UPDATE stock SET n = n - ? WHERE id = ?");
        assert_eq!(steps[2]["tags"]["route"], "/batches", "tags are no literals");
    });
}
