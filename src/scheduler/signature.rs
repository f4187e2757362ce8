//! The signature of a deadlock that happened: who ran what, in which order, by digests.
//!
//! A lock model foresees what it understands. A signature needs no understanding: the same statements in
//! the same roles have deadlocked once, so the next time the last party is kept from entering.
//!
//! ```text
//! party 1: SELECT … FOR UPDATE   UPDATE room …   INSERT INTO booking …
//!          entry (the first statement that the others wait for)     closing (where it waited)
//! party 2: UPDATE booking …      UPDATE room …
//! ```
//!
//! [`Signature::of`] makes one from what the parties ran; [`super::signatures`] recognises it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::id::DigestId;

/// Statements of one party that a signature keeps.
const MAX_STATEMENTS: usize = 32;

/// Parties of a deadlock that a signature can have; with more, one hold helps little.
const MAX_PARTIES: usize = 8;

/// Full trust, in thousandths.
pub const FULL_TRUST: u16 = 1000;

/// Below this trust a signature holds nobody: about sixteen needless holds in a row.
const LEAST_TRUST: u16 = 125;

/// The name of a signature: the same deadlock has the same name in every process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SignatureId(pub u64);

/// The values that a statement names, as small hashes; at most a few.
pub type Values = SmallVec<[u32; 4]>;

/// A statement as it ran.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// What it is.
    pub digest: DigestId,
    /// Its normalised text, without literals.
    pub text: Arc<str>,
    /// It may lock rows or more than rows; a plain read does not.
    pub locks: bool,
    /// The tables that it names, one bit each.
    pub tables: u64,
    /// Its literals.
    pub values: Values,
}

/// A party of a deadlock: what it had run since its transaction began, the statement that waited last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Party {
    /// Which default schema, as a number.
    pub schema: u64,
    /// Its statements, oldest first.
    pub statements: Vec<Ran>,
    /// Locks that it held in the others' way, in words.
    pub holds: Vec<String>,
    /// The lock that it waited for, in words.
    pub waits_for: Vec<String>,
}

/// How the parties of a deadlock are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The wait-for graph had the cycle.
    Model,
    /// The server's report named them.
    Server,
    /// They were at the server at that moment, and nobody else was.
    Chance,
}

/// A deadlock that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signature {
    /// Its name.
    #[serde(with = "hexadecimal")]
    pub id: SignatureId,
    /// The parties.
    pub roles: Vec<Role>,
    /// The entries named the same values: only such ones are taken for the same constellation.
    pub same_values: bool,
    /// Values that the parties had in common, at most 2 count.
    pub shared_values: u8,
    /// The parties had the same default schema.
    pub same_schema: bool,
    /// How the parties are known.
    pub known_by: KnownBy,
    /// How often it has happened.
    pub deadlocks: u64,
    /// How often it was about to form again.
    pub matches: u64,
    /// How many of the holds turned out needless.
    pub needless: u64,
    /// How far it is trusted, in thousandths; needless holds lower it, another deadlock restores it.
    pub trust: u16,
    /// When it happened first, Unix seconds.
    pub first_seen: u64,
    /// When it happened or matched last, Unix seconds.
    pub last_seen: u64,
}

/// One party's part in a deadlock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its statements since BEGIN, oldest first.
    pub statements: Vec<Statement>,
    /// The position of the statement at which it entered the cycle: here it is held.
    pub entry: usize,
    /// The position of the statement that closed its side of the cycle.
    pub closing: usize,
    /// Locks that it held in the others' way, in words: index and mode.
    #[serde(default)]
    pub holds: Vec<String>,
    /// The lock that it waited for, in words.
    #[serde(default)]
    pub waits_for: Vec<String>,
}

/// A statement of a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// What it is.
    pub digest: DigestId,
    /// Its text without literals.
    pub text: Arc<str>,
    /// It may lock.
    pub locks: bool,
}

// === impl Signature ===

impl Signature {
    /// The signature of a deadlock between these parties. `None`: not enough is known of them. `now` in Unix
    /// seconds.
    pub fn of(parties: &[Party], known_by: KnownBy, now: u64) -> Option<Signature> {
        if !(2..=MAX_PARTIES).contains(&parties.len()) || parties.iter().any(|p| p.statements.is_empty()) {
            return None;
        }
        let entries: Vec<usize> = (0..parties.len()).map(|at| entry_of(parties, at)).collect();
        let first = &parties[0].statements[entries[0]].values;
        let same_values = !first.is_empty()
            && parties.iter().zip(&entries).all(|(party, entry)| party.statements[*entry].values == *first);
        let shared = common(&values_of(&parties[0], entries[0]), &values_of(&parties[1], entries[1]));
        let mut roles: Vec<Role> =
            parties.iter().zip(&entries).map(|(party, entry)| Role::of(party, *entry)).collect();
        roles.sort_by_key(Role::name);
        Some(Signature {
            id: name(&roles),
            roles,
            same_values,
            shared_values: shared.min(2) as u8,
            same_schema: parties.iter().all(|party| party.schema == parties[0].schema),
            known_by,
            deadlocks: 1,
            matches: 0,
            needless: 0,
            trust: FULL_TRUST,
            first_seen: now,
            last_seen: now,
        })
    }

    /// It is trusted enough to hold somebody.
    pub fn is_armed(&self) -> bool {
        self.trust >= LEAST_TRUST
    }

