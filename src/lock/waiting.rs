//! Locks of statements that wait: how far they have come, what they get next, and what will not be asked for after
//! all. What a lock is once its statement was answered [`super::index`] tells.

use super::asking::Got;
use super::index::{Held, IndexLocks};
use super::interval_tree::Handle;
use super::mode::Mode;
use super::range::Range;
use super::request::{Kind, Request};
use super::table::LockRef;
use crate::id::{IndexId, TxnId};

impl IndexLocks {
    /// When a statement that waits has asked for (a part of) this lock, if it has come so far.
    pub fn asked_at(&self, handle: Handle) -> Option<u64> {
        let (_, held) = self.tree.get(handle)?;
        (!held.asked.is_empty()).then_some(held.order)
    }

    /// Has a statement that waits got this lock already?
    pub fn has_got(&self, handle: Handle) -> bool {
        self.tree.get(handle).is_some_and(|(_, held)| held.tentative && held.has_got())
    }

    /// Does a statement wait for this lock, not for one before it?
    pub fn waits_for(&self, handle: Handle) -> bool {
        self.tree.get(handle).is_some_and(|(_, held)| held.waits && !held.asked.is_empty())
    }

    /// Is it the lock of a search, not one on an entry of a row that its holder has put or changed?
    pub fn is_search(&self, handle: Handle) -> bool {
        self.tree.get(handle).is_some_and(|(_, held)| !held.own_row)
    }

    /// Is it on a part of this range?
    pub fn names(&self, handle: Handle, range: &Range) -> bool {
        self.tree.get(handle).is_some_and(|(extent, _)| extent.intersects(range))
    }

    /// Does an insert that waits look at its place anew when it goes on? So it does where the record that it was
    /// compared with was taken out, and where it has waited for a gap: the server looks for gap locks again, and
    /// those of others who have waited with it are there by then.
    pub fn goes_to_its_place(&self, handle: Handle) -> bool {
        let waits = |held: &Held| held.waits && held.insert && !held.asked.is_empty();
        self.tree.get(handle).is_some_and(|(_, held)| waits(held) && !held.kind.records())
    }

    /// Does an insert wait for a record with its key?
    pub fn is_checked(&self, handle: Handle) -> bool {
        self.tree.get(handle).is_some_and(|(_, held)| held.waits && held.insert && held.kind.records())
    }

