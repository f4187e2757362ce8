//! Who touched the rows of a contradiction, when, and what came of it: for whoever has to find out why.

use std::fmt::Write;
use std::time::Duration;

use super::workload::{Did, GROUPS, KEYS, Outcome, What};

/// So many lines before the contradiction, and so many after it.
const LINES: (usize, usize) = (40, 12);

/// Transactions that touched a key of this step, in the order of their last answers, and the server's crashes.
pub fn of(outcome: &Outcome, step: &Did) -> String {
    let keys = keys(step.what);
    let position = |number: i64| outcome.journal.iter().position(|&other| other == number);
    let mut lines: Vec<(Duration, String)> = Vec::new();
    let mut note = |number: i64, steps: &[Did], fate: &str| {
        let touches = |did: &Did| self::keys(did.what).iter().any(|key| keys.contains(key));
        let open = outcome
            .open
            .get(&number)
            .filter(|(what, _)| self::keys(*what).iter().any(|key| keys.contains(key)));
        if !steps.iter().any(touches) && open.is_none() {
            return;
        }
        let place = position(number).map_or("not in the journal".to_owned(), |at| format!("journal {at}"));
        let mut line = format!("{number} ({place}, {fate}):");
        for Did { what, read, at, .. } in steps {
            let _ = write!(line, " {what:?} {read:?} at {:.3};", at.as_secs_f64());
        }
        if let Some((what, at)) = outcome.open.get(&number) {
            let _ = write!(line, " {what:?} not done at {:.3}", at.as_secs_f64());
        }
        let last = steps.last().map(|did| did.at).max(open.map(|(_, at)| *at));
        lines.push((last.unwrap_or_default(), line));
    };
    for (number, steps) in &outcome.committed {
        note(*number, steps, "committed");
    }
    for (number, steps) in &outcome.unknown {
        note(*number, steps, "COMMIT unanswered");
    }
    for (number, (steps, why)) in &outcome.failed {
        note(*number, steps, why);
    }
    lines.extend(
        outcome
            .crashes
            .iter()
            .map(|(died, back)| (*died, format!("crash, back at {:.3}", back.as_secs_f64()))),
    );
    lines.sort();
    let here = lines.partition_point(|(at, _)| *at <= step.at);
    let shown = &lines[here.saturating_sub(LINES.0)..(here + LINES.1).min(lines.len())];
    shown.iter().map(|(_, line)| format!("  {line}\n")).collect()
}

fn keys(what: What) -> Vec<i64> {
    match what {
        What::Look(key) | What::Share(key) | What::Create(key) | What::Change(key) | What::Remove(key) => {
            vec![key]
        }
        What::Span(low, high) => (low..=high).collect(),
        What::Group(group) => (0..KEYS).filter(|key| key % GROUPS == group).collect(),
    }
}
