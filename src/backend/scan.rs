//! Reading a part of an index: which entries does a search meet, and what lies next to it?
//!
//! A search of index `(a, b)` for `a = 1 AND b < 5`, seen twice (uncommitted and committed):
//!
//! ```sql
//! (SELECT 0, 1, 0, `a` + 0, `b` + 0, `id` + 0 FROM `s`.`t` FORCE INDEX (`i`)
//!    WHERE (`a` = 1 AND `b` < 5) ORDER BY `a`, `b`, `id` LIMIT 257)
//! UNION ALL (SELECT 1, 1, 0, … WHERE (`a` < 1) ORDER BY `a` DESC, `b` DESC, `id` DESC LIMIT 1)
//! UNION ALL (SELECT 2, 1, 0, … WHERE (`a` > 1 OR (`a` = 1 AND `b` >= 5)) ORDER BY `a`, `b`, `id` LIMIT 1)
//! ```
//!
//! The uncommitted look shows what others have inserted. The committed one shows what somebody has deleted
//! or moved in a transaction that is still open: those entries are there and locked, though marked. The
//! holder of a lock has not ended, so the two together show what its search met, before and after its own
//! changes.

use std::time::Duration;

use super::control::{Control, Lane, TextRow};
use super::literal::{expression, identifier, selected};
use super::probe_sql::{self, ProbeValue};
use crate::catalog::{Column, Family, Index, Table};

/// Most entries that one scan reads; beyond it the footprint of a search stays wide.
pub const MAX_ENTRIES: usize = 256;

/// A part of an index, in SQL literals: equality on the leading parts, then perhaps a range on the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The leading parts are equal to these; `None` is NULL.
    pub equal: Vec<Option<String>>,
    /// The next part is not below this (included or not), in the order of its values.
    pub low: Option<(String, bool)>,
    /// The next part is not above this.
    pub high: Option<(String, bool)>,
    /// The next part matches this pattern.
    pub like: Option<String>,
    /// Only the entries at the beginning are wanted, or (true) those at the end.
    pub end: Option<bool>,
}

/// Entries at an end that are read: the first or last, and the one next to it.
const AT_END: usize = 2;

/// A scan that can be sent.
#[derive(Clone, PartialEq, Debug)]
pub struct ScanSql {
    /// The statement.
    pub text: String,
    /// Columns that each row has, with their family.
    columns: Vec<(usize, Family)>,
    spans: usize,
}

/// A row as a scan saw it.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The row meets the whole condition of the statement, as far as it was given.
    pub matches: bool,
    /// Those who read what is not committed see it.
    pub newest: bool,
    /// Those who read what is committed see it.
    pub committed: bool,
    /// Values by column.
    pub values: Vec<(usize, ProbeValue)>,
}

/// What was seen of one span.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// The entries in the order of the index.
    pub entries: Vec<Row>,
    /// The nearest entry before the span in each view.
    pub below: Vec<Row>,
    /// The nearest entry behind it in each view.
    pub above: Vec<Row>,
}

/// Reads parts of indexes. Shared by all sessions.
pub struct Scanner {
    control: Option<Control>,
    timeout: Duration,
}

impl Scanner {
    /// Reads over `control`, or nothing without it; waits for `timeout` at most.
    pub fn new(control: Option<Control>, timeout: Duration) -> Scanner {
        Scanner { control, timeout }
    }

    /// What there is in each span. `None`: not known; go on without.
    pub async fn scan(&self, sql: &ScanSql) -> Option<Vec<Seen>> {
        let question = self.control.as_ref()?.query(Lane::Probe, sql.text.clone());
        match tokio::time::timeout(self.timeout, question).await.ok()? {
            Ok(results) => sql.read(&results.concat()),
            Err(error) => {
                tracing::debug!(%error, "scan failed");
                None
            }
        }
    }
}

