//! The state of transactions, as seen from outside: interlock's table has locks when and only when the server
//! holds some.

use std::time::{Duration, Instant};

use crate::support::{Interlock, Login, RawClient, both};

const SETUP: &str = "CREATE DATABASE tx; CREATE TABLE tx.t (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;
    CREATE TABLE tx.other (id INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE PROCEDURE tx.opens() BEGIN START TRANSACTION; UPDATE tx.t SET n = n + 1 WHERE id = 1; END;
    CREATE PROCEDURE tx.commits() BEGIN COMMIT; END;
    INSERT INTO tx.t VALUES (1, 0), (2, 0), (200, 0)";

/// Each ends without a transaction. RESET and CHANGE USER stand for the commands.
const SEQUENCES: &[&[&str]] = &[
    &["BEGIN", "SELECT * FROM t WHERE id = 1 FOR UPDATE", "COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "ROLLBACK"],
    &["BEGIN", "DELETE FROM t WHERE id = 1", "ROLLBACK"],
    &["BEGIN", "INSERT INTO t VALUES (100, 0)", "ROLLBACK"],
    &[
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "INSERT IGNORE INTO t VALUES (1, 1)",
        "INSERT INTO t VALUES (1, 1)",
    ],
    &[
        "SET autocommit = 0",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "COMMIT",
        "UPDATE t SET n = n + 1 WHERE id = 2",
        "SET autocommit = 1",
    ],
    &["SET autocommit = 0", "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "COMMIT", "SET autocommit = 1"],
    &[
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "SET autocommit = 1",
        "SET autocommit = 0",
        "SET autocommit = 1",
        "COMMIT",
    ],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "CREATE TABLE made (a INT)", "DROP TABLE made"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "DROP TABLE IF EXISTS never"],
    &[
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "CREATE TEMPORARY TABLE temp (a INT)",
        "DROP TEMPORARY TABLE temp",
        "COMMIT",
    ],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "TRUNCATE TABLE other"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "ANALYZE TABLE other", "COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "FLUSH PRIVILEGES", "COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "CREATE USER one", "DROP USER one"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "LOCK TABLES other READ", "UNLOCK TABLES", "COMMIT"],
    &[
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "COMMIT AND CHAIN",
        "UPDATE t SET n = n + 1 WHERE id = 2",
        "ROLLBACK AND CHAIN",
        "SELECT * FROM t WHERE id = 1 FOR UPDATE",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 2",
        "START TRANSACTION",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SAVEPOINT s",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "ROLLBACK TO s",
        "RELEASE SAVEPOINT s",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SELECT * FROM t",
        "SAVEPOINT s",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "ROLLBACK TO s",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SAVEPOINT a",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "SAVEPOINT b",
        "UPDATE t SET n = n + 1 WHERE id = 2",
        "ROLLBACK TO b",
        "ROLLBACK TO a",
        "COMMIT",
    ],
    &[
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "SAVEPOINT s",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "ROLLBACK TO s",
        "COMMIT",
    ],
    &["BEGIN", "SAVEPOINT s", "INSERT INTO t VALUES (100, 0)", "ROLLBACK TO s", "COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "ROLLBACK TO nothing", "COMMIT"],
    &[
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "SELEC 1",
        "SELECT * FROM nothing",
        "INSERT INTO t VALUES (2, 0)",
        "ROLLBACK",
    ],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "CREATE TABLE t (a INT)", "COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "RESET"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "CHANGE USER"],
    &[
        "XA START 'a'",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "COMMIT",
        "XA END 'a'",
        "XA PREPARE 'a'",
        "XA COMMIT 'a'",
    ],
    &["XA START 'b'", "UPDATE t SET n = n + 1 WHERE id = 1", "XA END 'b'", "XA ROLLBACK 'b'"],
    &["XA START 'c'", "UPDATE t SET n = n + 1 WHERE id = 1", "XA END 'c'", "XA COMMIT 'c' ONE PHASE"],
    &["PREPARE p FROM 'COMMIT'", "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "EXECUTE p"],
    &[
        "BEGIN; UPDATE t SET n = n + 1 WHERE id = 1",
        "COMMIT; BEGIN; UPDATE t SET n = n + 1 WHERE id = 2",
        "COMMIT",
    ],
    &["BEGIN; UPDATE t SET n = n + 1 WHERE id = 1; SELECT * FROM nothing; COMMIT", "ROLLBACK"],
    &["UPDATE t SET n = n + 1 WHERE id = 1; SELECT * FROM nothing"],
    &["SET @a = 1; CREATE TEMPORARY TABLE temp (a INT); BEGIN; INSERT INTO t VALUES (100, 1)", "RESET"],
    &[
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN",
        "UPDATE t SET n = n + 1 WHERE id = 1",
        "COMMIT",
    ],
    &["START TRANSACTION READ ONLY", "UPDATE t SET n = n + 1 WHERE id = 1", "COMMIT"],
    &["/*!50000 BEGIN */", "/* c */ UPDATE t SET n = n + 1 WHERE id = 1", "-- c\n COMMIT"],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "CALL commits()"],
    &[
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "BEGIN",
        "SELECT * FROM t WHERE id = 1",
        "COMMIT",
        "RESET",
    ],
    &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1", "DO 1", "COMMIT RELEASE"],
];

/// Locks that a routine takes are not known; that they are gone must be.
const UNKNOWN: &[&str] = &["CALL opens()", "COMMIT", "CALL opens()", "RESET"];

#[test]
fn locks_are_known_as_long_as_the_server_has_them() {
    both(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        let prepared = root.query(SETUP);
        assert!(prepared.iter().all(|packet| packet.error().is_none()), "{prepared:?}");
        let interlock = Interlock::start(server, &[]);
        let login = Login { schema: Some("tx".into()), ..Login::default() };
        let mut faults = Vec::new();
        for sequence in SEQUENCES.iter().chain([&UNKNOWN]) {
            let mut client = RawClient::login(interlock.port, &login);
            let mut locked = false;
            for (at, step) in sequence.iter().enumerate() {
                match *step {
                    "RESET" => {
                        client.command(0x1F, &[]);
                        assert!(client.receive().is_ok());
                    }
                    "CHANGE USER" => {
                        assert!(client.change_user(&login).last().is_some_and(|last| last.is_ok()))
                    }
                    sql => drop(client.query(sql)),
                }
                if let Err(fault) =
                    agree(&interlock, &mut root, sequence == &UNKNOWN, at + 1 == sequence.len(), &mut locked)
                {
                    faults.push(format!("{:?}: {:?}: {fault}", server.kind, &sequence[..=at]));
                    break;
                }
            }
            assert!(
                locked || sequence.len() < 4 || sequence[0].starts_with("START"),
                "{sequence:?} never locked"
            );
            drop(client);
            interlock.assert_nothing_is_left();
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

/// The locks that interlock knows of, apart from those on definitions (LOCK TABLES).
fn row_locks(interlock: &Interlock) -> usize {
    let (_, body) = interlock.get("/api/locks").expect("the admin address answers");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("the answer is JSON");
    let locks = answer["locks"].as_array().expect("a list of locks");
    locks.iter().filter(|lock| lock["index"] != "metadata").count()
}

/// Whether interlock knows of locks while the server has some, and of none else; after the last step, of no
/// transaction either.
fn agree(
    interlock: &Interlock,
    root: &mut RawClient,
    unknown: bool,
    last: bool,
    locked: &mut bool,
) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let answer = root.query("BEGIN; SELECT id FROM tx.t WHERE id IN (1, 2, 100) FOR UPDATE NOWAIT");
        let server = answer.iter().any(|packet| packet.error().is_some());
        root.query("ROLLBACK");
        let status = interlock.status();
        let known = row_locks(interlock) != 0;
        *locked |= server;
        let right = if server { known || unknown } else { !known && (!last || status["transactions"] == 0) };
        if right {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_millis(500) {
            return Err(format!("locks at the server: {server}, interlock says {status}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
