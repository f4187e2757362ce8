//! The signatures in force, and who is inside of which constellation now.
//!
//! A transaction *enters* when it runs the entry statement of a role, and leaves when it ends. The party
//! that would complete the constellation is held until one of the others has left.
//!
//! Whether a hold was needed, or would have been, shows afterwards: it was, if both sides went on to run the
//! statement that closes the cycle, and named the values in common that the deadlock's parties had in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

use super::signature::{Ran, Signature, SignatureId, Values, common};
use crate::id::{DigestId, TxnId};

/// Signatures kept; of more, the one that was of use longest ago goes.
const MAX_SIGNATURES: usize = 1000;

/// Values of one transaction that are compared.
const MAX_VALUES: usize = 32;

/// The signatures in force.
#[derive(Debug, Default)]
pub struct Signatures {
    /// Digests that any signature is about: who asks for another one stops here.
    concerned: RwLock<FxHashSet<DigestId>>,
    inner: Mutex<Inner>,
    /// Transactions that are inside somewhere: if there are none, who ends needs no lock.
    inside: AtomicUsize,
    known: AtomicUsize,
    /// Counts up when anything that is worth saving changes.
    revision: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<SignatureId, Known>,
    of: FxHashMap<DigestId, Vec<SignatureId>>,
    inside: FxHashMap<TxnId, Vec<SignatureId>>,
}

#[derive(Debug)]
struct Known {
    signature: Signature,
    members: Vec<Member>,
    /// Those that came last, and what those before them did until they left.
    last: FxHashMap<TxnId, Vec<Left>>,
}

/// A transaction inside of a constellation.
#[derive(Debug)]
struct Member {
    txn: TxnId,
    schema: u64,
    entry: DigestId,
    entry_values: Values,
    left: Left,
}

/// What a member has done.
#[derive(Clone, Debug, Default)]
struct Left {
    closed: bool,
    values: Vec<u32>,
}

/// A statement, as signatures see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// What it is.
    pub digest: DigestId,
    /// Which default schema, as a number.
    pub schema: u64,
    /// Its literals.
    pub values: Values,
}

/// A constellation that a statement would complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completes {
    /// Whose.
    pub signature: SignatureId,
    /// Those inside; it is complete no more when one of them has left.
    pub members: Vec<TxnId>,
}

// === impl Signatures ===

impl Signatures {
    /// Is any signature about this statement?
    pub fn concerns(&self, digest: DigestId) -> bool {
        self.known.load(Ordering::Relaxed) > 0 && self.concerned.read().contains(&digest)
    }

    /// A deadlock has happened.
    pub fn record(&self, signature: Signature) -> SignatureId {
        let mut inner = self.inner.lock();
        let id = signature.id;
        match inner.known.get_mut(&id) {
            Some(known) => known.signature.again(&signature),
            None => {
                if inner.known.len() >= MAX_SIGNATURES {
                    inner.drop_oldest();
                }
                let known = Known { signature, members: Vec::new(), last: FxHashMap::default() };
                inner.known.insert(id, known);
            }
        }
        self.changed(&mut inner);
        id
    }

    /// The server has said the same of a deadlock that is recorded already.
    pub fn confirm(&self, signature: &Signature) {
        if let Some(known) = self.inner.lock().known.get_mut(&signature.id) {
            known.signature.told(signature);
        }
    }

