//! Which index a search uses, and which part of it.
//!
//! Equality on all columns of a unique index is certain from the catalog alone: the optimizer takes no
//! other way to at most one row. For the rest the choice below is the usual one, and `Likely`.

use super::value;
use super::{Values, scalar};
use crate::catalog::{Index, Table};
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::range::Range;
use crate::sql::statement::{Condition, Predicate, Scalar, Test, Value};

/// Most points that one search is split into; a longer IN list becomes the range from its least to its
/// greatest value.
const MAX_POINTS: usize = 256;

/// The part of an index that a search reads.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// Position in the table's indexes.
    pub index: usize,
    /// What is read there.
    pub reads: Reads,
    /// How sure that is.
    pub certainty: Certainty,
}

/// What a search reads in its index.
#[derive(Clone, PartialEq, Debug)]
pub enum Reads {
    /// At most one entry for each of these ranges: equality on a full unique key.
    Unique(Vec<Range>),
    /// Entries that are equal in the leading columns.
    Equal(Vec<Range>),
    /// An interval.
    Interval(Range),
    /// Every entry.
    All,
}

/// The way that a search on `predicate` goes.
pub fn choose(table: &Table, predicate: &Predicate, values: &dyn Values) -> Path {
    let usable = |index: &&(usize, &Index)| index.1.btree && !index.1.parts.is_empty();
    let indexes: Vec<(usize, &Index)> = table.indexes.iter().enumerate().collect();
    for (at, index) in indexes.iter().filter(usable).filter(|(_, index)| index.unique) {
        if let Some((ranges, certainty)) = points(table, index, index.parts.len(), predicate, values) {
            return Path { index: *at, reads: Reads::Unique(ranges), certainty };
        }
    }
    let mut best: Option<(usize, Path)> = None;
    for (at, index) in indexes.iter().filter(usable) {
        let Some((score, reads)) = partial(table, index, predicate, values) else { continue };
        if best.as_ref().is_none_or(|(known, _)| score > *known) {
            best = Some((score, Path { index: *at, reads, certainty: Certainty::Likely }));
        }
    }
    best.map_or(Path { index: 0, reads: Reads::All, certainty: Certainty::Likely }, |(_, path)| path)
}

/// The best use of a part of an index, with a score: equalities count most, then a range.
fn partial(
    table: &Table,
    index: &Index,
    predicate: &Predicate,
    values: &dyn Values,
) -> Option<(usize, Reads)> {
    let equal = (0..index.parts.len())
        .take_while(|at| {
            condition(table, index, *at, predicate)
                .any(|c| matches!(c.test, Test::Eq(_) | Test::In(_) | Test::IsNull))
        })
        .count();
    for count in (1..=equal).rev() {
        if let Some((ranges, _)) = points(table, index, count, predicate, values) {
            return Some((2 * count + 1, Reads::Equal(ranges)));
        }
    }
    interval(table, index, predicate, values).map(|range| (1, Reads::Interval(range)))
}

/// The conditions on one part of an index.
fn condition<'a>(
    table: &'a Table,
    index: &Index,
    part: usize,
    predicate: &'a Predicate,
) -> impl Iterator<Item = &'a Condition> {
    let column = index.parts[part].column;
    predicate.conditions.iter().filter(move |c| column.is_some() && table.column(&c.column) == column)
}

