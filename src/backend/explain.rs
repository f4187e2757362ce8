//! Access paths: what EXPLAIN says of a statement, once per digest and definition of its tables.
//!
//! The plan depends on statistics, so an answer is believed for minutes, not for ever. It depends on the
//! values too: `Impossible WHERE` and a missing row of a constant table hold for one execution and are not
//! kept. Nobody waits for a plan on the hot path; who meets a conflict may.

use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::control::{Control, Lane, TextRow};
use super::literal::identifier;
use crate::catalog::PlanStep;
use crate::metrics::labels;

/// What a plan is kept under.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlanKey {
    /// The statement's digest.
    pub digest: u128,
    /// The default schema that it runs in.
    pub schema: Option<Box<str>>,
    /// The definitions of its tables: a number that changes with any of them.
    pub generation: u64,
}

/// How a question for a plan ended, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExplainEnd {
    /// Answered.
    Answered,
    /// The server could not be asked, or answered with an error.
    Failed,
}

/// The steps of a plan, in the order in which the server reads the tables.
pub type Steps = Arc<[PlanStep]>;

/// Asks for plans and keeps them. Shared by all sessions.
pub struct Explainer {
    control: Option<Control>,
    lifetime: Duration,
    known: Mutex<FxHashMap<PlanKey, (Instant, Option<Steps>)>>,
    observe: Box<dyn Fn(ExplainEnd) + Send + Sync>,
}

/// Plans kept; at the limit those that are no longer believed go, then all: they come back when asked for.
const LIMIT: usize = 10_000;
/// How long "the server does not tell" is believed.
const RETRY: Duration = Duration::from_secs(30);

impl Explainer {
    /// Asks over `control`, or knows nothing without it. A plan is believed for `lifetime`. `observe` is
    /// told the end of each question.
    pub fn new(
        control: Option<Control>,
        lifetime: Duration,
        observe: impl Fn(ExplainEnd) + Send + Sync + 'static,
    ) -> Explainer {
        Explainer { control, lifetime, known: Mutex::default(), observe: Box::new(observe) }
    }

    /// The plan, if it was asked for. The inner `None`: the server does not tell.
    pub fn known(&self, key: &PlanKey) -> Option<Option<Steps>> {
        let known = self.known.lock();
        let (until, steps) = known.get(key)?;
        (Instant::now() < *until).then(|| steps.clone())
    }

    /// The plan of a SELECT that takes no lock; asks the server if it is not known. `None`: not to be had.
    pub async fn plan(&self, key: PlanKey, select: &str) -> Option<Steps> {
        if let Some(known) = self.known(&key) {
            return known;
        }
        let control = self.control.as_ref()?;
        let schema =
            key.schema.as_deref().map(|schema| format!("USE {}; ", identifier(schema))).unwrap_or_default();
        // MySQL 9 answers with a tree unless the table is asked for.
        let text = format!("{schema}EXPLAIN FORMAT=TRADITIONAL {select}");
        let answer = control.query(Lane::Catalog, text).await;
        if let Err(error) = &answer {
            tracing::debug!(%error, "no plan");
        }
        let steps: Option<Steps> = answer.ok().and_then(|results| {
            results.iter().flatten().map(step).collect::<Option<Vec<_>>>().map(Arc::from)
        });
        (self.observe)(if steps.is_some() { ExplainEnd::Answered } else { ExplainEnd::Failed });
        if steps.as_ref().is_none_or(|steps| !hangs_on_values(steps)) {
            self.keep(key, steps.clone());
        }
        steps
    }

    fn keep(&self, key: PlanKey, steps: Option<Steps>) {
        let now = Instant::now();
        let until = now + if steps.is_some() { self.lifetime } else { RETRY.min(self.lifetime) };
        let mut known = self.known.lock();
        if known.len() >= LIMIT {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(key, (until, steps));
    }
}

/// Does the plan hold for these values only?
fn hangs_on_values(steps: &[PlanStep]) -> bool {
    let notes = ["impossible", "no matching", "const table"];
    steps.iter().any(|step| notes.iter().any(|note| step.extra.to_ascii_lowercase().contains(note)))
}

/// A row of EXPLAIN: MySQL has twelve columns, MariaDB ten.
fn step(row: &TextRow) -> Option<PlanStep> {
    let at: [usize; 5] = match row.len() {
        12 => [2, 4, 6, 8, 11],
        10 => [2, 3, 5, 7, 9],
        _ => return None,
    };
    let [table, access, keys, refs, extra] = at.map(|n| {
        let bytes = row.get(n).and_then(Option::as_deref).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    });
    // `a,b` of an index merge, MariaDB's `a|b` of a rowid filter.
    let list = |text: &str| {
        text.split([',', '|']).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    Some(PlanStep { table, access, keys: list(&keys), refs: list(&refs), extra })
}

impl From<ExplainEnd> for labels::Explain {
    fn from(end: ExplainEnd) -> labels::Explain {
        match end {
            ExplainEnd::Answered => labels::Explain::Answered,
            ExplainEnd::Failed => labels::Explain::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[&str]) -> TextRow {
        columns.iter().map(|c| (*c != "NULL").then(|| c.as_bytes().to_vec())).collect()
    }

    #[test]
    fn both_servers_rows_are_read() {
        let mysql = ["1", "SIMPLE", "t", "NULL", "ref", "k", "k", "5", "const", "1", "100.00", "Using where"];
        let mariadb = ["1", "SIMPLE", "t", "ref|filter", "k,m", "k|m", "5|5", "const", "1", "Using where"];
        let step = step(&row(&mysql)).unwrap();
        assert_eq!((step.table.as_str(), step.access.as_str()), ("t", "ref"));
        assert_eq!((step.keys, step.refs), (vec!["k".to_owned()], vec!["const".to_owned()]));
        let step = super::step(&row(&mariadb)).unwrap();
        assert_eq!(step.keys, ["k", "m"]);
        assert!(step.notes("using where") && !step.notes("Using index"));
    }

    #[test]
    fn what_hangs_on_the_values_is_not_kept() {
        let step = |extra: &str| PlanStep { extra: extra.to_owned(), ..PlanStep::default() };
        assert!(hangs_on_values(&[step("Impossible WHERE")]));
        assert!(hangs_on_values(&[step("no matching row in const table")]));
        assert!(!hangs_on_values(&[step("Using where")]));
    }
}
