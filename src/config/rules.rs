//! `[[rules]]`: another action than `policy.action` for some statements.

use serde::{Deserialize, Serialize};
use toml::Value;

/// A rule. The first that matches decides; a comment hint in the statement goes before all rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What is done.
    pub action: RuleAction,
    /// Schema of a table that the statement names.
    #[serde(default = "any")]
    pub schema: String,
    /// Name of such a table.
    #[serde(default = "any")]
    pub table: String,
    /// The session's user.
    #[serde(default = "any")]
    pub user: String,
    /// The statement's normalised text (literals are `?`), or its digest in hexadecimal.
    #[serde(default = "any")]
    pub digest: String,
}

/// What a rule can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// No involvement at all.
    Off,
    /// Report, never hold.
    Flag,
    /// Hold where that helps.
    Reorder,
    /// Reject where that helps.
    Reject,
}

const KEYS: [&str; 5] = ["action", "schema", "table", "user", "digest"];
const ACTIONS: [&str; 4] = ["off", "flag", "reorder", "reject"];

fn any() -> String {
    "*".to_owned()
}

/// Every fault of a list of rules: the key, what was found, what is allowed.
pub(super) fn faults(value: &Value) -> Vec<(String, String, String)> {
    let mut faults = Vec::new();
    let Value::Array(rules) = value else {
        let allowed = "a list of tables: [[rules]]".to_owned();
        return vec![("rules".to_owned(), value.to_string(), allowed)];
    };
    for (n, rule) in rules.iter().enumerate() {
        let mut fault = |key: &str, found: String, allowed: String| {
            let dot = if key.is_empty() { "" } else { "." };
            faults.push((format!("rules[{}]{dot}{key}", n + 1), found, allowed));
        };
        let Value::Table(rule) = rule else {
            fault("", rule.to_string(), "a table with an action".to_owned());
            continue;
        };
        let actions = || format!("one of \"{}\"", ACTIONS.join("\", \""));
        match rule.get("action") {
            None => fault("action", "nothing".to_owned(), actions()),
            Some(Value::String(action)) if ACTIONS.contains(&action.as_str()) => {}
            Some(other) => fault("action", other.to_string(), actions()),
        }
        for (key, value) in rule.iter().filter(|(key, _)| *key != "action") {
            match value {
                _ if !KEYS.contains(&key.as_str()) => {
                    fault(key, value.to_string(), format!("only the keys {}", KEYS.join(", ")));
                }
                Value::String(glob) if !glob.is_empty() => {}
                _ => fault(key, value.to_string(), "a name or a pattern with * and ?".to_owned()),
            }
        }
        if rule.keys().all(|key| key == "action") && n + 1 < rules.len() {
            let found = "a rule without conditions before others".to_owned();
            fault("", found, "such a rule at the end only: those behind it never match".to_owned());
        }
    }
    faults
}
