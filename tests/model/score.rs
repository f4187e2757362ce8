//! What was predicted against what happened.

use std::collections::BTreeMap;
use std::fmt;

use crate::stage::{Played, PlayedStep};

/// Counts of predicted against happened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    /// Predicted, and it happened.
    pub hits: u32,
    /// It happened, and was not predicted.
    pub misses: u32,
    /// Predicted, and it did not happen.
    pub false_alarms: u32,
    /// Neither.
    pub calm: u32,
}

/// The score of several cases.
#[derive(Default, Debug)]
pub struct Score {
    /// Cases played.
    pub cases: u32,
    /// Statements that waited.
    pub waits: Tally,
    /// Cases with a deadlock.
    pub deadlocks: Tally,
    /// Waits predicted as `certain`.
    pub certain: Tally,
}

impl Tally {
    fn add(&mut self, predicted: bool, happened: bool) {
        *match (predicted, happened) {
            (true, true) => &mut self.hits,
            (false, true) => &mut self.misses,
            (true, false) => &mut self.false_alarms,
            (false, false) => &mut self.calm,
        } += 1;
    }

    fn join(&mut self, other: &Tally) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.false_alarms += other.false_alarms;
        self.calm += other.calm;
    }

    /// Share of what happened that was predicted.
    pub fn recall(&self) -> f64 {
        share(self.hits, self.hits + self.misses)
    }

    /// Share of what was predicted that happened.
    pub fn precision(&self) -> f64 {
        share(self.hits, self.hits + self.false_alarms)
    }

    /// Share of what did not happen that was predicted all the same.
    pub fn false_alarm_rate(&self) -> f64 {
        1.0 - share(self.calm, self.calm + self.false_alarms)
    }
}

/// A part of a whole; of nothing, all.
pub fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 1.0 } else { f64::from(part) / f64::from(whole) }
}

impl Score {
    /// Counts a case.
    pub fn add(&mut self, played: &Played) {
        self.cases += 1;
        for step in played.steps.iter().filter(|step| step.issued) {
            self.waits.add(step.predicted(), step.waited.is_some());
            if step.predictions.iter().any(|p| p.certain) {
                self.certain.add(true, step.waited.is_some());
            }
        }
        self.deadlocks.add(played.deadlock_predicted(), played.deadlocked());
    }

    /// Counts all cases of another score.
    pub fn join(&mut self, other: &Score) {
        self.cases += other.cases;
        self.waits.join(&other.waits);
        self.deadlocks.join(&other.deadlocks);
        self.certain.join(&other.certain);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>4} predicted {:>4} happened {:>4} both   recall {:5.1} %  precision {:5.1} %",
            self.hits + self.false_alarms,
            self.hits + self.misses,
            self.hits,
            100.0 * self.recall(),
            100.0 * self.precision()
        )
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases", self.cases)?;
        writeln!(f, "  waits      {}", self.waits)?;
        writeln!(f, "  deadlocks  {}", self.deadlocks)?;
        writeln!(f, "  certain    {}", self.certain)?;
        write!(f, "  false deadlock alarms {:.1} %", 100.0 * self.deadlocks.false_alarm_rate())
    }
}

/// Scores by category.
pub type Scores = BTreeMap<String, Score>;

/// Where the model was wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happened, at which statement.
    pub line: String,
    /// The same without names and numbers: faults of one class have one cause, as a rule.
    pub class: String,
}

/// Every miss and false alarm of a case, in order; empty if the model was right.
pub fn faults(played: &Played) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, step) in played.steps.iter().enumerate().filter(|(_, step)| step.issued) {
        let (line, class) = match (&step.waited, step.predictions.first()) {
            (Some(lock), None) => {
                (format!("MISS   waited for {lock}"), format!("MISS   {}", lock_class(lock)))
            }
            (None, Some(it)) => (format!("FALSE  {it}"), format!("FALSE  {} {}", it.mode, it.kind())),
            _ => continue,
        };
        faults.push(Fault {
            line: format!("{line} | step {} {}", number + 1, step.text()),
            class: format!("{class} | {}", verb(&step.sql)),
        });
    }
    faults.extend(deadlock_fault(played));
    faults
}

/// The deadlock that was missed, or foreseen in vain, with the statement that closed it.
fn deadlock_fault(played: &Played) -> Option<Fault> {
    let class = match (played.deadlocked(), played.deadlock_predicted()) {
        (true, false) => "MISS   deadlock",
        (false, true) => "FALSE  deadlock",
        _ => return None,
    };
    let foreseen = |step: &&PlayedStep| step.predictions.iter().any(|p| p.deadlock);
    let closing = match played.deadlocked() {
        true => played.steps.iter().rposition(|step| step.waited.is_some()),
        false => played.steps.iter().position(|step| foreseen(&step)),
    };
    let at = closing.map(|number| format!(" | step {} {}", number + 1, played.steps[number].text()));
    Some(Fault { line: format!("{class}{}", at.unwrap_or_default()), class: class.to_owned() })
}

/// `t b X,REC_NOT_GAP (10, 10)` → `secondary X,REC_NOT_GAP`
fn lock_class(lock: &str) -> String {
    let index = if lock.contains("PRIMARY") || lock.contains("CLUST") { "clustered" } else { "secondary" };
    let mode = lock.split([' ', ',']).filter(|word| {
        matches!(
            *word,
            "X" | "S" | "IX" | "REC_NOT_GAP" | "GAP" | "INSERT_INTENTION" | "gap" | "insert" | "rec"
        )
    });
    let mode: Vec<&str> = mode.collect();
    // MariaDB spells it out.
    if mode.is_empty() { lock.to_owned() } else { format!("{index} {}", mode.join(",")) }
}

/// The words of a statement that say what it is.
pub fn verb(sql: &str) -> String {
    let sql = sql.to_ascii_uppercase();
    let first = sql.split_whitespace().next().unwrap_or_default().to_owned();
    let more = [
        "IGNORE",
        "ON DUPLICATE",
        "BETWEEN",
        " IN (",
        "LIMIT",
        "DESC",
        " < ",
        " > ",
        " >= ",
        "FOR UPDATE",
        "LOCK IN SHARE",
        " CHILD",
    ];
    more.iter().filter(|word| sql.contains(**word)).fold(first, |all, word| format!("{all} {}", word.trim()))
}
