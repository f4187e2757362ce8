//! The main job: the get-or-create deadlock is foreseen, and prevented.

mod support;

use std::time::{Duration, Instant};

use support::Interlock;
use support::shop::{Session, find, in_front_of_a_shop, shops};

#[test]
fn flag_sees_the_hazard_and_the_deadlock_before_they_happen() {
    in_front_of_a_shop(
        |interlock, a, b| {
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE"), Ok(()));
            assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 70000010 FOR UPDATE"), Ok(()));
            let hazard = find(interlock, "hazard");
            assert_eq!(hazard["detected"], "before");
            assert_eq!(hazard["certainty"], "certain", "the gap was looked at: {hazard:#}");
            assert_eq!(hazard["resource"]["table"], "batch");
            assert_eq!(hazard["resource"]["index"], "by_server");
            assert_eq!(hazard["action"], "flagged");
            a.send("INSERT INTO batch (server_id) VALUES (70000009)");
            assert!(a.waits());
            let results = [b.run("INSERT INTO batch (server_id) VALUES (70000010)"), a.answer()];
            assert!(results.contains(&Err(1213)), "{results:?}");
            let deadlock = find(interlock, "deadlock");
            assert_eq!(deadlock["detected"], "before");
            assert_eq!(deadlock["errno"], 1213);
            assert_eq!(deadlock["outcome"], "happened");
            let statements = |party: &serde_json::Value| party["transaction"].as_array().unwrap().len();
            assert_eq!(statements(&deadlock["requester"]), 3);
            assert_eq!(statements(&deadlock["holders"][0]), 3);
            assert!(!deadlock.to_string().contains("7000001"), "literals are redacted: {deadlock:#}");
            for session in [&a, &b] {
                assert_eq!(session.run("ROLLBACK"), Ok(()));
            }
        },
        "flag",
        &[],
    );
}

#[test]
fn reorder_holds_the_second_until_the_first_has_ended() {
    in_front_of_a_shop(
        |interlock, a, b| {
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            b.send("SELECT * FROM batch WHERE server_id = 10 FOR UPDATE");
            assert!(b.waits(), "held");
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (9)"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run("INSERT INTO batch (server_id) VALUES (10)"), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
            let hazard = find(interlock, "hazard");
            assert_eq!(hazard["action"], "held");
            assert_eq!(hazard["outcome"], "averted");
            assert!(hazard["held_ms"].as_f64().unwrap() > 200.0);
        },
        "reorder",
        &[],
    );
}

/// Who mostly finds the row seldom inserts; of those that found nothing each does.
#[test]
fn a_key_that_is_mostly_there_is_held_where_it_is_not() {
    in_front_of_a_shop(
        |interlock, a, b| {
            let get_or_create = |id: u32, finds: bool| {
                assert_eq!(a.run("BEGIN"), Ok(()));
                assert_eq!(a.run(&format!("SELECT * FROM batch WHERE server_id = {id} FOR UPDATE")), Ok(()));
                if !finds {
                    assert_eq!(a.run(&format!("INSERT INTO batch (server_id) VALUES ({id})")), Ok(()));
                }
                assert_eq!(a.run("COMMIT"), Ok(()));
            };
            get_or_create(9, false);
            (0..100).for_each(|_| get_or_create(9, true));
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE"), Ok(()));
            b.send("SELECT * FROM batch WHERE server_id = 70000009 FOR UPDATE");
            assert!(b.waits(), "held");
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (70000009)"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
            assert_eq!(find(interlock, "hazard")["outcome"], "averted");
        },
        "reorder",
        &[],
    );
}

#[test]
fn reorder_lets_another_gap_pass() {
    in_front_of_a_shop(
        |interlock, a, b| {
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            let begun = Instant::now();
            assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 20 FOR UPDATE"), Ok(()));
            assert!(begun.elapsed() < Duration::from_secs(1), "a look shows the record 12 between them");
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (9)"), Ok(()));
            assert_eq!(b.run("INSERT INTO batch (server_id) VALUES (20)"), Ok(()));
            for session in [&a, &b] {
                assert_eq!(session.run("COMMIT"), Ok(()));
            }
            let late = interlock.conflicts().iter().any(|c| c["held_ms"].as_f64() > Some(1000.0));
            assert!(!late);
        },
        "reorder",
        &[],
    );
}

