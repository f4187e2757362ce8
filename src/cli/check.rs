//! `interlock check`: is the configuration good, and what is in force?

use std::process::ExitCode;

use super::ConfigArgs;
use crate::config;

/// Prints every fault to standard error and exits 1, or the effective configuration to standard output.
pub fn run(args: &ConfigArgs) -> ExitCode {
    match config::load(&args.overrides(), std::env::vars()) {
        Ok(config) => {
            print!("{}", config.effective());
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::FAILURE
        }
    }
}
