//! What a search locks: locking reads, and the search part of UPDATE and DELETE.
//!
//! # Guess wide, look when it matters, then narrow
//!
//! The text does not tell which index the server takes, how far a range reads beyond its end, or which
//! clustered records lie behind the entries of a secondary index. So a statement is first noted *wide*:
//! whatever it may lock and nobody can tell yet is a request of certainty `Unknown`. Such a request costs a
//! tree entry; it keeps nobody back and is reported to nobody. Only when another statement runs into it the
//! server is asked (EXPLAIN, the entries of the range and their neighbours), once for each statement that
//! is met, and the wide requests are replaced by those of [`super::footprint`], which are exact. Without a
//! conflict nothing is ever asked; with one, a few milliseconds of a statement that would have waited anyway.
//!
//! The clustered records behind secondary entries ([`Kind::Clustered`]) show why that is cheap: two
//! statements through the same index meet at its entries, so only those that come by another way ask.
//!
//! | rule | reads | locks at REPEATABLE READ and above |
//! |---|---|---|
//! | `unique-lookup` | all columns of a unique index | the record, or the gap where it would be |
//! | `equal-entries` | leading columns of an index | next-key on the matches, the gap behind the last |
//! | `interval` | a range of an index | next-key on what is read |
//! | `beyond-range` | the entry behind a range | next-key there: secondary indexes, and MariaDB's primary key |
//! | `before-range` | the entry before a range that is read backward | next-key there; the record stays locked at READ COMMITTED as well |
//! | `clustered-record` | the row behind a secondary entry | the record |
//! | `full-scan` | every record | next-key on all of them, and the supremum |
//! | `one-end` | MIN, MAX: the first or last entry of a range | next-key there, and the gap behind a last one |
//! | `possible-path` | an index that the optimizer may choose | not known before it is asked |
//!
//! At READ COMMITTED and below the records alone. `+filter`: the rest of WHERE may reject what was read.

mod places;

use std::sync::Arc;

pub use places::{places, rivals};

use super::access_path::{self, Path, Way, alone};
use super::change::Change;
use super::footprint::{self, Search};
use super::known::{Known, Plan, SeenEntry, SeenSpan};
use super::{Context, Intent, Values, contradiction, planned_path, scalar, shortest_path};
use crate::catalog::{Flavour, Table, TableKind};
use crate::id::IndexId;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request, UNIQUE_LOOKUP};
use crate::sql::access::{Condition, RowLock, TableAccess, TableName, Test, WaitPolicy};
use crate::sql::statement::{Insert, Isolation, Rows, Select, Statement};
use crate::sql::value::Value;

/// Rule of the entry before a range that is read backward.
pub(super) const BEFORE_RANGE: &str = "before-range";

/// Finds definitions.
pub type Tables<'t> = &'t dyn Fn(&TableName) -> Option<Arc<Table>>;

/// A table that a statement searches with locks.
#[derive(Clone, Copy, Debug)]
pub struct Searched<'s> {
    /// Position in the statement's list of tables.
    pub access: usize,
    /// The table and what is asked of it.
    pub table: &'s TableAccess,
    /// The lock that the statement takes there.
    pub lock: RowLock,
    /// Which of the tables with the same alias it is.
    pub nth: usize,
    /// MariaDB's UPDATE and DELETE look for their rows without what a subquery gives.
    pub by_itself: bool,
    /// See [`Context::ranges_keys`].
    pub ranges_keys: bool,
}

