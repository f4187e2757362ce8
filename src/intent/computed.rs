//! Values that expressions give: of a statement, of a column's default, of a generated column.

use super::Values;
use crate::catalog::{Column, Family, Table};
use crate::sql::formula::{Formula, Inputs, Moment};
use crate::sql::value::Value;

/// The value of a formula in one row of a statement; `column` gives the row's columns by name.
pub(super) fn value(
    formula: &Formula,
    values: &dyn Values,
    row: usize,
    column: &dyn Fn(&str) -> Option<Value<'static>>,
) -> Option<Value<'static>> {
    let slot = |slot: usize| Some(values.row_value(row, slot).outliving());
    formula.value(&Inputs { slot: &slot, column, moment: values.moment() })
}

/// The value of a column's own formula: its default, or what generates it.
pub(super) fn own<'v>(
    table: &Table,
    at: usize,
    moment: Moment,
    value_of: &dyn Fn(usize) -> Option<Value<'v>>,
) -> Option<Value<'static>> {
    let formula = table.columns[at].formula.as_deref()?;
    formula.value(&Inputs { slot: &|_| None, column: &|name| named(table, name, value_of), moment })
}

/// The value of a generated column of a row as it is.
pub(super) fn own_generated<'v>(
    table: &Table,
    at: usize,
    value_of: &dyn Fn(usize) -> Option<Value<'v>>,
) -> Option<Value<'static>> {
    let value = |column: usize| value_of(column).or_else(|| own_generated(table, column, value_of));
    if table.columns[at].generated { own(table, at, Moment::default(), &value) } else { None }
}

/// A column of a row by its name, as it is stored.
pub(super) fn named<'v>(
    table: &Table,
    name: &str,
    value_of: &dyn Fn(usize) -> Option<Value<'v>>,
) -> Option<Value<'static>> {
    let at = table.column(name)?;
    stored(&table.columns[at], value_of(at)?)
}

/// What a value is once it stands in its column: the conversions that are certain.
fn stored(column: &Column, value: Value<'_>) -> Option<Value<'static>> {
    match (&column.family, value) {
        (_, Value::Null) => Some(Value::Null),
        (Family::Integer, Value::Int(n)) => Some(Value::Int(n)),
        (Family::Integer, Value::Text(text)) => {
            Some(Value::Int(std::str::from_utf8(&text).ok()?.trim().parse().ok()?))
        }
        (Family::Text(_), Value::Text(text)) => Some(Value::Text(text.into_owned().into())),
        (Family::Text(_), Value::Int(n)) => Some(Value::Text(n.to_string().into_bytes().into())),
        (Family::Date, Value::Text(text)) => moment(std::str::from_utf8(&text).ok()?, 10),
        (Family::Date, Value::Temporal(text)) => moment(&text, 10),
        (Family::DateTime(0), Value::Text(text)) => moment(std::str::from_utf8(&text).ok()?, 19),
        (Family::DateTime(0), Value::Temporal(text)) => moment(&text, 19),
        _ => None,
    }
}

/// A day or a moment in its usual form.
fn moment(text: &str, length: usize) -> Option<Value<'static>> {
    match (text.len(), length) {
        (10, 19) => Some(Value::Temporal(format!("{text} 00:00:00"))),
        (10 | 19, _) => Some(Value::Temporal(text.get(..length)?.to_owned())),
        _ => None,
    }
}

/// Does a column's value hang on the clock or the session where the statement names none?
pub(super) fn is_of_session(column: &Column) -> bool {
    column.on_update || column.formula.as_ref().is_some_and(|formula| formula.is_of_session())
}

#[cfg(test)]
#[path = "computed_tests.rs"]
mod tests;
