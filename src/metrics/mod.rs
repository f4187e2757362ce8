//! Prometheus families: who is counted, and why.
//!
//! Handles are fields, resolved once; counting is one atomic addition. Labels are closed sets
//! ([`labels`]); nothing that a user wrote, and no SQL, ever is one.

pub mod counters;
pub mod label;
pub mod labels;
pub mod exposition;
pub mod tables;
mod families;
mod level;
mod lost;
mod outcomes;
mod process;
mod sample;

use std::time::Instant;

use prometheus::{Histogram, IntGauge, Registry};

use crate::lock::mode::Certainty;
use crate::scheduler::conflict::{ConflictKind, HoldEnd, Taken};
use counters::Counters;
use exposition::Exposition;
use labels::{
    CatalogLoad, CommandKind, ConnectionEnd, Coordination, Direction, Errno, Explain, FailOpen, Predicted,
    Prediction, Probe, RecordFate, Reloaded, Restarted, StatementKind, TimeSpent,
};
pub use level::Level;
pub use outcomes::Outcomes;
use tables::Tables;

/// All families. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sessions that are logged in now.
    pub sessions: IntGauge,
    /// Statements held now.
    pub held: IntGauge,
    /// Client connections by their end.
    pub connections: Counters<ConnectionEnd>,
    /// Commands of clients.
    pub commands: Counters<CommandKind>,
    /// Statements that were read.
    pub statements: Counters<StatementKind>,
    /// Bytes relayed.
    pub bytes: Counters<Direction>,
    /// Error packets that went to clients.
    pub errors: Counters<Errno>,
    /// Conflicts found before they happened.
    pub conflicts: Counters<(ConflictKind, Taken, Certainty)>,
    /// Conflicts whose outcome is known.
    pub predictions: Counters<(ConflictKind, Prediction)>,
    /// Deadlock errors of the server.
    pub server_deadlocks: Counters<Predicted>,
    /// Statements that `reorder` would have held.
    pub would_hold: Counters<ConflictKind>,
    /// From the end of what stood in the way to the forwarding of what was held.
    pub handover_seconds: Histogram,
    /// For how long they would have been held.
    pub would_hold_seconds: Histogram,
    /// Figures by table.
    pub tables: Tables,
    /// How long decisions on statements with conflicts took.
    pub decision_seconds: Histogram,
    /// Conflict records.
    pub records: Counters<RecordFate>,
    /// Hazards that never collided.
    pub hazards: Counters<()>,
    /// Holds that ended.
    pub holds: Counters<(ConflictKind, HoldEnd)>,
    /// How long statements were held.
    pub hold_seconds: Histogram,
    /// Constellations of a deadlock of the past that were about to form again.
    pub signature_matches: Counters<Taken>,
    /// Statements parsed because their digest was not known.
    pub parses: Counters<()>,
    /// Statements that went on without the model's advice.
    pub fail_open: Counters<FailOpen>,
    /// Loads of table definitions.
    pub catalog_loads: Counters<CatalogLoad>,
    /// How long they took.
    pub catalog_seconds: Histogram,
    /// Neighbour probes.
    pub probes: Counters<Probe>,
    /// Questions for access paths (EXPLAIN).
    pub explains: Counters<Explain>,
    /// How long statements waited for probes.
    pub probe_seconds: Histogram,
    /// Configurations read again.
    pub config_reloads: Counters<Reloaded>,
    /// Keys whose new value waits for a restart.
    pub config_pending: IntGauge,
    /// Names of gaps that were wanted on the server, with `coordination = "server"`.
    pub coordination: Counters<Coordination>,
    /// How long statements waited for them.
    pub coordination_seconds: Histogram,
    /// Deadlocks with `reorder.retry`, by what came of running the victim again.
    pub restarts: Counters<Restarted>,
    /// How long that took.
    pub restart_seconds: Histogram,
    /// Where the time of statements went, in nanoseconds; shown in seconds.
    pub time: Counters<TimeSpent>,
}

/// Limits of the families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Tables with series of their own; the rest are counted together.
    pub max_tables: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_tables: 100 }
    }
}

/// A family could not be registered: two of the same name in one registry.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Builds all families and registers them.
    pub fn new(registry: &Registry) -> Result<Metrics, MetricsError> {
        Metrics::with(registry, Settings::default())
    }

    /// The text for a scrape.
    pub fn render(&self, form: Exposition) -> String {
        form.write(&self.registry.gather())
    }

    /// Times the analysis of a command or an answer, until it is dropped; only one of many really is timed.
    pub fn analysis(&self) -> Option<Timing> {
        Some(Timing { since: sample::turn()?, time: self.time.clone() })
    }
}

/// A timing of [`Metrics::analysis`].
#[derive(Debug)]
pub struct Timing {
    since: Instant,
    time: Counters<TimeSpent>,
}

impl Drop for Timing {
    fn drop(&mut self) {
        self.time.add(TimeSpent::Analysis, sample::weighted(self.since.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_there_from_the_start() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        metrics.watch(Level::Locks, || 7.0).unwrap();
        metrics.conflicts.inc((ConflictKind::Hazard, Taken::Held, Certainty::Likely));
        metrics.errors.inc(Errno::of(1213));
        metrics.time.add(TimeSpent::Server, 1_500_000_000);
        metrics.parses.inc(());
        let text = metrics.render(Exposition::Text);
        for line in [
            "interlock_build_info{version=\"0.1.0\"} 1",
            "interlock_locks 7",
            "interlock_conflicts_total{kind=\"hazard\",action=\"held\",certainty=\"likely\"} 1",
            "interlock_conflicts_total{kind=\"wait\",action=\"flagged\",certainty=\"certain\"} 0",
            "interlock_errors_total{errno=\"1213\"} 1",
            "interlock_errors_total{errno=\"other\"} 0",
            "interlock_statement_seconds_total{where=\"server\"} 1.5",
            "interlock_parses_total 1",
            "interlock_holds_total{kind=\"wait\",end=\"deadline\"} 0",
            "interlock_sessions_open 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn both_forms_tell_the_same() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        metrics.hold_seconds.observe(1.5);
        let text = metrics.render(Exposition::OpenMetrics);
        for line in [
            "# TYPE interlock_conflicts counter",
            "interlock_conflicts_total{kind=\"wait\",action=\"flagged\",certainty=\"certain\"} 0",
            "interlock_hold_seconds_bucket{le=\"2.0\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn every_help_is_a_sentence() {
        let text = Metrics::new(&Registry::new()).unwrap().render(Exposition::Text);
        for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
            assert!(line.ends_with('.') && line.split(' ').count() > 6, "{line}");
        }
    }

    #[test]
    fn two_proxies_need_two_registries() {
        let registry = Registry::new();
        assert!(Metrics::new(&registry).is_ok());
        assert!(Metrics::new(&registry).is_err());
    }
}
