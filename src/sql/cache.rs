//! The digest cache: plans of the statements seen before.
//!
//! A plain value, meant to be one per thread: a hit takes no lock and allocates nothing. Bounded: when it is
//! full, the clock's hand passes over entries that were used since it last came by and evicts the first that
//! was not (second chance).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

use super::binding::Binding;
use super::digest::{Digest, FoldKind};
use super::lexer::Reading;
use super::names;
use super::parse::parse;
use super::repeat::{self, Repeat};
use super::statement::{SqlMode, Statement};
use super::uses::Uses;
use super::value::Value;

/// Plans kept unless said otherwise.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// A statement that was read.
#[derive(Debug)]
pub struct Plan {
    /// What it does.
    pub statement: Statement,
    /// Digest text: normalised, without literals, at most 1 kB.
    pub text: Arc<str>,
    /// The digest's number. It does not depend on the process.
    pub hash: u128,
    /// It gives user variables values that the plan does not show.
    pub assigns: bool,
    /// The tables that it names, one bit each: two that share a bit may be different ones.
    pub tables: u64,
    /// What became of its executions.
    pub uses: Uses,
    /// Whether it can be run again, once somebody has asked.
    repeat: OnceLock<Repeat>,
}

impl Plan {
    /// Reads a text whose digest is known.
    fn read(text: &[u8], reading: Reading, digest: &Digest) -> Arc<Plan> {
        let parsed = parse(text, reading, digest);
        Arc::new(Plan {
            tables: names::bits(&parsed.statement),
            statement: parsed.statement,
            text: parsed.text.into(),
            hash: digest.hash,
            assigns: parsed.assigns,
            uses: Uses::default(),
            repeat: OnceLock::new(),
        })
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Plan) -> bool {
        self.hash == other.hash && self.text == other.text && self.statement == other.statement
    }
}

/// A text with its plan.
#[derive(Clone, Debug)]
pub struct Analysed {
    /// The plan, shared by all texts with this digest.
    pub plan: Arc<Plan>,
    /// Where this text's literals stand.
    pub digest: Digest,
    /// How it was read.
    pub reading: Reading,
}

impl Analysed {
    /// Reads a text that is kept elsewhere than in a cache.
    pub fn of(text: &[u8], reading: Reading) -> Analysed {
        let digest = Digest::of(text, reading);
        Analysed { plan: Plan::read(text, reading, &digest), digest, reading }
    }

    /// The values of one execution. `text` is the text that was analysed.
    pub fn bind<'a>(&'a self, text: &'a [u8], params: &'a [Value<'a>]) -> Binding<'a> {
        Binding::new(text, self.reading, &self.digest, params)
    }

    /// Can the statement be run again after a rollback? `text` is the text that was analysed.
    pub fn repeat(&self, text: &[u8]) -> Repeat {
        // Such rows have more words than the digest.
        let mixed = self.digest.folds.iter().any(|fold| fold.kind == FoldKind::MixedRows);
        if mixed || self.digest.too_long {
            return Repeat::Never;
        }
        *self.plan.repeat.get_or_init(|| repeat::of(&self.plan.statement, text, self.reading))
    }
}

/// Counters, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCounters {
    /// Texts whose plan was there.
    pub hits: u64,
    /// Texts that were parsed.
    pub parses: u64,
    /// Plans that were evicted.
    pub evictions: u64,
}

type Key = (u128, SqlMode);

struct Entry {
    key: Key,
    plan: Arc<Plan>,
    used: bool,
}

/// The plans of one thread.
pub struct PlanCache {
    capacity: usize,
    server: Reading,
    index: HashMap<Key, usize, BuildHasherDefault<DigestHasher>>,
    entries: Vec<Entry>,
    hand: usize,
    counters: CacheCounters,
}

impl Default for PlanCache {
    fn default() -> Self {
        PlanCache::new(DEFAULT_CAPACITY, false, Reading::default().version)
    }
}

impl PlanCache {
    /// A cache of at most `capacity` plans for a server: its flavour and version decide which
    /// `/*!NNNNN … */` are executed. Versions are written as there: 90704, 101119.
    pub fn new(capacity: usize, mariadb: bool, version: u32) -> Self {
        PlanCache {
            capacity: capacity.max(1),
            server: Reading { mode: SqlMode::default(), mariadb, version },
            index: HashMap::default(),
            entries: Vec::new(),
            hand: 0,
            counters: CacheCounters::default(),
        }
    }

    /// Reads a text: the plan comes from the cache, or from the parser the first time.
    pub fn analyse(&mut self, text: &[u8], mode: SqlMode) -> Analysed {
        let reading = Reading { mode, ..self.server };
        let digest = Digest::of(text, reading);
        let key = (digest.hash, mode);
        if let Some(&at) = self.index.get(&key) {
            let entry = &mut self.entries[at];
            entry.used = true;
            self.counters.hits += 1;
            return Analysed { plan: Arc::clone(&entry.plan), digest, reading };
        }
        self.counters.parses += 1;
        let plan = Plan::read(text, reading, &digest);
        // The hash of a text that was not read to its end says nothing of the rest.
        if !digest.too_long {
            self.insert(key, Arc::clone(&plan));
        }
        Analysed { plan, digest, reading }
    }

    /// What happened so far.
    pub fn counters(&self) -> CacheCounters {
        self.counters
    }

    /// Number of plans.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No plan yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert(&mut self, key: Key, plan: Arc<Plan>) {
        let entry = Entry { key, plan, used: false };
        if self.entries.len() < self.capacity {
            self.index.insert(key, self.entries.len());
            self.entries.push(entry);
            return;
        }
        while self.entries[self.hand].used {
            self.entries[self.hand].used = false;
            self.hand = (self.hand + 1) % self.entries.len();
        }
        self.counters.evictions += 1;
        self.index.remove(&self.entries[self.hand].key);
        self.index.insert(key, self.hand);
        self.entries[self.hand] = entry;
        self.hand = (self.hand + 1) % self.entries.len();
    }
}

/// The key is a hash already: its low half is taken as it is.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(5) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 ^= hash as u64;
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(8) ^ u64::from(byte);
    }
}
