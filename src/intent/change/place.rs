//! The place of a changed row's new entry: its duplicate check, and the entry itself.

use super::super::Intent;
use super::super::entry::Entry;
use super::super::foreign_key::Goes;
use super::super::read::request;
use super::{Change, MOVED, SAME_KEY, TAKEN, push};
use crate::catalog::Flavour;
use crate::lock::key::Key;
use crate::lock::mode::{Certainty, Mode};
use crate::lock::range::Range;
use crate::lock::request::{Kind, Request};

impl Change<'_> {
    /// Is there a duplicate check for a unique key that stays, because the primary key behind it changes?
    pub(super) fn checks_same(&self, at: usize) -> bool {
        let index = &self.table.indexes[at];
        at != 0 && index.unique && self.moves() && !self.sets(index)
    }

    /// The duplicate check for a unique key that stays.
    pub(super) fn same_key(&self, at: usize, key: &Key, intent: &mut Intent) {
        // MySQL's UPDATE asks for the gaps alone.
        let records = self.context.flavour == Flavour::MariaDb || self.check == Mode::X;
        let kind = if records { Kind::NextKey } else { Kind::Gap };
        let lock =
            |range, kind| request(self.table, at, self.check, range, kind, Certainty::Likely, SAME_KEY);
        push(intent, lock(Range::entries(key), kind));
        // It goes on to the first entry with another key.
        let Some(span) = self.known.place(self.table.id, at, key) else { return };
        let (range, next, reach) = span.next(key.after());
        match kind {
            Kind::NextKey => intent.add(lock(range, next), Some(reach)),
            _ => {
                let gap = Range { high: span.reach().high, ..reach };
                intent.add(lock(gap.clone(), Kind::Gap), Some(gap));
            }
        }
    }

    /// A new entry, unless its key is there.
    pub(super) fn put(
        &self,
        at: usize,
        [before, after]: [&Entry; 2],
        earlier: usize,
        sure: Certainty,
        intent: &mut Intent,
    ) -> Goes {
        let insert = self.insert(at, after, sure);
        if insert.kind.check().is_none() || before.unique == after.unique {
            push(intent, insert);
            return Goes::On;
        }
        let Some(span) = self.known.place(self.table.id, at, &insert.range.low) else {
            push(intent, insert);
            return Goes::Perhaps;
        };
        let taken = |known: &Request| {
            known.kind.inserts() && known.index == insert.index && known.range == insert.range
        };
        // Another row of this statement has got the key.
        if intent.requests[..earlier].iter().any(taken) {
            return Goes::NoFurther;
        }
        let Some(there) = span.entries.iter().find(|entry| entry.stands()) else {
            push(intent, insert);
            // Somebody is about to put it there, or to take it away.
            return if span.entries.is_empty() { Goes::On } else { Goes::Perhaps };
        };
        let range = Range::entries(&there.key);
        if at == 0 {
            push(intent, request(self.table, 0, Mode::S, range, Kind::Record, sure, TAKEN));
        } else {
            let reach = Range { high: range.high.clone(), ..span.reach() };
            let taken = request(self.table, at, Mode::S, range, Kind::NextKey, sure, TAKEN);
            intent.add(taken, Some(reach));
        }
        Goes::NoFurther
    }

    pub(super) fn insert(&self, at: usize, new: &Entry, certainty: Certainty) -> Request {
        let same = at != 0 && self.moves() && !self.sets(&self.table.indexes[at]);
        let check = new.unique.is_some() && !same;
        let range = match &new.unique {
            Some(key) if check => Range::entries(key),
            _ => new.range(),
        };
        let kind = Kind::Insert { check: check.then_some(Mode::S) };
        request(self.table, at, Mode::X, range, kind, certainty, MOVED)
    }
}