    /// The same deadlock has happened once more. If it was armed and came all the same, it looks for less
    /// before it holds, and earlier.
    pub fn again(&mut self, other: &Signature) {
        let known_for_long = other.last_seen > self.first_seen + 1;
        if known_for_long && self.is_armed() {
            self.same_values = false;
            for role in &mut self.roles {
                role.entry = role.statements.iter().position(|s| s.locks).unwrap_or(0).min(role.entry);
            }
        }
        self.same_values &= other.same_values;
        self.same_schema &= other.same_schema;
        self.shared_values = self.shared_values.min(other.shared_values);
        self.deadlocks += other.deadlocks;
        self.trust = FULL_TRUST;
        self.last_seen = self.last_seen.max(other.last_seen);
        if other.known_by == KnownBy::Server {
            self.told(other);
        }
    }

    /// The server has named the same parties, and their locks.
    pub fn told(&mut self, other: &Signature) {
        self.known_by = KnownBy::Server;
        for (mine, theirs) in self.roles.iter_mut().zip(&other.roles) {
            mine.holds.clone_from(&theirs.holds);
            mine.waits_for.clone_from(&theirs.waits_for);
        }
    }

    /// A hold has shown whether it was needed.
    pub fn weigh(&mut self, needed: bool) {
        if needed {
            self.trust += (FULL_TRUST - self.trust) / 4;
        } else {
            self.needless += 1;
            self.trust -= (self.trust / 8).max(1).min(self.trust);
        }
    }

    /// The statements at which parties enter.
    pub fn entries(&self) -> impl Iterator<Item = DigestId> {
        self.roles.iter().map(|role| role.statements[role.entry].digest)
    }

    /// The statements that close the cycle.
    pub fn closings(&self) -> impl Iterator<Item = DigestId> {
        self.roles.iter().map(|role| role.statements[role.closing].digest)
    }

    /// What was read from a file makes sense. Its name is worked out anew: other versions may name otherwise.
    pub fn checked(mut self) -> Option<Signature> {
        let sound = (2..=MAX_PARTIES).contains(&self.roles.len())
            && self.roles.iter().all(|r| r.entry <= r.closing && r.closing < r.statements.len());
        self.trust = self.trust.min(FULL_TRUST);
        self.roles.sort_by_key(|role| if sound { role.name() } else { Default::default() });
        sound.then(|| Signature { id: name(&self.roles), ..self })
    }
}

impl Role {
    /// The statement that locked first and the one that closed.
    fn name(&self) -> (DigestId, DigestId) {
        let first = self.statements.iter().find(|s| s.locks).unwrap_or(&self.statements[self.entry]);
        (first.digest, self.statements[self.closing].digest)
    }

    fn of(party: &Party, entry: usize) -> Role {
        let last = party.statements.len() - 1;
        let shown = |ran: &Ran| Statement { digest: ran.digest, text: ran.text.clone(), locks: ran.locks };
        // The entry and what follows it matter; of a long transaction, the newest statements do.
        let first = if last < MAX_STATEMENTS { 0 } else { entry.min(last + 1 - MAX_STATEMENTS) };
        let mut statements: Vec<Statement> = party.statements[first..].iter().map(shown).collect();
        if statements.len() > MAX_STATEMENTS {
            let cut = statements.len() - MAX_STATEMENTS;
            statements.drain(1..=cut);
        }
        Role {
            entry: entry - first,
            closing: statements.len() - 1,
            statements,
            holds: party.holds.clone(),
            waits_for: party.waits_for.clone(),
        }
    }
}

/// Where a party entered: the first statement that locks what another party waited for, as far as the tables
/// tell; else its first statement that locks; else its first that uses a table. The statement that waited is
/// taken only if there was no other.
fn entry_of(parties: &[Party], at: usize) -> usize {
    let earlier = &parties[at].statements[..parties[at].statements.len() - 1];
    let wanted = parties.iter().enumerate().filter(|(other, _)| *other != at);
    let wanted = wanted.filter_map(|(_, party)| party.statements.last()).fold(0, |all, ran| all | ran.tables);
    let position = |test: &dyn Fn(&Ran) -> bool| earlier.iter().position(test);
    position(&|ran| ran.locks && ran.tables & wanted != 0)
        .or_else(|| position(&|ran| ran.locks))
        .or_else(|| position(&|ran| ran.tables != 0))
        .unwrap_or(earlier.len())
}

/// The same statements in the same roles: the same name, whoever came first.
fn name(roles: &[Role]) -> SignatureId {
    let mut hasher = FxHasher::default();
    roles.iter().map(Role::name).collect::<Vec<_>>().hash(&mut hasher);
    SignatureId(hasher.finish())
}

/// What the entry and the closing statement of a party named.
fn values_of(party: &Party, entry: usize) -> Vec<u32> {
    let closing = party.statements.last().map(|ran| &ran.values);
    party.statements[entry].values.iter().chain(closing.into_iter().flatten()).copied().collect()
}

/// How many different values are in both.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    let mut found: SmallVec<[u32; 8]> = SmallVec::new();
    for value in a.iter().filter(|value| b.contains(value)) {
        if !found.contains(value) {
            found.push(*value);
        }
    }
    found.len()
}

/// Names as 16 hexadecimal digits.
mod hexadecimal {
    use super::SignatureId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &SignatureId, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<SignatureId, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(input)?;
        u64::from_str_radix(&text, 16).map(SignatureId).map_err(D::Error::custom)
    }
}

impl std::fmt::Display for SignatureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
