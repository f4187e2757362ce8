//! `reorder` on random transactions with faults, held to four promises on real servers:
//!
//! * no more deadlocks than without interlock;
//! * nobody is held for longer than the deadline, and nobody waits for ever;
//! * what the tables hold at the end, and what every committed transaction has read, is what one serial order of
//!   the committed transactions gives;
//! * no hold, lock or session is left.
//!
//! Faults: clients that leave, statements and connections that are killed, a server that crashes and comes back.
//!
//! A bounded part runs with the other tests; `make examine-reorder SECONDS=3600 SEED=7` goes on for an hour, every
//! second round with `reorder.retry`.

#[path = "../support/mod.rs"]
mod support;
#[path = "../chaos/client.rs"]
mod client;
mod account;
mod fault;
mod oracle;
mod workload;

use std::time::{Duration, Instant};

use support::{Interlock, Kind, Server};
use workload::{Outcome, Plan};

/// Long enough for most transactions here, short enough that some holds reach it.
const HOLD: &str = "500ms";
/// The same, for what has deadlocked before.
const DEADLOCK_HOLD: &str = "1s";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How long a run is, and what is in it.
#[derive(Clone, Copy)]
struct Length {
    committed: usize,
    crashes: usize,
    /// Victims are run again.
    retry: bool,
}

/// The same transactions directly and through interlock.
fn examine(server: &mut Server, length: Length, seed: u64) {
    let Length { committed, crashes, retry } = length;
    let plan = Plan { server: server.port, port: server.port, clients: 8, committed, crashes, seed };
    let direct = workload::run(server, &plan);
    let environment = [
        ("INTERLOCK__REORDER__HOLD_TIMEOUT", HOLD),
        ("INTERLOCK__REORDER__DEADLOCK_HOLD_TIMEOUT", DEADLOCK_HOLD),
        ("INTERLOCK__REORDER__RETRY", if retry { "true" } else { "false" }),
    ];
    let interlock = Interlock::start_with(server, &["--action", "reorder"], &environment);
    let ordered = workload::run(server, &Plan { port: interlock.port, ..plan });
    for (way, outcome) in [("direct", &direct), ("reorder", &ordered)] {
        println!("{} seed {seed}: {way} against a serial order", server.version);
        let idle = oracle::check(server.kind, outcome);
        if idle > 0 {
            println!("{idle} DELETEs that were killed, deleted nothing and said so");
        }
    }
    interlock.assert_nothing_is_left();
    let figure = |name: &str| interlock.metric(name).expect("the family is there");
    let holds = figure("interlock_hold_seconds_count");
    // A second at most, and a loaded machine may wake a task late, but not by seconds.
    let long = holds - figure("interlock_hold_seconds_bucket{le=\"2\"}");
    let show = |name: &str, outcome: &Outcome| {
        println!(
            "{} seed {seed} {name}: {} committed, {} deadlocks, {} timeouts, {} killed, {} lost, {} crashes",
            server.version,
            outcome.committed.len(),
            outcome.deadlocks,
            outcome.timeouts,
            outcome.killed,
            outcome.lost,
            outcome.crashes.len(),
        );
    };
    show("direct", &direct);
    show("reorder", &ordered);
    println!("{holds} holds, {long} too long");
    assert_eq!(long, 0.0, "holds that outlived their deadline");
    let rate = |outcome: &Outcome| outcome.deadlocks as f64 / outcome.committed.len() as f64;
    assert!(rate(&ordered) <= rate(&direct), "more deadlocks than without interlock");
    assert!(holds > 0.0 && direct.deadlocks > 0, "a run that shows nothing");
    assert!(ordered.lost > 0 && ordered.killed > 0, "no fault has struck");
    assert_eq!(
        (direct.crashes.len(), ordered.crashes.len()),
        (crashes, crashes),
        "the server has not died as planned"
    );
}

fn on(kind: Kind, check: impl Fn(&mut Server)) {
    if let Some(mut server) = Server::start_with(kind, &workload::OPTIONS) {
        workload::tables(&server);
        check(&mut server);
    }
}

/// Seconds, with the other tests. The server crashes in the long ones.
const SHORT: Length = Length { committed: 250, crashes: 0, retry: false };
/// One of many.
const LONG: Length = Length { committed: 1000, crashes: 3, retry: false };

#[test]
fn mysql_keeps_the_promises() {
    on(Kind::MySql, |server| examine(server, SHORT, setting("EXAMINE_SEED", 1)));
}

#[test]
fn mariadb_keeps_the_promises() {
    on(Kind::MariaDb, |server| examine(server, SHORT, setting("EXAMINE_SEED", 1)));
}

/// Rounds, each with the next seed, for as long as EXAMINE_SECONDS says; EXAMINE_SERVER: on one server only.
fn rounds(examine: impl Fn(&mut Server, u64, u64)) {
    let begun = Instant::now();
    let (seconds, seed) = (setting("EXAMINE_SECONDS", 3600), setting("EXAMINE_SEED", 1));
    let only = std::env::var("EXAMINE_SERVER").unwrap_or_default();
    for round in 0.. {
        for kind in Kind::ALL.into_iter().filter(|kind| only.is_empty() || only == kind.name()) {
            on(kind, |server| examine(server, round, seed + round));
        }
        if begun.elapsed() > Duration::from_secs(seconds) {
            println!("{} rounds", round + 1);
            return;
        }
    }
}

#[test]
#[ignore = "an hour: make examine-reorder"]
fn for_an_hour() {
    let crashes = setting("EXAMINE_CRASHES", LONG.crashes as u64) as usize;
    rounds(|server, round, seed| examine(server, Length { retry: round % 2 == 1, crashes, ..LONG }, seed));
}

/// Is it the server? The same transactions and faults under the same oracle, without interlock.
#[test]
#[ignore = "as long as EXAMINE_SECONDS says"]
fn the_server_alone() {
    rounds(|server, _, seed| {
        let crashes = setting("EXAMINE_CRASHES", LONG.crashes as u64) as usize;
        let committed = LONG.committed;
        let plan = Plan { server: server.port, port: server.port, clients: 8, committed, crashes, seed };
        let outcome = workload::run(server, &plan);
        println!("{} seed {seed}: {} in the journal", server.version, outcome.journal.len());
        oracle::check(server.kind, &outcome);
    });
}
