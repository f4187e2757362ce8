//! Names of gaps on the server: interlock's own statements run on the client's connection, and nothing that the
//! client can ask about shows them.

use crate::support::raw::capability::SESSION_TRACK;
use crate::support::{Interlock, RawClient, both, wait_until};
use crate::talk::{Reply, Talk, same};
use std::time::Duration;

const SETUP: &str = "DROP DATABASE IF EXISTS conv; CREATE DATABASE conv;
    CREATE TABLE conv.t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40)) ENGINE=InnoDB;
    CREATE TABLE conv.g (id INT PRIMARY KEY AUTO_INCREMENT, k INT, UNIQUE (k)) ENGINE=InnoDB;
    INSERT INTO conv.t (name) VALUES ('a'), ('b'), ('c'), ('d'); INSERT INTO conv.g (k) VALUES (10), (20)";

/// What a session can ask about itself.
const ASK: &[&str] =
    &["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT LAST_INSERT_ID()", "SHOW WARNINGS"];

/// Conversations; a `?` in front has the statement prepared and executed.
const TALKS: &[&[&str]] = &[
    &["BEGIN", "SELECT * FROM g WHERE k = 50 FOR UPDATE", "INSERT INTO g (k) VALUES (50)", "COMMIT"],
    &["BEGIN", "?SELECT * FROM g WHERE k = 51 FOR UPDATE", "?INSERT INTO g (k) VALUES (51)", "?COMMIT"],
    &["BEGIN", "SELECT * FROM g WHERE k = 15 FOR UPDATE", "ROLLBACK"],
    &["BEGIN", "INSERT INTO g (k) VALUES (60)", "SELECT * FROM g WHERE k = 61 FOR UPDATE", "COMMIT"],
    &["BEGIN", "UPDATE g SET k = '70x' WHERE k = 70", "COMMIT"],
    &[
        "BEGIN",
        "DELETE FROM g WHERE k > 80",
        "COMMIT AND CHAIN",
        "SELECT * FROM g WHERE k = 81 FOR UPDATE",
        "COMMIT",
    ],
    &[
        "SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1",
        "BEGIN",
        "SELECT * FROM g WHERE k = 52 FOR UPDATE",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SELECT * FROM g WHERE k = 53 FOR UPDATE",
        "SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1",
        "COMMIT",
    ],
    &["BEGIN", "SELECT * FROM g WHERE k = 53 FOR UPDATE", "SELECT CAST('x' AS SIGNED)", "COMMIT"],
    &["BEGIN", "SELECT CAST('x' AS SIGNED)", "SELECT * FROM g WHERE k = 53 FOR UPDATE", "COMMIT"],
    &["BEGIN", "SELECT FOUND_ROWS(), ROW_COUNT() FROM g WHERE k = 53 FOR UPDATE", "COMMIT"],
    &["BEGIN", "SELECT * FROM g WHERE k = 53 FOR UPDATE", "SELEC", "ROLLBACK"],
    &[
        "BEGIN",
        "SELECT * FROM g WHERE k = 53 FOR UPDATE NOWAIT",
        "CREATE TABLE made (a INT)",
        "DROP TABLE made",
    ],
    &["SET autocommit = 0", "SELECT * FROM g WHERE k = 54 FOR UPDATE", "COMMIT", "SET autocommit = 1"],
    &[
        "SET TRANSACTION READ ONLY",
        "SET autocommit = 0",
        "UPDATE g SET k = 1 WHERE k = 54",
        "ROLLBACK",
        "SET autocommit = 1",
    ],
    &["SET TRANSACTION READ ONLY", "BEGIN", "UPDATE g SET k = 1 WHERE k = 54", "ROLLBACK"],
    &[
        "SELECT GET_LOCK('mine', 0)",
        "BEGIN",
        "SELECT * FROM g WHERE k = 55 FOR UPDATE",
        "COMMIT",
        "SELECT IS_FREE_LOCK('mine')",
        "SELECT RELEASE_LOCK('mine')",
    ],
    &["BEGIN", "SELECT * FROM g WHERE k = 55 FOR UPDATE", "SELECT RELEASE_ALL_LOCKS()", "COMMIT"],
    &[
        "DO GET_LOCK('a', 0), GET_LOCK('b', 0)",
        "BEGIN",
        "SELECT * FROM g WHERE k = 55 FOR UPDATE",
        "SELECT RELEASE_ALL_LOCKS()",
        "COMMIT",
    ],
    &[
        "XA START 'x'",
        "SELECT * FROM g WHERE k = 56 FOR UPDATE",
        "XA END 'x'",
        "SELECT * FROM g WHERE k = 57 FOR UPDATE",
        "XA ROLLBACK 'x'",
    ],
    &[
        "BEGIN",
        "SAVEPOINT s",
        "SELECT * FROM g WHERE k = 58 FOR UPDATE",
        "ROLLBACK TO s",
        "SELECT * FROM g WHERE k = 59 FOR UPDATE",
        "COMMIT",
    ],
    &[
        "LOCK TABLES g WRITE",
        "SET autocommit = 0",
        "SELECT * FROM g WHERE k = 58 FOR UPDATE",
        "COMMIT",
        "SET autocommit = 1",
        "UNLOCK TABLES",
    ],
    &["BEGIN; SELECT * FROM g WHERE k = 58 FOR UPDATE; INSERT INTO g (k) VALUES (58); COMMIT", "SELECT 1"],
    &[
        "SET insert_id = 700",
        "BEGIN",
        "SELECT * FROM g WHERE k = 62 FOR UPDATE",
        "INSERT INTO g (k) VALUES (62)",
        "COMMIT",
    ],
    &[
        "SET sql_select_limit = 0",
        "BEGIN",
        "SELECT * FROM g WHERE k = 63 FOR UPDATE",
        "COMMIT",
        "SET sql_select_limit = DEFAULT",
    ],
    &[
        "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'",
        "BEGIN",
        "SELECT * FROM g WHERE k = 64 FOR UPDATE",
        "COMMIT",
        "SELECT @@net_retry_count",
    ],
    &[
        "SET SESSION session_track_transaction_info = 'CHARACTERISTICS'",
        "BEGIN",
        "UPDATE g SET k = 1 WHERE k = 65",
        "INSERT INTO t (name) VALUES ('e')",
        "COMMIT",
    ],
];

