//! The row that has the key of a new one: an earlier one of the statement, or one that REPLACE changes in place.

use super::super::entry::entry;
use super::super::known::SeenEntry;
use super::Row;
use crate::catalog::TriggerEvent;
use crate::lock::mode::Mode;
use crate::sql::value::Value;

impl<'a> Row<'a> {
    /// The entries of earlier rows of the statement that have a key of this one, where it goes on to change what it meets;
    /// each with the position of its index.
    pub(super) fn own_rows(self, earlier: &[Row<'_>]) -> Vec<(usize, SeenEntry)> {
        if earlier.is_empty() || self.check() == Mode::S {
            return Vec::new();
        }
        let mut own = Vec::new();
        for (at, index) in self.table.indexes.iter().enumerate().filter(|(_, index)| index.unique) {
            let mine = self.request(at, index);
            let same =
                |row: &&Row<'_>| mine.kind.check().is_some() && row.request(at, index).range == mine.range;
            own.extend(earlier.iter().rev().find(same).map(|row| (at, row.as_seen(at))));
        }
        own
    }

    /// Its entry in an index, as it is there once it was put.
    fn as_seen(self, at: usize) -> SeenEntry {
        let value_of = |column: usize| self.value(column);
        let columns = (0..self.table.columns.len()).filter_map(|at| Some((at, self.value(at)?.outliving())));
        SeenEntry {
            key: entry(self.table, at, &value_of).key,
            clustered: self.request(0, &self.table.indexes[0]).range.low,
            matches: true,
            rows: vec![columns.collect()],
            newest: true,
            committed: true,
        }
    }

    /// Does REPLACE change the row that it has met, instead of deleting it and putting its own? If that key is the
    /// last unique one, nothing refers to the table, and no trigger sees the deletion (both servers). Only where the
    /// primary key stays is that something else.
    pub(super) fn replaces_in_place(self, at: usize, met: &SeenEntry) -> bool {
        let table = self.table;
        let later = table.indexes.iter().skip(at + 1).any(|index| index.unique);
        let seen = table.triggers.iter().any(|trigger| trigger.event == TriggerEvent::Delete);
        let own = || self.request(0, &table.indexes[0]).range.low;
        self.insert.replace && !later && !seen && table.referenced_by.is_empty() && own() == met.clustered
    }

    /// What each column of the row gets.
    pub(super) fn columns(self) -> Vec<(usize, Option<Value<'a>>)> {
        let columns = self.table.columns.iter().enumerate().filter(|(_, column)| !column.generated);
        columns.map(|(at, _)| (at, self.value(at))).collect()
    }
}
