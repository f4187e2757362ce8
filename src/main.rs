//! The program: reads its arguments and runs one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    interlock::cli::main()
}
