//! The effect so far: what came of conflicts, over all kinds.

use super::Metrics;
use super::label::Label;
use super::labels::{Prediction, Restarted};
use crate::lock::mode::Certainty;
use crate::scheduler::conflict::{ConflictKind, Taken};

/// Conflicts by what came of them, over all kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// Would have come, but for interlock.
    pub averted: u64,
    /// Foreseen, and came.
    pub happened: u64,
    /// Foreseen, and did not come.
    pub did_not_happen: u64,
    /// Refused.
    pub rejected: u64,
    /// Came, and the victim was run again.
    pub restarted: u64,
}

impl Metrics {
    /// What came of conflicts since the start.
    pub fn outcomes(&self) -> Outcomes {
        let kinds = ConflictKind::ALL;
        let came = |outcome| kinds.iter().map(|kind| self.predictions.get((*kind, outcome))).sum();
        let rejected = |kind: &ConflictKind| -> u64 {
            Certainty::ALL.iter().map(|sure| self.conflicts.get((*kind, Taken::Rejected, *sure))).sum()
        };
        Outcomes {
            averted: came(Prediction::Averted),
            happened: came(Prediction::Hit),
            did_not_happen: came(Prediction::FalseAlarm),
            rejected: kinds.iter().map(rejected).sum(),
            restarted: self.restarts.get(Restarted::Done),
        }
    }
}
