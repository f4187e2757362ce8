//! Hours of transfers with faults, reloads, restarts and upgrades: memory and descriptors stay flat.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::bank::{self, Bank, Told};
use super::operations::random_plan;
use super::proxy::{FaultProxy, Plan};
use super::support::{Interlock, Kind, Server, wait_until};
use super::{SOON, setting};

/// One look at the process.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: u64,
    megabytes: f64,
    descriptors: f64,
    locks: f64,
}

fn sample(interlock: &Interlock, since: Instant) -> Sample {
    let metric = |name: &str| interlock.metric(name).expect("the admin address answers");
    Sample {
        seconds: since.elapsed().as_secs(),
        megabytes: metric("process_resident_memory_bytes") / 1e6,
        descriptors: metric("process_open_fds"),
        locks: metric("interlock_locks"),
    }
}

/// `make soak`: SOAK_SECONDS (two hours) on SOAK_SERVER (mysql, else mariadb).
#[test]
#[ignore = "hours: make soak"]
fn soak() {
    let seconds = setting("SOAK_SECONDS", 7200);
    let kind =
        if std::env::var("SOAK_SERVER").as_deref() == Ok("mysql") { Kind::MySql } else { Kind::MariaDb };
    let Some(mut server) = Server::start(kind) else { return };
    bank::open_accounts(&server);
    let far = FaultProxy::start(server.port);
    let upstream = format!("127.0.0.1:{}", far.port);
    let url = server.url();
    let mut interlock =
        Interlock::start_raw(&["--upstream", &upstream, "--control-url", &url, "--action", "reorder"]);
    let near = FaultProxy::start(interlock.port);
    let rough = |seed: u64| {
        for (proxy, seed) in [(&near, seed), (&far, seed + 1)] {
            let mut random = StdRng::seed_from_u64(seed);
            proxy.choose(move || random_plan(&mut random));
        }
    };
    let since = Instant::now();
    let mut samples = Vec::new();
    let (mut committed, mut unknown, mut round) = (0, 0, 0);
    // Rounds, so that each ends with every invariant checked, nothing left, and a quiet look at the process.
    while since.elapsed().as_secs() < seconds {
        round += 1;
        bank::open_accounts(&server);
        rough(round);
        let bank = Bank::open(near.port, 8, round);
        let end = Instant::now() + Duration::from_secs((seconds / 20).clamp(5, 120));
        while Instant::now() < end {
            bank.progress(20, "transfers are made");
            interlock.signal("HUP");
            std::thread::sleep(Duration::from_millis(500));
        }
        if round % 3 == 0 {
            server.kill();
            server.restart();
            bank.progress(20, "transfers are made after a restart");
        }
        for proxy in [&near, &far] {
            proxy.plan(Plan::NONE);
        }
        assert!(bank.count(Told::Committed) > 0);
        let closing = bank.close(&[&server]);
        wait_until("all have gone", SOON, || interlock.status()["sessions"] == 0);
        interlock.assert_nothing_is_left();
        assert!(interlock.is_running());
        (committed, unknown) = (committed + closing.committed, unknown + closing.unknown);
        let sample = sample(&interlock, since);
        println!("{} s: {closing:?}, {sample:?}", sample.seconds);
        samples.push(sample);
    }
    println!("{committed} transfers, {unknown} unknown, {} faults", near.struck() + far.struck());
    // The first rounds fill caches; from then on nothing grows. (An interlock that leaks a session's state on
    // each broken connection would grow by megabytes in minutes.)
    let settled = &samples[samples.len() / 3..];
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    assert!(last.megabytes < first.megabytes * 1.15 + 4.0, "memory grows: {samples:?}");
    assert!(last.descriptors <= first.descriptors + 8.0, "descriptors grow: {samples:?}");
    assert_eq!(last.locks, 0.0);
}
