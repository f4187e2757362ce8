//! The plan of an UPDATE or DELETE with ORDER BY.
//!
//! A SELECT may go through an index in the order that is asked for where another index would find the rows. UPDATE and
//! DELETE do not: a range of an index that finds the rows is read and sorted, and only where there is none an index is
//! read in order, and only if LIMIT may end that early (`get_index_for_order`, both servers).

use std::sync::Arc;

use super::super::serve::Knowledge;
use super::inquiry::Inquiry;
use crate::backend::explain::{PlanKey, Steps};
use crate::catalog::{KeyPart, PlanStep, Table};
use crate::intent::known::Plan;
use crate::sql::plain::Plain;
use crate::sql::statement::{Predicate, Statement, TableAccess, TableName, Test};

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
    let all = step.keys.is_empty() || ["all", "index"].iter().any(|a| step.access.eq_ignore_ascii_case(a));
    // Where no row can match, nothing is read in any order.
    if all && !step.table.is_empty() {
        return (!limited).then(|| Plan::Steps(steps.clone()));
    }
    if in_order(tables, order, step, find) {
        return Some(Plan::Steps(steps));
    }
    let sorted = PlanStep { extra: format!("{}; Using filesort", step.extra), ..step.clone() };
    Some(Plan::Steps([sorted].into()))
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
