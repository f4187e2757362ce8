//! `interlock signatures`: the deadlocks that interlock remembers, in the file of `state.dir`.
//!
//! A running proxy takes over what is changed here within seconds.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use crate::admission::state::{self, FILE, StateError};
use crate::scheduler::signature::Signature;

/// Arguments of the command.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The directory that the proxy has as state.dir.
    #[arg(long, value_name = "DIR", global = true, default_value = ".")]
    state_dir: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One line for each signature, and its parties' statements.
    List,
    /// Write all, or those that are named, as JSON to standard output.
    Export {
        /// Names, as `list` shows them.
        ids: Vec<String>,
    },
    /// Add the signatures of a JSON file (- is standard input); those that are there stay as they are.
    Import {
        /// What `export` has written.
        file: PathBuf,
    },
    /// Drop those that are named.
    Drop {
        /// Names, as `list` shows them; `all` drops every one.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no signature {0}")]
    Unknown(String),
}

/// Runs the command; faults go to standard error with exit code 1.
pub fn run(args: &Args) -> ExitCode {
    match carry_out(args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("interlock signatures: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let path = args.state_dir.join(FILE);
    let mut all = state::read(&path)?;
    match &args.command {
        Command::List => {
            for signature in &all {
                list(signature, out)?;
            }
        }
        Command::Export { ids } => {
            known(&all, ids)?;
            all.retain(|signature| ids.is_empty() || ids.contains(&signature.id.to_string()));
            out.write_all(state::text(all).as_bytes())?;
        }
        Command::Import { file } => {
            let before = all.len();
            for signature in state::parse(&read(file)?, file)? {
                if all.iter().all(|known| known.id != signature.id) {
                    all.push(signature);
                }
            }
            writeln!(out, "{} added", all.len() - before)?;
            state::write(&path, all)?;
        }
        Command::Drop { ids } => {
            let before = all.len();
            let every = ids.iter().any(|id| id == "all");
            if !every {
                known(&all, ids)?;
            }
            all.retain(|signature| !every && !ids.contains(&signature.id.to_string()));
            writeln!(out, "{} dropped", before - all.len())?;
            state::write(&path, all)?;
        }
    }
    Ok(())
}

fn known(all: &[Signature], ids: &[String]) -> Result<(), Failure> {
    let unknown = |id: &&String| all.iter().all(|signature| signature.id.to_string() != **id);
    ids.iter().find(unknown).map_or(Ok(()), |id| Err(Failure::Unknown(id.clone())))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        return Ok(text);
    }
    std::fs::read(file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn list(signature: &Signature, out: &mut dyn Write) -> io::Result<()> {
    let seen = i64::try_from(signature.last_seen).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    writeln!(
        out,
        "{}  deadlocks {}  matches {}  needless {}  trust {}%  {}  last {}",
        signature.id,
        signature.deadlocks,
        signature.matches,
        signature.needless,
        signature.trust / 10,
        if signature.is_armed() { "armed" } else { "resting" },
        seen.map_or_else(|| "never".to_owned(), |seen| seen.to_string()),
    )?;
    for (number, role) in signature.roles.iter().enumerate() {
        writeln!(out, "  party {}", number + 1)?;
        for (at, statement) in role.statements.iter().enumerate() {
            let mark = match at {
                _ if at == role.entry => "enters",
                _ if at == role.closing => "closes",
                _ => "",
            };
            writeln!(out, "    {mark:6} {}", statement.text)?;
        }
        for (word, locks) in [("holds", &role.holds), ("waits", &role.waits_for)] {
            for lock in locks {
                writeln!(out, "    {word:6} {lock}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DigestId;
    use crate::scheduler::signature::{KnownBy, Party, Ran};

    fn signature(number: u128) -> Signature {
        let ran =
            |digest| Ran { digest: DigestId(digest), locks: true, text: "UPDATE t".into(), ..Ran::default() };
        let party = |digest| Party { statements: vec![ran(digest), ran(digest + 1)], ..Party::default() };
        Signature::of(&[party(number), party(number + 5)], KnownBy::Server, 7).unwrap()
    }

    fn run(dir: &Path, command: Command) -> Result<String, String> {
        let mut out = Vec::new();
        let args = Args { command, state_dir: dir.to_owned() };
        carry_out(&args, &mut out).map_err(|failure| failure.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn signatures_go_from_one_directory_to_another() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        state::write(&from.path().join(FILE), vec![signature(1), signature(20)]).unwrap();
        let (first, second) = (signature(1).id.to_string(), signature(20).id.to_string());

        let listed = run(from.path(), Command::List).unwrap();
        assert!(listed.contains(&first) && listed.contains("enters UPDATE t"), "{listed}");
        let exported = run(from.path(), Command::Export { ids: vec![second.clone()] }).unwrap();
        let file = to.path().join("one.json");
        std::fs::write(&file, exported).unwrap();
        assert_eq!(run(to.path(), Command::Import { file: file.clone() }).unwrap(), "1 added\n");
        assert_eq!(run(to.path(), Command::Import { file }).unwrap(), "0 added\n");
        let listed = run(to.path(), Command::List).unwrap();
        assert!(listed.contains(&second) && !listed.contains(&first), "{listed}");

        let unknown = run(to.path(), Command::Drop { ids: vec![first.clone()] });
        assert_eq!(unknown, Err(format!("no signature {first}")));
        assert_eq!(run(to.path(), Command::Drop { ids: vec!["all".to_owned()] }).unwrap(), "1 dropped\n");
        assert_eq!(run(to.path(), Command::List).unwrap(), "");
    }
}
