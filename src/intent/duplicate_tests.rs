//! Rows whose key is there, as the answer and a look at the server tell.

use super::super::known::{SeenPlace, SeenRow};
use super::super::outcome::{settle, settle_exact};
use super::super::test_support::{REPEATABLE_READ, family, requests, table, words};
use super::*;
use crate::catalog::ReferentialAction;
use crate::sql::statement::Statement;
use crate::sql::value::Value;

const RULES: Rules = Rules { flavour: Flavour::MySql, gaps: true };
const MARIADB: Rules = Rules { flavour: Flavour::MariaDb, gaps: true };
const COMMITTED: Rules = Rules { flavour: Flavour::MySql, gaps: false };

fn key(values: &[i128]) -> Key {
    let mut key = Key::default();
    values.iter().for_each(|value| key.push_int(*value, false));
    key
}

/// The rows 10, 20 and 30 have these numbers in every column; what there is at a unique key of the new row.
fn looked(id: i128, u: i128) -> Known {
    let row = |n: i128| -> SeenRow { (0..4).map(|c| (c, Value::Int(n))).collect() };
    let entry = |n: i128, of: Key| SeenEntry {
        key: of,
        clustered: key(&[n]),
        matches: true,
        rows: vec![row(n)],
        newest: true,
        committed: true,
    };
    let place = |index: usize, n: i128| {
        let of = |n: i128| entry(n, if index == 0 { key(&[n]) } else { key(&[n, n]) });
        let (below, above) = ((n - 1) / 10 * 10, n / 10 * 10 + 10);
        let span = SeenSpan {
            entries: (n % 10 == 0).then(|| of(n)).into_iter().collect(),
            below: (below > 0).then(|| of(below)),
            above: (above < 40).then(|| of(above)),
            ..SeenSpan::default()
        };
        SeenPlace { table: TableId(1), index, key: key(&[n]), span }
    };
    Known { places: vec![place(0, id), place(2, u)], asked: true, ..Known::default() }
}

fn asks(known: &Known, sql: &str) -> Vec<String> {
    let tables = [table()];
    let (_, requests) = requests(&tables, &REPEATABLE_READ, known, sql);
    words(&tables, &requests)
}

fn settled(known: &Known, sql: &str, answered: &Answered, rules: Rules) -> Vec<(String, Settled)> {
    let tables = [table()];
    let (plan, requests) = requests(&tables, &REPEATABLE_READ, known, sql);
    let statement: &Statement = &plan.statement;
    let settle = if known.asked { settle_exact } else { settle };
    let settled = settle(statement, &requests, answered, None, rules);
    let of = |request: &Request| format!("{} {}", request.rule, request.index.index);
    requests.iter().map(of).zip(settled).collect()
}

fn done(affected: u64) -> Answered {
    Answered::Changed { affected, matched: None }
}

fn of<'s>(settled: &'s [(String, Settled)], wanted: &str) -> &'s Settled {
    &settled.iter().find(|(of, _)| of == wanted).unwrap_or_else(|| panic!("{wanted}: {settled:?}")).1
}

const INSERT: &str = "INSERT INTO t VALUES (15, 15, 20, 1)";

#[test]
fn unique_keys_come_first_and_what_follows_is_not_sure() {
    assert_eq!(
        asks(&Known::default(), INSERT),
        [
            "insert-unique X insert intention of t.PRIMARY at 15 (certain)",
            "insert-unique X insert intention of t.u at 20 (likely)",
            "insert-entry X insert intention of t.k at 15, 15 (likely)"
        ]
    );
}

#[test]
fn a_key_that_is_there_ends_the_row() {
    assert_eq!(
        asks(&looked(15, 20), INSERT),
        [
            "undone-entry X insert intention of t.PRIMARY at 15 (certain)",
            "duplicate S next-key of t.u at 20 (certain)"
        ]
    );
    assert_eq!(
        asks(&looked(20, 25), "INSERT INTO t VALUES (20, 1, 25, 1)"),
        ["duplicate S record of t.PRIMARY at 20 (certain)"]
    );
    assert_eq!(asks(&looked(15, 25), "INSERT INTO t VALUES (15, 1, 25, 1)").len(), 3, "nothing is there");
}

