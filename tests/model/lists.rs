//! The locks that `interlock explain` lists against those that the server then holds, one by one.
//!
//! A random statement is explained, then run in a transaction of its own, and laid beside the rows that
//! `performance_schema.data_locks` has for it; then it is rolled back. Locks on rows that the statement itself
//! has put there are implicit and in neither list, and so are tables' intention locks. Left out is also what the
//! server notes at entries which the statement itself has put there: halves of gaps that were locked before.
//! MariaDB has no such view.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::random;
use crate::score::{share, verb};
use crate::support::{Kind, Login, RawClient, Server};

/// Statements that share one schema.
const PER_SCHEMA: u64 = 24;

/// The end of an index.
const SUPREMUM: &str = "supremum pseudo-record";

/// A lock, as `data_locks` shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Lock {
    table: String,
    index: String,
    mode: String,
    /// `None`: interlock does not know which entry.
    data: Option<String>,
}

/// Lists compared.
#[derive(Default)]
pub struct Lists {
    statements: u32,
    /// Statements of which the lists are the same.
    same: u32,
    /// Locks in both lists, in the server's only, in interlock's only.
    both: u32,
    missed: u32,
    invented: u32,
    /// The lists that differ, by kind of statement, with one example.
    faults: BTreeMap<String, (u32, String)>,
}

impl Lock {
    /// Are they the same lock, as far as interlock names it? The server's entry of a secondary index ends with
    /// the clustered key, which a lookup of a unique key does not tell.
    fn is(&self, of_server: &Lock) -> bool {
        let named = |data: &str| {
            let whole = of_server.data.as_deref().unwrap_or_default();
            whole == data || whole.strip_prefix(data).is_some_and(|rest| rest.starts_with(", "))
        };
        (&self.table, &self.index, &self.mode) == (&of_server.table, &of_server.index, &of_server.mode)
            && self.data.as_deref().is_none_or(named)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data.as_deref().unwrap_or("?");
        write!(f, "{}.{} {} ({data})", self.table, self.index, self.mode)
    }
}

/// Each lock once: one on the record and one on the gap before it are one on both.
fn joined(mut locks: Vec<Lock>) -> Vec<Lock> {
    let all: HashSet<Lock> = locks.iter().cloned().collect();
    let has = |lock: &Lock, mode: &str| {
        all.contains(&Lock { mode: format!("{}{mode}", &lock.mode[..1]), ..lock.clone() })
    };
    for lock in &mut locks {
        if has(lock, "") || has(lock, ",GAP") && has(lock, ",REC_NOT_GAP") {
            lock.mode.truncate(1);
        }
    }
    locks.sort();
    locks.dedup();
    locks
}

impl Lists {
    /// Counts a statement; where its lists differ, how.
    fn add(&mut self, predicted: Vec<Lock>, held: &[Lock]) -> Option<String> {
        let predicted = joined(predicted);
        let mut left: Vec<&Lock> = held.iter().collect();
        let mut invented = Vec::new();
        for lock in &predicted {
            match left.iter().position(|held| lock.is(held)) {
                Some(at) => drop(left.swap_remove(at)),
                None => invented.push(lock),
            }
        }
        self.statements += 1;
        self.both += (predicted.len() - invented.len()) as u32;
        self.missed += left.len() as u32;
        self.invented += invented.len() as u32;
        if left.is_empty() && invented.is_empty() {
            self.same += 1;
            return None;
        }
        let lines = |sign: &str, locks: &[&Lock]| -> String {
            locks.iter().map(|lock| format!("\n  {sign} {lock}")).collect()
        };
        Some(format!("{}{}", lines("only the server:", &left), lines("only interlock:", &invented)))
    }

    fn join(&mut self, other: Lists) {
        self.statements += other.statements;
        self.same += other.same;
        self.both += other.both;
        self.missed += other.missed;
        self.invented += other.invented;
        for (class, (count, example)) in other.faults {
            self.faults.entry(class).or_insert((0, example)).0 += count;
        }
    }

