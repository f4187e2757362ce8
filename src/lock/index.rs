//! The locks of one index. What a new request meets there `meeting` tells.

use super::asking::{Asking, Got};
use super::evidence::{Asker, Evidence, Expects, evidence};
use super::fence::Fences;
use super::interval_tree::{Handle, IntervalTree};
use super::key::Key;
use super::lead::Leads;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Kind, Request, Settled};
use crate::id::{DigestId, SearchId, TxnId};

/// Where lookups are less likely than this to find nothing, gaps hardly matter, and the records that are met are
/// not remembered.
const SELDOM: f32 = 0.01;

/// A lock that a transaction holds or is about to take.
#[derive(Clone, Debug)]
pub struct Held {
    /// The holder.
    pub txn: TxnId,
    /// Shared or exclusive.
    pub mode: Mode,
    /// What it covers.
    pub kind: Kind,
    /// The part of the index that the statement named. The tree's range says how far its gap may reach.
    pub named: Range,
    /// The part of it that has been asked for: a statement that waits has not come to the rest yet.
    pub asked: Range,
    /// When it was asked for: smaller is earlier.
    pub order: u64,
    /// Its statement is expected to wait, for this lock or for one before it.
    pub waits: bool,
    /// It is to be passed over, and was waited for: then the server does not let it go.
    pub waited: bool,
    /// The statement has not been answered yet: the lock may be waited for, or turn out otherwise.
    pub tentative: bool,
    /// The reach of the gap was read from the server, it is not only the nearest known records.
    pub exact: bool,
    /// The holder has inserted into its own gap: records seen there now no longer bound the lock.
    pub frozen: bool,
    /// It was asked for as an entry of a row that the holder changes or inserts.
    pub own_row: bool,
    /// It was asked for as a new entry.
    pub insert: bool,
    /// It will not become one: its key is there, and stays.
    pub refused: bool,
    /// The holder wrote this record: it exists for others once the transaction has committed.
    pub inserted: bool,
    /// The holder has deleted this record: it is gone for others once the transaction has committed.
    pub deleted: bool,
    /// How sure the model is of this lock.
    pub certainty: Certainty,
    /// The statement that took it.
    pub digest: DigestId,
    /// What its transaction is expected to do with it.
    pub expects: Expects,
    /// The transaction has gone on to insert into this gap.
    pub filled: bool,
    /// The transaction has gone on to ask for more than this shared lock.
    pub upgraded: bool,
    /// The statement's locks are known widely only; this is whom to ask for the exact ones.
    pub search: Option<SearchId>,
}

/// How a request relates to a lock in its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Relation {
    /// Compatible now, but the next insert of each would wait for the other.
    Hazard,
    /// The request would wait.
    Wait,
}

/// A lock in the way of a request.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// Who holds it.
    pub holder: TxnId,
    /// Position of the request in the statement's list.
    pub request: usize,
    /// What it means: the worst of what the holder has in the way.
    pub relation: Relation,
    /// Something that the holder has is a hazard, whatever else it has.
    pub hazard: bool,
    /// Both sides are expected to do what makes a hazard a deadlock: to insert, to upgrade.
    pub expected: bool,
    /// How sure that is.
    pub certainty: Certainty,
    /// The lock's mode.
    pub mode: Mode,
    /// The lock's kind.
    pub kind: Kind,
    /// The part of the index that the lock covers, its gaps included.
    pub range: Range,
    /// An insert runs into the gap of the lock, not into what is locked at the place itself.
    pub gap: bool,
    /// There is no lock structure for it yet: it is on an entry that the holder has put or changed itself.
    pub implicit: bool,
    /// Whom to ask for the exact lock, if this one is wider.
    pub search: Option<SearchId>,
}

/// All locks in one index.
#[derive(Debug)]
pub struct IndexLocks {
    pub(super) tree: IntervalTree<Held>,
    pub(super) fences: Fences,
    pub(super) leads: Leads,
    /// Locks of searches: those that a [`Kind::Entry`] can meet.
    pub(super) searches: usize,
    /// How likely unique lookups find nothing, as of late: 0 to 1; a half if one in five does.
    pub(super) misses: f32,
}

