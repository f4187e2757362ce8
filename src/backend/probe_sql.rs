//! The text of a neighbour probe, and the reading of its answer. Pure.
//!
//! A probe of index `(a, b)` around the key `(1, 2)`:
//!
//! ```sql
//! (SELECT 0, `a` + 0, `b` + 0 FROM `s`.`t` FORCE INDEX (`i`)
//!    WHERE (`a` < 1) OR (`a` = 1 AND `b` < 2) ORDER BY `a` DESC, `b` DESC LIMIT 1)
//! UNION ALL (SELECT 1, … WHERE `a` = 1 AND `b` = 2 LIMIT 1)
//! UNION ALL (SELECT 2, … WHERE (`a` > 1) OR (`a` = 1 AND `b` > 2) ORDER BY `a`, `b` LIMIT 1)
//! ```
//!
//! Each branch reads one entry of the index. "Before" and "after" are meant in the order of the index: a
//! descending part turns them round, and NULL stands before every value.

use super::control::TextRow;
use super::literal::{bytes, expression, identifier, selected, string};
use crate::catalog::{Column, Family, Index, KeyPart, Table};

/// A value of an index part, as a probe asks for it and answers with it.
#[derive(Clone, PartialEq, Debug)]
pub enum ProbeValue {
    /// NULL
    Null,
    /// Of a column of [`Family::Integer`].
    Int(i128),
    /// Of a column of [`Family::Decimal`], in digits: `-12.50`.
    Decimal(String),
    /// Of a column of [`Family::Float`].
    Float(f64),
    /// Of a column of [`Family::Text`], in UTF-8.
    Text(Vec<u8>),
    /// Of a column of [`Family::Binary`]; for `BINARY(n)` with its zero bytes.
    Bytes(Vec<u8>),
    /// Of a column of [`Family::Date`], [`Family::DateTime`] or [`Family::Time`], as the server writes it.
    Temporal(String),
}

/// The entries of an index around a key.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Neighbours {
    /// The nearest entry before the key, in the order of the index; `None`: the key lies before all.
    pub previous: Option<Vec<ProbeValue>>,
    /// An entry with the key itself.
    pub exact: Option<Vec<ProbeValue>>,
    /// The nearest entry after the key; `None`: the key lies behind all, next to the supremum.
    pub next: Option<Vec<ProbeValue>>,
}

/// A probe that can be sent.
#[derive(Clone, PartialEq, Debug)]
pub struct ProbeSql {
    /// The statement.
    pub text: String,
    /// Families of the answer's parts.
    families: Vec<Family>,
}

/// A part of the key with its column.
struct Part<'a> {
    name: String,
    column: &'a Column,
    descending: bool,
}

/// Bytes of the longest index key of InnoDB: what is longer cannot stand in an index as a whole.
const LONGEST: usize = 3072;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Writes the probe for a key, or the first parts of a key, of an index. `None` if it cannot be asked: an
/// expression, a prefix or a type that does not compare stands in the way, or a value does not fit its column.
pub fn build(table: &Table, index: u16, key: &[ProbeValue]) -> Option<ProbeSql> {
    let index = table.indexes.get(usize::from(index)).filter(|index| index.btree)?;
    let parts = parts(table, index);
    if key.is_empty() || key.len() > parts.len() {
        return None;
    }
    let literals: Vec<Option<String>> =
        key.iter().zip(&parts).map(|(value, part)| literal(value, part.column)).collect::<Option<_>>()?;

    let (list, from) = (list(&parts), from(table, index));
    let branch = |number: u8, condition: Option<String>, side: Option<Side>| {
        let order = side.map_or_else(String::new, |side| format!(" ORDER BY {}", order(&parts, side)));
        let condition = condition?;
        Some(format!("(SELECT {number}, {list} FROM {from} WHERE {condition}{order} LIMIT 1)"))
    };
    let branches = [
        branch(0, beyond(&parts, &literals, Side::Before), Some(Side::Before)),
        branch(1, Some(equal(&parts, &literals)), None),
        branch(2, beyond(&parts, &literals, Side::After), Some(Side::After)),
    ];
    Some(ProbeSql {
        text: branches.into_iter().flatten().collect::<Vec<_>>().join(" UNION ALL "),
        families: parts.iter().map(|part| part.column.family.clone()).collect(),
    })
}

