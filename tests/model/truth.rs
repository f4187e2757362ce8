//! Who waits for a lock, as the server itself says.
//!
//! One thread asks every few milliseconds while somebody wants to know. MySQL: `data_lock_waits` and
//! `metadata_locks`. MariaDB: the transactions of `SHOW ENGINE INNODB STATUS` (its `INNODB_TRX` is a copy that
//! may be 100 ms old) and the states of `SHOW PROCESSLIST`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Kind, Login, RawClient, Server};

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_millis(8);

/// What the server said at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts up.
    pub number: u64,
    /// When it was asked.
    pub asked: Instant,
    /// Connection ids that wait, with the lock that they wait for.
    pub waiting: HashMap<u32, String>,
}

/// The thread that asks.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    newest: Mutex<Arc<Snapshot>>,
    interested: AtomicUsize,
    stop: AtomicBool,
}

/// Somebody wants to know, as long as this lives.
pub struct Interest<'a>(&'a Shared);

impl Watch {
    /// Begins to watch a server.
    pub fn start(server: &Server) -> Watch {
        let empty = Snapshot { number: 0, asked: Instant::now(), waiting: HashMap::new() };
        let shared = Arc::new(Shared {
            newest: Mutex::new(Arc::new(empty)),
            interested: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut client = RawClient::login(server.port, &Login::default());
        let (kind, of_thread) = (server.kind, shared.clone());
        let thread = std::thread::spawn(move || {
            while !of_thread.stop.load(Ordering::SeqCst) {
                std::thread::sleep(INTERVAL);
                if of_thread.interested.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                let asked = Instant::now();
                let waiting = if kind == Kind::MySql { mysql(&mut client) } else { mariadb(&mut client) };
                let mut newest = of_thread.newest.lock().expect("nobody panics with it");
                *newest = Arc::new(Snapshot { number: newest.number + 1, asked, waiting });
            }
        });
        Watch { shared, thread: Some(thread) }
    }

    /// Asks the server again and again while the value lives.
    pub fn interest(&self) -> Interest<'_> {
        self.shared.interested.fetch_add(1, Ordering::SeqCst);
        Interest(&self.shared)
    }

    /// The newest answer.
    pub fn newest(&self) -> Arc<Snapshot> {
        self.shared.newest.lock().expect("nobody panics with it").clone()
    }

    /// It no longer asks: the server has gone.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        self.0.interested.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A record's lock that is overtaken is made anew by the thread that overtakes it, and is shown as that one's. The lock
/// on the table tells whose transaction it is.
fn mysql(client: &mut RawClient) -> HashMap<u32, String> {
    let rows = client.rows(
        "SELECT t.PROCESSLIST_ID, CONCAT_WS(' ', l.OBJECT_NAME, l.INDEX_NAME, l.LOCK_MODE, \
         CONCAT('(', l.LOCK_DATA, ')')) FROM performance_schema.data_lock_waits w \
         JOIN performance_schema.data_locks l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID \
         JOIN performance_schema.data_locks o \
         ON o.ENGINE_TRANSACTION_ID = w.REQUESTING_ENGINE_TRANSACTION_ID AND o.LOCK_TYPE = 'TABLE' \
         JOIN performance_schema.threads t ON t.THREAD_ID = o.THREAD_ID \
         UNION ALL SELECT t.PROCESSLIST_ID, CONCAT_WS(' ', m.OBJECT_TYPE, m.OBJECT_NAME, m.LOCK_TYPE) \
         FROM performance_schema.metadata_locks m \
         JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID \
         WHERE m.LOCK_STATUS = 'PENDING'",
    );
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        Some((row.next()??.parse().ok()?, row.next()??))
    };
    rows.into_iter().filter_map(pair).collect()
}

fn mariadb(client: &mut RawClient) -> HashMap<u32, String> {
    let mut waiting = HashMap::new();
    for row in client.rows("SHOW ENGINE INNODB STATUS") {
        if let Some(Some(text)) = row.into_iter().nth(2) {
            innodb_waits(&text, &mut waiting);
        }
    }
    for row in client.rows("SHOW PROCESSLIST") {
        let (Some(Some(id)), Some(Some(state))) = (row.first(), row.get(6)) else { continue };
        let waits = state.starts_with("Waiting for") || state == "User lock";
        if let (true, Ok(id)) = (waits, id.parse()) {
            waiting.insert(id, state.clone());
        }
    }
    waiting
}

/// Those who wait in the list of transactions of InnoDB's status.
fn innodb_waits(text: &str, waiting: &mut HashMap<u32, String>) {
    // The latest deadlock is printed in the same form, above this line.
    let Some((_, list)) = text.split_once("LIST OF TRANSACTIONS FOR EACH SESSION") else { return };
    for transaction in list.split("---TRANSACTION ").skip(1) {
        if !transaction.contains("TRX HAS BEEN WAITING") {
            continue;
        }
        let id = transaction.split("thread id ").nth(1).and_then(|rest| rest.split(',').next());
        let Some(id) = id.and_then(|id| id.parse().ok()) else { continue };
        let lock = transaction.lines().find(|line| line.contains(" LOCK") && line.ends_with("waiting"));
        waiting.insert(id, lock.map_or_else(|| "a lock".to_owned(), in_words));
    }
}

/// `RECORD LOCKS … index PRIMARY of table `d`.`t` trx id 7 lock_mode X locks rec but not gap waiting` → `t
/// PRIMARY X locks rec but not gap`
fn in_words(line: &str) -> String {
    let after = |mark: &str| line.split(mark).nth(1);
    let index = after(" index ").and_then(|rest| rest.split(' ').next()).unwrap_or("as a whole");
    let table = line.split('`').nth(3).unwrap_or_default();
    let mode = after("lock_mode ").or(after("lock mode ")).unwrap_or_default();
    format!("{table} {index} {}", mode.trim_end_matches(" waiting"))
}
