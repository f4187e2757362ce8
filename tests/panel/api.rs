//! The JSON API and the events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::shop::{SOON, TOKEN, in_each_shop, run};
use crate::support::{Interlock, wait_until};

#[test]
fn locks_transactions_and_holds_are_shown_while_they_last() {
    in_each_shop(&[], |shop| {
        let interlock = &shop.interlock;
        let (mut a, b) = (shop.client(), shop.client());
        run(&mut a, "BEGIN");
        run(&mut a, "SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE");
        let locks = shop.rows("locks");
        let lock = locks.iter().find(|l| l["index"] == "by_server").expect("a lock in by_server");
        assert_eq!((&lock["schema"], &lock["table"]), (&shop.schema.as_str().into(), &"batch".into()));
        assert_eq!((&lock["lock_mode"], &lock["state"]), (&"X,GAP".into(), &"granted".into()));
        assert_eq!(lock["low"], "?", "literals are redacted");
        assert_eq!(shop.rows("locks?index=by_server&state=granted").len(), 1);
        assert_eq!(shop.rows("locks?index=PRIMARY&state=asked").len(), 0);

        let held = std::thread::spawn(move || {
            let mut b = b;
            run(&mut b, "BEGIN");
            run(&mut b, "SELECT * FROM batch WHERE server_id = 70000010 FOR UPDATE");
            run(&mut b, "COMMIT");
        });
        wait_until("the second lookup is held", SOON, || !shop.rows("holds").is_empty());
        let hold = shop.rows("holds").remove(0);
        let transactions = shop.rows("transactions");
        let of = |session: &Value| transactions.iter().find(|t| t["session"] == *session).expect("listed");
        assert_eq!(of(&hold["session"])["state"], "held");
        let holder = transactions.iter().find(|t| t["session"] != hold["session"]).expect("the other");
        assert_eq!((&holder["state"], &holder["statements"]), (&"idle".into(), &2.into()));
        assert_eq!(hold["behind"], holder["transaction"].to_string());
        let wait = shop.rows("waits").remove(0);
        assert_eq!((&wait["at"], &wait["holder"]), (&"interlock".into(), &holder["transaction"]));
        assert!(shop.rows("sessions").iter().any(|s| s["state"] == "held" && s["user"] == "root"));

        run(&mut a, "COMMIT");
        held.join().expect("the held statement goes on");
        assert!(shop.rows("holds").is_empty());
        let digests = shop.rows("digests");
        let text = |d: &Value| d["text"].as_str().expect("text").contains("FOR UPDATE");
        let digest = digests.iter().find(|d| text(d)).expect("the lookup");
        assert!(digest["executions"] == 2 && digest["holds"] == 1, "{digest}");
        let body = interlock.get("/api/digests").expect("an answer").1;
        assert!(!body.contains("7000001"), "no literals: {body}");
        drop(a);
        interlock.assert_nothing_is_left();
    });
}

/// An HTTP request with these headers: status and body.
pub fn request(interlock: &Interlock, what: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", interlock.admin_port)).expect("it listens");
    write!(stream, "{what} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
}

#[test]
fn a_hold_is_released_and_a_session_killed_with_the_token_only() {
    in_each_shop(&[], |shop| {
        let interlock = &shop.interlock;
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        let (holder, held) = shop.hold();
        let release = format!("POST /api/holds/{}/release", shop.rows("holds")[0]["hold"]);
        assert_eq!(request(interlock, &release, "").0, 401);
        assert_eq!(shop.rows("holds").len(), 1, "still held");
        assert_eq!(request(interlock, &release, &token).0, 200);
        assert_eq!(held.join().expect("no panic"), Some(0), "it went on");
        assert_eq!(request(interlock, &release, &token).0, 404, "no longer held");
        assert_eq!(interlock.metric("interlock_holds_total{kind=\"hazard\",end=\"operator\"}"), Some(1.0));
        drop(holder);
        interlock.assert_nothing_is_left();

        let (mut holder, held) = shop.hold();
        let session = &shop.rows("holds")[0]["session"];
        let kill = format!("POST /api/sessions/{session}/kill");
        assert_eq!(request(interlock, &kill, "").0, 401);
        assert_eq!(request(interlock, &kill, &token).0, 200);
        assert_eq!(held.join().expect("no panic"), None, "its connection was closed");
        run(&mut holder, "COMMIT");
        drop(holder);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn every_answer_is_as_the_openapi_file_says() {
    in_each_shop(&[], |shop| {
        let interlock = &shop.interlock;
        shop.cross();
        let (mut holder, held) = shop.hold();
        let group = shop.rows("groups")[0]["id"].as_str().expect("a name").to_owned();
        let (_, text) = interlock.get("/api/openapi.json").expect("an answer");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let mut checked = 0;
        for (path, item) in document["paths"].as_object().expect("paths") {
            let Some(content) = item["get"]["responses"]["200"]["content"].as_object() else { continue };
            let Some(media) = content.get("application/json") else { continue };
            let path = path.replace("{seq}", "1").replace("{id}", &group);
            let (status, body) = interlock.get(&path).expect("an answer");
            assert_eq!(status, 200, "{path}: {body}");
            check(&document, &media["schema"], &serde_json::from_str(&body).expect("JSON"), &path);
            checked += 1;
        }
        assert!(checked >= 10, "{checked}");

        // The first event comes at once, and shows the hold.
        let mut stream = TcpStream::connect(("127.0.0.1", interlock.admin_port)).expect("it listens");
        stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut lines = BufReader::new(stream).lines().map(|line| line.expect("text"));
        let event = lines.find(|line| line.starts_with("data:")).expect("an event");
        let data: Value = serde_json::from_str(event.trim_start_matches("data:")).expect("JSON");
        let schema =
            &document["paths"]["/api/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
        check(&document, &schema["schema"], &data, "/api/events");
        assert!(!shop.rows("hazards").is_empty());
        assert!(!data["groups"].as_array().expect("a list").is_empty());
        assert!(!data["holds"].as_array().expect("a list").is_empty());
        assert!(!data["locks"].as_array().expect("a list").is_empty());

        run(&mut holder, "COMMIT");
        assert_eq!(held.join().expect("no panic"), Some(0));
    });
}

/// Holds an answer to its schema.
fn check(document: &Value, schema: &Value, answer: &Value, path: &str) {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let faults: Vec<String> =
        validator.iter_errors(answer).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(faults.is_empty(), "{path}: {faults:#?}");
}
