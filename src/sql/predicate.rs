//! WHERE and ON: what they say about each table's columns.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, SelectItem, SetExpr, TableFactor, UnaryOperator, Value, Visit,
    Visitor,
};

use super::access::{Condition, TableAccess, Test};
use super::digest::{Digest, FoldKind};
use super::formula_reader::formula;
use super::read::last_part;
use super::rewrite::slot;
use super::value::Scalar;

/// Most sides of an OR that are followed one by one.
const MAX_SIDES: usize = 8;

/// A condition of WHERE or ON and the tables whose rows it can keep from being read: the ON of a LEFT JOIN
/// restricts only the tables on its right.
pub(super) struct Conjunct<'e> {
    pub(super) expr: &'e Expr,
    pub(super) reach: Option<Range<usize>>,
}

/// Puts every condition into the predicate of its table.
///
/// `sources` counts what stands in FROM, derived tables included: a column without qualifier has a known
/// table only if there is one source. A condition that cannot be read, or placed, makes the predicate of
/// every table in its reach inexact.
pub(super) fn apply(own: &mut [TableAccess], sources: usize, conjuncts: Vec<Conjunct<'_>>, digest: &Digest) {
    for Conjunct { expr, reach } in conjuncts {
        let reach = reach.unwrap_or(0..own.len());
        let mut pending = vec![expr];
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::Nested(inner) => pending.push(inner),
                Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                    pending.push(right);
                    pending.push(left);
                }
                atom => {
                    let found = read(atom, digest);
                    let only = reach.clone().next().filter(|_| sources == 1 && own.len() == 1);
                    if let Some(table) = only.filter(|table| own[*table].predicate.sides.is_empty()) {
                        let all = if found.is_none() { sides(atom, digest) } else { around(atom) };
                        own[table].predicate.sides = all.unwrap_or_default();
                    }
                    place(own, sources, &reach, found);
                }
            }
        }
    }
}

fn place(own: &mut [TableAccess], sources: usize, reach: &Range<usize>, found: Option<Found<'_>>) {
    let mut exact = found.is_some();
    for (column, test) in found.iter().flat_map(|found| &found.conditions) {
        match column.table(own, sources) {
            Some(table) if reach.contains(&table) => {
                let predicate = &mut own[table].predicate;
                predicate.exact &= *test != Test::Other && found.as_ref().is_some_and(|found| found.exact);
                predicate
                    .conditions
                    .push(Condition { column: column.name.clone().into_owned(), test: test.clone() });
            }
            // The ON of an outer join does not restrict its outer side.
            Some(_) => {}
            // A column of an enclosing query, a derived table, or one whose table is not known.
            None if column.elsewhere(own) => {}
            None => exact = false,
        }
    }
    if !exact {
        let reached = own.iter_mut().take(reach.end).skip(reach.start);
        reached.for_each(|table| table.predicate.exact = false);
    }
}

/// What an atomic condition says.
struct Found<'e> {
    conditions: Vec<(Column<'e>, Test)>,
    /// The conditions say all.
    exact: bool,
}

/// A column as the text names it.
#[derive(Clone)]
struct Column<'e> {
    qualifier: Option<&'e str>,
    /// For an expression that a functional index can be made of, its spelling.
    name: Cow<'e, str>,
}

impl Column<'_> {
    fn table(&self, own: &[TableAccess], sources: usize) -> Option<usize> {
        match self.qualifier {
            Some(qualifier) => own.iter().position(|table| table.alias.eq_ignore_ascii_case(qualifier)),
            None => (sources == 1 && own.len() == 1).then_some(0),
        }
    }

    /// Its qualifier names none of these tables.
    fn elsewhere(&self, own: &[TableAccess]) -> bool {
        self.qualifier.is_some_and(|name| own.iter().all(|table| !table.alias.eq_ignore_ascii_case(name)))
    }
}

