//! Dashboards and rules: what they show exists, what exists is documented, and a real Prometheus answers every
//! query of theirs.

#[path = "../support/mod.rs"]
mod support;

mod layout;
mod prometheus;
mod queries;
mod workload;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The three dashboards.
const NAMES: [&str; 3] = ["overview", "conflicts", "fleet"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> PathBuf {
    root().join("dashboards/grafana").join(format!("{name}.json"))
}

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(file(name)).expect("the file is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// The panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels are a list");
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The queries of a panel.
fn expressions(panel: &Value) -> Vec<&str> {
    panel["targets"]
        .as_array()
        .expect("targets are a list")
        .iter()
        .map(|target| text(target, "expr"))
        .collect()
}