    /// The key of an insert that waits is there, and stays: it will get the lock of its check, and nothing more.
    pub fn refuse(&mut self, handle: Handle) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.refused = true;
        }
    }

    /// What a statement that waits asks for here in the end, if that is not its request as it was.
    pub fn asks(&self, handle: Handle, request: &Request) -> Option<Request> {
        let (extent, held) = self.tree.get(handle)?;
        if held.refused {
            return Some(Request { kind: held.kind, mode: held.mode, ..request.clone() });
        }
        // What has been put since into a gap that it had not come to it finds there.
        let high = request.range.high.clone();
        let (kind, low) = match request.kind {
            Kind::Gap => (Kind::NextKey, &request.range.low),
            Kind::NextKey if held.asked.is_empty() || held.asked.low < request.range.low => {
                (Kind::NextKey, (&extent.low).min(&request.range.low))
            }
            Kind::Ahead if !held.asked.is_empty() => (Kind::Ahead, &held.asked.high),
            _ => return None,
        };
        let range = Range { low: low.clone(), high };
        Some(Request { kind, range, ..request.clone() })
    }

    /// A statement has stopped at one of these requests, and has not come to what is put beyond that place.
    pub fn stops_short(&mut self, handle: Handle, index: IndexId, requests: &[Request], refs: &[LockRef]) {
        if self.tree.get(handle).is_none_or(|(_, held)| held.kind != Kind::Ahead) {
            return;
        }
        let come = |lock: &LockRef| self.has_got(lock.handle) || self.waits_for(lock.handle);
        let mut asked = requests.iter().zip(refs).rev().filter(|(_, lock)| lock.index == index);
        let place = asked.find(|(_, lock)| come(lock)).map(|(request, _)| request.range.high.clone());
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.asked = Range { low: held.named.low.clone(), high: place.unwrap_or_default() };
        }
    }

    /// An entry that is only passed over is let go when the row behind it has been read: its statement waits for that
    /// row.
    pub fn keep_passed(&mut self, handle: Handle) {
        if let Some((_, held)) = self.tree.get_mut(handle)
            && held.kind == Kind::Passed
        {
            held.waits = true;
        }
    }

    /// A statement that waits will not ask for this lock: the row that it would belong to has gone.
    pub fn pass_by(&mut self, handle: Handle) {
        if let Some((_, held)) = self.tree.get_mut(handle)
            && held.tentative
        {
            (held.kind, held.waits, held.asked) = (Kind::Passed, false, held.named.clone());
        }
    }

    /// Has the holder put what is locked here, or deleted it, so that it goes with a rollback, or a commit?
    pub fn goes(&self, handle: Handle, commits: bool) -> bool {
        let goes = |held: &Held| if commits { held.deleted && !held.inserted } else { held.inserted };
        self.tree.get(handle).is_some_and(|(_, held)| goes(held))
    }

    /// The same, of one entry in this range.
    pub fn goes_with(&self, handle: Handle, commits: bool, range: &Range) -> bool {
        let (_, held) = match self.tree.get(handle) {
            Some(lock) if self.goes(handle, commits) => lock,
            _ => return false,
        };
        held.named.is_entries() && held.named.covers(range)
    }

    /// A new entry was taken out again. False: there is none.
    pub fn take_out(&mut self, handle: Handle) -> bool {
        let Some((_, held)) = self.tree.get_mut(handle) else { return false };
        let tried = matches!(held.kind, Kind::Tried { .. }) && held.tentative && !held.waits;
        if tried {
            held.kind = Kind::Passed;
        }
        tried
    }

    /// A statement that waits was looked at again: this is how far it gets now. A row that WHERE rejects is let go at
    /// READ COMMITTED only if it was got at once; whoever had to wait for it keeps it (MySQL 9.7, MariaDB 10.11).
    pub fn advance(&mut self, handle: Handle, order: u64, got: Got) {
        if let Some((_, held)) = self.tree.get_mut(handle)
            && held.tentative
        {
            held.waited |= held.kind == Kind::Passed && got.is_waited_for();
            if held.waited && !got.waits {
                held.kind = Kind::Record;
            }
            (held.asked, held.waits, held.order) = (got.asked, got.waits, order);
        }
    }

    /// Statements that are not answered, and were thought to have got what this lock excludes: the server has let the
    /// holder of this lock on before them, and they wait for it.
    pub fn outrun(&mut self, handle: Handle) -> Vec<TxnId> {
        let mut outrun = Vec::new();
        if let Some((extent, own)) = self.tree.get(handle).filter(|(_, own)| !own.tentative) {
            self.tree.visit(&own.named, extent, &mut |handle, _, held| {
                if held.is_outrun_by(own) {
                    outrun.push((handle, held.txn));
                }
            });
        }
        outrun.iter().for_each(|(handle, _)| self.set_back(*handle));
        outrun.into_iter().map(|(_, txn)| txn).collect()
    }

    /// A lock that was thought to be got is still waited for.
    pub fn set_back(&mut self, handle: Handle) {
        if let Some((_, held)) = self.tree.get_mut(handle) {
            held.waits |= held.tentative;
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

    /// A record is taken out again: whoever waits for it keeps a lock on the gap where it stood, as far as it
    /// locks gaps; a duplicate check does at every isolation level.
    pub(super) fn inherit(&mut self, place: &Range) {
        for handle in self.tree.handles(place, |held| held.waits && place.covers(&held.named)) {
            let Some((_, held)) = self.tree.get_mut(handle) else { continue };
            let named = held.named.clone();
            if held.insert || held.kind.gaps() {
                held.kind = Kind::Gap;
                let reach = self.fences.around(&named, 0);
                self.tree.set_range(handle, reach, true);
            } else {
                held.kind = Kind::Passed;
                held.asked = Range { high: named.low.clone(), low: named.low };
            }
        }
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
