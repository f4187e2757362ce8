//! Parents and children, from the text and from the rows that were read.

use super::super::known::{Known, SeenEntry, SeenPath, SeenPlace, SeenSpan};
use super::super::outcome::{self, Answered};
use super::super::test_support::{REPEATABLE_READ, family, requests, words};
use super::*;
use crate::sql::statement::Isolation;

const MARIADB: Context = Context { flavour: Flavour::MariaDb, parents_first: false, ..REPEATABLE_READ };

fn asks(context: &Context, action: ReferentialAction, known: &Known, sql: &str) -> Vec<String> {
    let tables = family(action);
    let (_, requests) = requests(&tables, context, known, sql);
    words(&tables, &requests)
}

fn key(values: &[i128]) -> Key {
    let mut key = Key::default();
    values.iter().for_each(|value| key.push_int(*value, false));
    key
}

fn entry(of: &[i128], clustered: i128, row: &[i128]) -> SeenEntry {
    SeenEntry {
        key: key(of),
        clustered: key(&[clustered]),
        matches: true,
        rows: vec![row.iter().enumerate().map(|(c, v)| (c, Value::Int(*v))).collect()],
        newest: true,
        committed: true,
    }
}

/// Row 5 of the parent, and its child 1 between those of other parents.
fn seen() -> Known {
    let parent = SeenSpan { entries: vec![entry(&[5], 5, &[5, 1, 1, 1])], ..SeenSpan::default() };
    let children = SeenSpan {
        entries: vec![entry(&[5, 1], 1, &[1, 5])],
        below: Some(entry(&[3, 7], 7, &[7, 3])),
        above: Some(entry(&[9, 8], 8, &[8, 9])),
        ..SeenSpan::default()
    };
    Known {
        seen: vec![SeenPath { access: 0, path: 0, spans: vec![parent] }],
        places: vec![SeenPlace { table: crate::id::TableId(2), index: 1, key: key(&[5]), span: children }],
        asked: true,
        ..Known::default()
    }
}

#[test]
fn a_child_needs_its_parent() {
    let none = Known::default();
    let parent = "parent-row S record or gap of t.PRIMARY at 5 (certain)";
    let child = |sure| [format!("insert-unique X insert intention of child.PRIMARY at 1 ({sure})")];
    let mysql = asks(&REPEATABLE_READ, ReferentialAction::Restrict, &none, "INSERT INTO child VALUES (1, 5)");
    assert_eq!(
        (mysql[0].as_str(), &mysql[1..2]),
        (parent, &child("likely")[..]),
        "before anything is inserted"
    );
    let mariadb = asks(&MARIADB, ReferentialAction::Restrict, &none, "INSERT INTO child VALUES (1, 5)");
    let parent = parent.replace("certain", "likely");
    assert_eq!(
        (&mariadb[1], &mariadb[..1]),
        (&parent, &child("certain")[..]),
        "behind the row, before the entry of the foreign key's index"
    );
    let orphan = asks(&MARIADB, ReferentialAction::Restrict, &none, "INSERT INTO child VALUES (1, NULL)");
    assert!(orphan.iter().all(|words| !words.starts_with("parent-row")), "{orphan:?}");
    let free = Context { foreign_keys: false, ..REPEATABLE_READ };
    let free = asks(&free, ReferentialAction::Restrict, &none, "INSERT INTO child VALUES (1, 5)");
    assert!(free.iter().all(|words| !words.starts_with("parent-row")), "{free:?}");
}

#[test]
fn without_a_parent_nothing_is_inserted() {
    let span = SeenSpan { below: Some(entry(&[3], 3, &[3, 1, 1, 1])), ..SeenSpan::default() };
    let none = SeenPlace { table: crate::id::TableId(1), index: 0, key: key(&[5]), span };
    let known = Known { places: vec![none], asked: true, ..Known::default() };
    let asked =
        asks(&REPEATABLE_READ, ReferentialAction::Restrict, &known, "INSERT INTO child VALUES (1, 5)");
    assert_eq!(asked, ["parent-row S gap of t.PRIMARY at 5 (certain)"]);
}

#[test]
fn a_child_that_changes_its_parent() {
    let asked = asks(
        &REPEATABLE_READ,
        ReferentialAction::Restrict,
        &Known::default(),
        "UPDATE child SET parent = 6 WHERE id = 1",
    );
    assert!(asked.contains(&"parent-row S record or gap of t.PRIMARY at 6 (likely)".to_owned()), "{asked:?}");
}

