//! A shop with a unique key that sessions get or create, and clients whose statements can wait.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Interlock, Login, RawClient, Server, both};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.batch (id INT AUTO_INCREMENT PRIMARY KEY, server_id INT NOT NULL, UNIQUE KEY by_server (server_id)) ENGINE=InnoDB",
    "INSERT INTO shop.batch (server_id) VALUES (7), (12), (30)",
];

/// What a client reports that has lost its connection (CR_SERVER_LOST).
pub const LOST: u16 = 2013;

/// A client whose statements run on a thread of their own, so that one can wait.
pub struct Session {
    /// The server's connection id.
    pub thread: u32,
    statements: mpsc::Sender<String>,
    answers: mpsc::Receiver<Result<(), u16>>,
}

impl Session {
    /// Logs in as root, into the shop.
    pub fn open(port: u16) -> Session {
        let mut client = RawClient::login(port, &Login { schema: Some("shop".into()), ..Login::default() });
        let thread = client.rows("SELECT CONNECTION_ID()")[0][0].clone().expect("a number");
        let (statements, to_run) = mpsc::channel::<String>();
        let (answered, answers) = mpsc::channel();
        thread::spawn(move || {
            for sql in to_run {
                let result = match client.try_query(&sql) {
                    Ok(mut packets) => {
                        let last = packets.pop().expect("an answer has a packet");
                        last.error().map_or(Ok(()), |(code, _)| Err(code))
                    }
                    Err(_) => Err(LOST),
                };
                if answered.send(result).is_err() {
                    return;
                }
            }
        });
        Session { thread: thread.parse().expect("a number"), statements, answers }
    }

    /// Sends a statement; [`answer`](Self::answer) tells what came of it.
    pub fn send(&self, sql: &str) {
        self.statements.send(sql.to_owned()).expect("the session runs");
    }

    /// The answer to the statement that was sent: `Err` with the error number if it failed.
    pub fn answer(&self) -> Result<(), u16> {
        self.answers.recv_timeout(Duration::from_secs(20)).expect("the statement is answered")
    }

    /// The answer, if it comes so soon.
    pub fn within(&self, time: Duration) -> Option<Result<(), u16>> {
        self.answers.recv_timeout(time).ok()
    }

    /// A statement and its answer.
    pub fn run(&self, sql: &str) -> Result<(), u16> {
        self.send(sql);
        self.answer()
    }

    /// The statement that was sent is not answered for a moment.
    pub fn waits(&self) -> bool {
        self.answers.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

/// The shop on a server of each kind.
pub fn shops(check: impl Fn(&Server)) {
    both(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        for sql in SCHEMA {
            assert!(root.query(sql)[0].is_ok(), "{sql}");
        }
        check(server);
    });
}

/// Two sessions through an interlock in front of a shop, on a server of each kind; afterwards nothing is left.
pub fn in_front_of_a_shop(check: impl Fn(&Interlock, Session, Session), action: &str, more: &[&str]) {
    shops(|server| {
        let mut args = vec!["--action", action];
        args.extend(more);
        let interlock = Interlock::start(server, &args);
        check(&interlock, Session::open(interlock.port), Session::open(interlock.port));
        interlock.assert_nothing_is_left();
    });
}

/// The first conflict of a kind.
pub fn find(interlock: &Interlock, kind: &str) -> serde_json::Value {
    let conflicts = interlock.conflicts();
    let found = conflicts.iter().find(|c| c["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {conflicts:#?}")).clone()
}
