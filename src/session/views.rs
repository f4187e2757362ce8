//! What stands behind views: a statement on a view of one table locks that table's rows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::catalog::{Table, TableKind};
use crate::id::TableId;
use crate::sql::access::TableName;
use crate::sql::view;

/// Views that are remembered; with more, all are read again.
const LIMIT: usize = 4096;

/// A definition of a view, and the table that it shows.
type Bases = HashMap<(TableId, u64), Option<Arc<TableName>>>;

/// The tables behind views, by definition.
#[derive(Debug, Default)]
pub struct Views {
    known: RwLock<Bases>,
}

impl Views {
    /// The table that a view shows; `None` for a table, and for a view that shows more than one.
    pub fn base(&self, of: &Table) -> Option<Arc<TableName>> {
        if of.kind != TableKind::View {
            return None;
        }
        let key = (of.id, of.generation);
        if let Some(known) = self.known.read().get(&key) {
            return known.clone();
        }
        let base = view::base(of.definition.as_deref()?).map(Arc::new);
        let mut known = self.known.write();
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(key, base.clone());
        base
    }
}
