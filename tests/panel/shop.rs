//! The scene: an interlock in front of a shop, and two sessions that meet in a gap.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Interlock, Kind, Login, RawClient, Server, wait_until};

/// Both servers, shared by all checks: starting them is what takes time. They are never dropped; the script
/// behind each notices that this process has ended.
static SERVERS: LazyLock<Vec<Server>> =
    LazyLock::new(|| Kind::ALL.into_iter().filter_map(Server::start).collect());

/// `admin.token`
pub const TOKEN: &str = "a-token-for-the-tests";
/// Longest time until something is seen that needs no more than a few milliseconds.
pub const SOON: Duration = Duration::from_secs(20);

/// An interlock that reorders, in front of a schema of its own.
pub struct Shop {
    /// The interlock.
    pub interlock: Interlock,
    /// The server behind it.
    pub server: &'static Server,
    /// The schema.
    pub schema: String,
}

/// Runs a check with each server that can be had.
pub fn on_each_server(check: impl Fn(&'static Server)) {
    SERVERS.iter().for_each(check);
}

/// Runs a check in front of each server, with more settings of the environment.
pub fn in_each_shop(environment: &[(&str, &str)], check: impl Fn(Shop)) {
    on_each_server(|server| check(Shop::open(server, environment)));
}

/// Runs a statement that must not fail.
pub fn run(client: &mut RawClient, sql: &str) {
    let packets = client.query(sql);
    let last = packets.last().expect("an answer has a packet");
    assert!(last.error().is_none(), "{sql}: {:?}", last.error());
}

impl Shop {
    /// A new shop in front of a server.
    fn open(server: &'static Server, environment: &[(&str, &str)]) -> Shop {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let schema = format!("shop{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut root = RawClient::login(server.port, &Login::default());
        run(&mut root, &format!("CREATE DATABASE {schema}"));
        run(
            &mut root,
            &format!(
                "CREATE TABLE {schema}.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL,
                 UNIQUE KEY by_server (server_id)) ENGINE=InnoDB"
            ),
        );
        for table in ["orders", "stock"] {
            let columns = "id INT PRIMARY KEY, n INT NOT NULL";
            run(&mut root, &format!("CREATE TABLE {schema}.{table} ({columns}) ENGINE=InnoDB"));
            run(&mut root, &format!("INSERT INTO {schema}.{table} VALUES (1, 10), (2, 10), (3, 10)"));
        }
        run(&mut root, &format!("INSERT INTO {schema}.batch (server_id) VALUES (7), (12), (30)"));
        let mut all = vec![("INTERLOCK__ADMIN__TOKEN", TOKEN), ("INTERLOCK__REORDER__HOLD_TIMEOUT", "60s")];
        all.extend(environment);
        let interlock = Interlock::start_with(server, &["--action", "reorder"], &all);
        Shop { interlock, server, schema }
    }

    /// A client of the shop.
    pub fn client(&self) -> RawClient {
        let login = Login { schema: Some(self.schema.clone()), ..Login::default() };
        RawClient::login(self.interlock.port, &login)
    }

    /// The rows of a table of the API.
    pub fn rows(&self, table: &str) -> Vec<Value> {
        let (status, body) = self.interlock.get(&format!("/api/{table}")).expect("the admin address answers");
        assert_eq!(status, 200, "{body}");
        let name = table.split('?').next().expect("split gives at least one part");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        match answer[name].take() {
            Value::Array(rows) => rows,
            other => panic!("{name} is not a list: {other}"),
        }
    }

    /// Two transactions, one after the other, that lock two tables in opposite order: a hazard, though nothing
    /// collides.
    pub fn cross(&self) {
        let mut client = self.client();
        let (order, stock) =
            ("UPDATE orders SET n = n + 1 WHERE id = 1", "UPDATE stock SET n = n - 1 WHERE id = 1");
        for sql in ["BEGIN", order, stock, "COMMIT", "BEGIN", stock, order, "COMMIT"] {
            run(&mut client, sql);
        }
        wait_until("the hazard is found", SOON, || !self.rows("hazards").is_empty());
    }

    /// A holder in a gap, and a second session whose lookup there is held until the holder ends. The
    /// thread's result is the lookup's error number, 0 for none; `None`: the connection was closed.
    pub fn hold(&self) -> (RawClient, JoinHandle<Option<u16>>) {
        let (mut holder, mut held) = (self.client(), self.client());
        run(&mut holder, "BEGIN");
        run(&mut holder, "SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE");
        run(&mut held, "BEGIN");
        let held = std::thread::spawn(move || {
            held.set_timeout(Duration::from_secs(120));
            let answer = held.try_query("SELECT * FROM batch WHERE server_id = 70000010 FOR UPDATE").ok()?;
            Some(answer[0].error().map_or(0, |(code, _)| code))
        });
        wait_until("the second lookup is held", SOON, || !self.rows("holds").is_empty());
        (holder, held)
    }
}