fn column(expr: &Expr) -> Option<Column<'_>> {
    match expr {
        Expr::Identifier(ident) if !variable(ident) => {
            Some(Column { qualifier: None, name: Cow::from(&ident.value) })
        }
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] => {
                Some(Column { qualifier: Some(&table.value), name: Cow::from(&column.value) })
            }
            _ => None,
        },
        Expr::Nested(inner) => column(inner),
        Expr::Function(_) | Expr::Substring { .. } | Expr::Trim { .. } | Expr::Cast { .. } => {
            let formula = formula(expr).filter(|formula| !formula.columns().is_empty())?;
            Some(Column { qualifier: None, name: formula.spelling()?.into() })
        }
        _ => None,
    }
}

/// `@x` and `@@x` reach the parser as words.
pub(super) fn variable(ident: &Ident) -> bool {
    ident.quote_style.is_none() && ident.value.starts_with('@')
}

/// None: cannot be read.
fn read<'e>(expr: &'e Expr, digest: &Digest) -> Option<Found<'e>> {
    let one = |column, test| Some(Found { conditions: vec![(column, test)], exact: true });
    match expr {
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => alternatives(expr, digest),
        Expr::BinaryOp { left, op, right } => comparison(left, op, right, digest),
        Expr::InList { expr, list, negated } => {
            if let Expr::Tuple(columns) = &**expr {
                return if *negated { None } else { tuples(columns, list, digest) };
            }
            let column = column(expr)?;
            if *negated {
                return one(column, Test::Other);
            }
            let values = list.iter().map(|value| element(value, digest)).collect::<Option<Vec<_>>>();
            one(column, values.map_or(Test::Other, Test::In))
        }
        Expr::Between { expr, negated, low, high } => {
            let column = column(expr)?;
            match (scalar(low), scalar(high)) {
                (Some(low), Some(high)) if !negated => {
                    one(column, Test::Range { low: Some((low, true)), high: Some((high, true)) })
                }
                _ => one(column, Test::Other),
            }
        }
        Expr::Like { negated: false, expr, pattern, escape_char: None, .. } => {
            one(column(expr)?, scalar(pattern).map_or(Test::Other, Test::Like))
        }
        Expr::InSubquery { expr, subquery, negated: false } => {
            let test =
                selected(subquery).map_or(Test::Other, |(table, column)| Test::EqColumn(table, column));
            one(column(expr)?, test)
        }
        Expr::IsNull(expr) => one(column(expr)?, Test::IsNull),
        Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsNotFalse(expr)
        | Expr::InSubquery { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::RLike { expr, .. }
        | Expr::UnaryOp { op: UnaryOperator::Not, expr } => one(column(expr)?, Test::Other),
        expr => match column(expr) {
            Some(column) => one(column, Test::Other),
            // `WHERE 1 AND …` restricts nothing.
            None => scalar(expr)
                .filter(|scalar| matches!(scalar, Scalar::Slot(_)))
                .map(|_| Found { conditions: Vec::new(), exact: true }),
        },
    }
}

/// The only column that a query gives, and the alias of the only table that it reads.
fn selected(query: &Query) -> Option<(String, String)> {
    let SetExpr::Select(block) = &*query.body else { return None };
    let ([from], [SelectItem::UnnamedExpr(item)]) = (block.from.as_slice(), block.projection.as_slice())
    else {
        return None;
    };
    let TableFactor::Table { name, alias, .. } = &from.relation else { return None };
    let table = alias.as_ref().map(|alias| alias.name.value.clone()).or_else(|| last_part(name));
    let grouped = query.limit_clause.is_some() || block.having.is_some() || !from.joins.is_empty();
    let column = column(item).filter(|column| !grouped && column.name.chars().all(|c| c != '('))?;
    Some((table?, column.name.into_owned()))
}

