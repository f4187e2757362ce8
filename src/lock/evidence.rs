//! What a transaction did with its locks: the lock table sees it, who schedules learns from it.

use smallvec::SmallVec;

use super::index::Held;
use super::mode::{Certainty, Mode};
use super::range::Range;
use super::request::{Kind, Request};
use crate::id::{DigestId, TxnId};

/// Who asks for locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The transaction.
    pub txn: TxnId,
    /// The statement; 0 if nobody wants to learn of it.
    pub digest: DigestId,
    /// What its transaction is expected to do with the locks.
    pub expects: Expects,
}

/// What a transaction is expected to do with the locks of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expects {
    /// It inserts into a gap that it locks.
    pub gap: bool,
    /// The same where the model is certain of the gap: that takes more evidence to doubt.
    pub certain_gap: bool,
    /// It inserts if it has found nothing.
    pub missing: bool,
    /// It upgrades a shared lock.
    pub upgrade: bool,
}

/// What became of a lock when its transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// The statement that took the lock.
    pub digest: DigestId,
    /// It locked a gap: did the transaction insert there?
    pub gap: Option<bool>,
    /// It locked a record with it: the statement has found something.
    pub found: bool,
    /// It was shared: did the transaction ask for more?
    pub share: Option<bool>,
}

/// The evidence of one transaction.
pub type EvidenceList = SmallVec<[Evidence; 4]>;

impl From<TxnId> for Asker {
    /// Somebody of whom nothing is known.
    fn from(txn: TxnId) -> Asker {
        let expects = Expects { gap: true, certain_gap: true, missing: true, upgrade: false };
        Asker { txn, digest: DigestId::default(), expects }
    }
}

/// Does a transaction use, with this request, a lock of its own for what it was taken for?
pub(super) fn is_used(request: &Request, held: &Held) -> bool {
    if request.kind.inserts() {
        return !held.filled && held.kind.gaps();
    }
    let more = request.mode == Mode::X && held.mode == Mode::S && request.kind.records();
    more && !held.upgraded && held.kind.records() && held.named.intersects(&request.range)
}

/// Do both want to share a record, and is more expected of both? The duplicate check of an insert does so where the
/// other's has failed.
pub(super) fn is_shared(asker: &Asker, request: &Request, held: &Held) -> bool {
    let both = asker.expects.upgrade && held.expects.upgrade;
    if !both || shares_with(request) != Some(Mode::S) || held.mode != Mode::S || !held.kind.records() {
        return false;
    }
    match request.kind.check() {
        Some(_) => is_there(held) && held.named.covers(&request.range),
        None => held.named.intersects(&request.range),
    }
}

/// Is the record of this lock one that has been found?
fn is_there(held: &Held) -> bool {
    let found = match held.kind {
        Kind::Record | Kind::Clustered { .. } => true,
        Kind::NextKey => held.exact && held.named.is_entries(),
        _ => false,
    };
    found && !held.tentative
}

/// The mode in which a request asks for a record that is there.
fn shares_with(request: &Request) -> Option<Mode> {
    request.kind.check().or(request.kind.records().then_some(request.mode))
}

/// Are both sides expected to make a deadlock of a hazard? Both with the gap that they lock.
pub(super) fn expected(
    asker: &Asker,
    (held, extent): (&Held, &Range),
    (request, reach): (&Request, &Range),
    certainty: Certainty,
) -> bool {
    // Who has found nothing has locked the gap alone; nor does anybody find anything who looks inside of it.
    let (empty, misses) = (held.kind == Kind::Gap, request.kind == Kind::Gap);
    let empty = empty || misses && reach.covers(&held.named);
    let misses = misses || empty && extent.covers(&request.range);
    let inserts = |expects: &Expects, found_nothing: bool| {
        let usual = if certainty == Certainty::Certain { expects.certain_gap } else { expects.gap };
        usual || found_nothing && expects.missing
    };
    let upgrade = shares_with(request) == Some(Mode::S) && asker.expects.upgrade && held.expects.upgrade;
    upgrade || inserts(&asker.expects, misses) && inserts(&held.expects, empty)
}

/// What a lock that ends has to teach. Of a transaction that was rolled back only what it did counts, not
/// what it might have done.
pub(super) fn evidence(held: &Held, committed: bool) -> Option<Evidence> {
    if held.digest == DigestId::default()
        || held.tentative
        || held.inserted
        || held.certainty == Certainty::Unknown
    {
        return None;
    }
    let told = |applies: bool, used: bool| (applies && (used || committed)).then_some(used);
    let gap = told(matches!(held.kind, Kind::Gap | Kind::NextKey), held.filled);
    let share = told(held.mode == Mode::S && held.kind.records(), held.upgraded);
    let found = held.kind.records();
    (gap.is_some() || share.is_some()).then_some(Evidence { digest: held.digest, gap, found, share })
}
