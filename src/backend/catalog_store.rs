//! The catalog that all sessions share: definitions by name, loaded when first asked for.
//!
//! Reading is a hash lookup. Loading happens in the background, once for all who ask at the same time. Whatever
//! fails gives `None`: the statement goes on without the knowledge.
//!
//! ```text
//! (nothing) --request--> loading --> known ----invalidate---> stale --request--> loading
//!                           |          ^ |                      (a load that began before the
//!                           v          | +--timer: loaded again   invalidation does not count)
//!                        absent        +-- the same Arc if nothing changed
//!                  (for a short time)
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

pub use super::catalog_loader::LoadEnd;
use super::catalog_loader::{Loaded, Source};
use super::catalog_name::{Name, Pair};
use super::control::ControlError;
use crate::catalog::Table;
use crate::id::TableId;

/// Limits and times of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogOptions {
    /// How often tables that are in use are loaded again.
    pub refresh: Duration,
    /// Names that are kept; beyond it, those that nobody used since the last refresh go, then any.
    pub max_tables: usize,
    /// How long "there is no such table" is believed.
    pub absent_life: Duration,
    /// How long a failed load keeps the next one of the same table away.
    pub retry_pause: Duration,
}

/// The store. Shared as `Arc<Catalog>`.
pub struct Catalog {
    source: Option<(Arc<dyn Source>, Handle)>,
    options: CatalogOptions,
    entries: DashMap<Name, Entry, FxBuildHasher>,
    /// Ids stay for the life of the process, beyond eviction: locks are kept under them.
    ids: Mutex<HashMap<Name, Identity>>,
    /// The way back from an id to its name.
    names: DashMap<TableId, Name>,
    observe: Box<dyn Fn(LoadEnd, Duration) + Send + Sync>,
}

/// What stays of a name for ever.
struct Identity {
    id: TableId,
    generation: u64,
}

struct Entry {
    state: State,
    /// Somebody asked since the last refresh.
    used: AtomicBool,
    /// Counts invalidations; a load that began under another count is outdated.
    epoch: u64,
    /// The load under way; the sender is dropped at its end.
    loading: Option<Loading>,
    /// The last load failed; the next one begins after this.
    retry_after: Option<Instant>,
}

enum State {
    /// Not known, or not any more.
    Unknown,
    /// Known from a load that began at the time.
    Known(Arc<Table>, Instant),
    /// Known not to exist from a load that began at the time.
    Absent(Instant),
}

#[derive(Clone)]
struct Loading {
    since: Instant,
    done: watch::Receiver<()>,
}

/// Names beyond this get no id and stay unknown. Only tables that exist get one.
const MAX_IDS: usize = 1_000_000;

impl Default for CatalogOptions {
    fn default() -> Self {
        CatalogOptions {
            refresh: Duration::from_secs(60),
            max_tables: 10_000,
            absent_life: Duration::from_secs(5),
            retry_pause: Duration::from_secs(1),
        }
    }
}

// === impl Catalog ===

impl Catalog {
    /// A store that loads from `source`, or knows nothing without one. `observe` is told the end of each
    /// load and how long it took. With a source, to be called in the tokio runtime that loads shall run in.
    pub fn new(
        source: Option<Arc<dyn Source>>,
        options: CatalogOptions,
        observe: impl Fn(LoadEnd, Duration) + Send + Sync + 'static,
    ) -> Arc<Catalog> {
        Arc::new(Catalog {
            source: source.map(|source| (source, Handle::current())),
            options,
            entries: DashMap::with_hasher(FxBuildHasher),
            ids: Mutex::new(HashMap::new()),
            names: DashMap::new(),
            observe: Box::new(observe),
        })
    }

    /// The definition, if it is known now. Never waits.
    pub fn get(&self, schema: &str, name: &str) -> Option<Arc<Table>> {
        let (schema, name) = self.fold(schema, name);
        let entry = self.entries.get(&(&*schema, &*name) as &dyn Pair)?;
        entry.touch();
        entry.known()
    }

