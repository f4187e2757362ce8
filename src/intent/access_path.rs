//! Which index a search uses, and which part of it.
//!
//! Equality on all columns of a unique index is certain from the catalog alone: the optimizer takes no
//! other way to at most one row. For the rest the server is asked once (`planned_path`).
//! Until its answer is there the usual choice is guessed, and what else it might be is marked as unknown.

use std::borrow::Cow;

use super::value;
use super::{Values, scalar};
use crate::catalog::{Index, KeyPart, Table};
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::sql::access::{Condition, Predicate, TableAccess, Test};
use crate::sql::value::{Scalar, Value};

/// Most points that one search is split into; a longer IN list becomes the range from its least to its
/// greatest value.
pub(super) const MAX_POINTS: usize = 256;

/// The part of an index that a search reads.
#[derive(Clone, PartialEq, Debug)]
pub struct Path<'v> {
    /// Position in the table's indexes.
    pub index: usize,
    /// How it is read.
    pub way: Way,
    /// What is read there.
    pub spans: Vec<Span<'v>>,
    /// The spans say all that the predicate says: a row in them is a row that is found.
    pub covers: bool,
    /// How sure the choice of the index is.
    pub certainty: Certainty,
    /// Read from its end.
    pub backward: bool,
    /// Nothing but the index is read.
    pub covering: bool,
    /// Only the first entry is read, or (true) the last: MIN and MAX.
    pub extreme: Option<bool>,
}

/// How a search reads its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// At most one entry for each span: equality on a full unique key.
    Unique,
    /// Entries that are equal in the leading columns.
    Equal,
    /// An interval.
    Interval,
    /// Every entry.
    All,
}

/// A contiguous part of an index: equality on the leading parts, then perhaps a range on the next.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Span<'v> {
    /// What the leading parts are equal to.
    pub equal: Vec<Value<'v>>,
    /// Lower bound of the next part, and whether it is included.
    pub low: Option<(Value<'v>, bool)>,
    /// Upper bound.
    pub high: Option<(Value<'v>, bool)>,
    /// A pattern that the next part matches, `abc%`.
    pub like: Option<Value<'v>>,
}

/// Values of other tables of the statement that were read already, by alias and column.
pub type Joined<'j, 'v> = &'j dyn Fn(&str, &str) -> Option<Vec<Value<'v>>>;

/// No other table has been read.
pub fn alone<'v>(_alias: &str, _column: &str) -> Option<Vec<Value<'v>>> {
    None
}

/// The way by a full unique key, which needs no plan.
pub fn unique<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Option<Path<'v>> {
    let indexes = table.indexes.iter().enumerate().filter(|(_, index)| index.unique && usable(index));
    indexes
        .filter_map(|(at, _)| read(table, at, predicate, values, joined, usize::MAX))
        .find(|path| path.way == Way::Unique && path.ranges(table).is_some())
        .map(|path| Path { certainty: Certainty::Certain, ..path })
}

/// Is the table read before all others of its query block (a constant table)? At most one row of it can be meant, by
/// what the statement itself says.
pub fn is_constant<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    said: Joined<'_, 'v>,
) -> bool {
    unique(table, predicate, values, said).is_some_and(|path| path.spans.len() == 1)
}

/// The way to the least or greatest value of a column, which needs no plan either: an index in which it follows what
/// is compared for equality. The server reads one entry there, before it makes a plan (manual, "Optimizing …
/// MIN() and MAX()").
pub fn extreme<'v>(
    table: &Table,
    access: &TableAccess,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Option<Path<'v>> {
    let predicate = &access.predicate;
    let wanted = access.extreme.as_ref().filter(|_| predicate.exact)?;
    let column = table.column(&wanted.column)?;
    let indexes = table.indexes.iter().enumerate().filter(|(_, index)| usable(index));
    let mut paths = indexes.filter_map(|(at, index)| {
        // An entry ends with the clustered key.
        let rest: &[KeyPart] = if at == 0 { &[] } else { &table.indexes[0].parts };
        let mut parts = index.parts.iter().chain(rest);
        let depth = parts.position(|part| part.column == Some(column) && part.prefix.is_none())?;
        let descending = index.parts.iter().chain(rest).nth(depth)?.descending;
        let path = match predicate.conditions.as_slice() {
            [] => Path { covers: true, ..Path::all(at, Certainty::Certain) },
            _ => read(table, at, predicate, values, joined, usize::MAX)?,
        };
        let [span] = path.spans.as_slice() else { return None };
        // The column itself may be compared for equality.
        let fits = path.covers && [depth, depth + 1].contains(&span.equal.len()) && span.like.is_none();
        let greatest = wanted.greatest != descending;
        fits.then_some(Path {
            certainty: Certainty::Certain,
            covering: true,
            extreme: Some(greatest),
            ..path
        })
    });
    paths.next()
}

