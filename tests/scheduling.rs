//! How a hold ends: by KILL, with the server connection, with its holder; and who is held at all: rules, signatures.

mod support;

use std::time::{Duration, Instant};

use support::shop::{LOST, Session, find, in_front_of_a_shop, shops};
use support::{Interlock, Login, RawClient, wait_until};

const LOOKUP: &str = "SELECT * FROM batch WHERE server_id = 9 FOR UPDATE";

/// Holds last for so long unless something ends them: nothing here takes a tenth of it.
const LONG: &str = "[reorder]\nhold_timeout = \"20s\"\n";

/// A file with this text, to be given to `--config`.
struct Config {
    file: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Config {
    fn new(text: &str) -> Config {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("interlock.toml");
        std::fs::write(&file, text).expect("the file is written");
        Config { file, _directory: directory }
    }

    fn path(&self) -> &str {
        self.file.to_str().expect("the path is text")
    }
}

/// `b` is held behind `a`, both in a transaction.
fn hold(interlock: &Interlock, a: &Session, b: &Session) {
    for session in [a, b] {
        assert_eq!(session.run("BEGIN"), Ok(()));
    }
    // A lock of its own, and a row that nobody else sees before the end.
    assert_eq!(b.run("INSERT INTO batch (server_id) VALUES (500)"), Ok(()));
    assert_eq!(a.run(LOOKUP), Ok(()));
    b.send(LOOKUP);
    held(interlock);
}

fn held(interlock: &Interlock) {
    wait_until("the statement is held", Duration::from_secs(10), || interlock.status()["held"] == 1);
}

fn ended(interlock: &Interlock, how: &str) -> f64 {
    let kinds = ["hazard", "wait", "deadlock"];
    let of = |kind| interlock.metric(&format!("interlock_holds_total{{kind=\"{kind}\",end=\"{how}\"}}"));
    kinds.into_iter().filter_map(of).sum()
}

#[test]
fn kill_query_reaches_a_held_statement_and_leaves_its_transaction() {
    let config = Config::new(LONG);
    in_front_of_a_shop(
        |interlock, a, b| {
            let killer = Session::open(interlock.port);
            hold(interlock, &a, &b);
            let begun = Instant::now();
            assert_eq!(killer.run(&format!("KILL QUERY {}", b.thread)), Ok(()));
            assert_eq!(b.answer(), Err(1317));
            assert!(begun.elapsed() < Duration::from_secs(5), "not at the deadline");
            assert_eq!(ended(interlock, "killed"), 1.0);
            // The holder has noticed nothing, and what the killed statement's transaction did before is there.
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (9)"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.run("UPDATE batch SET server_id = 501 WHERE server_id = 500"), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
            let found =
                killer.run("SELECT 1 / COUNT(*) FROM batch WHERE server_id = 501 HAVING COUNT(*) = 1");
            assert_eq!(found, Ok(()));
            // A kill that finds nothing held is the server's alone, and leaves nothing behind.
            assert_eq!(killer.run(&format!("KILL QUERY {}", b.thread)), Ok(()));
            assert_eq!(b.run("BEGIN"), Ok(()));
            assert_eq!(b.run(LOOKUP), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
        },
        "reorder",
        &["--config", config.path()],
    );
}

#[test]
fn kill_reaches_a_held_session_and_so_does_a_kill_at_the_server() {
    let config = Config::new(LONG);
    shops(|server| {
        let interlock = Interlock::start(server, &["--action", "reorder", "--config", config.path()]);
        for port in [interlock.port, server.port] {
            let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
            let killer = Session::open(port);
            hold(&interlock, &a, &b);
            let begun = Instant::now();
            assert_eq!(killer.run(&format!("KILL {}", b.thread)), Ok(()));
            assert!([Err(LOST), Err(1927)].contains(&b.answer()), "as from the server itself");
            assert_eq!(b.run("SELECT 1"), Err(LOST));
            assert!(begun.elapsed() < Duration::from_secs(5), "not at the deadline");
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (9)"), Ok(()));
            assert_eq!(a.run("ROLLBACK"), Ok(()));
            drop((a, b, killer));
            interlock.assert_nothing_is_left();
        }
    });
}

#[test]
fn a_kill_query_at_the_server_itself_is_not_seen_and_the_hold_ends_at_its_deadline() {
    let config = Config::new("[reorder]\nhold_timeout = \"1s\"\n");
    shops(|server| {
        let interlock = Interlock::start(server, &["--action", "reorder", "--config", config.path()]);
        let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
        let mut root = RawClient::login(server.port, &Login::default());
        hold(&interlock, &a, &b);
        assert!(root.query(&format!("KILL QUERY {}", b.thread))[0].is_ok());
        assert_eq!(b.answer(), Ok(()), "the server has no statement to kill");
        assert_eq!(ended(&interlock, "deadline"), 1.0);
    });
}

#[test]
fn a_hold_lasts_while_its_holder_is_busy_and_waits_for_nobody() {
    let config = Config::new(LONG);
    in_front_of_a_shop(
        |interlock, a, b| {
            hold(interlock, &a, &b);
            assert_eq!(a.run("SELECT SLEEP(1)"), Ok(()));
            assert!(b.waits());
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
        },
        "reorder",
        &["--config", config.path()],
    );
}

#[test]
fn a_kill_that_the_server_refuses_ends_no_hold() {
    let config = Config::new(LONG);
    shops(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        assert!(root.query("CREATE USER guest@'%'")[0].is_ok());
        let interlock = Interlock::start(server, &["--action", "reorder", "--config", config.path()]);
        let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
        hold(&interlock, &a, &b);
        let mut guest = RawClient::login(interlock.port, &Login { user: "guest".into(), ..Login::default() });
        let refused = guest.query(&format!("KILL QUERY {}", b.thread))[0].error();
        assert_eq!(refused.map(|(code, _)| code), Some(1095));
        assert!(b.waits());
        assert_eq!(a.run("ROLLBACK"), Ok(()));
        assert_eq!(b.answer(), Ok(()));
    });
}

#[test]
fn an_autocommit_statement_that_is_killed_leaves_nothing() {
    let config = Config::new(LONG);
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(a.run("UPDATE batch SET server_id = 8 WHERE id = 1"), Ok(()));
            b.send("UPDATE batch SET server_id = 13 WHERE id = 1");
            held(interlock);
            assert_eq!(a.run(&format!("KILL QUERY {}", b.thread)), Ok(()));
            assert_eq!(b.answer(), Err(1317));
            assert_eq!(interlock.status()["transactions"], 1, "that of the holder");
            assert_eq!(a.run("COMMIT"), Ok(()));
        },
        "reorder",
        &["--config", config.path()],
    );
}

