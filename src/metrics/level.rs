//! Levels: what is looked up at each scrape instead of being counted.

use prometheus::PullingGauge;

use super::{Metrics, MetricsError};

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

impl Metrics {
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
}
