//! The lock table: the locks of every index, shared by all sessions.
//!
//! Noting a request and looking for what is in its way are one step under the index's guard, so of two
//! sessions that come at the same moment the second sees the first. At most one guard is held at a time.

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::asking::{Asking, Got, Met};
use super::evidence::{Asker, EvidenceList};
use super::index::{Conflict, Held, IndexLocks, Relation};
use super::interval_tree::Handle;
use super::key::Key;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Exact, Kind, Origin, Request, Settled};
use super::shown::Neighbours;
use crate::id::{Counter, IndexId, TableId, TxnId};

/// Locks of one index that are copied out under one guard: some ten microseconds.
const BITE: usize = 256;

/// A lock in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRef {
    /// In which index.
    pub index: IndexId,
    /// Which lock there.
    pub handle: Handle,
    /// When it was asked for.
    pub(super) order: u64,
}

impl LockRef {
    /// When it was asked for: smaller is earlier.
    pub fn order(&self) -> u64 {
        self.order
    }

    /// Was it asked for at this moment or later? See [`LockTable::moment`].
    pub fn is_since(&self, moment: u64) -> bool {
        self.order >= moment
    }
}

/// The locks of one statement, in the order of its requests.
pub type LockRefs = SmallVec<[LockRef; 4]>;

/// The locks of every index.
#[derive(Debug)]
pub struct LockTable {
    pub(super) indexes: DashMap<IndexId, IndexLocks, FxBuildHasher>,
    /// How long a record that was met is believed to exist, milliseconds.
    pub(super) fence_lifetime: u64,
    /// Numbers the statements in the order in which they ask.
    pub(super) order: Counter,
}

impl LockTable {
    /// An empty table; records that were met are believed to exist for `fence_lifetime` milliseconds.
    pub fn new(fence_lifetime: u64) -> LockTable {
        LockTable { indexes: DashMap::with_hasher(FxBuildHasher), fence_lifetime, order: Counter::default() }
    }

    /// Notes the requests of a statement and returns what stands in their way. `now` in milliseconds;
    /// `overtakes`: see [`Asking`].
    ///
    /// The server asks in order and stops at the first lock that it has to wait for: what comes behind it is
    /// noted as not asked for yet.
    pub fn enter(
        &self,
        by: impl Into<Asker>,
        requests: &[Request],
        origin: Origin<'_>,
        overtakes: bool,
        now: u64,
    ) -> (LockRefs, Met) {
        self.note(by.into(), requests, origin, overtakes, now, |_| true)
    }

    /// Notes the requests of a statement if nothing is in their way, or, with `guesses`, nothing but what is anybody's
    /// guess; `None`: nothing is noted. Returned: the locks, and who will come to wait for them.
    pub fn enter_free(
        &self,
        by: Asker,
        requests: &[Request],
        origin: Origin<'_>,
        overtakes: bool,
        guesses: bool,
        now: u64,
    ) -> Option<(LockRefs, Vec<TxnId>)> {
        let passes = |conflict: &Conflict| guesses && conflict.certainty == Certainty::Unknown;
        let free = |met: &Met| met.conflicts.iter().all(passes);
        let (refs, met) = self.note(by, requests, origin, overtakes, now, free);
        if free(&met) {
            return Some((refs, met.behind));
        }
        self.withdraw(&refs);
        None
    }

    /// Notes one request after the other, as long as `goes_on` says so of what was met.
    fn note(
        &self,
        by: Asker,
        requests: &[Request],
        origin: Origin<'_>,
        overtakes: bool,
        now: u64,
        goes_on: impl Fn(&Met) -> bool,
    ) -> (LockRefs, Met) {
        let (mut refs, mut met, mut stopped) = (LockRefs::new(), Met::default(), false);
        let order = self.order.next();
        let mut tried: SmallVec<[_; 2]> = SmallVec::new();
        for (number, request) in requests.iter().enumerate() {
            // Only InnoDB lets the holder of a lock pass those that wait for it.
            let overtakes = overtakes && !request.index.is_whole();
            let read = origin.reaches.get(number).and_then(Option::as_ref);
            let exact = read.is_some();
            let asking =
                Asking { by, number, order, now, overtakes, exact, anew: false, search: origin.search };
            let mut locks = self.indexes.entry(request.index).or_default();
            let request = &*locks.of_own(by.txn, request);
            let reach = read.cloned().unwrap_or_else(|| locks.reach(request, now));
            let before = stopped;
            let behind = met.behind.len();
            let (got, checks) = ask(&locks, asking, request, &reach, &mut stopped, &mut met);
            if matches!(request.kind, Kind::Tried { .. }) {
                tried.push((number, behind..met.behind.len()));
            }
            if !goes_on(&met) {
                break;
            }
            locks.uses(&met.used, request);
            let handle = locks.enter(asking, request, reach, Got { exact, ..got });
            if let Some(mode) = checks {
                locks.checks(handle, mode, request.index.index == 0, now);
            }
            if before {
                locks.stops_short(handle, request.index, &requests[..number], &refs);
            }
            drop(locks);
            if stopped && !before {
                let since = self.stop_at(requests, &refs, number);
                // Nobody comes to what is there no more.
                for (_, behind) in tried.drain(..).rev().filter(|(at, _)| *at < since) {
                    met.behind.drain(behind);
                }
            }
            refs.push(LockRef { index: request.index, handle, order });
        }
        (refs, met)
    }

