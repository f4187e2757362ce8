//! The plan of an UPDATE or DELETE with ORDER BY or LIMIT.
//!
//! A SELECT may go through an index in the order that is asked for where another index would find the rows. UPDATE and
//! DELETE do not: a range of an index that finds the rows is read and sorted, and only where there is none an index is
//! read in order, and only if LIMIT may end that early (`get_index_for_order`, both servers). With LIMIT a range of an
//! index is read wherever there is one, even if all rows are in it (`test_quick_select`: "Force to use index"; `EXPLAIN`
//! on MySQL 9.7 and MariaDB 10.11).

use std::sync::Arc;

use super::super::serve::Knowledge;
use super::inquiry::Inquiry;
use crate::backend::explain::{PlanKey, Steps};
use crate::catalog::{Index, KeyPart, PlanStep, Table};
use crate::intent::known::Plan;
use crate::sql::access::{Condition, Predicate, TableAccess, TableName, Test};
use crate::sql::plain::Plain;
use crate::sql::statement::Statement;

/// What plans of statements without their ORDER BY are kept under: the digest with this.
const UNSORTED: u128 = 1;

impl Inquiry {
    /// The plan, if ORDER BY has no say in it.
    pub(super) async fn unsorted(&self, knowledge: &Knowledge, key: &PlanKey, plain: &Plain) -> Option<Plan> {
        let select = plain.unsorted.as_deref()?;
        let steps = knowledge.explainer.plan(without_order(key), select).await?;
        let find = |name: &TableName| self.table_named(name);
        by_rows(self.statement(), steps, &find)
    }
}

/// What the plan of a statement without its ORDER BY is kept under.
pub(super) fn without_order(key: &PlanKey) -> PlanKey {
    PlanKey { digest: key.digest ^ UNSORTED, ..key.clone() }
}

/// The plan of an UPDATE or DELETE with ORDER BY, from that of the SELECT without it. `None`: an index may be read in
/// that order.
pub(super) fn by_rows(
    statement: &Statement,
    steps: Steps,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Option<Plan> {
    let ([step], (tables, order, limited)) = (&*steps, changed(statement)?) else { return None };
    // Where no row can match, nothing is read in any order.
    if reads_all(step) && !step.table.is_empty() {
        return (!limited).then(|| Plan::Steps(steps.clone()));
    }
    if in_order(tables, order, step, find) {
        return Some(Plan::Steps(steps));
    }
    let sorted = PlanStep { extra: format!("{}; Using filesort", step.extra), ..step.clone() };
    Some(Plan::Steps([sorted].into()))
}

/// The plan of an UPDATE or DELETE that has a LIMIT: where that of the SELECT reads all rows, a range of the one index that
/// has one.
pub(super) fn limited(
    statement: &Statement,
    plan: Plan,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> Plan {
    let range = || {
        let Plan::Steps(steps) = &plan else { return None };
        let ([step], ([access], order, true)) = (&**steps, changed(statement)?) else { return None };
        let table = find(&access.table).filter(|_| reads_all(step) && !step.table.is_empty())?;
        let ranged = |index: &&Index| {
            let first = index.parts.first().and_then(|part| part.column);
            index.btree && first.is_some_and(|first| has_range(&access.predicate, &table, first))
        };
        let mut ranges = table.indexes.iter().filter(ranged);
        // Of several the one with the fewest rows: which that is, is not known. The primary key comes before others.
        let index = ranges.next()?;
        if ranges.next().is_some() && index.name != table.indexes[0].name {
            return None;
        }
        let (keys, refs) = (vec![index.name.clone()], Vec::new());
        let sorted = !order.is_empty() && !follows(&table, &index.name, &access.predicate, order);
        let extra = if sorted { "Using where; Using filesort" } else { "Using where" }.to_owned();
        Some(PlanStep { access: "range".to_owned(), keys, refs, extra, ..step.clone() })
    };
    match range() {
        Some(step) => Plan::Steps([step].into()),
        None => plan,
    }
}

/// Is a column compared with values in a way that leaves open a part of an index on it?
fn has_range(predicate: &Predicate, table: &Table, column: usize) -> bool {
    let of = |condition: &Condition| {
        let test = matches!(
            condition.test,
            Test::Eq(_) | Test::In(_) | Test::IsNull | Test::Range { .. } | Test::Like(_)
        );
        test && table.column(&condition.column) == Some(column)
    };
    let sides = &predicate.sides;
    predicate.conditions.iter().any(of) || !sides.is_empty() && sides.iter().all(|side| side.iter().any(of))
}

fn reads_all(step: &PlanStep) -> bool {
    step.keys.is_empty() || ["all", "index"].iter().any(|a| step.access.eq_ignore_ascii_case(a))
}

/// Tables, order, and whether there is a LIMIT.
type Changed<'s> = (&'s [TableAccess], &'s [(String, bool)], bool);

/// What an UPDATE or DELETE says of its rows.
fn changed(statement: &Statement) -> Option<Changed<'_>> {
    match statement {
        Statement::Update(update) => Some((&update.tables, &update.order, update.limited)),
        Statement::Delete(delete) => Some((&delete.tables, &delete.order, delete.limited)),
        _ => None,
    }
}

/// Is it an UPDATE or DELETE in the order of columns?
pub(super) fn is_ordered(statement: &Statement) -> bool {
    changed(statement).is_some_and(|(_, order, _)| !order.is_empty())
}

/// Does the index of this step give the rows in the order that is asked for?
fn in_order(
    tables: &[TableAccess],
    order: &[(String, bool)],
    step: &PlanStep,
    find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
) -> bool {
    let ([access, ..], [index]) = (tables, step.keys.as_slice()) else { return false };
    let Some(table) = find(&access.table) else { return false };
    !order.is_empty() && follows(&table, index, &access.predicate, order)
}

/// Do the entries of an index, with the clustered key behind them, follow an order? What is the same in all rows
/// orders nothing.
fn follows(table: &Table, index: &str, predicate: &Predicate, order: &[(String, bool)]) -> bool {
    let Some(at) = table.indexes.iter().position(|known| known.name.eq_ignore_ascii_case(index)) else {
        return false;
    };
    let same = |column: Option<usize>| {
        let mut conditions = predicate.conditions.iter();
        conditions.any(|c| matches!(c.test, Test::Eq(_)) && table.column(&c.column) == column)
    };
    let behind: &[KeyPart] = if at == 0 { &[] } else { &table.indexes[0].parts };
    let mut parts = table.indexes[at].parts.iter().chain(behind).filter(|part| !same(part.column));
    let mut wanted = order.iter().filter(|(name, _)| !same(table.column(name)));
    let mut backward = None;
    wanted.all(|(name, descending)| {
        let part = parts.next().filter(|part| part.column == table.column(name) && part.prefix.is_none());
        part.is_some_and(|part| {
            let turned = part.descending != *descending;
            *backward.get_or_insert(turned) == turned
        })
    })
}
