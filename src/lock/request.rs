//! What a statement asks for in one index, before and after the server has answered.

use super::mode::{Certainty, Mode};
use super::range::Range;
use crate::id::{IndexId, SearchId};

/// Rule of a row that a search locks although it does not match: an UPDATE or DELETE does not change it.
pub const REJECTED: &str = "rejected";

/// Rule of what an INSERT asks for only if the row that has its key, and is about to go, stays after all. It stands right
/// behind the check for that key.
pub const RETURNED: &str = "returned-row";

/// How the rules of a lookup by all columns of a unique index begin.
pub const UNIQUE_LOOKUP: &str = "unique-lookup";

/// A lock that a statement will ask for.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The index whose entries are locked.
    pub index: IndexId,
    /// Shared or exclusive.
    pub mode: Mode,
    /// The part of the index that the statement names: one key, a prefix, an interval.
    pub range: Range,
    /// What is locked in that part.
    pub kind: Kind,
    /// How sure we are that the statement will ask for this.
    pub certainty: Certainty,
    /// Name of the rule that says so, for reports.
    pub rule: &'static str,
}

impl Request {
    /// An entry of a row of the asker's own, of which it is not known where in the index it stands. Only searches of
    /// that index can run into it.
    pub fn is_somewhere(&self) -> bool {
        self.kind.meets_searches_only() && self.certainty == Certainty::Unknown && self.range.low.is_lowest()
    }
}

/// What a request locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The records in the range, and no gap (READ COMMITTED; a clustered record behind a secondary entry).
    Record,
    /// A record that is let go as soon as it was read: it is in the way only of those who come while the
    /// statement waits for it (READ COMMITTED; a row that WHERE rejects).
    Passed,
    /// The records that others put in the range while the statement waits, beyond the place that it has come to: a
    /// scan that locks no gaps (READ COMMITTED) reads them when it gets there. Nothing is held.
    Ahead,
    /// Equality on all columns of a unique index: the record if there is one, else the gap where it would
    /// be. Which of the two is known from the answer.
    RecordOrGap,
    /// The gap around the place, no record: what `RecordOrGap` was when nothing was found.
    Gap,
    /// Records and gaps from the gap below the range's first record to the gap above its last one.
    NextKey,
    /// The clustered records behind entries that are found through another index of the table. Two
    /// statements that go through the same index meet at its entries first, so two of these with the same
    /// `via` never stand in each other's way.
    Clustered {
        /// Position of that index in the table.
        via: u16,
    },
    /// The entry that a changed row has in another index than the one it was found by. Whoever changes this
    /// row, or has inserted it, holds its clustered record, and was met there: only searches of this index
    /// meet such entries, and they meet searches alone.
    Entry,
    /// A new entry at `range.low`: waits for gap locks there, then holds the record exclusively.
    Insert {
        /// The index is unique and the key has no NULL: the mode in which the duplicate check asks for an
        /// equal key. S, or X where the statement goes on to change what it finds.
        check: Option<Mode>,
    },
    /// A new entry that is taken out again, because the row's key is there in an index that comes later: it is there
    /// as long as the statement waits for that one.
    Tried {
        /// As for [`Kind::Insert`].
        check: Option<Mode>,
    },
}

impl Kind {
    /// May it lock records in its range?
    pub fn records(self) -> bool {
        !matches!(self, Kind::Gap | Kind::Ahead | Kind::Insert { .. } | Kind::Tried { .. })
    }

    /// May it lock gaps?
    pub fn gaps(self) -> bool {
        matches!(self, Kind::RecordOrGap | Kind::Gap | Kind::NextKey)
    }

    /// Is it an insert intention?
    pub fn inserts(self) -> bool {
        matches!(self, Kind::Insert { .. } | Kind::Tried { .. })
    }

    /// Is it on an entry of a row that the asker changes or inserts, not one that it searches for?
    pub fn of_own_row(self) -> bool {
        self == Kind::Entry || self.inserts()
    }

    /// Does it meet searches and gaps only, never an entry of somebody else's row?
    pub fn meets_searches_only(self) -> bool {
        matches!(self, Kind::Entry | Kind::Insert { check: None } | Kind::Tried { check: None })
    }

    /// The mode of an insert's duplicate check.
    pub fn check(self) -> Option<Mode> {
        match self {
            Kind::Insert { check } | Kind::Tried { check } => check,
            _ => None,
        }
    }

    /// InnoDB's names, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Record | Kind::Passed | Kind::Ahead | Kind::Clustered { .. } | Kind::Entry => "record",
            Kind::RecordOrGap => "record or gap",
            Kind::Gap => "gap",
            Kind::NextKey => "next-key",
            Kind::Insert { .. } | Kind::Tried { .. } => "insert intention",
        }
    }
}

/// What is known of a statement's requests besides themselves.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Origin<'a> {
    /// Whom to ask for the exact locks, if the requests are wider than what the statement will lock.
    pub search: Option<SearchId>,
    /// How far each request's gaps reach, by position, where that was read from the server. What is missing
    /// reaches to the nearest records known.
    pub reaches: &'a [Option<Range>],
}

/// The locks of a statement as the server's indexes show them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exact<'a> {
    /// In the order in which the server asks.
    pub requests: &'a [Request],
    /// How far their gaps reach, by position.
    pub reaches: &'a [Option<Range>],
    /// The statement was answered: it has them all.
    pub answered: bool,
    /// See `Asking::overtakes`.
    pub overtakes: bool,
}

/// What became of a request when its statement was answered.
#[derive(Clone, PartialEq, Debug)]
pub enum Settled {
    /// It is held as it was asked for.
    Kept,
    /// It is held in another shape: a `RecordOrGap` turned out to be a `Gap`, an `Insert` is a `Record`.
    Became(Kind, Range),
    /// An `Insert` met an equal key: the shared lock of the duplicate check stays on the record there.
    Duplicate,
    /// An `Insert` met an equal key, and this is held there.
    Met {
        /// Shared, or exclusive if the statement went on to change it.
        mode: Mode,
        /// The record; in a secondary index the gap below it too.
        kind: Kind,
        /// How sure that is.
        certainty: Certainty,
    },
    /// An `Insert` that was taken back: its place stays locked as a gap.
    Undone,
    /// Nothing is held.
    Released,
}
