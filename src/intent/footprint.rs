//! The exact locks of a search, from the entries that were read in its range.
//!
//! | rule | what is locked |
//! |---|---|
//! | `entry`, `entries` | the entries that were read, with the gaps below them |
//! | `first-at-bound` | MySQL, primary key, `>=`: the record that is the bound, without the gap below |
//! | `gap-behind` | the gap between the last entry and the next one |
//! | `entry-beyond` | the entry behind the range: every secondary range, MariaDB's primary key; with its row for UPDATE and DELETE. Read backward: the entry before the range, in every index |
//! | `missing` | nothing was found: the gap where it would be |
//! | `one-end` | MIN, MAX: the entry at that end of the range, or the next one beyond if there is none |
//! | `clustered-record` | the row behind each secondary entry |
//! | `rejected` | a row that was read and does not match: at REPEATABLE READ it stays locked |
//! | `passed-over` | READ COMMITTED: asked for, then released because the row does not match or lies beyond |
//! | `rows-to-come` | READ COMMITTED: what others put ahead of the scan while it waits |
//!
//! A `<=` on MySQL's primary key whose bound exists ends there, without the gap behind.
//!
//! Observed on MySQL 9.7 and MariaDB 10.11.

mod committed;

use super::access_path::{Path, Way};
use super::known::{Known, SeenEntry, SeenSpan};
use super::read::{Searched, is_covering, is_told, mode, request};
use super::{Context, Intent};
use crate::catalog::{Flavour, KeyPart, Table};
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, REJECTED, Request};
use crate::sql::access::TableAccess;
use crate::sql::statement::{Select, Statement};

/// Rule of a lock that is released when its row turns out not to match.
pub const PASSED_OVER: &str = "passed-over";

/// Rule of the one entry that MIN or MAX reads.
pub const EXTREME: &str = "one-end";

/// More entries of one span are one request, from the first to the last.
const MAX_SINGLE: usize = 32;

/// A search of one table.
pub(super) struct Search<'a> {
    pub(super) statement: &'a Statement,
    pub(super) access: &'a TableAccess,
    pub(super) table: &'a Table,
    pub(super) context: &'a Context,
    pub(super) mode: Mode,
    /// It stands in a subquery or a join: what it finds depends on other tables.
    pub(super) nested: bool,
    /// LIMIT may end it early.
    pub(super) stops: bool,
    order: &'a [(String, bool)],
    /// It goes several ways (index merge): none of them tells which rows match.
    several: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        statement: &'a Statement,
        searched: &Searched<'a>,
        table: &'a Table,
        context: &'a Context,
        paths: usize,
    ) -> Search<'a> {
        let (count, limited, order): (usize, bool, &[(String, bool)]) = match statement {
            // LIMIT counts what is counted, ORDER BY orders that, and not what is read for it.
            Statement::Select(select) if select.aggregated => (select.tables.len(), false, &[]),
            Statement::Select(select) => (select.tables.len(), select.limited, &select.order),
            Statement::Update(update) => (update.tables.len(), update.limited, &update.order),
            Statement::Delete(delete) => (delete.tables.len(), delete.limited, &delete.order),
            _ => (1, false, &[]),
        };
        let nested = searched.table.nested || count > 1;
        let stops = limited && !nested;
        let mode = mode(searched.lock);
        Search {
            statement,
            access: searched.table,
            table,
            context,
            mode,
            nested,
            stops,
            order,
            several: paths > 1,
        }
    }

    pub(super) fn request(
        &self,
        index: usize,
        range: Range,
        kind: Kind,
        certainty: Certainty,
        rule: &'static str,
    ) -> Request {
        request(self.table, index, self.mode, range, kind, certainty, rule)
    }

    /// Does the search read nothing but the index?
    pub(super) fn covering(&self, path: &Path<'_>) -> bool {
        // The rows that are changed are read as a whole, though the SELECT that stands for it does not.
        let reads = self.mode == Mode::S || matches!(self.statement, Statement::Select(_));
        reads && (path.covering || is_covering(self.access, self.table, path.index))
    }

    /// Does the index alone tell which entries match? Then the server does not come to the rows of the others
    /// (manual, "Index Condition Pushdown Optimization").
    fn is_told_by_index(&self, path: &Path<'_>, known: &Known) -> bool {
        let Statement::Select(Select { tables, .. }) = self.statement else { return false };
        let [access] = tables.as_slice() else { return false };
        path.index != 0
            && known.plan.notes("Using index condition")
            && is_told(access, self.table, path.index)
    }

    /// Is the index read from its end? MySQL's plan says so, MariaDB's does not.
    pub(super) fn backward(&self, path: &Path<'_>, known: &Known) -> bool {
        if path.backward || known.plan.notes("Backward index scan") {
            return true;
        }
        let index = &self.table.indexes[path.index];
        // What is the same in all entries orders nothing.
        let equal = path.spans.iter().map(|span| span.equal.len()).min().unwrap_or(0);
        let same = |name: &str| {
            let place = self.table.column(name);
            index.parts.iter().take(equal).any(|part| part.column == place)
        };
        let ordering = |(column, _): &&(String, bool)| path.spans.len() > 1 || !same(column);
        let Some((column, descending)) = self.order.iter().find(ordering) else { return false };
        let place = self.table.column(column);
        // An entry ends with the clustered key. MySQL does not go that way backward where a part descends.
        let mixed = self.context.flavour == Flavour::MySql && index.parts.iter().any(|part| part.descending);
        let behind: &[KeyPart] = if path.index == 0 || mixed { &[] } else { &self.table.indexes[0].parts };
        // What comes behind a column of which there are several values orders nothing by itself.
        let mut leading = index.parts.iter().chain(behind).take(equal + 1);
        let part = leading.find(|part| part.column == place);
        !known.plan.notes("Using filesort") && part.is_some_and(|part| *descending != part.descending)
    }
}

