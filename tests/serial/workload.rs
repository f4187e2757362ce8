//! Random transactions on few keys: get-or-create, changes, spans, removals, upgrades of shared locks, sums over a
//! secondary index; by clients some of which leave in the middle. What else goes wrong: [`super::fault`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::{Client, Refused};
use super::fault;
use super::oracle::numbers;
use super::support::Server;

/// Keys; few, so that transactions meet.
pub const KEYS: i64 = 24;
/// Groups of keys, by a secondary index.
pub const GROUPS: i64 = 6;
const PRIME: i64 = 1_000_003;
/// A run in which nobody has committed anything for so long hangs; how long it takes depends on the machine.
const LONGEST: Duration = Duration::from_secs(120);
/// So long after a login that failed comes the next.
const AGAIN: Duration = Duration::from_millis(20);
/// What the server is started with: a crash takes what was SET.
pub const OPTIONS: [&str; 1] = ["--innodb-lock-wait-timeout=4"];

/// One run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Plan {
    /// The server's own port.
    pub server: u16,
    /// Where clients connect.
    pub port: u16,
    pub clients: u64,
    /// Transactions to commit.
    pub committed: usize,
    /// Crashes of the server meanwhile.
    pub crashes: usize,
    pub seed: u64,
}

/// A statement of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Look(i64),
    Share(i64),
    Group(i64),
    Create(i64),
    Change(i64),
    Span(i64, i64),
    Remove(i64),
}

/// A statement that was answered: the numbers that it has read, or how many rows it has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Did {
    pub what: What,
    pub read: Vec<i64>,
    /// When it was sent, since the run began.
    pub sent: Duration,
    /// When it was answered.
    pub at: Duration,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By their numbers: told to be committed.
    pub committed: HashMap<i64, Vec<Did>>,
    /// COMMIT was sent and not answered.
    pub unknown: HashMap<i64, Vec<Did>>,
    /// Refused before COMMIT, and why.
    pub failed: HashMap<i64, (Vec<Did>, String)>,
    /// The server's connection ids of the transactions' clients.
    pub threads: HashMap<i64, i64>,
    /// `KILL QUERY`: of which connection, and when it was sent and answered.
    pub strikes: Vec<(i64, Duration, Duration)>,
    /// The statement that was refused, or not answered, and when that was.
    pub open: HashMap<i64, (What, Duration)>,
    pub deadlocks: usize,
    pub timeouts: usize,
    /// Statements that ended with 1317.
    pub killed: usize,
    /// Connections that broke within a transaction.
    pub lost: usize,
    /// When the server died, and came back.
    pub crashes: Vec<(Duration, Duration)>,
    /// Numbers of the committed transactions in the journal's order.
    pub journal: Vec<i64>,
    /// Key and value of every cell at the end.
    pub cells: Vec<(i64, i64)>,
}

impl Outcome {
    /// Was the statement killed, or was somebody about to kill it?
    pub fn is_struck(&self, number: i64, step: &Did) -> bool {
        let thread = self.threads.get(&number);
        let meets = |from: Duration, to: Duration| from <= step.at && to >= step.sent;
        self.strikes.iter().any(|(whom, from, to)| Some(whom) == thread && meets(*from, *to))
    }
}

/// Not the same in another order.
pub fn change(value: i64, number: i64) -> i64 {
    (value * 31 + number) % PRIME
}

/// Makes the tables.
pub fn tables(server: &Server) {
    let mut root = Client::login(server.port).expect("the server is there");
    for sql in [
        "CREATE TABLE cell (id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, g INT NOT NULL, v BIGINT NOT NULL, \
         UNIQUE KEY by_k (k), KEY by_g (g)) ENGINE=InnoDB",
        "CREATE TABLE journal (seq BIGINT AUTO_INCREMENT PRIMARY KEY, number BIGINT NOT NULL) ENGINE=InnoDB",
    ] {
        root.query(sql).expect("the tables are made");
    }
}

