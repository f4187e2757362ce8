//! The one entry that MIN and MAX read, the indexes that an OR reads.

use std::sync::Arc;

use super::super::known::{Known, Plan, SeenPath};
use super::super::test_support::{REPEATABLE_READ, requests, table, words};
use super::*;
use crate::catalog::PlanStep;
use crate::sql::statement::Isolation;

fn entry(k: i128, id: i128) -> SeenEntry {
    let key = |values: &[i128]| {
        let mut key = Key::default();
        values.iter().for_each(|value| key.push_int(*value, false));
        key
    };
    let (key, clustered) = (key(&[k, id]), key(&[id]));
    SeenEntry { key, clustered, matches: true, rows: Vec::new(), newest: true, committed: true }
}

/// What there is in index `k`: entries of the range, the one before, the one behind.
fn seen(entries: &[i128], below: Option<i128>, above: Option<i128>) -> Known {
    let one = |k: i128| entry(k, k);
    let span = SeenSpan {
        entries: entries.iter().map(|k| one(*k)).collect(),
        below: below.map(one),
        above: above.map(one),
        unread: false,
    };
    let seen = vec![SeenPath { access: 0, path: 0, spans: vec![span] }];
    Known { seen, asked: true, ..Known::default() }
}

fn check(context: &Context, known: &Known, sql: &str, expect: &[&str]) {
    let tables = [table()];
    let (_, requests) = requests(&tables, context, known, sql);
    assert_eq!(words(&tables, &requests), expect, "{sql}");
}

#[test]
fn the_greatest_is_one_entry_and_the_gap_behind_it() {
    check(
        &REPEATABLE_READ,
        &seen(&[10, 20], None, Some(30)),
        "SELECT MAX(k) FROM t WHERE k < 25 FOR UPDATE",
        &[
            "one-end X gap of t.k at 20, 20 (certain)",
            "one-end X next-key of t.k at 20, 20 (certain)",
            "one-end X record of t.PRIMARY at 20 (certain)",
        ],
    );
    // Nothing but the index is read.
    check(
        &REPEATABLE_READ,
        &seen(&[], Some(20), None),
        "SELECT MAX(k) FROM t WHERE k > 25 LOCK IN SHARE MODE",
        &["one-end S gap of t.k at 20, 20 (certain)", "one-end S next-key of t.k at 20, 20 (certain)"],
    );
}

#[test]
fn the_least_is_one_entry() {
    check(
        &REPEATABLE_READ,
        &seen(&[30, 40], Some(20), None),
        "SELECT MIN(k) FROM t WHERE k > 25 LOCK IN SHARE MODE",
        &["one-end S next-key of t.k at 30, 30 (certain)"],
    );
    let committed = Context { isolation: Isolation::ReadCommitted, ..REPEATABLE_READ };
    check(
        &committed,
        &seen(&[30, 40], Some(20), None),
        "SELECT MIN(k) FROM t WHERE k > 25 FOR UPDATE",
        &["one-end X record of t.k at 30, 30 (certain)", "one-end X record of t.PRIMARY at 30 (certain)"],
    );
    check(&committed, &seen(&[], Some(20), None), "SELECT MIN(k) FROM t WHERE k > 25 FOR UPDATE", &[]);
}

#[test]
fn before_it_was_read_it_is_somewhere() {
    check(
        &REPEATABLE_READ,
        &Known::default(),
        "SELECT MAX(k) FROM t FOR UPDATE",
        &["one-end X next-key of t.k all (unknown)", "clustered-record X record of t.PRIMARY all (unknown)"],
    );
}

#[test]
fn an_or_reads_each_index_for_its_side() {
    let step = PlanStep {
        table: "t".to_owned(),
        access: "index_merge".to_owned(),
        keys: vec!["k".to_owned(), "u".to_owned()],
        ..PlanStep::default()
    };
    let known = Known { plan: Plan::Steps(Arc::from([step])), ..Known::default() };
    let tables = [table()];
    let (_, requests) =
        requests(&tables, &REPEATABLE_READ, &known, "SELECT * FROM t WHERE k = 5 OR u = 7 FOR UPDATE");
    let words = words(&tables, &requests);
    assert!(words.contains(&"equal-entries+filter X next-key of t.k at 5 (certain)".to_owned()), "{words:?}");
    assert!(words.iter().any(|w| w.contains("of t.u at 7")), "{words:?}");
    assert!(!words.iter().any(|w| w.contains("full-scan")), "{words:?}");
}

