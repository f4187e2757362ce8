//! INSERT, UPDATE and DELETE of the syntax tree to plans.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    self, Assignment, AssignmentTarget, FromTable, InsertAliases, ObjectName, OnInsert, Query, SelectItem,
    SetExpr, TableObject, Visit, Visitor,
};

use super::access::{RowLock, TableAccess, WaitPolicy};
use super::formula::Formula;
use super::predicate::{Conjunct, computed, scalar, variable};
use super::read::{From, Reader, last_part, plain_name, plain_order_list, table_name};
use super::statement::{Delete, Insert, Rows, Select, Update};
use super::value::Scalar;

const EXCLUSIVE: Option<RowLock> = Some(RowLock { exclusive: true, wait: WaitPolicy::Wait });

/// None: a shape that the model does not know.
pub(super) fn insert(reader: &mut Reader<'_>, tree: &ast::Insert, mixed: bool) -> Option<Insert> {
    let TableObject::TableName(name) = &tree.table else {
        return None;
    };
    let mut insert = Insert {
        table: table_name(name)?,
        replace: tree.replace_into,
        ignore: tree.ignore,
        on_duplicate: None,
        columns: None,
        rows: Rows::Values(Vec::new()),
        selected: Vec::new(),
        selects_all: false,
        reads: Vec::new(),
    };
    if !tree.columns.is_empty() {
        insert.columns = Some(tree.columns.iter().filter_map(last_part).collect());
    }
    if let Some(OnInsert::DuplicateKeyUpdate(assignments)) = &tree.on {
        let columns = insert.columns.as_deref();
        let to = |set: &Assignment| match &tree.insert_alias {
            Some(new) => with_alias(&set.value, new, columns),
            None => value(&set.value),
        };
        insert.on_duplicate = Some(assignments.iter().filter_map(|a| Some((target(a)?.1, to(a)))).collect());
    }
    match &tree.source {
        Some(source) => {
            insert.rows = rows(reader, source, mixed);
            match &insert.rows {
                Rows::Values(_) => reader.subqueries(&source.body, &mut insert.reads),
                Rows::Select(select) => {
                    insert.selected = selected(source, select);
                    insert.selects_all = selects_all(source);
                }
            }
        }
        None => {
            tree.assignments.iter().for_each(|a| reader.subqueries(&a.value, &mut insert.reads));
            insert.columns = Some(tree.assignments.iter().filter_map(|a| Some(target(a)?.1)).collect());
            insert.rows = Rows::Values(tree.assignments.iter().map(|a| value(&a.value)).collect());
        }
    }
    Some(insert)
}

fn rows(reader: &mut Reader<'_>, source: &Query, mixed: bool) -> Rows {
    if let SetExpr::Values(values) = &*source.body {
        let row = values.rows.first().map(|row| row.content.as_slice()).unwrap_or_default();
        let known = |scalar: Scalar| match scalar {
            Scalar::Slot(_) => scalar,
            // Another row may have something else here.
            _ if mixed => Scalar::Unknown,
            _ => scalar,
        };
        return Rows::Values(row.iter().map(|expr| known(value(expr))).collect());
    }
    Rows::Select(Box::new(reader.select(source)))
}

/// What a SELECT gives: its literals, columns that WHERE says the value of, and what is computed from others.
fn selected(source: &Query, select: &Select) -> Vec<Scalar> {
    let SetExpr::Select(block) = &*source.body else { return Vec::new() };
    let own: Vec<&TableAccess> = select.tables.iter().filter(|table| !table.nested).collect();
    let equal = |expr: &ast::Expr| {
        let ([table], Some(column)) = (own.as_slice(), plain_name(expr)) else { return None };
        table.predicate.equal(&column).cloned()
    };
    let one = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(scalar(expr).or_else(|| equal(expr)).unwrap_or_else(|| computed(expr)))
        }
        _ => None,
    };
    block.projection.iter().map(one).collect::<Option<_>>().unwrap_or_default()
}

/// `SELECT *` and nothing more, from one source.
fn selects_all(source: &Query) -> bool {
    let SetExpr::Select(block) = &*source.body else { return false };
    let one = block.from.len() == 1 && block.from[0].joins.is_empty();
    one && matches!(block.projection.as_slice(), [SelectItem::Wildcard(_)])
}

fn value(expr: &ast::Expr) -> Scalar {
    match expr {
        ast::Expr::Function(function)
            if last_part(&function.name).is_some_and(|n| n.eq_ignore_ascii_case("default")) =>
        {
            Scalar::Default
        }
        expr => scalar(expr).unwrap_or_else(|| computed(expr)),
    }
}