/// Can the search go several ways? An UPDATE or DELETE need not go the way of the SELECT that was explained.
pub fn is_open(table: &Table, predicate: &Predicate, values: &dyn Values, path: &Path<'_>) -> bool {
    let ways = guessed(table, predicate, values, &alone);
    // An equality is taken before a range.
    let rivals = |way: &&Path<'_>| way.way != Way::Interval || path.way != Way::Equal;
    let others = ways.iter().filter(rivals).any(|way| way.index != path.index);
    others || path.way == Way::All && (!ways.is_empty() || !predicate.exact && table.indexes.len() > 1)
}

/// The usual choice, first, and all other indexes that the search could use.
pub fn guessed<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Vec<Path<'v>> {
    let indexes = table.indexes.iter().enumerate().filter(|(_, index)| usable(index));
    let mut paths: Vec<Path<'v>> =
        indexes.filter_map(|(at, _)| read(table, at, predicate, values, joined, usize::MAX)).collect();
    // Equalities count most, then a range.
    let score = |path: &Path<'_>| {
        let equal = path.spans.first().map_or(0, |span| span.equal.len());
        2 * equal + usize::from(path.way != Way::Interval)
    };
    paths.sort_by_key(|path| std::cmp::Reverse(score(path)));
    paths
}

/// Is the first column of some index compared with a value that is not known? It is looked for there, and not in all rows.
pub fn names_unknown(table: &Table, predicate: &Predicate, values: &dyn Values) -> bool {
    let indexes = table.indexes.iter().filter(|index| usable(index));
    let mut first = indexes.flat_map(|index| conditions(table, index, 0, predicate));
    first.any(|c| matches!(&c.test, Test::Eq(value) if scalar(value, values, 0).is_none()))
}

/// Can the model follow searches in this index?
pub(super) fn usable(index: &Index) -> bool {
    index.btree && !index.parts.is_empty()
}

/// The part of an index that the predicate allows, by at most `parts` leading equalities. `None`: all of it.
pub(super) fn read<'v>(
    table: &Table,
    at: usize,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
    parts: usize,
) -> Option<Path<'v>> {
    let index = &table.indexes[at];
    let mut spans = vec![Span::default()];
    let (mut used, mut whole, mut null) = (0, true, false);
    let mut depth = 0;
    while depth < index.parts.len().min(parts) {
        let conditions = || conditions(table, index, depth, predicate);
        let Some(wanted) = conditions().find_map(|c| equal_to(&c.test, values, joined)) else { break };
        // The other table gives no row: nothing is looked for here.
        if wanted.is_empty() {
            return Some(Path::nowhere(at));
        }
        if spans.len() * wanted.len() > MAX_POINTS {
            break;
        }
        used += 1;
        null |= wanted.contains(&Value::Null);
        // A prefix says nothing of the rest of the value.
        whole &= index.parts[depth].prefix.is_none();
        spans = longer(&spans, &wanted);
        depth += 1;
        if !whole {
            break;
        }
    }
    // NULL may stand in a unique index many times.
    let unique = index.unique && depth == index.parts.len() && whole && !null;
    let mut ranged = false;
    if parts == usize::MAX && whole && depth < index.parts.len() {
        for condition in conditions(table, index, depth, predicate) {
            let Some(range) = range_of(&condition.test, values, joined) else { continue };
            used += 1;
            ranged = true;
            for span in &mut spans {
                span.low = range.low.clone().or(span.low.take());
                span.high = range.high.clone().or(span.high.take());
                span.like = range.like.clone().or(span.like.take());
            }
        }
    }
    if depth == 0 && !ranged {
        return None;
    }
    let spans = in_order(table, index, spans);
    let way = match () {
        () if unique => Way::Unique,
        () if ranged => Way::Interval,
        () => Way::Equal,
    };
    // Nor does a range of prefixes.
    let heads = ranged && index.parts[depth].prefix.is_some();
    let covers = predicate.exact && used == predicate.conditions.len() && whole && !heads;
    let certainty = Certainty::Likely;
    Some(Path { index: at, way, spans, covers, certainty, ..Path::all(at, certainty) })
}

