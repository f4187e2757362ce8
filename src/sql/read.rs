//! Queries of the syntax tree to tables, locks and conditions.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, JoinConstraint,
    JoinOperator, LimitClause, LockClause, LockType, NonBlock, ObjectName, OrderBy, OrderByExpr, OrderByKind,
    OrderBySort, Query, Select as Block, SelectItem, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};

use super::access::{Extreme, Predicate, RowLock, TableAccess, TableName, WaitPolicy};
use super::digest::Digest;
use super::predicate::{Conjunct, apply, scalar};
use super::statement::Select;

/// Reads the queries of one statement.
pub(super) struct Reader<'d> {
    pub(super) digest: &'d Digest,
    /// Names of common table expressions: they are no tables.
    ctes: Vec<String>,
}

/// Functions that make one row of many.
const AGGREGATES: [&str; 17] = [
    "COUNT(",
    "SUM(",
    "MIN(",
    "MAX(",
    "AVG(",
    "GROUP_CONCAT(",
    "JSON_ARRAYAGG(",
    "JSON_OBJECTAGG(",
    "BIT_AND(",
    "BIT_OR(",
    "BIT_XOR(",
    "STD(",
    "STDDEV(",
    "STDDEV_POP(",
    "STDDEV_SAMP(",
    "VAR_POP(",
    "VARIANCE(",
];

/// Can the number of result rows differ from the number of rows found? The projection is looked at as
/// text: a function of that name anywhere in it is reason enough to say yes.
fn aggregates(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(block) => {
            let grouped = match &block.group_by {
                GroupByExpr::All(_) => true,
                GroupByExpr::Expressions(columns, _) => !columns.is_empty(),
            };
            let aggregate = |item: &SelectItem| {
                let text = item.to_string().to_ascii_uppercase();
                AGGREGATES.iter().any(|name| text.contains(name))
            };
            grouped
                || block.distinct.is_some()
                || block.having.is_some()
                || block.projection.iter().any(aggregate)
        }
        SetExpr::Query(query) => query.limit_clause.is_some() || aggregates(&query.body),
        SetExpr::Table(_) => false,
        _ => true,
    }
}

/// What stands in a FROM.
#[derive(Default)]
pub(super) struct From<'e> {
    /// Tables of this query block.
    pub(super) own: Vec<TableAccess>,
    /// Tables of its derived tables and subqueries.
    pub(super) nested: Vec<TableAccess>,
    /// Number of sources: tables, derived tables, common table expressions.
    pub(super) sources: usize,
    /// Conditions of ON.
    pub(super) conjuncts: Vec<Conjunct<'e>>,
    /// Joined by USING or NATURAL: conditions that are not read.
    pub(super) natural: bool,
}

impl<'d> Reader<'d> {
    pub(super) fn new(digest: &'d Digest) -> Self {
        Reader { digest, ctes: Vec::new() }
    }

    /// A whole `SELECT`.
    pub(super) fn select(&mut self, query: &Query) -> Select {
        let mut select = Select {
            tables: Vec::new(),
            limited: query.limit_clause.is_some() || query.fetch.is_some(),
            limit: match &query.limit_clause {
                Some(
                    LimitClause::LimitOffset { limit: Some(limit), .. }
                    | LimitClause::OffsetCommaLimit { limit, .. },
                ) => scalar(limit),
                _ => None,
            },
            order: Vec::new(),
            aggregated: aggregates(&query.body),
            user_lock: false,
        };
        self.query(query, &[], false, &mut select.tables);
        select.order = query.order_by.as_ref().map(plain_order).unwrap_or_default();
        select
    }

