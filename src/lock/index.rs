//! The locks of one index, and what a new request meets there.
//!
//! Worked example, `UNIQUE (server_id)` with records 7 and 12, REPEATABLE READ:
//!
//! ```text
//! t1: … WHERE server_id = 9 FOR UPDATE     nothing found: Gap at 9, reaching (7, 12)
//! t2: … WHERE server_id = 10 FOR UPDATE    RecordOrGap at 10 lies in (7, 12): a hazard with t1
//! t1: INSERT (9)                           Insert at 9 lies in t2's gap: would wait for t2
//! ```
//!
//! Who waits for whom follows InnoDB's lock compatibility (manual, "InnoDB Locking"): records by mode; an
//! insert waits for gaps of others; gaps never wait.

use super::asking::{Asking, Got, Met};
use super::evidence::{Asker, Evidence, Expects, evidence, expected, is_shared, is_used};
use super::fence::Fences;
use super::interval_tree::{Handle, IntervalTree};
use super::key::Key;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Kind, Request, Settled};
use crate::id::{DigestId, SearchId, TxnId};

/// Most holders that one request reports in one index: enough for a report and for the wait-for graph.
const MAX_HOLDERS: usize = 64;

/// Where fewer lookups than this share find nothing, gaps hardly matter, and the records that are met are
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
    /// The holder wrote this record: it exists for others once the transaction has committed.
    pub inserted: bool,
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
    /// Whom to ask for the exact lock, if this one is wider.
    pub search: Option<SearchId>,
}

/// What a probe of the server has shown around a place.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The place that was asked about.
    pub place: Key,
    /// Entries at the place exist.
    pub present: bool,
    /// The nearest entry below; `None` if there is none.
    pub below: Option<Key>,
    /// The nearest entry above; `None` if there is none (the gap ends at the supremum).
    pub above: Option<Key>,
}

/// All locks in one index.
#[derive(Debug)]
pub struct IndexLocks {
    tree: IntervalTree<Held>,
    fences: Fences,
    /// Locks of searches: those that a [`Kind::Entry`] can meet.
    searches: usize,
    /// Moving share of unique lookups that found nothing, 0 to 1.
    misses: f32,
}

impl Default for IndexLocks {
    fn default() -> Self {
        // Unknown counts as "finds nothing": the careful side.
        IndexLocks { tree: IntervalTree::default(), fences: Fences::default(), searches: 0, misses: 1.0 }
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

    /// What `request` meets, appended to `met`. Returns how far it gets: the part of it that is asked for
    /// before it waits.
    pub fn meet(&self, asking: Asking, request: &Request, reach: &Range, met: &mut Met) -> Range {
        let first = met.conflicts.len();
        let mut asked = request.range.clone();
        if self.meets_nobody(request) {
            return asked;
        }
        // Only gaps, and entries that wait for one, meet beyond the place itself.
        let mut meets = |_, extent: &Range, held: &Held| {
            if held.txn == asking.by.txn || (held.waits && held.order > asking.order) {
                return;
            }
            if held.waits && held.insert && request.kind.gaps() && reach.contains(&held.named.low) {
                met.behind.push(held.txn);
            }
            let Some((relation, certainty)) = self.relate(asking, request, reach, extent, held) else {
                return;
            };
            let met_with = certainty;
            let certainty = certainty.min(request.certainty).min(held.certainty);
            let guess = certainty == Certainty::Unknown;
            if relation == Relation::Wait && !held.has_come_to(request) {
                met.behind.extend((!guess).then_some(held.txn));
                return;
            }
            // A search goes from record to record, and stops at the first that it has to wait for.
            let further = held.named.high < asked.high && asked.low < held.named.high;
            if relation == Relation::Wait && further && !guess && !request.kind.inserts() {
                asked.high = held.named.high.clone();
            }
            let conflict = Conflict {
                holder: held.txn,
                request: asking.number,
                relation,
                hazard: relation == Relation::Hazard,
                expected: expected(&asking.by, held, request, met_with),
                certainty,
                mode: held.mode,
                kind: if held.is_new_entry() { Kind::Insert { check: None } } else { held.kind },
                range: extent.clone(),
                search: held.search,
            };
            add(&mut met.conflicts, first, conflict);
        };
        if request.kind.meets_searches_only() {
            self.tree.visit_solid(&request.range, reach, &mut meets);
        } else {
            self.tree.visit(&request.range, reach, &mut meets);
        }
        asked
    }

    /// Nothing that is held here concerns the request: the common end for the entries of changed rows, whose
    /// place is not known and may be anywhere.
    fn meets_nobody(&self, request: &Request) -> bool {
        request.kind == Kind::Entry && self.searches == 0
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
            asked: got.asked,
            order: asking.order,
            waits: got.waits,
            tentative: true,
            exact: got.exact,
            frozen: false,
            inserted: false,
            insert: request.kind.inserts(),
            own_row: request.kind.of_own_row(),
            certainty: request.certainty,
            search: asking.search,
        };
        self.searches += usize::from(!held.own_row);
        if request.is_somewhere() {
            return self.tree.insert_vague(reach, held);
        }
        let wide = is_wide(&held);
        self.tree.insert(reach, wide, held)
    }

