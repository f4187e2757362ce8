//! What a look shows besides what it was taken for: which keys the server has given to inserts under way, where
//! gaps end, and which rows are those of the statement's own transaction. How to look, `inquiry` tells.

use std::sync::Arc;

use super::inquiry::Inquiry;
use crate::catalog::Table;
use crate::id::{IndexId, TableId, TxnId};
use crate::intent::known::{Known, SeenEntry};
use crate::lock::key::Key;
use crate::lock::range::Range;
use crate::lock::shown::Neighbours;

impl Inquiry {
    /// A look at a table whose keys the server gives shows which ones it has given to inserts under way.
    pub(super) fn name_new(&self, known: &Known) {
        let accesses = self.statement().accesses();
        for path in &known.seen {
            let table = accesses.get(path.access).and_then(|access| self.table_named(&access.table));
            let given = |table: &Arc<Table>| table.columns.iter().any(|column| column.auto_increment);
            let Some(table) = table.filter(given) else { continue };
            let spans = path.spans.iter();
            let seen = spans.flat_map(|span| span.entries.iter().chain(&span.below).chain(&span.above));
            let mut new: Vec<Key> = seen
                .filter(|entry| entry.newest && !entry.committed)
                .map(|entry| entry.clustered.clone())
                .collect();
            if !new.is_empty() {
                new.sort();
                new.dedup();
                let clustered = IndexId { table: table.id, index: 0 };
                self.shared.admission.scheduler().locks().name_new(clustered, &new);
            }
        }
    }

    /// A look at a key that is not there, begun at the moment `asked`, has shown between which entries its place lies.
    pub(super) fn learn_gaps(&self, known: &Known, asked: u64) {
        for place in known.places.iter().filter(|place| place.span.entries.is_empty() && !place.span.unread) {
            let index = IndexId { table: place.table, index: place.index as u16 };
            let edge = |entry: &Option<SeenEntry>| entry.as_ref().map(|entry| entry.key.clone());
            let (below, above) = (edge(&place.span.below), edge(&place.span.above));
            let seen = Neighbours { asked, place: place.key.clone(), present: false, below, above };
            self.shared.admission.learn(index, &seen);
        }
    }

    /// What a look shows, as the statement's own transaction sees it: rows that it has put are there for good, rows
    /// that it has deleted are not.
    pub(super) fn as_its_own(&self, known: &mut Known, txn: TxnId) {
        let (accesses, locks) = (self.statement().accesses(), self.shared.admission.scheduler().locks());
        let see = |table: TableId, entries: &mut Vec<SeenEntry>| {
            let clustered = IndexId { table, index: 0 };
            let moving = entries.iter_mut().filter(|entry| !entry.stands());
            for entry in moving {
                let own = locks.owns(txn, clustered, &Range::entries(&entry.clustered));
                entry.matches &= entry.newest || !own;
                entry.committed |= entry.newest && own;
            }
        };
        for path in &mut known.seen {
            let table = accesses.get(path.access).and_then(|access| self.table_named(&access.table));
            let Some(table) = table else { continue };
            path.spans.iter_mut().for_each(|span| see(table.id, &mut span.entries));
        }
        for place in &mut known.places {
            see(place.table, &mut place.span.entries);
        }
    }
}