/// The tables of a statement that it searches with locks, in text order.
pub fn searched<'s>(statement: &'s Statement, context: &Context) -> Vec<Searched<'s>> {
    let shared = RowLock { exclusive: false, wait: WaitPolicy::Wait };
    let serializable = context.isolation == Isolation::Serializable && context.in_transaction;
    let (tables, implied): (&[TableAccess], bool) = match statement {
        Statement::Select(select) => (&select.tables, serializable),
        // What a subquery reads is a consistent read for an UPDATE of one table at READ COMMITTED, else locked
        // shared (`ha_innobase::store_lock`, both servers); a joined table is locked at every level.
        Statement::Update(update) => {
            let several = update.tables.iter().filter(|table| !table.nested).count() > 1;
            (&update.tables, several || context.locks_gaps())
        }
        Statement::Delete(delete) => (&delete.tables, true),
        // What INSERT … SELECT and CREATE TABLE … SELECT read is locked shared, at READ COMMITTED only where
        // it says so itself.
        Statement::Insert(Insert { rows: Rows::Select(source), .. })
        | Statement::Ddl { source: Some(source), .. } => (&source.tables, context.locks_gaps()),
        // What a subquery among the values reads is locked shared at every level.
        Statement::Insert(insert) => (&insert.reads, true),
        _ => return Vec::new(),
    };
    let changes = matches!(statement, Statement::Update(_) | Statement::Delete(_));
    let mut found = Vec::new();
    for (access, table) in tables.iter().enumerate() {
        let joined = changes && !table.nested;
        let Some(lock) = table.lock.or((implied || joined).then_some(shared)) else { continue };
        let nth = tables[..access].iter().filter(|t| t.alias.eq_ignore_ascii_case(&table.alias)).count();
        let subquery =
            tables.iter().any(|other| other.nested) && tables.iter().filter(|t| !t.nested).count() == 1;
        let by_itself = joined && subquery && context.flavour == Flavour::MariaDb;
        let ranges_keys = joined && context.ranges_keys && tables.iter().filter(|t| !t.nested).count() == 1;
        found.push(Searched { access, table, lock, nth, by_itself, ranges_keys });
    }
    found
}

/// LIMIT 0: no row is looked for.
fn lets_nothing_through(statement: &Statement, values: &dyn Values) -> bool {
    let Statement::Select(Select { limit: Some(limit), .. }) = statement else { return false };
    scalar(limit, values, 0) == Some(Value::Int(0))
}

/// The requests of a statement's searches.
pub(super) fn searches(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    find: Tables<'_>,
    known: &Known,
    intent: &mut Intent,
) {
    intent.exact = known.asked;
    if known.plan.reads_nothing() || lets_nothing_through(statement, values) {
        return;
    }
    let mut all = searched(statement, context);
    // In the order in which the server reads them.
    all.sort_by_key(|searched| order(searched, statement, values, find, &known.plan));
    // What MIN or MAX in a subquery reads is read before there is a plan.
    all.sort_by_key(|searched| !(searched.table.nested && searched.table.extreme.is_some()));
    for searched in all {
        let Some(table) = find(&searched.table.table) else {
            intent.unknown = Some("table_not_loaded");
            continue;
        };
        if table.kind != TableKind::InnoDb {
            intent.unknown = intent.unknown.or((table.kind == TableKind::View).then_some("view"));
            continue;
        }
        intent.never_waits |= searched.lock.wait != WaitPolicy::Wait;
        let writes = matches!(statement, Statement::Update(_) | Statement::Delete(_));
        let changed = writes && searched.lock.exclusive && !searched.table.nested;
        intent.triggers |= changed && !table.triggers.is_empty();
        if contradiction::is_empty(&table, &searched.table.predicate, values, (context.flavour, writes)) {
            continue;
        }
        let mut paths = paths(&table, &searched, values, known, &said(statement, values));
        if matches!(statement, Statement::Update(_) | Statement::Delete(_)) {
            for path in paths.iter_mut().filter(|path| path.way != Way::Unique || path.spans.len() > 1) {
                if access_path::is_open(&table, &searched.table.predicate, values, path) {
                    path.certainty = path.certainty.min(Certainty::Likely);
                }
            }
        }
        let search = Search::new(statement, &searched, &table, context, paths.len());
        let first = intent.requests.len();
        let mut rows = Some(Vec::new());
        if paths.is_empty() {
            intent.needs_plan = true;
            let predicate = &searched.table.predicate;
            let mut guesses = access_path::guessed(&table, predicate, values, &alone);
            if guesses.is_empty() && access_path::names_unknown(&table, predicate, values) {
                guesses = planned_path::before_plan(&table, predicate, values, &alone);
            }
            wide(&search, &guesses, &planned_path::of_sides(&table, predicate, values), known, intent);
            (rows, intent.exact) = (None, false);
        }
        for (at, path) in paths.iter().enumerate() {
            match known.of(searched.access, at) {
                Some(seen) => {
                    footprint::exact(&search, path, seen, known, intent);
                    rows = rows.and_then(|rows| found(seen, rows));
                }
                None => {
                    planned(&search, path, known, intent);
                    (rows, intent.exact) = (None, false);
                }
            }
        }
        let change = Change::of(&search, &searched, values, known, find);
        if let Some(change) = change {
            changes(&search, &change, &paths, rows, first, intent);
        }
    }
}