    /// A query with the locking clauses of the parentheses around it.
    pub(super) fn query(
        &mut self,
        query: &Query,
        outer: &[LockClause],
        nested: bool,
        out: &mut Vec<TableAccess>,
    ) {
        self.with(query, out);
        let locks = if query.locks.is_empty() { outer } else { &query.locks };
        let before = out.len();
        self.body(&query.body, locks, nested, out);
        if let Some(order) = &query.order_by {
            let by = match &order.kind {
                OrderByKind::Expressions(by) => by.iter().map(|item| plain_name(&item.expr)).collect(),
                OrderByKind::All(_) => None::<Vec<String>>,
            };
            for columns in out[before..].iter_mut().map(|table| &mut table.columns) {
                *columns = columns.take().zip(by.clone()).map(|(read, by)| [read, by].concat());
            }
            self.subqueries(order, out);
        }
    }

    /// The common table expressions of a query.
    pub(super) fn with(&mut self, query: &Query, out: &mut Vec<TableAccess>) {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            // Before its body is read: it may be recursive.
            self.ctes.push(cte.alias.name.value.clone());
            self.query(&cte.query, &[], true, out);
        }
    }

    fn body(&mut self, body: &SetExpr, locks: &[LockClause], nested: bool, out: &mut Vec<TableAccess>) {
        match body {
            SetExpr::Select(block) => self.block(block, locks, nested, out),
            SetExpr::Query(query) => self.query(query, locks, nested, out),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, &[], nested, out);
                // A locking clause after a UNION belongs to its last part.
                self.body(right, locks, nested, out);
            }
            SetExpr::Table(table) => {
                if let Some(name) = &table.table_name {
                    let table = TableName { schema: table.schema_name.clone(), name: name.clone() };
                    out.push(access(table, None, nested));
                }
            }
            other => self.subqueries(other, out),
        }
    }

    fn block(&mut self, block: &Block, locks: &[LockClause], nested: bool, out: &mut Vec<TableAccess>) {
        let mut from = self.from(&block.from, nested);
        from.conjuncts.extend(block.selection.iter().map(|expr| Conjunct { expr, reach: None }));
        self.conditions(&mut from);
        for table in &mut from.own {
            table.lock = locks.iter().find(|clause| reaches(clause, &table.alias)).map(row_lock);
        }
        if let ([table], 1) = (from.own.as_mut_slice(), from.sources) {
            table.extreme = extreme(block);
            table.columns = columns(block);
        }
        out.append(&mut from.own);
        out.append(&mut from.nested);
        self.subqueries(&block.projection, out);
        self.queries(&block.selection, true, out);
        self.subqueries(&block.group_by, out);
        self.subqueries(&block.having, out);
    }

    /// Tables and ON conditions of a FROM.
    pub(super) fn from<'e>(&mut self, tables: &'e [TableWithJoins], nested: bool) -> From<'e> {
        let mut from = From::default();
        for table in tables {
            self.joins(table, nested, &mut from);
        }
        from
    }

    fn joins<'e>(&mut self, table: &'e TableWithJoins, nested: bool, from: &mut From<'e>) {
        let start = from.own.len();
        self.factor(&table.relation, nested, from);
        for join in &table.joins {
            let left = start..from.own.len();
            self.factor(&join.relation, nested, from);
            let right = left.end..from.own.len();
            let Some((constraint, reach)) = constraint(&join.join_operator, left, right) else {
                continue;
            };
            match constraint {
                JoinConstraint::On(expr) => {
                    self.subqueries(expr, &mut from.nested);
                    from.conjuncts.push(Conjunct { expr, reach });
                }
                JoinConstraint::Using(_) | JoinConstraint::Natural => from.natural = true,
                JoinConstraint::None => {}
            }
        }
    }

    fn factor<'e>(&mut self, factor: &'e TableFactor, nested: bool, from: &mut From<'e>) {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                from.sources += 1;
                let alias = alias.as_ref().map(|alias| alias.name.value.clone());
                match table_name(name) {
                    Some(table) if !self.is_cte(&table) => from.own.push(access(table, alias, nested)),
                    _ => {}
                }
            }
            TableFactor::Derived { subquery, .. } => {
                from.sources += 1;
                self.query(subquery, &[], true, &mut from.nested);
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(table_with_joins, nested, from),
            other => {
                from.sources += 1;
                self.subqueries(other, &mut from.nested);
            }
        }
    }

    fn is_cte(&self, table: &TableName) -> bool {
        table.schema.is_none() && self.ctes.iter().any(|cte| cte.eq_ignore_ascii_case(&table.name))
    }

    /// Reads the conditions of a FROM (and what was added to them) into its tables.
    pub(super) fn conditions(&mut self, from: &mut From<'_>) {
        let conjuncts = std::mem::take(&mut from.conjuncts);
        apply(&mut from.own, from.sources, conjuncts, self.digest);
        if from.natural {
            from.own.iter_mut().for_each(|table| table.predicate.exact = false);
        }
    }

    /// Reads the queries inside expressions.
    pub(super) fn subqueries<V: Visit>(&mut self, node: &V, out: &mut Vec<TableAccess>) {
        self.queries(node, false, out);
    }

    /// The same of a condition (`filters`), where a `NOT EXISTS` that all of it hangs on keeps rows out.
    fn queries<V: Visit>(&mut self, node: &V, filters: bool, out: &mut Vec<TableAccess>) {
        let mut finder = QueryFinder { reader: self, out, depth: 0, filters, inside: 0, excludes: false };
        // It never breaks.
        let _ = node.visit(&mut finder);
    }
}

