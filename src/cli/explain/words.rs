//! A lock in words: what it covers, and what could wait for it.

use crate::backend::probe::ProbeValue;
use crate::catalog::{Index, Table};
use crate::lock::key::Key;
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::Kind;

/// What is known of the entries around a place.
#[derive(Clone, Default, Debug)]
pub struct Around {
    /// An entry with the key exists.
    pub exists: bool,
    /// The nearest entry below, if there is one.
    pub below: Option<Vec<ProbeValue>>,
    /// The nearest entry above, if there is one.
    pub above: Option<Vec<ProbeValue>>,
}

/// The part of the index that a lock covers.
pub fn place(
    table: &Table,
    index: &Index,
    kind: Kind,
    range: &Range,
    place: Option<&[ProbeValue]>,
    around: Option<&Around>,
) -> String {
    let names = columns(table, index);
    let point = match place {
        Some(values) if *range == Range::entries(&range.low) && !values.is_empty() => {
            let pairs = names.iter().zip(values).map(|(name, value)| format!("{name} = {}", text(value)));
            Some(pairs.collect::<Vec<_>>().join(", "))
        }
        _ => None,
    };
    let gap = around.map(|around| {
        let edge = |entry: &Option<Vec<ProbeValue>>, none: &str| {
            let first =
                |entry: &Vec<ProbeValue>| entry.iter().take(names.len()).map(text).collect::<Vec<_>>();
            entry.as_ref().map_or_else(|| none.to_owned(), |entry| first(entry).join(", "))
        };
        format!("between {} and {}", edge(&around.below, "the beginning"), edge(&around.above, "the end"))
    });
    match (kind, point, gap) {
        (Kind::Gap | Kind::Insert { .. }, Some(point), Some(gap)) => format!("{point}, {gap}"),
        (_, Some(point), _) => point,
        _ => interval(&names, range),
    }
}

fn interval(names: &[String], range: &Range) -> String {
    let name = names.first().map(String::as_str).unwrap_or("the row id");
    let edge = |key: &Key| key.to_string();
    match (range.low.is_lowest(), range.high.is_supremum()) {
        (true, true) => "every entry, and the end".to_owned(),
        (true, false) => format!("{name} up to {}", edge(&range.high)),
        (false, true) => format!("{name} from {} to the end", edge(&range.low)),
        (false, false) if *range == Range::entries(&range.low) => format!("{name} = {}", edge(&range.low)),
        (false, false) => format!("{name} from {} to {}", edge(&range.low), edge(&range.high)),
    }
}

fn columns(table: &Table, index: &Index) -> Vec<String> {
    let name = |part: &crate::catalog::KeyPart| match part.column.and_then(|at| table.columns.get(at)) {
        Some(column) => column.name.clone(),
        None => "(an expression)".to_owned(),
    };
    index.parts.iter().map(name).collect()
}

fn text(value: &ProbeValue) -> String {
    match value {
        ProbeValue::Null => "NULL".to_owned(),
        ProbeValue::Int(n) => n.to_string(),
        ProbeValue::Decimal(digits) => digits.clone(),
        ProbeValue::Float(f) => f.to_string(),
        ProbeValue::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        ProbeValue::Bytes(bytes) => {
            format!("0x{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
        }
        ProbeValue::Temporal(moment) => format!("'{moment}'"),
    }
}

/// What of others would have to wait for a lock.
pub fn blocks(mode: Mode, kind: Kind) -> &'static str {
    match (kind, mode) {
        (Kind::Gap, _) => "inserts into this gap",
        (Kind::Record, Mode::S) => "changes of this row",
        (Kind::Record, Mode::X) => "changes and locking reads of this row",
        (Kind::RecordOrGap, Mode::S) => "changes of this row, or inserts here",
        (Kind::RecordOrGap, Mode::X) => "changes and locking reads of this row, or inserts here",
        (Kind::NextKey, Mode::S) => "changes of these rows, inserts between them",
        (Kind::NextKey, Mode::X) => "changes and locking reads of these rows, inserts between them",
        (Kind::Insert { check: Some(_) }, _) => "inserts of the same key, locking reads of the new row",
        (Kind::Insert { .. }, _) => "locking reads of the new row",
        #[allow(unreachable_patterns, reason = "kinds that are added to the model need no words at once")]
        _ => "others that ask for it",
    }
}