/// Writes the scan of an index. `condition` is the statement's whole condition, `alias` the table's name in
/// it; with `filter` rows that do not meet it are not read. `more` columns that are wanted besides those of the indexes. `None`: it cannot be asked about.
pub fn build(
    table: &Table,
    index: usize,
    spans: &[Span],
    condition: Option<&str>,
    filter: bool,
    alias: &str,
    more: &[usize],
) -> Option<ScanSql> {
    let at = table.indexes.get(index).filter(|index| index.btree && !index.parts.is_empty())?;
    let clustered = table.indexes.first()?;
    let parts = entry_parts(table, at, clustered)?;
    let columns = columns(table, more);
    let list: Vec<String> = columns
        .iter()
        .map(|(column, family)| selected(&expression(&table.columns[*column]), family))
        .collect();
    let source = format!(
        "{}.{} AS {} FORCE INDEX ({})",
        identifier(&table.schema),
        identifier(&table.name),
        identifier(alias),
        identifier(&at.name)
    );
    let branch = |view: u8, what: u8, span: usize, condition: &str, matches: &str, order: String, limit| {
        format!(
            "(SELECT {view}, {what}, {span}, {matches}, {} FROM {source} WHERE {condition} ORDER BY {order} LIMIT {limit})",
            list.join(", ")
        )
    };
    let matches = condition.map_or("1".to_owned(), |condition| format!("({condition}) IS TRUE"));
    let mut views = Vec::new();
    for view in [0, 1] {
        let mut branches = Vec::new();
        for (n, span) in spans.iter().enumerate() {
            let mut inside = inside(&parts, span)?;
            if let (true, Some(condition)) = (filter, condition) {
                inside = format!("{inside} AND ({condition})");
            }
            let most = if span.end.is_some() { AT_END } else { MAX_ENTRIES + 1 };
            let order_by = order(&parts, span.end == Some(true));
            branches.push(branch(view, 0, n, &inside, &matches, order_by, most));
            if let Some(before) = outside(&parts, span, false) {
                branches.push(branch(view, 1, n, &before, "1", order(&parts, true), 1));
            }
            if let Some(behind) = outside(&parts, span, true) {
                branches.push(branch(view, 2, n, &behind, "1", order(&parts, false), 1));
            }
        }
        views.push(branches.join(" UNION ALL "));
    }
    // The level set here holds for the one statement that follows.
    let text = views.join("; SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ");
    Some(ScanSql { text, columns, spans: spans.len() })
}

/// A part of an entry: its column, and whether it descends.
struct Part<'a> {
    name: String,
    column: &'a Column,
    descending: bool,
}

/// The parts of an entry: the index's own, then those of the clustered key.
fn entry_parts<'a>(table: &'a Table, index: &Index, clustered: &Index) -> Option<Vec<Part<'a>>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for part in index.parts.iter().chain(&clustered.parts) {
        let column = table.columns.get(part.column?)?;
        let name = expression(column);
        if !parts.iter().any(|known| known.name == name) {
            parts.push(Part { name, column, descending: part.descending });
        }
    }
    Some(parts)
}

