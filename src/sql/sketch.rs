//! A plan in one line, for tests: `select X t{a = 0}`.

use std::fmt::Write;

use super::access::*;
use super::cache::PlanCache;
use super::digest::Digest;
use super::formula::Formula;
use super::lexer::Reading;
use super::parse::parse;
use super::statement::*;
use super::value::*;

/// A text's statement.
pub(super) fn statement_of(text: &str) -> Statement {
    let digest = Digest::of(text.as_bytes(), Reading::default());
    parse(text.as_bytes(), Reading::default(), &digest).statement
}

/// A text's plan has this sketch.
pub(super) fn check(text: &str, expect: &str) {
    assert_eq!(sketch_of(text), expect, "{text}");
}

/// The sketch of a text's plan.
pub(crate) fn sketch_of(text: &str) -> String {
    sketch(&PlanCache::default().analyse(text.as_bytes(), SqlMode::default()).plan.statement)
}

pub(crate) fn sketch(statement: &Statement) -> String {
    match statement {
        Statement::Select(select) => select_sketch(select),
        Statement::Insert(insert) => insert_sketch(insert),
        Statement::Update(update) => {
            let set = update.assignments.iter().map(|(alias, column, value)| {
                let point = if alias.is_empty() { "" } else { "." };
                format!("{alias}{point}{column}={}", scalar(value))
            });
            format!(
                "update {} set {}{}",
                tables(&update.tables),
                join(set),
                tail(update.limited, &update.order)
            )
        }
        Statement::Delete(delete) => {
            format!("delete {}{}", tables(&delete.tables), tail(delete.limited, &delete.order))
        }
        Statement::Ddl { tables, verb, commits, .. } => {
            format!("ddl {verb}: {}{}", names(tables), if *commits { "" } else { " (no commit)" })
        }
        Statement::Routine { verb, tables, .. } => format!("routine {verb}: {}", names(tables)),
        Statement::Opaque { reason, tables } => format!("opaque {reason:?}: {}", names(tables)),
        Statement::LockTables(list) => join(
            list.iter().map(|(t, write)| format!("{}{}", name(t), if *write { " write" } else { " read" })),
        ),
        Statement::Multi(parts) => parts.iter().map(|part| sketch(part)).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    }
}

fn select_sketch(select: &Select) -> String {
    let mut out = format!("select {}{}", tables(&select.tables), tail(select.limited, &select.order));
    if select.user_lock {
        out.truncate(out.trim_end().len());
        out.push_str(" user_lock");
    }
    out.trim_end().to_owned()
}

fn insert_sketch(insert: &Insert) -> String {
    let mut out = String::from(if insert.replace { "replace" } else { "insert" });
    if insert.ignore {
        out.push_str(" ignore");
    }
    let _ = write!(out, " {}", name(&insert.table));
    if let Some(columns) = &insert.columns {
        let _ = write!(out, "({})", join(columns.iter().cloned()));
    }
    match &insert.rows {
        Rows::Values(row) => {
            let _ = write!(out, " [{}]", join(row.iter().map(scalar)));
        }
        Rows::Select(select) => {
            let _ = write!(out, " {}", select_sketch(select));
        }
    }
    if let Some(columns) = &insert.on_duplicate {
        let one = |(column, to): &(String, Scalar)| format!("{column}={}", scalar(to));
        let _ = write!(out, " dup({})", join(columns.iter().map(one)));
    }
    out
}

fn tail(limited: bool, order: &[(String, bool)]) -> String {
    let mut out = String::new();
    if !order.is_empty() {
        let columns = order.iter().map(|(column, down)| format!("{column}{}", if *down { "-" } else { "" }));
        let _ = write!(out, " order {}", join(columns));
    }
    if limited {
        out.push_str(" limit");
    }
    out
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn names(tables: &[TableName]) -> String {
    join(tables.iter().map(name))
}

fn name(table: &TableName) -> String {
    table.schema.as_ref().map_or(table.name.clone(), |schema| format!("{schema}.{}", table.name))
}

fn tables(tables: &[TableAccess]) -> String {
    tables.iter().map(table).collect::<Vec<_>>().join(" ")
}

fn table(access: &TableAccess) -> String {
    let mut out = String::from(if access.nested { "+" } else { "" });
    if let Some(lock) = access.lock {
        out.push_str(if lock.exclusive { "X" } else { "S" });
        out.push_str(match lock.wait {
            WaitPolicy::Wait => ":",
            WaitPolicy::NoWait => "!:",
            WaitPolicy::SkipLocked => "~:",
        });
    }
    out.push_str(&name(&access.table));
    if access.alias != access.table.name {
        let _ = write!(out, "/{}", access.alias);
    }
    let conditions = access.predicate.conditions.iter().map(condition);
    let exact = if access.predicate.exact { "" } else { "…" };
    let inner = conditions.collect::<Vec<_>>().join(" & ");
    if !inner.is_empty() || !exact.is_empty() {
        let _ = write!(out, "{{{inner}{exact}}}");
    }
    out
}

fn condition(condition: &Condition) -> String {
    let column = &condition.column;
    match &condition.test {
        Test::Eq(value) => format!("{column}={}", scalar(value)),
        Test::In(list) => format!("{column} in {}", join(list.iter().map(scalar))),
        Test::Range { low, high } => {
            let low = low.as_ref().map(|(v, i)| format!("{}{}", if *i { ">=" } else { ">" }, scalar(v)));
            let high = high.as_ref().map(|(v, i)| format!("{}{}", if *i { "<=" } else { "<" }, scalar(v)));
            format!("{column}{}{}", low.unwrap_or_default(), high.unwrap_or_default())
        }
        Test::Like(value) => format!("{column} like {}", scalar(value)),
        Test::IsNull => format!("{column} null"),
        Test::EqColumn(alias, other) => format!("{column}={alias}.{other}"),
        Test::Other => format!("{column}?"),
    }
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Slot(slot) => format!("{slot}"),
        Scalar::ListSlot(slot) => format!("{slot}*"),
        Scalar::Null => "null".into(),
        Scalar::Default => "default".into(),
        Scalar::Negative(slot) => format!("-{slot}"),
        Scalar::Computed(formula) => match &**formula {
            Formula::Inserted(column) => format!("new.{column}"),
            _ => "_".into(),
        },
        Scalar::Unknown => "_".into(),
    }
}