fn comparison<'e>(
    left: &'e Expr,
    op: &BinaryOperator,
    right: &'e Expr,
    digest: &Digest,
) -> Option<Found<'e>> {
    if let (Expr::Tuple(columns), Expr::Tuple(values)) = (left, right) {
        return constructors(columns, op, values, digest);
    }
    match (column(left), column(right)) {
        (Some(left), Some(right)) => {
            let equal = matches!(op, BinaryOperator::Eq | BinaryOperator::Spaceship);
            let test = |other: &Column<'_>| match other.qualifier {
                Some(alias) if equal => Test::EqColumn(alias.to_owned(), other.name.clone().into_owned()),
                _ => Test::Other,
            };
            let (of_left, of_right) = (test(&right), test(&left));
            Some(Found { conditions: vec![(left, of_left), (right, of_right)], exact: true })
        }
        (Some(column), None) => {
            let test = scalar(right).map_or(Test::Other, |value| test(op, value));
            Some(Found { conditions: vec![(column, test)], exact: true })
        }
        (None, Some(column)) => {
            let test = scalar(left).map_or(Test::Other, |value| test(&flipped(op), value));
            Some(Found { conditions: vec![(column, test)], exact: true })
        }
        // `WHERE 1 = 1` restricts nothing. (`1 = 0` does, but has the same digest.)
        (None, None) => match (scalar(left)?, scalar(right)?) {
            (Scalar::Slot(_), Scalar::Slot(_)) => Some(Found { conditions: Vec::new(), exact: true }),
            _ => None,
        },
    }
}

fn test(op: &BinaryOperator, value: Scalar) -> Test {
    match op {
        BinaryOperator::Eq | BinaryOperator::Spaceship => Test::Eq(value),
        BinaryOperator::Lt => Test::Range { low: None, high: Some((value, false)) },
        BinaryOperator::LtEq => Test::Range { low: None, high: Some((value, true)) },
        BinaryOperator::Gt => Test::Range { low: Some((value, false)), high: None },
        BinaryOperator::GtEq => Test::Range { low: Some((value, true)), high: None },
        _ => Test::Other,
    }
}

fn flipped(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}

/// `(a, b) = (1, 2)` is two equalities; `(a, b) > (1, 2)` says at least `a >= 1`.
fn constructors<'e>(
    columns: &'e [Expr],
    op: &BinaryOperator,
    values: &'e [Expr],
    digest: &Digest,
) -> Option<Found<'e>> {
    if columns.len() != values.len() {
        return None;
    }
    if matches!(op, BinaryOperator::Eq | BinaryOperator::Spaceship) {
        let mut all = Found { conditions: Vec::new(), exact: true };
        for (left, right) in columns.iter().zip(values) {
            let found = comparison(left, op, right, digest)?;
            all.conditions.extend(found.conditions);
            all.exact &= found.exact;
        }
        return Some(all);
    }
    let (first, value) = (column(columns.first()?)?, scalar(values.first()?)?);
    let inclusive = match op {
        BinaryOperator::Lt => BinaryOperator::LtEq,
        BinaryOperator::Gt => BinaryOperator::GtEq,
        other => other.clone(),
    };
    let test = test(&inclusive, value);
    Some(Found { conditions: vec![(first, test)], exact: false })
}

/// `(a, b) IN ((1, 2), (3, 4))`: a list for each column. That the values belong together is lost.
fn tuples<'e>(columns: &'e [Expr], list: &'e [Expr], digest: &Digest) -> Option<Found<'e>> {
    let mut conditions = Vec::new();
    for (n, expr) in columns.iter().enumerate() {
        let values = list.iter().map(|row| match row {
            Expr::Tuple(values) if values.len() == columns.len() => element(&values[n], digest),
            _ => None,
        });
        conditions.push((column(expr)?, Test::In(values.collect::<Option<Vec<_>>>()?)));
    }
    Some(Found { conditions, exact: false })
}

/// `a = 1 OR a = 2 OR a IN (3, 4)` is a list on `a`.
fn alternatives<'e>(expr: &'e Expr, digest: &Digest) -> Option<Found<'e>> {
    let mut pending = vec![expr];
    let mut values = Vec::new();
    let mut only: Option<Column<'e>> = None;
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::Nested(inner) => pending.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                pending.push(right);
                pending.push(left);
            }
            atom => {
                let mut found = read(atom, digest).filter(|found| found.conditions.len() == 1)?;
                let (column, test) = found.conditions.pop()?;
                let same = only.as_ref().is_none_or(|only| {
                    only.name.eq_ignore_ascii_case(&column.name) && only.qualifier == column.qualifier
                });
                match test {
                    Test::Eq(value) if same => values.push(value),
                    Test::In(list) if same => values.extend(list),
                    _ => return None,
                }
                only = Some(column);
            }
        }
    }
    Some(Found { conditions: vec![(only?, Test::In(values))], exact: true })
}