    /// Takes back what was recorded of a deadlock before the server told otherwise.
    pub fn forget_guess(&self, id: SignatureId) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(&id) else { return };
        known.signature.deadlocks -= 1;
        if known.signature.deadlocks == 0 {
            inner.known.remove(&id);
        }
        self.changed(&mut inner);
    }

    /// Takes signatures in from outside; known ones stay as they are. Returns how many are new.
    pub fn import(&self, signatures: Vec<Signature>) -> usize {
        let mut inner = self.inner.lock();
        let before = inner.known.len();
        for signature in signatures.into_iter().filter_map(Signature::checked) {
            if inner.known.len() < MAX_SIGNATURES {
                let known = Known { signature, members: Vec::new(), last: FxHashMap::default() };
                inner.known.entry(known.signature.id).or_insert(known);
            }
        }
        self.changed(&mut inner);
        inner.known.len() - before
    }

    /// Drops one. False: there was none of this name.
    pub fn remove(&self, id: SignatureId) -> bool {
        let mut inner = self.inner.lock();
        let gone = inner.known.remove(&id).is_some();
        self.changed(&mut inner);
        gone
    }

    /// Drops those that have been of no use since then (Unix seconds). Returns how many.
    pub fn expire(&self, before: u64) -> usize {
        let mut inner = self.inner.lock();
        let count = inner.known.len();
        inner.known.retain(|_, known| known.signature.last_seen >= before);
        if inner.known.len() < count {
            self.changed(&mut inner);
        }
        count - inner.known.len()
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Signature> {
        let mut all: Vec<Signature> =
            self.inner.lock().known.values().map(|known| known.signature.clone()).collect();
        all.sort_by_key(|signature| (std::cmp::Reverse(signature.last_seen), signature.id));
        all
    }

    /// Number of signatures.
    pub fn len(&self) -> usize {
        self.known.load(Ordering::Relaxed)
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nobody is inside of any constellation.
    pub fn nobody_inside(&self) -> bool {
        self.inside.load(Ordering::SeqCst) == 0
    }

    /// Another number than before: something has changed that is worth saving.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Would this statement complete a constellation? The one with the most trust.
    pub fn completes(&self, txn: TxnId, seen: &Seen) -> Option<Completes> {
        if !self.concerns(seen.digest) {
            return None;
        }
        let inner = self.inner.lock();
        let known = inner.of.get(&seen.digest)?.iter().filter_map(|id| inner.known.get(id));
        let best = known
            .filter_map(|known| Some((known.signature.trust, known.completed_by(txn, seen)?)))
            .max_by_key(|(trust, _)| *trust);
        best.map(|(_, completes)| completes)
    }

    /// A statement is passed on: its transaction may enter, or close, its part of a constellation.
    pub fn passed_on(&self, txn: TxnId, seen: &Seen) {
        if !self.concerns(seen.digest) {
            return;
        }
        let mut inner = self.inner.lock();
        let Inner { known, of, inside } = &mut *inner;
        for id in of.get(&seen.digest).into_iter().flatten() {
            let Some(known) = known.get_mut(id) else { continue };
            if known.pass(txn, seen) {
                inside.entry(txn).or_default().push(*id);
            }
        }
        self.inside.store(inside.len(), Ordering::SeqCst);
    }

    /// A constellation was about to form again. `now` in Unix seconds.
    pub fn matched(&self, signature: SignatureId, now: u64) {
        if let Some(known) = self.inner.lock().known.get_mut(&signature) {
            self.revision.fetch_add(1, Ordering::Relaxed);
            known.signature.matches += 1;
            known.signature.last_seen = known.signature.last_seen.max(now);
        }
    }

    /// A statement would complete a constellation: it is held for that, or would be if `reorder` were on.
    pub fn completed(&self, txn: TxnId, signature: SignatureId) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(&signature) else { return };
        known.last.insert(txn, Vec::new());
        inner.inside.entry(txn).or_default().push(signature);
        self.inside.store(inner.inside.len(), Ordering::SeqCst);
    }

    /// A transaction has ended: it is inside no more.
    pub fn leave(&self, txn: TxnId) {
        if self.nobody_inside() {
            return;
        }
        let mut inner = self.inner.lock();
        let mut disarmed = false;
        for id in inner.inside.remove(&txn).unwrap_or_default() {
            if let Some(known) = inner.known.get_mut(&id) {
                let armed = known.signature.is_armed();
                known.leave(txn);
                disarmed |= armed && !known.signature.is_armed();
            }
        }
        if disarmed {
            self.changed(&mut inner);
        }
        self.inside.store(inner.inside.len(), Ordering::SeqCst);
    }

    /// Which statements are of concern. Those of a signature that is trusted no more are not, until the deadlock
    /// happens again.
    fn changed(&self, inner: &mut Inner) {
        inner.of.clear();
        for (id, known) in inner.known.iter().filter(|(_, known)| known.signature.is_armed()) {
            for digest in known.signature.entries().chain(known.signature.closings()) {
                let of = inner.of.entry(digest).or_default();
                if !of.contains(id) {
                    of.push(*id);
                }
            }
        }
        *self.concerned.write() = inner.of.keys().copied().collect();
        self.known.store(inner.known.len(), Ordering::SeqCst);
        self.revision.fetch_add(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn drop_oldest(&mut self) {
        let oldest = self.known.values().map(|k| (k.signature.last_seen, k.signature.id)).min();
        if let Some((_, id)) = oldest {
            self.known.remove(&id);
        }
    }
}

impl Known {
    fn is_same_place(&self, member: &Member, seen: &Seen) -> bool {
        (!self.signature.same_schema || member.schema == seen.schema)
            && (!self.signature.same_values || member.entry_values == seen.values)
    }

    /// With this statement every role would be taken.
    fn completed_by(&self, txn: TxnId, seen: &Seen) -> Option<Completes> {
        let roles: Vec<DigestId> = self.signature.entries().collect();
        if !roles.contains(&seen.digest) || self.members.iter().any(|member| member.txn == txn) {
            return None;
        }
        let inside: Vec<&Member> = self.members.iter().filter(|m| self.is_same_place(m, seen)).collect();
        let complete = roles.iter().all(|role| {
            let needed = roles.iter().filter(|other| *other == role).count();
            let there = inside.iter().filter(|member| member.entry == *role).count();
            there + usize::from(*role == seen.digest) >= needed
        });
        let members = || inside.iter().map(|member| member.txn).collect();
        (complete && !inside.is_empty())
            .then(|| Completes { signature: self.signature.id, members: members() })
    }

    /// True if the transaction has entered.
    fn pass(&mut self, txn: TxnId, seen: &Seen) -> bool {
        let closes = self.signature.closings().any(|digest| digest == seen.digest);
        let member = self.members.iter().position(|member| member.txn == txn);
        let enters = member.is_none() && self.signature.entries().any(|digest| digest == seen.digest);
        if enters {
            self.members.push(Member {
                txn,
                schema: seen.schema,
                entry: seen.digest,
                entry_values: seen.values.clone(),
                left: Left::default(),
            });
        }
        let at = if enters { Some(self.members.len() - 1) } else { member };
        if let Some(left) = at.map(|at| &mut self.members[at].left) {
            left.closed |= closes;
            let room = MAX_VALUES.saturating_sub(left.values.len());
            left.values.extend(seen.values.iter().take(room));
        }
        enters
    }

    fn leave(&mut self, txn: TxnId) {
        let before = self.last.remove(&txn);
        let Some(at) = self.members.iter().position(|member| member.txn == txn) else { return };
        let Member { left, .. } = self.members.swap_remove(at);
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            let wanted = usize::from(self.signature.shared_values);
            let both = |other: &Left| {
                left.closed && other.closed && common(&left.values, &other.values).min(2) >= wanted
            };
            let needed = before.iter().any(both);
            self.signature.weigh(needed);
        }
        // Those that came after it learn what it did.
        for before in self.last.values_mut().filter(|before| before.len() < 4) {
            before.push(left.clone());
        }
    }
}

impl Seen {
    /// A statement of a journal.
    pub fn of(ran: &Ran, schema: u64) -> Seen {
        Seen { digest: ran.digest, schema, values: ran.values.clone() }
    }
}
