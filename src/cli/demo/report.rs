//! What the demonstration tells at its end: a table for people, JSON for programs.

use super::workload::Figures;
use super::{Args, Way};
use std::fmt::Write;

/// Everything that came of a demonstration.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// Name and version of the server.
    pub server: String,
    pub pattern: &'static str,
    pub clients: u16,
    /// Planned duration of each run.
    pub seconds: u16,
    pub runs: Vec<Figures>,
    /// How fast held statements went on, a line for each interlock.
    pub hand_overs: Vec<String>,
    /// The conflict that was shown, as interlock's API gave it.
    pub conflict: Option<serde_json::Value>,
}

impl Report {
    pub fn new(server: String, args: &Args) -> Report {
        Report {
            server,
            pattern: args.pattern.name(),
            clients: args.clients,
            seconds: args.seconds,
            runs: Vec::new(),
            hand_overs: Vec::new(),
            conflict: None,
        }
    }

    /// One line per run.
    pub fn table(&self) -> String {
        let mut text =
            String::from("\n              committed/s   deadlocks   deadlocks/s    p50 ms    p99 ms\n");
        for run in &self.runs {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{:<12}{:>13.0}{:>12}{:>14.0}{:>10.2}{:>10.2}{}",
                run.run,
                run.committed_per_second,
                run.deadlocks,
                run.deadlocks_per_second,
                run.p50_ms,
                run.p99_ms,
                remark(run),
            );
        }
        for line in &self.hand_overs {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        // Plain numbers, strings and values that came from JSON always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Deadlocks that reorder did not prevent.
    pub fn deadlocks_with_reorder(&self) -> u64 {
        self.runs.iter().filter(|run| run.run == Way::Reorder.name()).map(|run| run.deadlocks).sum()
    }
}

/// What else happened in a run.
fn remark(run: &Figures) -> String {
    let mut remark = String::new();
    if run.timeouts > 0 {
        let _ = write!(remark, "   {} lock wait timeouts", run.timeouts);
    }
    if run.errors > 0 {
        let _ = write!(remark, "   {} errors", run.errors);
    }
    if let (Some(error), true) = (&run.first_error, run.errors > 0) {
        let _ = write!(remark, " ({error})");
    }
    remark
}