fn say(talk: &mut Talk, text: &str) {
    match text.strip_prefix('?') {
        Some(text) => {
            let id = talk.prepare(text);
            talk.execute(id, 0, &[]);
        }
        None => talk.query(text),
    }
}

/// Several commands in one write, then all their answers.
fn pipelined(talk: &mut Talk, texts: &[&str]) {
    let bodies: Vec<Vec<u8>> =
        texts.iter().map(|text| [&[3], &*talk.query_body(text.as_bytes())].concat()).collect();
    let packet = |body: &Vec<u8>| [&[body.len() as u8, 0, 0, 0], &body[..]].concat();
    talk.send_bytes(&bodies.iter().flat_map(packet).collect::<Vec<u8>>());
    for text in texts {
        talk.read((*text).to_owned(), Reply::Results);
    }
}

fn script(talk: &mut Talk) {
    for texts in TALKS {
        for text in *texts {
            say(talk, text);
        }
        for at in 0..texts.len() {
            // The same again, asked about after each statement.
            if texts[0].starts_with("SET insert_id") {
                break;
            }
            texts.iter().take(at + 1).for_each(|text| say(talk, text));
            ASK.iter().for_each(|text| say(talk, text));
            for text in &texts[at + 1..] {
                say(talk, text);
            }
            say(talk, "ROLLBACK");
        }
        talk.command(0x1F, &[], Reply::Results);
    }
    pipelined(
        talk,
        &[
            "BEGIN",
            "SELECT * FROM g WHERE k = 90 FOR UPDATE",
            "INSERT INTO g (k) VALUES (90)",
            "COMMIT",
            "SELECT ROW_COUNT()",
        ],
    );
    // A cursor stays open across interlock's statements.
    let rows = talk.prepare("SELECT id, name FROM t ORDER BY id");
    talk.query("BEGIN");
    talk.execute(rows, 1, &[]);
    let fetch = [&rows.to_le_bytes()[..], &1u32.to_le_bytes()].concat();
    talk.command(0x1C, &fetch, Reply::UntilEnd);
    talk.query("SELECT * FROM g WHERE k = 91 FOR UPDATE");
    talk.command(0x1C, &fetch, Reply::UntilEnd);
    talk.query("COMMIT");
    // A parameter that was sent in pieces before the statement's name is taken.
    let update = talk.prepare("UPDATE g SET k = ? WHERE k = 92");
    talk.query("BEGIN");
    talk.command(0x18, &[&update.to_le_bytes()[..], &[0, 0], b"93"].concat(), Reply::Nothing);
    talk.execute(update, 0, &[Some((252, &[]))]);
    talk.query("COMMIT");
    talk.command(0x0E, &[], Reply::Results);
    talk.query("BEGIN");
    talk.query("SELECT * FROM g WHERE k = 94 FOR UPDATE");
}

#[test]
fn nothing_shows_the_names_of_gaps() {
    both(|server| {
        let coordinated = [("INTERLOCK__COORDINATION", "server")];
        let interlock = Interlock::start_with(server, &["--action", "reorder"], &coordinated);
        // What sessions are told of their state is what differs most; one login of each kind will do.
        let wanted = |login: &crate::support::Login| login.capabilities & SESSION_TRACK != 0;
        let logins = crate::logins(server);
        let few = logins.iter().filter(|login| wanted(login)).chain(logins.last());
        for login in few {
            same(server, &interlock, login, SETUP, script);
        }
        let taken = interlock.metric("interlock_coordination_total{outcome=\"taken\"}");
        assert!(taken > Some(100.0), "names were taken: {taken:?}");
        for outcome in ["timed_out", "cycle", "killed", "refused"] {
            let sample = format!("interlock_coordination_total{{outcome=\"{outcome}\"}}");
            assert_eq!(interlock.metric(&sample), Some(0.0), "{outcome}");
        }
        interlock.assert_nothing_is_left();
        let mut root = RawClient::login(server.port, &Default::default());
        let left = match server.is_mysql() {
            true => "SELECT 1 FROM performance_schema.metadata_locks WHERE object_type = 'USER LEVEL LOCK'",
            false => "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'",
        };
        wait_until("no name is left", Duration::from_secs(10), || root.query(left).len() == 4);
    });
}
