//! Many clients: storms of connections, no descriptor left, thousands that are idle and thousands that work.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::bank::{self, Bank};
use super::client::Client;
use super::support::{Interlock, Kind, RawClient, Server, both, wait_until};
use super::{SOON, setting};

/// Lets a process have so many descriptors from now on.
fn limit_descriptors(pid: u32, most: u64) {
    let limit = format!("--nofile={most}:{most}");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "prlimit {limit}: see ulimit -Hn, CHAOS_IDLE and CHAOS_BUSY"
    );
}

#[test]
fn a_storm_of_connections_passes() {
    both(|server| {
        bank::open_accounts(server);
        let interlock = Interlock::start(server, &["--action", "reorder"]);
        let mut bystander = Client::login(interlock.port).expect("a login");
        let port = interlock.port;
        let storm: Vec<_> = (0..8)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut open = Vec::new();
                    for number in 0..40 {
                        match (thread + number) % 4 {
                            // Some only knock, some stay and say nothing, some log in and leave.
                            0 => drop(TcpStream::connect(("127.0.0.1", port))),
                            1 => open.extend(TcpStream::connect(("127.0.0.1", port))),
                            _ => drop(Client::login(port).expect("a login")),
                        }
                    }
                })
            })
            .collect();
        for thread in storm {
            thread.join().expect("nobody was refused");
        }
        bystander.query("SELECT 1").expect("others are served");
        drop(bystander);
        wait_until("all have gone", SOON, || interlock.status()["sessions"] == 0);
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn without_descriptors_it_waits_and_recovers() {
    both(|server| {
        let interlock = Interlock::start(server, &[]);
        let mut bystander = Client::login(interlock.port).expect("a login");
        let used = interlock.metric("process_open_fds").expect("it is counted") as u64;
        limit_descriptors(interlock.pid(), used + 9);
        let crowd: Vec<TcpStream> = (0..60)
            .map(|_| TcpStream::connect(("127.0.0.1", interlock.port)).expect("the queue takes it"))
            .collect();
        // Whoever is in works on; the process neither ends nor spins.
        let begin = Instant::now();
        let cpu = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
            let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let before = cpu(interlock.pid());
        while begin.elapsed() < Duration::from_millis(700) {
            bystander.query("SELECT 1").expect("others are served");
            std::thread::sleep(Duration::from_millis(20));
        }
        // In hundredths of a second: far from a busy loop.
        assert!(cpu(interlock.pid()) - before < 60, "{}", cpu(interlock.pid()) - before);
        drop(crowd);
        wait_until("it serves again", SOON, || RawClient::connect(interlock.port).greeting_error().is_none());
        drop(bystander);
        wait_until("all have gone", SOON, || {
            interlock.get("/api/status").is_some() && interlock.status()["sessions"] == 0
        });
        assert!(interlock.output().contains("cannot accept a connection"), "it is told");
    });
}

/// `make chaos`: CHAOS_IDLE and CHAOS_BUSY connections. MariaDB serves so many with a pool of threads.
#[test]
#[ignore = "thousands of connections: make chaos"]
fn ten_thousand_idle_and_two_thousand_busy() {
    let (idle, busy) = (setting("CHAOS_IDLE", 10_000), setting("CHAOS_BUSY", 2_000));
    let most = format!("--max-connections={}", idle + busy + 100);
    let options =
        [&most[..], "--thread-handling=pool-of-threads", "--open-files-limit=65000", "--back-log=4096"];
    let Some(server) = Server::start_with(Kind::MariaDb, &options) else { return };
    bank::open_accounts(&server);
    // interlock gets what this process has, and needs two for each session: raising it again takes a capability.
    limit_descriptors(std::process::id(), 2 * (idle + busy) + 500);
    let limit = (idle + busy + 100).to_string();
    let interlock = Interlock::start_with(
        &server,
        &["--action", "reorder"],
        &[("INTERLOCK__FRONTEND__MAX_CONNECTIONS", &limit), ("INTERLOCK__FRONTEND__HANDSHAKE_TIMEOUT", "1m")],
    );
    let memory = || interlock.metric("process_resident_memory_bytes").expect("it is counted");
    let begin = memory();
    let mut crowd = Vec::new();
    while (crowd.len() as u64) < idle {
        crowd.push(Client::login(interlock.port).expect("a login"));
    }
    let each = (memory() - begin) / idle as f64;
    println!("{idle} idle sessions: {each:.0} bytes each, {:.0} MB in all", memory() / 1e6);
    assert!(each < 16_384.0, "{each} bytes for an idle session");
    let bank = Bank::open(interlock.port, busy as usize, 3);
    let since = Instant::now();
    bank.progress(200, "transfers are made");
    println!("{busy} busy sessions: 200 transfers in {:?}, {:.0} MB", since.elapsed(), memory() / 1e6);
    let closing = bank.close(&[&server]);
    println!("{closing:?}");
    for client in crowd.iter_mut().step_by(100) {
        client.query("SELECT 1").expect("idle sessions still live");
    }
    drop(crowd);
    wait_until("all have gone", SOON * 4, || interlock.status()["sessions"] == 0);
    interlock.assert_nothing_is_left();
}
