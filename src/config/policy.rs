//! What is done about a predicted conflict, and within which limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done about a predicted conflict.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// The strongest thing that interlock does.
    pub action: Action,
}

/// The strongest thing that interlock does about a predicted conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Report it and forward the statement.
    #[default]
    Flag,
    /// Hold the statement until the other transaction has ended.
    Reorder,
    /// Roll the transaction back and answer error 1213.
    Reject,
}

/// Who else reorders statements before the same server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordination {
    /// Nobody: all clients come through this process.
    #[default]
    Local,
    /// Other interlocks: they keep out of each other's gaps by named locks on the server.
    Server,
}

/// Limits of `action = "reorder"`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReorderConfig {
    /// Longest time that a statement is held; then it is forwarded.
    #[serde(with = "humantime_serde")]
    pub hold_timeout: Duration,
    /// Longest time that it is held where a deadlock is known to follow otherwise, if that is longer: one has
    /// happened in just this way, or its victim waits to be run again.
    #[serde(with = "humantime_serde")]
    pub deadlock_hold_timeout: Duration,
    /// Statements held behind one transaction; the next one is forwarded.
    pub max_queue: usize,
    /// Statements held at one time; the next one is forwarded.
    pub max_held: usize,
    /// Run a deadlock victim's transaction again instead of passing error 1213 on.
    pub retry: bool,
    /// Bytes of statements and answers up to which a transaction can be run again.
    pub retry_max_bytes: usize,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        ReorderConfig {
            hold_timeout: Duration::from_secs(3),
            deadlock_hold_timeout: Duration::from_secs(10),
            max_queue: 2000,
            max_held: 5000,
            retry: false,
            retry_max_bytes: 1024 * 1024,
        }
    }
}
