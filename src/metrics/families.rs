//! Every family with its name and the help text that says who is counted and why.

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};

use super::counters::{Counters, Rate};
use super::label::Labels;
use super::tables::Tables;
use super::{Metrics, MetricsError, Settings, process};

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
                 stood in their way had ended, at most to the deadline of a hold.",
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
                "Deadlocks of sessions whose transactions are run again (reorder.retry), by what came of it; all \
                 but done end with error 1213 for the client.",
                Rate::Rare,
            )?,
            restart_seconds: family.histogram(
                "interlock_restart_seconds",
                "From a deadlock error that its client did not get to the answer that it got instead: what running \
                 the transaction again costs.",
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
