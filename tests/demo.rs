//! `interlock demo`: shows deadlocks without interlock and none with `reorder`, and cleans up after itself.

mod support;

use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Login, RawClient, both, wait_until};

/// Runs the demonstration against a server; its figures.
fn demo(server: &support::Server, args: &[&str]) -> Value {
    let files = tempfile::tempdir().expect("a temporary directory");
    let json = files.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_interlock"))
        .args(["demo", "--upstream", &server.address(), "--json"])
        .arg(&json)
        .args(args)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(json).expect("the figures were written");
    serde_json::from_str(&text).expect("they are JSON")
}

#[test]
fn deadlocks_direct_and_none_with_reorder() {
    both(|server| {
        let figures = demo(server, &["--seconds", "2"]);
        let [direct, flag, reorder] = figures["runs"].as_array().expect("three runs").as_slice() else {
            panic!("three runs: {figures}");
        };
        assert!(direct["deadlocks"].as_u64() > Some(10), "{direct}");
        assert!(flag["deadlocks"].as_u64() > Some(10), "flag only watches: {flag}");
        assert_eq!(reorder["deadlocks"], 0, "{reorder}");
        assert!(
            reorder["committed"].as_u64() > direct["committed"].as_u64(),
            "reorder commits more: {direct} {reorder}"
        );
        assert_eq!(figures["conflict"]["detected"], "before", "{figures}");
        let mut client = RawClient::login(server.port, &Login::default());
        let left = client.query("SHOW DATABASES LIKE 'interlock_demo'");
        assert_eq!(left.len(), 4, "count, column, EOF and EOF: no row");
    });
}

#[test]
fn four_proxies_before_one_server_prevent_it_too() {
    both(|server| {
        for pattern in ["append", "hot"] {
            let few = ["--proxies", "4", "--only", "reorder", "--seconds", "3", "--pattern", pattern];
            let figures = demo(server, &few);
            let reorder = &figures["runs"][0];
            assert_eq!(reorder["deadlocks"], 0, "{figures}");
            assert!(reorder["committed"].as_u64() > Some(30), "{figures}");
            assert_eq!((&reorder["timeouts"], &reorder["errors"]), (&0.into(), &0.into()), "{figures}");
        }
    });
}

#[test]
fn a_private_server_goes_with_the_demonstration() {
    if support::Server::start(support::Kind::MariaDb).is_none() {
        return;
    }
    let files = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlock"))
        .args(["demo", "--server", "mariadbd", "--only", "direct", "--seconds", "60"])
        .env("TMPDIR", files.path())
        .env_remove("INTERLOCK_DEMO_SERVER")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let empty = || std::fs::read_dir(files.path()).is_ok_and(|mut entries| entries.next().is_none());
    // The directory is made by the first child: from then on there is somebody who cleans up.
    let has_data =
        |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|it| it.path().join("data").exists());
    wait_until("the first child runs", Duration::from_secs(30), || {
        std::fs::read_dir(files.path()).is_ok_and(|mut entries| entries.any(has_data))
    });
    // Killed, it cannot clean up: its children notice.
    child.kill().expect("it is a child");
    child.wait().expect("it is a child");
    wait_until("server and data directory are gone", Duration::from_secs(30), empty);
}
