//! Statements beyond those of one table and one condition: joins, subqueries, queries that fill tables, disjunctions,
//! values that are computed, searches that do not wait.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::random::Schema;

impl Schema {
    /// A random one.
    pub(crate) fn wide_statement(&self, random: &mut StdRng) -> String {
        if self.child && random.random_bool(0.5) { self.of_two(random) } else { self.of_one(random) }
    }

    fn of_one(&self, random: &mut StdRng) -> String {
        let lock = *["FOR UPDATE", "FOR UPDATE", "LOCK IN SHARE MODE"].choose(random).expect("a list");
        let column = *["id", "id", "a", "b", "s"].choose(random).expect("a list");
        let (value, other) = (self.value(column, random), self.value(column, random));
        let c = self.value("c", random);
        let filter = self.search(random).0;
        match random.random_range(0..22) {
            0 => format!("UPDATE t SET c = c + 1{filter}"),
            1 => format!("UPDATE t SET a = a + 5{filter}"),
            2 => format!("UPDATE t SET b = {c}{filter} ORDER BY id LIMIT 1"),
            3 => format!("DELETE FROM t{filter} ORDER BY id DESC LIMIT 1"),
            4 => format!("UPDATE t SET a = NULL{filter}"),
            5 => format!("SELECT * FROM t WHERE {column} = {value} OR {column} = {other} {lock}"),
            6 => format!("SELECT id FROM t WHERE id = {} OR a = {c} {lock}", self.value("id", random)),
            7 => format!("SELECT * FROM t WHERE {column} <> {value} {lock}"),
            8 => format!("SELECT * FROM t WHERE {column} IS NULL {lock}"),
            9 => format!("SELECT * FROM t WHERE s LIKE 'w0{}%' {lock}", random.random_range(0..5)),
            10 => format!("SELECT MAX({column}) FROM t{filter} {lock}"),
            11 => format!("SELECT * FROM t{filter} FOR UPDATE NOWAIT"),
            12 => format!("SELECT * FROM t{filter} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"),
            13 => format!("SELECT id FROM t WHERE {column} > {value} ORDER BY {column} LIMIT 2 {lock}"),
            14 => format!("SELECT a, COUNT(*) FROM t{filter} GROUP BY a {lock}"),
            15 => format!("UPDATE t SET c = c + 1 WHERE {column} = {value} AND c > {c}"),
            16 => format!("DELETE FROM t WHERE {column} IN ({value}, {other}) AND c = {c}"),
            17 => {
                let id = self.value("id", random);
                let row = format!("{id}, {c}, {c}, 'w{:03}', {c}", random.random_range(0..10) * 5);
                format!(
                    "INSERT INTO t SELECT {row} FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM t WHERE id = {id})"
                )
            }
            18 => {
                let id = self.value("id", random);
                format!(
                    "INSERT INTO t (id, a, b, c) VALUES ({id}, {c}, {c}, 1) ON DUPLICATE KEY UPDATE b = VALUES(b)"
                )
            }
            19 => {
                let id = self.value("id", random);
                format!("INSERT INTO t (id, b, c) SELECT {id}, b, c FROM t WHERE {column} = {value} LIMIT 1")
            }
            20 => format!(
                "(SELECT id FROM t WHERE {column} = {value} {lock}) UNION (SELECT id FROM t WHERE a = {c})"
            ),
            _ => format!("SELECT * FROM (SELECT id, a FROM t WHERE {column} = {value}) AS d {lock}"),
        }
    }

    fn of_two(&self, random: &mut StdRng) -> String {
        let lock = *["FOR UPDATE", "FOR UPDATE", "LOCK IN SHARE MODE"].choose(random).expect("a list");
        let column = *["id", "id", "a", "b"].choose(random).expect("a list");
        let (value, parent) = (self.value(column, random), self.value("id", random));
        let n = random.random_range(1..6);
        match random.random_range(0..10) {
            0 => {
                format!("SELECT * FROM t JOIN child ON child.parent = t.id WHERE t.{column} = {value} {lock}")
            }
            1 => format!("SELECT * FROM child JOIN t ON t.id = child.parent WHERE child.n = {n} {lock}"),
            2 => format!("UPDATE t JOIN child ON child.parent = t.id SET t.c = t.c + 1 WHERE child.n = {n}"),
            3 => format!(
                "UPDATE child JOIN t ON t.id = child.parent SET child.parent = NULL WHERE t.{column} = {value}"
            ),
            4 => format!("DELETE child FROM child JOIN t ON t.id = child.parent WHERE t.{column} = {value}"),
            5 => format!("SELECT * FROM t WHERE id IN (SELECT parent FROM child WHERE n = {n}) {lock}"),
            6 => format!(
                "UPDATE t SET c = (SELECT COUNT(*) FROM child WHERE child.parent = t.id) WHERE {column} = {value}"
            ),
            7 => format!("DELETE FROM child WHERE parent IN (SELECT id FROM t WHERE {column} = {value})"),
            8 => format!("INSERT INTO child SELECT {}, id FROM t WHERE {column} = {value}", n + 10),
            _ => {
                format!("SELECT * FROM t LEFT JOIN child ON child.parent = t.id WHERE t.id = {parent} {lock}")
            }
        }
    }
}
