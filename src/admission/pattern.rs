//! Which known shape a conflict has. The shape decides what is advised, and what conflicts count together.

use super::record::Record;
use crate::lock::index::Relation;
use crate::lock::mode::Mode;
use crate::lock::request::Kind;
use crate::metrics::labels::Pattern;
use crate::scheduler::conflict::{ConflictKind, Report};

/// The pattern of a conflict that was found before its statement was sent.
pub fn of(report: &Report, record: &Record) -> Pattern {
    // Signatures know statements, not locks.
    if report.signature.is_some() && record.resource.table.is_empty() {
        return Pattern::KnownDeadlock;
    }
    let (asked, met) = (&report.request, &report.conflict);
    if asked.kind.inserts() {
        return match met.kind {
            Kind::Gap | Kind::RecordOrGap => Pattern::GapThenInsert,
            Kind::NextKey => Pattern::RangeAndInsert,
            _ => Pattern::DuplicateKey,
        };
    }
    if met.relation == Relation::Hazard {
        let point = |kind| matches!(kind, Kind::Gap | Kind::RecordOrGap);
        return if point(asked.kind) || point(met.kind) {
            Pattern::GapThenInsert
        } else {
            Pattern::RangeAndInsert
        };
    }
    let claims = |party: &super::record::Party| party.statement.as_deref().is_some_and(claims);
    if claims(&record.requester)
        && record.holders.iter().any(|holder| holder.transaction.iter().any(step_claims))
    {
        return Pattern::QueueClaim;
    }
    if met.mode == Mode::S && asked.mode == Mode::X {
        return Pattern::SharedThenExclusive;
    }
    if report.kind == ConflictKind::Deadlock {
        return Pattern::OppositeOrder;
    }
    match (asked.kind, met.kind) {
        (Kind::NextKey, _) | (_, Kind::NextKey) => Pattern::OverlappingRanges,
        _ => Pattern::HotRow,
    }
}

fn step_claims(step: &super::record::Step) -> bool {
    claims(&step.statement)
}

/// A worker takes some row of many: a locking search, or a change, that ends at a LIMIT.
fn claims(statement: &str) -> bool {
    let has = |words: &str| {
        statement.as_bytes().windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
    };
    has(" limit ") && (has(" for update") || has("update ") || has("delete "))
}

#[cfg(test)]
mod tests {
    use super::claims;

    #[test]
    fn a_claim_has_a_limit_and_locks() {
        assert!(claims("SELECT id FROM jobs WHERE state = ? ORDER BY id LIMIT ? FOR UPDATE"));
        assert!(claims("update jobs set owner = ? where owner is null limit ?"));
        assert!(!claims("SELECT id FROM jobs LIMIT ?"));
        assert!(!claims("SELECT id FROM limits WHERE id = ? FOR UPDATE"));
    }
}
