//! Metadata locks: which open transactions have named a table, and who wants it for itself.
//!
//! Nearly every statement names tables, and hardly ever does anybody want one exclusively. So a session only
//! writes the tables that its transaction names into its own registry entry. The rare statement that
//! excludes others (DDL, LOCK TABLES) raises a counter, then walks the registry and puts locks into the lock
//! table in the name of those it finds. While the counter is raised, every statement asks for its tables'
//! metadata locks itself. Either the walk sees what a session has written, or the session sees the counter.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Admission;
use super::record::Resource;
use super::registry::Entry;
use crate::id::{IndexId, SessionId, TxnId};
use crate::lock::mode::Mode;
use crate::lock::range::Range;
use crate::lock::request::Request;
use crate::lock::table::LockRef;

/// Tables that one transaction may name and be known for; beyond it, metadata conflicts are missed.
const MAX_TABLES: usize = 1024;

/// The tables that a session's transaction has named.
#[derive(Debug, Default)]
pub struct Uses {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: SmallVec<[Use; 4]>,
    /// The session's transaction, if somebody had to give it a number.
    txn: Option<TxnId>,
    /// Locks that others have noted in its name.
    locks: Vec<LockRef>,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    table: u64,
    writes: bool,
    /// It stands in the lock table.
    noted: bool,
}

/// Somebody excludes others from tables, or wants to. While it lives, all statements ask.
#[derive(Debug)]
pub struct Excluding(Arc<Admission>);

impl Drop for Excluding {
    fn drop(&mut self) {
        self.0.excluding.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Uses {
    /// The transaction names a table.
    pub fn name(&self, table: u64, writes: bool) {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.tables.iter_mut().find(|known| known.table == table) {
            // A read that becomes a write is a lock more.
            known.noted &= known.writes || !writes;
            known.writes |= writes;
        } else if inner.tables.len() < MAX_TABLES {
            inner.tables.push(Use { table, writes, noted: false });
        }
    }

    /// The number of the session's transaction; `new` makes one.
    pub fn transaction(&self, new: impl FnOnce() -> TxnId) -> TxnId {
        *self.inner.lock().txn.get_or_insert_with(new)
    }

    /// The transaction is over. Returns its number, if it had one, and the locks that others have noted for
    /// it. `stays`: the number goes on, because the session owns more than its transactions do.
    pub fn end(&self, stays: bool) -> (Option<TxnId>, Vec<LockRef>) {
        let mut inner = self.inner.lock();
        inner.tables.clear();
        let txn = if stays { inner.txn } else { inner.txn.take() };
        (txn, std::mem::take(&mut inner.locks))
    }
}

impl Admission {
    /// Does somebody exclude others from tables, or want to?
    pub fn excludes(&self) -> bool {
        self.excluding.load(Ordering::SeqCst) > 0
    }

    /// A statement of `own` is about to ask for these tables for itself: others ask from now on, and those
    /// whose transactions have named them are noted. `request` makes a request for a table, by its position.
    pub fn exclude(
        self: &Arc<Self>,
        own: SessionId,
        tables: &[u64],
        request: &dyn Fn(usize, Mode) -> Request,
    ) -> Excluding {
        self.excluding.fetch_add(1, Ordering::SeqCst);
        let guard = Excluding(self.clone());
        self.registry.each(|entry| {
            if entry.id != own {
                self.note_uses(entry, tables, request);
            }
        });
        guard
    }

    fn note_uses(&self, entry: &Arc<Entry>, tables: &[u64], request: &dyn Fn(usize, Mode) -> Request) {
        let mut inner = entry.uses.inner.lock();
        let Inner { tables: used, txn, locks } = &mut *inner;
        for one in used.iter_mut().filter(|one| !one.noted) {
            let Some(position) = tables.iter().position(|table| *table == one.table) else { continue };
            let txn = *txn.get_or_insert_with(|| self.transaction());
            self.registry.began(txn, entry);
            let mode = if one.writes { Mode::IX } else { Mode::IS };
            locks.extend(self.scheduler.hold(txn, &request(position, mode), self.now()));
            one.noted = true;
        }
    }

    /// Some locks of a transaction are given up; it goes on.
    pub fn give_back(&self, txn: TxnId, refs: &[LockRef]) {
        let woken = self.scheduler.ending(txn, refs, true, self.now());
        self.deliver(woken);
    }

    /// A transaction is over, but its number stays: the session owns more.
    pub fn emptied(&self, txn: TxnId, refs: &[LockRef], committed: bool) {
        let woken = self.scheduler.ended(txn, refs, committed, self.now());
        self.deliver(woken);
        self.ledger.ended(txn);
    }

    /// Takes a lock if it is free.
    pub fn take_free(&self, txn: TxnId, request: &Request) -> Option<LockRef> {
        let refs = self.scheduler.hold(txn, request, self.now());
        let lock = *refs.first()?;
        if self.granted(txn, request, lock) {
            return Some(lock);
        }
        self.give_back(txn, &refs);
        None
    }

    /// Is nothing in the way of a request that was noted any more?
    pub fn granted(&self, txn: TxnId, request: &Request, lock: LockRef) -> bool {
        self.scheduler.locks().granted(txn, request, lock, self.now())
    }
}

/// Where something is locked as a whole, in words; `None` for an index.
pub(super) fn place(index: IndexId, range: &Range, redact: bool) -> Option<Resource> {
    let mut names = range.low.strings().into_iter();
    let mut next = || names.next().unwrap_or_default();
    match index {
        IndexId::METADATA => Some(match (next(), next()) {
            (schema, table) if schema.is_empty() && table.is_empty() => {
                let range = "all tables".to_owned();
                Resource { index: "metadata".to_owned(), range, ..Resource::default() }
            }
            (schema, table) => Resource {
                schema,
                table,
                index: "metadata".to_owned(),
                range: "the table's definition".to_owned(),
                ..Resource::default()
            },
        }),
        IndexId::NAMED_LOCKS => Some(Resource {
            index: "GET_LOCK".to_owned(),
            range: if redact { "a named lock".to_owned() } else { format!("the named lock {}", next()) },
            ..Resource::default()
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_told_once_and_forgotten_at_the_end() {
        let uses = Uses::default();
        uses.name(7, false);
        uses.name(7, true);
        uses.name(8, false);
        let tables = uses.inner.lock().tables.clone();
        let seen: Vec<(u64, bool)> = tables.iter().map(|one| (one.table, one.writes)).collect();
        assert_eq!(seen, [(7, true), (8, false)]);
        assert_eq!(uses.transaction(|| TxnId(3)), TxnId(3));
        assert_eq!(uses.end(true).0, Some(TxnId(3)));
        assert_eq!(uses.transaction(|| TxnId(4)), TxnId(3));
        assert_eq!(uses.end(false).0, Some(TxnId(3)));
        assert_eq!(uses.end(false).0, None);
        assert!(uses.inner.lock().tables.is_empty());
    }
}