/// The locks of one path, from what was seen there.
pub(super) fn exact(
    search: &Search<'_>,
    path: &Path<'_>,
    seen: &[SeenSpan],
    known: &Known,
    intent: &mut Intent,
) {
    // By values of other tables: where that is, only what was seen tells.
    let ranges = path.ranges(search.table).filter(|_| !path.is_unresolved());
    let sorted = known.plan.notes("Using filesort") || known.plan.notes("Using temporary");
    let mut left = known.limit.filter(|_| search.stops && !sorted && !search.several);
    let backward = search.backward(path, known);
    let order: Box<dyn Iterator<Item = usize>> =
        if backward { Box::new((0..seen.len()).rev()) } else { Box::new(0..seen.len()) };
    for at in order {
        let span = &seen[at];
        let range = ranges.as_ref().and_then(|ranges| ranges.get(at)).map(|(range, _)| range.clone());
        let exact = Exact::new(search, path, span, range, known);
        if search.context.locks_gaps() {
            exact.repeatable_read(&mut left, intent);
        } else {
            exact.read_committed(&mut left, intent);
        }
        if left == Some(0) {
            break;
        }
    }
}

/// The locks of one span.
struct Exact<'a> {
    search: &'a Search<'a>,
    path: &'a Path<'a>,
    span: &'a SeenSpan,
    /// Where the span lies.
    range: Range,
    /// Ends of the gaps around it.
    low: Key,
    high: Key,
    backward: bool,
    /// Of entries that do not match the rows are not read.
    told: bool,
    certainty: Certainty,
}

