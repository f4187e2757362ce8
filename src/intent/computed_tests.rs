//! Keys that no statement names.

use std::sync::Arc;

use super::super::known::{Known, SeenEntry, SeenPath, SeenSpan};
use super::super::test_support::{REPEATABLE_READ, requests, table, words};
use super::*;
use crate::lock::key::Key;
use crate::sql::formula_reader::definition;
use crate::sql::lexer::Reading;

/// `t (id PRIMARY KEY, k KEY, u UNIQUE, n)`, one of whose columns is changed.
fn with(column: usize, change: impl FnOnce(&mut Column)) -> Vec<Table> {
    let mut changed = table();
    change(&mut changed.columns[column]);
    vec![changed]
}

fn formula(text: &str) -> Option<Arc<Formula>> {
    definition(text, Reading::default()).map(Arc::new)
}

fn generated(column: usize, text: &str) -> Vec<Table> {
    with(column, |column| (column.generated, column.formula) = (true, formula(text)))
}

fn defaulting(column: usize, text: &str) -> Vec<Table> {
    with(column, |column| {
        column.default = Some(text.to_owned());
        column.default_is_expression = text.parse::<i64>().is_err();
        column.formula = formula(text);
    })
}

fn check(tables: &[Table], sql: &str, expect: &[&str]) {
    let (_, requests) = requests(tables, &REPEATABLE_READ, &Known::default(), sql);
    assert_eq!(words(tables, &requests), expect, "{sql}");
}

#[test]
fn a_generated_key_is_computed() {
    check(
        &generated(2, "(`n` * 2)"),
        "INSERT INTO t (id, k, n) VALUES (1, 5, 20)",
        &[
            "insert-unique X insert intention of t.PRIMARY at 1 (certain)",
            "insert-unique X insert intention of t.u at 40 (likely)",
            "insert-entry X insert intention of t.k at 5, 1 (likely)",
        ],
    );
}

#[test]
fn a_key_that_only_the_server_computes_is_somewhere() {
    for tables in [generated(2, "sha1(`n`)"), defaulting(2, "rand()")] {
        check(
            &tables,
            "INSERT INTO t (id, k, n) VALUES (1, 5, 20)",
            &[
                "insert-unique X insert intention of t.PRIMARY at 1 (certain)",
                "insert-somewhere X insert intention of t.u all (unknown)",
                "insert-entry X insert intention of t.k at 5, 1 (likely)",
            ],
        );
    }
    check(
        &defaulting(0, "uuid_short()"),
        "INSERT INTO t (k, u) VALUES (5, 7)",
        &[
            "insert-somewhere X insert intention of t.PRIMARY all (unknown)",
            "insert-unique X insert intention of t.u at 7 (certain)",
            "insert-entry X insert intention of t.k at 5, next (likely)",
        ],
    );
}

#[test]
fn defaults_are_keys() {
    let k = |tables: &[Table], sql: &str| {
        let (_, requests) = requests(tables, &REPEATABLE_READ, &Known::default(), sql);
        words(tables, &requests).pop()
    };
    let at = |place: &str| Some(format!("insert-entry X insert intention of t.k at {place} (likely)"));
    let sql = "INSERT INTO t (id, u, n) VALUES (1, 7, 20)";
    assert_eq!(k(&defaulting(1, "-3"), sql), at("-3, 1"));
    assert_eq!(k(&defaulting(1, "(1 + 2)"), sql), at("3, 1"));
    assert_eq!(k(&defaulting(1, "(`n` + 1)"), sql), at("21, 1"));
    assert_eq!(k(&defaulting(1, "3"), "INSERT INTO t VALUES (1, DEFAULT, 7, 0)"), at("3, 1"));
    assert_eq!(k(&defaulting(1, "3"), "INSERT INTO t VALUES (1, 4 * 2, 7, 0)"), at("8, 1"));
}

/// A row that an UPDATE was seen to find by its primary key.
fn found(id: i128, row: [i128; 4]) -> Known {
    let mut key = Key::default();
    key.push_int(id, false);
    let entry = SeenEntry {
        key: key.clone(),
        clustered: key,
        matches: true,
        rows: vec![row.iter().enumerate().map(|(c, n)| (c, Value::Int(*n))).collect()],
        newest: true,
        committed: true,
    };
    let spans = vec![SeenSpan { entries: vec![entry], ..SeenSpan::default() }];
    Known { seen: vec![SeenPath { access: 0, path: 0, spans }], asked: true, ..Known::default() }
}

fn changed(tables: &[Table], sql: &str) -> Vec<String> {
    let (_, requests) = requests(tables, &REPEATABLE_READ, &found(1, [1, 5, 7, 20]), sql);
    words(tables, &requests).split_off(1)
}

#[test]
fn an_update_computes_from_the_row() {
    assert_eq!(
        changed(&[table()], "UPDATE t SET k = k + 10 WHERE id = 1"),
        [
            "changed-entry X record of t.k at 5, 1 (certain)",
            "moved-entry X insert intention of t.k at 15, 1 (certain)",
        ]
    );
    // What was set before counts.
    assert_eq!(
        changed(&[table()], "UPDATE t SET n = n + 1, k = n WHERE id = 1")[1],
        "moved-entry X insert intention of t.k at 21, 1 (certain)"
    );
    assert!(changed(&[table()], "UPDATE t SET k = k + 0 WHERE id = 1").is_empty());
}

#[test]
fn a_generated_column_moves_with_what_it_is_computed_from() {
    let tables = generated(1, "(`n` DIV 10)");
    assert_eq!(
        changed(&tables, "UPDATE t SET n = 95 WHERE id = 1"),
        [
            "changed-entry X record of t.k at 5, 1 (certain)",
            "moved-entry X insert intention of t.k at 9, 1 (certain)",
        ]
    );
    // It hangs on another column.
    assert_eq!(changed(&generated(1, "(`u` DIV 2)"), "UPDATE t SET n = 95 WHERE id = 1"), [""; 0]);
}

#[test]
fn a_list_is_read_in_the_order_of_the_index() {
    let list = |sql: &str| {
        let tables = [table()];
        let (_, requests) = requests(&tables, &REPEATABLE_READ, &Known::default(), sql);
        let places = words(&tables, &requests).into_iter().filter(|w| w.contains("of t.k at"));
        places.map(|w| w.rsplit(" at ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let places = list("SELECT * FROM t WHERE k IN (30, 10, 30, 20) FOR UPDATE");
    let points: Vec<&str> = places.iter().map(|p| p.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(points[..3], ["10", "20", "30"], "{places:?}");
}

#[test]
fn a_key_hangs_on_what_it_is_generated_from() {
    let plain = table();
    assert!(plain.is_indexed("u") && plain.keys_hang_on("U"));
    assert!(!plain.is_indexed("n") && !plain.keys_hang_on("n") && !plain.keys_hang_on("missing"));
    let tables = generated(2, "(`n` * 2)");
    assert!(!tables[0].is_indexed("n") && tables[0].keys_hang_on("n"));
    // What cannot be read may hang on anything.
    assert!(generated(2, "sha1(`n`)")[0].keys_hang_on("id"));
}
