//! How a statement that waits gets on: what it gets when something in its way goes, what it will not ask for after
//! all, and in which order those who wait for one transaction go on.

use super::asking::{Asking, Met};
use super::mode::Mode;
use super::request::{Kind, RETURNED, Request};
use super::table::{LockRef, LockTable, ask};
use crate::id::{IndexId, TxnId};

/// A statement that waits at the server.
#[derive(Clone, Copy, Debug)]
pub struct Waiter<'a> {
    /// Its transaction.
    pub txn: TxnId,
    /// What it asks for, in this order.
    pub requests: &'a [Request],
    /// Where that was noted.
    pub refs: &'a [LockRef],
    /// See [`Asking::overtakes`].
    pub overtakes: bool,
    /// Where the key of a row is there, that row is not put, and it goes on with the next one.
    pub leaves_out: bool,
}

impl Waiter<'_> {
    fn numbers(&self) -> std::ops::Range<usize> {
        0..self.requests.len().min(self.refs.len())
    }
}

impl LockTable {
    /// A transaction is about to end: a statement that waits for a row which goes with it will not ask for what
    /// belongs to that row, and an INSERT whose key stays will ask for nothing more, or (IGNORE, ON DUPLICATE KEY
    /// UPDATE) for nothing more of its row but what it does to the one that is there. `going` are the locks of the
    /// transaction.
    pub fn lose_row(&self, waiter: Waiter<'_>, going: &[LockRef], commits: bool) {
        let Waiter { requests, refs, .. } = waiter;
        let Some(at) = refs.iter().position(|lock| self.waits_for(*lock)) else { return };
        let Some(asked) = requests.get(at).filter(|request| request.range.is_entries()) else { return };
        let Some(locks) = self.indexes.get(&asked.index) else { return };
        let same = || going.iter().filter(|lock| lock.index == asked.index);
        let next = at + 1;
        let (mut refused, mut unasked) = (false, next..next);
        if !asked.kind.of_own_row() {
            let goes = same().any(|lock| locks.goes_with(lock.handle, commits, &asked.range));
            // INSERT … WHERE NOT EXISTS puts the row that it has looked for.
            let created = |request: &Request| {
                request.kind.inserts() && request.index == asked.index && request.range == asked.range
            };
            let of_row = |request: &&Request| {
                !created(request) && (request.index != asked.index || request.kind.of_own_row())
            };
            unasked.end += requests[next..].iter().take_while(of_row).filter(|_| goes).count();
        } else if locks.is_checked(refs[at].handle) {
            // Its key is there: if it stays, a plain INSERT ends with error 1062.
            let fails = asked.kind.check() == Some(Mode::S);
            let back = requests[next..].iter().take_while(|request| request.rule == RETURNED).count();
            let mut there = same().filter(|lock| locks.names(lock.handle, &asked.range)).peekable();
            let stays = there.peek().is_some() && !there.any(|lock| locks.goes(lock.handle, commits));
            refused = stays && (fails || back > 0);
            // A row begins with its clustered entry.
            let clustered = IndexId { index: 0, ..asked.index };
            let rest = &requests[next + back..];
            let row = rest.iter().take_while(|request| request.index != clustered).count();
            unasked = match () {
                () if !refused => next..next + back,
                () if waiter.leaves_out => next + back..next + back + row,
                () if fails => next..requests.len(),
                // REPLACE puts its row all the same.
                () => next..next,
            };
        }
        drop(locks);
        if refused && let Some(mut locks) = self.indexes.get_mut(&asked.index) {
            locks.refuse(refs[at].handle);
        }
        for lock in refs.iter().take(unasked.end).skip(unasked.start) {
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.pass_by(lock.handle);
            }
        }
    }

    /// Does a statement wait for this lock, not for one before it?
    pub fn waits_for(&self, lock: LockRef) -> bool {
        self.indexes.get(&lock.index).is_some_and(|locks| locks.waits_for(lock.handle))
    }

    /// When the server has made the structure of that one of these locks that stands in the way of a request: with the
    /// first lock in that index, by its statement and its place there. `None`: there is none, what is in the way is a
    /// row that was put or changed.
    pub fn made_at(&self, refs: &[LockRef], request: &Request) -> Option<(u64, usize)> {
        let locks = self.indexes.get(&request.index)?;
        let searched = || {
            let places = refs.iter().zip(0usize..);
            places.filter(|(lock, _)| lock.index == request.index && locks.is_search(lock.handle))
        };
        let meets = searched().any(|(lock, _)| locks.names(lock.handle, &request.range));
        searched().map(|(lock, place)| (lock.order, place)).min().filter(|_| meets)
    }

    /// A statement waits for its request `number`. If that is for the row behind an entry that it will only pass over,
    /// it has that entry as long. What it has put and taken out again, before the request that is returned, is there
    /// no more.
    pub(super) fn stop_at(&self, requests: &[Request], refs: &[LockRef], number: usize) -> usize {
        let tried = |request: &Request| matches!(request.kind, Kind::Tried { .. });
        let since = requests[..number].iter().rposition(|request| !tried(request)).unwrap_or(0);
        for (_, lock) in requests[..since].iter().zip(refs).filter(|(request, _)| tried(request)) {
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.take_out(lock.handle);
            }
        }
        let Some(before) = number.checked_sub(1) else { return since };
        let (entry, row) = (&requests[before], &requests[number]);
        let behind = row.index.table == entry.index.table && row.index.index == 0 && entry.index.index != 0;
        if behind
            && entry.kind == Kind::Passed
            && let Some(mut locks) = self.indexes.get_mut(&entry.index)
        {
            locks.keep_passed(refs[before].handle);
        }
        since
    }

    /// Looks again at a statement that waits at the server, after something in its way has gone: how far it
    /// gets now, and what stands in its way then. What it has got it does not ask for again.
    pub fn again(&self, waiter: Waiter<'_>, now: u64) -> Met {
        let (mut met, mut stopped) = (Met::default(), false);
        let last = self.order.next();
        for number in waiter.numbers() {
            self.ask_again(waiter, number, (last, now), &mut stopped, &mut met);
        }
        met
    }

    /// A statement that waits, and that nothing may keep from its next lock any more, gets that one. False: something
    /// does, or it has all.
    pub fn step(&self, waiter: Waiter<'_>, now: u64) -> bool {
        let (mut met, mut stopped) = (Met::default(), false);
        let last = self.order.next();
        let mut asks = |number| self.ask_again(waiter, number, (last, now), &mut stopped, &mut met);
        waiter.numbers().any(&mut asks) && !stopped
    }

    /// False: it has this one already. `last` is the order of what it has not asked for yet.
    fn ask_again(
        &self,
        waiter: Waiter<'_>,
        number: usize,
        (last, now): (u64, u64),
        stopped: &mut bool,
        met: &mut Met,
    ) -> bool {
        let Waiter { txn, requests, refs, .. } = waiter;
        let (request, lock) = (&requests[number], &refs[number]);
        let overtakes = waiter.overtakes && !request.index.is_whole();
        let Some(mut locks) = self.indexes.get_mut(&request.index) else { return false };
        if locks.has_got(lock.handle) {
            return false;
        }
        // Where it has not asked yet, others stand before it.
        let order = locks.asked_at(lock.handle).unwrap_or(last);
        let anew = locks.goes_to_its_place(lock.handle);
        let by = txn.into();
        let asking = Asking { by, number, order, now, overtakes, exact: false, anew, search: None };
        let otherwise = locks.asks(lock.handle, request);
        let request = otherwise.as_ref().unwrap_or(request);
        let reach = locks.reach(request, now);
        let before = *stopped;
        let (mut got, _) = ask(&locks, asking, request, &reach, stopped, met);
        if otherwise.is_some() && !got.waits {
            got.asked = requests[number].range.clone();
        }
        locks.advance(lock.handle, order, got);
        if before {
            locks.stops_short(lock.handle, request.index, &requests[..number], refs);
        }
        drop(locks);
        if *stopped && !before {
            self.stop_at(requests, refs, number);
        }
        true
    }

    /// Transactions with statements under way that were thought to have got what one of these locks, which somebody
    /// has, excludes. They wait for it.
    pub fn outrun(&self, refs: &[LockRef]) -> Vec<TxnId> {
        let outrun = |lock: &LockRef| Some(self.indexes.get_mut(&lock.index)?.outrun(lock.handle));
        refs.iter().filter_map(outrun).flatten().collect()
    }

    /// Transactions with inserts under way that were sent before these lookups turned out to have locked gaps in their way:
    /// `each` is told under the index's guard, so that none of them is answered meanwhile.
    pub fn let_past(&self, refs: &[LockRef], mut each: impl FnMut(TxnId)) {
        for lock in refs {
            if let Some(locks) = self.indexes.get(&lock.index) {
                locks.let_past(lock.handle, &mut each);
            }
        }
    }

    /// A statement waits for something that it was thought to have got: so it does for all that comes after that.
    pub fn set_back(&self, refs: &[LockRef]) {
        for lock in refs.iter().skip_while(|lock| !self.waits_for(**lock)) {
            if let Some(mut locks) = self.indexes.get_mut(&lock.index) {
                locks.set_back(lock.handle);
            }
        }
    }

    /// Is nothing in the way of a request that was noted any more?
    pub fn granted(&self, txn: TxnId, request: &Request, lock: LockRef, now: u64) -> bool {
        let (requests, refs) = (std::slice::from_ref(request), &[lock]);
        let met = self.again(Waiter { txn, requests, refs, overtakes: false, leaves_out: false }, now);
        met.conflicts.is_empty()
    }
}