    /// Has the definition loaded in the background, unless it is known, being loaded, or was just found to be
    /// absent or not to be had.
    pub fn request(self: &Arc<Self>, schema: &str, name: &str) {
        let (schema, name) = self.fold(schema, name);
        self.begin(&schema, &name, |state, now| match state {
            State::Known(..) => false,
            State::Unknown => true,
            State::Absent(since) => now >= *since + self.options.absent_life,
        });
    }

    /// The definition as it is now, or was less than `not_older_than` ago; waits for it for `timeout` at
    /// most. A load that has been under way for that long already is not waited for again, so that a server
    /// that does not answer costs each statement nothing.
    pub async fn fresh(
        self: &Arc<Self>,
        schema: &str,
        name: &str,
        not_older_than: Duration,
        timeout: Duration,
    ) -> Option<Arc<Table>> {
        let (schema, name) = self.fold(schema, name);
        let asked = Instant::now();
        let young = |since: Instant| since + not_older_than >= asked;
        loop {
            let loading = self.begin(&schema, &name, |state, _| match state {
                State::Unknown => true,
                State::Known(_, since) | State::Absent(since) => !young(*since),
            });
            let Some(mut loading) = loading else { break };
            let deadline = asked.min(loading.since) + timeout;
            // The sender says nothing; it is dropped at the end of the load.
            if tokio::time::timeout_at(deadline, loading.done.changed()).await.is_err() {
                return None;
            }
        }
        let entry = self.entries.get(&(&*schema, &*name) as &dyn Pair)?;
        match &entry.state {
            State::Known(table, since) if young(*since) => Some(Arc::clone(table)),
            _ => None,
        }
    }

    /// The definition has changed, or may have: forget it. Loads under way will not count.
    pub fn invalidate(&self, schema: &str, name: &str) {
        let (schema, name) = self.fold(schema, name);
        if let Some((source, _)) = &self.source {
            source.changed(&schema);
        }
        self.forget(&schema, &name);
    }

    fn forget(&self, schema: &str, name: &str) {
        if let Some(mut entry) = self.entries.get_mut(&(schema, name) as &dyn Pair) {
            entry.invalidate();
        }
    }

    /// Every definition of a schema has changed, or may have.
    pub fn invalidate_schema(&self, schema: &str) {
        let (schema, _) = self.fold(schema, "");
        if let Some((source, _)) = &self.source {
            source.changed(&schema);
        }
        for mut entry in self.entries.iter_mut() {
            if *entry.key().0 == *schema {
                entry.invalidate();
            }
        }
    }

    /// How many names are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The definition of a table by its number, if it is known now. For reports: it does not count as a use.
    pub fn find(&self, id: TableId) -> Option<Arc<Table>> {
        let name = self.names.get(&id)?.clone();
        self.entries.get(&name)?.known()
    }

    /// The known tables by number, for reports.
    pub fn by_id(&self) -> HashMap<TableId, Arc<Table>> {
        let known = self.entries.iter().filter_map(|entry| match &entry.state {
            State::Known(table, _) => Some((table.id, table.clone())),
            _ => None,
        });
        known.collect()
    }