    /// The first of a statement's requests, asked for in this order at the moment `order`, that is in the way of somebody
    /// else's lock now; and whether that lock covers no more than it seems to.
    pub fn first_in_way(
        &self,
        txn: TxnId,
        requests: &[Request],
        order: u64,
        now: u64,
    ) -> Option<(usize, bool)> {
        requests.iter().enumerate().find_map(|(number, request)| {
            let mut locks = self.indexes.get_mut(&request.index)?;
            let asking = Asking::about(txn, number, order, now);
            let (mut met, reach) = (Met::default(), locks.reach(request, now));
            locks.meet(asking, request, &reach, &mut met);
            let in_way = |c: &&Conflict| c.relation == Relation::Wait && c.certainty > Certainty::Unknown;
            let mut in_way = met.conflicts.iter().filter(in_way).peekable();
            in_way.peek()?;
            Some((number, in_way.any(|c| c.search.is_none())))
        })
    }

    /// Would one of the requests of a statement that is not noted have to wait for a lock that `owner` has already?
    pub fn is_in_way(&self, owner: TxnId, txn: TxnId, requests: &[Request], now: u64) -> bool {
        requests.iter().enumerate().any(|(number, request)| {
            let Some(mut locks) = self.indexes.get_mut(&request.index) else { return false };
            let reach = locks.reach(request, now);
            locks.is_in_way(owner, Asking::about(txn, number, self.moment(), now), request, &reach)
        })
    }

    /// See [`IndexLocks::name_new`].
    pub fn name_new(&self, index: IndexId, found: &[Key]) {
        if let Some(mut locks) = self.indexes.get_mut(&index) {
            locks.name_new(found);
        }
    }

    /// Notes a lock that a transaction has already.
    pub fn hold(&self, txn: TxnId, request: &Request, now: u64) -> LockRefs {
        let (refs, _) = self.enter(txn, std::slice::from_ref(request), Origin::default(), false, now);
        self.settle(refs, &[Settled::Kept], now)
    }

    /// The locks of a statement turn out to be these: `refs` go, `requests` are noted in their place. One that
    /// has not been answered asks anew; what it meets is returned.
    pub fn replace(&self, txn: TxnId, refs: &[LockRef], exact: Exact<'_>, now: u64) -> (LockRefs, Met) {
        let order = refs.first().map_or_else(|| self.order.next(), |lock| lock.order);
        let (mut by, mut filled, mut upgraded) = (Asker::from(txn), false, false);
        for lock in refs {
            let taker = self.indexes.get_mut(&lock.index).and_then(|mut locks| locks.taker(lock.handle));
            if let Some((taker, fills, upgrades)) = taker {
                (by, filled, upgraded) = (taker, filled || fills, upgraded || upgrades);
            }
        }
        let (mut noted, mut met, mut stopped) = (LockRefs::new(), Met::default(), false);
        let mut named = self.named_by_server(refs);
        for (number, request) in exact.requests.iter().enumerate() {
            let known = named.iter().position(|(index, _)| {
                exact.answered
                    && *index == request.index
                    && request.kind.inserts()
                    && request.range.low.is_end()
            });
            let known = known.map(|at| Request { range: named.remove(at).1, ..request.clone() });
            let request = known.as_ref().unwrap_or(request);
            let overtakes = exact.overtakes && !request.index.is_whole();
            let read = exact.reaches.get(number).and_then(Option::as_ref);
            let is_read = read.is_some();
            let asking =
                Asking { by, number, order, now, overtakes, exact: is_read, anew: false, search: None };
            let mut locks = self.indexes.entry(request.index).or_default();
            let request = &*locks.of_own(by.txn, request);
            let reach = read.cloned().unwrap_or_else(|| locks.reach(request, now));
            let before = stopped;
            let got = if exact.answered {
                Got::all(&request.range)
            } else {
                ask(&locks, asking, request, &reach, &mut stopped, &mut met).0
            };
            let handle = locks.enter(asking, request, reach, Got { exact: is_read, ..got });
            locks.used(handle, filled, upgraded);
            if before {
                locks.stops_short(handle, request.index, &exact.requests[..number], &noted);
            }
            drop(locks);
            if stopped && !before {
                self.stop_at(exact.requests, &noted, number);
            }
            noted.push(LockRef { index: request.index, handle, order });
        }
        self.tell(exact.requests, now);
        // Last: in between, nobody may find the transaction without either.
        self.withdraw(refs);
        (noted, met)
    }