    /// What the transaction itself holds here and goes on to use with this request is marked.
    pub fn uses(&mut self, txn: TxnId, request: &Request) {
        if self.meets_nobody(request) {
            return;
        }
        let used = self.tree.handles(&request.range, |held| held.txn == txn && is_used(request, held));
        for handle in used {
            if let Some((_, held)) = self.tree.get_mut(handle) {
                held.filled |= request.kind.inserts();
                held.upgraded |= !request.kind.inserts();
            }
        }
    }

    /// What a lock covers is anybody's guess.
    pub fn doubt(&mut self, handle: Handle) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            (held.certainty, held.search) = (Certainty::Unknown, None);
        }
    }

    /// Who took a lock, and what it was used for.
    pub fn taker(&mut self, handle: Handle) -> Option<(Asker, bool, bool)> {
        let (_, held) = self.tree.get_mut(handle)?;
        let by = Asker { txn: held.txn, digest: held.digest, expects: held.expects };
        Some((by, held.filled, held.upgraded))
    }

    /// A lock that was noted in the place of another has been used as that one was.
    pub fn used(&mut self, handle: Handle, filled: bool, upgraded: bool) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.filled = filled && held.kind.gaps();
            held.upgraded = upgraded && held.kind.records();
        }
    }

    /// A statement that waits was looked at again: this is how far it gets now.
    pub fn advance(&mut self, handle: Handle, got: Got) {
        if let Some((_, held)) = self.tree.get_mut(handle)
            && held.tentative
        {
            (held.asked, held.waits) = (got.asked, got.waits);
        }
    }

    /// An insert waits for the duplicate check on a record that is there. Until it goes on it counts as what
    /// it asks for: the record, and in a secondary index the gap below as well (which then blocks inserts,
    /// those of the record's owner too).
    pub fn checks(&mut self, handle: Handle, mode: Mode, clustered: bool, now: u64) {
        let Some((_, held)) = self.tree.get_mut(handle) else { return };
        held.kind = if clustered { Kind::Record } else { Kind::NextKey };
        held.mode = mode;
        let named = held.named.clone();
        if !clustered {
            let below = self.fences.around(&named, now).low;
            self.tree.set_range(handle, Range { low: below, high: named.high }, true);
        }
    }

    /// The statement was answered: the lock is what it became. False if nothing is held any more.
    pub fn settle(&mut self, handle: Handle, settled: &Settled, believe_until: u64) -> bool {
        let Some((_, held)) = self.tree.get_mut(handle) else { return false };
        (held.tentative, held.waits) = (false, false);
        held.asked = held.named.clone();
        match settled {
            Settled::Kept => true,
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
                held.named = range.clone();
                held.asked = range.clone();
                let (txn, inserted) = (held.txn, held.inserted);
                if looked_up {
                    let missed = if *kind == Kind::Gap { 1.0 } else { 0.0 };
                    self.misses += (missed - self.misses) / 16.0;
                    match kind {
                        Kind::Gap => self.fences.drop_range(range),
                        Kind::Record if self.misses > SELDOM => {
                            self.fences.put(range.low.clone(), believe_until);
                        }
                        _ => {}
                    }
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

    /// The transaction has ended or the lock was given up. Records that it inserted exist from now on, if it
    /// committed. Returns what there is to learn.
    pub fn release(&mut self, handle: Handle, committed: bool, believe_until: u64) -> Option<Evidence> {
        let held = self.remove(handle)?;
        let evidence = evidence(&held, committed);
        if held.inserted && committed && !held.named.low.is_end() && self.misses > SELDOM {
            self.fences.put(held.named.low, believe_until);
        }
        evidence
    }

    /// Records in the range are being deleted: they bound no gap any more.
    pub fn forget(&mut self, range: &Range) {
        self.fences.drop_range(range);
    }

    /// May the request lock a gap, as far as is known? A lookup of a key that exists locks none.
    pub fn may_lock_gap(&self, request: &Request, now: u64) -> bool {
        let finds = request.kind == Kind::RecordOrGap && self.fences.any_in(&request.range, now);
        request.kind.gaps() && !finds
    }

    /// Takes in what a probe has shown.
    pub fn learn(&mut self, seen: &Neighbours, believe_until: u64) {
        let place = Range::entries(&seen.place);
        if seen.present {
            self.fences.put(seen.place.clone(), believe_until);
        } else {
            self.fences.drop_range(&place);
        }
        let gap = Range {
            low: seen.below.as_ref().map_or(Key::lowest(), Key::after),
            high: seen.above.clone().unwrap_or(Key::supremum()),
        };
        for fence in [&seen.below, &seen.above].into_iter().flatten() {
            self.fences.put(fence.clone(), believe_until);
        }
        if gap.is_empty() {
            return;
        }
        for handle in self.tree.handles(&gap, |held| held.kind.gaps() && !held.frozen && !held.exact) {
            let Some((extent, held)) = self.tree.get_mut(handle) else { continue };
            let inside = gap.covers(&held.named);
            held.exact |= inside && !seen.present && held.kind != Kind::NextKey;
            let extent = if inside { gap.clone() } else { cut(extent.clone(), &held.named, &gap) };
            self.tree.set_range(handle, extent, true);
        }
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

    fn relate(
        &self,
        asking: Asking,
        request: &Request,
        reach: &Range,
        extent: &Range,
        held: &Held,
    ) -> Option<(Relation, Certainty)> {
        let now = asking.now;
        if let Some(certainty) = self.waits_for_record(request, held, now)
            && !(held.waits && self.goes_first(asking, request, held))
        {
            return Some((Relation::Wait, certainty));
        }
        if is_shared(&asking.by, request, held) {
            return Some((Relation::Hazard, Certainty::Likely));
        }
        if request.kind.inserts() {
            // Where one duplicate check has failed the next one fails as well: both then share the record and
            // the gap below it.
            let same_check = request.kind.check() == Some(Mode::S) && held.mode == Mode::S;
            if same_check && held.insert && !held.tentative && held.named.covers(&request.range) {
                return held.kind.gaps().then_some((Relation::Hazard, Certainty::Likely));
            }
            let anywhere = request.certainty == Certainty::Unknown && extent.intersects(&request.range);
            let waits = held.kind.gaps() && (anywhere || extent.contains(&request.range.low));
            return waits.then(|| (Relation::Wait, gap_certainty(held, &request.range)));
        }
        // Gaps whose edges were read are known as a whole; of others the place that was named.
        let mine = if asking.exact { reach } else { &request.range };
        let theirs = if held.exact { extent } else { &held.named };
        let same_gap =
            request.kind.gaps() && held.kind.gaps() && extent.intersects(mine) && reach.intersects(theirs);
        if !same_gap {
            return None;
        }
        // A lookup of a key that exists locks no gap; one whose answer is out counts by what is usual here.
        let finds = request.kind == Kind::RecordOrGap && self.fences.any_in(&request.range, now);
        let unlikely = held.tentative && held.kind == Kind::RecordOrGap && self.misses < 0.5;
        (!finds && !unlikely).then(|| (Relation::Hazard, gap_certainty(held, &request.range)))
    }

    /// Does the request wait for a record that `held` covers, and how sure is that?
    fn waits_for_record(&self, request: &Request, held: &Held, now: u64) -> Option<Certainty> {
        let asked = match request.kind {
            Kind::Insert { check } => check?,
            Kind::Gap => return None,
            _ => request.mode,
        };
        // A new entry that still waits for its gap is not there, and nobody waits for the intention.
        let covers = held.kind.records() || held.kind.inserts() && !(held.insert && held.waits);
        // A new entry whose duplicate check waits asks for X in the end. Two of them with an equal key would both
        // get the S of their checks, and then each would wait for the other.
        let theirs = if request.kind.inserts() && held.is_new_entry() { Mode::X } else { held.mode };
        let same_way = match request.kind {
            Kind::Clustered { .. } => held.kind == request.kind,
            Kind::Entry => held.own_row,
            _ => false,
        };
        if !covers || same_way || asked.compatible(theirs) || !held.named.intersects(&request.range) {
            return None;
        }
        // A record lock that was answered is a record that exists. A range may hold none at this place.
        let seen = held.kind == Kind::NextKey && held.exact && held.named.is_entries();
        let exists = matches!(held.kind, Kind::Record | Kind::Clustered { .. } | Kind::Entry)
            || seen
            || matches!(request.kind, Kind::Clustered { .. })
            || self.fences.any_in(&request.range, now);
        Some(if exists && !held.tentative { Certainty::Certain } else { Certainty::Likely })
    }

    /// Does the requester pass a lock that is still waited for, because it holds the record already? What it
    /// has it need not ask for; more than it has it gets before those that wait for it, where the server
    /// lets it overtake.
    fn goes_first(&self, asking: Asking, request: &Request, waiting: &Held) -> bool {
        let common = Range {
            low: waiting.named.low.clone().max(request.range.low.clone()),
            high: waiting.named.high.clone().min(request.range.high.clone()),
        };
        let wanted = request.kind.check().unwrap_or(request.mode);
        let mut first = false;
        self.tree.visit(&common, &common, &mut |_, _, own| {
            let has = own.txn == asking.by.txn
                && !own.tentative
                && own.kind.records()
                && own.named.covers(&common)
                && !own.mode.compatible(waiting.mode);
            first |= has && (own.mode.includes(wanted) || asking.overtakes);
        });
        first
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

impl Held {
    /// A new entry that is not there yet.
    fn is_new_entry(&self) -> bool {
        self.insert && self.tentative
    }

    /// Has a statement that waits come to the place of `request` yet? One that was answered has.
    fn has_come_to(&self, request: &Request) -> bool {
        self.asked == self.named || (!self.asked.is_empty() && request.range.low < self.asked.high)
    }
}

/// Adds a conflict to those from `first` on: the strongest relation of each holder stays.
fn add(found: &mut Vec<Conflict>, first: usize, conflict: Conflict) {
    let full = found.len() - first >= MAX_HOLDERS;
    // What is anybody's guess must not hide what is known.
    let guess = |c: &Conflict| (c.certainty == Certainty::Unknown).then_some(c.search);
    match found[first..].iter_mut().find(|c| c.holder == conflict.holder && guess(c) == guess(&conflict)) {
        Some(known) => {
            let hazard = known.hazard || conflict.hazard;
            let expected = known.expected || conflict.expected;
            let search = known.search.or(conflict.search);
            if (known.relation, known.certainty) < (conflict.relation, conflict.certainty) {
                *known = conflict;
            }
            (known.hazard, known.expected) = (hazard, expected);
            known.search = known.search.or(search);
        }
        None if full => {}
        None => found.push(conflict),
    }
}

/// What is left of a gap's reach when the records at the edges of `gap` are known to exist.
fn cut(extent: Range, named: &Range, gap: &Range) -> Range {
    // A lock on the very record that borders the gap may well reach into it.
    let mut cut = extent;
    if named.high < gap.low {
        // `gap.low` is the place right behind a record; the lock lies below that record.
        cut.high = cut.high.min(gap.low.clone());
    } else if named.low > gap.high {
        cut.low = cut.low.max(gap.high.clone());
    }
    cut
}

/// Does the lock matter to those who ask for a gap that it does not lie in the named place of?
fn is_wide(held: &Held) -> bool {
    held.kind.gaps() || held.insert
}

fn gap_certainty(held: &Held, asked: &Range) -> Certainty {
    let inside = held.kind == Kind::NextKey && held.named.covers(asked);
    if (held.exact || inside) && !held.tentative { Certainty::Certain } else { Certainty::Likely }
}

#[cfg(test)]
#[path = "index_waiting_tests.rs"]
mod waiting_tests;

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
