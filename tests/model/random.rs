//! Random cases: a small schema, a few rows, and statements of two to four sessions, from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::case::{Case, session_name};

/// A schema with its rows, and what a statement needs to know of it.
#[derive(Clone, Debug)]
pub struct Schema {
    /// CREATE TABLE and INSERT.
    pub statements: Vec<String>,
    key: KeyType,
    rows: i64,
    /// There is a table `child` with a foreign key.
    pub(crate) child: bool,
    /// The share of its statements that are of the wide kind.
    wide: f64,
}

/// The type of the primary key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum KeyType {
    Integer,
    AutoIncrement,
    Text,
    Composite,
}

/// The random numbers of one case.
fn numbers(seed: u64, case: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ case)
}

/// The n-th schema of a seed.
pub fn schema(seed: u64, number: u64) -> Schema {
    let random = &mut numbers(seed, number | 1 << 63);
    let key = *[
        KeyType::Integer,
        KeyType::Integer,
        KeyType::Integer,
        KeyType::AutoIncrement,
        KeyType::AutoIncrement,
        KeyType::Text,
        KeyType::Composite,
    ]
    .choose(random)
    .expect("a list");
    let (id, primary) = match key {
        KeyType::Integer => ("INT NOT NULL", "id"),
        KeyType::AutoIncrement => ("INT NOT NULL AUTO_INCREMENT", "id"),
        KeyType::Text => ("VARCHAR(20) NOT NULL", "id"),
        KeyType::Composite => ("INT NOT NULL", "id, c"),
    };
    let mut parts = vec![
        format!("id {id}"),
        "a INT".to_owned(),
        "b INT".to_owned(),
        "s VARCHAR(20)".to_owned(),
        "c INT NOT NULL DEFAULT 0".to_owned(),
        format!("PRIMARY KEY ({primary})"),
    ];
    let of_a = ["UNIQUE KEY a (a)", "UNIQUE KEY a (a)", "KEY a (a)", ""];
    let of_b = ["KEY b (b)", "KEY b (b, c)", "UNIQUE KEY b (b, a)", "KEY b (b DESC)", ""];
    let of_s = ["KEY s (s)", "UNIQUE KEY s (s)", "KEY s (s(2))", "", ""];
    for choices in [&of_a[..], &of_b[..], &of_s[..]] {
        let choice = *choices.choose(random).expect("a list");
        if !choice.is_empty() {
            parts.push(choice.to_owned());
        }
    }
    let rows = random.random_range(0..=8i64);
    let child = random.random_bool(0.25) && key != KeyType::Composite;
    let wide = *[0.0, 0.3, 0.6].choose(random).expect("a list");
    let mut schema = Schema { statements: Vec::new(), key, rows, child, wide };
    schema.statements.push(format!("CREATE TABLE t ({}) ENGINE=InnoDB", parts.join(", ")));
    if rows > 0 {
        let row = |n: i64| {
            let n = n * 10;
            format!("({}, {n}, {}, 'w{n:03}', {n})", schema.id(n), n / 20 * 20)
        };
        let rows: Vec<String> = (1..=rows).map(row).collect();
        schema.statements.push(format!("INSERT INTO t (id, a, b, s, c) VALUES {}", rows.join(", ")));
    }
    if schema.child {
        let action = ["", " ON DELETE CASCADE", " ON DELETE SET NULL"].choose(random).expect("a list");
        let parent = if key == KeyType::Text { "VARCHAR(20)" } else { "INT" };
        schema.statements.push(format!(
            "CREATE TABLE child (n INT PRIMARY KEY, parent {parent}, KEY parent (parent), \
             FOREIGN KEY (parent) REFERENCES t (id){action}) ENGINE=InnoDB"
        ));
        if rows > 1 {
            let one = schema.id(10);
            schema.statements.push(format!("INSERT INTO child VALUES (1, {one}), (2, {one}), (3, NULL)"));
        }
    }
    schema
}

/// The n-th case of a seed, on a schema.
pub fn case(seed: u64, number: u64, schema: &Schema) -> Case {
    let random = &mut numbers(seed, number);
    let isolation = level(random);
    let sessions = *[2, 2, 2, 3, 4].choose(random).expect("a list");
    let mut scripts: Vec<Vec<String>> = (0..sessions).map(|_| script(schema, random)).collect();
    for script in &mut scripts {
        script.reverse();
    }
    let mut steps = Vec::new();
    while let Some(session) = {
        let open: Vec<usize> = (0..sessions).filter(|s| !scripts[*s].is_empty()).collect();
        open.choose(random).copied()
    } {
        let sql = scripts[session].pop().expect("it is not empty");
        steps.push(format!("{}: {sql}", session_name(session)));
    }
    Case {
        name: format!("random-{seed}-{number}"),
        isolation: isolation.to_owned(),
        servers: vec!["mysql".to_owned(), "mariadb".to_owned()],
        schema: schema.statements.clone(),
        steps,
    }
}

/// The n-th statement of a seed, on a schema.
pub fn statement(seed: u64, number: u64, schema: &Schema) -> String {
    schema.statement(&mut numbers(seed, number | 1 << 62))
}

/// The isolation level of the n-th schema of a seed.
pub fn isolation(seed: u64, number: u64) -> &'static str {
    level(&mut numbers(seed, number | 1 << 61))
}