/// The columns of all indexes, and `more`, as far as their values can be read.
fn columns(table: &Table, more: &[usize]) -> Vec<(usize, Family)> {
    let indexed = table.indexes.iter().flat_map(|index| &index.parts).filter_map(|part| part.column);
    let mut columns: Vec<usize> = indexed.chain(more.iter().copied()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.retain(|column| table.columns[*column].family != Family::Other);
    columns.into_iter().map(|column| (column, table.columns[column].family.clone())).collect()
}

fn equals(part: &Part<'_>, value: &Option<String>) -> String {
    match value {
        Some(value) => format!("{} = {value}", part.name),
        None => format!("{} IS NULL", part.name),
    }
}

/// The condition for the entries of a span.
fn inside(parts: &[Part<'_>], span: &Span) -> Option<String> {
    let mut terms: Vec<String> =
        span.equal.iter().zip(parts).map(|(value, part)| equals(part, value)).collect();
    if span.low.is_some() || span.high.is_some() || span.like.is_some() {
        let part = parts.get(span.equal.len())?;
        terms.extend(ranged(part, span));
    }
    Some(if terms.is_empty() { "1".to_owned() } else { format!("({})", terms.join(" AND ")) })
}

fn ranged(part: &Part<'_>, span: &Span) -> Vec<String> {
    let name = &part.name;
    let mut terms = Vec::new();
    if let Some((low, included)) = &span.low {
        terms.push(format!("{name} {} {low}", if *included { ">=" } else { ">" }));
    }
    if let Some((high, included)) = &span.high {
        terms.push(format!("{name} {} {high}", if *included { "<=" } else { "<" }));
    }
    if let Some(pattern) = &span.like {
        terms.push(format!("{name} LIKE {pattern}"));
    }
    terms
}

/// The condition for the entries on one side of a span, in the order of the index. `None`: there are none.
fn outside(parts: &[Part<'_>], span: &Span, behind: bool) -> Option<String> {
    let mut terms = Vec::new();
    for (n, (value, part)) in span.equal.iter().zip(parts).enumerate() {
        if let Some(last) = beyond(part, value.as_deref(), behind, false) {
            let before = span.equal[..n].iter().zip(parts).map(|(v, p)| equals(p, v));
            terms.push(before.chain([last]).collect::<Vec<_>>().join(" AND "));
        }
    }
    if let Some(part) = parts.get(span.equal.len()) {
        let larger = behind != part.descending;
        let bound = if larger { &span.high } else { &span.low };
        let last = match (bound, &span.like) {
            // What is not inside on that side begins where the range ends.
            (Some((value, included)), None) => beyond(part, Some(value), behind, !included),
            (_, Some(pattern)) => {
                let head = pattern_head(pattern);
                let side = if larger { ">" } else { "<" };
                Some(format!("{0} {side} {head} AND {0} NOT LIKE {pattern}", part.name))
            }
            // A range without a lower bound begins behind the NULLs.
            (None, None) if !larger && span.high.is_some() && part.column.nullable => {
                Some(format!("{} IS NULL", part.name))
            }
            (None, None) => None,
        };
        if let Some(last) = last {
            let before = span.equal.iter().zip(parts).map(|(v, p)| equals(p, v));
            terms.push(before.chain([last]).collect::<Vec<_>>().join(" AND "));
        }
    }
    (!terms.is_empty()).then(|| format!("(({}))", terms.join(") OR (")))
}

/// One column on one side of a value, in the order of the index.
fn beyond(part: &Part<'_>, value: Option<&str>, behind: bool, with: bool) -> Option<String> {
    let (name, larger, equal) = (&part.name, behind != part.descending, if with { "=" } else { "" });
    match (larger, value) {
        (true, Some(value)) => Some(format!("{name} >{equal} {value}")),
        (true, None) => Some(format!("{name} IS NOT NULL")),
        (false, Some(value)) if part.column.nullable => {
            Some(format!("({name} <{equal} {value} OR {name} IS NULL)"))
        }
        (false, Some(value)) => Some(format!("{name} <{equal} {value}")),
        (false, None) => None,
    }
}

/// `'abc%'` → `'abc'`
fn pattern_head(pattern: &str) -> String {
    let end = pattern.find(['%', '_']).unwrap_or(pattern.len());
    let head = &pattern[..end];
    if head.len() > 1 && head.ends_with('\'') { head.to_owned() } else { format!("{head}'") }
}

fn order(parts: &[Part<'_>], backwards: bool) -> String {
    let terms: Vec<String> = parts
        .iter()
        .map(
            |part| {
                if part.descending != backwards { format!("{} DESC", part.name) } else { part.name.clone() }
            },
        )
        .collect();
    terms.join(", ")
}

impl ScanSql {
    /// Reads the answer: one [`Seen`] for each span. `None`: a value is not of its column's kind, or there
    /// are too many entries.
    pub fn read(&self, rows: &[TextRow]) -> Option<Vec<Seen>> {
        let mut seen = vec![Seen::default(); self.spans];
        for view in 0..=1u8 {
            for text in rows {
                let (head, values) = (text.get(..4)?, text.get(4..)?);
                let number = |n: usize| -> Option<usize> {
                    std::str::from_utf8(head[n].as_deref()?).ok()?.parse().ok()
                };
                if number(0)? != usize::from(view) {
                    continue;
                }
                let (what, span, matches) = (number(1)?, seen.get_mut(number(2)?)?, number(3)? == 1);
                let mut row = Row { matches, newest: view == 0, committed: view == 1, values: Vec::new() };
                for (bytes, (column, family)) in values.iter().zip(&self.columns) {
                    row.values.push((*column, probe_sql::value(bytes, family)?));
                }
                match what {
                    0 => match span.entries.iter_mut().find(|known| known.values == row.values) {
                        // A column that is not read may say that it matches in one view only.
                        Some(known) => {
                            known.committed |= row.committed;
                            known.matches |= row.matches;
                        }
                        None => span.entries.push(row),
                    },
                    // Both views' neighbours border the gap; which is nearer is for the caller to compare.
                    1 => span.below.push(row),
                    2 => span.above.push(row),
                    _ => {}
                }
                if span.entries.len() > MAX_ENTRIES {
                    return None;
                }
            }
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{KeyPart, TableKind};
    use crate::id::TableId;

    fn table() -> Table {
        let column = |name: &str, nullable| Column::plain(name, Family::Integer, nullable);
        let part = |column, descending| KeyPart { column: Some(column), prefix: None, descending };
        let index = |name: &str, parts| Index { name: name.to_owned(), unique: false, parts, btree: true };
        Table {
            id: TableId(1),
            generation: 1,
            schema: "s".to_owned(),
            name: "t".to_owned(),
            kind: TableKind::InnoDb,
            columns: vec![column("id", false), column("a", true), column("b", false)],
            indexes: vec![
                index("PRIMARY", vec![part(0, false)]),
                index("i", vec![part(1, false), part(2, true)]),
            ],
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            partitioned: false,
            definition: None,
            triggers: Vec::new(),
        }
    }

    fn check(span: Span, expect: [Option<&str>; 3]) {
        let table = table();
        let parts = entry_parts(&table, &table.indexes[1], &table.indexes[0]).unwrap();
        let got = [inside(&parts, &span), outside(&parts, &span, false), outside(&parts, &span, true)];
        assert_eq!(got, expect.map(|text| text.map(str::to_owned)), "{span:?}");
    }

    fn value(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_span_and_its_sides() {
        check(
            Span { equal: vec![value("1")], ..Span::default() },
            [Some("(`a` = 1)"), Some("(((`a` < 1 OR `a` IS NULL)))"), Some("((`a` > 1))")],
        );
        check(
            Span { equal: vec![value("1")], high: Some(("5".to_owned(), false)), ..Span::default() },
            [
                Some("(`a` = 1 AND `b` < 5)"),
                // b descends: the entries from 5 up come first.
                Some("(((`a` < 1 OR `a` IS NULL)) OR (`a` = 1 AND `b` >= 5))"),
                Some("((`a` > 1))"),
            ],
        );
        check(
            Span { low: Some(("3".to_owned(), true)), ..Span::default() },
            [Some("(`a` >= 3)"), Some("(((`a` < 3 OR `a` IS NULL)))"), None],
        );
        check(
            Span { equal: vec![None], ..Span::default() },
            [Some("(`a` IS NULL)"), None, Some("((`a` IS NOT NULL))")],
        );
        check(Span::default(), [Some("1"), None, None]);
    }

    #[test]
    fn both_views_are_put_together() {
        let sql = build(&table(), 1, &[Span::default()], None, false, "t", &[]).unwrap();
        let row = |view: &str, what: &str, id: &str| -> TextRow {
            [view, what, "0", "1", id, "7", "8"].iter().map(|v| Some(v.as_bytes().to_vec())).collect()
        };
        let rows = [row("0", "0", "1"), row("0", "2", "9"), row("1", "0", "1"), row("1", "0", "2")];
        let seen = sql.read(&rows).unwrap();
        let ids: Vec<(&ProbeValue, bool, bool)> =
            seen[0].entries.iter().map(|row| (&row.values[0].1, row.newest, row.committed)).collect();
        assert_eq!(ids, [(&ProbeValue::Int(1), true, true), (&ProbeValue::Int(2), false, true)]);
        assert_eq!(seen[0].above[0].values[0], (0, ProbeValue::Int(9)));
    }

    #[test]
    fn a_row_that_matches_in_one_view_matches() {
        let sql = build(&table(), 1, &[Span::default()], None, false, "t", &[]).unwrap();
        let row = |view: &str, matches: &str| -> TextRow {
            [view, "0", "0", matches, "1", "7", "8"].iter().map(|v| Some(v.as_bytes().to_vec())).collect()
        };
        for views in [["0", "1"], ["1", "0"]] {
            let seen = sql.read(&[row("0", views[0]), row("1", views[1])]).unwrap();
            assert_eq!((seen[0].entries.len(), seen[0].entries[0].matches), (1, true), "{views:?}");
        }
    }
}