#[test]
fn an_upsert_goes_on_with_the_row() {
    let asked = asks(&looked(15, 20), &format!("{INSERT} ON DUPLICATE KEY UPDATE k = 5"));
    assert_eq!(
        asked[1..4],
        [
            "duplicate X next-key of t.u at 20 (certain)",
            "duplicate-row X record of t.PRIMARY at 20 (certain)",
            "changed-entry X record of t.k at 20, 20 (likely)"
        ]
    );
}

#[test]
fn a_replace_takes_the_next_entry_too() {
    let asked = asks(&looked(15, 20), "REPLACE INTO t VALUES (15, 15, 20, 1)");
    assert!(asked.contains(&"next-entry X next-key of t.u at 30, 30 (certain)".to_owned()), "{asked:?}");
    assert!(asked.contains(&"changed-entry X record of t.k at 20, 20 (likely)".to_owned()), "{asked:?}");
    // Then its row is put again, beside the one that it has deleted.
    let again: Vec<&String> = asked.iter().filter(|lock| lock.contains("insert intention")).collect();
    assert_eq!(
        again,
        [
            "undone-entry X insert intention of t.PRIMARY at 15 (certain)",
            "put-again X insert intention of t.PRIMARY at 15 (certain)",
            "put-beside X insert intention of t.u at 10, 10 (certain)",
            "insert-unique X insert intention of t.u at 20 (certain)",
            "insert-entry X insert intention of t.k at 15, 15 (certain)",
        ]
    );
    let read = settled(&looked(15, 20), "REPLACE INTO t VALUES (15, 15, 20, 1)", &done(2), RULES);
    assert_eq!(*of(&read, "undone-entry 0"), Settled::Undone);
    assert!(matches!(of(&read, "put-again 0"), Settled::Became(Kind::Record, _)));
    assert_eq!(*of(&read, "put-beside 2"), Settled::Released);
    // Of two entries with one key the clustered key says which is behind the other.
    let asked = asks(&looked(25, 20), "REPLACE INTO t VALUES (25, 15, 20, 1)");
    assert!(asked.contains(&"put-beside X insert intention of t.u at 20 (certain)".to_owned()), "{asked:?}");
    // Behind the last entry the index ends.
    let asked = asks(&looked(15, 30), "REPLACE INTO t VALUES (15, 15, 30, 1)");
    assert!(asked.iter().any(|lock| lock.starts_with("next-entry X gap of t.u at 30, 30")), "{asked:?}");
}

#[test]
fn a_replace_by_the_only_unique_key_changes_the_row_in_place() {
    let mut only = table();
    only.indexes.truncate(2);
    let mut referred = only.clone();
    referred.referenced_by = family(ReferentialAction::Restrict)[0].referenced_by.clone();
    assert!(!referred.referenced_by.is_empty());
    let tables = [only, referred];
    let locks = |at: usize, sql| {
        let table = &tables[at..=at];
        let (_, requests) = requests(table, &REPEATABLE_READ, &looked(20, 25), sql);
        words(table, &requests)
    };
    let (same, other) = ("REPLACE INTO t VALUES (20, 20, 1, 1)", "REPLACE INTO t VALUES (20, 5, 1, 1)");
    assert_eq!(locks(0, same), ["duplicate X record of t.PRIMARY at 20 (certain)"]);
    let entries =
        |locks: Vec<String>| locks.into_iter().filter(|lock| lock.contains("t.k")).collect::<Vec<_>>();
    assert_eq!(
        entries(locks(0, other)),
        [
            "changed-entry X record of t.k at 20, 20 (likely)",
            "moved-entry X insert intention of t.k at 5, 20 (likely)"
        ]
    );
    // A table that refers to it: the row goes, and another comes.
    assert!(locks(1, same).contains(&"changed-entry X record of t.k at 20, 20 (likely)".to_owned()));
}

