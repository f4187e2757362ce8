//! What must hold for every text.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cache::PlanCache;
use super::digest::{Digest, MAX_LITERALS};
use super::lexer::{Lexer, Reading};
use super::sketch::sketch;
use super::statement::{OpaqueReason, SqlMode, Statement};
use super::value::Value;

/// Reads a text in every mode and binds every slot.
fn read(text: &[u8]) {
    for bits in 0..8 {
        let mode = SqlMode { ansi_quotes: bits & 1 != 0, no_backslash_escapes: bits & 2 != 0 };
        let mariadb = bits & 4 != 0;
        let mut end = 0;
        for token in Lexer::new(text, Reading { mode, mariadb, version: 101_119 }) {
            assert!(token.start >= end && token.end > token.start && token.end <= text.len());
            end = token.end;
        }
        let mut cache = PlanCache::new(4, mariadb, 101_119);
        let analysed = cache.analyse(text, mode);
        let binding = analysed.bind(text, &[]);
        for slot in 0..analysed.digest.literals.len() + 1 {
            binding.value(slot);
            assert_eq!(binding.list(slot).count(), binding.list_len(slot));
            binding.row_value(binding.rows() - 1, slot);
        }
        let again = cache.analyse(text, mode);
        assert_eq!((again.digest, cache.counters().hits), (analysed.digest, 1));
    }
}

const FRAGMENTS: [&str; 60] = [
    "SELECT",
    "*",
    "FROM",
    "t",
    "WHERE",
    "a",
    "=",
    "1",
    "'x'",
    "?",
    "IN",
    "(",
    ")",
    ",",
    "VALUES",
    "INSERT INTO",
    "UPDATE",
    "SET",
    "DELETE",
    "FOR UPDATE",
    "OF",
    "LOCK IN SHARE MODE",
    "JOIN",
    "ON",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "BETWEEN",
    "LIKE",
    "-",
    ";",
    "/*",
    "*/",
    "/*!40000",
    "--",
    "\n",
    "`b`",
    "\"c\"",
    "@v",
    "@@w",
    "x'4D'",
    "0x",
    ".",
    "WITH",
    "AS",
    "UNION",
    "LIMIT",
    "ORDER BY",
    "BEGIN",
    "COMMIT",
    "XA",
    "CREATE TABLE",
    "EVENT",
    "WAIT",
    "DEFAULT",
    "ON DUPLICATE KEY UPDATE",
    "INTO",
    "{",
    "!",
];

proptest! {
    #[test]
    fn random_bytes_are_read(text in vec(any::<u8>(), 0..200)) {
        read(&text);
    }

    #[test]
    fn random_tokens_are_read(words in vec(select(&FRAGMENTS[..]), 0..40)) {
        read(words.join(" ").as_bytes());
        read(words.concat().as_bytes());
    }

    #[test]
    fn cut_statements_are_read(cut in 0usize..130) {
        let text = "INSERT INTO `t` (a, b) VALUES (1, 'x''\\'y'), (-2, NULL) ON DUPLICATE KEY UPDATE b = x'4D' /* c */ -- d\n;\
                    SELECT 1";
        read(&text.as_bytes()[..cut.min(text.len())]);
    }

    #[test]
    fn the_digest_does_not_depend_on_values(a in any::<i64>(), b in ".*", n in 1usize..20, m in 1usize..20) {
        let of = |text: String| Digest::of(text.as_bytes(), Reading::default()).hash;
        let quote = |s: &str| format!("'{}'", s.replace('\\', "\\\\").replace('\'', "''"));
        let list = |n: usize| (0..n).map(|i| (i as i64 ^ a).to_string()).collect::<Vec<_>>().join(", ");
        let rows = |n: usize| (0..n).map(|i| format!("({}, {})", i as i64 ^ a, quote(&b))).collect::<Vec<_>>().join(",");
        prop_assert_eq!(
            of(format!("SELECT * FROM t WHERE a = {a} AND b = {} AND c IN ({})", quote(&b), list(n))),
            of(format!("SELECT * FROM t WHERE a = 1 AND b = ? AND c IN ({})", list(m)))
        );
        prop_assert_eq!(
            of(format!("INSERT INTO t VALUES {} ON DUPLICATE KEY UPDATE a = 5", rows(n))),
            of(format!("INSERT INTO t VALUES {} ON DUPLICATE KEY UPDATE a = {a}", rows(m)))
        );
    }

    #[test]
    fn values_come_back(a in any::<i64>(), b in vec(any::<char>(), 0..20), list in vec(any::<i64>(), 1..20)) {
        let b: String = b.into_iter().collect();
        let quoted = b.replace('\\', "\\\\").replace('\'', "\\'");
        let numbers = list.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let text = format!("SELECT * FROM t WHERE a = {a} AND c IN ({numbers}) AND b = '{quoted}'");
        let mut cache = PlanCache::default();
        let analysed = cache.analyse(text.as_bytes(), SqlMode::default());
        let binding = analysed.bind(text.as_bytes(), &[]);
        prop_assert_eq!(sketch(&analysed.plan.statement), "select t{a=0 & c in 1* & b=2}");
        prop_assert_eq!(binding.value(0), Value::Int(a.into()));
        let values: Vec<_> = binding.list(1).collect();
        prop_assert_eq!(values, list.iter().map(|&n| Value::Int(n.into())).collect::<Vec<_>>());
        prop_assert_eq!(binding.value(2), Value::Text(b.as_bytes().into()));
    }
}

