//! A case: a few tables, a few sessions, and their statements in the order in which they are issued.

use serde::{Deserialize, Serialize};

use crate::support::Kind;

/// One case, as `tests/scenarios/*.toml` writes it down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique; says what it is about.
    pub name: String,
    /// Isolation level of every session.
    #[serde(default = "repeatable_read")]
    pub isolation: String,
    /// The servers that it is meant for.
    #[serde(default = "both", skip_serializing_if = "is_both")]
    pub servers: Vec<String>,
    /// Statements that make tables and rows.
    pub schema: Vec<String>,
    /// `A: statement`, or `sleep 500` (milliseconds in which nobody does anything).
    pub steps: Vec<String>,
}

/// A step, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A statement of a session, counted from 0.
    Statement(usize, String),
    /// A pause.
    Sleep(u64),
}

fn repeatable_read() -> String {
    "REPEATABLE READ".to_owned()
}

fn both() -> Vec<String> {
    vec!["mysql".to_owned(), "mariadb".to_owned()]
}

fn is_both(servers: &[String]) -> bool {
    servers == both()
}

impl Case {
    /// Is it meant for this server?
    pub fn runs_on(&self, kind: Kind) -> bool {
        let name = if kind == Kind::MySql { "mysql" } else { "mariadb" };
        self.servers.iter().any(|server| server == name)
    }

    /// The steps; panics on one that is neither of the two.
    pub fn steps(&self) -> Vec<Step> {
        self.steps
            .iter()
            .map(|text| step(text).unwrap_or_else(|| panic!("{}: step {text:?}", self.name)))
            .collect()
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        let number = |step| if let Step::Statement(session, _) = step { session + 1 } else { 0 };
        self.steps().into_iter().map(number).max().unwrap_or(0)
    }

    /// Is nothing left of it once every session has rolled back?
    pub fn leaves_nothing(&self) -> bool {
        let mut open = vec![false; self.sessions()];
        self.steps().iter().all(|step| match step {
            Step::Statement(session, sql) if sql == "BEGIN" => {
                open[*session] = true;
                true
            }
            Step::Statement(session, sql) if sql == "COMMIT" || sql == "ROLLBACK" => {
                open[*session] = false;
                sql == "ROLLBACK"
            }
            Step::Statement(session, sql) => open[*session] || sql.starts_with("SELECT"),
            Step::Sleep(_) => true,
        })
    }

    /// As a file of `tests/scenarios` would hold it.
    pub fn as_toml(&self) -> String {
        toml::to_string_pretty(self).expect("strings and lists of them can be written")
    }
}

fn step(text: &str) -> Option<Step> {
    if let Some(pause) = text.strip_prefix("sleep ") {
        return Some(Step::Sleep(pause.trim().parse().ok()?));
    }
    let (name, sql) = text.split_once(": ")?;
    let &[letter @ b'A'..=b'H'] = name.as_bytes() else { return None };
    Some(Step::Statement(usize::from(letter - b'A'), sql.to_owned()))
}

/// The name of a session: A, B, …
pub fn session_name(session: usize) -> char {
    char::from(b'A' + session as u8)
}