impl Default for IndexLocks {
    fn default() -> Self {
        // Unknown counts as "finds nothing": the careful side.
        let (tree, fences, leads) = (IntervalTree::default(), Fences::default(), Leads::default());
        IndexLocks { tree, fences, leads, searches: 0, misses: 1.0 }
    }
}

impl IndexLocks {
    /// Number of locks.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// No lock is held.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Up to `count` locks, each with the part of the index that it may reach; see [`IntervalTree::page`].
    pub fn page(&self, from: usize, count: usize) -> (impl Iterator<Item = (&Range, &Held)>, Option<usize>) {
        self.tree.page(from, count)
    }

    /// Notes a request of a statement that is about to be sent; `got`: how far it gets.
    pub fn enter(&mut self, asking: Asking, request: &Request, reach: Range, got: Got) -> Handle {
        let held = Held {
            txn: asking.by.txn,
            digest: asking.by.digest,
            expects: asking.by.expects,
            filled: false,
            upgraded: false,
            mode: request.mode,
            kind: request.kind,
            named: request.range.clone(),
            waited: request.kind == Kind::Passed && got.is_waited_for(),
            asked: got.asked,
            order: asking.order,
            waits: got.waits,
            tentative: true,
            exact: got.exact,
            frozen: false,
            inserted: false,
            deleted: false,
            insert: request.kind.inserts(),
            refused: false,
            own_row: request.kind.of_own_row(),
            certainty: request.certainty,
            search: asking.search,
        };
        self.searches += usize::from(!held.own_row);
        // Nothing stands there, a look has shown.
        if held.exact && held.kind == Kind::Gap {
            self.fences.missed(&held.named);
        }
        if request.is_somewhere() {
            return self.tree.insert_vague(reach, held);
        }
        let wide = is_wide(&held);
        self.tree.insert(reach, wide, held)
    }

    /// What the transaction itself holds here and goes on to use with this request is marked.
    pub fn uses(&mut self, used: &[Handle], request: &Request) {
        for handle in used {
            if let Some((_, held)) = self.tree.get_mut(*handle) {
                held.filled |= request.kind.inserts();
                held.upgraded |= !request.kind.inserts();
            }
        }
    }

