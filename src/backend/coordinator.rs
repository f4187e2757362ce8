//! Named locks on the server: how interlocks that know nothing of each other keep out of each other's gaps.
//!
//! The one thing that all of them share is the database. Before a statement that may lock a gap is passed on,
//! its own server connection takes `GET_LOCK('interlock:<hash of the gap>')`, and gives it back when its
//! transaction has ended. The server frees the name when the connection is lost, whoever is to blame.
//!
//! The statements are built so that a client cannot tell that they ran. The answer is in OK or error, so no
//! result set passes; on MySQL a `SET` leaves FOUND_ROWS() and the transaction tracker alone where `SELECT` and
//! `DO` do not (the variable is set to the value that it has); on MariaDB the same `SET` would take a wait that
//! was killed for a success, and a compound statement does not.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use dashmap::DashMap;
use rustc_hash::FxBuildHasher;

use crate::catalog::Table;
use crate::id::IndexId;

/// How long a look at the end of an index counts as new.
const WINDOW: Duration = Duration::from_secs(1);
/// After so long without a look, what was known of the end of an index is forgotten.
const IDLE: Duration = Duration::from_secs(10);

/// The name of a gap: at most 64 characters, in lower case, because MySQL does not tell cases apart and MariaDB
/// does.
pub type Name = Arc<str>;

/// The name of a gap of an index: of the one below the entry whose key is `above`, or of the end.
///
/// Interlocks of one version give the same gap the same name. The number in the hashed text is that of this
/// rule: change it with the rule or with the form of keys.
pub fn name(table: &Table, index: IndexId, above: Option<&[u8]>) -> Name {
    let index_name = table.indexes.get(usize::from(index.index)).map_or("", |index| &index.name);
    let mut text = Vec::from(*b"1");
    for part in [table.schema.as_bytes(), table.name.as_bytes(), index_name.as_bytes()] {
        text.push(0);
        text.extend_from_slice(part);
    }
    if let Some(above) = above {
        text.push(0);
        text.extend_from_slice(above);
    }
    let mut name = String::from("interlock:");
    for byte in &digest(&SHA256, &text).as_ref()[..16] {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.into()
}

/// The statement that takes a name, waiting for at most `wait`. MySQL knows whole seconds only: less than one is
/// none.
pub fn take(name: &str, wait: Duration, mariadb: bool) -> String {
    if mariadb {
        let seconds = wait.as_secs_f64();
        return format!(
            "BEGIN NOT ATOMIC IF GET_LOCK('{name}',{seconds:.3}) THEN BEGIN END; \
             ELSE SIGNAL SQLSTATE '45000'; END IF; END"
        );
    }
    let seconds = wait.as_secs();
    set(&format!("IF(GET_LOCK('{name}',{seconds})=1,0,(SELECT 1 UNION SELECT 2))"))
}

/// The statement that gives names back.
pub fn give_back(names: &[Name], mariadb: bool) -> String {
    let calls: Vec<String> = names.iter().map(|name| format!("RELEASE_LOCK('{name}')")).collect();
    if mariadb {
        return format!("DO {}", calls.join(","));
    }
    let terms: Vec<String> = calls.iter().map(|call| format!("0*IFNULL({call},0)")).collect();
    set(&terms.join("+"))
}

/// Sets a variable that nobody looks at to its own value, computing `term`, which is 0, on the way.
fn set(term: &str) -> String {
    format!("SET SESSION net_retry_count=CAST(@@session.net_retry_count+{term} AS UNSIGNED)")
}

/// What came of taking a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Took {
    /// It is taken.
    Taken,
    /// Another connection has it.
    NotFree,
    /// Waiting for it would close a cycle of names or table locks; the transaction is as it was.
    Cycle,
    /// `KILL QUERY` was meant for the statement that waits.
    Killed,
    /// The server would not.
    Refused,
}

/// What the answer to [`take`] means.
pub fn took(answer: Result<(), u16>) -> Took {
    match answer {
        Ok(()) => Took::Taken,
        // ER_SUBQUERY_NO_1_ROW, ER_SIGNAL_EXCEPTION
        Err(1242 | 1644) => Took::NotFree,
        // ER_USER_LOCK_DEADLOCK; ER_LOCK_DEADLOCK, which from GET_LOCK leaves the transaction alone
        Err(3058 | 1213) => Took::Cycle,
        // ER_QUERY_INTERRUPTED
        Err(1317) => Took::Killed,
        Err(_) => Took::Refused,
    }
}

/// What is known of the ends of indexes: where keys are always new, all places near the end are one gap.
///
/// Two interlocks look at different times, and new keys do not come in order: 101 is asked for while 103 is
/// being inserted. Was 101 at the end, or below 103? Whatever lies behind the last entry of about a second ago
/// counts as the end, so both say the same. Until a second has passed, the whole index does.
#[derive(Debug)]
pub struct Ends<K> {
    ends: DashMap<IndexId, End<K>, FxBuildHasher>,
}

