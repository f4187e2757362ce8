//! What to change in the application so that a conflict does not come again, and why that helps.
//!
//! The model says for itself where it can: the transactions are run again as the advice would have them
//! (`replay.rs`).

use schemars::JsonSchema;
use serde::Serialize;

use super::record::Resource;
use super::replay::{Script, Worst, worst};
use crate::metrics::labels::Pattern;

/// One piece of advice.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Advice {
    /// What to do.
    pub text: String,
    /// Why it helps.
    pub reason: String,
    /// What the model says of the case run again with it; nothing if it cannot be run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What is advised for a pattern at a place. `scripts`: what the parties ask for, the requester first.
pub fn of(pattern: Pattern, place: &Resource, scripts: &[Script]) -> Vec<Advice> {
    let on = columns(place);
    let now = worst(scripts);
    let again = |change: fn(&Script) -> Script| {
        let then = worst(&scripts.iter().map(change).collect::<Vec<_>>());
        Some(verdict(now, then)).filter(|_| scripts.len() > 1 && now != Worst::Nothing)
    };
    let read_committed = || {
        advice(
            "run these transactions at READ COMMITTED",
            "searches then lock the rows that they find and no gaps; inserts beside them go on",
        )
        .with(again(Script::without_gaps))
    };
    match pattern {
        Pattern::GapThenInsert => vec![
            advice(
                format!(
                    "drop the lock from the search: INSERT first, with a unique key on {on}, and read on error 1062"
                ),
                "a search that finds nothing locks the gap, gaps are compatible, and each insert then waits for \
                 the other's gap; an insert alone locks only its own record",
            ),
            read_committed(),
            advice(
                "or seed the row: INSERT IGNORE it in autocommit, then lock it",
                "a row that exists is locked as a record; the second transaction waits instead of sharing a gap",
            ),
        ],
        Pattern::RangeAndInsert => vec![
            read_committed(),
            advice(
                "delete or update by primary key, in batches: read the keys without a lock first",
                "a search by a range locks the gaps between its rows; by primary key only the rows are locked",
            ),
            advice(
                format!("give the search an index on what it asks for; it uses {on} now"),
                "the fewer entries a search reads, the fewer it locks",
            ),
        ],
        Pattern::SharedThenExclusive => vec![
            advice(
                "read with FOR UPDATE if the row will be changed",
                "two transactions can hold the shared lock, and then neither can get the exclusive one",
            )
            .with(again(Script::exclusive)),
        ],
        Pattern::OppositeOrder => vec![
            advice(
                "lock in one order everywhere: sort the keys, and the tables, before the first statement",
                "whoever comes second then waits at the first lock, and holds nothing that the other needs",
            )
            .with(again(Script::sorted)),
            advice(
                "or lock a common parent row first",
                "the parent's lock lets one transaction through at a time",
            ),
        ],
        Pattern::DuplicateKey => vec![
            advice(
                "after error 1062, roll back and begin again; do not go on in the same transaction",
                format!(
                    "the failed insert keeps a shared lock on the record of {on}, and the next insert of \
                         another transaction waits for it"
                ),
            ),
            advice(
                "insert in the order of the key, and keep the transaction short",
                "inserts of one key wait for the first one's transaction to end",
            ),
        ],
        Pattern::QueueClaim => vec![
            advice(
                "claim with SELECT … FOR UPDATE SKIP LOCKED",
                "workers then pass over rows that another has claimed, and do not wait for each other",
            ),
            advice(
                "or claim by UPDATE … WHERE the primary key, and check the number of changed rows",
                "one row by primary key locks one record; a search with LIMIT locks all that it reads",
            ),
        ],
        Pattern::HotRow => vec![
            advice(
                "make the statement on this row the last before COMMIT",
                "its lock is held until the transaction ends: the later it is taken, the shorter others wait",
            ),
            advice(
                "or spread the row over several and add them up when reading",
                "one row can be changed by one transaction at a time",
            ),
        ],
        Pattern::OverlappingRanges => vec![
            read_committed(),
            advice(
                "search by an index that fits, in smaller batches, in the order of the primary key",
                "searches lock what they read, not what they return",
            ),
        ],
        Pattern::KnownDeadlock => vec![
            advice(
                "look at the deadlock that the signature remembers, and change what its record advises",
                "kept apart as wholes, these transactions wait even where they would not have met",
            ),
            advice(
                "once it is repaired, forget it: interlock signatures drop",
                "a signature whose holds are needless loses its force, but only after a while",
            ),
        ],
        Pattern::Other => Vec::new(),
    }
}

fn advice(text: impl Into<String>, reason: impl Into<String>) -> Advice {
    Advice { text: text.into(), reason: reason.into(), model: None }
}

impl Advice {
    fn with(self, model: Option<String>) -> Advice {
        Advice { model, ..self }
    }
}

fn verdict(now: Worst, then: Worst) -> String {
    let word = |worst| match worst {
        Worst::Nothing => "nobody waits",
        Worst::Wait => "one waits for the other",
        Worst::Hazard => "both hold the gap",
        Worst::Deadlock => "they deadlock",
    };
    let helps = if then < now { "it would have helped" } else { "it alone would not have helped" };
    format!("{helps}: run again, {} (as it was: {})", word(then), word(now))
}

/// The columns as they are written in a definition: `batch (server_id)`.
fn columns(place: &Resource) -> String {
    match (&*place.table, &place.columns[..]) {
        ("", _) => "the searched columns".to_owned(),
        (table, []) => format!("`{table}`"),
        (table, columns) => format!("`{table} ({})`", columns.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::Label;

    #[test]
    fn every_pattern_has_advice_in_sentences() {
        let columns = vec!["server_id".to_owned()];
        let place = Resource { table: "batch".into(), columns, ..Resource::default() };
        for pattern in Pattern::ALL.iter().filter(|pattern| **pattern != Pattern::Other) {
            let advice = of(*pattern, &place, &[]);
            assert!(!advice.is_empty(), "{pattern:?}");
            for one in advice {
                assert!(one.text.len() > 20 && one.reason.len() > 20 && one.model.is_none(), "{one:?}");
            }
        }
        assert!(of(Pattern::GapThenInsert, &place, &[])[0].text.contains("`batch (server_id)`"));
    }
}
