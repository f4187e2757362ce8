//! Logs go to standard error: text for people, JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::app::reload::SetLevel;
use crate::config::{LogConfig, LogFormat};

/// Why logs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` does not parse; the configuration's check finds this first.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// Somebody in this process has installed a subscriber before.
    #[error(transparent)]
    Installed(#[from] TryInitError),
}

/// Installs the process's subscriber; to be called once. What it returns changes the level later.
pub fn install(config: &LogConfig) -> Result<SetLevel, LogError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A filter that can be replaced costs one atomic load for each line that might be written.
    macro_rules! install {
        ($lines:expr) => {{
            let lines = $lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Box::new(move |level: &str| {
                let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
                handle.reload(filter).map_err(|error| error.to_string())
            })
        }};
    }
    Ok(match config.format {
        LogFormat::Json => install!(lines.json().flatten_event(true)),
        LogFormat::Text => install!(lines.with_ansi(false)),
        LogFormat::Auto => install!(lines.with_ansi(std::io::stderr().is_terminal())),
    })
}
