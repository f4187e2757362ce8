//! What is kept: signatures, conflict records, series, log lines.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::unset;

/// What survives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Directory of the file of signatures; `None`: they end with the process.
    #[serde(with = "unset")]
    pub dir: Option<PathBuf>,
    /// A signature that was of no use for so long is dropped.
    #[serde(with = "humantime_serde")]
    pub signature_lifetime: Duration,
}

impl Default for StateConfig {
    fn default() -> Self {
        StateConfig { dir: None, signature_lifetime: Duration::from_secs(30 * 86_400) }
    }
}

/// Conflict records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConflictsConfig {
    /// Records kept in memory; the oldest goes first.
    pub keep: usize,
    /// Where every conflict is written as a line of JSON; `None`: nowhere.
    #[serde(with = "unset")]
    pub file: Option<PathBuf>,
    /// Bytes after which a new file is begun.
    pub file_max_bytes: u64,
    /// Old files that are kept.
    pub file_keep: usize,
}

impl Default for ConflictsConfig {
    fn default() -> Self {
        ConflictsConfig { keep: 1000, file: None, file_max_bytes: 64 << 20, file_keep: 4 }
    }
}

/// Metrics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Tables with series of their own; further ones are counted together as `other`.
    pub max_tables: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { max_tables: 100 }
    }
}

/// Logs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level, or levels per module: `info,interlock::scheduler=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text; coloured if standard error is a terminal.
    #[default]
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object per line.
    Json,
}
