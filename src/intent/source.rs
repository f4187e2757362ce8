//! What an `INSERT … SELECT` puts in: the rows that its query gives, as far as they were read.

use std::borrow::Cow;
use std::sync::Arc;

use super::known::{Known, SeenEntry, SeenRow};
use crate::catalog::Table;
use crate::sql::access::{TableAccess, TableName, Test};
use crate::sql::formula::Formula;
use crate::sql::statement::{Insert, Rows};
use crate::sql::value::{Scalar, Value};

/// Most rows that are told one by one.
const MAX_ROWS: usize = 64;

/// A row of which nothing is known.
static UNREAD: SeenRow = Vec::new();

/// What an INSERT is given.
pub(super) struct Given<'a> {
    /// What each column of a new row gets.
    pub(super) scalars: Cow<'a, [Scalar]>,
    /// What was read of each row that the query gives, nothing of some. `None`: how many there are is not known.
    pub(super) rows: Option<Vec<&'a SeenRow>>,
    /// The query's only table.
    table: Option<Arc<Table>>,
}

impl<'a> Given<'a> {
    /// `None`: the text does not tell what columns get.
    pub(super) fn of(
        insert: &'a Insert,
        known: &'a Known,
        find: &dyn Fn(&TableName) -> Option<Arc<Table>>,
    ) -> Option<Self> {
        let access = only(insert);
        let table = access.and_then(|access| find(&access.table));
        let scalars = match (insert.values(), access) {
            (Some(scalars), _) => Cow::Borrowed(scalars),
            (None, Some(access)) if insert.selects_all => {
                let columns = &table.as_ref()?.columns;
                Cow::Owned(columns.iter().map(|column| selected(access, &column.name)).collect())
            }
            _ => return None,
        };
        Some(Given { scalars, rows: rows(insert, known), table })
    }

    /// The value of a column of the query's only table, in a row that was read.
    pub(super) fn value(&self, row: &SeenRow, column: &str) -> Option<Value<'static>> {
        let at = self.table.as_ref()?.column(column)?;
        row.iter().find(|(column, _)| *column == at).map(|(_, value)| value.clone())
    }
}

/// What `SELECT *` gives of a column: what WHERE says that it is, else what is read.
fn selected(access: &TableAccess, column: &str) -> Scalar {
    access
        .predicate
        .equal(column)
        .cloned()
        .unwrap_or_else(|| Scalar::Computed(Arc::new(Formula::Column(column.to_owned()))))
}

/// The only table that the query itself reads.
fn only(insert: &Insert) -> Option<&TableAccess> {
    let Rows::Select(select) = &insert.rows else { return None };
    let mut own = select.tables.iter().filter(|table| !table.nested);
    own.next().filter(|_| own.next().is_none())
}

/// The rows that the query gives. `None`: that was not read, or others are changing it.
fn rows<'k>(insert: &Insert, known: &'k Known) -> Option<Vec<&'k SeenRow>> {
    let Rows::Select(select) = &insert.rows else { return None };
    if select.aggregated || !known.asked {
        return None;
    }
    if known.plan.reads_nothing() {
        return Some(Vec::new());
    }
    if known.unsure {
        return None;
    }
    let mut given = None;
    for (access, table) in select.tables.iter().enumerate() {
        let found = found(known, access)?;
        // What hangs on the row keeps out some of them.
        let correlated = table.predicate.conditions.iter().any(|c| matches!(c.test, Test::EqColumn(..)));
        if table.nested && (correlated || !table.predicate.exact) {
            return None;
        }
        match (table.nested, table.excludes) {
            (true, true) if found.is_empty() => {}
            (true, true) => return Some(Vec::new()),
            (false, _) if given.is_none() => given = Some(found),
            _ => return None,
        }
    }
    let unread = &UNREAD;
    let Some(found) = given else { return Some(vec![unread]) };
    let most = known.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if found.len() > MAX_ROWS {
        return None;
    }
    // Which rows are the first is not looked into.
    if select.limited && found.len() > most {
        return Some(vec![unread; most]);
    }
    let row = |entry: &&'k SeenEntry| entry.rows.last().unwrap_or(unread);
    Some(found.iter().map(row).collect())
}

/// The rows that a table's search has found. `None`: they were not all read, or are about to change.
fn found(known: &Known, access: usize) -> Option<Vec<&SeenEntry>> {
    let mut spans =
        known.seen.iter().filter(|seen| seen.access == access).flat_map(|seen| &seen.spans).peekable();
    spans.peek()?;
    let mut rows: Vec<&SeenEntry> = Vec::new();
    for span in spans {
        if span.unread {
            return None;
        }
        for entry in span.entries.iter().filter(|entry| entry.matches) {
            if !entry.stands() {
                return None;
            }
            if !rows.iter().any(|row| row.clustered == entry.clustered) {
                rows.push(entry);
            }
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::known::{SeenPath, SeenSpan};
    use crate::sql::cache::PlanCache;
    use crate::sql::statement::{SqlMode, Statement};

    /// How many rows come where one row was found in each table.
    fn given(text: &str) -> Option<usize> {
        let analysed = PlanCache::new(1, false, 0).analyse(text.as_bytes(), SqlMode::default());
        let Statement::Insert(insert) = &analysed.plan.statement else { panic!("{text}") };
        let row = SeenEntry { matches: true, newest: true, committed: true, ..SeenEntry::default() };
        let spans = vec![SeenSpan { entries: vec![row], ..SeenSpan::default() }];
        let path = |access| SeenPath { access, path: 0, spans: spans.clone() };
        let seen = (0..insert.sources().len()).map(path).collect();
        rows(insert, &Known { seen, asked: true, ..Known::default() }).map(|rows| rows.len())
    }

    #[test]
    fn what_exists_keeps_rows_out() {
        assert_eq!(given("INSERT INTO t SELECT id FROM u WHERE id = 1"), Some(1));
        let one = "INSERT INTO t SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM t WHERE id = 1)";
        assert_eq!(given(one), Some(0));
        // For one row of many: which ones, is not looked into.
        let each = "INSERT INTO t SELECT u.id FROM u WHERE NOT EXISTS (SELECT 1 FROM t WHERE t.id = u.id)";
        assert_eq!(given(each), None);
        let either =
            "INSERT INTO t SELECT 1 FROM DUAL WHERE 1 = 1 OR NOT EXISTS (SELECT 1 FROM t WHERE id = 1)";
        assert_eq!(given(either), None);
    }
}
