//! What an UPDATE or DELETE touches, from its text alone and from the rows that were read.

use super::super::known::{Known, SeenEntry, SeenPath, SeenPlace, SeenSpan};
use super::super::test_support::{REPEATABLE_READ, requests, table, words};
use super::*;

const RULES: super::super::outcome::Rules =
    super::super::outcome::Rules { flavour: crate::catalog::Flavour::MySql, gaps: true };

fn key(values: &[i128]) -> Key {
    let mut key = Key::default();
    values.iter().for_each(|value| key.push_int(*value, false));
    key
}

/// An entry of another row.
fn seen_entry(whole: &[i128], id: i128) -> SeenEntry {
    let (key, clustered) = (key(whole), key(&[id]));
    SeenEntry { key, clustered, newest: true, committed: true, ..SeenEntry::default() }
}

/// The row `(id, k, u, n)` was read by its primary key.
fn read(id: i128, k: i128, u: i128, n: i128) -> Known {
    let row = [id, k, u, n].into_iter().enumerate().map(|(c, v)| (c, Value::Int(v))).collect();
    let entry = SeenEntry {
        key: key(&[id]),
        clustered: key(&[id]),
        matches: true,
        rows: vec![row],
        newest: true,
        committed: true,
    };
    let span = SeenSpan { entries: vec![entry], ..SeenSpan::default() };
    Known { seen: vec![SeenPath { access: 0, path: 0, spans: vec![span] }], asked: true, ..Known::default() }
}

fn asks(known: &Known, sql: &str) -> Vec<String> {
    let tables = [table()];
    let (_, requests) = requests(&tables, &REPEATABLE_READ, known, sql);
    words(&tables, &requests)[1..].to_vec()
}

#[test]
fn a_column_in_no_index_touches_no_entry() {
    assert!(asks(&Known::default(), "UPDATE t SET n = 1 WHERE id = 5").is_empty());
}

#[test]
fn what_the_text_does_not_tell_is_unknown() {
    assert_eq!(
        asks(&Known::default(), "UPDATE t SET k = 7 WHERE id = 5"),
        [
            "changed-entry X record of t.k all (unknown)",
            "moved-entry X insert intention of t.k at 7, 5 (likely)"
        ]
    );
    assert_eq!(
        asks(&Known::default(), "DELETE FROM t WHERE id = 5"),
        ["changed-entry X record of t.u all (unknown)", "changed-entry X record of t.k all (unknown)"]
    );
}

#[test]
fn the_row_tells_its_entries() {
    let row = read(5, 10, 20, 0);
    assert_eq!(
        asks(&row, "UPDATE t SET k = 7, n = 3 WHERE id = 5"),
        [
            "changed-entry X record of t.k at 10, 5 (certain)",
            "moved-entry X insert intention of t.k at 7, 5 (certain)"
        ]
    );
    assert!(asks(&row, "UPDATE t SET k = 10, n = 3 WHERE id = 5").is_empty(), "the entry stays as it is");
    assert_eq!(
        asks(&row, "DELETE FROM t WHERE id = 5"),
        [
            "changed-entry X record of t.u at 20, 5 (certain)",
            "changed-entry X record of t.k at 10, 5 (certain)"
        ]
    );
}

#[test]
fn another_primary_key_is_another_entry_everywhere() {
    assert_eq!(
        asks(&read(5, 10, 20, 0), "UPDATE t SET id = 6 WHERE id = 5"),
        [
            "moved-entry X insert intention of t.PRIMARY at 6 (certain)",
            "changed-entry X record of t.u at 20, 5 (likely)",
            "same-key S gap of t.u at 20 (likely)",
            "moved-entry X insert intention of t.u at 20, 6 (likely)",
            "changed-entry X record of t.k at 10, 5 (likely)",
            "moved-entry X insert intention of t.k at 10, 6 (likely)"
        ]
    );
}

#[test]
fn a_key_that_is_there_ends_the_statement() {
    let place = |entries| SeenPlace {
        table: crate::id::TableId(1),
        index: 2,
        key: key(&[30]),
        span: SeenSpan { entries, below: Some(seen_entry(&[20, 5], 5)), ..SeenSpan::default() },
    };
    let with = |entries| Known { places: vec![place(entries)], ..read(5, 10, 20, 0) };
    let sql = "UPDATE t SET u = 30, k = 7 WHERE id = 5";
    assert_eq!(
        asks(&with(vec![seen_entry(&[30, 8], 8)]), sql),
        [
            "changed-entry X record of t.u at 20, 5 (certain)",
            "taken-key S next-key of t.u at 30, 8 (certain)"
        ]
    );
    let free = asks(&with(Vec::new()), sql);
    assert_eq!(free[1], "moved-entry X insert intention of t.u at 30 (certain)");
    assert_eq!(free[3], "moved-entry X insert intention of t.k at 7, 5 (certain)");
    let unseen = asks(&read(5, 10, 20, 0), sql);
    assert_eq!(unseen[3], "moved-entry X insert intention of t.k at 7, 5 (likely)", "if it comes so far");
}

#[test]
fn an_update_that_met_a_key_keeps_the_check_and_the_gaps_of_what_it_had_put() {
    let tables = [table()];
    let sql = "UPDATE t SET id = 6, u = 30 WHERE id = 5";
    let (plan, requests) = requests(&tables, &REPEATABLE_READ, &read(5, 10, 20, 0), sql);
    let answered = Answered::Duplicate { index: Some(2), entry: "30".to_owned() };
    let settled = super::super::outcome::settle(&plan.statement, &requests, &answered, None, RULES);
    let of = |index: u16| {
        let at = requests.iter().position(|r| r.kind.inserts() && r.index.index == index).unwrap();
        settled[at].clone()
    };
    assert_eq!(of(0), Settled::Undone);
    assert!(matches!(of(2), Settled::Met { mode: Mode::S, kind: Kind::NextKey, .. }), "{:?}", of(2));
}

#[test]
fn nothing_changed_nothing_locked() {
    let tables = [table()];
    let (plan, requests) =
        requests(&tables, &REPEATABLE_READ, &read(5, 10, 20, 0), "UPDATE t SET k = 7 WHERE id = 5");
    let settled = |affected| {
        let answered = Answered::Changed { affected, matched: Some(1) };
        let settle = super::super::outcome::settle_exact;
        settle(&plan.statement, &requests, &answered, None, RULES)
    };
    assert_eq!(settled(0)[1..], [Settled::Released, Settled::Released]);
    let moved = Settled::Became(Kind::Record, requests[2].range.clone());
    assert_eq!(settled(1)[1..], [Settled::Kept, moved]);
}
