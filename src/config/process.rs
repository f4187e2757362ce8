//! The process: its end, changes while it runs, limits of its memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long open transactions may go on after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        ShutdownConfig { grace: Duration::from_secs(30) }
    }
}

/// Changes while the process runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadConfig {
    /// How often the files are looked at for a change; zero: only when asked to.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
}

/// Limits of memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Prepared statements of one session that are analysed; further ones are relayed and counted.
    pub prepared_statements: usize,
    /// Statement plans in the digest cache.
    pub plans: usize,
    /// Statements of one transaction that a report can show; the oldest go first.
    pub history: usize,
    /// Savepoints of one transaction that are followed; with more, the oldest is forgotten.
    pub savepoints: usize,
    /// Locks of all sessions together in the lock table; further ones are not followed.
    pub locks: usize,
    /// Locks of one transaction in the lock table; with more it becomes uncertain.
    pub locks_per_transaction: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            prepared_statements: 16_382,
            plans: 10_000,
            history: 200,
            savepoints: 64,
            locks: 250_000,
            locks_per_transaction: 10_000,
        }
    }
}
