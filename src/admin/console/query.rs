//! Answering a question from rows: WHERE, ORDER BY, LIMIT, and the terms in them.
//!
//! Text is compared without regard to case, numbers as numbers, NULL is neither true nor false: as in MySQL.

use std::cmp::Ordering;

use serde_json::Value;

use super::Fault;
use crate::admin::view::tables::{Column, ColumnKind, Row};
use crate::sql::question::{Comparison, Output, Question, Term};

/// Names that stand for values outside of the rows.
pub type Outside<'a> = &'a dyn Fn(&Term) -> Option<Value>;

/// A result set.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, one value for each column.
    pub rows: Vec<Vec<Value>>,
}

/// Answers a question from the rows of its table.
pub fn answer(
    question: &Question,
    columns: &[Column],
    rows: Vec<Row>,
    outside: Outside<'_>,
) -> Result<Table, Fault> {
    let scope = Scope { columns, outside };
    if let Some(filter) = &question.filter {
        scope.check(filter)?;
    }
    question.order.iter().try_for_each(|(key, _)| scope.check(key))?;
    let mut rows: Vec<Row> = match &question.filter {
        Some(filter) => {
            rows.into_iter().filter(|row| truth(&scope.value(filter, row)) == Some(true)).collect()
        }
        None => rows,
    };
    let counts = question.outputs.iter().any(|output| matches!(output, Output::Count(_)));
    if counts {
        let mut counted = Row::new();
        counted.insert("count".to_owned(), rows.len().into());
        rows = vec![counted];
    } else {
        rows.sort_by(|a, b| scope.order(&question.order, a, b));
    }
    let limit = question.limit.unwrap_or(usize::MAX);
    let rows: Vec<Row> = rows.into_iter().skip(question.offset).take(limit).collect();
    scope.project(&question.outputs, &rows)
}

struct Scope<'a> {
    columns: &'a [Column],
    outside: Outside<'a>,
}

