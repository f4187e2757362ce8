//! Logs go to standard error: text for people, JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

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

/// Installs the process's subscriber; to be called once.
pub fn install(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
        LogFormat::Text => lines.with_ansi(false).finish().try_init()?,
        LogFormat::Auto => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
    }
    Ok(())
}
