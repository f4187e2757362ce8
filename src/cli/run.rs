//! `interlock run`: the proxy itself.

use std::process::ExitCode;

use super::RunArgs;
use super::log::{self, Log};
use crate::app;
use crate::app::Start;
use crate::app::reload::Source;
use crate::app::sockets::Sockets;

/// Runs until a signal ends it. Exits 0 after an orderly shutdown, 1 if it could not start, 3 if it has found what
/// `--fail-on` names.
pub fn run(args: &RunArgs) -> ExitCode {
    // First of all: the environment can only be changed while there is one thread.
    let sockets = match Sockets::from_environment() {
        Ok(sockets) => sockets,
        Err(error) => {
            eprintln!("interlock: inherited sockets (LISTEN_FDS): {error}");
            return ExitCode::FAILURE;
        }
    };
    let known = match args.gate.known() {
        Ok(known) => known,
        Err(error) => {
            eprintln!("interlock: {error}");
            return ExitCode::FAILURE;
        }
    };
    let source = Source { overrides: args.config.overrides(), environment: std::env::vars().collect() };
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    let config = &loaded.config;
    let log = match log::install(&config.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("interlock: logging cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.frontend.workers > 0 {
        builder.worker_threads(config.frontend.workers);
    }
    let runtime = match builder.enable_all().thread_name("interlock").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("interlock: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let exit_after_idle = args.gate.exit_after_idle;
    let Log { set_level, lost_lines, writer: _writes_the_rest } = log;
    let start = Start { loaded, source, set_level, lost_lines, sockets, exit_after_idle };
    match runtime.block_on(app::run(start)) {
        Ok(hazards) => args.gate.conclude(known, &hazards).unwrap_or_else(|error| {
            eprintln!("interlock: {error}");
            ExitCode::FAILURE
        }),
        Err(error) => {
            tracing::error!(%error, "interlock cannot run");
            ExitCode::FAILURE
        }
    }
}