/// What each side of an OR says of the only table, as far as it can be read. `None`: no OR, or a side says nothing.
fn sides(expr: &Expr, digest: &Digest) -> Option<Vec<Vec<Condition>>> {
    let Expr::BinaryOp { op: BinaryOperator::Or, .. } = expr else { return None };
    let mut pending = vec![expr];
    let mut all = Vec::new();
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::Nested(inner) => pending.push(inner),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => pending.extend([&**left, &**right]),
            side => all.push(conjunction(side, digest)),
        }
        if all.len() > MAX_SIDES {
            return None;
        }
    }
    (!all.iter().any(Vec::is_empty)).then_some(all)
}

/// `a <> 5` is what lies before 5 and what lies behind it.
fn around(expr: &Expr) -> Option<Vec<Vec<Condition>>> {
    let Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } = expr else { return None };
    let (column, value) = match (column(left), column(right)) {
        (Some(column), None) => (column, scalar(right)?),
        (None, Some(column)) => (column, scalar(left)?),
        _ => return None,
    };
    let side = |low, high| {
        vec![Condition { column: column.name.clone().into_owned(), test: Test::Range { low, high } }]
    };
    let bound = Some((value, false));
    Some(vec![side(None, bound.clone()), side(bound, None)])
}

/// The conditions of a conjunction that can be read.
fn conjunction(expr: &Expr, digest: &Digest) -> Vec<Condition> {
    match expr {
        Expr::Nested(inner) => conjunction(inner, digest),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            [left, right].into_iter().flat_map(|side| conjunction(side, digest)).collect()
        }
        atom => {
            let found = read(atom, digest).map(|found| found.conditions).unwrap_or_default();
            let named = found.into_iter().filter(|(_, test)| *test != Test::Other);
            named.map(|(column, test)| Condition { column: column.name.into_owned(), test }).collect()
        }
    }
}

/// A value of a list.
fn element(expr: &Expr, digest: &Digest) -> Option<Scalar> {
    Some(match scalar(expr)? {
        Scalar::Slot(slot) if digest.fold_of(slot).is_some_and(|fold| fold.kind == FoldKind::List) => {
            Scalar::ListSlot(slot)
        }
        other => other,
    })
}

/// The value of an expression that does not depend on a row. None: it depends on one.
pub(super) fn scalar(expr: &Expr) -> Option<Scalar> {
    match expr {
        Expr::Value(value) => Some(match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) | Value::Placeholder(text) => {
                slot(text).map_or(Scalar::Unknown, Scalar::Slot)
            }
            Value::Null => Scalar::Null,
            _ => Scalar::Unknown,
        }),
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => Some(slot(text).map_or(Scalar::Unknown, Scalar::Slot)),
            _ => Some(Scalar::Unknown),
        },
        Expr::Nested(inner) => scalar(inner),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => scalar(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(match scalar(expr)? {
            Scalar::Slot(slot) => Scalar::Negative(slot),
            _ => Scalar::Unknown,
        }),
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
        {
            Some(Scalar::Default)
        }
        Expr::Subquery(_) => Some(Scalar::Unknown),
        expr => expr.visit(&mut ColumnFinder).is_continue().then(|| computed(expr)),
    }
}

/// The value of an expression, if it can be computed.
pub(super) fn computed(expr: &Expr) -> Scalar {
    formula(expr).map_or(Scalar::Unknown, |formula| Scalar::Computed(Arc::new(formula)))
}

/// Stops at the first column.
struct ColumnFinder;

impl Visitor for ColumnFinder {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if variable(ident) => ControlFlow::Continue(()),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
