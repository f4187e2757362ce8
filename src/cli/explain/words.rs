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

/// The edges of a lock's gaps: `between 100 and 200`.
pub fn edges(table: &Table, index: &Index, reach: Option<&Range>, around: Option<&Around>) -> Option<String> {
    let parts = columns(table, index).len();
    let key = |key: &Key, none: &str| match key.texts() {
        texts if texts.is_empty() => none.to_owned(),
        texts => texts[..texts.len().min(parts)].join(", "),
    };
    let entry = |entry: &Option<Vec<ProbeValue>>, none: &str| match entry {
        Some(values) => values.iter().take(parts).map(text).collect::<Vec<_>>().join(", "),
        None => none.to_owned(),
    };
    let (low, high) = match (reach, around) {
        (Some(reach), _) => (key(&reach.low, BEGINNING), key(&reach.high, END)),
        (None, Some(around)) => (entry(&around.below, BEGINNING), entry(&around.above, END)),
        (None, None) => return None,
    };
    Some(format!("between {low} and {high}"))
}

const BEGINNING: &str = "the beginning";
const END: &str = "the end";

/// The part of the index that a lock covers; `edges`: those of its gaps.
pub fn place(
    table: &Table,
    index: &Index,
    kind: Kind,
    range: &Range,
    place: Option<&[ProbeValue]>,
    edges: &Option<String>,
) -> String {
    let names = columns(table, index);
    let is_point = *range == Range::entries(&range.low) || range.low.is_end();
    let point = match place {
        _ if !is_point => None,
        Some(values) if !values.is_empty() => Some(values.iter().map(text).collect()),
        _ => Some(range.low.texts()),
    };
    let point = point.filter(|values| !values.is_empty()).map(|values| {
        let pairs = names.iter().zip(&values).map(|(name, value)| format!("{name} = {value}"));
        pairs.collect::<Vec<_>>().join(", ")
    });
    let is_place = point.is_some();
    let place = point.unwrap_or_else(|| interval(&names, range));
    match edges {
        // Of a gap that no key was looked for in, the edges are all there is to say.
        Some(edges) if kind == Kind::Gap && !is_place => edges.clone(),
        Some(edges) if kind.gaps() || kind.inserts() => format!("{place}, {edges}"),
        _ => place,
    }
}

fn interval(names: &[String], range: &Range) -> String {
    let name = names.first().map(String::as_str).unwrap_or("the row id");
    let edge = |key: &Key| key.texts().into_iter().take(names.len()).collect::<Vec<_>>().join(", ");
    // No value lies below the first: a range that begins behind NULL begins with the first value.
    let from_first = range.low.is_lowest() || range.low.texts() == ["NULL"];
    match (from_first, range.high.is_supremum()) {
        (true, true) => "every entry, and the end".to_owned(),
        (true, false) => format!("{name} up to {}", edge(&range.high)),
        (false, true) => format!("{name} from {} to the end", edge(&range.low)),
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

/// Values as the server's views write them.
pub fn texts(values: &[ProbeValue]) -> Vec<String> {
    values.iter().map(text).collect()
}

/// What of others would have to wait for a lock.
pub fn blocks(mode: Mode, kind: Kind) -> &'static str {
    match (kind, mode) {
        (Kind::Gap, _) => "inserts into this gap",
        (Kind::Record | Kind::Passed | Kind::Clustered { .. }, Mode::S) => "changes of this row",
        (Kind::Record | Kind::Passed | Kind::Clustered { .. }, Mode::X) => {
            "changes and locking reads of this row"
        }
        (Kind::RecordOrGap, Mode::S) => "changes of this row, or inserts here",
        (Kind::RecordOrGap, Mode::X) => "changes and locking reads of this row, or inserts here",
        (Kind::NextKey, Mode::S) => "changes of these rows, inserts between them",
        (Kind::NextKey, Mode::X) => "changes and locking reads of these rows, inserts between them",
        (Kind::Insert { check: Some(_) } | Kind::Tried { check: Some(_) }, _) => {
            "inserts of the same key, locking reads of the new row"
        }
        (Kind::Insert { .. } | Kind::Tried { .. }, _) => "locking reads of the new row",
        #[allow(unreachable_patterns, reason = "kinds that are added to the model need no words at once")]
        _ => "others that ask for it",
    }
}