    /// Share of the statements of which every lock is as predicted.
    pub fn equal(&self) -> f64 {
        share(self.same, self.statements)
    }

    /// Share of the server's locks that interlock lists.
    pub fn recall(&self) -> f64 {
        share(self.both, self.both + self.missed)
    }

    /// Share of interlock's locks that the server holds.
    pub fn precision(&self) -> f64 {
        share(self.both, self.both + self.invented)
    }
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lists, {:.1} % equal; {} locks, recall {:.1} %, precision {:.1} %",
            self.statements,
            100.0 * self.equal(),
            self.both + self.missed,
            100.0 * self.recall(),
            100.0 * self.precision()
        )
    }
}

/// Compares the lists of random statements on a MySQL server; prints up to `shown` kinds that differ.
pub fn compare(server: &Server, statements: u64, seed: u64, lanes: u64, shown: usize) -> Lists {
    assert_eq!(server.kind, Kind::MySql, "only MySQL shows its locks one by one");
    let next = AtomicU64::new(0);
    let all = Mutex::new(Lists::default());
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (next, all) = (&next, &all);
            scope.spawn(move || {
                let database = format!("lists_{lane}");
                loop {
                    let group = next.fetch_add(1, Ordering::SeqCst);
                    let from = group * PER_SCHEMA;
                    if from >= statements {
                        return;
                    }
                    let numbers = from..(from + PER_SCHEMA).min(statements);
                    let lists = group_of_statements(server, &database, seed, group, numbers);
                    all.lock().expect("no lane panicked").join(lists);
                }
            });
        }
    });
    let all = all.into_inner().expect("no lane panicked");
    println!("{:?}: seed {seed}, {all}", server.kind);
    let mut faults: Vec<_> = all.faults.iter().collect();
    faults.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (class, (count, example)) in faults.into_iter().take(shown) {
        println!("{count:>5}  {class}\n  {example}\n");
    }
    all
}