#[test]
fn a_parent_that_goes_must_have_no_children() {
    let asked = asks(&REPEATABLE_READ, ReferentialAction::Restrict, &seen(), "DELETE FROM t WHERE id = 5");
    assert_eq!(asked[1..], ["child-entries S next-key of child.parent at 5, 1 (certain)"], "and it fails");
    let asked = asks(&MARIADB, ReferentialAction::Restrict, &seen(), "DELETE FROM t WHERE id = 5");
    assert_eq!(asked[1..], ["child-entries S record of child.parent at 5, 1 (certain)"]);
    let mut childless = seen();
    childless.places[0].span.entries.clear();
    let asked = asks(&REPEATABLE_READ, ReferentialAction::Restrict, &childless, "DELETE FROM t WHERE id = 5");
    assert_eq!(asked[1], "child-entries S gap of child.parent at 5 (certain)");
    assert!(asked.len() > 2, "it goes on: {asked:?}");
    let asked =
        asks(&REPEATABLE_READ, ReferentialAction::Restrict, &seen(), "UPDATE t SET n = 2 WHERE id = 5");
    assert_eq!(asked.len(), 1, "no child needs n: {asked:?}");
}

#[test]
fn children_go_with_their_parent() {
    let cascade = ReferentialAction::Cascade;
    let wide = asks(&REPEATABLE_READ, cascade, &Known::default(), "DELETE FROM t WHERE id = 5");
    assert!(wide.contains(&"cascaded-row X record of child.PRIMARY all (unknown)".to_owned()), "{wide:?}");
    let mysql = asks(&REPEATABLE_READ, cascade, &seen(), "DELETE FROM t WHERE id = 5");
    assert_eq!(
        mysql[1..3],
        [
            "cascaded-entry X next-key of child.parent at 5 (certain)",
            "cascaded-row X record of child.PRIMARY at 1 (certain)"
        ]
    );
    let mariadb = asks(&MARIADB, cascade, &seen(), "DELETE FROM t WHERE id = 5");
    assert_eq!(
        mariadb[1..4],
        [
            "cascaded-entry S record of child.parent at 5, 1 (certain)",
            "cascaded-row X record of child.PRIMARY at 1 (certain)",
            "cascaded-entry S gap of child.parent at 5, 1 (certain)"
        ]
    );
    let committed = Context { isolation: Isolation::ReadCommitted, ..MARIADB };
    let committed = asks(&committed, cascade, &seen(), "DELETE FROM t WHERE id = 5");
    assert!(committed.iter().all(|words| !words.contains(" gap ")), "{committed:?}");
}

#[test]
fn the_answer_tells_whether_it_was_there() {
    let tables = family(ReferentialAction::Restrict);
    let settled = |sql: &str, answered: Answered, flavour| {
        let (plan, requests) = requests(&tables, &REPEATABLE_READ, &Known::default(), sql);
        let settled = outcome::settle(
            &plan.statement,
            &requests,
            &answered,
            None,
            outcome::Rules { flavour, gaps: true },
        );
        let at = requests.iter().position(is_of).unwrap();
        settled[at].clone()
    };
    let is = |settled: Settled, kind| {
        assert!(matches!(settled, Settled::Became(k, _) if k == kind), "{settled:?}")
    };
    let done = |affected| Answered::Changed { affected, matched: None };
    let child = "INSERT INTO child VALUES (1, 5)";
    is(settled(child, done(1), Flavour::MySql), Kind::Record);
    is(settled(child, Answered::Failed(NO_PARENT), Flavour::MySql), Kind::Gap);
    let parent = "DELETE FROM t WHERE id = 5";
    is(settled(parent, done(1), Flavour::MySql), Kind::Gap);
    is(settled(parent, Answered::Failed(HAS_CHILDREN), Flavour::MySql), Kind::NextKey);
    is(settled(parent, Answered::Failed(HAS_CHILDREN), Flavour::MariaDb), Kind::Record);
    assert_eq!(settled(parent, done(0), Flavour::MySql), Settled::Released);
}

#[test]
fn children_of_children_go_too() {
    let cascade = ReferentialAction::Cascade;
    let mut tables = family(cascade);
    let name = |table: &str| ("s".to_owned(), table.to_owned());
    let of = ForeignKey { child: name("grand"), parent: name("child"), ..tables[1].foreign_keys[0].clone() };
    let grand = Table {
        id: crate::id::TableId(3),
        name: "grand".to_owned(),
        foreign_keys: vec![of.clone()],
        ..tables[1].clone()
    };
    tables[1].referenced_by = vec![of];
    tables.push(grand);
    let asks = |known: &Known| {
        let (_, requests) = requests(&tables, &REPEATABLE_READ, known, "DELETE FROM t WHERE id = 5");
        words(&tables, &requests)
    };
    let wide = asks(&Known::default());
    assert!(wide.iter().any(|w| w == "cascaded-entry X next-key of grand.parent all (unknown)"), "{wide:?}");
    let mut known = seen();
    let grandchildren = SeenSpan { entries: vec![entry(&[1, 40], 40, &[40, 1])], ..SeenSpan::default() };
    let place = SeenPlace { table: crate::id::TableId(3), index: 1, key: key(&[1]), span: grandchildren };
    known.places.push(place);
    let exact = asks(&known);
    for expect in [
        "cascaded-entry X next-key of grand.parent at 1 (certain)",
        "cascaded-row X record of grand.PRIMARY at 40 (certain)",
    ] {
        assert!(exact.iter().any(|w| w == expect), "{exact:?}");
    }
}