#[test]
fn a_hold_ends_at_its_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("interlock.toml");
    std::fs::write(&file, "[reorder]\nhold_timeout = \"500ms\"\n").unwrap();
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(b.run("BEGIN"), Ok(()));
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            let begun = Instant::now();
            assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            let took = begun.elapsed();
            assert!(took > Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
            assert_eq!(interlock.metric("interlock_held_statements"), Some(0.0));
            assert_eq!(b.run("ROLLBACK"), Ok(()));
            assert_eq!(a.run("ROLLBACK"), Ok(()));
        },
        "reorder",
        &["--config", file.to_str().unwrap()],
    );
}

/// A virtual machine that is moved: the deadline passes, but so does the holder's COMMIT, which nobody has read yet.
#[test]
fn a_process_that_stood_still_reads_before_it_ends_holds() {
    in_front_of_a_shop(
        |interlock, a, b| {
            let c = Session::open(interlock.port);
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            for (session, key) in [(&b, 10), (&c, 11)] {
                assert_eq!(session.run("BEGIN"), Ok(()));
                session.send(&format!("SELECT * FROM batch WHERE server_id = {key} FOR UPDATE"));
                assert!(session.waits(), "held");
            }
            interlock.signal("STOP");
            assert!(b.within(Duration::from_secs(3)).is_none());
            a.send("COMMIT");
            assert!(a.waits());
            interlock.signal("CONT");
            assert_eq!(a.answer(), Ok(()));
            for session in [&b, &c] {
                assert_eq!(session.answer(), Ok(()));
                assert_eq!(session.run("COMMIT"), Ok(()));
            }
            let ended =
                |how| interlock.metric(&format!("interlock_holds_total{{kind=\"hazard\",end=\"{how}\"}}"));
            assert_eq!((ended("released"), ended("deadline")), (Some(2.0), Some(0.0)));
        },
        "reorder",
        &[],
    );
}

/// TRUNCATE by somebody who does not come through interlock.
#[test]
fn of_a_table_that_was_emptied_elsewhere_nothing_is_believed() {
    shops(|server| {
        let interlock = Interlock::start(server, &["--action", "reorder"]);
        let (a, b) = (Session::open(interlock.port), Session::open(interlock.port));
        for key in [40, 50] {
            assert_eq!(a.run(&format!("SELECT * FROM batch WHERE server_id = {key} FOR UPDATE")), Ok(()));
            assert_eq!(a.run(&format!("INSERT INTO batch (server_id) VALUES ({key})")), Ok(()));
        }
        let elsewhere = Session::open(server.port);
        assert_eq!(elsewhere.run("TRUNCATE TABLE batch"), Ok(()));
        // Numbers that it has seen are given again.
        for key in 1..=6 {
            assert_eq!(a.run(&format!("INSERT INTO batch (server_id) VALUES ({key})")), Ok(()));
        }
        for session in [&a, &b] {
            assert_eq!(session.run("BEGIN"), Ok(()));
        }
        assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 45 FOR UPDATE"), Ok(()));
        b.send("SELECT * FROM batch WHERE server_id = 55 FOR UPDATE");
        assert!(b.waits(), "no record stands between them any more");
        assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (45)"), Ok(()));
        assert_eq!(a.run("COMMIT"), Ok(()));
        assert_eq!(b.answer(), Ok(()));
        assert_eq!(b.run("INSERT INTO batch (server_id) VALUES (55)"), Ok(()));
        assert_eq!(b.run("COMMIT"), Ok(()));
    });
}