/// The spans, each with each of these values for its next part.
pub(super) fn longer<'v>(spans: &[Span<'v>], wanted: &[Value<'v>]) -> Vec<Span<'v>> {
    let with = |span: &Span<'v>, value: &Value<'v>| {
        let mut span = span.clone();
        span.equal.push(value.clone());
        span
    };
    spans.iter().flat_map(|span| wanted.iter().map(move |value| with(span, value))).collect()
}

/// The spans in the order in which the server reads them, each once: that of the index, whatever the text says.
pub(super) fn in_order<'v>(table: &Table, index: &Index, spans: Vec<Span<'v>>) -> Vec<Span<'v>> {
    if spans.len() < 2 {
        return spans;
    }
    let ranges: Option<Vec<Range>> = spans.iter().map(|span| Some(span.range(table, index)?.0)).collect();
    let Some(ranges) = ranges else { return spans };
    if ranges.is_sorted_by(|a, b| a.low < b.low) {
        return spans;
    }
    let mut pairs: Vec<(Range, Span<'v>)> = ranges.into_iter().zip(spans).collect();
    pairs.sort_by(|(a, _), (b, _)| a.low.cmp(&b.low));
    pairs.dedup_by(|(later, _), (first, _)| later == first);
    pairs.into_iter().map(|(_, span)| span).collect()
}

/// The conditions on one part of an index.
pub(super) fn conditions<'a>(
    table: &'a Table,
    index: &Index,
    part: usize,
    predicate: &'a Predicate,
) -> impl Iterator<Item = &'a Condition> + use<'a> {
    let column = index.parts[part].column;
    predicate.conditions.iter().filter(move |c| column.is_some() && table.column(&c.column) == column)
}

/// The values that a test allows, if it is an equality.
pub(super) fn equal_to<'v>(
    test: &Test,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Option<Vec<Value<'v>>> {
    match test {
        // An interval of one value is read as an equality.
        Test::Range { low: Some((low, true)), high: Some((high, true)) } => {
            let (low, high) = (scalar(low, values, 0)?, scalar(high, values, 0)?);
            (low == high && low != Value::Null).then(|| vec![low])
        }
        Test::Eq(wanted) => Some(vec![scalar(wanted, values, 0)?]),
        Test::IsNull => Some(vec![Value::Null]),
        Test::EqColumn(alias, column) => joined(alias, column),
        Test::In(list) => {
            let mut wanted = Vec::new();
            for item in list {
                match item {
                    Scalar::ListSlot(slot) => wanted.extend(values.list(*slot)),
                    item => wanted.push(scalar(item, values, 0)?),
                }
            }
            // `x IN (1, NULL)` finds no NULL.
            wanted.retain(|value| *value != Value::Null);
            (!wanted.is_empty() && !wanted.contains(&Value::Unknown)).then_some(wanted)
        }
        _ => None,
    }
}

/// The range that a test allows, if it is one.
fn range_of<'v>(test: &Test, values: &'v dyn Values, joined: Joined<'_, 'v>) -> Option<Span<'v>> {
    let bound = |side: &Option<(Scalar, bool)>| match side {
        Some((wanted, included)) => Some(Some((scalar(wanted, values, 0)?, *included))),
        None => Some(None),
    };
    match test {
        Test::Range { low, high } => Some(Span { low: bound(low)?, high: bound(high)?, ..Span::default() }),
        Test::Like(pattern) => {
            let pattern = scalar(pattern, values, 0)?;
            let Value::Text(text) = &pattern else { return None };
            match text.first() {
                None | Some(b'%' | b'_') => None,
                Some(_) => Some(Span { like: Some(pattern), ..Span::default() }),
            }
        }
        // Too many points to follow one by one: from the least to the greatest.
        Test::In(_) => {
            let wanted = equal_to(test, values, joined)?;
            let order = |a: &&Value<'v>, b: &&Value<'v>| match (a, b) {
                (Value::Int(a), Value::Int(b)) => a.cmp(b),
                (Value::Text(a), Value::Text(b)) => a.cmp(b),
                _ => std::cmp::Ordering::Equal,
            };
            let (low, high) = (wanted.iter().min_by(order)?, wanted.iter().max_by(order)?);
            let ends = [low, high].map(|end| Some((end.clone(), true)));
            let [low, high] = ends;
            Some(Span { low, high, ..Span::default() })
        }
        _ => None,
    }
}

