//! Makes a failing case as small as it goes: sessions, steps, then keys of the tables are left out as long as
//! it still fails.

use crate::case::Case;

/// Most times that a case is played again.
const TRIES: usize = 80;

/// A smaller case for which `fails` still holds.
pub fn shrink(case: &Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let mut tries = 0;
    loop {
        let smaller = candidates(&best).into_iter().find(|candidate| {
            tries += 1;
            tries <= TRIES && fails(candidate)
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Cases that leave out one thing, the largest things first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for session in 'A'..='H' {
        let rest: Vec<String> = case.steps.iter().filter(|s| !s.starts_with(session)).cloned().collect();
        if !rest.is_empty() && rest.len() + 1 < case.steps.len() {
            all.push(Case { steps: rest, ..case.clone() });
        }
    }
    for at in (0..case.steps.len()).rev() {
        let mut smaller = case.clone();
        smaller.steps.remove(at);
        if !smaller.steps.is_empty() {
            all.push(smaller);
        }
    }
    for (at, statement) in case.schema.iter().enumerate() {
        for key in keys(statement) {
            let mut smaller = case.clone();
            smaller.schema[at] = statement.replace(&key, "");
            all.push(smaller);
        }
    }
    all
}

/// The keys of a CREATE TABLE, each with the comma before it.
fn keys(statement: &str) -> Vec<String> {
    let starts = statement.match_indices(", KEY ").chain(statement.match_indices(", UNIQUE KEY "));
    let whole = |(at, _): (usize, &str)| {
        let mut depth = 0;
        let end = statement[at..].char_indices().find_map(|(offset, c)| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            (c == ')' && depth == 0).then_some(at + offset + 1)
        })?;
        Some(statement[at..end].to_owned())
    };
    starts.filter_map(whole).collect()
}