#[test]
fn reject_answers_1213_and_has_rolled_back() {
    in_front_of_a_shop(
        |interlock, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(b.run("BEGIN"), Ok(()));
            assert_eq!(b.run("UPDATE batch SET server_id = 31 WHERE server_id = 30"), Ok(()));
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            assert_eq!(b.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Err(1213));
            // The row that the rejected transaction had changed is free again.
            assert_eq!(a.run("UPDATE batch SET server_id = 32 WHERE server_id = 30"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
            assert_eq!(find(interlock, "hazard")["action"], "rejected");
        },
        "reject",
        &[],
    );
}

#[test]
fn a_held_client_that_leaves_frees_its_place() {
    in_front_of_a_shop(
        |_, a, b| {
            assert_eq!(a.run("BEGIN"), Ok(()));
            assert_eq!(a.run("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE"), Ok(()));
            assert_eq!(b.run("BEGIN"), Ok(()));
            b.send("SELECT * FROM batch WHERE server_id = 9 FOR UPDATE");
            assert!(b.waits());
            drop(b);
            assert_eq!(a.run("INSERT INTO batch (server_id) VALUES (9)"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
        },
        "reorder",
        &[],
    );
}

/// The check of a key that was just put waits with a lock on the gap below it, where its owner goes on to insert. It
/// comes after the primary key's, so it is not certain that it waits.
#[test]
fn reorder_holds_a_duplicate_check_before_it_locks_the_gap() {
    in_front_of_a_shop(
        |interlock, a, b| {
            let create =
                "CREATE TABLE chan (id INT PRIMARY KEY, name VARCHAR(20), UNIQUE KEY by_name (name))";
            assert_eq!(a.run(create), Ok(()));
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run("INSERT INTO chan VALUES (5, 'nutmeg')"), Ok(()));
            b.send("INSERT INTO chan VALUES (7, 'nutmeg')");
            assert!(b.waits());
            assert_eq!(a.run("INSERT INTO chan VALUES (6, 'mace')"), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.answer(), Err(1062));
            assert_eq!(b.run("COMMIT"), Ok(()));
            assert_eq!(find(interlock, "wait")["action"], "held");
        },
        "reorder",
        &[],
    );
}

/// A child's INSERT shares the parent's row, and the counter in the parent is a deadlock if two share it. That this
/// application has one is not known at first; that it has none is known after two transactions.
#[test]
fn reorder_holds_who_shares_a_row_until_it_is_known_not_to_be_changed() {
    in_front_of_a_shop(
        |interlock, a, b| {
            for create in [
                "CREATE TABLE owner (id INT PRIMARY KEY, pets INT NOT NULL)",
                "CREATE TABLE pet (id INT PRIMARY KEY AUTO_INCREMENT, owner_id INT, FOREIGN KEY (owner_id) REFERENCES \
                 owner (id))",
                "INSERT INTO owner VALUES (1, 0)",
            ] {
                assert_eq!(a.run(create), Ok(()));
            }
            let (pet, count) =
                ("INSERT INTO pet (owner_id) VALUES (1)", "UPDATE owner SET pets = pets + 1 WHERE id = 1");
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
            }
            assert_eq!(a.run(pet), Ok(()));
            b.send(pet);
            assert!(b.waits(), "held");
            assert_eq!(a.run(count), Ok(()));
            assert_eq!(a.run("COMMIT"), Ok(()));
            assert_eq!(b.answer(), Ok(()));
            assert_eq!(b.run(count), Ok(()));
            assert_eq!(b.run("COMMIT"), Ok(()));
            assert_eq!(find(interlock, "hazard")["action"], "held");
            // Another statement, whose transactions do no more.
            let plain = "INSERT INTO pet (id, owner_id) VALUES (NULL, 1)";
            for _ in 0..2 {
                for statement in ["BEGIN", plain, "COMMIT"] {
                    assert_eq!(a.run(statement), Ok(()));
                }
            }
            let holds = || interlock.metric("interlock_hold_seconds_count");
            let before = holds();
            for session in [&a, &b] {
                assert_eq!(session.run("BEGIN"), Ok(()));
                assert_eq!(session.run(plain), Ok(()));
            }
            for session in [&a, &b] {
                assert_eq!(session.run("COMMIT"), Ok(()));
            }
            assert_eq!(holds(), before);
        },
        "reorder",
        &[],
    );
}