    /// Is nothing kept?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The timer: loads what is in use again, one table after the other, and drops what is not. Never ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.options.refresh).await;
            self.sweep();
            let names: Vec<Name> = self.entries.iter().map(|entry| entry.key().clone()).collect();
            for name in names {
                let due = |state: &State, now| match state {
                    State::Known(_, since) => now >= *since + self.options.refresh / 2,
                    _ => false,
                };
                if let Some(mut loading) = self.begin_again(&name, due) {
                    let _ended = loading.done.changed().await;
                }
            }
        }
    }

    /// Drops what nobody used since the last sweep; the others start a new term.
    fn sweep(&self) {
        self.entries.retain(|_, entry| entry.loading.is_some() || entry.used.swap(false, Ordering::Relaxed));
    }

    /// Names as the server compares them: exactly, or without case (`lower_case_table_names`).
    fn fold<'a>(&self, schema: &'a str, name: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
        let exact = match &self.source {
            Some((source, _)) => source.lower_case_table_names().unwrap_or(0) == 0,
            None => true,
        };
        let fold = |text: &'a str| {
            if exact || !text.chars().any(char::is_uppercase) {
                Cow::Borrowed(text)
            } else {
                Cow::Owned(text.to_lowercase())
            }
        };
        (fold(schema), fold(name))
    }

    /// Starts a load if `due` says so, or finds the one under way. `None`: nothing is being loaded.
    fn begin(
        self: &Arc<Self>,
        schema: &str,
        name: &str,
        due: impl Fn(&State, Instant) -> bool,
    ) -> Option<Loading> {
        self.source.as_ref()?;
        let pair = &(schema, name) as &dyn Pair;
        if !self.entries.contains_key(pair) {
            self.make_room();
            // Somebody else may have come first; the entry is then left as it is.
            self.entries.entry(Name(schema.into(), name.into())).or_insert_with(Entry::new);
        }
        let entry = self.entries.get(pair)?;
        entry.touch();
        if entry.loading.is_none() && !due(&entry.state, Instant::now()) {
            return None;
        }
        drop(entry);
        self.begin_again(&Name(schema.into(), name.into()), due)
    }

    /// The same for a name that has an entry.
    fn begin_again(self: &Arc<Self>, name: &Name, due: impl Fn(&State, Instant) -> bool) -> Option<Loading> {
        let (source, runtime) = self.source.clone()?;
        let mut entry = self.entries.get_mut(name)?;
        if let Some(loading) = &entry.loading {
            return Some(loading.clone());
        }
        let since = Instant::now();
        if entry.retry_after.is_some_and(|after| since < after) || !due(&entry.state, since) {
            return None;
        }
        let (end, done) = watch::channel(());
        let loading = Loading { since, done };
        entry.loading = Some(loading.clone());
        let epoch = entry.epoch;
        drop(entry);
        let (catalog, name) = (Arc::clone(self), name.clone());
        runtime.spawn(async move {
            // On every way out, a panic of the source included, the entry must not stay "loading".
            let guard = EndOfLoad { catalog, name, since, epoch, _end: end };
            let result = source.load(guard.name.0.to_string(), guard.name.1.to_string()).await;
            guard.finish(result);
        });
        Some(loading)
    }

    /// A child's definition shows its foreign keys; parents that were loaded before they were made, or
    /// dropped, do not know it. The DDL that was seen named the child only.
    fn tell_parents(&self, child: &Table) {
        let disagrees = |parent: &Table| {
            let of_child = parent
                .referenced_by
                .iter()
                .filter(|key| key.child.0 == child.schema && key.child.1 == child.name);
            let to_parent = child
                .foreign_keys
                .iter()
                .filter(|key| key.parent.0 == parent.schema && key.parent.1 == parent.name);
            !of_child.eq(to_parent)
        };
        let stale: Vec<Name> = self
            .entries
            .iter()
            .filter(|entry| matches!(&entry.state, State::Known(parent, _) if disagrees(parent)))
            .map(|entry| entry.key().clone())
            .collect();
        for parent in stale {
            self.forget(&parent.0, &parent.1);
        }
    }

    fn make_room(&self) {
        if self.entries.len() < self.options.max_tables {
            return;
        }
        self.sweep();
        // Everything was in use: let any tenth go. They come back when they are asked for.
        let mut surplus = (self.entries.len() + 1)
            .saturating_sub(self.options.max_tables)
            .max(self.options.max_tables / 10);
        if self.entries.len() >= self.options.max_tables {
            self.entries.retain(|_, entry| {
                let stays = entry.loading.is_some() || surplus == 0;
                surplus -= usize::from(!stays);
                stays
            });
        }
    }

    /// Gives the table its id, and its generation: the same `Arc` if nothing has changed.
    fn adopt(
        &self,
        name: &Name,
        known: Option<&Arc<Table>>,
        mut table: Table,
    ) -> Option<(Arc<Table>, LoadEnd)> {
        let mut ids = self.ids.lock();
        if !ids.contains_key(name) && ids.len() >= MAX_IDS {
            return None;
        }
        // Ids start at 1; the limit above keeps the count far below u32.
        let next = TableId(ids.len() as u32 + 1);
        let identity = ids.entry(name.clone()).or_insert(Identity { id: next, generation: 0 });
        self.names.entry(identity.id).or_insert_with(|| name.clone());
        table.id = identity.id;
        table.generation = identity.generation;
        if let Some(known) = known
            && **known == table
        {
            return Some((Arc::clone(known), LoadEnd::Unchanged));
        }
        identity.generation += 1;
        table.generation = identity.generation;
        Some((Arc::new(table), LoadEnd::Loaded))
    }
}

