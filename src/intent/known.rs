//! What is known of a statement's searches besides its text: the server's plan, and the entries that were
//! read from its indexes.

use crate::catalog::PlanStep;
use crate::id::TableId;
use crate::lock::key::Key;
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};
use crate::sql::value::Value;

/// What is known when requests are made.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// How the server reads the tables.
    pub plan: Plan,
    /// What was seen in the indexes, by table access and path.
    pub seen: Vec<SeenPath>,
    /// What was seen at places beside the searches': children of a row, holders of a unique key.
    pub places: Vec<SeenPlace>,
    /// The same of the statements that it runs, in their order.
    pub inner: Vec<Known>,
    /// The search may stop after so many rows.
    pub limit: Option<u64>,
    /// Of some rows that were read it is not known whether they match.
    pub unsure: bool,
    /// Nothing more can be learnt by asking.
    pub asked: bool,
    /// The statement was answered before the server was asked: what was read shows what it has done.
    pub done: bool,
}

/// The server's plan.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// It was not asked.
    #[default]
    Unasked,
    /// It was asked in vain: the usual choice is all there is.
    Unavailable,
    /// In the order in which the tables are read.
    Steps(std::sync::Arc<[PlanStep]>),
}

/// What was seen of one path of one table access.
#[derive(Clone, Debug)]
pub struct SeenPath {
    /// Position of the table in the statement.
    pub access: usize,
    /// Position of the path among those of the table.
    pub path: usize,
    /// One for each span of the path.
    pub spans: Vec<SeenSpan>,
}

/// What was seen of one span of an index.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenSpan {
    /// Its entries in the order of the index.
    pub entries: Vec<SeenEntry>,
    /// The nearest entry before it.
    pub below: Option<SeenEntry>,
    /// The nearest entry behind it; `None`: the supremum is next.
    pub above: Option<SeenEntry>,
    /// There is too much to read: it stands for all entries, whatever they are.
    pub unread: bool,
}

/// What was seen of the entries that begin with a key.
#[derive(Clone, Debug)]
pub struct SeenPlace {
    /// The table.
    pub table: TableId,
    /// Position of the index.
    pub index: usize,
    /// The key, or its first parts.
    pub key: Key,
    /// What there is.
    pub span: SeenSpan,
}

/// The values of a row, by column, as far as they were read.
pub type SeenRow = Vec<(usize, Value<'static>)>;

/// An entry of an index.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeenEntry {
    /// The whole entry, the clustered key included.
    pub key: Key,
    /// The clustered key.
    pub clustered: Key,
    /// The row meets the whole condition, as far as that could be asked.
    pub matches: bool,
    /// The row's versions: the newest, and the last committed one if that is another.
    pub rows: Vec<SeenRow>,
    /// It is there for those who read what is not committed.
    pub newest: bool,
    /// It is there for those who read what is committed.
    pub committed: bool,
}

impl Plan {
    /// The step that reads the n-th table with this alias.
    pub fn step(&self, alias: &str, nth: usize) -> Option<&PlanStep> {
        self.block_or_step(alias, nth).filter(|step| !step.table.is_empty())
    }

    /// A row that a constant of the query block names was looked for and not found: nothing else of the block is read.
    pub fn found_none(&self, alias: &str, nth: usize) -> bool {
        self.block_or_step(alias, nth).is_some_and(|step| step.table.is_empty())
    }

    /// The step of the n-th table with this alias. A query block whose row was not found has a step without a table.
    fn block_or_step(&self, alias: &str, nth: usize) -> Option<&PlanStep> {
        let Plan::Steps(steps) = self else { return None };
        let found_none = |step: &PlanStep| {
            step.table.is_empty() && step.extra.to_ascii_lowercase().contains("const table")
        };
        let mut same = steps.iter().filter(|step| step.table.eq_ignore_ascii_case(alias) || found_none(step));
        same.nth(nth)
    }

    /// Columns of the table with this alias that others are joined by.
    pub fn joins_by<'p>(&'p self, alias: &'p str) -> impl Iterator<Item = &'p str> {
        let steps: &[PlanStep] = if let Plan::Steps(steps) = self { steps } else { &[] };
        let of = |step: &'p PlanStep| (0..step.refs.len()).filter_map(|part| step.joined_by(part));
        let named = steps.iter().flat_map(of).filter(move |(table, _)| table.eq_ignore_ascii_case(alias));
        named.map(|(_, column)| column)
    }

    /// When the table with this alias is read: what the plan does not show was read before there was one.
    pub fn place(&self, alias: &str) -> usize {
        let Plan::Steps(steps) = self else { return 0 };
        steps.iter().position(|step| step.table.eq_ignore_ascii_case(alias)).map_or(0, |at| at + 1)
    }

    /// No row is read at all.
    pub fn reads_nothing(&self) -> bool {
        let Plan::Steps(steps) = self else { return false };
        // A subquery that was read to find that out is locked all the same.
        let nothing = |step: &PlanStep| step.table.is_empty() && step.notes("Impossible WHERE");
        !steps.is_empty() && steps.iter().all(nothing)
    }

    /// All of one table is read.
    pub fn scan(alias: &str) -> Plan {
        let step = PlanStep { table: alias.to_owned(), access: "ALL".to_owned(), ..PlanStep::default() };
        Plan::Steps([step].into())
    }

    /// Do the notes of any step say so?
    pub fn notes(&self, note: &str) -> bool {
        let Plan::Steps(steps) = self else { return false };
        steps.iter().any(|step| step.notes(note))
    }
}