impl<'a> Exact<'a> {
    fn new(
        search: &'a Search<'a>,
        path: &'a Path<'a>,
        span: &'a SeenSpan,
        range: Option<Range>,
        known: &Known,
    ) -> Exact<'a> {
        let low = span.below.as_ref().map_or(Key::lowest(), |entry| entry.key.after());
        let high = span.above.as_ref().map_or(Key::supremum(), |entry| entry.key.clone());
        // What does not compare lies between its neighbours.
        let range = range.unwrap_or_else(|| Range { low: low.clone(), high: high.clone() });
        let backward = search.backward(path, known);
        let likely = search.nested || path.is_unresolved();
        let certainty = if likely { Certainty::Likely } else { path.certainty };
        let told = search.is_told_by_index(path, known);
        Exact { search, path, span, range, low, high, backward, told, certainty }
    }

    fn add(&self, range: Range, kind: Kind, rule: &'static str, reach: Option<Range>, intent: &mut Intent) {
        let request = self.search.request(self.path.index, range, kind, self.certainty, rule);
        intent.add(request, reach);
    }

    fn secondary(&self) -> bool {
        self.path.index != 0
    }

    fn mariadb(&self) -> bool {
        self.search.context.flavour == Flavour::MariaDb
    }

    /// The clustered record behind an entry.
    fn clustered(&self, entry: &SeenEntry, rule: &'static str, intent: &mut Intent) {
        let kind = Kind::Clustered { via: self.path.index as u16 };
        let request = self.search.request(0, Range::entries(&entry.clustered), kind, self.certainty, rule);
        intent.add(request, None);
    }

    /// The same of a row that turns out not to match.
    fn passes(&self, entry: &SeenEntry, intent: &mut Intent) {
        let range = Range::entries(&entry.clustered);
        let request = self.search.request(0, range, Kind::Passed, self.certainty, PASSED_OVER);
        intent.add(request, None);
    }

    // ## REPEATABLE READ, SERIALIZABLE

    fn repeatable_read(&self, left: &mut Option<u64>, intent: &mut Intent) {
        let entries = &self.span.entries;
        if self.span.unread {
            let reach = Some(Range::all());
            return self.add(Range::all(), Kind::NextKey, "full-scan", reach, intent);
        }
        if let Some(greatest) = self.path.extreme {
            return self.one_end(greatest, intent);
        }
        if self.path.way == Way::Unique {
            return self.unique(intent);
        }
        // How many entries are read before the limit ends the search.
        let matching = |entry: &&SeenEntry| entry.matches;
        let (read, stopped): (Vec<&SeenEntry>, bool) = match left {
            Some(limit) => {
                let order: Box<dyn Iterator<Item = &SeenEntry>> =
                    if self.backward { Box::new(entries.iter().rev()) } else { Box::new(entries.iter()) };
                let mut read = Vec::new();
                for entry in order {
                    if *limit == 0 {
                        break;
                    }
                    *limit -= u64::from(entry.matches);
                    read.push(entry);
                }
                if self.backward {
                    read.reverse();
                }
                (read, *limit == 0)
            }
            None => (entries.iter().collect(), false),
        };
        debug_assert!(read.len() >= read.iter().copied().filter(matching).count());
        let at_end = !stopped || self.backward;
        let first = intent.requests.len();
        self.first_part(&read, stopped, at_end, intent);
        if self.backward {
            self.turn_round(first, intent);
        }
    }

    /// The requests from `first` on, in the opposite order: an entry and the row behind it stay together.
    fn turn_round(&self, first: usize, intent: &mut Intent) {
        intent.reaches.resize(intent.requests.len(), None);
        let (requests, reaches) = (intent.requests.split_off(first), intent.reaches.split_off(first));
        let mut groups: Vec<Vec<(Request, Option<Range>)>> = Vec::new();
        for (request, reach) in requests.into_iter().zip(reaches) {
            let own = request.index.index as usize == self.path.index;
            match groups.last_mut() {
                Some(group) if !own => group.push((request, reach)),
                _ => groups.push(vec![(request, reach)]),
            }
        }
        for (request, reach) in groups.into_iter().rev().flatten() {
            intent.add(request, reach);
        }
    }

    /// Does it lock the rows behind the entries that it reads?
    fn locks_rows(&self) -> bool {
        self.secondary() && (self.search.mode == Mode::X || !self.search.covering(self.path))
    }

    /// The locks in the index: from the gap below the first entry that is read to the gap (or entry)
    /// behind the last.
    fn first_part(&self, read: &[&SeenEntry], stopped: bool, at_end: bool, intent: &mut Intent) {
        let by_bound = !self.secondary() && self.path.way == Way::Interval;
        let (mut from, mut records) = (self.low.clone(), read);
        if stopped
            && self.backward
            && let Some(first) = read.first()
        {
            from = self.behind_the_one_before(first);
        }
        // A `>=` whose bound exists locks that record without the gap below it.
        if by_bound
            && !self.backward
            && let [first, rest @ ..] = read
            && self.range.low == first.key
        {
            self.add(Range::entries(&first.key), Kind::Record, "first-at-bound", None, intent);
            (from, records) = (first.key.after(), rest);
        }
        if self.backward
            && !stopped
            && let Some(below) = &self.span.below
        {
            self.before_range(below, intent);
        }
        let after_last = read.last().map_or(from.clone(), |last| last.key.after());
        self.next_keys(records, &mut from, "entries", self.locks_rows(), intent);
        // A `<=` on MySQL's primary key whose bound exists ends the search.
        let bound_met = by_bound
            && !self.mariadb()
            && !self.backward
            && !read.is_empty()
            && self.range.high == after_last;
        if !at_end || bound_met {
            return;
        }
        // An interval that MySQL's primary key ends does not lock the record beyond.
        let beyond = self.path.way == Way::Interval
            && !self.backward
            && !stopped
            && (self.secondary() || self.mariadb());
        match &self.span.above {
            Some(above) if beyond => {
                self.next_keys(&[above], &mut from, "entry-beyond", self.locks_row_beyond(), intent);
            }
            _ => {
                let reach = Range { low: from, high: self.high.clone() };
                let rule = if read.is_empty() { "missing" } else { "gap-behind" };
                if !reach.is_empty() {
                    self.add(clip(&self.range, &reach), Kind::Gap, rule, Some(reach), intent);
                }
            }
        }
    }

    /// Read backward, a range ends with the entry before it, on every index of both servers. How far the gap below
    /// that one reaches was not read.
    fn before_range(&self, below: &SeenEntry, intent: &mut Intent) {
        self.add(Range::entries(&below.key), Kind::NextKey, "entry-beyond", None, intent);
        let rows = if self.path.way == Way::Equal { self.locks_rows() } else { self.locks_row_beyond() };
        if rows {
            self.clustered(below, "entry-beyond", intent);
        }
    }

    /// Next-key locks on entries that follow one another; `from` is where the gap below the first begins,
    /// then the place behind the last. Each is a request of its own, as at the server, unless they are many;
    /// the row behind it comes before the next.
    fn next_keys(
        &self,
        entries: &[&SeenEntry],
        from: &mut Key,
        rule: &'static str,
        rows: bool,
        intent: &mut Intent,
    ) {
        let each = if entries.len() > MAX_SINGLE { entries.len() } else { 1 };
        for run in entries.chunks(each) {
            let ([first, ..], [.., last]) = (run, run) else { return };
            let named = Range { low: first.key.clone(), high: last.key.after() };
            let reach = Range { low: from.clone(), high: named.high.clone() };
            *from = named.high.clone();
            let rejected = !self.secondary() && run.iter().all(|entry| !entry.matches);
            self.add(named, Kind::NextKey, if rejected { REJECTED } else { rule }, Some(reach), intent);
            for entry in run.iter().filter(|entry| rows && (entry.matches || !self.told)) {
                let rule = match rule {
                    _ if !entry.matches => REJECTED,
                    "entries" => "clustered-record",
                    rule => rule,
                };
                self.clustered(entry, rule, intent);
            }
        }
    }

    /// Where the gap below the first entry that is read begins.
    fn behind_the_one_before(&self, first: &SeenEntry) -> Key {
        let below = self.span.entries.iter().rev().find(|entry| entry.key < first.key);
        below.or(self.span.below.as_ref()).map_or(Key::lowest(), |entry| entry.key.after())
    }

    fn unique(&self, intent: &mut Intent) {
        let Some(entry) = self.span.entries.first() else {
            let reach = Range { low: self.low.clone(), high: self.high.clone() };
            return self.add(self.range.clone(), Kind::Gap, "missing", Some(reach), intent);
        };
        let place = Range::entries(&entry.key);
        if self.secondary() && self.mariadb() {
            let reach = Range { low: self.low.clone(), high: place.high.clone() };
            self.add(place, Kind::NextKey, "entry", Some(reach), intent);
        } else {
            // If the row goes before it is got, the gap where it stood stays.
            let kind = if entry.committed { Kind::Record } else { Kind::RecordOrGap };
            self.add(place, kind, "entry", None, intent);
        }
        if self.locks_rows() {
            self.clustered(entry, "clustered-record", intent);
        }
    }

    /// The least or greatest entry alone. Where there is none in the range, the next one in that direction is read to
    /// see that.
    fn one_end(&self, greatest: bool, intent: &mut Intent) {
        let (entries, span) = (&self.span.entries, self.span);
        let (read, below) = if greatest {
            let before = entries.len().checked_sub(2).map(|at| &entries[at]).or(span.below.as_ref());
            match entries.last() {
                Some(last) => (Some(last), Some(before.map_or(Key::lowest(), |entry| entry.key.after()))),
                // What stands before the entry before was not read.
                None => (span.below.as_ref(), None),
            }
        } else {
            (entries.first().or(span.above.as_ref()), Some(self.low.clone()))
        };
        let from = read.map_or(self.low.clone(), |read| read.key.after());
        let behind = Range { low: from, high: self.high.clone() };
        // A search for the last comes from behind.
        if (greatest || read.is_none()) && !behind.is_empty() {
            self.add(behind.clone(), Kind::Gap, EXTREME, Some(behind), intent);
        }
        if let Some(read) = read {
            let named = Range::entries(&read.key);
            let reach = below.map(|low| Range { low, high: named.high.clone() });
            self.add(named, Kind::NextKey, EXTREME, reach, intent);
            if self.locks_rows() {
                self.clustered(read, EXTREME, intent);
            }
        }
    }

    /// That an entry lies beyond the range a SELECT sees before it reads the row, unless it reads nothing but the
    /// index.
    fn locks_row_beyond(&self) -> bool {
        let select = matches!(self.search.statement, Statement::Select(_));
        let told = select && !self.search.covering(self.path) && !(self.backward && self.mariadb());
        self.locks_rows() && !told
    }
}

/// The part of a range that lies in another; a place in it if there is none.
fn clip(range: &Range, within: &Range) -> Range {
    let low = range.low.clone().max(within.low.clone());
    let high = range.high.clone().min(within.high.clone());
    if low < high { Range { low, high } } else { within.clone() }
}

#[cfg(test)]
#[path = "footprint_tests.rs"]
mod tests;