fn level(random: &mut StdRng) -> &'static str {
    ["REPEATABLE READ", "REPEATABLE READ", "REPEATABLE READ", "READ COMMITTED", "SERIALIZABLE"]
        .choose(random)
        .expect("a list")
}

fn script(schema: &Schema, random: &mut StdRng) -> Vec<String> {
    let mut script = Vec::new();
    let transaction = random.random_bool(0.9);
    if transaction {
        script.push("BEGIN".to_owned());
    }
    for _ in 0..random.random_range(1..=3) {
        script.push(schema.statement(random));
    }
    if transaction && script.len() > 2 && random.random_bool(schema.wide / 5.0) {
        script.insert(random.random_range(1..3), "SAVEPOINT p".to_owned());
        script.push("ROLLBACK TO p".to_owned());
    }
    if transaction && random.random_bool(0.3) {
        script.push(if random.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" }.to_owned());
    }
    script
}

impl Schema {
    fn id(&self, n: i64) -> String {
        if self.key == KeyType::Text { format!("'k{n:03}'") } else { n.to_string() }
    }

    /// A number at a row, between two, or beyond the ends.
    fn place(&self, random: &mut StdRng) -> i64 {
        let steps = random.random_range(0..=(self.rows + 2) * 2);
        if random.random_bool(0.5) { steps / 2 * 10 } else { steps * 5 }
    }

    pub(crate) fn value(&self, column: &str, random: &mut StdRng) -> String {
        let n = self.place(random);
        match column {
            "id" => self.id(n),
            "s" => format!("'w{n:03}'"),
            _ => n.to_string(),
        }
    }

    fn statement(&self, random: &mut StdRng) -> String {
        if random.random_bool(self.wide) {
            return self.wide_statement(random);
        }
        if self.child && random.random_bool(0.25) {
            let n = random.random_range(1..8);
            let parent = self.value("id", random);
            return match random.random_range(0..4) {
                0 | 1 => format!("INSERT INTO child VALUES ({n}, {parent})"),
                2 => format!("UPDATE child SET parent = {parent} WHERE n = {n}"),
                _ => format!("DELETE FROM child WHERE parent = {parent}"),
            };
        }
        match random.random_range(0..20) {
            0..=5 => {
                let lock = ["FOR UPDATE", "FOR UPDATE", "LOCK IN SHARE MODE"].choose(random).expect("a list");
                let columns = ["*", "id", "COUNT(*)"].choose(random).expect("a list");
                let (filter, order) = self.search(random);
                format!("SELECT {columns} FROM t{filter}{order} {lock}")
            }
            6..=9 => {
                let column = *["a", "b", "s", "c", "c"].choose(random).expect("a list");
                let value = self.value(column, random);
                format!("UPDATE t SET {column} = {value}{}", self.search(random).0)
            }
            10..=12 => format!("DELETE FROM t{}", self.search(random).0),
            13 => format!("SELECT * FROM t{}", self.search(random).0),
            n => self.insert(n, random),
        }
    }

    fn insert(&self, n: i32, random: &mut StdRng) -> String {
        let generated = self.key == KeyType::AutoIncrement && random.random_bool(0.6);
        let row = |random: &mut StdRng| {
            let values: Vec<String> = ["id", "a", "b", "s", "c"]
                .iter()
                .filter(|column| !(generated && **column == "id"))
                .map(|column| self.value(column, random))
                .collect();
            format!("({})", values.join(", "))
        };
        let columns = if generated { "a, b, s, c" } else { "id, a, b, s, c" };
        let mut rows = row(random);
        if random.random_bool(0.15) {
            rows += ", ";
            rows += &row(random);
        }
        match n {
            17 => format!("INSERT IGNORE INTO t ({columns}) VALUES {rows}"),
            18 => format!("INSERT INTO t ({columns}) VALUES {rows} ON DUPLICATE KEY UPDATE c = c + 1"),
            19 => format!("REPLACE INTO t ({columns}) VALUES {rows}"),
            _ => format!("INSERT INTO t ({columns}) VALUES {rows}"),
        }
    }

    /// A WHERE clause, and an ORDER BY … LIMIT that may follow it.
    pub(crate) fn search(&self, random: &mut StdRng) -> (String, String) {
        let column = *["id", "id", "id", "a", "a", "b", "b", "s", "c"].choose(random).expect("a list");
        let value = self.value(column, random);
        let other = self.value(column, random);
        let filter = match random.random_range(0..14) {
            0..=5 => format!("{column} = {value}"),
            6 => format!("{column} IN ({value}, {other})"),
            7 => format!("{column} > {value}"),
            8 => format!("{column} < {value}"),
            9 => format!("{column} >= {value}"),
            10 => format!("{column} BETWEEN {} AND {}", value.clone().min(other.clone()), value.max(other)),
            11 => format!("{column} = {value} AND c = {}", self.value("c", random)),
            12 => format!("a = {} AND b = {}", self.value("a", random), self.value("b", random)),
            _ if random.random_bool(0.3) => return (String::new(), String::new()),
            _ => format!("{column} = {value}"),
        };
        let order = match random.random_range(0..12) {
            0 => format!(" ORDER BY {column} LIMIT 1"),
            1 => format!(" ORDER BY {column} DESC LIMIT 1"),
            _ => String::new(),
        };
        (format!(" WHERE {filter}"), order)
    }
}
