//! Every query of every panel and rule, answered by a real Prometheus that scrapes two real interlocks under a
//! real workload: one that holds, and one that only flags.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::prometheus::Prometheus;
use super::support::{Interlock, Kind, Server, wait_until};
use super::workload::Workload;
use super::{NAMES, dashboard, expressions, panels, root, text};

/// What the workload makes happen; until it has, there is nothing to look at.
const EVENTS: [&str; 6] = [
    "sum(interlock_predictions_total{outcome=\"averted\"}) > 5",
    "sum(interlock_server_deadlocks_total) > 5",
    "sum(interlock_holds_total{end=\"released\"}) > 5",
    "sum(interlock_would_hold_total) > 5",
    "sum(interlock_table_deadlocks_total) > 0",
    "sum(interlock_table_hold_seconds_total) > 0",
];

/// Panels that must show more than zero: dashboard and title.
const FILLED: [(&str, &str); 18] = [
    ("overview", "Instances up"),
    ("overview", "Deadlocks averted"),
    ("overview", "Deadlocks that happened"),
    ("overview", "Deadlocks: averted beside happened"),
    ("overview", "Errors to clients"),
    ("overview", "Where the time of statements goes"),
    ("overview", "Own time per statement"),
    ("overview", "Statements"),
    ("conflicts", "Top conflicts by table and pattern"),
    ("conflicts", "Tables: deadlocks and time held"),
    ("conflicts", "Conflicts by pattern"),
    ("conflicts", "Would hold"),
    ("conflicts", "How holds ended"),
    ("conflicts", "How long statements are held"),
    ("conflicts", "Precision"),
    ("conflicts", "What came of predictions"),
    ("fleet", "Instances"),
    ("fleet", "Memory"),
];

/// Queries that a healthy run answers with nothing: they show what goes wrong.
const MAY_BE_EMPTY: [&str; 1] = ["action=\"rejected\""];

#[test]
fn a_real_prometheus_answers_every_query() {
    let Some(server) = Server::start(Kind::MariaDb) else { return };
    Workload::prepare(server.port);
    let reordering = Interlock::start(&server, &["--action", "reorder"]);
    let flagging = Interlock::start(&server, &["--action", "flag"]);
    let prometheus = Prometheus::start(&[reordering.admin_port, flagging.admin_port]);
    // What comes before the first scrape is no rate.
    wait_until("both are scraped", Duration::from_secs(60), || {
        !prometheus.query("count(up == 1) == 2 and count(interlock_would_hold_total) > 1").is_empty()
    });
    let keys = Arc::new(AtomicU64::new(1_000_000));
    // By turns: sessions of two interlocks would meet in the server, unseen by both.
    for interlock in [&flagging, &reordering] {
        let workload = Workload::start(interlock.port, 4, &keys);
        let mine = format!("{{instance=\"127.0.0.1:{}\"}}", interlock.admin_port);
        wait_until("conflicts have come", Duration::from_secs(60), || {
            let found = |query: String| prometheus.query(&query).iter().any(|(_, value)| *value > 0.0);
            found(format!("sum(interlock_conflicts_total{mine}) > 50"))
        });
        drop(workload);
    }
    let workload = Workload::start(reordering.port, 4, &keys);
    for event in EVENTS {
        wait_until(event, Duration::from_secs(60), || !prometheus.query(event).is_empty());
    }
    // A rate needs two scrapes of the series.
    wait_until("rates are there", Duration::from_secs(30), || {
        let rate = "sum(rate(interlock_table_conflicts_total[30s])) > 0 and sum(count_over_time(up[1m])) > 6";
        !prometheus.query(rate).is_empty()
    });
    every_panel(&prometheus);
    every_variable(&prometheus);
    every_rule(&prometheus);
    drop(workload);
    every_family(&reordering);
}

/// What Grafana puts in the place of its variables. Ranges reach back over the whole run.
fn filled_in(query: &str) -> String {
    query
        .replace("$__rate_interval", "2m")
        .replace("$__range", "5m")
        .replace("$job", "interlock")
        .replace("$instance", ".*")
        .replace("$schema", ".*")
        .replace("$table", ".*")
}

fn every_panel(prometheus: &Prometheus) {
    // What is rare has been scraped twice a little later.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut empty = empty_panels(prometheus);
    while !empty.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
        empty = empty_panels(prometheus);
    }
    assert!(empty.is_empty(), "{empty:#?}");
    for (name, title) in FILLED {
        let dashboard = dashboard(name);
        assert!(panels(&dashboard).iter().any(|panel| panel["title"] == title), "{name} has no {title}");
    }
}

/// Panels that show nothing, and why that is wrong.
fn empty_panels(prometheus: &Prometheus) -> Vec<String> {
    let mut empty = Vec::new();
    for name in NAMES {
        let dashboard = dashboard(name);
        for panel in panels(&dashboard) {
            let title = text(panel, "title");
            let mut most: f64 = 0.0;
            for query in expressions(panel) {
                let samples = prometheus.query(&filled_in(query));
                if samples.is_empty() && !MAY_BE_EMPTY.iter().any(|part| query.contains(part)) {
                    empty.push(format!("{name}, {title}: no data for {query}"));
                }
                most =
                    samples.iter().fold(most, |most, (_, value)| if *value > most { *value } else { most });
            }
            if FILLED.contains(&(name, title)) && most <= 0.0 {
                empty.push(format!("{name}, {title} shows nothing but zero"));
            }
        }
    }
    empty
}

/// `label_values(SELECTOR, LABEL)` must find something to choose from.
fn every_variable(prometheus: &Prometheus) {
    for name in NAMES {
        let dashboard = dashboard(name);
        for variable in dashboard["templating"]["list"].as_array().expect("variables are a list") {
            let Some(query) = variable["query"]["query"].as_str() else { continue };
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (selector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values");
            let samples = prometheus.query(&filled_in(selector));
            assert!(samples.iter().any(|(labels, _)| labels[label].is_string()), "{name}: {query}");
        }
    }
}

fn every_rule(prometheus: &Prometheus) {
    wait_until("rules are evaluated", Duration::from_secs(30), || {
        prometheus.rules().iter().all(|rule| rule["health"] != "unknown")
    });
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        if rule["type"] == "recording" {
            let name = text(&rule, "name");
            wait_until(name, Duration::from_secs(30), || !prometheus.query(name).is_empty());
        }
    }
}

/// No family that nobody documents, none documented that is not there, none shown that is not there.
fn every_family(interlock: &Interlock) {
    let (_, exposition) = interlock.get("/metrics").expect("the admin address answers");
    let lines = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    let readme = std::fs::read_to_string(root().join("dashboards/README.md")).expect("it is there");
    let table = readme.split("\n## ").find(|part| part.starts_with("Metrics")).expect("a chapter Metrics");
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    // A table of deadlocks comes with the first deadlock; this interlock may have averted all.
    let late = "interlock_table_deadlocks_total";
    let missing: Vec<_> = there.difference(&documented).collect();
    assert!(missing.is_empty(), "not in dashboards/README.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&there).filter(|name| **name != late).collect();
    assert!(gone.is_empty(), "in dashboards/README.md, but no metric: {gone:?}");
    let rules = std::fs::read_to_string(root().join("dashboards/prometheus/rules.yml")).expect("it is there");
    let shown: String = NAMES.map(|name| dashboard(name).to_string()).join(" ") + &rules;
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let unseen = line.contains("| none");
        for family in line.split(" | ").next().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2))
        {
            assert_eq!(shown.contains(family), !unseen, "{family}: the last column does not tell the truth");
        }
    }
}
