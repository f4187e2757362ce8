//! `/metrics` against a real server: what Prometheus' own checker says of it, and that no user can make it grow.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use support::{Interlock, Kind, Login, RawClient, Server};

/// Different tables and digests that one test sends.
const MANY: usize = 10_000;

fn scrape(interlock: &Interlock) -> String {
    let (status, text) = interlock.get("/metrics").expect("the admin address answers");
    assert_eq!(status, 200);
    text
}

/// The series of an exposition, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[test]
fn promtool_finds_no_fault() {
    let Some(server) = Server::start(Kind::MariaDb) else { return };
    let interlock = Interlock::start(&server, &[]);
    let mut client = RawClient::login(interlock.port, &Login::default());
    assert!(client.query("DO 1")[0].is_ok());
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (tests/support/setup)");
    let text = scrape(&interlock);
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[test]
fn openmetrics_is_there_for_who_asks() {
    let Some(server) = Server::start(Kind::MariaDb) else { return };
    let interlock = Interlock::start(&server, &[]);
    let ask = |accept: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", interlock.admin_port)).expect("it listens");
        let head = format!("GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    let answer = ask("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.ends_with("\n# EOF\n"), "{answer}");
    let answer = ask("text/plain");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(!answer.contains("# EOF"), "{answer}");
}

#[test]
fn ten_thousand_tables_and_digests_add_no_series() {
    let Some(server) = Server::start(Kind::MariaDb) else { return };
    let interlock = Interlock::start(&server, &[]);
    let mut client = RawClient::login(interlock.port, &Login::default());
    let before = series(&scrape(&interlock));
    for number in 0..MANY {
        // Every one is another statement on another table, and none of them exists.
        let text = format!("SELECT c{number} FROM test.t{number} WHERE secret_{number} = 'hunter{number}'");
        assert_eq!(client.query(&text)[0].error().map(|(code, _)| code), Some(1146), "{text}");
    }
    let text = scrape(&interlock);
    let after = series(&text);
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(after.len() < 1000, "{} series", after.len());
    for word in ["hunter", "secret_", "root"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert!(text.contains(&format!("interlock_errors_total{{errno=\"1146\"}} {MANY}\n")), "{text}");
}
