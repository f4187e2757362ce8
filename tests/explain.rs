//! `interlock explain` on real servers: the locks of one statement, the outcome of several, clear errors.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Login, RawClient, Server, both};

const SCHEMA: [&str; 2] = [
    "CREATE TABLE tank (id INT PRIMARY KEY AUTO_INCREMENT, code INT NOT NULL, litres INT, UNIQUE KEY code (code))",
    "INSERT INTO tank (code, litres) VALUES (100, 1), (200, 2), (300, 3)",
];

fn explain(server: &Server, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlock"))
        .args(["explain", "--control-url", &server.url()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads or ends");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn json(server: &Server, args: &[&str], input: &str) -> Value {
    let output = explain(server, &[&["--json"], args].concat(), input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// The conflict of each statement that meets one: number, kind, holders.
fn conflicts(played: &Value) -> Vec<(u64, String, Value)> {
    let events = played["events"].as_array().expect("a list");
    let met = |event: &Value| {
        let conflict = event["conflict"].as_object()?;
        let kind = conflict["kind"].as_str()?.to_owned();
        Some((event["number"].as_u64()?, kind, conflict["holders"].clone()))
    };
    events.iter().filter_map(met).collect()
}

fn with_tables(check: impl Fn(&Server)) {
    both(|server| {
        let login = Login { schema: Some("test".into()), ..Login::default() };
        let mut client = RawClient::login(server.port, &login);
        for sql in SCHEMA {
            assert!(client.query(sql)[0].is_ok(), "{sql}");
        }
        check(server);
        // Nothing was executed, and no lock was left.
        let rows = client.rows("SELECT COUNT(*), SUM(litres) FROM tank");
        assert_eq!(rows, [[Some("3".to_owned()), Some("6".to_owned())]]);
        let free = client.query("UPDATE tank SET litres = litres WHERE code > 0");
        assert!(free[0].is_ok());
    });
}

#[test]
fn the_locks_of_one_statement() {
    with_tables(|server| {
        let found = json(server, &["UPDATE tank SET litres = 9 WHERE code = 200"], "");
        let lock = &found["events"][0]["locks"][0];
        assert_eq!((&lock["index"], &lock["mode"]), (&"code".into(), &"X".into()), "{found}");
        assert_eq!(lock["certainty"], "certain", "{found}");
        // MariaDB locks the gap below a unique secondary entry as well.
        let place = lock["place"].as_str().unwrap();
        assert!(["code = 200", "code = 200, between 100 and 200"].contains(&place), "{found}");
        let behind = &found["events"][0]["locks"][1];
        assert_eq!(
            (&behind["index"], &behind["kind"], &behind["place"]),
            (&"PRIMARY".into(), &"record".into(), &"id = 2".into())
        );
        assert!(behind["why"].as_str().is_some_and(|why| !why.is_empty()), "{behind}");
        assert_eq!(found["events"][0]["autocommit"], true);
        let missing = json(server, &["SELECT * FROM tank WHERE code = 150 FOR UPDATE"], "");
        let lock = &missing["events"][0]["locks"][0];
        assert_eq!(
            (&lock["kind"], &lock["place"]),
            (&"gap".into(), &"code = 150, between 100 and 200".into())
        );
        // As `data_locks` has it: at the entry above the gap.
        let shown = &lock["shown"];
        assert_eq!(shown["lock_mode"], "X,GAP", "{missing}");
        assert!(shown["lock_data"].as_str().is_some_and(|data| data.starts_with("200")), "{missing}");
        let nothing = json(
            server,
            &["--isolation", "read-committed", "SELECT * FROM tank WHERE code = 150 FOR UPDATE"],
            "",
        );
        assert_eq!(nothing["events"][0]["locks"], serde_json::json!([]), "{nothing}");
        let table = explain(server, &["DELETE FROM tank WHERE code = 150"], "");
        let text = String::from_utf8_lossy(&table.stdout);
        assert!(text.contains("who could wait for it") && text.contains("inserts into this gap"), "{text}");
        let loaded = explain(server, &["LOAD DATA INFILE '/tank' INTO TABLE tank (code)"], "");
        let text = String::from_utf8_lossy(&loaded.stdout);
        assert!(text.contains("What it locks is not known: its rows are in a file."), "{text}");
    });
}

#[test]
fn several_sessions_and_their_deadlock() {
    with_tables(|server| {
        let script = "\
-- session left
BEGIN; SELECT * FROM tank WHERE code = 150 FOR UPDATE;
-- session right
BEGIN; SELECT * FROM tank WHERE code = 180 FOR UPDATE;
-- session left
INSERT INTO tank (code) VALUES (150);
-- session right
INSERT INTO tank (code) VALUES (180); COMMIT;
";
        let played = json(server, &["-"], script);
        let met = conflicts(&played);
        assert_eq!(met[0], (4, "hazard".into(), serde_json::json!(["left"])), "{played}");
        assert_eq!(met[1], (5, "wait".into(), serde_json::json!(["right"])), "{played}");
        assert_eq!(met[2], (6, "deadlock".into(), serde_json::json!(["left"])), "{played}");
        let text = explain(server, &["-"], script);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("session left") && text.contains("session right"), "{text}");
        assert!(text.contains("a deadlock, closed by statement 6 of session right"), "{text}");
        assert!(text.contains("→ statement 5 goes on"), "{text}");
    });
}

#[test]
fn ranges_are_what_the_server_reads() {
    with_tables(|server| {
        let places = |sql: &str| {
            let explained = json(server, &[sql], "");
            let locks = explained["events"][0]["locks"].as_array().unwrap().clone();
            let place = |lock: &Value| {
                format!("{} {}", lock["kind"].as_str().unwrap(), lock["place"].as_str().unwrap())
            };
            locks.iter().map(place).collect::<Vec<_>>()
        };
        // No index on litres, whatever the text looks like.
        let all = places("DELETE FROM tank WHERE litres = 7");
        let gaps = ["the beginning and 1", "1 and 2", "2 and 3"];
        let each = gaps.iter().enumerate().map(|(n, gap)| format!("next-key id = {}, between {gap}", n + 1));
        let behind = "gap between 3 and the end".to_owned();
        assert_eq!(all, each.chain([behind]).collect::<Vec<_>>());
        let below = places("SELECT * FROM tank WHERE id < 3 FOR UPDATE");
        assert_eq!(below[0], "next-key id = 1, between the beginning and 1", "{below:?}");
        assert_eq!(below[1], "next-key id = 2, between 1 and 2", "{below:?}");
        // Where the range ends, MySQL locks the gap, MariaDB the entry as well.
        let end = ["gap between 2 and 3", "next-key id = 3, between 2 and 3"];
        assert!(below.len() == 3 && end.contains(&below[2].as_str()), "{below:?}");
    });
}

#[test]
fn what_the_script_has_changed_counts() {
    with_tables(|server| {
        let script = "\
-- session A
DELETE FROM tank WHERE code = 200; INSERT INTO tank (id, code) VALUES (9, 250);
-- session B
SELECT * FROM tank WHERE code = 200 FOR UPDATE; SELECT * FROM tank WHERE id = 9 FOR UPDATE;
";
        let played = json(server, &["-"], script);
        let lock = |event: usize| &played["events"][event]["locks"][0];
        assert_eq!(lock(2)["place"], "code = 200, between 100 and 250", "{played}");
        assert_eq!((&lock(3)["kind"], &lock(3)["place"]), (&"record".into(), &"id = 9".into()), "{played}");
    });
}

#[test]
fn a_wait_ends_with_the_holder() {
    with_tables(|server| {
        let script = "\
-- session A
BEGIN; INSERT INTO tank (code, litres) VALUES (400, 4);
-- session B
UPDATE tank SET litres = 5 WHERE code = 400; DELETE FROM tank WHERE code = 100;
-- session A
COMMIT;
";
        let played = json(server, &["-"], script);
        assert_eq!(conflicts(&played), [(3, "wait".into(), serde_json::json!(["A"]))], "{played}");
        let kinds: Vec<_> = played["events"].as_array().unwrap().iter().map(|e| e["event"].clone()).collect();
        assert_eq!(
            kinds,
            ["statement", "statement", "statement", "queues", "statement", "goes_on", "statement"]
        );
        assert_eq!(played["waiting"], serde_json::json!([]));
        assert_eq!(played["outcome"], "Predicted: one statement waits, no deadlock.");
    });
}

#[test]
fn errors_say_where() {
    with_tables(|server| {
        let fails = |args: &[&str], input: &str, expected: &[&str]| {
            let output = explain(server, args, input);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(expected.iter().all(|word| said.contains(word)), "{said}");
        };
        fails(&["-"], "BEGIN;\nUPDATE tank SETT n = 1", &["line 2", "1064"]);
        fails(&["SELECT * FROM barrel FOR UPDATE"], "", &["line 1", "1146", "barrel"]);
        fails(&["UPDATE tank SET colour = 1 WHERE id = 1"], "", &["1054", "colour"]);
        fails(&["-"], " -- nothing\n", &["no statement"]);
        fails(&["nowhere.sql"], "", &["nowhere.sql", "cannot be read"]);
        fails(&["--isolation", "snapshot", "DELETE FROM tank"], "", &["READ COMMITTED"]);
    });
}

#[test]
fn a_server_that_is_not_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_interlock"))
        .args(["explain", "--control-url", "mysql://root@127.0.0.1:9/test", "DELETE FROM tank"])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("cannot connect"), "{said}");
}