/// With this the holder waits at the server for the one that is held behind it.
fn hold_ends_when_the_holder_runs(statement: &str) {
    let config = Config::new(LONG);
    in_front_of_a_shop(
        |interlock, a, b| {
            hold(interlock, &a, &b);
            a.send(statement);
            let begun = Instant::now();
            assert_eq!(b.answer(), Ok(()), "it goes on: the gap does not wait");
            assert!(begun.elapsed() < Duration::from_secs(5), "not at the deadline");
            assert_eq!(ended(interlock, "holder_stalled"), 1.0);
            assert_eq!(b.run("COMMIT"), Ok(()));
            assert_eq!(a.answer(), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
        },
        "reorder",
        &["--config", config.path()],
    );
}

#[test]
fn a_hold_ends_when_its_holder_comes_to_wait_for_the_held_session() {
    hold_ends_when_the_holder_runs("UPDATE batch SET server_id = 502 WHERE server_id = 500");
}

#[test]
fn a_hold_ends_when_its_holder_waits_for_it_unseen() {
    // Not analysed: that it waits only the server knows.
    hold_ends_when_the_holder_runs(
        "SELECT * FROM batch WHERE server_id = 500 FOR UPDATE /* interlock:off */",
    );
}

#[test]
fn beyond_max_held_statements_go_on() {
    let config = Config::new("[reorder]\nhold_timeout = \"20s\"\nmax_held = 1\n");
    in_front_of_a_shop(
        |interlock, a, b| {
            let c = Session::open(interlock.port);
            hold(interlock, &a, &b);
            assert_eq!(c.run("BEGIN"), Ok(()));
            assert_eq!(c.run(LOOKUP), Ok(()), "the gap is shared at the server");
            assert_eq!(interlock.status()["held"], 1);
            for session in [&c, &a] {
                assert_eq!(session.run("ROLLBACK"), Ok(()));
            }
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run("ROLLBACK"), Ok(()));
        },
        "reorder",
        &["--config", config.path()],
    );
}

