//! Statements whose locks are known widely only, and can be asked for.
//!
//! The scheduler says *that* a lock in the way is a guess, by number; what the statement was and how the
//! server is asked about it only its session knows.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use futures_util::future::BoxFuture;
use rustc_hash::FxBuildHasher;

use crate::id::{Counter, SearchId};
use crate::lock::request::{Request, Settled};

/// A statement whose locks can be narrowed.
pub trait Narrow: Send + Sync {
    /// Asks the server and puts the exact locks in the place of the wide ones. Equal calls at the same time
    /// are one.
    fn narrow(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// Shows the locks that it holds, as far as they are known now: what was asked for, and what became of it.
    /// False: they may be known better later. Never waits.
    fn visit(&self, each: &mut dyn FnMut(&Request, &Settled)) -> bool;
}

/// All such statements, by number. An entry does not keep its statement alive.
#[derive(Default)]
pub struct Searches {
    entries: DashMap<SearchId, Weak<dyn Narrow>, FxBuildHasher>,
    numbers: Counter,
}

impl Searches {
    /// A number for a statement that is about to be noted.
    pub fn number(&self) -> SearchId {
        SearchId(self.numbers.next())
    }

    /// The statement can be asked about from now on.
    pub fn open(&self, id: SearchId, search: Weak<dyn Narrow>) {
        self.entries.insert(id, search);
    }

    /// Its locks are known, or gone.
    pub fn close(&self, id: SearchId) {
        self.entries.remove(&id);
    }

    /// Narrows the locks of a statement; `None`: it is gone, or known by now.
    pub fn narrow(&self, id: SearchId) -> Option<BoxFuture<'static, ()>> {
        // The guard is gone before the statement is asked.
        let search = self.entries.get(&id)?.upgrade();
        Some(search?.narrow())
    }

    /// Number of statements that can be narrowed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl std::fmt::Debug for Searches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searches").field("len", &self.len()).finish_non_exhaustive()
    }
}
