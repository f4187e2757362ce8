//! The definition of a view that shows one table: a change or a locking read of it is one of that table.
//!
//! Both servers keep a view as a SELECT in a canonical form: every name is qualified, every column has an
//! alias. A view of one table, without grouping, DISTINCT or LIMIT, is merged into the statement that uses it
//! (manual, "View Processing Algorithms"), so the rows and indexes are the table's own.

use sqlparser::ast::{Expr, GroupByExpr, ObjectName, SelectItem, SetExpr, Statement, TableFactor};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::access::TableName;

/// The table that a view shows, if it is one and all columns keep their names; `None` for every other view.
///
/// ```
/// let base = interlock::sql::view::base("select `s`.`t`.`id` AS `id` from `s`.`t` where `s`.`t`.`on`");
/// assert_eq!(base.map(|table| table.name), Some("t".to_owned()));
/// ```
pub fn base(definition: &str) -> Option<TableName> {
    let statements = Parser::parse_sql(&MySqlDialect {}, definition).ok()?;
    let [Statement::Query(query)] = statements.as_slice() else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    let more = query.with.is_some() || query.limit_clause.is_some() || select.distinct.is_some();
    if grouped || more || select.having.is_some() {
        return None;
    }
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &from.relation else { return None };
    let own_names = select.projection.iter().all(keeps_its_name);
    (from.joins.is_empty() && own_names).then(|| table(name))?
}

fn table(name: &ObjectName) -> Option<TableName> {
    let mut parts = name.0.iter().rev().map(|part| part.as_ident().map(|ident| ident.value.clone()));
    let table = parts.next()??;
    Some(TableName { schema: parts.next().flatten(), name: table })
}

fn keeps_its_name(item: &SelectItem) -> bool {
    let column = |expr: &Expr| match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
        _ => None,
    };
    match item {
        SelectItem::UnnamedExpr(expr) => column(expr).is_some(),
        SelectItem::ExprWithAlias { expr, alias } => {
            column(expr).is_some_and(|name| name.eq_ignore_ascii_case(&alias.value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(definition: &str) -> Option<String> {
        base(definition).map(|t| format!("{}.{}", t.schema.unwrap_or_default(), t.name))
    }

    #[test]
    fn a_view_of_one_table_is_that_table() {
        let mysql = "select `s`.`t`.`id` AS `id`,`s`.`t`.`k` AS `k` from `s`.`t` where (`s`.`t`.`k` > 1)";
        assert_eq!(name(mysql).as_deref(), Some("s.t"));
        let aliased = "select `x`.`id` AS `id` from `s`.`t` `x`";
        assert_eq!(name(aliased).as_deref(), Some("s.t"));
    }

    #[test]
    fn others_stay_views() {
        for definition in [
            "select `s`.`t`.`id` AS `number` from `s`.`t`",
            "select (`s`.`t`.`id` + 1) AS `id` from `s`.`t`",
            "select `a`.`id` AS `id` from (`s`.`t` `a` join `s`.`u` `b` on (`a`.`id` = `b`.`id`))",
            "select distinct `s`.`t`.`id` AS `id` from `s`.`t`",
            "select `s`.`t`.`id` AS `id` from `s`.`t` group by `s`.`t`.`id`",
            "select `s`.`t`.`id` AS `id` from `s`.`t` limit 3",
            "select `s`.`t`.`id` AS `id` from `s`.`t` union select 1 AS `id`",
            "not SQL",
        ] {
            assert_eq!(name(definition), None, "{definition}");
        }
    }
}
