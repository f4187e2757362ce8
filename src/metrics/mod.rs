//! Prometheus families: who is counted, and why.
//!
//! Handles are fields, resolved once; counting is one atomic addition. Labels are closed sets
//! ([`labels`]); nothing that a user wrote, and no SQL, ever is one.

pub mod counters;
pub mod label;
pub mod labels;
pub mod exposition;
pub mod tables;
mod process;
mod sample;

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntGauge, PullingGauge, Registry};

use crate::lock::mode::Certainty;
use crate::scheduler::conflict::{ConflictKind, HoldEnd, Taken};
use counters::{Counters, Rate};
use exposition::Exposition;
use label::{Label, Labels};
use labels::{
    CatalogLoad, CommandKind, ConnectionEnd, Coordination, Direction, Errno, Explain, FailOpen, Predicted,
    Prediction, Probe, RecordFate, Reloaded, Restarted, StatementKind, TimeSpent,
};
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

/// What is looked up at each scrape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Locks in the lock table.
    Locks,
    /// Transactions that are followed.
    Transactions,
    /// Age of the oldest of them, seconds.
    OldestTransaction,
    /// Edges in the wait-for graph.
    WaitEdges,
    /// Names in the catalog.
    CatalogTables,
    /// Signatures of deadlocks.
    Signatures,
    /// `frontend.max_connections`
    SessionLimit,
    /// `reorder.max_held`
    HeldLimit,
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

const SECOND: f64 = 1e-9;
const HANDOVER_BUCKETS: &[f64] = &[
    0.000_01, 0.000_02, 0.000_03, 0.000_05, 0.000_07, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002_5, 0.005, 0.01,
    0.1,
];
const HOLD_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];
const DECISION_BUCKETS: &[f64] =
    &[0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.001, 0.01, 0.1];
const ASK_BUCKETS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

impl Metrics {
    /// Builds all families and registers them.
    pub fn new(registry: &Registry) -> Result<Metrics, MetricsError> {
        Metrics::with(registry, Settings::default())
    }

