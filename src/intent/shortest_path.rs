//! The way to one row where several indexes lead to it, for MariaDB's UPDATE and DELETE of one table.
//!
//! There a full unique key is not looked up before there is a plan: it is a range like any other, and of those that are
//! expected to give one row the shortest is read, the primary key last. So `WHERE id = 7 AND tenant = 3` goes by an
//! index on `tenant`, whose entries end with `id`, and locks an entry and the gap beside it there.
//!
//! Observed on MariaDB 10.11, in tables of three and of three thousand rows. MySQL takes the primary key, then the first
//! unique index; MariaDB 11 has another cost model.

use std::sync::Arc;

use super::Values;
use super::access_path::{Path, Span, Way, alone, equal_to, read, usable};
use super::foreign_key::Place;
use super::known::Known;
use crate::catalog::{Column, Family, Index, KeyPart, Table};
use crate::lock::mode::Certainty;
use crate::sql::access::Predicate;
use crate::sql::value::Value;

/// The way that is taken: `path`, which goes by a full unique key, or a shorter one. `None`: that is open before a look.
pub(super) fn shortest<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    known: &Known,
    path: Path<'v>,
) -> Option<Path<'v>> {
    let rivals = rivals(table, predicate, values, &path);
    if !known.asked && !rivals.is_empty() {
        return None;
    }
    let sure = (1..table.indexes.len()).filter_map(|at| one_row(table, at, predicate, values));
    let few = rivals.into_iter().filter(|(_, rival)| {
        let key = rival.ranges(table).and_then(|ranges| Some(ranges.first()?.0.low.clone()));
        let span = key.and_then(|key| known.place(table.id, rival.index, &key));
        span.is_some_and(|span| span.entries.len() < 2 && !span.unread)
    });
    // Of equals the first.
    let best = sure.chain(few).min_by_key(|(bytes, best)| (*bytes, best.index)).map(|(_, best)| best);
    Some(best.filter(|best| best.index != path.index).unwrap_or(path))
}

/// Parts of other indexes that may hold one row too, and then may be read instead; each with its length.
fn rivals<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    path: &Path<'v>,
) -> Vec<(usize, Path<'v>)> {
    let others = (0..table.indexes.len()).filter(|at| *at != path.index && usable(&table.indexes[*at]));
    let open = others.filter(|at| *at == 0 || one_row(table, *at, predicate, values).is_none());
    let read = open.filter_map(|at| read(table, at, predicate, values, &alone, usize::MAX));
    let equal = read.filter(|way| way.way == Way::Equal && way.spans.len() == 1);
    let measured = equal.map(|way| {
        let parts = table.indexes[way.index].parts.iter().take(way.spans[0].equal.len());
        (parts.filter_map(|part| Some(bytes_of(&table.columns[part.column?]))).sum(), way)
    });
    measured.collect()
}

/// The same as places to ask about.
pub(super) fn places<'v>(
    table: &Arc<Table>,
    predicate: &Predicate,
    values: &'v dyn Values,
    path: &Path<'v>,
) -> Vec<Place> {
    let place = |(_, rival): (usize, Path<'v>)| {
        let (range, certainty) = rival.ranges(table)?.into_iter().next()?;
        let values = rival.spans.first()?.equal.iter().map(Value::outliving).collect();
        Some(Place { table: table.clone(), index: rival.index, key: Some(range.low), values, certainty })
    };
    rivals(table, predicate, values, path).into_iter().filter_map(place).collect()
}

/// The one entry of a secondary index that equalities name, and how many bytes of it they are, about.
fn one_row<'v>(
    table: &Table,
    at: usize,
    predicate: &Predicate,
    values: &'v dyn Values,
) -> Option<(usize, Path<'v>)> {
    let index = Some(&table.indexes[at]).filter(|index| usable(index))?;
    let parts = if index.unique { index.parts.iter().collect() } else { entry_parts(table, index)? };
    let mut span = Span::default();
    let mut bytes = 0;
    for part in &parts {
        let column = part.column.filter(|_| part.prefix.is_none())?;
        let mut named = predicate.conditions.iter().filter(|c| table.column(&c.column) == Some(column));
        let wanted = named.find_map(|condition| equal_to(&condition.test, values, &alone))?;
        let [wanted] = wanted.as_slice() else { return None };
        if *wanted == Value::Null {
            return None;
        }
        span.equal.push(wanted.clone());
        bytes += bytes_of(&table.columns[column]);
    }
    let way = if index.unique { Way::Unique } else { Way::Equal };
    let covers = predicate.exact && predicate.conditions.len() == parts.len();
    let (spans, certainty) = (vec![span], Certainty::Likely);
    Some((bytes, Path { way, spans, covers, ..Path::all(at, certainty) }))
}

/// The parts of an index's entries, each column once. `None`: the row has no key of its own, or a column that comes again
/// is not the last.
fn entry_parts<'t>(table: &'t Table, index: &'t Index) -> Option<Vec<&'t KeyPart>> {
    let clustered = table.indexes.first().filter(|clustered| !clustered.parts.is_empty())?;
    let all: Vec<&KeyPart> = index.parts.iter().chain(&clustered.parts).collect();
    let again = |at: usize| all[..at].iter().any(|part| part.column == all[at].column);
    let once = (0..all.len()).find(|at| again(*at)).unwrap_or(all.len());
    (once..all.len()).all(again).then(|| all[..once].to_vec())
}

/// About so long is a column in a key; its declared length is not known.
fn bytes_of(column: &Column) -> usize {
    let value = match column.family {
        Family::Text(_) | Family::Binary(_) => 22,
        Family::Integer => 4,
        _ => 8,
    };
    value + usize::from(column.nullable)
}

#[cfg(test)]
mod tests {
    use crate::catalog::Flavour;
    use crate::intent::Context;
    use crate::intent::known::Known;
    use crate::intent::test_support::{REPEATABLE_READ, requests, table, words};

    fn locks(context: &Context, condition: &str) -> Vec<String> {
        let tables = [table()];
        let (_, requests) =
            requests(&tables, context, &Known::default(), &format!("UPDATE t SET n = 0 WHERE {condition}"));
        words(&tables, &requests)
    }

    #[test]
    fn the_primary_key_comes_last() {
        let mariadb = Context { flavour: Flavour::MariaDb, ranges_keys: true, ..REPEATABLE_READ };
        let first = |context: &Context, condition: &str| locks(context, condition)[0].clone();
        assert_eq!(first(&mariadb, "id = 7 AND k = 3"), "equal-entries X next-key of t.k at 3, 7 (likely)");
        assert_eq!(
            first(&mariadb, "id = 7 AND k = 3 AND u = 5"),
            "unique-lookup+filter X record or gap of t.u at 5 (likely)"
        );
        assert!(first(&mariadb, "id = 7 AND n = 3").contains("of t.PRIMARY at 7 (certain)"));
        assert!(
            first(&mariadb, "id = 7 AND k IS NULL").contains("of t.PRIMARY at 7 (likely)"),
            "k is counted"
        );
        assert!(first(&REPEATABLE_READ, "id = 7 AND k = 3").contains("of t.PRIMARY at 7 (certain)"));
    }
}
