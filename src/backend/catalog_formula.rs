//! What the definitions of a table compute: defaults, generated columns, functional indexes.

use std::sync::Arc;

use crate::catalog::{Column, Family, Flavour};
use crate::sql::formula::{Formula, Function};
use crate::sql::formula_reader::definition;
use crate::sql::lexer::Reading;
use crate::sql::value::Value;

/// The collation of a text that comes from no column.
const DEFAULT_COLLATION: &str = "utf8mb4_0900_ai_ci";

/// The formula of an expression as `information_schema` gives it.
pub(super) fn formula(flavour: Flavour, text: &str) -> Option<Arc<Formula>> {
    let reading = Reading { mariadb: flavour == Flavour::MariaDb, ..Reading::default() };
    definition(text, reading).map(Arc::new)
}

/// MySQL gives quotes in expressions with a backslash: ``concat(`a`,_utf8mb4\'-\')``.
pub(super) fn plain(flavour: Flavour, text: &str) -> String {
    if flavour == Flavour::MariaDb {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// The expression of a functional index, as a column behind those of the table.
pub(super) fn hidden(flavour: Flavour, columns: &[Column], expression: &str) -> Column {
    let expression = plain(flavour, expression);
    let formula = formula(flavour, &expression);
    let spelling = formula.as_ref().and_then(|formula| formula.spelling());
    let name = spelling.unwrap_or_else(|| expression.clone());
    let family = formula.as_ref().map_or(Family::Other, |formula| family(formula, columns));
    let plain = Column::plain(&name, family, true);
    Column { generated: true, formula, expression: Some(expression), ..plain }
}

/// How the values of a formula compare.
fn family(formula: &Formula, columns: &[Column]) -> Family {
    let named = |name: &str| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    match formula {
        Formula::Column(name) => named(name).map_or(Family::Other, |column| column.family.clone()),
        Formula::Literal(Value::Int(_)) => Family::Integer,
        Formula::Literal(Value::Text(_)) => Family::Text(DEFAULT_COLLATION.to_owned()),
        Formula::Literal(_) | Formula::Slot(_) | Formula::Inserted(_) => Family::Other,
        Formula::LastInsertId => Family::Integer,
        Formula::Now(true) => Family::DateTime(0),
        Formula::Now(false) => Family::Date,
        Formula::Call(function, given) => {
            let of = |n: usize| given.get(n).map_or(Family::Other, |one| family(one, columns));
            match function {
                Function::Lower
                | Function::Upper
                | Function::Concat
                | Function::ConcatWs
                | Function::Trim
                | Function::TrimStart
                | Function::TrimEnd
                | Function::Substring
                | Function::Left
                | Function::Right
                | Function::Replace => text(given, columns),
                // What is made of a number has the connection's collation.
                Function::Char if matches!(of(0), Family::Text(_)) => of(0),
                Function::Char => Family::Other,
                Function::Coalesce | Function::NullIf => of(0),
                Function::If if of(2) == Family::Other => of(1),
                Function::If => of(2),
                Function::Add | Function::Subtract | Function::Multiply | Function::Abs => {
                    let whole = (0..given.len()).all(|n| of(n) == Family::Integer);
                    if whole { Family::Integer } else { Family::Other }
                }
                Function::Divide
                | Function::Modulo
                | Function::CharLength
                | Function::Equal
                | Function::SameAs
                | Function::Less
                | Function::IsNull
                | Function::Not
                | Function::And
                | Function::Or
                | Function::Integer(_)
                | Function::Year
                | Function::Month => Family::Integer,
                Function::Date => Family::Date,
                Function::Shift(..) => of(0),
            }
        }
    }
}

/// A text has the collation of the column that it comes from.
fn text(given: &[Formula], columns: &[Column]) -> Family {
    let collations = given.iter().filter_map(|one| match family(one, columns) {
        Family::Text(collation) if !one.columns().is_empty() => Some(collation),
        _ => None,
    });
    let collation = collations.into_iter().next();
    match (collation, given.iter().all(|one| one.columns().is_empty())) {
        (Some(collation), _) => Family::Text(collation),
        (None, true) => Family::Text(DEFAULT_COLLATION.to_owned()),
        (None, false) => Family::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, family: Family) -> Column {
        Column { name: name.to_owned(), family, ..hidden(Flavour::MySql, &[], "1") }
    }

    #[test]
    fn a_functional_index_is_known_by_its_expression() {
        let columns = [
            column("mail", Family::Text("utf8mb4_bin".to_owned())),
            column("n", Family::Integer),
            column("price", Family::Decimal(2)),
        ];
        let hidden = |text: &str| hidden(Flavour::MySql, &columns, text);
        let lower = hidden("lower(`mail`)");
        assert_eq!(lower.name, definition("LOWER(mail)", Reading::default()).unwrap().spelling().unwrap());
        assert_eq!(lower.family, Family::Text("utf8mb4_bin".to_owned()));
        assert_eq!(lower.expression.as_deref(), Some("lower(`mail`)"));
        assert_eq!(hidden("(`n` + 1)").family, Family::Integer);
        assert_eq!(hidden("(`price` * 2)").family, Family::Other);
        let case = hidden("(case when (`n` = 0) then `mail` end)");
        assert_eq!(case.family, Family::Text("utf8mb4_bin".to_owned()));
        let joined = hidden("concat(`mail`,_utf8mb4\\'-\\')");
        assert_eq!(joined.expression.as_deref(), Some("concat(`mail`,_utf8mb4'-')"));
        assert!(joined.formula.is_some());
        // What nobody can compute is an index all the same.
        let unknown = hidden("sha1(`mail`)");
        assert_eq!((unknown.family, unknown.formula), (Family::Other, None));
    }
}
