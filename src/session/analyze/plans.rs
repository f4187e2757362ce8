//! The digest cache of one worker thread.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sql::cache::{Analysed, Plan, PlanCache};
use crate::sql::statement::SqlMode;

/// The plans that the sessions of one worker thread share.
pub struct Plans {
    capacity: usize,
    cache: RefCell<Option<(Server, PlanCache)>>,
    digests: Arc<Digests>,
}

/// The plans of all worker threads, for those who look at them. A plan that leaves its cache leaves this too.
#[derive(Debug, Default)]
pub struct Digests(Mutex<Vec<Weak<Plan>>>);

impl Digests {
    /// The plans in the caches now; a digest that several threads know is there once for each.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        let plans = self.0.lock().clone();
        plans.iter().filter_map(Weak::upgrade).collect()
    }

    fn add(&self, plan: &Arc<Plan>) {
        let mut plans = self.0.lock();
        if plans.len() == plans.capacity() {
            // Before it grows: what was evicted goes. So the list is at most twice as long as the caches.
            plans.retain(|plan| plan.strong_count() > 0);
        }
        plans.push(Arc::downgrade(plan));
    }
}

/// Flavour and version decide which `/*!NNNNN … */` comments are executed.
type Server = (bool, u32);

impl Plans {
    /// An empty cache for at most `capacity` plans, which are entered in `digests` too.
    pub fn new(capacity: usize, digests: Arc<Digests>) -> Plans {
        Plans { capacity, cache: RefCell::new(None), digests }
    }

    /// Reads a text; `true` if it had to be parsed.
    pub(super) fn analyse(&self, text: &[u8], mode: SqlMode, server: Server) -> (Analysed, bool) {
        let mut slot = self.cache.borrow_mut();
        let (known, cache) =
            slot.get_or_insert_with(|| (server, PlanCache::new(self.capacity, server.0, server.1)));
        if *known != server {
            // The server was upgraded behind the proxy: its plans begin anew.
            *known = server;
            *cache = PlanCache::new(self.capacity, server.0, server.1);
        }
        let before = cache.counters().parses;
        let analysed = cache.analyse(text, mode);
        let parsed = cache.counters().parses != before;
        if parsed {
            self.digests.add(&analysed.plan);
        }
        (analysed, parsed)
    }
}

/// `9.7.4-2` → 90704, `10.11.19-MariaDB` → 101119.
pub(super) fn version_number(version: &str) -> u32 {
    // MariaDB once hid behind a replication prefix.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    next() * 10_000 + next() * 100 + next()
}