#[test]
fn the_message_tells_which_key_it_was() {
    let none = Known::default();
    let failed = Answered::Duplicate { index: Some(2), entry: "20".to_owned() };
    let mysql = settled(&none, INSERT, &failed, RULES);
    assert_eq!(*of(&mysql, "insert-unique 0"), Settled::Undone, "its place in the primary key stays locked");
    let met = |mode| Settled::Met { mode, kind: Kind::NextKey, certainty: Certainty::Likely };
    assert_eq!(*of(&mysql, "insert-unique 2"), met(Mode::S));
    assert_eq!(*of(&mysql, "insert-entry 1"), Settled::Released);
    for rules in [MARIADB, COMMITTED] {
        assert_eq!(*of(&settled(&none, INSERT, &failed, rules), "insert-unique 0"), Settled::Released);
    }
}

#[test]
fn rows_before_the_one_that_failed_are_undone() {
    let rows = "INSERT INTO t VALUES (15, 15, 15, 1), (25, 25, 20, 1), (35, 35, 35, 1)";
    let failed = Answered::Duplicate { index: Some(2), entry: "20".to_owned() };
    let settled: Vec<Settled> =
        settled(&Known::default(), rows, &failed, RULES).into_iter().map(|(_, settled)| settled).collect();
    let met = Settled::Met { mode: Mode::S, kind: Kind::NextKey, certainty: Certainty::Likely };
    let undone = || Settled::Undone;
    let gone = || Settled::Released;
    assert_eq!(settled, [undone(), undone(), undone(), undone(), met, gone(), gone(), gone(), gone()]);
}

#[test]
fn affected_rows_tell_an_upsert_from_an_insert() {
    let upsert = format!("{INSERT} ON DUPLICATE KEY UPDATE n = n + 1");
    let new = settled(&Known::default(), &upsert, &done(1), RULES);
    assert!(matches!(of(&new, "insert-unique 0"), Settled::Became(Kind::Record, _)));
    assert_eq!(*of(&new, "duplicate-row 0"), Settled::Released);
    let old = settled(&Known::default(), &upsert, &done(2), RULES);
    assert!(matches!(of(&old, "insert-unique 0"), Settled::Met { certainty: Certainty::Unknown, .. }));
    assert_eq!(*of(&old, "duplicate-row 0"), Settled::Kept);
    let read = settled(&looked(15, 20), &upsert, &done(2), RULES);
    assert_eq!(*of(&read, "undone-entry 0"), Settled::Undone);
    assert_eq!(*of(&read, "duplicate 2"), Settled::Kept);
}

#[test]
fn an_ignored_row_leaves_its_check() {
    let sql = "INSERT IGNORE INTO t (id, k, n) VALUES (20, 1, 1)";
    let ignored = settled(&Known::default(), sql, &done(0), RULES);
    let met = Settled::Met { mode: Mode::S, kind: Kind::Record, certainty: Certainty::Certain };
    assert_eq!(*of(&ignored, "insert-unique 0"), met, "the only key that can have been there");
}

#[test]
fn a_refused_row_holds_nothing() {
    let refused = settled(&Known::default(), INSERT, &Answered::Failed(1048), RULES);
    assert!(refused.iter().all(|(_, settled)| *settled == Settled::Released), "{refused:?}");
}

#[test]
fn a_row_of_the_statement_itself_has_the_key() {
    let rows = "INSERT INTO t VALUES (15, 15, 25, 1), (35, 35, 25, 1)";
    let failed = Answered::Duplicate { index: Some(2), entry: "25".to_owned() };
    let settled = settled(&Known::default(), rows, &failed, MARIADB);
    let of_u = |of: &str| matches!(of, "insert-unique 2" | "own-key 2");
    let gaps: Vec<&Settled> = settled.iter().filter(|(of, _)| of_u(of)).map(|(_, s)| s).collect();
    assert_eq!(gaps, [&Settled::Undone, &Settled::Undone], "the gap where the first stood");
    assert!(settled.iter().all(|(of, s)| of_u(of) || *s == Settled::Released), "{settled:?}");
}

