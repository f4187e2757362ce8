//! Control connections: how interlock itself asks the server, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ControlUrl, unset};

/// Control connections: how interlock itself asks the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Account and address of the control connections; `None`: there are none.
    #[serde(with = "unset")]
    pub url: Option<ControlUrl>,
    /// Most connections for each of the two uses, catalog and probes.
    pub pool_size: usize,
    /// How often known tables are loaded again.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
    /// A table definition that is younger than this is used without asking again.
    #[serde(with = "humantime_serde")]
    pub fresh: Duration,
    /// How long the first statement on an unknown table waits for its definition.
    #[serde(with = "humantime_serde")]
    pub first_use_timeout: Duration,
    /// How long a statement waits for a neighbour probe.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// Of each second, how long statements may be kept back in all to look things up before they are passed on.
    #[serde(with = "humantime_serde")]
    pub look_time: Duration,
    /// How long the answer of a probe is trusted as the border of a gap.
    #[serde(with = "humantime_serde")]
    pub fence_lifetime: Duration,
}

impl Default for ControlConfig {
    fn default() -> Self {
        ControlConfig {
            url: None,
            pool_size: 2,
            refresh: Duration::from_secs(60),
            fresh: Duration::from_secs(1),
            first_use_timeout: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(100),
            look_time: Duration::from_millis(100),
            fence_lifetime: Duration::from_secs(10),
        }
    }
}
