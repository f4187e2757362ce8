//! Conditions that no row can meet.

use super::access_path::usable;
use super::{Values, scalar, value};
use crate::catalog::{Flavour, KeyPart, Table};
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::sql::access::{Condition, Predicate, Test};
use crate::sql::value::{Scalar, Value};

/// No row can meet the condition, and the server's optimizer sees that and reads nothing: a column is to have two values,
/// or an interval on a column of some index is empty. MariaDB sees the first in a SELECT, in an UPDATE or DELETE only of a
/// column of some index; and the second in a SELECT only where the column comes first in an index (`EXPLAIN` on MySQL
/// 9.7 and MariaDB 10.11).
pub fn is_empty(
    table: &Table,
    predicate: &Predicate,
    values: &dyn Values,
    (flavour, changes): (Flavour, bool),
) -> bool {
    let mariadb = flavour == Flavour::MariaDb;
    let indexed = |column: usize, first: bool| {
        let mut indexes = table.indexes.iter().filter(|index| usable(index));
        let parts = if first { 1 } else { usize::MAX };
        indexes.any(|index| index.parts.iter().take(parts).any(|part| part.column == Some(column)))
    };
    let key = |column: usize, value: &Scalar| {
        let part = KeyPart { column: Some(column), prefix: None, descending: false };
        let mut key = Key::default();
        let sure = value::push(&mut key, &table.columns[column], &part, &scalar(value, values, 0)?);
        (sure == Some(Certainty::Certain)).then_some(key)
    };
    predicate.conditions.iter().enumerate().any(|(at, condition)| {
        let Some(column) = table.column(&condition.column) else { return false };
        match &condition.test {
            Test::Range { low: Some((low, _)), high: Some((high, _)) } => {
                let ends = (scalar(low, values, 0), scalar(high, values, 0));
                matches!(ends, (Some(Value::Int(low)), Some(Value::Int(high))) if low > high)
                    && indexed(column, mariadb && !changes)
            }
            Test::Eq(value) => {
                let differs = |other: &Condition| match &other.test {
                    Test::Eq(other) => {
                        let keys = (key(column, value), key(column, other));
                        matches!(keys, (Some(one), Some(other)) if one != other)
                    }
                    _ => false,
                };
                let mut before = predicate.conditions[..at].iter();
                before.any(|other| table.column(&other.column) == Some(column) && differs(other))
                    && !(mariadb && changes && !indexed(column, false))
            }
            _ => false,
        }
    })
}
