//! `interlock run`: the proxy itself.

use std::process::ExitCode;

use super::{ConfigArgs, log};
use crate::{app, config};

/// Runs until a signal ends it. Exits 0 after an orderly shutdown, 1 if it could not start.
pub fn run(args: &ConfigArgs) -> ExitCode {
    let config = match config::load(&args.overrides(), std::env::vars()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = log::install(&config.log) {
        eprintln!("interlock: logging cannot be set up: {error}");
        return ExitCode::FAILURE;
    }
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
    match runtime.block_on(app::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "interlock cannot run");
            ExitCode::FAILURE
        }
    }
}