/// Writes the probe for the last entry of an index: it is answered as the one before every key. `None`: as for
/// [`build`].
pub fn build_last(table: &Table, index: u16) -> Option<ProbeSql> {
    let index = table.indexes.get(usize::from(index)).filter(|index| index.btree)?;
    let parts = parts(table, index);
    if parts.is_empty() {
        return None;
    }
    let order = order(&parts, Side::Before);
    let text = format!("SELECT 0, {} FROM {} ORDER BY {order} LIMIT 1", list(&parts), from(table, index));
    Some(ProbeSql { text, families: parts.iter().map(|part| part.column.family.clone()).collect() })
}

/// What is read of an entry.
fn list(parts: &[Part<'_>]) -> String {
    parts.iter().map(|part| selected(&part.name, &part.column.family)).collect::<Vec<_>>().join(", ")
}

fn from(table: &Table, index: &Index) -> String {
    let (schema, name) = (identifier(&table.schema), identifier(&table.name));
    format!("{schema}.{name} FORCE INDEX ({})", identifier(&index.name))
}

/// The leading parts of the index whose order the server's comparison operators follow.
fn parts<'a>(table: &'a Table, index: &Index) -> Vec<Part<'a>> {
    let usable = |part: &KeyPart| {
        let column = table.columns.get(part.column?)?;
        let whole = part.prefix.is_none() && column.family != Family::Other;
        whole.then(|| Part { name: expression(column), column, descending: part.descending })
    };
    index.parts.iter().map_while(usable).collect()
}

/// The literal for a value; the inner `None` is NULL. The outer `None`: the value does not fit the column.
fn literal(value: &ProbeValue, column: &Column) -> Option<Option<String>> {
    let text = match (value, &column.family) {
        (ProbeValue::Null, _) => return Some(None),
        // Beyond BIGINT the comparison is not one of integers any more, and reads the whole index.
        (ProbeValue::Int(n), Family::Integer | Family::Decimal(_) | Family::Float) => {
            (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n).then(|| n.to_string())?
        }
        (ProbeValue::Decimal(digits), Family::Decimal(_) | Family::Float) => {
            let plain = digits.strip_prefix('-').unwrap_or(digits);
            let number = plain.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            (number && plain.parse::<f64>().is_ok()).then(|| digits.clone())?
        }
        (ProbeValue::Float(x), Family::Float) => x.is_finite().then(|| format!("{x:e}"))?,
        (ProbeValue::Text(text), Family::Text(_)) if text.len() <= LONGEST => {
            string(std::str::from_utf8(text).ok()?)
        }
        (ProbeValue::Bytes(value), Family::Binary(_)) if value.len() <= LONGEST => bytes(value),
        (ProbeValue::Temporal(text), Family::Date | Family::DateTime(_) | Family::Time(_)) => string(text),
        _ => return None,
    };
    Some(Some(text))
}