/// When a table is read: in the order of the plan, and those that are not in it before, constant tables first.
pub fn order(
    searched: &Searched<'_>,
    statement: &Statement,
    values: &dyn Values,
    find: Tables<'_>,
    plan: &Plan,
) -> (usize, bool) {
    let place = plan.place(&searched.table.alias);
    let constant = place == 0
        && find(&searched.table.table).is_some_and(|table| {
            access_path::is_constant(&table, &searched.table.predicate, values, &said(statement, values))
        });
    (place, !constant)
}

/// The rows that a search has found, with those of its other paths. `None`: they were not read.
fn found<'s>(seen: &'s [SeenSpan], mut rows: Vec<&'s SeenEntry>) -> Option<Vec<&'s SeenEntry>> {
    if seen.iter().any(|span| span.unread) {
        return None;
    }
    for entry in seen.iter().flat_map(|span| &span.entries).filter(|entry| entry.matches) {
        if !rows.iter().any(|known| known.clustered == entry.clustered) {
            rows.push(entry);
        }
    }
    Some(rows)
}

/// What the statement does to the rows that it finds; the requests of its search are those from `first` on.
fn changes(
    search: &Search<'_>,
    change: &Change<'_>,
    paths: &[Path<'_>],
    mut rows: Option<Vec<&SeenEntry>>,
    first: usize,
    intent: &mut Intent,
) {
    // The search has locked the entries by which it came.
    let via = match paths {
        [path] => Some(path.index),
        _ => None,
    };
    let certainty = if search.nested || search.stops { Certainty::Likely } else { Certainty::Certain };
    // Where LIMIT ends the search, the rows behind that are not changed.
    let come_to = |entry: &&SeenEntry| {
        let of_index = |request: &&Request| Some(usize::from(request.index.index)) == via;
        let mut asked = intent.requests[first..].iter().filter(of_index);
        asked.any(|request| request.kind.records() && request.range.contains(&entry.key))
    };
    if let (Some(rows), true, true) = (&mut rows, search.stops, via.is_some()) {
        rows.retain(|row| come_to(row));
    }
    match (rows, via) {
        (None, _) => change.wide(via, intent),
        (Some(rows), Some(at)) if change.goes_with_search(at) => {
            as_it_goes(change, &rows, at, certainty, first, intent);
        }
        (Some(rows), _) => {
            change.exact(&rows, via, certainty, intent);
        }
    }
}

/// A row is changed before the next one is looked for.
fn as_it_goes(
    change: &Change<'_>,
    rows: &[&SeenEntry],
    via: usize,
    mut certainty: Certainty,
    first: usize,
    intent: &mut Intent,
) {
    intent.reaches.resize(intent.requests.len(), None);
    let search: Vec<_> = intent.requests.drain(first..).zip(intent.reaches.drain(first..)).collect();
    let mut search = search.into_iter().peekable();
    let mut left: Vec<&SeenEntry> = rows.to_vec();
    while let Some((request, reach)) = search.next() {
        let own = usize::from(request.index.index) == via;
        intent.add(request, reach);
        // The row behind an entry comes right behind it.
        if search.peek().is_some_and(|(next, _)| usize::from(next.index.index) != via) {
            continue;
        }
        let done = intent.requests.iter().rev().find(|request| usize::from(request.index.index) == via);
        let Some(place) = done.filter(|_| own || via != 0).map(|request| request.range.clone()) else {
            continue;
        };
        let at = left.iter().position(|entry| place.contains(&entry.key));
        let Some(entry) = at.map(|at| left.remove(at)) else { continue };
        if !change.entry(entry, Some(via), &mut certainty, intent) {
            return;
        }
    }
    for entry in left {
        if !change.entry(entry, Some(via), &mut certainty, intent) {
            return;
        }
    }
}

/// What the statement itself says that a column of one of its tables is equal to.
pub fn said<'v>(
    statement: &'v Statement,
    values: &'v dyn Values,
) -> impl Fn(&str, &str) -> Option<Vec<Value<'v>>> {
    let accesses = statement.accesses();
    move |alias, column| {
        let access = accesses.iter().find(|access| access.alias.eq_ignore_ascii_case(alias))?;
        Some(vec![scalar(access.predicate.equal(column)?, values, 0)?])
    }
}

