//! Conflicts of one kind, together: the same statement meets the same pattern in the same index.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use schemars::JsonSchema;
use serde::Serialize;

use super::advice::Advice;
use super::record::{Outcome, Record, Resource};
use crate::metrics::labels::Pattern;

/// Groups that are kept; the one not seen for the longest time goes first.
const MAX_GROUPS: usize = 500;

/// What is known of all conflicts of one kind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Group {
    /// Its name: the same in every process.
    #[schemars(with = "String")]
    pub id: GroupId,
    /// Which known shape the conflicts have.
    #[schemars(with = "String")]
    pub pattern: Pattern,
    /// Schema, table and index.
    pub schema: String,
    /// Table.
    pub table: String,
    /// Index.
    pub index: String,
    /// The statement that met the conflicts.
    pub statement: Option<Arc<str>>,
    /// How many there were.
    pub count: u64,
    /// Of these, how many became what was feared.
    pub happened: u64,
    /// Of these, how many would have, but for interlock.
    pub averted: u64,
    /// Statements held, milliseconds in all.
    pub held_ms: f64,
    /// When the first was found.
    pub first_seen: String,
    /// When the last was found.
    pub last_seen: String,
    /// Number of the newest.
    pub newest: u64,
    /// The newest whose outcome was known, as long as the group lives.
    pub example: Option<Box<Record>>,
    /// What helps.
    pub advice: Arc<[Advice]>,
}

/// The name of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct GroupId(u64);

/// The groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_id: HashMap<GroupId, Group>,
}

impl GroupId {
    /// The group of conflicts of this pattern, at this place, that this statement meets.
    pub(super) fn of(pattern: Pattern, place: &Resource, digest: u128) -> GroupId {
        let mut hasher = FxHasher::default();
        (pattern, &place.schema, &place.table, &place.index, digest).hash(&mut hasher);
        GroupId(hasher.finish())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for GroupId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl Groups {
    /// Counts a conflict.
    pub fn count(&mut self, key: GroupId, record: &Record) {
        if self.by_id.len() >= MAX_GROUPS && !self.by_id.contains_key(&key) {
            let oldest = self.by_id.iter().min_by_key(|(_, group)| group.newest).map(|(key, _)| *key);
            self.by_id.remove(&oldest.unwrap_or_default());
        }
        let group = self.by_id.entry(key).or_insert_with(|| Group {
            id: key,
            pattern: record.pattern,
            schema: record.resource.schema.clone(),
            table: record.resource.table.clone(),
            index: record.resource.index.clone(),
            statement: record.requester.statement.clone(),
            count: 0,
            happened: 0,
            averted: 0,
            held_ms: 0.0,
            first_seen: record.time.clone(),
            last_seen: String::new(),
            newest: 0,
            example: None,
            advice: record.advice.clone(),
        });
        group.count += 1;
        group.last_seen.clone_from(&record.time);
        group.newest = record.seq;
    }

    /// The advice that a group's first conflict was given.
    pub fn advice(&self, key: GroupId) -> Option<Arc<[Advice]>> {
        self.by_id.get(&key).map(|group| group.advice.clone())
    }

    /// The outcome of a conflict is known.
    pub fn closed(&mut self, key: GroupId, record: &Record) {
        let Some(group) = self.by_id.get_mut(&key) else { return };
        match record.outcome {
            Outcome::Happened => group.happened += 1,
            Outcome::Averted => group.averted += 1,
            Outcome::Pending | Outcome::DidNotHappen => {}
        }
        group.held_ms += record.held_ms;
    }

    /// A conflict turned out to belong to another group.
    pub fn uncount(&mut self, key: GroupId, outcome: Outcome) {
        let Some(group) = self.by_id.get_mut(&key) else { return };
        group.count = group.count.saturating_sub(1);
        group.happened -= u64::from(outcome == Outcome::Happened && group.happened > 0);
        if group.count == 0 {
            self.by_id.remove(&key);
        }
    }

    /// A record leaves the ring: the newest of a group stays with it.
    pub fn leaves(&mut self, key: GroupId, record: Record) {
        if let Some(group) = self.by_id.get_mut(&key)
            && group.example.as_ref().is_none_or(|example| example.seq < record.seq)
        {
            group.example = Some(Box::new(record));
        }
    }

    /// All groups, those with most conflicts first. `example` finds a record that is still in the ring.
    pub fn all(&self, example: impl Fn(u64) -> Option<Record>) -> Vec<Group> {
        let with = |group: &Group| Group {
            example: example(group.newest).map(Box::new).or_else(|| group.example.clone()),
            ..group.clone()
        };
        let mut all: Vec<Group> = self.by_id.values().map(with).collect();
        all.sort_by_key(|group| (std::cmp::Reverse(group.count), group.id));
        all
    }
}