#[derive(Debug)]
struct End<K> {
    /// The last entry at the look before the last: what lies behind it is the end.
    before: Option<K>,
    /// The last entry at the last look.
    last: Option<K>,
    looked: Instant,
}

/// Where a place lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// It counts as the end.
    pub at_end: bool,
    /// A new look at the end is due; the asker is the one to look.
    pub look: bool,
}

impl<K: Ord> Ends<K> {
    /// Nothing is known.
    pub fn new() -> Ends<K> {
        Ends { ends: DashMap::with_hasher(FxBuildHasher) }
    }

    /// Where a key lies in its index.
    pub fn place(&self, index: IndexId, key: &K, now: Instant) -> Place {
        let mut look = false;
        let mut end = self.ends.entry(index).or_insert_with(|| {
            look = true;
            End { before: None, last: None, looked: now }
        });
        let age = now.saturating_duration_since(end.looked);
        if age > IDLE {
            (end.before, end.last) = (None, None);
        }
        if age >= WINDOW {
            // Others that come now find a new look under way.
            end.looked = now;
            look = true;
        }
        Place { at_end: end.before.as_ref().is_none_or(|before| before <= key), look }
    }

    /// A look has found this last entry.
    pub fn looked(&self, index: IndexId, last: K) {
        if let Some(mut end) = self.ends.get_mut(&index) {
            end.before = end.last.take();
            end.last = Some(last);
        }
    }
}

impl<K: Ord> Default for Ends<K> {
    fn default() -> Self {
        Ends::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Index, TableKind};
    use crate::id::TableId;

    const INDEX: IndexId = IndexId { table: TableId(1), index: 0 };

    fn table(name: &str) -> Table {
        Table {
            id: TableId(1),
            generation: 1,
            schema: "shop".to_owned(),
            name: name.to_owned(),
            kind: TableKind::InnoDb,
            columns: Vec::new(),
            indexes: vec![Index { name: "PRIMARY".to_owned(), unique: true, parts: Vec::new(), btree: true }],
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            partitioned: false,
            definition: None,
            triggers: Vec::new(),
        }
    }

    #[test]
    fn names_differ_by_gap_and_fit_both_servers() {
        let names = [
            name(&table("batch"), INDEX, None),
            name(&table("batch"), INDEX, Some(b"")),
            name(&table("batch"), INDEX, Some(b"12")),
            name(&table("cycle"), INDEX, None),
        ];
        for (at, one) in names.iter().enumerate() {
            assert!(one.len() <= 64 && **one == one.to_lowercase(), "{one}");
            assert_eq!(names.iter().filter(|other| *other == one).count(), 1, "{at}");
        }
        assert_eq!(
            &*names[0], "interlock:50fd8babef24e5da3821ba9b4d2b65f9",
            "it is the same in every process"
        );
    }

    #[test]
    fn statements_for_both_servers() {
        let wait = Duration::from_millis(1700);
        assert!(take("n", wait, false).contains("GET_LOCK('n',1)=1"));
        assert!(take("n", wait, true).contains("GET_LOCK('n',1.700)"));
        let names: Vec<Name> = vec!["a".into(), "b".into()];
        assert_eq!(give_back(&names, true), "DO RELEASE_LOCK('a'),RELEASE_LOCK('b')");
        assert_eq!(
            give_back(&names, false),
            "SET SESSION net_retry_count=CAST(@@session.net_retry_count+0*IFNULL(RELEASE_LOCK('a'),0)+0*\
             IFNULL(RELEASE_LOCK('b'),0) AS UNSIGNED)"
        );
    }

    #[test]
    fn answers_of_both_servers() {
        assert_eq!(took(Ok(())), Took::Taken);
        assert_eq!((took(Err(1242)), took(Err(1644))), (Took::NotFree, Took::NotFree));
        assert_eq!((took(Err(3058)), took(Err(1213))), (Took::Cycle, Took::Cycle));
        assert_eq!((took(Err(1317)), took(Err(1969))), (Took::Killed, Took::Refused));
    }

    #[test]
    fn what_was_appended_in_the_last_second_is_the_end() {
        let ends = Ends::new();
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let check = |ms, key: i32, at_end, look| {
            assert_eq!(ends.place(INDEX, &key, at(ms)), Place { at_end, look }, "{key} at {ms}");
        };
        check(0, 101, true, true);
        check(1, 5, true, false);
        ends.looked(INDEX, 100);
        check(900, 5, true, false);
        check(1000, 250, true, true);
        ends.looked(INDEX, 200);
        check(1001, 99, false, false);
        check(1001, 101, true, false);
        check(1500, 199, true, false);
        check(2100, 5, false, true);
        check(2101, 5, false, false);
        ends.looked(INDEX, 300);
        check(2102, 199, false, false);
        check(2102, 201, true, false);
        check(20_000, 5, true, true);
    }
}
