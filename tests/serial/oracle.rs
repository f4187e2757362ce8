//! What a serial order of the committed transactions gives.
//!
//! Every transaction only reads with locks, keeps them to its end, and writes its number into an AUTO_INCREMENT
//! journal as its last step. Whoever had to wait for it comes later in the journal, so the journal's order is a
//! serial order, if the server and what stands before it do as they should.
//!
//! One thing MariaDB does not: a DELETE that `KILL QUERY` meets at its beginning deletes nothing and is answered
//! with OK, 0 rows, where MySQL, and every other statement, says 1317. (Measured without interlock, MariaDB 10.11:
//! 47 of 207 DELETEs that were killed; MySQL 9.7: none of 225.) Nobody can tell it from a DELETE that found nothing,
//! so it counts as what it was: done, without effect. Only where a kill was under way to that very statement.

use std::collections::BTreeMap;

use super::account;
use super::client::Client;
use super::support::Kind;
use super::workload::{Did, GROUPS, Outcome, What, change};

/// Runs the committed transactions again, one after the other, and compares all that they read and left. Returns
/// how many killed DELETEs have done nothing, and said so.
pub fn check(kind: Kind, outcome: &Outcome) -> usize {
    let mut idle = 0;
    let mut cells: BTreeMap<i64, i64> = BTreeMap::new();
    for number in &outcome.journal {
        let steps = outcome.committed.get(number).or_else(|| outcome.unknown.get(number));
        let steps = steps
            .unwrap_or_else(|| panic!("transaction {number} is in the journal, and was told to have failed"));
        for step in steps {
            let present = matches!(step.what, What::Remove(key) if cells.contains_key(&key));
            if kind == Kind::MariaDb && present && step.read == [0] && outcome.is_struck(*number, step) {
                idle += 1;
                continue;
            }
            apply(*number, step, &mut cells, outcome);
        }
    }
    for number in outcome.committed.keys() {
        assert!(
            outcome.journal.contains(number),
            "transaction {number} was told to be committed, and is not there"
        );
    }
    let left: BTreeMap<i64, i64> = outcome.cells.iter().copied().collect();
    assert_eq!(left, cells, "{}: what is left is not what the serial order gives", kind.name());
    idle
}

fn apply(number: i64, step: &Did, cells: &mut BTreeMap<i64, i64>, outcome: &Outcome) {
    let expected = match step.what {
        What::Look(key) | What::Share(key) => cells.get(&key).map(|value| vec![*value]).unwrap_or_default(),
        What::Group(group) => {
            let of_group: Vec<i64> =
                cells.iter().filter(|(key, _)| *key % GROUPS == group).map(|(_, v)| *v).collect();
            vec![of_group.len() as i64, of_group.iter().sum()]
        }
        What::Create(key) => {
            let before = cells.insert(key, number);
            assert!(
                before.is_none(),
                "transaction {number} created {key}, which was there\n{}",
                account::of(outcome, step)
            );
            vec![1]
        }
        What::Change(key) => changed(cells.range_mut(key..=key), number),
        What::Span(low, high) => changed(cells.range_mut(low..=high), number),
        What::Remove(key) => vec![i64::from(cells.remove(&key).is_some())],
    };
    assert_eq!(
        step.read,
        expected,
        "transaction {number} read {:?} at {:?}\n{}",
        step.read,
        step.what,
        account::of(outcome, step)
    );
}

/// Changes cells; how many have another value than before.
fn changed<'a>(cells: impl Iterator<Item = (&'a i64, &'a mut i64)>, number: i64) -> Vec<i64> {
    let changed = cells.filter_map(|(_, value)| {
        let before = std::mem::replace(value, change(*value, number));
        (*value != before).then_some(())
    });
    vec![changed.count() as i64]
}

/// Rows of numbers, read while nobody else has a transaction open.
pub fn numbers(client: &mut Client, sql: &str) -> Vec<Vec<i64>> {
    let rows = client.query(sql).expect("the server answers");
    rows.iter().map(|row| row.iter().map(|text| text.parse().expect("a number")).collect()).collect()
}

mod tests {
    use std::time::Duration;

    use super::*;

    fn did(what: What, read: Vec<i64>) -> Did {
        Did { what, read, sent: Duration::from_secs(1), at: Duration::from_secs(2) }
    }

    fn outcome(journal: &[i64], cells: &[(i64, i64)]) -> Outcome {
        let created = vec![did(What::Create(1), vec![1])];
        let changed = vec![did(What::Look(1), vec![7]), did(What::Change(1), vec![1])];
        Outcome {
            committed: [(7, created), (8, changed)].into(),
            journal: journal.to_vec(),
            cells: cells.to_vec(),
            ..Outcome::default()
        }
    }

    #[test]
    fn what_no_serial_order_gives_is_noticed() {
        let fails = |outcome: Outcome| std::panic::catch_unwind(|| check(Kind::MySql, &outcome)).is_err();
        assert!(!fails(outcome(&[7, 8], &[(1, change(7, 8))])));
        assert!(fails(outcome(&[8, 7], &[(1, change(7, 8))])), "another order");
        assert!(fails(outcome(&[7, 8], &[(1, 7)])), "a lost update");
        assert!(fails(outcome(&[7], &[(1, 7)])), "a lost transaction");
        let mut idle = outcome(&[7, 8], &[(1, change(7, 8))]);
        idle.committed.get_mut(&8).expect("it is there")[1].read = vec![0];
        assert!(fails(idle), "a change that says to have found nothing");
        assert!(fails(outcome(&[7, 8, 9], &[(1, change(7, 8))])), "one that nobody committed");
        assert!(fails(outcome(&[7, 8], &[(1, change(7, 8)), (2, 5)])), "a row from nowhere");
    }

    #[test]
    fn a_killed_delete_may_have_done_nothing_on_mariadb() {
        let fails = |kind: Kind, thread: i64, from: u64, read: i64| {
            let mut outcome = outcome(&[7, 8], &[(1, 7)]);
            outcome.committed.insert(8, vec![did(What::Remove(1), vec![read])]);
            outcome.threads = [(7, 70), (8, 80)].into();
            let at = Duration::from_millis;
            outcome.strikes = vec![(thread, at(from), at(from + 10))];
            std::panic::catch_unwind(|| check(kind, &outcome)).is_err()
        };
        assert!(!fails(Kind::MariaDb, 80, 1500, 0));
        assert!(fails(Kind::MySql, 80, 1500, 0), "another server");
        assert!(fails(Kind::MariaDb, 70, 1500, 0), "another client was killed");
        assert!(fails(Kind::MariaDb, 80, 900, 0), "before");
        assert!(fails(Kind::MariaDb, 80, 2001, 0), "afterwards");
        assert!(fails(Kind::MariaDb, 80, 1500, 1), "it says to have deleted the row");
    }
}
