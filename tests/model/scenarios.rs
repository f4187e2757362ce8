//! The cases of `tests/scenarios`: one file per category.
//!
//! `SCENARIOS` (a part of a category's or a case's name) chooses some, and they are shown step by step: see
//! `make scenarios`.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use crate::case::Case;
use crate::score::{self, Score, Scores};
use crate::stage::Stage;
use crate::support::{Kind, Server};
use crate::truth::Watch;

/// Cases that are played at the same time, each with an interlock and a database of its own.
const LANES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Case>,
}

/// All cases with their category, in order.
fn all() -> Vec<(String, Case)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(directory).expect("the folder is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")) {
        let text = std::fs::read_to_string(path).expect("it can be read");
        let file: File = toml::from_str(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        let category = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        cases.extend(file.scenario.into_iter().map(|case| (category.clone(), case)));
    }
    cases
}

/// Plays the chosen cases on a server; the score by category, and a line for each fault.
fn play(server: &Server) -> (Scores, Vec<String>) {
    let wanted = std::env::var("SCENARIOS").unwrap_or_default();
    let chosen = |(category, case): &(String, Case)| {
        case.runs_on(server.kind) && (category.contains(&wanted) || case.name.contains(&wanted))
    };
    let cases: Vec<_> = all().into_iter().filter(chosen).collect();
    let watch = Watch::start(server);
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Scores::new(), Vec::new()));
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (cases, watch, next, found, wanted) = (&cases, &watch, &next, &found, &wanted);
            scope.spawn(move || {
                let mut stage = Stage::start(server, watch, &format!("scenario_{lane}"));
                while let Some((category, case)) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let made = stage.prepare(&case.schema);
                    made.unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
                    let played = stage.play(case);
                    if !wanted.is_empty() {
                        println!("\n# {:?}: {category}/{}\n{played}", server.kind, case.name);
                    }
                    let mut found = found.lock().expect("no lane panicked");
                    found.0.entry(category.clone()).or_default().add(&played);
                    let line = |fault: score::Fault| format!("{category}/{}: {}", case.name, fault.line);
                    found.1.extend(score::faults(&played).into_iter().map(line));
                }
            });
        }
    });
    found.into_inner().expect("no lane panicked")
}

/// Plays on both servers, prints what came of it, and gives the score of each.
fn report() -> Vec<(Kind, Score)> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let Some(server) = Server::start(kind) else { continue };
        let (scores, mut faults) = play(&server);
        let mut sum = Score::default();
        println!("\n{kind:?}");
        for (category, score) in &scores {
            println!("{category:<12} waits      {}\n{:<12} deadlocks  {}", score.waits, "", score.deadlocks);
            sum.join(score);
        }
        faults.sort();
        println!("{}\n{kind:?}, all: {sum}", faults.join("\n"));
        all.push((kind, sum));
    }
    all
}

#[test]
fn names_are_unique_and_steps_can_be_read() {
    let mut names: Vec<_> = all().into_iter().map(|(_, case)| (case.steps(), case.name).1).collect();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before, "a name is used twice");
}

/// What the model has reached, less a case or two; the aim is 95 % everywhere, and 99 % of what is `certain`.
#[test]
fn the_model_is_as_good_as_it_was() {
    for (kind, score) in report() {
        assert!(score.waits.recall() > 0.95, "{kind:?}: {score}");
        assert!(score.waits.precision() > 0.96, "{kind:?}: {score}");
        assert!(score.certain.precision() > 0.98, "{kind:?}: {score}");
        assert!(score.deadlocks.recall() > 0.90, "{kind:?}: {score}");
        assert!(score.deadlocks.false_alarm_rate() < 0.03, "{kind:?}: {score}");
    }
}