    /// The entries that these locks have put, with the keys that the server has given them, as far as that is known.
    fn named_by_server(&self, refs: &[LockRef]) -> Vec<(IndexId, Range)> {
        let named = |lock: &LockRef| {
            let range = self.new_entry(*lock).filter(|range| !range.low.is_end())?;
            Some((lock.index, range))
        };
        refs.iter().filter_map(named).collect()
    }

    /// What these locks cover is anybody's guess. `tells`: the server's indexes tell it.
    pub fn doubt(&self, refs: &[LockRef], tells: bool) {
        for lock in refs {
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.doubt(lock.handle, tells);
            }
        }
    }

    /// These locks, of which one was doubted or the other, turn out to be what was asked for.
    pub fn believe(&self, refs: &[LockRef], requests: &[Request]) {
        for (lock, request) in refs.iter().zip(requests) {
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.believe(lock.handle, request.certainty);
            }
        }
    }

    /// Takes back what [`enter`](Self::enter) has noted.
    pub fn withdraw(&self, refs: &[LockRef]) {
        self.release(refs, false, 0);
    }

    /// A statement was answered; `settled` says what became of each lock, in order. Returns those that stay.
    pub fn settle(&self, refs: LockRefs, settled: &[Settled], now: u64) -> LockRefs {
        self.settle_telling(refs, settled, now, |_, _| ())
    }

    /// The same; `less` is told of those that turn out to be less than they might have been.
    pub fn settle_telling<'s>(
        &self,
        refs: LockRefs,
        settled: &'s [Settled],
        now: u64,
        mut less: impl FnMut(IndexId, &'s Settled),
    ) -> LockRefs {
        let (mut kept, mut wrong) = (refs.clone(), None);
        let mut verdicts = refs.iter().zip(settled).map(|(lock, settled)| {
            let mut locks = self.indexes.get_mut(&lock.index)?;
            if locks.lessens(lock.handle, settled) {
                less(lock.index, settled);
            }
            let kept = locks.settle(lock.handle, settled, now + self.fence_lifetime);
            if *settled == Settled::Duplicate && lock.index.index != 0 {
                locks.failed_check(lock.handle, now);
            }
            if locks.fences.take_wrong() {
                wrong = Some(lock.index.table);
            }
            kept.then_some(())
        });
        kept.retain(|_| verdicts.next().flatten().is_some());
        drop(verdicts);
        if let Some(table) = wrong {
            self.forget_table(table);
        }
        self.learn_row(&kept, now);
        kept
    }

    /// The moment between the statements that have asked until now and those that will: see [`undo`](Self::undo).
    pub fn moment(&self) -> u64 {
        self.order.next()
    }

    /// A transaction goes back to a moment: what it has done since is undone. Returns the locks that stay; see
    /// [`IndexLocks::undo`].
    pub fn undo(&self, refs: &[LockRef], moment: u64, gap_stays: bool) -> LockRefs {
        let stays = |lock: &&LockRef| {
            let undone = |mut locks: dashmap::mapref::one::RefMut<'_, IndexId, IndexLocks>| {
                locks.undo(lock.handle, gap_stays)
            };
            !lock.is_since(moment) || self.indexes.get_mut(&lock.index).is_some_and(undone)
        };
        refs.iter().filter(stays).copied().collect()
    }

    /// The place of an entry that the holder of this lock has put there, if it is one.
    pub fn new_entry(&self, lock: LockRef) -> Option<Range> {
        self.indexes.get(&lock.index)?.new_entry(lock.handle)
    }

    /// See [`IndexLocks::gone_entry`].
    pub fn gone_entry(&self, lock: LockRef) -> Option<Range> {
        self.indexes.get(&lock.index)?.gone_entry(lock.handle)
    }

    /// See [`IndexLocks::owns`].
    pub fn owns(&self, txn: TxnId, index: IndexId, range: &Range) -> bool {
        self.indexes.get(&index).is_some_and(|locks| locks.owns(txn, range))
    }

    /// See [`IndexLocks::delete`].
    pub fn delete(&self, txn: TxnId, index: IndexId, range: &Range) {
        if let Some(mut locks) = self.indexes.get_mut(&index) {
            locks.delete(txn, range);
        }
    }

    /// Locks are given up. Returns what there is to learn from them.
    pub fn release(&self, refs: &[LockRef], committed: bool, now: u64) -> EvidenceList {
        let believe_until = now + self.fence_lifetime;
        let released = |lock: &LockRef| {
            self.indexes.get_mut(&lock.index)?.release(lock.handle, committed, believe_until)
        };
        refs.iter().filter_map(released).collect()
    }

    /// The gaps that these lookups may lock, as far as is known.
    pub fn gaps(&self, requests: &[Request], now: u64) -> Vec<(IndexId, Range)> {
        let gap = |request: &Request| {
            let mut locks = self.indexes.get_mut(&request.index)?;
            locks.may_lock_gap(request, now).then(|| (request.index, locks.reach(request, now)))
        };
        requests.iter().filter(|request| request.certainty > Certainty::Unknown).filter_map(gap).collect()
    }

    /// May the request lock a gap, as far as is known?
    pub fn may_lock_gap(&self, request: &Request, now: u64) -> bool {
        match self.indexes.get(&request.index) {
            Some(locks) => locks.may_lock_gap(request, now),
            None => request.kind.gaps(),
        }
    }

    /// Records in a range are being deleted.
    pub fn forget(&self, index: IndexId, range: &Range) {
        if let Some(mut locks) = self.indexes.get_mut(&index) {
            locks.forget(range);
        }
    }

    /// A table was changed as a whole: nothing is known of its records any more.
    pub fn forget_table(&self, table: TableId) {
        for mut locks in self.indexes.iter_mut().filter(|locks| locks.key().table == table) {
            locks.forget(&Range::all());
        }
    }

    /// Takes in what a probe of the server has shown. False: nothing that could let anybody on.
    pub fn learn(&self, index: IndexId, seen: &Neighbours, now: u64) -> bool {
        self.indexes.entry(index).or_default().learn(seen, now, now + self.fence_lifetime)
    }

    /// Copies out the locks that `wanted` picks, at most `limit`, each with its index and the part of it that
    /// it may reach. An index is read in bites, so that no statement waits for longer than one bite; the copy
    /// is of no single moment.
    pub fn look(&self, limit: usize, mut wanted: impl FnMut(&Held) -> bool) -> Vec<(IndexId, Range, Held)> {
        let mut indexes: Vec<IndexId> = self.indexes.iter().map(|locks| *locks.key()).collect();
        indexes.sort_unstable_by_key(|index| (index.table.0, index.index));
        let mut found = Vec::new();
        for index in indexes {
            let mut from = Some(0);
            while let (Some(start), true) = (from, found.len() < limit) {
                let Some(locks) = self.indexes.get(&index) else { break };
                let (page, next) = locks.page(start, BITE);
                let (left, page) = (limit - found.len(), page.filter(|(_, held)| wanted(held)));
                found.extend(page.take(left).map(|(reach, held)| (index, reach.clone(), held.clone())));
                from = next;
            }
        }
        found
    }

    /// Number of locks now, over all indexes.
    pub fn len(&self) -> usize {
        self.indexes.iter().map(|locks| locks.len()).sum()
    }

    /// No lock is held.
    pub fn is_empty(&self) -> bool {
        self.indexes.iter().all(|locks| locks.is_empty())
    }
}

