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

fn written(interlock: &Interlock, fate: &str) -> f64 {
    interlock
        .metric(&format!("interlock_conflict_records_total{{fate=\"{fate}\"}}"))
        .expect("the family is there")
}

#[test]
fn conflicts_of_one_kind_are_counted_together_with_advice_that_the_model_has_tried() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start(server, &[]);
        get_or_create(&interlock);
        let record = get_or_create(&interlock);
        assert_eq!(record["pattern"], "gap_then_insert");
        let advice = record["advice"].as_array().expect("a list");
        let of = |word: &str| {
            advice.iter().find(|one| one["text"].as_str().is_some_and(|text| text.contains(word)))
        };
        let first = of("unique key on `batch (server_id)`").expect("insert first is advised");
        assert!(first["reason"].as_str().is_some_and(|reason| reason.contains("gap")), "{first}");
        let again = of("READ COMMITTED").expect("READ COMMITTED is advised")["model"].clone();
        assert_eq!(again, "it would have helped: run again, nobody waits (as it was: both hold the gap)");

        let (status, body) = interlock.get("/api/groups").expect("the admin address answers");
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let group = &answer["groups"][0];
        assert_eq!((&group["id"], &group["count"]), (&record["group"], &2.into()), "{body}");
        assert_eq!((&group["index"], &group["advice"]), (&"by_server".into(), &record["advice"]));
        assert_eq!((&group["newest"], &group["example"]["seq"]), (&record["seq"], &record["seq"]));
        assert!(group["first_seen"].as_str() < group["last_seen"].as_str(), "{body}");
    });
}

#[test]
fn every_conflict_goes_to_a_file_that_does_not_grow_without_end() {
    const MAX: u64 = 16_384;
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("conflicts");
        let max = MAX.to_string();
        let environment = [
            ("INTERLOCK__CONFLICTS__FILE", file.to_str().expect("a text")),
            ("INTERLOCK__CONFLICTS__FILE_MAX_BYTES", &max),
            ("INTERLOCK__CONFLICTS__FILE_KEEP", "2"),
        ];
        let mut interlock = Interlock::start_with(server, &["--action", "reorder"], &environment);
        let (mut a, mut b) = (client(&interlock, "import"), client(&interlock, "worker"));
        let change = "UPDATE stock SET n = n + 1 WHERE id = 1";
        for _ in 0..40 {
            run(&mut a, "BEGIN");
            run(&mut a, change);
            run(&mut b, "BEGIN");
            b.command(3, change.as_bytes());
            wait_until("the second is held", SOON, || interlock.status()["held"] == 1);
            run(&mut a, "COMMIT");
            assert!(b.receive().is_ok());
            run(&mut b, "COMMIT");
        }
        wait_until("all are written", SOON, || written(&interlock, "written") >= 40.0);
        assert_eq!(written(&interlock, "lost"), 0.0);
        // One that is still open when the process ends is written as it is.
        run(&mut a, "BEGIN");
        run(&mut a, change);
        run(&mut b, "BEGIN");
        b.command(3, change.as_bytes());
        wait_until("the last is held", SOON, || interlock.status()["held"] == 1);
        let last = interlock.conflicts().last().expect("there are some")["seq"].clone();
        drop((a, b));
        interlock.signal("TERM");
        interlock.wait(SOON);

        let name = |number: usize| match number {
            0 => file.clone(),
            _ => file.with_extension(number.to_string()),
        };
        assert!(name(1).exists() && name(2).exists() && !name(3).exists());
        let (mut newest, mut all, mut gone) = (0, 0, 0);
        for number in [2, 1, 0] {
            let text = std::fs::read_to_string(name(number)).expect("a text");
            assert!(text.len() as u64 <= MAX && text.ends_with('\n'), "{} bytes", text.len());
            for line in text.lines() {
                let record: Value = serde_json::from_str(line).expect("each line is JSON");
                let holders = record["holders"].as_array().expect("a list");
                assert!(holders.iter().all(|holder| holder["transaction"].is_array()), "{line}");
                (all, gone) = (all + 1, gone + usize::from(holders.is_empty()));
                newest = newest.max(record["seq"].as_u64().expect("a number"));
            }
        }
        assert_eq!(last, newest, "the last one is there");
        assert!(gone * 10 < all, "of {all} holders {gone} had ended when they were looked for");
    });
}

#[test]
fn a_full_disk_delays_nobody_and_is_counted() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start_with(server, &[], &[("INTERLOCK__CONFLICTS__FILE", "/dev/full")]);
        for _ in 0..3 {
            get_or_create(&interlock);
        }
        wait_until("they are counted as lost", SOON, || written(&interlock, "lost") >= 3.0);
        assert_eq!(written(&interlock, "written"), 0.0);
        let output = interlock.output();
        assert_eq!(output.matches("conflicts cannot be written").count(), 1, "told once: {output}");
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn a_deadlock_that_nobody_foresaw_is_told_in_the_servers_words() {
    both(|server| {
        prepare(server);
        let interlock = Interlock::start(server, &[]);
        let (mut a, mut b) = (client(&interlock, "import"), client(&interlock, "worker"));
        // Exempted statements are not followed: the model cannot see this coming.
        let update = |id: u32| format!("UPDATE stock SET n = n + 1 WHERE id = {id} /* interlock:off */");
        for (client, id) in [(&mut a, 1), (&mut b, 2)] {
            run(client, "BEGIN");
            run(client, &update(id));
        }
        a.command(3, update(2).as_bytes());
        wait_until("the first waits at the server", SOON, || {
            let mut root = RawClient::login(server.port, &Login::default());
            // Not innodb_trx: that view is old for as long as somebody keeps looking at it.
            let waiting = root.rows("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'");
            waiting[0][1].as_deref() == Some("1")
        });
        b.command(3, update(1).as_bytes());
        let victims = [a.receive(), b.receive()].iter().filter(|packet| packet.error().is_some()).count();
        assert_eq!(victims, 1, "one of the two was chosen");
        let record = record(&interlock, "the server was asked", |record| record["server"].is_array());
        assert_eq!((&record["detected"], &record["errno"]), (&"after".into(), &1213.into()));
        assert_eq!(
            (&record["resource"]["table"], &record["resource"]["index"]),
            (&"stock".into(), &"PRIMARY".into())
        );
        assert_eq!(record["pattern"], "opposite_order", "{record:#}");
        let parties = record["server"].as_array().expect("a list");
        assert!(
            parties
                .iter()
                .all(|party| party["waits_for"][0].as_str().is_some_and(|w| w.contains("shop.stock")))
        );
        let programs = [&record["requester"]["program"], &record["holders"][0]["program"]];
        assert!(programs.contains(&&"import".into()) && programs.contains(&&"worker".into()), "{record:#}");
        let others = record["holders"][0]["transaction"].as_array().expect("a list");
        assert_eq!(others.len(), 3, "BEGIN and both updates: {record:#}");
        assert!(
            record["advice"][0]["text"].as_str().is_some_and(|text| text.contains("one order")),
            "{record:#}"
        );
    });
}
