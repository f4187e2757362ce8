//! Names of the things that live in the process: sessions, transactions, tokens.
//!
//! All are counters that are never used twice in the life of a process, so a stale name finds nothing
//! instead of somebody else's entry.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// One client connection together with the one server connection that it owns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub u64);

/// One transaction of one session; an autocommit statement is a transaction of its own.
///
/// Later transactions have larger numbers, so the order is the order of age.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TxnId(pub u64);

/// A place in the hold queue: smaller is older.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// A statement but for its literals: the number of its digest. It does not depend on the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct DigestId(pub u128);

/// A statement whose locks are known widely only: asking the server would tell them exactly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SearchId(pub u64);

/// A table that the catalog has seen: the same number for the same schema and name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TableId(pub u32);

/// An index of a table: 0 is the clustered index, the others follow in the catalog's order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct IndexId {
    /// The table that the index belongs to.
    pub table: TableId,
    /// Position of the index in the table's catalog entry.
    pub index: u16,
}

impl TableId {
    /// No table: what is locked here is not in an index.
    pub const NONE: TableId = TableId(u32::MAX);
}

impl IndexId {
    /// The definitions of all tables, ordered by schema and name: metadata locks.
    pub const METADATA: IndexId = IndexId { table: TableId::NONE, index: 0 };
    /// The names that `GET_LOCK` locks.
    pub const NAMED_LOCKS: IndexId = IndexId { table: TableId::NONE, index: 1 };

    /// The AUTO-INC lock of a table.
    pub fn auto_increment(table: TableId) -> IndexId {
        IndexId { table, index: u16::MAX }
    }

    /// Is this no index of rows, but something that is locked as a whole?
    pub fn is_whole(self) -> bool {
        self.table == TableId::NONE || self.index == u16::MAX
    }
}

/// Gives out the numbers 1, 2, 3, …
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The next number; the first is 1.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for DigestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl serde::Serialize for DigestId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DigestId {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(input)?;
        u128::from_str_radix(&text, 16).map(DigestId).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}