#[test]
fn a_row_that_has_children_is_not_replaced_but_locked() {
    let sql = "REPLACE INTO t VALUES (15, 15, 20, 1)";
    let wide = settled(&Known::default(), sql, &Answered::Failed(HAS_CHILDREN), MARIADB);
    assert_eq!(*of(&wide, "duplicate-row 0"), Settled::Kept);
    let somewhere = Settled::Met { mode: Mode::X, kind: Kind::NextKey, certainty: Certainty::Unknown };
    assert_eq!(*of(&wide, "insert-unique 2"), somewhere);
    let read = settled(&looked(15, 20), sql, &Answered::Failed(HAS_CHILDREN), MARIADB);
    assert_eq!(*of(&read, "duplicate 2"), Settled::Kept);
}

#[test]
fn a_row_with_the_key_of_an_earlier_one_is_taken_out_again() {
    let both = "VALUES (15, 15, 25, 1), (16, 16, 25, 1)";
    let ends = ["undone-entry X insert intention of t.PRIMARY at 16", "own-key S next-key of t.u at 25"];
    let found = asks(&looked(15, 25), &format!("INSERT INTO t {both}"));
    let last: Vec<&str> =
        found[found.len() - 2..].iter().map(|words| words.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(last, ends);
    let found = asks(&looked(15, 25), &format!("INSERT IGNORE INTO t {both}, (17, 17, 27, 1)"));
    assert!(ends.iter().all(|end| found.iter().any(|words| words.starts_with(end))), "{found:?}");
    assert!(found.last().unwrap().contains("t.k at 17"), "the next row is put: {found:?}");
    // Without a look it is not known whether the first was put.
    let found = asks(&Known::default(), &format!("INSERT IGNORE INTO t {both}"));
    assert!(!found.iter().any(|words| words.starts_with("undone")), "{found:?}");
}

/// REPLACE and ON DUPLICATE KEY UPDATE go on with an earlier row of their own.
#[test]
fn a_row_changes_an_earlier_one_of_the_statement() {
    let known = Known { asked: true, ..Known::default() };
    let asked =
        asks(&known, "INSERT INTO t VALUES (15, 1, 5, 1), (16, 2, 5, 2) ON DUPLICATE KEY UPDATE k = 9");
    let of_second = asked.iter().position(|lock| lock.starts_with("undone-entry")).expect("it is taken out");
    assert_eq!(
        asked[of_second..],
        [
            "undone-entry X insert intention of t.PRIMARY at 16 (likely)",
            "duplicate X next-key of t.u at 5 (likely)",
            "duplicate-row X record of t.PRIMARY at 15 (likely)",
            "changed-entry X record of t.k at 1, 15 (likely)",
            "moved-entry X insert intention of t.k at 9, 15 (likely)",
        ]
    );
    let asked = asks(&known, "REPLACE INTO t VALUES (15, 1, 5, 1), (16, 2, 5, 2)");
    let again = asked.iter().position(|lock| lock.starts_with("put-again")).expect("it is put again");
    assert!(asked[again..].iter().any(|lock| lock.starts_with("next-entry")), "the check goes on: {asked:?}");
}

#[test]
fn a_key_of_a_message_compares_as_the_column_does() {
    let mut of_text = table();
    of_text.columns[2].family = crate::catalog::Family::Text("utf8mb4_general_ci".to_owned());
    assert_eq!(compared(&of_text, 2, "k-5"), compared(&of_text, 2, "K-5"));
    assert_eq!(compared(&table(), 2, "20"), "20");
    let part = of_text.indexes[0].parts[0].clone();
    of_text.indexes[2].parts.push(part);
    assert_eq!(compared(&of_text, 2, "a-b-5"), "a-b-5", "which part is which cannot be told");
}
