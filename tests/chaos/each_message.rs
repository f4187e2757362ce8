//! A fault at each message of a conversation, on both legs, in both directions.

use super::bank::{self, Told};
use super::client::{Client, Refused};
use super::proxy::{Direction, Fault, FaultProxy, Plan};
use super::support::{Interlock, Server, both, wait_until};
use super::{SOON, setting};

/// More messages than the conversation has in either direction.
const MESSAGES: usize = 40;

/// A transfer of one unit from 1 to 2, on a connection of its own.
fn transfer(port: u16, id: u64) -> (Told, Option<Refused>) {
    let mut client = match Client::login(port) {
        Ok(client) => client,
        Err(error) => return (Told::Failed, Some(error)),
    };
    for sql in [
        "BEGIN",
        "SELECT balance FROM account WHERE id = 1 FOR UPDATE",
        "UPDATE account SET balance = balance - 1 WHERE id = 1",
        "UPDATE account SET balance = balance + 1 WHERE id = 2",
        &format!("INSERT INTO ledger VALUES ({id}, 1, 2, 1)"),
    ] {
        if let Err(error) = client.query(sql) {
            return (Told::Failed, Some(error));
        }
    }
    match client.query("COMMIT") {
        Ok(_) => (Told::Committed, None),
        Err(error) => (Told::Unknown, Some(error)),
    }
}

/// client → near → interlock → far → server
struct Way {
    near: FaultProxy,
    far: FaultProxy,
    interlock: Interlock,
}

fn way(server: &Server) -> Way {
    bank::open_accounts(server);
    let far = FaultProxy::start(server.port);
    let upstream = format!("127.0.0.1:{}", far.port);
    let interlock = Interlock::start_raw(&[
        "--upstream",
        &upstream,
        "--control-url",
        &server.url(),
        "--action",
        "reorder",
    ]);
    Way { near: FaultProxy::start(interlock.port), far, interlock }
}

/// The transfers agree with what was told of them.
fn agree(server: &Server, told: &[(u64, Told, Plan)]) {
    let entries = bank::audit(server);
    for (id, told, plan) in told {
        let there = entries.contains_key(id);
        match told {
            Told::Committed => assert!(there, "{plan:?}: lost"),
            Told::Failed => assert!(!there, "{plan:?}: not told"),
            Told::Unknown => {}
        }
    }
}

#[test]
fn broken_connections_at_each_message() {
    // All of them with `make chaos`; every third with the other tests.
    let step = setting("CHAOS_STEP", 3) as usize;
    both(|server| {
        let Way { near, far, interlock } = way(server);
        let mut told = Vec::new();
        let mut id = 0;
        for (leg, other) in [(&near, &far), (&far, &near)] {
            for direction in [Direction::Up, Direction::Down] {
                for fault in [Fault::Reset, Fault::Close, Fault::HalfClose] {
                    other.plan(Plan::NONE);
                    let mut at = id as usize % step;
                    loop {
                        id += 1;
                        let plan = Plan { fault, direction, at };
                        leg.plan(plan);
                        let before = leg.struck();
                        let (outcome, error) = transfer(near.port, id);
                        assert!(!error.as_ref().is_some_and(Refused::hangs), "{plan:?} hangs");
                        told.push((id, outcome, plan));
                        if leg.struck() == before {
                            // The conversation was over before.
                            assert_eq!(outcome, Told::Committed, "{plan:?} {error:?}");
                            break;
                        }
                        assert!(at < MESSAGES, "the conversation does not end");
                        at += step;
                    }
                }
            }
            leg.plan(Plan::NONE);
        }
        interlock.assert_nothing_is_left();
        agree(server, &told);
        // Nobody is harmed for long.
        assert_eq!(transfer(near.port, id + 1).0, Told::Committed);
        println!("{} transfers", told.len());
    });
}

#[test]
fn slow_connections_change_nothing() {
    both(|server| {
        let Way { near, far, interlock } = way(server);
        let mut told = Vec::new();
        let mut id = 0;
        for leg in [&near, &far] {
            for direction in [Direction::Up, Direction::Down] {
                for fault in [Fault::Dribble, Fault::Bandwidth(7), Fault::Delay(20)] {
                    for at in [0, 1, 5] {
                        id += 1;
                        let plan = Plan { fault, direction, at };
                        leg.plan(plan);
                        let (outcome, error) = transfer(near.port, id);
                        assert_eq!(outcome, Told::Committed, "{plan:?} {error:?}");
                        told.push((id, outcome, plan));
                    }
                }
            }
            leg.plan(Plan::NONE);
        }
        interlock.assert_nothing_is_left();
        agree(server, &told);
    });
}

#[test]
fn a_connection_that_breaks_while_its_statement_is_held_leaves_no_lock() {
    both(|server| {
        let Way { near, far, interlock } = way(server);
        for (number, leg) in [&near, &far].into_iter().enumerate() {
            let mut first = Client::login(interlock.port).expect("a login");
            first.query("BEGIN").unwrap();
            first.query("SELECT * FROM ledger WHERE id = 900 FOR UPDATE").unwrap();
            // It is held at its third statement; its connection breaks at the first answer to others.
            leg.plan(Plan { fault: Fault::Reset, direction: Direction::Up, at: 3 + number });
            let port = near.port;
            let second = std::thread::spawn(move || {
                let mut client = Client::login(port)?;
                client.query("BEGIN")?;
                client.query("SELECT * FROM ledger WHERE id = 900 FOR UPDATE")
            });
            let struck = leg.struck();
            wait_until("it is held, or broken", SOON, || {
                interlock.status()["held"] == 1 || leg.struck() > struck || second.is_finished()
            });
            first.query("COMMIT").unwrap();
            drop(first);
            let _ = second.join().expect("no panic");
            leg.plan(Plan::NONE);
            interlock.assert_nothing_is_left();
        }
    });
}
