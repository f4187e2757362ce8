//! Keys and values between statements, the lock model and the SQL that reads an index.

use crate::backend::literal::{bytes, string};
use crate::backend::probe_sql::ProbeValue;
use crate::backend::scan;
use crate::catalog::Table;
use crate::intent::access_path::{Span, like_head};
use crate::intent::known::{SeenEntry, SeenSpan};
use crate::intent::value;
use crate::lock::key::Key;
use crate::sql::value::Value;

/// A span in SQL literals.
pub(super) fn span_sql(table: &Table, index: usize, span: &Span<'_>) -> Option<scan::Span> {
    let bound = |side: &Option<(Value<'_>, bool)>| match side {
        Some((value, included)) => Some(Some((literal(value)??, *included))),
        None => Some(None),
    };
    let mut sql = scan::Span {
        equal: span.equal.iter().map(literal).collect::<Option<_>>()?,
        low: bound(&span.low)?,
        high: bound(&span.high)?,
        like: match &span.like {
            Some(pattern) => Some(literal(pattern)??),
            None => None,
        },
        end: None,
    };
    if let Some(prefix) = table.indexes[index].parts.get(span.equal.len()).and_then(|part| part.prefix) {
        widen(&mut sql, span, prefix as usize)?;
    }
    // Entries of a prefix index are equal where the prefixes are.
    let last = span.equal.len().checked_sub(1);
    if let Some((last, prefix)) = last.and_then(|n| Some((n, table.indexes[index].parts.get(n)?.prefix?))) {
        let Value::Text(text) = &span.equal[last] else { return None };
        let head: String = std::str::from_utf8(text).ok()?.chars().take(prefix as usize).collect();
        if *like_head(head.as_bytes()).0 != *head.as_bytes() {
            return None;
        }
        sql.equal.pop();
        sql.like = Some(string(&format!("{head}%")));
    }
    Some(sql)
}

/// A range in a prefix index: all values whose prefix may be in it.
fn widen(sql: &mut scan::Span, span: &Span<'_>, prefix: usize) -> Option<()> {
    let head = |value: &Value<'_>| -> Option<String> {
        let Value::Text(text) = value else { return None };
        Some(std::str::from_utf8(text).ok()?.chars().take(prefix).collect())
    };
    if let Some((value, _)) = &span.low {
        sql.low = Some((string(&head(value)?), true));
    }
    if let Some(Value::Text(pattern)) = &span.like {
        let (head, _) = like_head(pattern);
        let head: String = std::str::from_utf8(&head).ok()?.chars().take(prefix).collect();
        sql.like = Some(string(&format!("{}%", escaped(&head))));
    }
    if let Some((value, _)) = &span.high {
        // Behind all that begins with the prefix.
        sql.high = Some((string(&format!("{}{}", head(value)?, char::MAX)), true));
    }
    Some(())
}

/// The text as a pattern that nothing else matches.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A value as an SQL literal; the inner `None` is NULL, the outer: it has none.
pub(super) fn literal(value: &Value<'_>) -> Option<Option<String>> {
    Some(Some(match value {
        Value::Null => return Some(None),
        Value::Int(n) => n.to_string(),
        Value::Decimal(digits) => {
            let plain = digits.strip_prefix('-').unwrap_or(digits);
            plain.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| (*digits).to_owned())?
        }
        Value::Float(x) => x.is_finite().then(|| format!("{x:e}"))?,
        Value::Text(text) => string(std::str::from_utf8(text).ok()?),
        Value::Bytes(raw) => bytes(raw),
        Value::Temporal(moment) => string(moment),
        Value::Unknown => return None,
    }))
}

/// A value that was read, as a value of a statement.
pub(super) fn owned(value: &ProbeValue) -> Value<'static> {
    match value {
        ProbeValue::Null => Value::Null,
        ProbeValue::Int(n) => Value::Int(*n),
        ProbeValue::Float(f) => Value::Float(*f),
        ProbeValue::Decimal(text) | ProbeValue::Temporal(text) => {
            Value::Text(text.clone().into_bytes().into())
        }
        ProbeValue::Text(bytes) | ProbeValue::Bytes(bytes) => Value::Text(bytes.clone().into()),
    }
}

pub(super) fn seen_span(table: &Table, index: usize, seen: &scan::Seen, covers: bool) -> Option<SeenSpan> {
    // In the order of their keys. A row that was changed in place is one entry in both views.
    let merged = |rows: &[scan::Row]| -> Option<Vec<SeenEntry>> {
        let seen = rows.iter().map(|row| entry(table, index, row, covers));
        let mut entries: Vec<SeenEntry> = seen.collect::<Option<_>>()?;
        entries.sort_by(|a, b| a.key.cmp(&b.key).then(b.matches.cmp(&a.matches)));
        entries.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                first.rows.append(&mut later.rows);
                first.newest |= later.newest;
                first.committed |= later.committed;
            }
            same
        });
        Some(entries)
    };
    let (below, above) = (merged(&seen.below)?.pop(), merged(&seen.above)?.into_iter().next());
    Some(SeenSpan { entries: merged(&seen.entries)?, below, above, unread: false })
}

/// The keys of an entry.
fn entry(table: &Table, index: usize, row: &scan::Row, covers: bool) -> Option<SeenEntry> {
    let key = |index: usize, key: &mut Key| -> Option<()> {
        for part in &table.indexes[index].parts {
            let column = part.column?;
            let (_, value) = row.values.iter().find(|(c, _)| *c == column)?;
            value::push(key, &table.columns[column], part, &owned(value))?;
        }
        Some(())
    };
    let mut clustered = Key::default();
    key(0, &mut clustered)?;
    let mut whole = Key::default();
    key(index, &mut whole)?;
    if index != 0 {
        key(0, &mut whole)?;
    }
    let values = row.values.iter().map(|(column, value)| (*column, owned(value))).collect();
    Some(SeenEntry {
        key: whole,
        clustered,
        matches: row.matches || covers,
        rows: vec![values],
        newest: row.newest,
        committed: row.committed,
    })
}