fn group_of_statements(
    server: &Server,
    database: &str,
    seed: u64,
    group: u64,
    numbers: std::ops::Range<u64>,
) -> Lists {
    let schema = random::schema(seed, group);
    // Strings whose entries the server's view and interlock's show by the same letters.
    let tables: Vec<String> = schema
        .statements
        .iter()
        .map(|sql| {
            sql.replace("VARCHAR(20)", "VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin")
                .replace("ENGINE=InnoDB", "ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0")
        })
        .collect();
    let mut client = RawClient::login(server.port, &Login::default());
    let mut run = |sql: &str| client.query(sql).last().and_then(|packet| packet.error());
    for sql in [format!("DROP DATABASE IF EXISTS {database}"), format!("CREATE DATABASE {database}")]
        .iter()
        .chain([&format!("USE {database}")])
        .chain(&tables)
    {
        assert_eq!(run(sql), None, "{sql}");
    }
    run("ANALYZE TABLE t");
    let isolation = random::isolation(seed, group);
    run(&format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"));
    let statements: Vec<String> = numbers.map(|n| random::statement(seed, n, &schema)).collect();
    let predicted = explained(server, database, isolation, &statements);
    let mut lists = Lists::default();
    let me = format!(
        "(SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = {})",
        client.connection_id
    );
    let mut view = RawClient::login(server.port, &Login::default());
    let there = entries(&mut view, database);
    for (sql, predicted) in statements.iter().zip(predicted) {
        client.query("BEGIN");
        client.query(sql);
        let rows = view.rows(&format!(
            "SELECT OBJECT_NAME, INDEX_NAME, LOCK_MODE, LOCK_DATA FROM performance_schema.data_locks \
             WHERE LOCK_TYPE = 'RECORD' AND LOCK_MODE NOT LIKE '%INSERT_INTENTION%' AND THREAD_ID = {me}"
        ));
        client.query("ROLLBACK");
        // What is rolled back stays in the server's statistics, and the next plan would be another.
        client.query("ANALYZE TABLE t");
        let lock = |row: Vec<Option<String>>| {
            let [table, index, mode, data] = <[Option<String>; 4]>::try_from(row).ok()?;
            Some(Lock { table: table?, index: index?, mode: mode?, data })
        };
        let known = |lock: &Lock| {
            let data = lock.data.clone().unwrap_or_default();
            data == SUPREMUM || there.contains(&(lock.table.clone(), lock.index.clone(), data))
        };
        let held: Vec<Lock> = rows.into_iter().filter_map(lock).filter(known).collect();
        if let Some(sides) = lists.add(predicted, &joined(held)) {
            let plan = client.rows(&format!("EXPLAIN {sql}")).into_iter().next().unwrap_or_default();
            let plan = plan.into_iter().flatten().collect::<Vec<_>>();
            let example = format!("{isolation}: {sql}\n  {plan:?}{sides}\n  {}", tables.join(";\n  "));
            let class = format!("{} {isolation}", verb(sql));
            lists.faults.entry(class).or_insert((0, example)).0 += 1;
        }
    }
    lists
}

/// The entries of all indexes: table, index, and the values as `LOCK_DATA` has them.
fn entries(client: &mut RawClient, database: &str) -> HashSet<(String, String, String)> {
    let columns = client.rows(&format!(
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, IF(DATA_TYPE = 'varchar', IF(SUB_PART IS NULL, \
         CONCAT('QUOTE(', COLUMN_NAME, ')'), CONCAT('QUOTE(LEFT(', COLUMN_NAME, ', ', SUB_PART, '))')), COLUMN_NAME) \
         FROM information_schema.STATISTICS JOIN information_schema.COLUMNS \
         USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME) WHERE TABLE_SCHEMA = '{database}' ORDER BY SEQ_IN_INDEX"
    ));
    // Names and expressions of the columns of each index.
    let mut indexes: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for row in columns {
        let row = row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
        let [table, index, column, value] = <[String; 4]>::try_from(row).expect("four columns");
        indexes.entry((table, index)).or_default().push((column, value));
    }
    let mut all = HashSet::new();
    for ((table, index), columns) in &indexes {
        // A secondary entry ends with those columns of the primary key that it does not have.
        let clustered = &indexes[&(table.clone(), "PRIMARY".to_owned())];
        let rest = clustered.iter().filter(|column| !columns.contains(column));
        let values = columns.iter().chain(rest).map(|(_, value)| format!("IFNULL({value}, 'NULL')"));
        let values = values.collect::<Vec<_>>().join(", ");
        for row in client.rows(&format!("SELECT CONCAT_WS(', ', {values}) FROM {database}.{table}")) {
            all.extend(row.into_iter().flatten().map(|data| (table.clone(), index.clone(), data)));
        }
    }
    all
}

/// The locks that `interlock explain` lists for each statement, if each is rolled back.
fn explained(server: &Server, database: &str, isolation: &str, statements: &[String]) -> Vec<Vec<Lock>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_interlock"))
        .args(["explain", "--json", "--isolation", isolation, "--schema", database])
        .args(["--control-url", &server.url(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let script: String = statements.iter().map(|sql| format!("BEGIN;\n{sql};\nROLLBACK;\n")).collect();
    let mut input = child.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic").expect("it reads all");
    let fault = String::from_utf8_lossy(&output.stderr);
    let played: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{fault}"));
    let events = played["events"].as_array().expect("a list");
    let of_statement = |event: &Value| {
        let locks = event["locks"].as_array()?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lock = |lock: &Value| {
            let shown = lock["shown"].as_object()?;
            Some(Lock {
                table: word(&lock["table"]),
                index: word(&lock["index"]),
                mode: word(&shown["lock_mode"]),
                data: shown["lock_data"].as_str().map(str::to_owned),
            })
        };
        Some(locks.iter().filter_map(lock).collect())
    };
    // BEGIN, the statement, ROLLBACK.
    let lists: Vec<Vec<Lock>> = events.iter().skip(1).step_by(3).filter_map(of_statement).collect();
    assert_eq!(lists.len(), statements.len(), "{events:#?}");
    lists
}
