//! What a request meets in an index: who is in its way, and how far it gets.
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

use std::borrow::Cow;
use std::cell::OnceCell;

use super::asking::{Asking, Met};
use super::evidence::{expected, is_shared, is_used};
use super::index::{Conflict, Held, IndexLocks, Relation};
use super::interval_tree::Handle;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Kind, Request};
use crate::id::TxnId;

/// Most holders that one request reports in one index: enough for a report and for the wait-for graph.
const MAX_HOLDERS: usize = 64;

impl IndexLocks {
    /// What `request` meets, appended to `met`. Returns how far it gets: the part of it that is asked for
    /// before it waits.
    pub fn meet(&self, asking: Asking, request: &Request, reach: &Range, met: &mut Met) -> Range {
        let first = met.conflicts.len();
        met.used.clear();
        met.rivals.clear();
        let mut asked = request.range.clone();
        if self.meets_nobody(request) {
            return asked;
        }
        // Asked for at the first lock that is waited for: most requests meet none.
        let owns = OnceCell::new();
        let owns = || *owns.get_or_init(|| self.has(asking.by.txn, &request.range, |_| true));
        // Only gaps, and entries that wait for one, meet beyond the place itself.
        let mut meets = |handle, extent: &Range, held: &Held| {
            if held.txn == asking.by.txn {
                if is_used(request, held) && extent.intersects(&request.range) {
                    met.used.push(handle);
                }
                return;
            }
            let later = held.waits && held.order > asking.order;
            let behind =
                later && !(asking.anew && held.kind.gaps() && !held.named.intersects(&request.range));
            let passed = held.kind == Kind::Passed && !held.waits;
            if behind || passed {
                return;
            }
            if held.waits && held.insert && request.kind.gaps() && reach.contains(&held.named.low) {
                met.behind.push(held.txn);
            }
            if held.is_tried_for(request) {
                met.rivals.push(held.txn);
            }
            let Some((relation, certainty)) = self.relate(asking, request, reach, extent, held, owns) else {
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
                expected: expected(&asking.by, (held, extent), (request, reach), met_with),
                certainty,
                mode: held.mode,
                kind: if held.is_new_entry() { Kind::Insert { check: None } } else { held.kind },
                range: extent.clone(),
                gap: request.kind.inserts() && !held.named.intersects(&request.range),
                implicit: held.insert || held.kind.of_own_row(),
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

    /// Would the request have to wait for a lock that `owner` has already?
    pub fn is_in_way(&self, owner: TxnId, asking: Asking, request: &Request, reach: &Range) -> bool {
        let owns = || self.has(asking.by.txn, &request.range, |_| true);
        let mut found = false;
        self.tree.visit(&request.range, reach, &mut |_, extent, held| {
            if held.txn == owner && !held.tentative {
                let relation = self.relate(asking, request, reach, extent, held, owns);
                found |= matches!(relation, Some((Relation::Wait, _)));
            }
        });
        found
    }

    /// Nothing that is held here concerns the request: the common end for the entries of changed rows, whose
    /// place is not known and may be anywhere.
    pub(super) fn meets_nobody(&self, request: &Request) -> bool {
        request.kind == Kind::Entry && self.searches == 0
    }

    fn relate(
        &self,
        asking: Asking,
        request: &Request,
        reach: &Range,
        extent: &Range,
        held: &Held,
        owns: impl Fn() -> bool,
    ) -> Option<(Relation, Certainty)> {
        let now = asking.now;
        if held.kind == Kind::Ahead {
            let comes = held.waits && held.named.contains(&request.range.low) && !held.has_come_to(request);
            return (request.kind.inserts() && comes).then_some((Relation::Wait, Certainty::Likely));
        }
        if let Some(certainty) = self.waits_for_record(request, held, now)
            && !(held.waits && owns() && self.goes_first(asking, request, held))
            && !(held.certainty == Certainty::Unknown && owns() && self.has_already(asking, request))
        {
            return Some((Relation::Wait, certainty));
        }
        // What its holder has deleted, and had put before, or what a statement of his that waits has deleted until now, no
        // look shows, but it stands there marked, and is waited for.
        let read = match request.kind {
            Kind::Gap => Some(&request.range),
            Kind::NextKey if asking.exact => Some(reach),
            _ => None,
        };
        let gone =
            held.insert && held.deleted || held.kind == Kind::Entry && held.tentative && held.has_got();
        if gone && read.is_some_and(|read| held.named.intersects(read)) {
            return Some((Relation::Wait, Certainty::Likely));
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
            // A lookup of a whole key that waits does so for a record: it asks for no gap (but for MariaDB's unique
            // indexes).
            let alone = asking.overtakes || request.index.index == 0;
            let record = held.kind == Kind::RecordOrGap && held.waits && !held.asked.is_empty() && alone;
            // A unique key that stands at the gap's upper end is there already: the insert does not come to the gap.
            let there = held.kind == Kind::Gap
                && held.exact
                && request.kind.check().is_some()
                && extent.high.starts_with(&request.range.low);
            let gap = held.kind.gaps() && !record && !there && !self.mostly_finds(held);
            let waits = gap && (anywhere || extent.contains(&request.range.low));
            // Two duplicate checks share a record that is there, and then the insert comes no further.
            let may_share = request.kind.check() == Some(Mode::S)
                && held.mode == Mode::S
                && held.kind.records()
                && !(held.exact && held.kind == Kind::RecordOrGap)
                && (held.named.covers(&request.range) || request.range.covers(&held.named));
            if waits && self.stands_on_own(asking, request) {
                return None;
            }
            if waits && may_share {
                let there = held.exact && (held.named.is_entries() || request.range.covers(&held.named));
                return (!there).then_some((Relation::Wait, Certainty::Likely));
            }
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
        // A lookup of a key that exists locks no gap; one whose answer is out counts by what is usual here, unless
        // nothing is known to be there, or beyond: the keys behind the last record are new ones.
        let missing = request.kind == Kind::Gap && mine.covers(&held.named);
        let beyond = reach.high.is_supremum() && self.remembers();
        let unlikely = self.mostly_finds(held) && !missing && !beyond;
        let finds = || request.kind == Kind::RecordOrGap && self.fences.any_in(&request.range, now);
        (!unlikely && !finds()).then(|| (Relation::Hazard, gap_certainty(held, &request.range)))
    }

    /// Is that a lookup whose answer is out, where lookups mostly find their record and lock no gap?
    fn mostly_finds(&self, held: &Held) -> bool {
        held.tentative && held.kind == Kind::RecordOrGap && self.misses < 0.5
    }

    /// A lookup whose answer was out has found nothing after all: inserts into its gap that were sent meanwhile wait for
    /// it at the server.
    pub(super) fn let_past(&self, handle: Handle, mut each: impl FnMut(TxnId)) {
        let Some((gap, own)) = self.tree.get(handle) else { return };
        self.tree.visit(&own.named, gap, &mut |_, _, held| {
            let sent = held.is_new_entry() && !held.waits && held.order > own.order && held.txn != own.txn;
            if sent && held.certainty > Certainty::Unknown && gap.contains(&held.named.low) {
                each(held.txn);
            }
        });
    }

    /// Does the request wait for a record that `held` covers, and how sure is that?
    fn waits_for_record(&self, request: &Request, held: &Held, now: u64) -> Option<Certainty> {
        let asked = match request.kind {
            Kind::Insert { check } | Kind::Tried { check } => check?,
            Kind::Gap => return None,
            _ => request.mode,
        };
        // A new entry that still waits for its gap is not there, and nobody waits for the intention.
        let covers = held.kind.records() || held.kind.inserts() && !(held.insert && held.waits);
        // What stood there when the scan was looked at is asked for by itself.
        if request.kind == Kind::Ahead && !(held.inserted || held.insert) {
            return None;
        }
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
        let exists = matches!(held.kind, Kind::Record | Kind::Passed | Kind::Clustered { .. } | Kind::Entry)
            || seen
            || matches!(request.kind, Kind::Clustered { .. })
            || self.fences.any_in(&request.range, now);
        Some(if exists && !held.tentative { Certainty::Certain } else { Certainty::Likely })
    }

    /// Is the very entry there and locked by the requester itself? Then it has deleted it: the entry is made
    /// valid again where it stands, and no gap is asked for.
    fn stands_on_own(&self, asking: Asking, request: &Request) -> bool {
        self.has(asking.by.txn, &request.range, |held| {
            let record = matches!(held.kind, Kind::Record | Kind::Clustered { .. } | Kind::Entry);
            !held.tentative && held.mode == Mode::X && record && held.named == request.range
        })
    }

    /// Has the requester got the record for what it asks? Then a lock of another, wherever it may be, is not there.
    fn has_already(&self, asking: Asking, request: &Request) -> bool {
        let wanted = request.kind.check().unwrap_or(request.mode);
        self.has(asking.by.txn, &request.range, |own| {
            let known = !own.tentative && own.certainty > Certainty::Unknown && own.kind.records();
            known && own.mode.includes(wanted) && own.named.covers(&request.range)
        })
    }

    /// A row whose parent its transaction has put or locked itself finds it: no gap is asked for. (Of a key that the
    /// transaction has changed since, this is not true: so it is said of reads by the primary key alone.)
    pub fn of_own<'a>(&self, txn: TxnId, request: &'a Request) -> Cow<'a, Request> {
        let reads = request.kind == Kind::RecordOrGap && request.mode == Mode::S && request.index.index == 0;
        let is_there = |held: &Held| {
            let whole = held.certainty > Certainty::Unknown && held.named == request.range;
            let record = matches!(held.kind, Kind::Record | Kind::Clustered { .. });
            whole && record && !held.tentative && !held.deleted
        };
        if reads && self.has(txn, &request.range, is_there) {
            return Cow::Owned(Request { kind: Kind::Record, ..request.clone() });
        }
        Cow::Borrowed(request)
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
        self.has(asking.by.txn, &common, |own| {
            let in_the_way = own.named.covers(&common) && !own.mode.compatible(waiting.mode);
            in_the_way && (own.mode.includes(wanted) || asking.overtakes)
        })
    }
}

impl Held {
    /// The holder has it: its statement was answered, or has come past it.
    pub(super) fn has_got(&self) -> bool {
        !self.tentative || !self.waits && self.asked == self.named
    }

    /// It is thought to be got, before it is answered, and `own`, which has been, shows that it is not.
    pub(super) fn is_outrun_by(&self, own: &Held) -> bool {
        let got = self.tentative && self.has_got() && self.txn != own.txn;
        let certain = self.certainty.min(own.certainty) == Certainty::Certain;
        let records = self.kind.records() && own.kind.records() && own.named.intersects(&self.named);
        got && certain && records && own.named.is_entries() && !own.mode.compatible(self.mode)
    }

    /// A new entry that is not there yet.
    fn is_new_entry(&self) -> bool {
        self.insert && self.tentative
    }

    /// Does an insert of this very key wait for its gap?
    fn is_tried_for(&self, request: &Request) -> bool {
        let waits = self.waits && self.insert && self.kind.inserts() && !self.asked.is_empty();
        waits && request.kind.check().is_some() && self.named == request.range
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

fn gap_certainty(held: &Held, asked: &Range) -> Certainty {
    let inside = held.kind == Kind::NextKey && held.named.covers(asked);
    if (held.exact || inside) && !held.tentative { Certainty::Certain } else { Certainty::Likely }
}
