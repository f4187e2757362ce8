//! What goes wrong while transactions run: statements and connections are killed, at the server and where the clients
//! are, and the server itself dies and comes back on the same port and data.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::{Client, Refused};
use super::support::Server;
use super::workload::Shared;

/// Somebody who speaks to a port for as long as a run lasts, and comes back when the connection breaks.
struct Caller {
    port: u16,
    client: Option<Client>,
}

impl Caller {
    /// What comes of it does not matter: whoever is meant may have gone by now.
    fn say(&mut self, sql: &str) {
        self.client = self.client.take().or_else(|| Client::login(self.port).ok());
        if let Some(Err(Refused::Lost(_))) = self.client.as_mut().map(|client| client.query(sql)) {
            self.client = None;
        }
    }
}

/// Kills statements where the clients are, and connections at the server, until the run is over.
pub fn strike(shared: &Shared) {
    let plan = &shared.plan;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let [mut near, mut far] = [plan.port, plan.server].map(|port| Caller { port, client: None });
    while !shared.done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(random.random_range(5..40)));
        let threads: Vec<i64> = shared.threads.lock().expect("no panic under it").values().copied().collect();
        if threads.is_empty() {
            continue;
        }
        // After a restart the server counts anew, so this may be anybody's.
        let thread = threads[random.random_range(0..threads.len())];
        match random.random_range(0..4) {
            0 => far.say(&format!("KILL {thread}")),
            1 => near.say(&format!("KILL {thread}")),
            _ => {
                let sent = shared.at();
                near.say(&format!("KILL QUERY {thread}"));
                let strike = (thread, sent, shared.at());
                shared.outcome.lock().expect("no panic under it").strikes.push(strike);
            }
        }
    }
}

/// Crashes the server so often while the transactions are committed, in equal distances, and starts it again.
/// `running`: somebody still commits any.
pub fn crash(server: &mut Server, shared: &Shared, running: impl Fn() -> bool) {
    let plan = &shared.plan;
    for crash in 1..=plan.crashes {
        let due = plan.committed * crash / (plan.crashes + 1);
        while shared.committed.load(Ordering::Relaxed) < due && running() {
            thread::sleep(Duration::from_millis(1));
        }
        if !running() {
            return;
        }
        let died = shared.at();
        server.kill();
        server.restart();
        shared.outcome.lock().expect("no panic under it").crashes.push((died, shared.at()));
    }
}