/// A value where the new row has a name (`VALUES (…) AS new ON DUPLICATE KEY UPDATE c = new.c`): a column of it, or
/// what does not name it.
fn with_alias(expr: &ast::Expr, new: &InsertAliases, columns: Option<&[String]>) -> Scalar {
    let ast::Expr::CompoundIdentifier(parts) = expr else {
        return scalar(expr).unwrap_or(Scalar::Unknown);
    };
    let named = last_part(&new.row_alias).unwrap_or_default();
    let [row, column] = parts.as_slice() else { return Scalar::Unknown };
    if !row.value.eq_ignore_ascii_case(&named) {
        return Scalar::Unknown;
    }
    // The columns may have names of their own there.
    let aliases = new.col_aliases.as_deref().unwrap_or_default();
    let own = aliases.iter().position(|alias| alias.value.eq_ignore_ascii_case(&column.value));
    let column = match (aliases, own.zip(columns)) {
        ([], _) => Some(column.value.clone()),
        (_, Some((at, columns))) => columns.get(at).cloned(),
        _ => None,
    };
    column.map_or(Scalar::Unknown, |column| Scalar::Computed(Arc::new(Formula::Inserted(column))))
}

/// Alias (empty if not said) and column of `t.c = …`.
fn target(assignment: &Assignment) -> Option<(String, String)> {
    let AssignmentTarget::ColumnName(name) = &assignment.target else {
        return None;
    };
    let table = match name.0.as_slice() {
        [.., table, _] => table.as_ident().map(|ident| ident.value.clone()).unwrap_or_default(),
        _ => String::new(),
    };
    Some((table, last_part(name)?))
}

pub(super) fn update(reader: &mut Reader<'_>, tree: &ast::Update) -> Update {
    let mut from = reader.from(std::slice::from_ref(&tree.table), false);
    let tables = restricted(reader, &mut from, tree.selection.as_ref());
    let mut update = Update {
        tables,
        assignments: Vec::new(),
        limited: tree.limit.is_some(),
        order: plain_order_list(&tree.order_by),
    };
    for assignment in &tree.assignments {
        reader.subqueries(&assignment.value, &mut update.tables);
        if let Some((alias, column)) = target(assignment) {
            update.assignments.push((alias, column, value(&assignment.value)));
        }
    }
    // A column without qualifier may be any table's: then all of them count as changed.
    let unknown = update.assignments.iter().any(|(alias, ..)| alias.is_empty());
    for table in update.tables.iter_mut().filter(|table| !table.nested) {
        if unknown || update.assignments.iter().any(|(alias, ..)| alias.eq_ignore_ascii_case(&table.alias)) {
            table.lock = EXCLUSIVE;
        } else {
            table.columns = named(&tree.assignments, &table.alias);
        }
    }
    update
}

/// The columns of a table that is only read which new values are made of. `None`: some column may be any table's.
fn named(assignments: &[Assignment], alias: &str) -> Option<Vec<String>> {
    let mut finder = ColumnFinder { alias, found: Some(Vec::new()) };
    for assignment in assignments {
        let _ = assignment.value.visit(&mut finder);
    }
    finder.found
}

struct ColumnFinder<'a> {
    alias: &'a str,
    found: Option<Vec<String>>,
}

impl Visitor for ColumnFinder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        match (expr, &mut self.found) {
            (ast::Expr::Identifier(ident), found) if !variable(ident) => *found = None,
            (ast::Expr::CompoundIdentifier(parts), Some(found)) => match parts.as_slice() {
                [.., table, column] if table.value.eq_ignore_ascii_case(self.alias) => {
                    found.push(column.value.clone());
                }
                _ => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

pub(super) fn delete(reader: &mut Reader<'_>, tree: &ast::Delete) -> Delete {
    let (FromTable::WithFromKeyword(listed) | FromTable::WithoutKeyword(listed)) = &tree.from;
    let mut targets: Vec<&ObjectName> = tree.tables.iter().collect();
    let sources = tree.using.as_ref().unwrap_or(listed);
    if tree.using.is_some() {
        targets.extend(listed.iter().filter_map(|table| match &table.relation {
            ast::TableFactor::Table { name, .. } => Some(name),
            _ => None,
        }));
    }
    let mut from = reader.from(sources, false);
    let mut tables = restricted(reader, &mut from, tree.selection.as_ref());
    for table in tables.iter_mut().filter(|table| !table.nested) {
        let named =
            |target: &&ObjectName| last_part(target).is_some_and(|t| t.eq_ignore_ascii_case(&table.alias));
        if targets.is_empty() || targets.iter().any(named) {
            table.lock = EXCLUSIVE;
        } else {
            // It only says which rows go.
            table.columns = Some(Vec::new());
        }
    }
    Delete { tables, limited: tree.limit.is_some(), order: plain_order_list(&tree.order_by) }
}

/// The tables of a FROM with the conditions of ON and WHERE, then those of subqueries.
fn restricted<'e>(
    reader: &mut Reader<'_>,
    from: &mut From<'e>,
    selection: Option<&'e ast::Expr>,
) -> Vec<TableAccess> {
    from.conjuncts.extend(selection.map(|expr| Conjunct { expr, reach: None }));
    reader.conditions(from);
    let mut tables = std::mem::take(&mut from.own);
    tables.append(&mut from.nested);
    if let Some(selection) = selection {
        reader.subqueries(selection, &mut tables);
    }
    tables
}