/// The ways that a search goes. Empty: only guesses are possible.
pub fn paths<'v>(
    table: &Table,
    searched: &Searched<'_>,
    values: &'v dyn Values,
    known: &Known,
    joined: access_path::Joined<'_, 'v>,
) -> Vec<Path<'v>> {
    let predicate = &searched.table.predicate;
    let of_other = |condition: &Condition| matches!(condition.test, Test::EqColumn(..));
    if searched.by_itself && predicate.conditions.iter().any(of_other) {
        let guess = access_path::guessed(table, predicate, values, &alone).into_iter().next();
        return vec![guess.unwrap_or_else(|| Path::all(0, Certainty::Likely))];
    }
    // It is read before rows that are found by a whole key.
    if let Some(path) = access_path::extreme(table, searched.table, values, joined) {
        return vec![path];
    }
    // A list of keys may be looked for in a scan.
    if let Some(path) =
        access_path::unique(table, predicate, values, joined).filter(|path| path.spans.len() == 1)
    {
        if !searched.ranges_keys || predicate.conditions.len() < 2 {
            return vec![path];
        }
        return shortest_path::shortest(table, predicate, values, known, path).into_iter().collect();
    }
    match known.plan.step(&searched.table.alias, searched.nth) {
        Some(step) => planned_path::planned(table, predicate, values, joined, step),
        None if known.plan.found_none(&searched.table.alias, searched.nth) => vec![Path::nowhere(0)],
        None if matches!(known.plan, Plan::Steps(_)) => {
            planned_path::before_plan(table, predicate, values, joined)
        }
        None => Vec::new(),
    }
}

/// The requests of a search whose path is known, but not what it finds there.
fn planned(search: &Search<'_>, path: &Path<'_>, known: &Known, intent: &mut Intent) {
    let limited = search.stops && !known.asked;
    if path.extreme.is_some() {
        // Which entry stands at the end only the server knows.
        let kind = if search.context.locks_gaps() { Kind::NextKey } else { Kind::Record };
        let anywhere = search.request(path.index, Range::all(), kind, Certainty::Unknown, footprint::EXTREME);
        intent.add(anywhere, None);
        if path.index != 0 && search.mode == Mode::X {
            clustered(search, path.index, intent);
        }
        return;
    }
    on_index(search, path, limited, intent);
    let gaps = search.context.locks_gaps();
    let secondary = path.index != 0;
    let mariadb = search.context.flavour == Flavour::MariaDb;
    // At READ COMMITTED only an UPDATE of the clustered index passes over what lies beyond without asking.
    let update = matches!(search.statement, Statement::Update(_));
    let reads_on = secondary || if gaps { mariadb } else { !update };
    // Read backward, the entry before the range is the one beyond it, in every index.
    let backward = path.way != Way::Unique && search.backward(path, known);
    let beyond = path.way == Way::Interval && (reads_on || backward && gaps);
    let beyond = beyond || path.way == Way::Equal && backward && (secondary || gaps);
    if beyond && let Some(ranges) = path.ranges(search.table) {
        for (range, _) in ranges {
            let kind = if gaps { Kind::NextKey } else { Kind::Record };
            let (range, rule) = match backward {
                true => (Range { low: Key::lowest(), high: range.low }, BEFORE_RANGE),
                false => (Range { low: range.high, high: Range::all().high }, "beyond-range"),
            };
            intent.add(search.request(path.index, range, kind, Certainty::Unknown, rule), None);
        }
    }
    if secondary && (search.mode == Mode::X || !search.covering(path)) {
        clustered(search, path.index, intent);
    }
}

