//! One conflict as a timeline of two columns: what each transaction did, and where they met.

use serde_json::Value;
use std::fmt::Write;

use super::super::columns;

/// Width of one column in characters.
const COLUMN: usize = 58;

/// The conflict that tells most: a hazard or deadlock that was averted, with the longest story.
pub fn choose(conflicts: Vec<Value>) -> Option<Value> {
    conflicts.into_iter().max_by_key(|conflict| {
        let kind = conflict["kind"].as_str().unwrap_or_default();
        let holder = steps(&conflict["holders"][0]).len();
        let averted = conflict["outcome"] == "averted" && conflict["held_ms"].as_f64() > Some(0.0);
        let before = conflict["detected"] == "before";
        let statements = holder + steps(&conflict["requester"]).len();
        (matches!(kind, "hazard" | "deadlock"), holder > 0, averted, before, statements.min(6))
    })
}

/// Draws a conflict record of the API.
pub fn draw(conflict: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = &conflict["resource"];
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "One conflict: {} ({}) on {}.{} index {} {}, seen {} the statement was sent, {}",
        word(&conflict["kind"]),
        word(&conflict["certainty"]),
        word(&resource["schema"]),
        word(&resource["table"]),
        word(&resource["index"]),
        word(&resource["range"]),
        word(&conflict["detected"]),
        word(&conflict["action"]),
    );
    let holder = &conflict["holders"][0];
    let requester = &conflict["requester"];
    let _ = writeln!(text, "{:>8}  {:<COLUMN$}  {}", "ms", title(holder), title(requester));
    let mut rows: Vec<(f64, bool, String)> = Vec::new();
    for (right, transaction) in [(false, holder), (true, requester)] {
        let steps = steps(transaction);
        // Times count from each transaction's own BEGIN; what both share is the moment of the record.
        let last = steps.last().map_or(0.0, |(at, _)| *at);
        let now = transaction["age_ms"].as_f64().unwrap_or(last);
        rows.extend(steps.into_iter().map(|(at, statement)| (at - now, right, statement)));
    }
    rows.sort_by(|one, other| one.0.total_cmp(&other.0));
    let start = rows.first().map_or(0.0, |row| row.0);
    for (at, right, statement) in rows {
        row(&mut text, &format!("{:.1}", at - start), right, &statement);
    }
    row(&mut text, "", true, &end(conflict));
    text
}

/// One statement in its column.
fn row(text: &mut String, at: &str, right: bool, statement: &str) {
    columns::row(text, at, usize::from(right), COLUMN, statement);
}

/// What interlock did, and what came of it.
fn end(conflict: &Value) -> String {
    let action = conflict["action"].as_str().unwrap_or_default();
    let done = match conflict["held_ms"].as_f64() {
        Some(held) if action == "held" => format!("held for {held:.1} ms"),
        _ => action.to_owned(),
    };
    let came = match conflict["outcome"].as_str().unwrap_or_default() {
        "averted" => "the deadlock was averted".to_owned(),
        "happened" => match conflict["errno"].as_u64() {
            Some(number) => format!("then error {number} happened"),
            None => "it happened".to_owned(),
        },
        "did_not_happen" => "it did not happen".to_owned(),
        other => other.to_owned(),
    };
    format!("← {done}: {came}")
}

fn title(transaction: &Value) -> String {
    match transaction["server_thread"].as_u64() {
        Some(thread) => format!("server thread {thread}"),
        None => "another session".to_owned(),
    }
}

/// The statements since BEGIN, the current one last, each with its time in milliseconds.
fn steps(transaction: &Value) -> Vec<(f64, String)> {
    let mut steps: Vec<(f64, String)> = transaction["transaction"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| Some((step["at_ms"].as_f64()?, step["statement"].as_str()?.to_owned())))
        .collect();
    if let Some(current) = transaction["statement"].as_str()
        && steps.last().is_none_or(|(_, last)| last != current)
    {
        let at = steps.last().map_or(0.0, |(at, _)| *at);
        steps.push((at, current.to_owned()));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_columns_in_order_of_time() {
        let conflict = json!({
            "kind": "hazard", "certainty": "certain", "detected": "before", "action": "held",
            "held_ms": 4.5, "outcome": "averted",
            "resource": {"schema": "d", "table": "batch", "index": "k", "range": "(10, +∞)"},
            "requester": {"server_thread": 8, "age_ms": 0.4, "statement": "SELECT 2",
                "transaction": [{"at_ms": 0.0, "statement": "BEGIN"}, {"at_ms": 0.3, "statement": "SELECT 2"}]},
            "holders": [{"server_thread": 7, "age_ms": 0.9,
                "transaction": [{"at_ms": 0.0, "statement": "BEGIN"}, {"at_ms": 0.2, "statement": "SELECT 1"}]}],
        });
        let text = draw(&conflict);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0].trim(), "0.0  BEGIN");
        assert_eq!(lines[1].trim(), "0.2  SELECT 1");
        assert!(lines[2].starts_with("     0.5") && lines[2].ends_with("  BEGIN"));
        assert!(lines[3].ends_with("  SELECT 2"));
        assert!(lines[4].ends_with("← held for 4.5 ms: the deadlock was averted"));
    }

    #[test]
    fn hazards_tell_more_than_waits() {
        let wait = json!({"kind": "wait", "seq": 1});
        let hazard = json!({"kind": "hazard", "seq": 2});
        assert_eq!(choose(vec![hazard.clone(), wait]), Some(hazard));
        assert_eq!(choose(Vec::new()), None);
    }
}
