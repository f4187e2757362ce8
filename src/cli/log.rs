//! Logs go to standard error: text for people, JSON for collectors.
//!
//! A thread of their own writes them. Whoever reads the other end of that pipe may stall, and then nobody may wait
//! for it: what does not fit into the queue is dropped, and counted.

use std::backtrace::Backtrace;
use std::io::{IsTerminal, stderr};
use std::panic;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::app::reload::SetLevel;
use crate::config::{LogConfig, LogFormat};

/// Lines that may wait for the reader of standard error: a few MiB.
const QUEUED_LINES: usize = 4096;

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

/// The process's log.
pub struct Log {
    /// Changes the level.
    pub set_level: SetLevel,
    /// Lines that were dropped so far.
    pub lost_lines: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Dropped, it writes what is still queued, and waits a second at most for the reader.
    pub writer: WorkerGuard,
}

/// Installs the process's subscriber, and has panics written there; to be called once.
pub fn install(config: &LogConfig) -> Result<Log, LogError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let queue =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUED_LINES).lossy(true).thread_name("log");
    let (lines, writer) = queue.finish(stderr());
    let lost = lines.error_counter();
    let lines = fmt().with_env_filter(filter).with_writer(lines);
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
    let set_level: SetLevel = match config.format {
        LogFormat::Json => install!(lines.json().flatten_event(true)),
        LogFormat::Text => install!(lines.with_ansi(false)),
        LogFormat::Auto => install!(lines.with_ansi(stderr().is_terminal())),
    };
    // The hook that Rust installs would wait for the reader, in the format of nobody.
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        tracing::error!(%panic, %backtrace, "a defect in interlock has ended a task");
    }));
    Ok(Log { set_level, lost_lines: Box::new(move || lost.dropped_lines() as u64), writer })
}
