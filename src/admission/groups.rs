//! Conflicts of one kind, together: the same statement meets the same pattern in the same index.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use rustc_hash::FxHasher;
use schemars::JsonSchema;
use serde::Serialize;

use super::advice::Advice;
use super::record::{Outcome, Record, Resource};
use crate::metrics::labels::Pattern;

/// Groups that are kept; the one not seen for the longest time goes first.
const MAX_GROUPS: usize = 500;

/// All conflicts of one kind, in figures.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Tally {
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
    /// Of these, how many came to nothing.
    pub did_not_happen: u64,
    /// Statements held, milliseconds in all.
    pub held_ms: f64,
    /// When the first was found.
    pub first_seen: String,
    /// When the last was found.
    pub last_seen: String,
    /// Number of the newest.
    pub newest: u64,
}

/// What is known of all conflicts of one kind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Group {
    /// How many, when, and what came of them.
    #[serde(flatten)]
    pub tally: Tally,
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
            let oldest = self.by_id.iter().min_by_key(|(_, group)| group.tally.newest).map(|(key, _)| *key);
            self.by_id.remove(&oldest.unwrap_or_default());
        }
        let group = self.by_id.entry(key).or_insert_with(|| Group {
            tally: Tally {
                id: key,
                pattern: record.pattern,
                schema: record.resource.schema.clone(),
                table: record.resource.table.clone(),
                index: record.resource.index.clone(),
                statement: record.requester.statement.clone(),
                count: 0,
                happened: 0,
                averted: 0,
                did_not_happen: 0,
                held_ms: 0.0,
                first_seen: record.time.clone(),
                last_seen: String::new(),
                newest: 0,
            },
            example: None,
            advice: record.advice.clone(),
        });
        let tally = &mut group.tally;
        tally.count += 1;
        tally.last_seen.clone_from(&record.time);
        tally.newest = record.seq;
    }

    /// The advice that a group's first conflict was given.
    pub fn advice(&self, key: GroupId) -> Option<Arc<[Advice]>> {
        self.by_id.get(&key).map(|group| group.advice.clone())
    }

    /// The outcome of a conflict is known.
    pub fn closed(&mut self, key: GroupId, record: &Record) {
        let Some(group) = self.by_id.get_mut(&key) else { return };
        match record.outcome {
            Outcome::Happened | Outcome::Restarted => group.tally.happened += 1,
            Outcome::Averted => group.tally.averted += 1,
            Outcome::DidNotHappen => group.tally.did_not_happen += 1,
            Outcome::Pending => {}
        }
        group.tally.held_ms += record.held_ms;
    }

    /// A conflict turned out to belong to another group.
    pub fn uncount(&mut self, key: GroupId, outcome: Outcome) {
        let Some(group) = self.by_id.get_mut(&key) else { return };
        let tally = &mut group.tally;
        tally.count = tally.count.saturating_sub(1);
        let happened = matches!(outcome, Outcome::Happened | Outcome::Restarted);
        tally.happened -= u64::from(happened && tally.happened > 0);
        if tally.count == 0 {
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
        let mut all: Vec<Group> = self.by_id.values().map(|group| group.with(&example)).collect();
        all.sort_by_key(|group| (Reverse(group.tally.count), group.tally.id));
        all
    }

    /// The group of this name.
    pub fn one(&self, key: GroupId, example: impl Fn(u64) -> Option<Record>) -> Option<Group> {
        self.by_id.get(&key).map(|group| group.with(example))
    }

    /// The figures of the most frequent groups and, if there are more, of those seen last; most frequent first.
    pub fn tallies(&self, most: usize, newest: usize) -> Vec<Tally> {
        let mut all: Vec<&Tally> = self.by_id.values().map(|group| &group.tally).collect();
        let by_count = |tally: &&Tally| (Reverse(tally.count), tally.id);
        all.sort_unstable_by_key(by_count);
        let most = most.min(all.len());
        let (first, rest) = all.split_at_mut(most);
        rest.sort_unstable_by_key(|tally| Reverse(tally.newest));
        let mut shown: Vec<&Tally> = first.iter().chain(rest.iter().take(newest)).copied().collect();
        shown.sort_unstable_by_key(by_count);
        shown.into_iter().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Group {
    fn with(&self, example: impl Fn(u64) -> Option<Record>) -> Group {
        let newest = example(self.tally.newest).map(Box::new);
        Group { example: newest.or_else(|| self.example.clone()), ..self.clone() }
    }
}

impl FromStr for GroupId {
    type Err = std::num::ParseIntError;

    /// As [`GroupId`] is displayed.
    fn from_str(text: &str) -> Result<GroupId, Self::Err> {
        u64::from_str_radix(text, 16).map(GroupId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(of: &[(u64, u64)]) -> Groups {
        let tally = |at: usize, count, newest| Tally {
            id: GroupId(at as u64),
            pattern: Pattern::Other,
            schema: String::new(),
            table: String::new(),
            index: String::new(),
            statement: None,
            count,
            happened: 0,
            averted: 0,
            did_not_happen: 0,
            held_ms: 0.0,
            first_seen: String::new(),
            last_seen: String::new(),
            newest,
        };
        let group = |(at, (count, newest)): (usize, &(u64, u64))| {
            let group = Group { tally: tally(at, *count, *newest), example: None, advice: Arc::default() };
            (group.tally.id, group)
        };
        Groups { by_id: of.iter().enumerate().map(group).collect() }
    }

    #[test]
    fn what_is_frequent_and_what_is_new_is_shown() {
        let check = |of: &[(u64, u64)], expected: &[u64]| {
            let shown: Vec<u64> = groups(of).tallies(2, 1).iter().map(|tally| tally.count).collect();
            assert_eq!(shown, expected, "{of:?}");
        };
        check(&[], &[]);
        check(&[(3, 1)], &[3]);
        check(&[(3, 1), (9, 2)], &[9, 3]);
        // The third place is for the newest of the others, and it keeps its place by its count.
        check(&[(3, 1), (9, 2), (1, 7), (2, 5)], &[9, 3, 1]);
        check(&[(3, 1), (9, 2), (1, 5), (2, 7)], &[9, 3, 2]);
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for id in [GroupId(0), GroupId(0xfedc_ba98_7654_3210)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!("no name".parse::<GroupId>().is_err());
    }
}