/// Entries strictly on one side of the key: `(a > 1) OR (a = 1 AND b > 2)`. `None`: there are none.
fn beyond(parts: &[Part<'_>], key: &[Option<String>], side: Side) -> Option<String> {
    let terms: Vec<String> = (0..key.len())
        .filter_map(|n| {
            let last = compare(&parts[n], key[n].as_deref(), side)?;
            Some(if n == 0 {
                format!("({last})")
            } else {
                format!("({} AND {last})", equal(&parts[..n], &key[..n]))
            })
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

/// One column strictly on one side of a value, in the order of the index.
fn compare(part: &Part<'_>, value: Option<&str>, side: Side) -> Option<String> {
    let name = &part.name;
    let larger = (side == Side::After) != part.descending;
    match (larger, value) {
        (true, Some(value)) => Some(format!("{name} > {value}")),
        // NULL is the smallest.
        (true, None) => Some(format!("{name} IS NOT NULL")),
        (false, Some(value)) if part.column.nullable => Some(format!("({name} < {value} OR {name} IS NULL)")),
        (false, Some(value)) => Some(format!("{name} < {value}")),
        (false, None) => None,
    }
}

fn equal(parts: &[Part<'_>], key: &[Option<String>]) -> String {
    let terms: Vec<String> = parts
        .iter()
        .zip(key)
        .map(|(part, value)| match value {
            Some(value) => format!("{} = {value}", part.name),
            None => format!("{} IS NULL", part.name),
        })
        .collect();
    terms.join(" AND ")
}

fn order(parts: &[Part<'_>], side: Side) -> String {
    let terms: Vec<String> = parts
        .iter()
        .map(|part| {
            let descending = (side == Side::Before) != part.descending;
            if descending { format!("{} DESC", part.name) } else { part.name.clone() }
        })
        .collect();
    terms.join(", ")
}

impl ProbeSql {
    /// Reads the answer. `None` if a value is not of its column's kind, which the server would have to
    /// have changed meanwhile.
    pub fn read(&self, rows: &[TextRow]) -> Option<Neighbours> {
        let mut neighbours = Neighbours::default();
        for row in rows {
            let (number, values) = row.split_first()?;
            if values.len() != self.families.len() {
                return None;
            }
            let entry: Vec<ProbeValue> = values
                .iter()
                .zip(&self.families)
                .map(|(v, family)| value(v, family))
                .collect::<Option<_>>()?;
            match number.as_deref() {
                Some(b"0") => neighbours.previous = Some(entry),
                Some(b"1") => neighbours.exact = Some(entry),
                Some(b"2") => neighbours.next = Some(entry),
                _ => return None,
            }
        }
        Some(neighbours)
    }
}

pub(super) fn value(bytes: &Option<Vec<u8>>, family: &Family) -> Option<ProbeValue> {
    let Some(bytes) = bytes else { return Some(ProbeValue::Null) };
    let text = || String::from_utf8(bytes.clone()).ok();
    Some(match family {
        Family::Integer => ProbeValue::Int(text()?.parse().ok()?),
        Family::Decimal(_) => ProbeValue::Decimal(text()?),
        Family::Float => ProbeValue::Float(text()?.parse().ok()?),
        Family::Text(_) => ProbeValue::Text(bytes.clone()),
        Family::Binary(_) => ProbeValue::Bytes(bytes.clone()),
        Family::Date | Family::DateTime(_) | Family::Time(_) => ProbeValue::Temporal(text()?),
        Family::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TableKind;
    use crate::id::TableId;

    /// Table `s.t` with columns a (INT NOT NULL), b (INT), c (VARCHAR), e (ENUM) and one index over `parts`;
    /// `-b` is descending, `c4` a prefix of four characters.
    fn table(parts: &str) -> Table {
        let columns = vec![
            Column::plain("a", Family::Integer, false),
            Column::plain("b", Family::Integer, true),
            Column::plain("c", Family::Text("utf8mb4_bin".to_owned()), false),
            Column::plain("e", Family::Other, false),
        ];
        let part = |text: &str| KeyPart {
            column: columns.iter().position(|c| c.name == text.trim_matches(|c: char| !c.is_alphabetic())),
            prefix: text.ends_with('4').then_some(4),
            descending: text.starts_with('-'),
        };
        let parts = parts.split(' ').map(part).collect();
        Table {
            id: TableId(1),
            generation: 1,
            schema: "s".to_owned(),
            name: "t".to_owned(),
            kind: TableKind::InnoDb,
            columns: columns.clone(),
            indexes: vec![Index { name: "i".to_owned(), unique: false, parts, btree: true }],
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            partitioned: false,
            definition: None,
            triggers: Vec::new(),
        }
    }

    /// The three branches without what they have in common.
    fn check(parts: &str, key: &[ProbeValue], expected: &[&str]) {
        let sql = build(&table(parts), 0, key);
        let branches: Vec<String> = sql.map_or_else(Vec::new, |sql| {
            sql.text
                .split(" UNION ALL ")
                .map(|branch| {
                    let (_, rest) = branch.split_once(" FROM `s`.`t` FORCE INDEX (`i`) WHERE ").unwrap();
                    rest.trim_end_matches(" LIMIT 1)").to_owned()
                })
                .collect()
        });
        assert_eq!(branches, expected, "{parts} {key:?}");
    }

    use ProbeValue::{Int, Null, Text};

    #[test]
    fn one_part() {
        check("a", &[Int(5)], &["(`a` < 5) ORDER BY `a` DESC", "`a` = 5", "(`a` > 5) ORDER BY `a`"]);
        let text = build(&table("a"), 0, &[Int(-5)]).unwrap().text;
        assert!(text.starts_with("(SELECT 0, `a` + 0 FROM"), "{text}");
    }

    #[test]
    fn the_last_entry() {
        let text = build_last(&table("a -b c4"), 0).map(|sql| sql.text);
        let expected =
            "SELECT 0, `a` + 0, `b` + 0 FROM `s`.`t` FORCE INDEX (`i`) ORDER BY `a` DESC, `b` LIMIT 1";
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(build_last(&table("e"), 0), None);
    }

    #[test]
    fn two_parts_compare_as_one_key() {
        check(
            "a c",
            &[Int(1), Text(b"it's".to_vec())],
            &[
                "(`a` < 1) OR (`a` = 1 AND `c` < 'it''s') ORDER BY `a` DESC, `c` DESC",
                "`a` = 1 AND `c` = 'it''s'",
                "(`a` > 1) OR (`a` = 1 AND `c` > 'it''s') ORDER BY `a`, `c`",
            ],
        );
    }

    #[test]
    fn the_first_parts_of_a_key() {
        let expected = ["(`a` < 1) ORDER BY `a` DESC, `c` DESC", "`a` = 1", "(`a` > 1) ORDER BY `a`, `c`"];
        check("a c", &[Int(1)], &expected);
    }

    #[test]
    fn null_stands_before_every_value() {
        check(
            "b",
            &[Int(5)],
            &["((`b` < 5 OR `b` IS NULL)) ORDER BY `b` DESC", "`b` = 5", "(`b` > 5) ORDER BY `b`"],
        );
        check("b", &[Null], &["`b` IS NULL", "(`b` IS NOT NULL) ORDER BY `b`"]);
    }

    #[test]
    fn descending_parts_turn_round() {
        check(
            "a -b",
            &[Int(1), Null],
            &[
                "(`a` < 1) OR (`a` = 1 AND `b` IS NOT NULL) ORDER BY `a` DESC, `b`",
                "`a` = 1 AND `b` IS NULL",
                "(`a` > 1) ORDER BY `a`, `b` DESC",
            ],
        );
    }

    #[test]
    fn parts_that_do_not_compare_end_the_key() {
        check("a e", &[Int(1)], &["(`a` < 1) ORDER BY `a` DESC", "`a` = 1", "(`a` > 1) ORDER BY `a`"]);
        check("a e", &[Int(1), Int(1)], &[]);
        check("c4", &[Text(b"x".to_vec())], &[]);
        check("e", &[Int(1)], &[]);
    }

    #[test]
    fn values_that_do_not_fit_are_not_asked_for() {
        check("a", &[Text(b"1".to_vec())], &[]);
        check("c", &[Text(vec![0xff])], &[]);
        check("a", &[], &[]);
        let decimal = Column::plain("d", Family::Decimal(2), false);
        let ask = |text: &str| literal(&ProbeValue::Decimal(text.to_owned()), &decimal);
        assert_eq!(ask("-1.50"), Some(Some("-1.50".to_owned())));
        assert_eq!(ask("1) OR (1"), None);
        assert_eq!(ask("-"), None);
    }

    #[test]
    fn answers_are_read_by_family() {
        let sql = build(&table("a c"), 0, &[Int(1)]).unwrap();
        let row = |n: &str, a: &str, c: &str| vec![Some(n.into()), Some(a.into()), Some(c.into())];
        let neighbours = sql.read(&[row("2", "9", "x"), row("0", "-3", "y")]).unwrap();
        assert_eq!(neighbours.previous, Some(vec![Int(-3), Text(b"y".to_vec())]));
        assert_eq!(neighbours.exact, None);
        assert_eq!(neighbours.next, Some(vec![Int(9), Text(b"x".to_vec())]));
        assert_eq!(sql.read(&[row("2", "nine", "x")]), None);
    }
}