/// Runs transactions until enough are committed.
pub fn run(server: &mut Server, plan: &Plan) -> Outcome {
    let mut root = Client::login(plan.server).expect("the server is there");
    for sql in ["DELETE FROM cell", "DELETE FROM journal"] {
        root.query(sql).expect("nobody is in the way");
    }
    let shared = Arc::new(Shared { plan: *plan, ..Shared::default() });
    let striker = thread::spawn({
        let shared = shared.clone();
        move || fault::strike(&shared)
    });
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let shared = shared.clone();
            let random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1000).wrapping_add(number));
            thread::spawn(move || Worker { shared, random }.work())
        })
        .collect();
    fault::crash(server, &shared, || clients.iter().any(|client| !client.is_finished()));
    for client in clients {
        client.join().expect("a client takes faults as values");
    }
    shared.done.store(true, Ordering::Relaxed);
    striker.join().expect("so does who makes them");
    let mut outcome = std::mem::take(&mut *shared.outcome.lock().expect("no panic under it"));
    root = Client::login(plan.server).expect("the server is there");
    // Who has gone is rolled back in a moment; its locks are waited for.
    super::support::wait_until("every transaction is over", Duration::from_secs(60), || {
        root.query("SELECT COUNT(*) FROM cell FOR UPDATE").is_ok()
            && root.query("SELECT COUNT(*) FROM journal FOR UPDATE").is_ok()
    });
    outcome.journal = numbers(&mut root, "SELECT number FROM journal ORDER BY seq").concat();
    outcome.cells =
        numbers(&mut root, "SELECT k, v FROM cell").into_iter().map(|row| (row[0], row[1])).collect();
    outcome
}

/// What clients and those who make faults share.
#[derive(Default)]
pub struct Shared {
    pub plan: Plan,
    next: AtomicI64,
    pub committed: AtomicUsize,
    pub done: AtomicBool,
    pub outcome: Mutex<Outcome>,
    /// The server's connection ids of the clients, by client.
    pub threads: Mutex<BTreeMap<u64, i64>>,
    begun: OnceLock<Instant>,
}

impl Shared {
    /// Since the run began.
    pub fn at(&self) -> Duration {
        self.begun.get_or_init(Instant::now).elapsed()
    }

    fn left_open(&self, number: i64, what: What) {
        let at = self.at();
        self.outcome.lock().expect("no panic under it").open.insert(number, (what, at));
    }
}

struct Worker {
    shared: Arc<Shared>,
    random: StdRng,
}