/// A load under way; dropped, it ends the load as failed.
struct EndOfLoad {
    catalog: Arc<Catalog>,
    name: Name,
    since: Instant,
    epoch: u64,
    /// Dropped last: who waits finds the entry already settled.
    _end: watch::Sender<()>,
}

impl EndOfLoad {
    fn finish(&self, result: Result<Loaded, ControlError>) {
        let (end, table) = match self.catalog.entries.get_mut(&self.name) {
            Some(mut entry) => (self.settle(&mut entry, result), entry.known()),
            // Entries that load are not evicted.
            None => (LoadEnd::Outdated, None),
        };
        // Only what is new: a server that shows the key on one side only would have this go on for ever.
        if let (LoadEnd::Loaded, Some(table)) = (end, table) {
            self.catalog.tell_parents(&table);
        }
        (self.catalog.observe)(end, self.since.elapsed());
    }

    fn settle(&self, entry: &mut Entry, result: Result<Loaded, ControlError>) -> LoadEnd {
        entry.loading = None;
        entry.retry_after = None;
        if entry.epoch != self.epoch {
            return LoadEnd::Outdated;
        }
        let known = entry.known();
        match result {
            Ok(Loaded::Table(table)) => match self.catalog.adopt(&self.name, known.as_ref(), *table) {
                Some((table, end)) => {
                    entry.state = State::Known(table, self.since);
                    end
                }
                None => self.failed(entry),
            },
            Ok(Loaded::Absent) => {
                entry.state = State::Absent(self.since);
                LoadEnd::Absent
            }
            Err(error) => {
                tracing::debug!(schema = &*self.name.0, table = &*self.name.1, %error, "definition not loaded");
                self.failed(entry)
            }
        }
    }

    /// What was known stays: no DDL was seen since.
    fn failed(&self, entry: &mut Entry) -> LoadEnd {
        entry.retry_after = Some(Instant::now() + self.catalog.options.retry_pause);
        LoadEnd::Failed
    }
}

impl Drop for EndOfLoad {
    fn drop(&mut self) {
        if let Some(mut entry) = self.catalog.entries.get_mut(&self.name)
            && entry.loading.as_ref().is_some_and(|loading| loading.since == self.since)
        {
            entry.loading = None;
            let end = self.failed(&mut entry);
            drop(entry);
            (self.catalog.observe)(end, self.since.elapsed());
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new() -> Entry {
        Entry {
            state: State::Unknown,
            used: AtomicBool::new(true),
            epoch: 0,
            loading: None,
            retry_after: None,
        }
    }

    fn known(&self) -> Option<Arc<Table>> {
        match &self.state {
            State::Known(table, _) => Some(Arc::clone(table)),
            _ => None,
        }
    }

    fn touch(&self) {
        // Tested first: a write would move the cache line between cores on every statement.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    fn invalidate(&mut self) {
        self.epoch += 1;
        self.state = State::Unknown;
    }
}

#[cfg(test)]
#[path = "catalog_store_tests.rs"]
mod tests;
