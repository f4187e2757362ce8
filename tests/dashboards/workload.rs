//! Traffic that fills the panels: conflicts that are held, conflicts that become deadlocks, errors, waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::support::{Login, RawClient};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE IF NOT EXISTS shop",
    "CREATE TABLE IF NOT EXISTS shop.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, \
     UNIQUE KEY by_server (server_id)) ENGINE=InnoDB",
    "INSERT IGNORE INTO shop.batch (server_id) VALUES (1)",
];

/// Clients that get or create rows until they are dropped.
pub struct Workload {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Makes the tables, on the server itself.
    pub fn prepare(port: u16) {
        let mut root = RawClient::login(port, &Login::default());
        for sql in SCHEMA {
            assert!(root.query(sql)[0].is_ok(), "{sql}");
        }
    }

    /// `clients` connections through a port; keys come from `keys`.
    pub fn start(port: u16, clients: usize, keys: &Arc<AtomicU64>) -> Workload {
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |_| {
            let (stop, keys) = (stop.clone(), keys.clone());
            thread::spawn(move || {
                let mut client = RawClient::login(port, &Login::default());
                while !stop.load(Ordering::Relaxed) {
                    get_or_create(&mut client, keys.fetch_add(1, Ordering::Relaxed));
                }
            })
        };
        let clients = (0..clients).map(spawn).collect();
        Workload { stop, clients }
    }
}

/// Any statement may meet a deadlock; then the transaction is over, and the next key's turn comes.
fn get_or_create(client: &mut RawClient, key: u64) {
    let statements = [
        "BEGIN".to_owned(),
        format!("SELECT id FROM shop.batch WHERE server_id = {key} FOR UPDATE"),
        "SELECT COUNT(*) FROM shop.batch WHERE id < 100".to_owned(),
        format!("INSERT INTO shop.batch (server_id) VALUES ({key})"),
        "COMMIT".to_owned(),
        "SELECT nothing FROM shop.nowhere".to_owned(),
    ];
    for sql in statements {
        let failed = client.query(&sql).pop().and_then(|packet| packet.error().map(|(code, _)| code));
        if failed == Some(1213) {
            return;
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}