    /// What a lock covers is anybody's guess.
    pub fn doubt(&mut self, handle: Handle, tells: bool) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            (held.certainty, held.search) = (Certainty::Unknown, held.search.filter(|_| tells));
        }
    }

    /// It turns out to be what was asked for.
    pub fn believe(&mut self, handle: Handle, certainty: Certainty) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.certainty = certainty;
        }
    }

    /// Who took a lock, and what it was used for.
    pub fn taker(&mut self, handle: Handle) -> Option<(Asker, bool, bool)> {
        let (_, held) = self.tree.get_mut(handle)?;
        let by = Asker { txn: held.txn, digest: held.digest, expects: held.expects };
        Some((by, held.filled, held.upgraded))
    }

    /// The place of an entry that the holder of this lock has put there, if it is one.
    pub fn new_entry(&self, handle: Handle) -> Option<Range> {
        let (_, held) = self.tree.get(handle)?;
        held.inserted.then(|| held.named.clone())
    }

    /// Does the transaction have the records in this range for itself? Then nobody else changes them.
    pub fn owns(&self, txn: TxnId, range: &Range) -> bool {
        let whole = |held: &Held| held.certainty > Certainty::Unknown && held.named.covers(range);
        self.has(txn, range, |held| !held.tentative && held.mode == Mode::X && whole(held))
    }

    /// Has the transaction got such a lock on records in this range?
    pub(super) fn has(&self, txn: TxnId, range: &Range, such: impl Fn(&Held) -> bool) -> bool {
        let mut has = false;
        self.tree.visit(range, range, &mut |_, _, held| {
            has |= held.txn == txn && held.has_got() && held.kind.records() && such(held);
        });
        has
    }

    /// The transaction has deleted what it has locked in this range.
    pub fn delete(&mut self, txn: TxnId, range: &Range) {
        let own =
            |held: &Held| held.txn == txn && held.mode == Mode::X && held.kind.records() && !held.tentative;
        for handle in self.tree.handles(range, |held| own(held) && range.covers(&held.named)) {
            let Some((extent, held)) = self.tree.get_mut(handle) else { continue };
            held.deleted = true;
            // Whoever reads past it meets it, though no look shows it to be there.
            let (extent, wide) = (extent.clone(), is_wide(held));
            self.tree.set_range(handle, extent, wide);
        }
    }

    /// The place of an entry that the holder of this lock has deleted, if it is one and there is none again.
    pub fn gone_entry(&self, handle: Handle) -> Option<Range> {
        let (_, held) = self.tree.get(handle)?;
        let gone = held.deleted && held.named.is_entries() && !self.has_put(held.txn, &held.named.low);
        gone.then(|| held.named.clone())
    }

    /// A lock that was noted in the place of another has been used as that one was.
    pub fn used(&mut self, handle: Handle, filled: bool, upgraded: bool) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.filled = filled && held.kind.gaps();
            held.upgraded = upgraded && held.kind.records();
        }
    }

    /// Will the lock be less than it might have been, when it has become this?
    pub fn lessens(&self, handle: Handle, settled: &Settled) -> bool {
        let Some((_, held)) = self.tree.get(handle) else { return false };
        match settled {
            Settled::Kept => false,
            Settled::Became(kind, range) => {
                let fewer = held.kind.gaps() && !kind.gaps() || held.kind.records() && !kind.records();
                fewer || held.waits || *range != held.named
            }
            _ => true,
        }
    }

    /// The statement was answered: the lock is what it became. False if nothing is held any more.
    pub fn settle(&mut self, handle: Handle, settled: &Settled, believe_until: u64) -> bool {
        let Some((_, held)) = self.tree.get_mut(handle) else { return false };
        (held.tentative, held.waits) = (false, false);
        held.asked = held.named.clone();
        match settled {
            Settled::Kept => true,
            Settled::Released if held.waited && held.kind == Kind::Record => true,
            Settled::Released => {
                self.remove(handle);
                false
            }
            Settled::Duplicate => {
                // The row is another's.
                self.searches += usize::from(std::mem::take(&mut held.own_row));
                held.mode = Mode::S;
                held.kind = Kind::Record;
                held.certainty = Certainty::Likely;
                true
            }
            Settled::Met { mode, kind, certainty } => {
                // The row is another's.
                self.searches += usize::from(std::mem::take(&mut held.own_row));
                (held.mode, held.kind, held.certainty) = (*mode, *kind, *certainty);
                held.insert = false;
                let named = held.named.clone();
                let low = if kind.gaps() { self.fences.around(&named, 0).low } else { named.low.clone() };
                self.tree.set_range(handle, Range { low, high: named.high }, kind.gaps());
                true
            }
            Settled::Undone => {
                (held.mode, held.kind, held.insert) = (Mode::X, Kind::Gap, false);
                let named = held.named.clone();
                self.fences.drop_range(&named);
                let reach = self.fences.around(&named, 0);
                self.tree.set_range(handle, reach, true);
                true
            }
            Settled::Became(kind, range) => {
                let looked_up = held.kind == Kind::RecordOrGap && held.certainty > Certainty::Unknown;
                // Where a new entry is anybody's guess, there is none to build on.
                held.inserted |= held.insert && held.certainty > Certainty::Unknown;
                if held.insert {
                    held.mode = Mode::X;
                }
                held.kind = *kind;
                // Of a key that the server has given a look may have told more than the answer.
                let known = range.low.is_end() && held.insert && !held.named.low.is_end();
                let given = held.insert && held.named.low.is_end() && !range.low.is_end();
                let range = &if known { held.named.clone() } else { range.clone() };
                held.named = range.clone();
                held.asked = range.clone();
                let (txn, inserted) = (held.txn, held.inserted);
                if looked_up {
                    // Believed sooner than that they find: where new rows begin to come, they come in herds.
                    if *kind == Kind::Gap {
                        self.misses += (1.0 - self.misses) / 4.0;
                        self.fences.missed(range);
                    } else {
                        self.misses -= self.misses / 16.0;
                        self.fences.found(&range.low);
                    }
                    if *kind == Kind::Record && self.remembers() {
                        self.fences.put(range.low.clone(), believe_until);
                    }
                }
                if given {
                    self.fences.missed(range);
                }
                if inserted {
                    self.freeze(txn, range);
                }
                if !kind.gaps() {
                    self.tree.set_range(handle, range.clone(), false);
                }
                true
            }
        }
    }

    /// A duplicate check has failed in a secondary index: it locks the gap below the entry as well.
    pub fn failed_check(&mut self, handle: Handle, now: u64) {
        let Some((_, held)) = self.tree.get_mut(handle) else { return };
        held.kind = Kind::NextKey;
        let named = held.named.clone();
        let below = self.fences.around(&named, now).low;
        self.tree.set_range(handle, Range { low: below, high: named.high }, true);
    }

    /// The transaction goes back to before it had asked for this: rows are as they were. A search keeps what it
    /// has locked. A record that is taken out again leaves the gap where it stood locked, if `gap_stays`, or
    /// nothing. False if nothing is held any more.
    pub fn undo(&mut self, handle: Handle, gap_stays: bool) -> bool {
        let Some((_, held)) = self.tree.get_mut(handle) else { return false };
        let taken_out = held.inserted || held.insert;
        if !taken_out && held.kind != Kind::Entry {
            return true;
        }
        let settled = if held.inserted && gap_stays { Settled::Undone } else { Settled::Released };
        held.inserted = false;
        self.settle(handle, &settled, 0)
    }

    /// The transaction has ended or the lock was given up. Records that it inserted exist from now on, if it
    /// committed. Returns what there is to learn.
    pub fn release(&mut self, handle: Handle, committed: bool, believe_until: u64) -> Option<Evidence> {
        let held = self.remove(handle)?;
        let evidence = evidence(&held, committed);
        if held.inserted && !committed {
            // Its own transaction may have found it.
            self.fences.drop_range(&held.named);
            self.inherit(&held.named);
        }
        let stands = held.inserted && committed && !held.deleted;
        if stands && !held.named.low.is_end() && self.remembers() {
            self.fences.put(held.named.low, believe_until);
        }
        evidence
    }

    /// Records in the range are being deleted: they bound no gap any more.
    pub fn forget(&mut self, range: &Range) {
        self.fences.drop_range(range);
        self.leads.drop_range(range);
    }

    /// Are the records that are met here remembered?
    pub(super) fn remembers(&self) -> bool {
        self.misses > SELDOM
    }

    /// May the request lock a gap, as far as is known? A lookup of a key that exists locks none.
    pub fn may_lock_gap(&self, request: &Request, now: u64) -> bool {
        let finds = request.kind == Kind::RecordOrGap && self.fences.any_in(&request.range, now);
        request.kind.gaps() && !finds
    }

    fn remove(&mut self, handle: Handle) -> Option<Held> {
        let (_, held) = self.tree.remove(handle)?;
        self.searches -= usize::from(!held.own_row);
        Some(held)
    }

    /// How far a request can reach: gaps up to the nearest records known.
    pub fn reach(&mut self, request: &Request, now: u64) -> Range {
        if request.kind.gaps() { self.fences.around(&request.range, now) } else { request.range.clone() }
    }

    /// May the transaction have put this record there?
    pub(super) fn has_put(&self, txn: TxnId, record: &Key) -> bool {
        let mut put = false;
        let place = Range::entries(record);
        self.tree.visit(&place, &place, &mut |_, _, held| {
            put |= held.txn == txn && held.insert && !held.deleted && held.named.intersects(&place);
        });
        put
    }

    /// The holder has put a record into gaps of its own: both halves stay locked.
    fn freeze(&mut self, txn: TxnId, place: &Range) {
        for handle in self.tree.handles(place, |held| held.txn == txn && held.kind.gaps()) {
            if let Some((_, held)) = self.tree.get_mut(handle) {
                held.frozen = true;
            }
        }
    }
}

/// Does the lock matter to those who ask for a gap that it does not lie in the named place of?
fn is_wide(held: &Held) -> bool {
    held.kind.gaps() || held.insert
}

#[cfg(test)]
#[path = "index_tests.rs"]
pub(super) mod tests;