/// The keys that equality on the first `count` parts allows, if there is equality on all of them.
fn points(
    table: &Table,
    index: &Index,
    count: usize,
    predicate: &Predicate,
    values: &dyn Values,
) -> Option<(Vec<Range>, Certainty)> {
    let mut keys = vec![Key::default()];
    let mut certainty = Certainty::Certain;
    for at in 0..count {
        let part = &index.parts[at];
        let column = &table.columns[part.column?];
        let full = count == index.parts.len() && index.unique;
        // A prefix says nothing of the rest of the value, and NULL may stand in a unique index many times.
        if full && part.prefix.is_some() {
            return None;
        }
        let wanted = condition(table, index, at, predicate).find_map(|c| equal_to(&c.test, values))?;
        if full && wanted.contains(&Value::Null) || keys.len() * wanted.len() > MAX_POINTS {
            return None;
        }
        let mut longer = Vec::with_capacity(keys.len() * wanted.len());
        for key in &keys {
            for value in &wanted {
                let mut key = key.clone();
                certainty = certainty.min(value::push(&mut key, column, part, value)?);
                longer.push(key);
            }
        }
        keys = longer;
    }
    keys.sort_unstable();
    keys.dedup();
    Some((keys.iter().map(Range::entries).collect(), certainty))
}

/// The values behind a key that [`choose`] has made from equalities: what a look at the server asks for.
pub fn values_of<'v>(
    table: &Table,
    index: &Index,
    predicate: &Predicate,
    values: &'v dyn Values,
    wanted: &Key,
) -> Option<Vec<Value<'v>>> {
    let (mut key, mut found) = (Key::default(), Vec::new());
    for at in 0..index.parts.len() {
        if key == *wanted {
            break;
        }
        let part = &index.parts[at];
        let column = &table.columns[part.column?];
        let allowed = condition(table, index, at, predicate).find_map(|c| equal_to(&c.test, values))?;
        // Bodies are self-delimiting: a part that fits the beginning of the key is the part.
        let (longer, value) = allowed.into_iter().find_map(|value| {
            let mut longer = key.clone();
            value::push(&mut longer, column, part, &value)?;
            wanted.starts_with(&longer).then_some((longer, value))
        })?;
        key = longer;
        found.push(value);
    }
    (key == *wanted).then_some(found)
}

/// The values that a test allows, if it is an equality.
fn equal_to<'v>(test: &Test, values: &'v dyn Values) -> Option<Vec<Value<'v>>> {
    match test {
        Test::Eq(wanted) => Some(vec![scalar(wanted, values, 0)?]),
        Test::IsNull => Some(vec![Value::Null]),
        Test::In(list) => {
            let mut wanted = Vec::new();
            for item in list {
                match item {
                    Scalar::ListSlot(slot) => wanted.extend(values.list(*slot)),
                    item => wanted.push(scalar(item, values, 0)?),
                }
            }
            (!wanted.is_empty() && !wanted.contains(&Value::Unknown)).then_some(wanted)
        }
        _ => None,
    }
}

/// The interval that conditions on the first part allow.
fn interval(table: &Table, index: &Index, predicate: &Predicate, values: &dyn Values) -> Option<Range> {
    let part = &index.parts[0];
    let column = &table.columns[part.column?];
    let key = |wanted: &Scalar| {
        let mut key = Key::default();
        value::push(&mut key, column, part, &scalar(wanted, values, 0)?).map(|_| key)
    };
    let mut range = Range::all();
    let mut bounded = false;
    for condition in condition(table, index, 0, predicate) {
        if let Some(wanted) = equal_to(&condition.test, values) {
            // Too many points to follow one by one: from the least to the greatest.
            let mut keys = Vec::with_capacity(wanted.len());
            for value in &wanted {
                let mut key = Key::default();
                value::push(&mut key, column, part, value)?;
                keys.push(key);
            }
            range.low = range.low.max(keys.iter().min()?.clone());
            range.high = range.high.min(keys.iter().max()?.after());
            bounded = true;
            continue;
        }
        let Test::Range { low, high } = &condition.test else { continue };
        let (low, high) = if part.descending { (high, low) } else { (low, high) };
        if let Some((wanted, included)) = low {
            let key = key(wanted)?;
            range.low = range.low.max(if *included { key } else { key.after() });
            bounded = true;
        }
        if let Some((wanted, included)) = high {
            let key = key(wanted)?;
            range.high = range.high.min(if *included { key.after() } else { key });
            bounded = true;
        }
    }
    bounded.then_some(range)
}
