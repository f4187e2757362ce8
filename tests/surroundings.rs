//! What surrounds the process misbehaves: the date jumps, the disk is full, nobody reads the log. Clients notice
//! nothing of it.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Interlock, Login, RawClient, Server, both, wait_until};

/// Longest time until something is seen that needs a few seconds at most.
const SOON: Duration = Duration::from_secs(20);
/// `reorder.hold_timeout`, and `reorder.deadlock_hold_timeout`: the same statements have deadlocked before.
const HELD: Duration = Duration::from_secs(3);

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    run(&mut root, "CREATE TABLE test.t (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB");
    run(&mut root, "INSERT INTO test.t VALUES (1, 0), (2, 0), (3, 0)");
}

fn client(interlock: &Interlock) -> RawClient {
    RawClient::login(interlock.port, &Login { schema: Some("test".into()), ..Login::default() })
}

fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql}: {:?}", last.error());
}

/// A deadlock that the server ends, and that is remembered.
fn deadlock(interlock: &Interlock) {
    let (mut first, mut second) = (client(interlock), client(interlock));
    let set = |client: &mut RawClient, id: u32| {
        let sql = format!("/* interlock:flag */ UPDATE t SET n = n + 1 WHERE id = {id}");
        client.query(&sql)[0].error().map(|(code, _)| code)
    };
    run(&mut first, "BEGIN");
    run(&mut second, "BEGIN");
    assert_eq!((set(&mut first, 1), set(&mut second, 2)), (None, None));
    let waiting = std::thread::spawn(move || (set(&mut first, 2), first));
    wait_until("the first one waits", SOON, || interlock.status()["wait_edges"] != 0);
    let ended = set(&mut second, 1);
    let (other, _first) = waiting.join().expect("it is answered");
    let ended = [ended, other];
    assert!(ended.contains(&Some(1213)), "{ended:?}");
    wait_until("it is remembered", SOON, || interlock.metric("interlock_signatures") >= Some(1.0));
}

/// A library that makes a program believe another date, from a file. Setup installs it.
fn faketime() -> Option<String> {
    let listed = Command::new("dpkg").args(["-L", "libfaketime"]).output().ok()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found = listed.lines().find(|line| line.ends_with("/libfaketime.so.1")).map(str::to_owned);
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "tests/support/setup installs libfaketime");
        eprintln!("surroundings: skipped, there is no libfaketime");
    }
    found
}

#[test]
fn a_date_that_jumps_ends_no_hold_and_forgets_nothing() {
    let Some(library) = faketime() else { return };
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().unwrap();
        let date = folder.path().join("date");
        let jump = |by: &str| std::fs::write(&date, format!("{by}\n")).expect("a file");
        jump("+0d");
        let held = format!("{}s", HELD.as_secs());
        let state = folder.path().join("state").display().to_string();
        let interlock = Interlock::start_with(
            server,
            &["--action", "reorder"],
            &[
                ("INTERLOCK__REORDER__HOLD_TIMEOUT", &held),
                ("INTERLOCK__REORDER__DEADLOCK_HOLD_TIMEOUT", &held),
                ("INTERLOCK__STATE__DIR", &state),
                ("LD_PRELOAD", &library),
                ("FAKETIME_TIMESTAMP_FILE", date.to_str().expect("a text")),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ],
        );
        deadlock(&interlock);
        let mut seen = Vec::new();
        // Further than state.signature_lifetime, there and back.
        for by in ["+400d", "-400d", "+0d"] {
            let (mut holder, mut waiter) = (client(&interlock), client(&interlock));
            run(&mut holder, "BEGIN");
            run(&mut holder, "UPDATE t SET n = n + 1 WHERE id = 3");
            let waiting = std::thread::spawn(move || {
                let begin = Instant::now();
                run(&mut waiter, "UPDATE t SET n = n + 1 WHERE id = 3");
                begin.elapsed()
            });
            wait_until("it is held", SOON, || interlock.status()["held"] == 1);
            jump(by);
            // At its deadline it goes on, and waits at the server.
            wait_until("the hold ends", SOON, || interlock.status()["held"] == 0);
            run(&mut holder, "COMMIT");
            let waited = waiting.join().expect("it goes on");
            assert!(waited >= HELD - Duration::from_millis(50), "{by}: {waited:?}");
            assert!(waited < HELD + Duration::from_secs(3), "{by}: {waited:?}");
            let newest = interlock.conflicts().pop().expect("a conflict");
            seen.push(newest["time"].as_str().expect("a time")[..4].parse::<i32>().expect("a year"));
            assert!(interlock.metric("interlock_signatures") >= Some(1.0), "{by}");
            let up = interlock.status()["uptime_seconds"].as_f64().expect("a number");
            assert!((0.0..120.0).contains(&up), "{by}: up for {up} s");
        }
        // It really was another year.
        wait_until("it is told", SOON, || interlock.output().matches("date has jumped").count() >= 2);
        let kept =
            std::fs::read_to_string(Path::new(&state).join("signatures.json")).expect("it was written");
        assert!(kept.contains("UPDATE t SET n"), "{seen:?}: {kept}");
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn a_full_disk_loses_no_signature() {
    let isolates = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).status();
    if !isolates.is_ok_and(|status| status.success()) {
        eprintln!("surroundings: skipped, there are no user namespaces");
        return;
    }
    both(|server| {
        prepare(server);
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().to_str().expect("a text");
        let script = "mount -t tmpfs -o size=64k tmpfs \"$0\" && mkdir \"$0/state\" \
                      && { cat /dev/zero >\"$0/ballast\" 2>/dev/null || true; } && exec \"$@\"";
        let under = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, disk];
        let state = format!("{disk}/state");
        let environment = [
            ("INTERLOCK__STATE__DIR", state.as_str()),
            ("INTERLOCK__CONFLICTS__FILE", &format!("{disk}/conflicts.jsonl")),
        ];
        let mut interlock = Interlock::start_under(&under, server, &["--action", "reorder"], &environment);
        let inside = |name: &str| format!("/proc/{}/root{disk}/{name}", interlock.pid());
        deadlock(&interlock);
        wait_until("it cannot be written", SOON, || interlock.output().contains("signatures not written"));
        wait_until("records are counted as lost", SOON, || {
            interlock.metric("interlock_conflict_records_total{fate=\"lost\"}") >= Some(1.0)
        });
        let file = inside("state/signatures.json");
        let written = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("UPDATE t SET n"));
        assert!(!written(), "the disk is full");
        // Somebody makes room.
        std::fs::remove_file(inside("ballast")).expect("it is there");
        wait_until("it is written", SOON, written);
        assert_eq!(interlock.output().matches("signatures not written").count(), 1, "told once");
        interlock.assert_nothing_is_left();
        interlock.signal("TERM");
        assert!(interlock.wait(SOON).success());
    });
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    both(|server| {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("log");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
        // Both ends are open, so that writing to it blocks as soon as it is full.
        let under = ["sh", "-c", "exec \"$@\" 2<>\"$0\"", pipe.to_str().expect("a text")];
        let mut interlock =
            Interlock::start_under(&under, server, &[], &[("INTERLOCK__LOG__LEVEL", "interlock=debug")]);
        let lost = || interlock.metric("interlock_log_lines_lost_total");
        assert_eq!(lost(), Some(0.0));
        // Each comes and goes with a line.
        wait_until("the queue is full", 3 * SOON, || {
            (0..200).for_each(|_| run(&mut client(&interlock), "DO 1"));
            lost() > Some(0.0)
        });
        interlock.assert_nothing_is_left();
        interlock.signal("TERM");
        assert!(interlock.wait(SOON).success());
    });
}