    /// Builds all families with limits of the caller's.
    pub fn with(registry: &Registry, settings: Settings) -> Result<Metrics, MetricsError> {
        let tables = Tables::new(settings.max_tables)?;
        registry.register(tables.collector())?;
        registry.register(build_info()?)?;
        registry.register(Box::new(process::Process::new()?))?;
        let family = Families(registry);
        Ok(Metrics {
            registry: registry.clone(),
            sessions: family.gauge(
                "interlock_sessions_open",
                "Sessions that are logged in now: clients with a server connection of their own.",
            )?,
            held: family.gauge(
                "interlock_held_statements",
                "Statements that interlock holds back now, so that the transaction before them can end.",
            )?,
            connections: family.counters(
                "interlock_connections_total",
                "Client connections that ended, by who or what ended them; the ends before a login show why \
                 clients cannot get in.",
                Rate::Rare,
            )?,
            commands: family.counters(
                "interlock_commands_total",
                "Commands that clients sent, by protocol command: the load.",
                Rate::Hot,
            )?,
            statements: family.counters(
                "interlock_statements_total",
                "Statements by what the analysis read them as, executions of prepared ones included; opaque \
                 ones were relayed without being understood.",
                Rate::Hot,
            )?,
            bytes: family.counters(
                "interlock_relayed_bytes_total",
                "Bytes relayed between clients and server after the login.",
                Rate::Hot,
            )?,
            errors: family.counters(
                "interlock_errors_total",
                "Error packets that went to clients, from the server or from interlock, by MySQL error number; \
                 numbers that tell nothing of logins, locks, keys or connections are other.",
                Rate::Rare,
            )?,
            conflicts: family.counters(
                "interlock_conflicts_total",
                "Conflicts found before their statement reached the server, by kind, by what was done and by \
                 how sure the model was.",
                Rate::Rare,
            )?,
            predictions: family.counters(
                "interlock_predictions_total",
                "Conflicts whose outcome is known, and waits and deadlocks that the server reported without a \
                 prediction (miss): how far the model can be trusted.",
                Rate::Rare,
            )?,
            server_deadlocks: family.counters(
                "interlock_server_deadlocks_total",
                "Deadlock errors (1213) that the server sent, by whether interlock had predicted them: what \
                 is left, and what the model missed.",
                Rate::Rare,
            )?,
            would_hold: family.counters(
                "interlock_would_hold_total",
                "Statements that were passed on and that action = reorder would have held, by the kind of \
                 their conflict: what turning it on would do.",
                Rate::Rare,
            )?,
            handover_seconds: family.histogram(
                "interlock_handover_seconds",
                "From the moment when what stood in a held statement's way ended (a COMMIT passes on its way to \
                 the server) to the statement's own way on: what a hand-over adds to the server's time.",
                HANDOVER_BUCKETS,
            )?,
            would_hold_seconds: family.histogram(
                "interlock_would_hold_seconds",
                "How long action = reorder would have held the statements that it would have held: until what \
                 stood in their way had ended, at most reorder.hold_timeout.",
                HOLD_BUCKETS,
            )?,
            tables,
            decision_seconds: family.histogram(
                "interlock_cycle_search_seconds",
                "How long the decision on a statement with conflicts took, the search for cycles in the \
                 wait-for graph included; statements without conflict need none.",
                DECISION_BUCKETS,
            )?,
            records: family.counters(
                "interlock_conflict_records_total",
                "Conflict records by where they went: kept in memory, pushed out of it by newer ones, written \
                 to conflicts.file, or lost because it could not be written.",
                Rate::Rare,
            )?,
            hazards: family.counters(
                "interlock_lock_order_hazards_total",
                "Cycles found in the order in which transactions lock: deadlocks that may come although they \
                 never did; each is counted once.",
                Rate::Rare,
            )?,
            holds: family.counters(
                "interlock_holds_total",
                "Statements that were held and went on, by the conflict that they were held for and by why \
                 the hold ended; deadline means that holding did not help.",
                Rate::Rare,
            )?,
            hold_seconds: family.histogram(
                "interlock_hold_seconds",
                "How long statements were held: what waiting in interlock costs their clients.",
                HOLD_BUCKETS,
            )?,
            signature_matches: family.counters(
                "interlock_signature_matches_total",
                "Statements that would have completed the constellation of a deadlock that has happened \
                 before, by what was done.",
                Rate::Rare,
            )?,
            parses: family.counters(
                "interlock_parses_total",
                "Statements that had to be parsed because their digest was not known; it should stand still \
                 after warm-up.",
                Rate::Hot,
            )?,
            fail_open: family.counters(
                "interlock_fail_open_total",
                "Statements that were forwarded without the model's full advice, by what it lacked.",
                Rate::Rare,
            )?,
            catalog_loads: family.counters(
                "interlock_catalog_loads_total",
                "Loads of table definitions over control connections, by result.",
                Rate::Rare,
            )?,
            catalog_seconds: family.histogram(
                "interlock_catalog_load_seconds",
                "How long loads of table definitions took; a table's first statement waits for its load.",
                ASK_BUCKETS,
            )?,
            probes: family.counters(
                "interlock_probes_total",
                "Questions for the neighbours of a key over control connections, by result; without an answer \
                 interlock does not know whether two keys share a gap.",
                Rate::Rare,
            )?,
            explains: family.counters(
                "interlock_explains_total",
                "Questions for the access path of a digest over control connections, by result; without an \
                 answer interlock guesses which index a search uses.",
                Rate::Rare,
            )?,
            probe_seconds: family.histogram(
                "interlock_probe_seconds",
                "How long statements waited for the neighbours of a key.",
                ASK_BUCKETS,
            )?,
            config_reloads: family.counters(
                "interlock_config_reloads_total",
                "Times that the configuration was read again while running, by result; refused means that it \
                 is faulty and the old one is still in force.",
                Rate::Rare,
            )?,
            config_pending: family.gauge(
                "interlock_config_pending_keys",
                "Keys of the configuration whose new value was read but needs a restart to come into force.",
            )?,
            coordination: family.counters(
                "interlock_coordination_total",
                "Names of gaps that statements wanted on the server before they went on (coordination = \"server\"), by \
                 what came of it; deadlocked counts deadlocks in spite of a name.",
                Rate::Rare,
            )?,
            coordination_seconds: family.histogram(
                "interlock_coordination_seconds",
                "How long statements waited for the name of their gap, the round trip to the server included.",
                ASK_BUCKETS,
            )?,
            restarts: family.counters(
                "interlock_restarts_total",
                "Deadlocks of sessions whose transactions are run again (reorder.retry), by what came of it; all                  but done end with error 1213 for the client.",
                Rate::Rare,
            )?,
            restart_seconds: family.histogram(
                "interlock_restart_seconds",
                "From a deadlock error that its client did not get to the answer that it got instead: what running                  the transaction again costs.",
                HOLD_BUCKETS,
            )?,
            time: family.counters_in(
                "interlock_statement_seconds_total",
                "Where the time of statements went, seconds summed over all sessions: the server, interlock's \
                 own analysis (estimated: one of 16 is timed), or being held.",
                Rate::Hot,
                SECOND,
            )?,
        })
    }

