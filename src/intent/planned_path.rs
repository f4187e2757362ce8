//! The index that the server says it uses ([`PlanStep`], a row of its EXPLAIN), and which part of it.

use super::Values;
use super::access_path::{
    Joined, MAX_POINTS, Path, Span, Way, alone, conditions, equal_to, in_order, longer, read, usable,
};
use crate::catalog::{Index, PlanStep, Table};
use crate::lock::mode::Certainty;
use crate::sql::access::{Condition, Predicate, Test};

/// The ways that the server says it takes. Empty: its answer does not fit the table.
pub fn planned<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
    step: &PlanStep,
) -> Vec<Path<'v>> {
    let sure = Certainty::Certain;
    let covering = step.notes("Using index");
    let backward = step.notes("Backward index scan");
    let whole = |index| Path { covering, backward, ..Path::all(index, sure) };
    let access = step.access.split('|').next().unwrap_or_default();
    if step.keys.is_empty() || access.eq_ignore_ascii_case("all") {
        return vec![Path::all(0, sure)];
    }
    let parts = match access {
        // Only the leading parts that are compared for equality are read; the rest is filtered.
        "ref" | "eq_ref" | "const" => step.refs.len().max(1),
        _ => usize::MAX,
    };
    let named = |name: &String| table.indexes.iter().position(|index| index.name.eq_ignore_ascii_case(name));
    let mut paths = Vec::new();
    for (nth, index) in step.keys.iter().filter_map(named).enumerate() {
        // A rowid filter is read as a range of its own.
        let parts = if nth == 0 { parts } else { usize::MAX };
        let path = match access {
            "index" => None,
            _ if nth == 0 && joins(step) => joined_to(table, index, predicate, values, joined, step),
            _ => None,
        };
        let path = path.or_else(|| match access {
            "index" => None,
            _ => read(table, index, predicate, values, joined, parts)
                .or_else(|| either(table, index, predicate, values, joined)),
        });
        let looks_up = access.ends_with("ref") || access == "const" || access.ends_with("_subquery");
        paths.push(match path {
            Some(path) => Path { certainty: sure, covering, backward, ..path },
            // By values that are not known (yet).
            None if looks_up => {
                let unique =
                    table.indexes[index].unique && matches!(access, "const" | "eq_ref" | "unique_subquery");
                let way = if unique { Way::Unique } else { Way::Equal };
                Path { way, certainty: Certainty::Unknown, ..whole(index) }
            }
            None => whole(index),
        });
    }
    paths
}

/// Is an index compared with columns of other tables?
fn joins(step: &PlanStep) -> bool {
    (0..step.refs.len()).any(|part| step.joined_by(part).is_some())
}

/// The lookups in an index by columns of other tables that the plan names. `None`: these were not read.
fn joined_to<'v>(
    table: &Table,
    at: usize,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
    step: &PlanStep,
) -> Option<Path<'v>> {
    let index = &table.indexes[at];
    let mut spans = vec![Span::default()];
    for part in 0..step.refs.len().min(index.parts.len()) {
        let wanted = match step.joined_by(part) {
            Some((alias, column)) => joined(alias, column)?,
            None => conditions(table, index, part, predicate)
                .find_map(|condition| equal_to(&condition.test, values, joined))?,
        };
        if spans.len() * wanted.len() > MAX_POINTS {
            return None;
        }
        spans = longer(&spans, &wanted);
    }
    let whole = index.unique && step.refs.len() >= index.parts.len();
    let way = if whole { Way::Unique } else { Way::Equal };
    Some(Path { way, spans: in_order(table, index, spans), ..Path::all(at, Certainty::Likely) })
}

/// The way to a table that the plan does not show, because it was read before there was one: by an index whose leading
/// parts are compared for equality.
pub fn before_plan<'v>(
    table: &Table,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Vec<Path<'v>> {
    let equal = |index: &Index| {
        let is_equal = |n: &usize| {
            conditions(table, index, *n, predicate)
                .any(|c| matches!(c.test, Test::Eq(_) | Test::EqColumn(..) | Test::IsNull))
        };
        (0..index.parts.len()).take_while(is_equal).count()
    };
    let usable = table.indexes.iter().filter(|index| usable(index) && equal(index) > 0);
    let whole = |index: &&Index| index.unique && equal(index) == index.parts.len();
    let Some(index) = usable.max_by_key(|index| (whole(index), equal(index))) else { return Vec::new() };
    let step = PlanStep {
        table: String::new(),
        access: if whole(&index) { "const" } else { "ref" }.to_owned(),
        keys: vec![index.name.clone()],
        refs: vec!["const".to_owned(); equal(index)],
        extra: String::new(),
    };
    let paths = planned(table, predicate, values, joined, &step);
    paths.into_iter().map(|path| Path { certainty: path.certainty.min(Certainty::Likely), ..path }).collect()
}

/// The ways that the sides of an OR, or of `<>`, leave open, each by an index of its own.
pub fn of_sides<'v>(table: &Table, predicate: &Predicate, values: &'v dyn Values) -> Vec<Path<'v>> {
    if predicate.sides.is_empty() {
        return Vec::new();
    }
    let indexes = (0..table.indexes.len()).filter(|at| usable(&table.indexes[*at]));
    indexes.filter_map(|at| either(table, at, predicate, values, &alone)).collect()
}

/// The parts of an index that the sides of an OR allow, of those that it serves: an index merge reads each index for
/// its own. `None`: the OR was not read, or no side names a leading part.
fn either<'v>(
    table: &Table,
    index: usize,
    predicate: &Predicate,
    values: &'v dyn Values,
    joined: Joined<'_, 'v>,
) -> Option<Path<'v>> {
    let of_side = |side: &Vec<Condition>| {
        let predicate = Predicate { conditions: side.clone(), ..Predicate::default() };
        read(table, index, &predicate, values, joined, usize::MAX)
    };
    let mut sides = predicate.sides.iter().filter_map(of_side);
    let mut path = sides.next()?;
    for side in sides {
        if side.way != path.way {
            path.way = Way::Interval;
        }
        path.spans.extend(side.spans);
    }
    let spans = in_order(table, &table.indexes[index], path.spans);
    (spans.len() <= MAX_POINTS).then_some(Path { covers: false, spans, ..path })
}