/// The columns that a query block reads, if they are plain ones.
fn columns(block: &Block) -> Option<Vec<String>> {
    let mut read: Vec<String> =
        block.projection.iter().filter(|item| !counts_rows(item)).map(plain_column).collect::<Option<_>>()?;
    match &block.group_by {
        GroupByExpr::Expressions(by, _) => {
            read.extend(by.iter().map(plain_name).collect::<Option<Vec<_>>>()?)
        }
        GroupByExpr::All(_) => {}
    }
    block.having.is_none().then_some(read)
}

/// The one extreme that a query block is after.
fn extreme(block: &Block) -> Option<Extreme> {
    let grouped = match &block.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(columns, _) => !columns.is_empty(),
    };
    if grouped || block.distinct.is_some() || block.having.is_some() {
        return None;
    }
    let mut finder = ExtremeFinder { found: None, columns: 0 };
    let ControlFlow::Continue(()) = block.projection.visit(&mut finder) else { return None };
    finder.found.filter(|_| finder.columns == 1)
}

/// Finds the MIN or MAX of a projection; breaks where there is more.
struct ExtremeFinder {
    found: Option<Extreme>,
    /// Columns named, that of the extreme included.
    columns: usize,
}

impl Visitor for ExtremeFinder {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => return ControlFlow::Break(()),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                self.columns += usize::from(plain_name(expr).is_some())
            }
            Expr::Function(function) => {
                let name = last_part(&function.name).unwrap_or_default().to_ascii_uppercase();
                let greatest = match name.as_str() {
                    "MIN" => false,
                    "MAX" => true,
                    name if AGGREGATES.iter().any(|known| known.strip_suffix('(') == Some(name)) => {
                        return ControlFlow::Break(());
                    }
                    _ => return ControlFlow::Continue(()),
                };
                let FunctionArguments::List(list) = &function.args else { return ControlFlow::Break(()) };
                let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = list.args.as_slice() else {
                    return ControlFlow::Break(());
                };
                let (Some(column), None) = (plain_name(of), &self.found) else {
                    return ControlFlow::Break(());
                };
                self.found = Some(Extreme { column, greatest });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Gives the outermost queries inside a node to the reader, which looks into them itself.
struct QueryFinder<'r, 'd> {
    reader: &'r mut Reader<'d>,
    out: &'r mut Vec<TableAccess>,
    depth: usize,
    /// What is looked into is a condition.
    filters: bool,
    /// Expressions around this place that are more than AND and parentheses.
    inside: usize,
    /// The next query is that of a `NOT EXISTS`.
    excludes: bool,
}

impl Visitor for QueryFinder<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let excludes = std::mem::take(&mut self.excludes);
        if self.depth == 0 {
            let before = self.out.len();
            self.reader.query(query, &[], true, self.out);
            if let [table] = &mut self.out[before..] {
                table.excludes = excludes && !aggregates(&query.body) && query.limit_clause.is_none();
            }
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let excludes = matches!(expr, Expr::Exists { negated: true, .. });
        self.excludes = excludes && self.filters && self.inside == 0;
        self.inside += usize::from(!joins(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.inside -= usize::from(!joins(expr));
        ControlFlow::Continue(())
    }
}

/// Does it hold only where each of its parts does?
fn joins(expr: &Expr) -> bool {
    matches!(expr, Expr::Nested(_) | Expr::BinaryOp { op: BinaryOperator::And, .. })
}

/// The condition of a join and the tables that it restricts.
fn constraint(
    operator: &JoinOperator,
    left: Range<usize>,
    right: Range<usize>,
) -> Option<(&JoinConstraint, Option<Range<usize>>)> {
    match operator {
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => Some((on, Some(right))),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => Some((on, Some(left))),
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::CrossJoin(on)
        | JoinOperator::StraightJoin(on) => Some((on, Some(left.start..right.end))),
        _ => None,
    }
}

pub(super) fn access(table: TableName, alias: Option<String>, nested: bool) -> TableAccess {
    let alias = alias.unwrap_or_else(|| table.name.clone());
    TableAccess {
        table,
        alias,
        lock: None,
        predicate: Predicate { exact: true, ..Predicate::default() },
        nested,
        excludes: false,
        columns: None,
        extreme: None,
    }
}

/// `t` or `s.t`.
pub(super) fn table_name(name: &ObjectName) -> Option<TableName> {
    let part = |n: usize| name.0.get(n).and_then(|part| part.as_ident()).map(|ident| ident.value.clone());
    match name.0.len() {
        1 => {
            Some(TableName { schema: None, name: part(0)? }).filter(|t| !t.name.eq_ignore_ascii_case("dual"))
        }
        2 => Some(TableName { schema: Some(part(0)?), name: part(1)? }),
        _ => None,
    }
}

/// The last part of a name: the column of `t.c`.
pub(super) fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(|ident| ident.value.clone())
}

fn reaches(clause: &LockClause, alias: &str) -> bool {
    clause.of.as_ref().is_none_or(|of| last_part(of).is_some_and(|of| of.eq_ignore_ascii_case(alias)))
}

fn row_lock(clause: &LockClause) -> RowLock {
    RowLock {
        exclusive: matches!(clause.lock_type, LockType::Update),
        wait: match clause.nonblock {
            None => WaitPolicy::Wait,
            Some(NonBlock::Nowait) => WaitPolicy::NoWait,
            Some(NonBlock::SkipLocked) => WaitPolicy::SkipLocked,
        },
    }
}

fn plain_order(order: &OrderBy) -> Vec<(String, bool)> {
    match &order.kind {
        OrderByKind::Expressions(list) => plain_order_list(list),
        OrderByKind::All(_) => Vec::new(),
    }
}

/// Columns and whether they descend; empty unless all are plain columns.
pub(super) fn plain_order_list(list: &[OrderByExpr]) -> Vec<(String, bool)> {
    let descending = |item: &OrderByExpr| matches!(item.options.sort, Some(OrderBySort::Desc));
    let columns = list.iter().map(|item| Some((plain_name(&item.expr)?, descending(item))));
    columns.collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// `COUNT(*)` reads no column.
fn counts_rows(item: &SelectItem) -> bool {
    let counts = |expr: &Expr| expr.to_string().eq_ignore_ascii_case("COUNT(*)");
    matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if counts(expr))
}

fn plain_column(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => plain_name(expr),
        _ => None,
    }
}

pub(super) fn plain_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) if !ident.value.starts_with('@') => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        _ => None,
    }
}
