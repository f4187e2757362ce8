//! The commands of the program.

pub mod check;
mod columns;
pub mod demo;
pub mod healthcheck;
pub mod explain;
pub mod hazards;
pub mod log;
pub mod run;
pub mod signatures;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Overrides;

/// What `--help` says after the list of commands.
const AFTER_HELP: &str = "\
Examples:
  interlock demo
      See a deadlock, and see it gone: starts a private server, needs no set-up
  interlock run --listen 127.0.0.1:6033 --upstream 127.0.0.1:3306
      Relay, and report what can be known without tables and indexes
  INTERLOCK__CONTROL__URL='mysql://interlock:secret@127.0.0.1:3306' interlock run --action reorder
      Know the tables, and hold statements back before they can deadlock
  interlock explain --control-url mysql://interlock:secret@127.0.0.1/shop 'DELETE FROM item WHERE code = 7'
      The locks that it would take, and who could wait for them
  interlock check --config interlock.toml
      Every fault of a configuration, or the configuration in force

Point the application at the listen address instead of the server; nothing else changes for it.";

/// What `run --help` says after the list of flags.
const AFTER_RUN_HELP: &str = "\
Configuration:
  Later wins: defaults, file, environment, flags. A key `frontend.max_connections` is
  INTERLOCK__FRONTEND__MAX_CONNECTIONS in the environment. Keep the password in the environment or in
  the file: a flag can be read by every user of the machine.

The account for control connections reads definitions and keys, and changes nothing:
  CREATE USER 'interlock'@'%' IDENTIFIED BY '…';
  GRANT SELECT, TRIGGER ON shop.* TO 'interlock'@'%';
  SELECT: tables, columns, indexes, and the neighbours of a key in an index.
  TRIGGER: which tables have triggers and, on MariaDB, what foreign keys do on delete and update.

Signals:
  SIGTERM, SIGINT   stop accepting, let open transactions end (shutdown.grace), then exit 0
  SIGHUP            read the configuration and the certificates again, or say why not
  SIGUSR2           start the program anew, hand it the listening sockets, then as SIGTERM

Exit status with --fail-on hazard:
  0 nothing new, 3 a deadlock may come that --baseline does not accept: the report is on standard output

Admin address: /metrics /healthz /readyz /api/status /api/conflicts?after=SEQ";

/// A MySQL and MariaDB proxy that sees lock conflicts and deadlocks before they happen.
#[derive(Parser, Debug)]
#[command(name = "interlock", version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Relay between clients and a server, and watch for lock conflicts.
    #[command(after_help = AFTER_RUN_HELP)]
    Run(RunArgs),
    /// Print every fault of a configuration and exit 1, or the configuration in force and exit 0.
    Check(check::Args),
    /// List, export, import or drop the deadlocks that interlock remembers.
    Signatures(signatures::Args),
    /// Ask a running interlock whether it serves: exit 0, or the reason and 1. For images without a shell.
    Healthcheck(healthcheck::Args),
    /// Show which locks a statement would take, or who of several sessions would wait for whom.
    Explain(explain::Args),
    /// Run the get-or-create deadlock three times: direct, flagged, reordered.
    Demo(demo::Args),
}

/// What `run` is told.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What makes the run fail, and when it ends.
    #[command(flatten)]
    pub gate: hazards::Args,
}

/// Where the configuration comes from. Every flag is a key of the file.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Configuration file (TOML); config/interlock.toml shows every key.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients connect: host:port or unix:/path [default: 127.0.0.1:6033].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// The server: host:port or unix:/path [default: 127.0.0.1:3306].
    #[arg(long, value_name = "ADDR")]
    pub upstream: Option<String>,
    /// Metrics, health and JSON API over HTTP: host:port [default: 127.0.0.1:6034].
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// Account of the control connections: mysql://user:password@host:port [default: none].
    #[arg(long, value_name = "URL")]
    pub control_url: Option<String>,
    /// What is done about a predicted conflict: flag, reorder or reject [default: flag].
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
}

/// Reads the arguments of the process and runs one command.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Signatures(args) => signatures::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args),
    }
}

// === impl ConfigArgs ===

impl ConfigArgs {
    /// The layer that the command line lays over file and environment.
    pub fn overrides(&self) -> Overrides {
        let flags = [
            ("--listen", "frontend.listen", &self.listen),
            ("--upstream", "upstream.address", &self.upstream),
            ("--admin-listen", "admin.listen", &self.admin_listen),
            ("--control-url", "control.url", &self.control_url),
            ("--action", "policy.action", &self.action),
        ];
        let given = |(flag, key, text): (_, _, &Option<String>)| Some((flag, key, text.clone()?));
        Overrides { file: self.config.clone(), flags: flags.into_iter().filter_map(given).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_overrides() {
        let cli = Cli::parse_from(["interlock", "run", "--listen", "h:1", "--action", "reject"]);
        let Command::Run(args) = cli.command else { panic!("run was asked for") };
        let flags = args.config.overrides().flags;
        assert_eq!(
            flags,
            [
                ("--listen", "frontend.listen", "h:1".to_owned()),
                ("--action", "policy.action", "reject".to_owned())
            ]
        );
    }
}
