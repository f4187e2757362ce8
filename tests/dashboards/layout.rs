//! The files: generated, in Grafana's schema, without overlaps, with a description on each panel.

use std::collections::HashSet;
use std::process::Command;

use super::{NAMES, dashboard, expressions, file, panels, root, text};

#[test]
fn files_are_what_the_generator_writes() {
    let output =
        Command::new(root().join("dashboards/generate")).arg("--check").output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn uids_and_ids_are_unique_and_stable() {
    for name in NAMES {
        let dashboard = dashboard(name);
        assert_eq!(text(&dashboard, "uid"), format!("interlock-{name}"));
        let mut ids = HashSet::new();
        let mut titles = HashSet::new();
        for panel in dashboard["panels"].as_array().expect("panels are a list") {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: {}", panel["id"]);
            assert!(titles.insert(text(panel, "title").to_owned()), "{name}: {} twice", panel["title"]);
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for name in NAMES {
        let dashboard = dashboard(name);
        let mut taken = HashSet::new();
        for panel in dashboard["panels"].as_array().expect("panels are a list") {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            assert!(at("x") + at("w") <= 24, "{name}: {} leaves the grid", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{name}: {} lies on another panel", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_panel_says_what_to_do() {
    for name in NAMES {
        for panel in panels(&dashboard(name)) {
            let description = text(panel, "description");
            assert!(
                description.len() > 30 && description.ends_with('.'),
                "{name}: {} {description}",
                panel["title"]
            );
            assert!(!expressions(panel).is_empty(), "{name}: {}", panel["title"]);
        }
    }
}

#[test]
fn variables_exist_and_are_used() {
    /// Of Grafana itself.
    const BUILT_IN: [&str; 4] = ["__rate_interval", "__range", "__interval", "__all"];
    for name in NAMES {
        let dashboard = dashboard(name);
        let list = dashboard["templating"]["list"].as_array().expect("variables are a list");
        let known: HashSet<&str> = list.iter().map(|variable| text(variable, "name")).collect();
        let whole = dashboard.to_string();
        let mut used = HashSet::new();
        for part in whole.split('$').skip(1) {
            let part = part.trim_start_matches('{');
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            let word = &part[..end];
            assert!(known.contains(word) || BUILT_IN.contains(&word), "{name}: ${word} is not defined");
            used.insert(word);
        }
        assert!(known.is_subset(&used), "{name}: {known:?} of which used: {used:?}");
        for wanted in ["datasource", "job", "instance"] {
            assert!(known.contains(wanted), "{name}: no variable {wanted}");
        }
    }
}

/// Grafana's own schema, as its SDK for Python has it. Needs a venv with the SDK, which tests/support/setup makes.
#[test]
fn files_are_in_grafanas_schema() {
    let venv = root().join("target/grafana-schema");
    let python = venv.join("bin/python");
    if !venv.join("complete").exists() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "in CI the schema must be there (tests/support/setup)"
        );
        eprintln!("dashboards: not held against Grafana's schema, tests/support/setup could not install it");
        return;
    }
    let mut command = Command::new(python);
    command.arg(root().join("tests/dashboards/schema.py")).args(NAMES.map(file));
    let output = command.output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rules_pass_their_own_tests() {
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]] {
        let mut promtool = Command::new("promtool");
        promtool.args(arguments).current_dir(root().join("dashboards/prometheus"));
        let output = promtool.output().expect("promtool is installed (tests/support/setup)");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn every_alert_has_a_runbook() {
    let readme = std::fs::read_to_string(root().join("dashboards/README.md")).expect("it is there");
    let rules = std::fs::read_to_string(root().join("dashboards/prometheus/rules.yml")).expect("it is there");
    let tests =
        std::fs::read_to_string(root().join("dashboards/prometheus/rules_test.yml")).expect("it is there");
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 7, "{alerts:?}");
    for alert in &alerts {
        assert!(readme.lines().any(|line| line == format!("### {alert}")), "no runbook for {alert}");
        assert!(rules.contains(&format!("dashboards/README.md#{}\"", alert.to_lowercase())), "{alert}");
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is never tested to fire");
    }
    for key in ["summary:", "description:", "runbook_url:", "severity:"] {
        assert_eq!(rules.matches(key).count(), alerts.len(), "{key}");
    }
}