/// A text that would take long or a deep stack is read in time, on a thread with a small stack.
fn hostile(text: String, expect: impl FnOnce(&Statement) -> bool + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        let start = Instant::now();
        let analysed = PlanCache::default().analyse(text.as_bytes(), SqlMode::default());
        let head: String = text.chars().take(40).collect();
        assert!(expect(&analysed.plan.statement), "{head}");
        assert!(start.elapsed() < Duration::from_secs(30), "{head}: {:?}", start.elapsed());
    });
    // A thread can be spawned in a test, and its panic is this test's.
    thread.expect("spawned").join().expect("no panic");
}

fn select_of(statement: &Statement) -> bool {
    matches!(statement, Statement::Select(_))
}

#[test]
fn hostile_texts() {
    hostile(format!("SELECT {}", "(".repeat(100_000)), |_| true);
    hostile(format!("SELECT {}1{}", "(".repeat(45), ")".repeat(45)), select_of);
    hostile(format!("SELECT 1 FROM t WHERE {} a", "NOT ".repeat(4_000)), select_of);
    hostile(format!("SELECT 1 FROM t WHERE a = 1 {}", "OR b = 2 ".repeat(2_000)), select_of);
    hostile(format!("SELECT 1 FROM t WHERE a = 1 {}", "OR b = 2 ".repeat(20_000)), select_of);
    hostile(format!("SELECT 1{}", " + a".repeat(4_000)), select_of);
    hostile(format!("SELECT 1{}", " UNION SELECT 1".repeat(2_000)), select_of);
    hostile(format!("SELECT {} 1", "- ".repeat(4_000)), select_of);
    hostile(
        format!("SELECT * FROM {} t {}", "(SELECT * FROM ".repeat(1_000), ") d ".repeat(1_000)),
        select_of,
    );
    hostile(format!("SELECT * FROM t{}", ", t".repeat(3_000)), select_of);
    hostile(format!("SELECT * FROM t{}", " JOIN t ON a = b".repeat(1_000)), select_of);
    hostile("a IN (1, ".repeat(20_000), |_| true);
    hostile("VALUES (1), ".repeat(20_000), |_| true);
    hostile("'a' /* ".repeat(20_000), |_| true);
    hostile("/*! ".repeat(100_000), |_| true);
    hostile("SELECT 1;".repeat(20_000), |_| true);
    hostile(format!("SELECT CASE {} END", "WHEN a THEN (SELECT CASE ".repeat(500)), |_| true);
}

#[test]
fn long_inserts_are_read_and_longer_ones_are_not() {
    let rows = |n: usize| format!("INSERT INTO t VALUES {}(1,'x')", "(1,'x'),".repeat(n));
    hostile(rows(49_000), |statement| matches!(statement, Statement::Insert(_)));
    hostile(rows(MAX_LITERALS), |statement| {
        matches!(statement, Statement::Opaque { reason: OpaqueReason::TooLong, .. })
    });
    let list = format!("SELECT * FROM t WHERE a IN ({}1)", "1,".repeat(90_000));
    hostile(list, select_of);
}