#[test]
fn a_dry_run_tells_what_holding_would_have_cost() {
    let config = Config::new("[reorder]\nhold_timeout = \"1s\"\n");
    in_front_of_a_shop(
        |interlock, a, b| {
            let figures = || {
                let counted = interlock.metric("interlock_would_hold_total{kind=\"hazard\"}").unwrap_or(0.0);
                let seconds = interlock.metric("interlock_would_hold_seconds_sum").unwrap_or(0.0);
                (counted, interlock.metric("interlock_would_hold_seconds_count"), seconds)
            };
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
                assert_eq!(session.run(LOOKUP), Ok(()), "nobody is held");
            }
            let begun = Instant::now();
            assert_eq!(figures(), (1.0, Some(0.0), 0.0));
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(b.run("COMMIT"), Ok(()), "its own end changes nothing");
            assert_eq!(figures(), (1.0, Some(0.0), 0.0));
            assert_eq!(a.run("COMMIT"), Ok(()));
            let longest = begun.elapsed().as_secs_f64() + 0.5;
            let (counted, ended, seconds) = figures();
            assert_eq!((counted, ended), (1.0, Some(1.0)));
            assert!((0.3..longest.min(1.01)).contains(&seconds), "{seconds}");
            let shown = find(interlock, "hazard");
            assert_eq!(shown["would_hold"], true);
            assert!((shown["would_hold_ms"].as_f64().expect("a number") - seconds * 1000.0).abs() < 1.0);
        },
        "flag",
        &["--config", config.path()],
    );
}

#[test]
fn a_rule_that_says_off_means_no_involvement_at_all() {
    let config = Config::new("[[rules]]\naction = \"off\"\nschema = \"shop\"\ntable = \"bat*\"\n");
    in_front_of_a_shop(
        |interlock, a, b| {
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
                assert_eq!(session.run(LOOKUP), Ok(()), "nobody is held");
            }
            assert_eq!(interlock.status()["locks"], 0);
            assert!(interlock.conflicts().is_empty());
            // Other statements are followed all the same.
            assert_eq!(a.run("CREATE TEMPORARY TABLE mine (id INT PRIMARY KEY) ENGINE=InnoDB"), Ok(()));
            for session in [&a, &b] {
                assert_eq!(session.run("ROLLBACK"), Ok(()));
            }
        },
        "reorder",
        &["--config", config.path()],
    );
}

/// InnoDB knows nothing of named locks: a cycle through one lasts until a timeout.
#[test]
fn a_cycle_through_a_named_lock_and_a_row_is_found() {
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(a.run("UPDATE batch SET server_id = 8 WHERE id = 1"), Ok(()));
            assert_eq!(b.run("SELECT GET_LOCK('cash', 0)"), Ok(()));
            a.send("SELECT GET_LOCK('cash', 10)");
            assert!(a.waits());
            b.send("UPDATE batch SET server_id = 9 WHERE id = 1");
            wait_until("the cycle is found", Duration::from_secs(5), || {
                interlock.conflicts().iter().any(|c| c["kind"] == "deadlock" && c["detected"] == "before")
            });
            assert!(a.waits(), "the server sees no cycle, and nobody moves");
            assert!(b.waits());
            let root = Session::open(interlock.port);
            assert_eq!(root.run(&format!("KILL QUERY {}", b.thread)), Ok(()));
            assert_eq!(b.answer(), Err(1317));
            assert_eq!(b.run("SELECT RELEASE_LOCK('cash')"), Ok(()));
            assert_eq!(a.answer(), Ok(()));
            assert_eq!(a.run("ROLLBACK"), Ok(()));
            assert_eq!(a.run("SELECT RELEASE_LOCK('cash')"), Ok(()));
        },
        "flag",
        &[],
    );
}

#[test]
fn a_cycle_through_a_named_lock_is_broken_where_it_would_last() {
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(a.run("UPDATE batch SET server_id = 8 WHERE id = 1"), Ok(()));
            assert_eq!(b.run("SELECT GET_LOCK('cash', 0)"), Ok(()));
            a.send("SELECT GET_LOCK('cash', 10)");
            assert!(a.waits());
            assert_eq!(b.run("UPDATE batch SET server_id = 9 WHERE id = 1"), Err(1213));
            assert_eq!(find(interlock, "deadlock")["action"], "rejected");
            assert_eq!(b.run("SELECT RELEASE_LOCK('cash')"), Ok(()));
            assert_eq!(a.answer(), Ok(()));
            assert_eq!(a.run("ROLLBACK"), Ok(()));
            assert_eq!(a.run("SELECT RELEASE_LOCK('cash')"), Ok(()));
        },
        "reorder",
        &[],
    );
}