    /// Has a level looked up at each scrape. To be called once for each level.
    pub fn watch(
        &self,
        level: Level,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let (name, help) = level.describe();
        let gauge = PullingGauge::new(name, help, Box::new(value))?;
        Ok(self.registry.register(Box::new(gauge))?)
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

impl Level {
    /// Name and help text of the gauge.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Level::Locks => (
                "interlock_locks",
                "Locks of open transactions in interlock's lock table: the size of the model.",
            ),
            Level::Transactions => (
                "interlock_transactions",
                "Open transactions that interlock follows; one that stays open holds its locks.",
            ),
            Level::OldestTransaction => (
                "interlock_oldest_transaction_seconds",
                "Age of the oldest open transaction that has asked for locks, 0 if there is none: who waits \
                 for it waits that long.",
            ),
            Level::WaitEdges => (
                "interlock_wait_edges",
                "Edges of the wait-for graph: who waits for whom, in the server or held by interlock.",
            ),
            Level::Signatures => (
                "interlock_signatures",
                "Deadlocks of the past whose signature is kept, so that they do not happen again.",
            ),
            Level::CatalogTables => {
                ("interlock_catalog_tables", "Table names in the catalog, those that do not exist included.")
            }
            Level::SessionLimit => (
                "interlock_sessions_limit",
                "Sessions that frontend.max_connections allows; the next client gets error 1040.",
            ),
            Level::HeldLimit => (
                "interlock_held_statements_limit",
                "Statements that reorder.max_held allows to be held; the next one is forwarded.",
            ),
        }
    }
}

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
        }
    }
}

fn build_info() -> Result<Box<dyn Collector>, prometheus::Error> {
    let opts = prometheus::opts!(
        "interlock_build_info",
        "Always 1; the label says which version of interlock runs.",
        prometheus::labels! {"version" => env!("CARGO_PKG_VERSION")}
    );
    let gauge = IntGauge::with_opts(opts)?;
    gauge.set(1);
    Ok(Box::new(gauge))
}

/// Builds families and registers them.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn counters<L: Labels>(
        &self,
        name: &'static str,
        help: &'static str,
        rate: Rate,
    ) -> Result<Counters<L>, prometheus::Error> {
        self.counters_in(name, help, rate, 1.0)
    }

    fn counters_in<L: Labels>(
        &self,
        name: &'static str,
        help: &'static str,
        rate: Rate,
        unit: f64,
    ) -> Result<Counters<L>, prometheus::Error> {
        let counters = Counters::new(name, help, rate, unit)?;
        self.0.register(counters.collector())?;
        Ok(counters)
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