impl Scope<'_> {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Is everything in the term known?
    fn check(&self, term: &Term) -> Result<(), Fault> {
        match term {
            Term::Column(name) if self.column(name).is_none() && (self.outside)(term).is_none() => {
                Err(Fault::unknown_column(name))
            }
            Term::Variable(name) if (self.outside)(term).is_none() => Err(Fault::unknown_variable(name)),
            Term::Function(name, _) if (self.outside)(term).is_none() => {
                Err(Fault::beyond(&format!("there is no function {name}()")))
            }
            Term::Not(a) | Term::IsNull(a) => self.check(a),
            Term::And(a, b) | Term::Or(a, b) | Term::Compare(a, _, b) | Term::Like(a, b) => {
                self.check(a).and_then(|()| self.check(b))
            }
            Term::In(a, list) => self.check(a).and_then(|()| list.iter().try_for_each(|b| self.check(b))),
            _ => Ok(()),
        }
    }

    fn value(&self, term: &Term, row: &Row) -> Value {
        let bool = |truth: Option<bool>| truth.map_or(Value::Null, |truth| u8::from(truth).into());
        let of = |term: &Term| self.value(term, row);
        match term {
            Term::Column(name) => match self.column(name) {
                Some(column) => row.get(&column.name).cloned().unwrap_or(Value::Null),
                None => (self.outside)(term).unwrap_or(Value::Null),
            },
            Term::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
            Term::Number(number) => (*number).into(),
            Term::Text(text) => text.clone().into(),
            Term::Null => Value::Null,
            Term::Variable(_) | Term::Function(..) => (self.outside)(term).unwrap_or(Value::Null),
            Term::Not(a) => bool(truth(&of(a)).map(|truth| !truth)),
            Term::And(a, b) => bool(match (truth(&of(a)), truth(&of(b))) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
            Term::Or(a, b) => bool(match (truth(&of(a)), truth(&of(b))) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
            Term::Compare(a, comparison, b) => bool(compare(&of(a), &of(b)).map(|order| match comparison {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            })),
            Term::In(a, list) => {
                let a = of(a);
                let found = list.iter().any(|b| compare(&a, &of(b)) == Some(Ordering::Equal));
                bool((!a.is_null()).then_some(found))
            }
            Term::Like(a, pattern) => bool(match (&of(a), &of(pattern)) {
                (Value::Null, _) | (_, Value::Null) => None,
                (a, pattern) => Some(like(&text(a), &text(pattern))),
            }),
            Term::IsNull(a) => bool(Some(of(a).is_null())),
        }
    }

    fn order(&self, keys: &[(Term, bool)], a: &Row, b: &Row) -> Ordering {
        for (key, descending) in keys {
            let (a, b) = (self.value(key, a), self.value(key, b));
            let order = match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                _ => compare(&a, &b).unwrap_or(Ordering::Equal),
            };
            let order = if *descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    fn project(&self, outputs: &[Output], rows: &[Row]) -> Result<Table, Fault> {
        let mut columns = Vec::new();
        let mut terms = Vec::new();
        for output in outputs {
            match output {
                Output::All => {
                    columns.extend(self.columns.iter().cloned());
                    terms.extend(self.columns.iter().map(|column| Term::Column(column.name.clone())));
                }
                Output::Count(label) => {
                    columns.push(Column { nullable: false, ..Column::plain(label, ColumnKind::Integer) });
                    terms.push(Term::Column("\u{0}count".to_owned()));
                }
                Output::Term(term, label) => {
                    self.check(term)?;
                    columns.push(self.shape(term, label));
                    terms.push(term.clone());
                }
            }
        }
        let value = |term: &Term, row: &Row| match term {
            Term::Column(name) if name == "\u{0}count" => row["count"].clone(),
            term => self.value(term, row),
        };
        let rows = rows.iter().map(|row| terms.iter().map(|term| value(term, row)).collect()).collect();
        Ok(Table { columns, rows })
    }

    /// The column of a term.
    fn shape(&self, term: &Term, label: &str) -> Column {
        let kind = match term {
            Term::Column(name) => match self.column(name) {
                Some(column) => return Column { name: label.to_owned(), ..column.clone() },
                None => ColumnKind::Text,
            },
            Term::Text(_) | Term::Null => ColumnKind::Text,
            Term::Number(number) if number.fract() != 0.0 => ColumnKind::Double,
            Term::Variable(_) | Term::Function(..) => match (self.outside)(term) {
                Some(Value::Number(number)) if number.is_i64() => ColumnKind::Integer,
                _ => ColumnKind::Text,
            },
            _ => ColumnKind::Integer,
        };
        Column::plain(label, kind)
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(*truth),
        value => Some(number(value) != 0.0),
    }
}

/// A number as MySQL reads one: text that is none is 0.
fn number(value: &Value) -> f64 {
    match value {
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        value => value.as_f64().unwrap_or(0.0),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        value => value.to_string(),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::String(a), Value::String(b)) => Some(a.to_lowercase().cmp(&b.to_lowercase())),
        // The word `true` is a number here.
        (Value::Bool(_), Value::String(word)) if word.eq_ignore_ascii_case("true") => {
            Some(number(a).total_cmp(&1.0))
        }
        _ => Some(number(a).total_cmp(&number(b))),
    }
}

/// `%` any text, `_` one character, `\` takes the next as it is. Both sides are in small letters. Looks back
/// to the last `%` only, so the time is bounded by the product of the lengths.
pub fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut back) = (0, 0, None);
    while t < text.len() {
        let (taken, literal) = match pattern.get(p) {
            Some('\\') => (2, pattern.get(p + 1)),
            other => (1, other),
        };
        match pattern.get(p) {
            Some('%') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some('_') => {
                t += 1;
                p += 1;
            }
            Some(_) if literal == Some(&text[t]) => {
                t += 1;
                p += taken;
            }
            _ => match &mut back {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == '%')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sql::question::question;

    fn ask(sql: &str) -> Result<Vec<Vec<Value>>, Fault> {
        let columns = [
            Column::plain("session", ColumnKind::Integer),
            Column::plain("mode", ColumnKind::Text),
            Column::plain("age", ColumnKind::Double),
        ];
        let row = |session: u64, mode: Option<&str>, age: f64| {
            let Value::Object(row) = json!({ "session": session, "mode": mode, "age": age }) else {
                panic!()
            };
            row
        };
        let rows = vec![row(1, Some("X"), 5.0), row(2, Some("S"), 0.5), row(3, None, 10.0)];
        answer(&question(sql).unwrap(), &columns, rows, &|_| None).map(|table| table.rows)
    }

    #[test]
    fn questions_are_answered() {
        let check = |sql: &str, expected: Value| assert_eq!(json!(ask(sql).unwrap()), expected, "{sql}");
        check("SELECT session FROM t WHERE mode = 'x'", json!([[1]]));
        check("SELECT session FROM t WHERE mode <> 'x'", json!([[2]]));
        check("SELECT session FROM t WHERE mode IS NULL", json!([[3]]));
        check("SELECT session FROM t WHERE NOT mode = 'X' OR age > 9", json!([[2], [3]]));
        check("SELECT session FROM t WHERE session IN (1, '3') ORDER BY age DESC", json!([[3], [1]]));
        check("SELECT session FROM t ORDER BY mode DESC LIMIT 1, 1", json!([[2]]));
        check("SELECT session FROM t WHERE age BETWEEN 0.5 AND 5 ORDER BY session", json!([[1], [2]]));
        check("SELECT COUNT(*) FROM t WHERE session > 1", json!([[2]]));
        check("SELECT session AS s, 'a' FROM t LIMIT 1", json!([[1, "a"]]));
        check("SELECT session FROM t WHERE mode LIKE '_'", json!([[1], [2]]));
        assert_eq!(ask("SELECT colour FROM t").unwrap_err().code, 1054);
        assert_eq!(ask("SELECT session FROM t WHERE colour = 1").unwrap_err().code, 1054);
        assert_eq!(ask("SELECT @@nonsense FROM t").unwrap_err().code, 1193);
    }

    #[test]
    fn patterns_match() {
        let check = |text: &str, pattern: &str, expected: bool| {
            assert_eq!(like(text, pattern), expected, "{text} LIKE {pattern}");
        };
        check("character_set_client", "character\\_set\\_%", true);
        check("characterXset", "character\\_set", false);
        check("abc", "a%c", true);
        check("abcbc", "a%bc", true);
        check("abc", "a_", false);
        check("", "%%", true);
        check(&"a".repeat(5000), &"%a".repeat(500), true);
        check("x%", "x\\%", true);
    }
}