#[test]
fn a_cycle_of_named_locks_alone_is_found() {
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("SELECT GET_LOCK('left', 0)"), Ok(()));
            assert_eq!(b.run("SELECT GET_LOCK('right', 0)"), Ok(()));
            a.send("SELECT GET_LOCK('right', 10)");
            assert!(a.waits());
            b.send("SELECT GET_LOCK('left', 10)");
            wait_until("the cycle is found", Duration::from_secs(5), || {
                interlock.conflicts().iter().any(|c| c["kind"] == "deadlock")
            });
            // MySQL looks for such cycles among named locks itself and refuses (3058); MariaDB answers 1213.
            let told = b.answer();
            assert!([Err(3058), Err(1213)].contains(&told), "{told:?}");
            assert_eq!(b.run("SELECT RELEASE_ALL_LOCKS()"), Ok(()));
            assert_eq!(a.answer(), Ok(()));
            assert_eq!(a.run("SELECT RELEASE_ALL_LOCKS()"), Ok(()));
        },
        "flag",
        &[],
    );
}

/// Two transactions that deadlock through a stored function, which the model does not read.
fn meet(a: &Session, b: &Session, pause: Duration) -> [Result<(), u16>; 2] {
    for session in [a, b] {
        assert_eq!(session.run("BEGIN"), Ok(()));
    }
    assert_eq!(a.run("UPDATE total SET n = n + 1 WHERE id = 1"), Ok(()));
    b.send("UPDATE batch SET server_id = counted(id + 7) WHERE id = 1");
    assert!(b.waits(), "at the server for the row of `total`, or held");
    std::thread::sleep(pause);
    let first = a.run("UPDATE batch SET server_id = 9 WHERE id = 1");
    let _ = a.run("COMMIT");
    let second = b.answer();
    let _ = b.run("COMMIT");
    [first, second]
}

#[test]
fn a_deadlock_that_happened_does_not_happen_again_even_after_a_restart() {
    let config = Config::new("[reorder]\nhold_timeout = \"1s\"\n");
    let more = [
        "CREATE TABLE shop.total (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
        "INSERT INTO shop.total VALUES (1, 0)",
        "CREATE FUNCTION shop.counted(x INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE shop.total SET n = n + 1 WHERE id = 1; RETURN x; END",
    ];
    shops(|server| {
        let mut root = RawClient::login(server.port, &Login::default());
        for sql in more {
            assert!(root.query(sql)[0].is_ok(), "{sql}");
        }
        let state = tempfile::tempdir().expect("a temporary directory");
        let directory = state.path().to_str().expect("the path is text");
        let setting = [("INTERLOCK__STATE__DIR", directory)];
        let arguments = ["--action", "reorder", "--config", config.path()];
        let start = || {
            let interlock = Interlock::start_with(server, &arguments, &setting);
            let sessions = [Session::open(interlock.port), Session::open(interlock.port)];
            (interlock, sessions)
        };

        let (mut interlock, [a, b]) = start();
        assert!(meet(&a, &b, Duration::ZERO).contains(&Err(1213)), "the model cannot know");
        drop((a, b));
        interlock.signal("TERM");
        assert!(interlock.wait(Duration::from_secs(20)).success());

        let (interlock, [a, b]) = start();
        let known = interlock.metric("interlock_signatures");
        assert_eq!(known, Some(1.0));
        // What is known to deadlock is worth a longer wait than what may.
        assert_eq!(meet(&a, &b, Duration::from_millis(1500)), [Ok(()), Ok(())]);
        assert_eq!(interlock.metric("interlock_signature_matches_total{action=\"held\"}"), Some(1.0));
        // The record names the signature, and no place that nobody knows.
        let conflicts = interlock.conflicts();
        let known = conflicts.iter().find(|conflict| conflict["signature"].is_string());
        let known = known.unwrap_or_else(|| panic!("{conflicts:#?}"));
        assert_eq!((&known["action"], &known["resource"]["range"]), (&"held".into(), &"".into()));
        assert_eq!(known["pattern"], "known_deadlock");
        drop((a, b));
        interlock.assert_nothing_is_left();
    });
}
