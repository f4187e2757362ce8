//! What a serial order of the committed transactions gives.
//!
//! Every transaction only reads with locks, keeps them to its end, and writes its number into an AUTO_INCREMENT
//! journal as its last step. Whoever had to wait for it comes later in the journal, so the journal's order is a
//! serial order, if the server and what stands before it do as they should.

use std::collections::BTreeMap;

use super::client::Client;
use super::support::Kind;
use super::workload::{Did, GROUPS, Outcome, What, change};

/// Runs the committed transactions again, one after the other, and compares all that they read and left.
pub fn check(kind: Kind, outcome: &Outcome) {
    let mut cells: BTreeMap<i64, i64> = BTreeMap::new();
    for number in &outcome.journal {
        let steps = outcome.committed.get(number).or_else(|| outcome.unknown.get(number));
        let steps = steps
            .unwrap_or_else(|| panic!("transaction {number} is in the journal, and was told to have failed"));
        for step in steps {
            apply(*number, step, &mut cells);
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
}

fn apply(number: i64, step: &Did, cells: &mut BTreeMap<i64, i64>) {
    let expected = match step.what {
        What::Look(key) | What::Share(key) => cells.get(&key).map(|value| vec![*value]).unwrap_or_default(),
        What::Group(group) => {
            let of_group: Vec<i64> =
                cells.iter().filter(|(key, _)| *key % GROUPS == group).map(|(_, v)| *v).collect();
            vec![of_group.len() as i64, of_group.iter().sum()]
        }
        What::Create(key) => {
            assert_eq!(
                cells.insert(key, number),
                None,
                "transaction {number} created {key}, which was there"
            );
            Vec::new()
        }
        What::Change(key) => {
            cells.entry(key).and_modify(|value| *value = change(*value, number));
            Vec::new()
        }
        What::Span(low, high) => {
            cells.range_mut(low..=high).for_each(|(_, value)| *value = change(*value, number));
            Vec::new()
        }
        What::Remove(key) => {
            cells.remove(&key);
            Vec::new()
        }
    };
    assert_eq!(step.read, expected, "transaction {number} read {:?} at {:?}", step.read, step.what);
}

/// Rows of numbers, read while nobody else has a transaction open.
pub fn numbers(client: &mut Client, sql: &str) -> Vec<Vec<i64>> {
    let rows = client.query(sql).expect("the server answers");
    rows.iter().map(|row| row.iter().map(|text| text.parse().expect("a number")).collect()).collect()
}

mod tests {
    use super::*;

    fn outcome(journal: &[i64], cells: &[(i64, i64)]) -> Outcome {
        let created = vec![Did { what: What::Create(1), read: vec![] }];
        let changed =
            vec![Did { what: What::Look(1), read: vec![7] }, Did { what: What::Change(1), read: vec![] }];
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
        assert!(fails(outcome(&[7, 8, 9], &[(1, change(7, 8))])), "one that nobody committed");
        assert!(fails(outcome(&[7, 8], &[(1, change(7, 8)), (2, 5)])), "a row from nowhere");
    }
}
