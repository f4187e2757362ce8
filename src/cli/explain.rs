//! `interlock explain`: which locks would this statement take, and who would wait for whom?
//!
//! The statements are put to the same analysis, lock table and scheduler as those of a client, in `flag`
//! mode, and are never sent. What a client's answer would have told (was the key there?) is looked up on the
//! control connection, by reads that take no lock. So what it shows is what the proxy itself would think.

mod answer;
mod rehearsal;
mod report;
mod script;
mod shown;
mod why;
mod words;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::ConfigArgs;
use crate::app::{self, AppError};
use crate::backend::control::ControlError;
use crate::config::{self, Faults};
use crate::session::serve::Knowledge;
use crate::shutdown::Drain;
use crate::sql::lexer::Reading;
use rehearsal::{Rehearsal, RehearsalError};

/// What `explain --help` says after the list of flags.
const AFTER_HELP: &str = "\
Examples:
  interlock explain --control-url mysql://interlock:secret@db/shop \"UPDATE item SET n = 1 WHERE code = 7\"
  interlock explain --control-url mysql://interlock:secret@db --schema shop migration.sql
  interlock explain --isolation 'READ COMMITTED' - < two-sessions.sql

Several sessions, in the order in which their statements come, show who waits for whom:
  -- session A
  BEGIN; SELECT * FROM tank WHERE code = 150 FOR UPDATE;
  -- session B
  BEGIN; SELECT * FROM tank WHERE code = 180 FOR UPDATE; INSERT INTO tank (code) VALUES (180);
  -- session A
  INSERT INTO tank (code) VALUES (150);

Nothing is executed. Keys are looked up as they are in the tables now.
Exit code: 0 explained, 1 could not.";

/// How long each look at the server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for looks each second: there is no other work.
const UNBOUNDED: Duration = Duration::from_secs(1000);

/// Arguments of `explain`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A statement; or a file with statements; or - for standard input.
    #[arg(value_name = "SQL|FILE|-")]
    input: String,
    /// Account that can read the tables: mysql://user:password@host:port[/schema].
    #[arg(long, value_name = "URL")]
    control_url: Option<String>,
    /// Default schema [default: that of the URL].
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Isolation level of every session [default: the server's].
    #[arg(long, value_name = "LEVEL")]
    isolation: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Configuration file, for control.url and upstream.tls.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why nothing could be explained.
#[derive(thiserror::Error, Debug)]
enum ExplainError {
    #[error(transparent)]
    Config(#[from] Faults),
    #[error("no --control-url (or control.url): the tables cannot be looked at")]
    NoUrl,
    #[error("cannot connect: {0}")]
    Connect(ControlError),
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("there is no statement in the input")]
    Empty,
    #[error("isolation level {0:?}: READ UNCOMMITTED, READ COMMITTED, REPEATABLE READ or SERIALIZABLE")]
    Isolation(String),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
}

/// Explains, and prints.
pub fn run(args: &Args) -> ExitCode {
    match explain(args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("interlock explain: {error}");
            ExitCode::FAILURE
        }
    }
}

fn explain(args: &Args) -> Result<String, ExplainError> {
    let text = input(&args.input)?;
    let isolation = args.isolation.as_deref().map(level).transpose()?;
    let flags = ConfigArgs {
        config: args.config.clone(),
        control_url: args.control_url.clone(),
        action: Some("flag".to_owned()),
        ..ConfigArgs::default()
    };
    let mut config = config::load(&flags.overrides(), std::env::vars())?;
    // The reader asks about his own statement: its literals are no secret to him.
    config.redact = false;
    // Nobody's statement is kept back here: what is looked up may take its time.
    config.control.probe_timeout = PATIENCE;
    config.control.look_time = UNBOUNDED;
    config.control.first_use_timeout = PATIENCE;
    let url = config.control.url.as_ref().ok_or(ExplainError::NoUrl)?;
    let schema = args.schema.clone().or_else(|| schema_of(url.expose()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(ExplainError::Runtime)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let drain = Drain::new();
        let shared = Arc::new(app::shared(&config, &drain)?);
        let Some(Knowledge { control, .. }) = &shared.knowledge else { return Err(ExplainError::NoUrl) };
        let facts = control.facts().await.map_err(ExplainError::Connect)?;
        let mut rehearsal = Rehearsal::new(shared.clone(), facts.clone(), schema, isolation);
        let lines = script::read(&text, Reading { mariadb: rehearsal.is_mariadb(), ..Reading::default() });
        if lines.is_empty() {
            return Err(ExplainError::Empty);
        }
        let played = rehearsal.play(lines).await?;
        Ok(if args.json { report::json(&played) } else { report::text(&played) })
    })
}

/// The statements: of a file if there is one of that name, else the argument itself.
fn input(argument: &str) -> Result<String, ExplainError> {
    let failed = |source| ExplainError::Read { path: argument.to_owned(), source };
    if argument == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    // A statement has spaces in it; what has none can only be the name of a file.
    if PathBuf::from(argument).is_file() || !argument.trim().contains(char::is_whitespace) {
        return std::fs::read_to_string(argument).map_err(failed);
    }
    Ok(argument.to_owned())
}

/// An isolation level as SQL writes it, however it was written.
fn level(text: &str) -> Result<&'static str, ExplainError> {
    let plain = text.to_ascii_uppercase().replace(['-', '_'], " ");
    let known = ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
    known
        .into_iter()
        .find(|level| *level == plain.trim())
        .ok_or_else(|| ExplainError::Isolation(text.to_owned()))
}

/// The schema of `mysql://user@host/schema`.
fn schema_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let schema = path.split('?').next().unwrap_or_default();
    (!schema.is_empty()).then(|| schema.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_url() {
        assert_eq!(schema_of("mysql://u:p@h:1/shop"), Some("shop".to_owned()));
        assert_eq!(schema_of("mysql://u@h/shop?socket=/x"), Some("shop".to_owned()));
        assert_eq!(schema_of("mysql://u@h:1"), None);
        assert_eq!(schema_of("mysql://u@h/?socket=/x"), None);
    }

    #[test]
    fn levels_as_people_write_them() {
        assert!(matches!(level("read-committed"), Ok("READ COMMITTED")));
        assert!(matches!(level("REPEATABLE_READ"), Ok("REPEATABLE READ")));
        assert!(level("snapshot").is_err());
    }

    #[test]
    fn a_word_alone_is_a_file() {
        assert!(matches!(input("no-such-file.sql"), Err(ExplainError::Read { .. })));
        assert!(matches!(input("DELETE FROM t"), Ok(sql) if sql == "DELETE FROM t"));
    }
}
