//! A bank: transfers between accounts, each with an entry in a ledger. Whatever happens, the accounts, the
//! ledger, and what the clients were told must agree.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::{Client, Refused};
use super::support::{RawClient, Server, wait_until};

/// Accounts: few, so that transfers meet; CHAOS_ACCOUNTS says how many.
fn accounts() -> u64 {
    super::setting("CHAOS_ACCOUNTS", 12)
}

/// What each begins with.
const OPENING: i64 = 1000;

/// What a client was told of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// COMMIT was answered with OK.
    Committed,
    /// An error, or the end of the connection, before COMMIT was sent.
    Failed,
    /// COMMIT was sent and not answered.
    Unknown,
}

/// The clients of a bank.
pub struct Bank {
    told: Arc<Mutex<HashMap<u64, Told>>>,
    /// Connections that broke within a transaction.
    pub lost: Arc<AtomicUsize>,
    hung: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

/// Makes the tables.
pub fn open_accounts(server: &Server) {
    let mut root = RawClient::login(server.port, &super::support::Login::default());
    let accounts: Vec<String> = (1..=accounts()).map(|id| format!("({id}, {OPENING})")).collect();
    let sql = format!(
        "DROP TABLE IF EXISTS test.ledger, test.account;
        CREATE TABLE test.account (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB;
        CREATE TABLE test.ledger (id BIGINT PRIMARY KEY, payer INT NOT NULL, payee INT NOT NULL,
            amount BIGINT NOT NULL, KEY (payer), KEY (payee)) ENGINE=InnoDB;
        INSERT INTO test.account VALUES {};
        SET GLOBAL max_connect_errors = 1000000000",
        accounts.join(",")
    );
    for packet in root.query(&sql) {
        assert_eq!(packet.error(), None);
    }
}

impl Bank {
    /// `clients` that transfer money through a port until they are stopped.
    pub fn open(port: u16, clients: usize, seed: u64) -> Bank {
        let mut bank = Bank {
            told: Arc::default(),
            lost: Arc::default(),
            hung: Arc::default(),
            stop: Arc::default(),
            next: Arc::new(AtomicU64::new(1)),
            clients: Vec::new(),
        };
        for number in 0..clients {
            let teller = Teller {
                port,
                random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                told: bank.told.clone(),
                lost: bank.lost.clone(),
                hung: bank.hung.clone(),
                next: bank.next.clone(),
            };
            let stop = bank.stop.clone();
            bank.clients.push(thread::spawn(move || teller.work(&stop)));
        }
        bank
    }

    /// Transfers of which this was told.
    pub fn count(&self, told: Told) -> usize {
        self.told.lock().expect("no panic under it").values().filter(|&&one| one == told).count()
    }

    /// Waits until so many more transfers are committed.
    pub fn progress(&self, more: usize, what: &str) {
        let before = self.count(Told::Committed);
        wait_until(what, super::SOON * 2, || self.count(Told::Committed) >= before + more);
    }

    /// Stops the clients, and compares what the server says with what they were told. The servers that the
    /// money was at, one after the other, each has a part of the ledger.
    pub fn close(mut self, servers: &[&Server]) -> Closing {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("clients take faults as values");
        }
        assert_eq!(self.hung.load(Ordering::Relaxed), 0, "clients that waited in vain");
        let mut entries = HashMap::new();
        for server in servers {
            entries.extend(audit(server));
        }
        let told = self.told.lock().expect("no panic under it");
        let mut closing = Closing::default();
        for (id, told) in told.iter() {
            match (told, entries.contains_key(id)) {
                (Told::Committed, true) => closing.committed += 1,
                (Told::Failed, false) => closing.failed += 1,
                (Told::Unknown, there) => {
                    closing.unknown += 1;
                    closing.unknown_committed += usize::from(there);
                }
                (told, there) => panic!("transfer {id}: told {told:?}, in the ledger: {there}"),
            }
        }
        for id in entries.keys() {
            assert!(told.contains_key(id), "transfer {id} is in the ledger, and nobody made it");
        }
        closing.lost = self.lost.load(Ordering::Relaxed);
        closing
    }
}

/// What a closed bank has seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Closing {
    /// Told and true.
    pub committed: usize,
    /// Told and true.
    pub failed: usize,
    /// Not told.
    pub unknown: usize,
    /// Of these, in the ledger.
    pub unknown_committed: usize,
    /// Connections that broke within a transaction.
    pub lost: usize,
}