/// Asks for one lock. Returns how far that gets and, for an insert that waits for a record with an equal
/// key, the mode of its duplicate check.
pub(super) fn ask(
    locks: &IndexLocks,
    asking: Asking,
    request: &Request,
    reach: &Range,
    stopped: &mut bool,
    met: &mut Met,
) -> (Got, Option<Mode>) {
    let (first, behind) = (met.conflicts.len(), met.behind.len());
    let asked = locks.meet(asking, request, reach, met);
    // What is anybody's guess stops nobody.
    let known = |c: &&Conflict| c.relation == Relation::Wait && c.certainty > Certainty::Unknown;
    let mut waits = met.conflicts[first..].iter().filter(known).peekable();
    let asks = waits.peek().is_some();
    let record = waits.any(|c| !c.gap && (c.kind.records() || c.kind.inserts()));
    let asked = if *stopped { Range { high: request.range.low.clone(), ..asked } } else { asked };
    if *stopped || asks && request.range.is_entries() {
        // What it does not get now is in nobody's way.
        met.behind.truncate(behind);
    }
    if asks && !*stopped && !record && !asking.overtakes {
        // When the gap is free, which of them goes first is a race (MariaDB; MySQL lets the first one on first).
        met.behind.append(&mut met.rivals);
    }
    let checks = request.kind.check().filter(|_| record && !*stopped);
    *stopped |= asks;
    (Got { asked, waits: *stopped, exact: false }, checks)
}
