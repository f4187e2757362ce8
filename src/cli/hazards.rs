//! `interlock run --fail-on hazard`: the end of a run tells whether its transactions lock in an order that may
//! deadlock. So a test suite that runs through interlock fails on a new risk, though nothing ever collided.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::admission::lock_order::Hazard;

/// What the exit status says if a hazard was found that is not in the baseline.
const FOUND: u8 = 3;

/// What makes a run fail, and when it ends.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Exit with status 3 and a report if such a thing was found during the run.
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,
    /// Hazards that are known and accepted: a file that --write-baseline has written.
    #[arg(long, value_name = "FILE", requires = "fail_on")]
    pub baseline: Option<PathBuf>,
    /// Accept what this run finds: write it to the baseline, besides what is there, and exit 0.
    #[arg(long, requires = "baseline")]
    pub write_baseline: bool,
    /// End when no client has been connected for so long ("30s"), once one was.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub exit_after_idle: Option<Duration>,
}

/// What makes a run fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FailOn {
    /// A cycle in the order in which transactions lock.
    Hazard,
}

/// Why the baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It cannot be read or written.
    #[error("baseline {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The hazards that are accepted, by their names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// What each is, for those who read the file.
    hazards: BTreeMap<String, String>,
}

// === impl Args ===

impl Args {
    /// Reads the baseline, before the run, so that a faulty one is told at once.
    pub fn known(&self) -> Result<Baseline, BaselineError> {
        match &self.baseline {
            Some(file) => Baseline::read(file, self.write_baseline),
            None => Ok(Baseline::default()),
        }
    }

    /// The end of a run in which these were found.
    pub fn conclude(&self, mut known: Baseline, found: &[Hazard]) -> Result<ExitCode, BaselineError> {
        if self.fail_on != Some(FailOn::Hazard) {
            return Ok(ExitCode::SUCCESS);
        }
        let new: Vec<&Hazard> = found.iter().filter(|hazard| !known.accepts(hazard)).collect();
        if let (true, Some(file)) = (self.write_baseline, &self.baseline) {
            new.iter().for_each(|hazard| known.accept(hazard));
            known.write(file)?;
            println!(
                "interlock: {} hazards in {}, {} of them new",
                known.hazards.len(),
                file.display(),
                new.len()
            );
            return Ok(ExitCode::SUCCESS);
        }
        print!("{}", report(&new, found.len()));
        Ok(if new.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
    }
}

// === impl Baseline ===

impl Baseline {
    /// `may_miss`: a file that is not there is an empty one.
    fn read(file: &Path, may_miss: bool) -> Result<Baseline, BaselineError> {
        let failed = |source| BaselineError::File { file: file.to_owned(), source };
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into())),
            Err(error) if may_miss && error.kind() == io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(failed(error)),
        }
    }

    fn write(&self, file: &Path) -> Result<(), BaselineError> {
        let failed = |source| BaselineError::File { file: file.to_owned(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        std::fs::write(file, text + "\n").map_err(failed)
    }

    fn accepts(&self, hazard: &Hazard) -> bool {
        self.hazards.contains_key(&hazard.id)
    }

    fn accept(&mut self, hazard: &Hazard) {
        self.hazards.insert(hazard.id.clone(), hazard.summary.clone());
    }
}

/// What the run has found, for people.
fn report(new: &[&Hazard], all: usize) -> String {
    let known = all - new.len();
    if new.is_empty() {
        return format!("interlock: no new lock-order hazard ({known} known)\n");
    }
    let mut text = format!("interlock: {} new lock-order hazards ({known} known)\n", new.len());
    for hazard in new {
        text += &format!("\nhazard {}\n  {}\n", hazard.id, hazard.summary);
        for leg in &hazard.legs {
            let program = leg.program.as_deref().unwrap_or("a client");
            text += &format!("  {program} holds {}\n      {}\n", leg.holds, leg.holding);
            text += &format!("    and asks for {}\n      {}\n", leg.asks, leg.asking);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::labels::Pattern;

    fn hazard(id: &str) -> Hazard {
        let (id, summary) = (id.to_owned(), "both wait".to_owned());
        let (pattern, found) = (Pattern::OppositeOrder, String::new());
        Hazard { id, pattern, summary, tables: Vec::new(), legs: Vec::new(), advice: Vec::new(), found }
    }

    #[test]
    fn a_baseline_accepts_what_was_written_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let baseline = folder.path().join("hazards.json");
        let writing = Args {
            fail_on: Some(FailOn::Hazard),
            baseline: Some(baseline.clone()),
            write_baseline: true,
            exit_after_idle: None,
        };
        writing.conclude(writing.known().unwrap(), &[hazard("a")]).unwrap();
        writing.conclude(writing.known().unwrap(), &[hazard("b")]).unwrap();
        let reading = Args { write_baseline: false, ..writing };
        let known = reading.known().unwrap();
        assert!(known.accepts(&hazard("a")) && known.accepts(&hazard("b")) && !known.accepts(&hazard("c")));
        std::fs::write(&baseline, "no JSON").unwrap();
        assert!(reading.known().is_err());
        std::fs::remove_file(&baseline).unwrap();
        assert!(reading.known().is_err(), "a name that was mistyped is told");
    }

    #[test]
    fn a_report_counts_what_is_new() {
        let one = hazard("a");
        assert_eq!(report(&[], 2), "interlock: no new lock-order hazard (2 known)\n");
        let text = report(&[&one], 3);
        assert!(
            text.starts_with("interlock: 1 new lock-order hazards (2 known)\n\nhazard a\n  both wait\n"),
            "{text}"
        );
    }
}