impl Worker {
    fn work(mut self) {
        let me: u64 = self.random.random();
        let mut client = None;
        let (mut committed, mut since) = (0, Instant::now());
        while committed < self.shared.plan.committed {
            let now = self.shared.committed.load(Ordering::Relaxed);
            if now > committed {
                (committed, since) = (now, Instant::now());
                continue;
            }
            assert!(since.elapsed() < LONGEST, "the run hangs");
            let Some(open) = &mut client else {
                client = self.login(me);
                if client.is_none() {
                    thread::sleep(AGAIN);
                }
                continue;
            };
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed) + 1;
            if self.random.random_ratio(1, 60) {
                // Leaves with a statement under way, which may be held.
                if let Some(mut leaving) = client.take()
                    && leaving.query("BEGIN").is_ok()
                {
                    let key = self.random.random_range(0..KEYS);
                    let _ = leaving.query(&sql(What::Change(self.random.random_range(0..KEYS)), number));
                    leaving.leave(&sql(What::Look(key), number));
                    self.shared.outcome.lock().expect("no panic under it").lost += 1;
                }
                continue;
            }
            let mut steps = Vec::new();
            let result = self.transaction(open, number, &mut steps);
            if let Some(thread) = self.shared.threads.lock().expect("no panic under it").get(&me) {
                let mut outcome = self.shared.outcome.lock().expect("no panic under it");
                outcome.threads.insert(number, *thread);
            }
            if !self.note(number, steps, result, open) {
                self.shared.threads.lock().expect("no panic under it").remove(&me);
                client = None;
            }
        }
        self.shared.threads.lock().expect("no panic under it").remove(&me);
    }

    fn login(&mut self, me: u64) -> Option<Client> {
        let mut client = Client::login(self.shared.plan.port).ok()?;
        let thread = client.query("SELECT CONNECTION_ID()").ok()?[0][0].parse().ok()?;
        self.shared.threads.lock().expect("no panic under it").insert(me, thread);
        Some(client)
    }

    /// Before COMMIT: `Err(_, false)`; COMMIT itself: `Err(_, true)`.
    fn transaction(
        &mut self,
        client: &mut Client,
        number: i64,
        steps: &mut Vec<Did>,
    ) -> Result<(), (Refused, bool)> {
        let before = |error| (error, false);
        client.query("BEGIN").map_err(before)?;
        for _ in 0..self.random.random_range(1..=3) {
            let key = self.random.random_range(0..KEYS);
            let chosen = match self.random.random_range(0..12) {
                0..=4 => What::Look(key),
                5 | 6 => What::Change(key),
                7 => What::Span(key, key + self.random.random_range(1..4)),
                8 => What::Remove(key),
                9 | 10 => What::Share(key),
                _ => What::Group(key % GROUPS),
            };
            let read = self.step(client, chosen, number, steps).map_err(before)?;
            match chosen {
                What::Look(_) if read.is_empty() => {
                    self.step(client, What::Create(key), number, steps).map_err(before)?
                }
                What::Look(_) | What::Share(_) => {
                    self.step(client, What::Change(key), number, steps).map_err(before)?
                }
                _ => Vec::new(),
            };
        }
        client.query(&format!("INSERT INTO journal (number) VALUES ({number})")).map_err(before)?;
        client.query("COMMIT").map(|_| ()).map_err(|error| (error, true))
    }

    fn step(
        &self,
        client: &mut Client,
        what: What,
        number: i64,
        steps: &mut Vec<Did>,
    ) -> Result<Vec<i64>, Refused> {
        let sent = self.shared.at();
        let rows = client.query(&sql(what, number)).inspect_err(|_| self.shared.left_open(number, what))?;
        let read: Vec<i64> = match what {
            What::Look(_) | What::Share(_) | What::Group(_) => {
                rows.iter().flatten().map(|text| text.parse().expect("a number")).collect()
            }
            _ => vec![client.affected() as i64],
        };
        steps.push(Did { what, read: read.clone(), sent, at: self.shared.at() });
        Ok(read)
    }

    /// Writes down what came of a transaction. False: the connection is of no use any more.
    fn note(
        &self,
        number: i64,
        steps: Vec<Did>,
        result: Result<(), (Refused, bool)>,
        client: &mut Client,
    ) -> bool {
        let mut outcome = self.shared.outcome.lock().expect("no panic under it");
        let (error, at_commit) = match result {
            Ok(()) => {
                outcome.committed.insert(number, steps);
                self.shared.committed.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Err(failed) => failed,
        };
        let did = format!("{steps:?}");
        if at_commit {
            outcome.unknown.insert(number, steps);
        } else {
            outcome.failed.insert(number, (steps, format!("{error:?}")));
        }
        assert!(!error.hangs(), "transaction {number} got no answer");
        match error {
            Refused::Error(1213) => outcome.deadlocks += 1,
            Refused::Error(1205) => outcome.timeouts += 1,
            Refused::Error(1317) => outcome.killed += 1,
            // The server's farewells to a connection that is killed: 1053, 1927, 3169, 4031; 1158 if it was about to read.
            Refused::Error(1053 | 1158 | 1927 | 3169 | 4031) | Refused::Lost(_) => {
                outcome.lost += 1;
                return false;
            }
            // Seen once in 700 rounds on MariaDB, without interlock: a key that a locking read had not found was there.
            Refused::Error(1062) if self.shared.plan.port == self.shared.plan.server => {
                println!("without interlock, transaction {number}: error 1062 after {did}");
            }
            Refused::Error(code) => panic!("transaction {number}: error {code} after {did}"),
        }
        drop(outcome);
        client.query("ROLLBACK").is_ok()
    }
}

fn sql(what: What, number: i64) -> String {
    let changed = format!("UPDATE cell SET v = MOD(v * 31 + {number}, {PRIME}) WHERE k");
    match what {
        What::Look(key) => format!("SELECT v FROM cell WHERE k = {key} FOR UPDATE"),
        What::Share(key) => format!("SELECT v FROM cell WHERE k = {key} LOCK IN SHARE MODE"),
        What::Group(group) => {
            format!("SELECT COUNT(*), COALESCE(SUM(v), 0) FROM cell WHERE g = {group} FOR UPDATE")
        }
        What::Create(key) => format!("INSERT INTO cell (k, g, v) VALUES ({key}, {}, {number})", key % GROUPS),
        What::Change(key) => format!("{changed} = {key}"),
        What::Span(low, high) => format!("{changed} BETWEEN {low} AND {high}"),
        What::Remove(key) => format!("DELETE FROM cell WHERE k = {key}"),
    }
}
