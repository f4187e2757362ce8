//! `SHOW CONFLICT n`: a conflict as a timeline with a column for each party.
//!
//! ```text
//! ms    in the way: session 7 (app, thread 31)         session 8 (app, thread 32)
//! 0.0   SELECT * FROM batch WHERE id = ? FOR UPDATE
//! NULL    took X gap: the gap of `batch.id` …
//! 4.1                                                  SELECT * FROM batch WHERE id = ? FOR UPDATE
//! NULL                                                 hazard at the gap of `batch.id` between ? and …
//! ```

use serde_json::Value;

use super::query::Table;
use super::{Console, Fault};
use crate::admin::view::tables::{Column, ColumnKind};
use crate::admission::record::{Outcome, Party, Record, Step};
use crate::scheduler::conflict::{ConflictKind, Taken};

/// The parties' statements in one order of time, and what interlock did about it.
pub(super) fn timeline(console: &Console, seq: u64) -> Result<Table, Fault> {
    let record = console.view.admission.ledger.get(seq);
    let record = record.ok_or_else(|| Fault::new(1094, format!("there is no conflict {seq} (any more)")))?;
    let parties: Vec<&Party> = record.holders.iter().chain([&record.requester]).collect();
    let mut columns = vec![Column::plain("ms", ColumnKind::Double)];
    columns.extend(parties.iter().enumerate().map(|(at, party)| {
        let way = if at < record.holders.len() { "in the way: " } else { "" };
        Column::plain(&format!("{way}{}", title(party)), ColumnKind::Text)
    }));
    let mut steps: Vec<(f64, usize, &Step)> = Vec::new();
    for (at, party) in parties.iter().enumerate() {
        // Times count from each party's own BEGIN; what they share is the moment of the record.
        steps.extend(party.transaction.iter().map(|step| (step.at_ms - party.age_ms, at, step)));
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let start = steps.first().map_or(0.0, |step| step.0);
    let row = |ms: Value, at: usize, text: &str| {
        let cells = (0..parties.len()).map(|column| if column == at { text.into() } else { "".into() });
        std::iter::once(ms).chain(cells).collect()
    };
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (ms, at, step) in steps {
        rows.push(row((((ms - start) * 10.0).round() / 10.0).into(), at, &step.statement));
        for lock in step.locks.iter() {
            rows.push(row(Value::Null, at, &format!("  took {}: {}", lock.mode, lock.place)));
        }
        if step.more_locks > 0 {
            rows.push(row(Value::Null, at, &format!("  and {} more locks", step.more_locks)));
        }
    }
    rows.push(row(Value::Null, parties.len() - 1, &verdict(&record)));
    Ok(Table { columns, rows })
}

fn title(party: &Party) -> String {
    let program = party.program.as_deref().map(|p| format!(", {p}")).unwrap_or_default();
    format!("session {} ({}{program}, thread {})", party.session, party.user, party.server_thread)
}

/// What it was, where, what was done, and what came of it: a sentence.
fn verdict(record: &Record) -> String {
    let kind = match record.kind {
        ConflictKind::Hazard => "hazard",
        ConflictKind::Wait => "wait",
        ConflictKind::Deadlock => "deadlock",
    };
    let place = match (&*record.resource.place, &record.signature) {
        ("", Some(signature)) => format!(" like the deadlock {signature}"),
        ("", None) => String::new(),
        (place, _) => format!(" at {place}"),
    };
    let did = match record.action {
        Taken::Held => format!("held for {:.1} ms", record.held_ms),
        Taken::Rejected => "rejected with error 1213".to_owned(),
        Taken::Flagged if record.would_hold => "passed on (reorder would have held it)".to_owned(),
        Taken::Flagged => "passed on".to_owned(),
    };
    let came = match (record.outcome, record.errno) {
        (Outcome::Pending, _) => "not over yet".to_owned(),
        (Outcome::Happened, Some(errno)) => format!("the server answered error {errno}"),
        (Outcome::Happened, None) => "it happened".to_owned(),
        (Outcome::Averted, _) => "averted".to_owned(),
        (Outcome::Restarted, _) => "the victim's transaction was run again".to_owned(),
        (Outcome::DidNotHappen, _) => "it did not happen".to_owned(),
    };
    format!("{kind}{place}: {did}, {came}")
}