// === impl Path ===

impl<'v> Path<'v> {
    /// The whole of an index.
    pub fn all(index: usize, certainty: Certainty) -> Path<'v> {
        let spans = vec![Span::default()];
        Path {
            index,
            way: Way::All,
            spans,
            covers: false,
            certainty,
            backward: false,
            covering: false,
            extreme: None,
        }
    }

    /// It is a lookup by values that are not known.
    pub fn is_unresolved(&self) -> bool {
        self.certainty == Certainty::Unknown && matches!(self.way, Way::Unique | Way::Equal)
    }

    /// Nothing is looked for in the index.
    pub fn nowhere(index: usize) -> Path<'v> {
        Path { way: Way::Equal, spans: Vec::new(), ..Path::all(index, Certainty::Likely) }
    }

    /// The spans as ranges of keys, with the certainty of the comparison. `None`: some value does not
    /// compare in a way that is modelled.
    pub fn ranges(&self, table: &Table) -> Option<Vec<(Range, Certainty)>> {
        self.spans.iter().map(|span| span.range(table, &table.indexes[self.index])).collect()
    }
}

// === impl Span ===

impl Span<'_> {
    /// The range of keys of this span in an index.
    pub fn range(&self, table: &Table, index: &Index) -> Option<(Range, Certainty)> {
        let (mut prefix, mut certainty) = (Key::default(), Certainty::Certain);
        // An entry ends with the clustered key.
        let behind = table.indexes.first().filter(|clustered| !std::ptr::eq(*clustered, index));
        let parts = index.parts.iter().chain(behind.into_iter().flat_map(|clustered| &clustered.parts));
        for (value, part) in self.equal.iter().zip(parts) {
            let column = &table.columns[part.column?];
            certainty = certainty.min(value::push(&mut prefix, column, part, value)?);
        }
        let mut range = if prefix.is_lowest() { Range::all() } else { Range::entries(&prefix) };
        let Some(part) = index.parts.get(self.equal.len()) else { return Some((range, certainty)) };
        let mut end = |value: &Value<'_>| {
            let mut key = prefix.clone();
            let column = &table.columns[part.column?];
            certainty = certainty.min(value::push(&mut key, column, part, value)?);
            Some(key)
        };
        // A prefix of a value may be equal where the value is not: the bound belongs to the range.
        let open = part.prefix.is_some();
        let (low, high) = if part.descending { (&self.high, &self.low) } else { (&self.low, &self.high) };
        if let Some((value, included)) = low {
            let key = end(value)?;
            range.low = if *included || open { key } else { key.after() };
        }
        if let Some((value, included)) = high {
            let key = end(value)?;
            range.high = if *included || open { key.after() } else { key };
        }
        if let (None, Some(_), false) = (low, high, part.descending) {
            // NULL is below every value and in no range.
            let mut null = prefix.clone();
            null.push_null(false);
            range.low = null.after();
        }
        if let Some(pattern) = &self.like {
            let column = &table.columns[part.column?];
            let mut key = prefix.clone();
            certainty = certainty.min(value::push_like(&mut key, column, part, pattern)?);
            range = Range::entries(&key);
        }
        Some((range, certainty))
    }

    /// Does it say nothing but equality on so many parts?
    pub fn is_point(&self, parts: usize) -> bool {
        self.equal.len() >= parts && self.low.is_none() && self.high.is_none() && self.like.is_none()
    }
}

/// The values behind a key that a search has made from equalities: what a look at the server asks for.
pub fn values_of<'v>(
    table: &Table,
    index: &Index,
    predicate: &Predicate,
    values: &'v dyn Values,
    wanted: &Key,
) -> Option<Vec<Value<'v>>> {
    let at = table.indexes.iter().position(|known| std::ptr::eq(known, index))?;
    let path = read(table, at, predicate, values, &alone, usize::MAX)?;
    path.spans.into_iter().find_map(|span| {
        let point = span.is_point(0);
        let (range, _) = span.range(table, index)?;
        (point && range.low == *wanted).then_some(span.equal)
    })
}

/// The text before the first wildcard of a LIKE pattern, and whether there is one.
pub fn like_head(pattern: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let mut head = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'%' | b'_' => return (head.into(), true),
            b'\\' => head.extend(bytes.next()),
            byte => head.push(byte),
        }
    }
    (head.into(), false)
}