/// Waits until nobody has a transaction open, checks every balance against the ledger, and returns the ledger.
pub fn audit(server: &Server) -> HashMap<u64, i64> {
    let mut root = Client::login(server.port).expect("the server is there");
    // Every row, so that a transaction that is still open is waited for.
    let mut locked = |sql: &str| {
        let mut rows = Vec::new();
        wait_until("every transaction is over", super::SOON * 2, || {
            root.query("BEGIN").expect("BEGIN is never refused");
            match root.query(sql) {
                Ok(found) => {
                    rows = found;
                    root.query("COMMIT").is_ok()
                }
                Err(Refused::Error(1205 | 1213)) => {
                    let _ = root.query("ROLLBACK");
                    false
                }
                Err(error) => panic!("{sql}: {error:?}"),
            }
        });
        rows
    };
    let balances = locked("SELECT id, balance FROM account FOR UPDATE");
    let ledger = locked("SELECT id, payer, payee, amount FROM ledger FOR UPDATE");
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let mut expected: HashMap<i64, i64> = (1..=accounts() as i64).map(|id| (id, OPENING)).collect();
    let mut entries = HashMap::new();
    for row in &ledger {
        let [id, payer, payee, amount] = [0, 1, 2, 3].map(|column| number(&row[column]));
        *expected.get_mut(&payer).expect("an account") -= amount;
        *expected.get_mut(&payee).expect("an account") += amount;
        assert_eq!(entries.insert(id as u64, amount), None);
    }
    for row in &balances {
        let (id, balance) = (number(&row[0]), number(&row[1]));
        assert_eq!(balance, expected[&id], "account {id} does not agree with the ledger");
    }
    entries
}

/// One client.
struct Teller {
    port: u16,
    random: StdRng,
    told: Arc<Mutex<HashMap<u64, Told>>>,
    lost: Arc<AtomicUsize>,
    hung: Arc<AtomicUsize>,
    next: Arc<AtomicU64>,
}

impl Teller {
    fn work(mut self, stop: &AtomicBool) {
        let mut client = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(open) = &mut client else {
                client = Client::login(self.port).ok();
                if client.is_none() {
                    thread::sleep(Duration::from_millis(5));
                }
                continue;
            };
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            if open.query("BEGIN").is_err() {
                // Nothing has begun: not a transfer.
                client = None;
                continue;
            }
            let (told, error) = self.transfer(open, id);
            self.told.lock().expect("no panic under it").insert(id, told);
            match error {
                None | Some(Refused::Error(1213 | 1205 | 1062)) => {}
                Some(error) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    self.hung.fetch_add(usize::from(error.hangs()), Ordering::Relaxed);
                    client = None;
                }
            }
            if self.random.random_ratio(1, 50) {
                client = None;
            }
        }
    }

    fn transfer(&mut self, client: &mut Client, id: u64) -> (Told, Option<Refused>) {
        let accounts = accounts();
        let payer = self.random.random_range(1..=accounts);
        let payee = 1 + (payer + self.random.random_range(0..accounts - 1)) % accounts;
        let amount = self.random.random_range(1..=9);
        for sql in [
            format!("SELECT balance FROM account WHERE id = {payer} FOR UPDATE"),
            // In the order of the ids by chance only: some of them deadlock.
            format!("UPDATE account SET balance = balance - {amount} WHERE id = {payer}"),
            format!("UPDATE account SET balance = balance + {amount} WHERE id = {payee}"),
            format!("INSERT INTO ledger VALUES ({id}, {payer}, {payee}, {amount})"),
        ] {
            if let Err(error) = client.query(&sql) {
                if matches!(error, Refused::Error(1205)) {
                    // A timeout ends the statement only.
                    let _ = client.query("ROLLBACK");
                }
                return (Told::Failed, Some(error));
            }
        }
        match client.query("COMMIT") {
            Ok(_) => (Told::Committed, None),
            Err(error) => (Told::Unknown, Some(error)),
        }
    }
}
