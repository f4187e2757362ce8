//! What operators and machines do while money is on its way: rollouts, upgrades, reloads, restarts, failover.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bank::{self, Bank};
use super::client::Client;
use super::proxy::{Direction, Fault, FaultProxy, Plan};
use super::support::{Interlock, Kind, Server, both, wait_until};
use super::{SOON, setting};

/// A plan for a connection: most have none, the others one somewhere in their first messages.
pub fn random_plan(random: &mut StdRng) -> Plan {
    let fault = match random.random_range(0..12) {
        0 => Fault::Reset,
        1 => Fault::Close,
        2 => Fault::HalfClose,
        3 => Fault::Dribble,
        4 => Fault::Delay(random.random_range(1..50)),
        5 => Fault::Bandwidth(random.random_range(50..500)),
        _ => Fault::None,
    };
    let direction = if random.random_bool(0.5) { Direction::Up } else { Direction::Down };
    Plan { fault, direction, at: random.random_range(0..200) }
}

#[test]
fn a_rollout_loses_no_transaction() {
    both(|server| {
        bank::open_accounts(server);
        let environment = [("INTERLOCK__SHUTDOWN__GRACE", "1m")];
        let start = || Interlock::start_with(server, &["--action", "reorder"], &environment);
        let mut old = start();
        // The balancer.
        let front = FaultProxy::start(old.port);
        let bank = Bank::open(front.port, 6, 1);
        for _ in 0..3 {
            bank.progress(30, "transfers are made");
            let new = start();
            front.redirect(new.port);
            old.signal("TERM");
            assert_eq!(old.wait(SOON * 2).code(), Some(0));
            old = new;
        }
        bank.progress(30, "transfers are made after it");
        let closing = bank.close(&[server]);
        // Each transaction that was open has ended as its client wanted.
        assert_eq!((closing.unknown, closing.lost), (0, 0), "{closing:?}");
        old.assert_nothing_is_left();
    });
}

#[test]
fn money_stays_where_it_is_under_faults() {
    let seconds = setting("CHAOS_SECONDS", 4);
    for (kind, seed) in Kind::ALL.into_iter().zip([11, 13]) {
        let Some(mut server) = Server::start(kind) else { continue };
        bank::open_accounts(&server);
        let far = FaultProxy::start(server.port);
        let upstream = format!("127.0.0.1:{}", far.port);
        let url = server.url();
        let interlock =
            Interlock::start_raw(&["--upstream", &upstream, "--control-url", &url, "--action", "reorder"]);
        let near = FaultProxy::start(interlock.port);
        for (proxy, seed) in [(&near, seed), (&far, seed + 1)] {
            let mut random = StdRng::seed_from_u64(seed);
            proxy.choose(move || random_plan(&mut random));
        }
        let bank = Bank::open(near.port, 6, seed);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut restarts = 0;
        while Instant::now() < end || restarts == 0 {
            bank.progress(40, "transfers are made");
            interlock.signal("HUP");
            bank.progress(20, "transfers are made after a reload");
            server.kill();
            server.restart();
            restarts += 1;
        }
        bank.progress(20, "transfers are made after a restart of the server");
        for proxy in [&near, &far] {
            proxy.plan(Plan::NONE);
        }
        let closing = bank.close(&[&server]);
        interlock.assert_nothing_is_left();
        println!("{kind:?}: {closing:?}, {} faults, {restarts} restarts", near.struck() + far.struck());
        assert!(near.struck() + far.struck() > 0);
    }
}

#[test]
fn a_failover_with_held_statements() {
    for kind in Kind::ALL {
        let (Some(first), Some(second)) = (Server::start(kind), Server::start(kind)) else { continue };
        for server in [&first, &second] {
            bank::open_accounts(server);
        }
        let far = FaultProxy::start(first.port);
        let address = format!("127.0.0.1:{}", far.port);
        let url = format!("mysql://root@{address}/test");
        let interlock =
            Interlock::start_raw(&["--upstream", &address, "--control-url", &url, "--action", "reorder"]);
        let mut holder = Client::login(interlock.port).expect("a login");
        holder.query("BEGIN").unwrap();
        let port = interlock.port;
        // Until the table is known, nothing is held.
        let held = || interlock.status()["held"] == 1;
        holder.query("SELECT * FROM ledger WHERE id = 900 FOR UPDATE").unwrap();
        let waiting = std::thread::spawn(move || {
            let mut client = Client::login(port)?;
            client.query("BEGIN")?;
            client.query("SELECT * FROM ledger WHERE id = 900 FOR UPDATE")
        });
        wait_until("a statement is held", SOON, || held() || waiting.is_finished());
        far.redirect(second.port);
        first.kill();
        // Both are told, at once; nobody waits for a server that has gone.
        assert!(holder.query("COMMIT").is_err());
        let _ = waiting.join().expect("no panic");
        drop(holder);
        interlock.assert_nothing_is_left();
        let bank = Bank::open(interlock.port, 4, 5);
        bank.progress(40, "the other server serves");
        let closing = bank.close(&[&second]);
        assert_eq!(closing.unknown, 0, "{closing:?}");
        wait_until("it is ready", SOON, || interlock.get("/readyz").is_some_and(|(status, _)| status == 200));
        assert_eq!(closing.committed, bank::audit(&second).len());
        interlock.assert_nothing_is_left();
    }
}