/// What there is in index `k` at 10 and 20, where only the first matches; `extra`: what the plan says.
fn half(extra: &str) -> Known {
    let step = PlanStep {
        table: "t".to_owned(),
        access: "range".to_owned(),
        keys: vec!["k".to_owned()],
        extra: extra.to_owned(),
        ..PlanStep::default()
    };
    let mut known = seen(&[10, 20], None, Some(30));
    known.seen[0].spans[0].entries[1].matches = false;
    Known { plan: Plan::Steps(Arc::from([step])), ..known }
}

#[test]
fn rows_that_the_index_rejects_are_not_read() {
    let read = |extra: &str, sql: &str| {
        let tables = [table()];
        let (_, requests) = requests(&tables, &REPEATABLE_READ, &half(extra), sql);
        let rows = words(&tables, &requests).into_iter().filter(|lock| lock.contains("t.PRIMARY"));
        rows.collect::<Vec<_>>()
    };
    let sql = "SELECT * FROM t WHERE k < 25 AND id < 15 FOR UPDATE";
    let (first, second) = (
        "clustered-record X record of t.PRIMARY at 10 (certain)",
        "rejected X record of t.PRIMARY at 20 (certain)",
    );
    assert_eq!(read("Using index condition", sql), [first]);
    assert_eq!(read("Using where", sql), [first, second]);
    // The row has to be read to see this.
    let sql = "SELECT * FROM t WHERE k < 25 AND n < 15 FOR UPDATE";
    assert_eq!(read("Using index condition; Using where", sql), [first, second]);
}

#[test]
fn limit_ends_no_count() {
    let step = PlanStep { table: "t".to_owned(), access: "range".to_owned(), ..PlanStep::default() };
    let plan = Plan::Steps(Arc::from([PlanStep { keys: vec!["k".to_owned()], ..step }]));
    let known = Known { plan, limit: Some(1), ..seen(&[10, 20], None, Some(30)) };
    let locks = |sql: &str| {
        let tables = [table()];
        let (_, requests) = requests(&tables, &REPEATABLE_READ, &known, sql);
        words(&tables, &requests).iter().filter(|lock| lock.contains("next-key of t.k at 20")).count()
    };
    assert_eq!(locks("SELECT n FROM t WHERE k < 25 ORDER BY k LIMIT 1 FOR UPDATE"), 0);
    assert_eq!(locks("SELECT COUNT(n) FROM t WHERE k < 25 ORDER BY k LIMIT 1 FOR UPDATE"), 1);
}

#[test]
fn read_backward_a_range_ends_with_the_entry_before_it() {
    let sql = "SELECT id FROM t WHERE k > 25 ORDER BY k DESC LOCK IN SHARE MODE";
    let step = PlanStep {
        table: "t".to_owned(),
        access: "range".to_owned(),
        keys: vec!["k".to_owned()],
        extra: "Backward index scan; Using index".to_owned(),
        ..PlanStep::default()
    };
    let plan = Plan::Steps(Arc::from([step]));
    let known = Known { plan, ..seen(&[30], Some(20), None) };
    check(
        &REPEATABLE_READ,
        &known,
        sql,
        &[
            "gap-behind S gap of t.k at 30, 30 (certain)",
            "entries S next-key of t.k at 30, 30 (certain)",
            "entry-beyond S next-key of t.k at 20, 20 (certain)",
        ],
    );
    // LIMIT ends it before.
    let known = Known { limit: Some(1), ..known };
    let tables = [table()];
    let (_, asked) = requests(
        &tables,
        &REPEATABLE_READ,
        &known,
        "SELECT id FROM t WHERE k > 25 ORDER BY k DESC LIMIT 1 FOR UPDATE",
    );
    let words = words(&tables, &asked);
    assert!(!words.iter().any(|lock| lock.starts_with("entry-beyond")), "{words:?}");
}