impl SeenSpan {
    /// From the entry before it to the one behind it.
    pub fn reach(&self) -> Range {
        Range {
            low: self.below.as_ref().map(|entry| entry.key.after()).unwrap_or_default(),
            high: self.above.as_ref().map_or(Key::supremum(), |entry| entry.key.clone()),
        }
    }

    /// What a check that goes on behind `low` asks for: the next entry and the gap below it, or the gap at the index's
    /// end. With how far the gap reaches.
    pub fn next(&self, low: Key) -> (Range, Kind, Range) {
        let (range, kind) = match &self.above {
            Some(next) => (Range::entries(&next.key), Kind::NextKey),
            None => (Range { low: low.clone(), high: Key::supremum() }, Kind::Gap),
        };
        let reach = Range { low, high: range.high.clone() };
        (range, kind, reach)
    }
}

impl SeenEntry {
    /// It is there, and nobody is about to change that.
    pub fn stands(&self) -> bool {
        self.newest && self.committed
    }
}

impl Known {
    /// What was seen at a place.
    pub fn place(&self, table: TableId, index: usize, key: &Key) -> Option<&SeenSpan> {
        let same = |place: &&SeenPlace| place.table == table && place.index == index && place.key == *key;
        self.places.iter().find(same).map(|place| &place.span)
    }

    /// What was seen is not what the statement, which found so many rows, has seen: nothing stands where it found
    /// rows, or rows stand where it found none. Others are kept out by its locks, so its own transaction has
    /// changed it since, and what it locked there nobody can see any more.
    pub fn contradicts(&self, found: Option<u64>) -> bool {
        let spans = || self.seen.iter().flat_map(|seen| &seen.spans);
        match found {
            None => false,
            Some(0) if self.unsure => false,
            Some(0) => spans().flat_map(|span| &span.entries).any(|entry| entry.matches),
            Some(_) => !self.seen.is_empty() && spans().all(|span| span.entries.is_empty() && !span.unread),
        }
    }

    /// A search has passed over what is locked here (SKIP LOCKED). False: none of the entries that were seen.
    pub fn pass_over(&mut self, passed: &Request) -> bool {
        let clustered = passed.index.index == 0;
        let passed = |entry: &SeenEntry| {
            let key = if clustered { &entry.clustered } else { &entry.key };
            passed.range.is_entries() && passed.range.intersects(&Range::entries(key))
        };
        let mut any = false;
        for span in self.seen.iter_mut().flat_map(|seen| &mut seen.spans) {
            any |= span.entries.iter().any(passed);
            span.entries.retain(|entry| !passed(entry));
        }
        any
    }

    /// So many rows a search of one table gives that finds what was seen. `None`: not everything was seen.
    pub fn gives(&self) -> Option<u64> {
        let spans = || self.seen.iter().flat_map(|seen| &seen.spans);
        if self.unsure || self.seen.len() != 1 || spans().any(|span| span.unread) {
            return None;
        }
        let matching = spans().flat_map(|span| &span.entries).filter(|entry| entry.matches).count() as u64;
        Some(matching.min(self.limit.unwrap_or(u64::MAX)))
    }

    /// The statement has put rows into what it has read: what is not committed there is its own, and came later.
    pub fn without_new(mut self) -> Known {
        for span in self.seen.iter_mut().flat_map(|seen| &mut seen.spans) {
            span.entries.retain(|entry| entry.committed);
        }
        self
    }

    /// What was seen of a path.
    pub fn of(&self, access: usize, path: usize) -> Option<&[SeenSpan]> {
        self.seen.iter().find(|seen| seen.access == access && seen.path == path).map(|s| s.spans.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IndexId;
    use crate::lock::mode::{Certainty, Mode};

    fn seen(entries: Vec<SeenEntry>) -> Known {
        let spans = vec![SeenSpan { entries, ..SeenSpan::default() }];
        Known { seen: vec![SeenPath { access: 0, path: 0, spans }], asked: true, ..Known::default() }
    }

    #[test]
    fn what_was_passed_over_is_not_given() {
        let of = |value: i128| {
            let mut key = Key::default();
            key.push_int(value, false);
            key
        };
        let entry =
            |value| SeenEntry { key: of(value), clustered: of(value), matches: true, ..SeenEntry::default() };
        let mut known = Known { limit: Some(2), ..seen(vec![entry(1), entry(2), entry(3)]) };
        let locked = |value| Request {
            index: IndexId { table: TableId(1), index: 0 },
            mode: Mode::X,
            range: Range::entries(&of(value)),
            kind: Kind::NextKey,
            certainty: Certainty::Certain,
            rule: "test",
        };
        assert_eq!(known.gives(), Some(2));
        assert!(known.pass_over(&locked(1)) && !known.pass_over(&locked(1)) && known.pass_over(&locked(3)));
        assert_eq!(known.gives(), Some(1));
        known.unsure = true;
        assert_eq!(known.gives(), None);
    }

    #[test]
    fn what_was_changed_since_contradicts_the_answer() {
        let row = SeenEntry { matches: true, newest: true, ..SeenEntry::default() };
        let other = SeenEntry { newest: true, ..SeenEntry::default() };
        // get-or-create: the row that was looked for in vain has been inserted.
        assert!(seen(vec![row.clone()]).contradicts(Some(0)));
        assert!(!seen(vec![row.clone()]).contradicts(Some(1)));
        // The row that was found has been deleted.
        assert!(seen(Vec::new()).contradicts(Some(1)));
        assert!(!seen(Vec::new()).contradicts(Some(0)));
        assert!(!seen(vec![other]).contradicts(Some(0)), "it was read and rejected");
        assert!(!seen(vec![row]).contradicts(None) && !Known::default().contradicts(Some(1)));
    }
}