/// The requests in the index itself.
fn on_index(search: &Search<'_>, path: &Path<'_>, limited: bool, intent: &mut Intent) {
    let gaps = search.context.locks_gaps();
    let scanned = if gaps { Kind::NextKey } else { Kind::Record };
    let (kind, rule) = match (path.way, path.covers) {
        (Way::Unique, true) => (if gaps { Kind::RecordOrGap } else { Kind::Record }, UNIQUE_LOOKUP),
        (Way::Unique, false) => (if gaps { Kind::RecordOrGap } else { Kind::Record }, "unique-lookup+filter"),
        (Way::Equal, true) => (scanned, "equal-entries"),
        (Way::Equal, false) => (scanned, "equal-entries+filter"),
        (Way::Interval, true) => (scanned, "interval"),
        (Way::Interval, false) => (scanned, "interval+filter"),
        (Way::All, _) => (scanned, "full-scan"),
    };
    // LIMIT ends a search early, but not before its first lookup.
    let ended = limited && (path.way != Way::Unique || path.spans.len() > 1);
    let loose = search.nested || ended || (!gaps && path.way != Way::Unique);
    let most = if loose { path.certainty.min(Certainty::Likely) } else { path.certainty };
    match path.ranges(search.table) {
        Some(ranges) => {
            for (range, certainty) in ranges {
                let certainty = certainty.min(most);
                intent.add(search.request(path.index, range, kind, certainty, rule), None);
            }
        }
        // The index is used in a way that the model cannot follow: anywhere in it.
        None => {
            let request = search.request(path.index, Range::all(), scanned, Certainty::Unknown, rule);
            intent.add(request, None);
        }
    }
}

/// The clustered records behind the entries of an index: which ones is not known.
fn clustered(search: &Search<'_>, via: usize, intent: &mut Intent) {
    let kind = Kind::Clustered { via: via as u16 };
    intent.add(search.request(0, Range::all(), kind, Certainty::Unknown, "clustered-record"), None);
}

/// The requests of a search whose path only the server knows: the usual choice as likely, and whatever else
/// it may be as unknown.
fn wide(search: &Search<'_>, guesses: &[Path<'_>], sides: &[Path<'_>], known: &Known, intent: &mut Intent) {
    let scan = Path::all(0, Certainty::Likely);
    let first = guesses.first().unwrap_or(&scan);
    planned(search, first, known, intent);
    if matches!(known.plan, Plan::Unavailable) {
        return;
    }
    let kind = if search.context.locks_gaps() { Kind::NextKey } else { Kind::Record };
    let mut maybe = |index: usize, range: Range| {
        intent.add(search.request(index, range, kind, Certainty::Unknown, "possible-path"), None);
    };
    for path in guesses.iter().skip(1).chain(sides.iter().filter(|path| path.index != first.index)) {
        for (range, _) in path.ranges(search.table).unwrap_or_default() {
            maybe(path.index, range);
        }
    }
    // A SELECT that finds all it reads in the entries of an index may go through all of them.
    let guessed = |at: &usize| guesses.iter().any(|path| path.index == *at);
    let covers =
        |at: &usize| search.table.indexes[*at].btree && is_covering(search.access, search.table, *at);
    for at in (1..search.table.indexes.len()).filter(|at| !guessed(at) && covers(at)) {
        maybe(at, Range::all());
    }
    if first.way != Way::All {
        maybe(0, Range::all());
    }
}

/// Is all that a query block reads of its only table in the entries of the index?
pub(super) fn is_covering(access: &TableAccess, table: &Table, index: usize) -> bool {
    let Some(columns) = &access.columns else { return false };
    columns.iter().all(|column| is_held(table, index, column)) && is_told(access, table, index)
}

/// Does an entry of the index, with the clustered key behind it, tell whether its row meets the whole condition?
pub(super) fn is_told(access: &TableAccess, table: &Table, index: usize) -> bool {
    access.predicate.exact && access.predicate.conditions.iter().all(|c| is_held(table, index, &c.column))
}

/// Is the whole column in the entries of the index?
fn is_held(table: &Table, index: usize, column: &str) -> bool {
    let mut parts = table.indexes[index].parts.iter().chain(&table.indexes[0].parts);
    table.column(column).is_some_and(|c| parts.any(|part| part.column == Some(c) && part.prefix.is_none()))
}

/// The index of a table.
pub(super) fn index_id(table: &Table, index: usize) -> IndexId {
    IndexId { table: table.id, index: index as u16 }
}

/// A request's mode.
pub(super) fn mode(lock: RowLock) -> Mode {
    if lock.exclusive { Mode::X } else { Mode::S }
}

/// The request, as all rules make it.
pub(super) fn request(
    table: &Table,
    index: usize,
    mode: Mode,
    range: Range,
    kind: Kind,
    certainty: Certainty,
    rule: &'static str,
) -> Request {
    let certainty = if table.partitioned { certainty.min(Certainty::Likely) } else { certainty };
    Request { index: index_id(table, index), mode, range, kind, certainty, rule }
}
