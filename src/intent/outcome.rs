//! What a statement's requests became when the server had answered.
//!
//! Text tells what is asked for; the answer tells what was there: no row found means a gap, one row on a
//! full unique key a record. Where the answer does not tell, the request stays as it was asked for.

use super::footprint::PASSED_OVER;
use super::{change, duplicate, foreign_key};
use crate::catalog::Flavour;
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::request::{Kind, Request, Settled};
use crate::sql::statement::{Statement, TableAccess};

/// What the answer says, as far as the model needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    /// A result set of so many rows.
    Rows(u64),
    /// A change: affected rows, matched rows where the server said so, and the first generated key.
    Changed {
        /// Rows that were changed (or matched, with `CLIENT_FOUND_ROWS`).
        affected: u64,
        /// `Rows matched: N`
        matched: Option<u64>,
    },
    /// The statement failed with this error; its changes are undone and its row locks stay.
    Failed(u16),
    /// It failed because a key was there already.
    Duplicate {
        /// Position of the key's index in the table, if the message told.
        index: Option<u16>,
        /// The key, as the message spells it.
        entry: String,
    },
    /// Not known (a cursor, a result inside a CALL).
    Unclear,
}

/// ER_LOCK_WAIT_TIMEOUT and NOWAIT's ER_LOCK_NOWAIT: the lock that was waited for was not got.
const NOT_GRANTED: [u16; 2] = [1205, 3572];

/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: refused before anything is read.
const READ_ONLY: u16 = 1792;

/// Whose rules an answer is read by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whose.
    pub flavour: Flavour,
    /// Gaps are locked at the statement's isolation level.
    pub gaps: bool,
}

impl Rules {
    /// The rules of what a statement runs under.
    pub fn of(context: &super::Context) -> Rules {
        Rules { flavour: context.flavour, gaps: context.locks_gaps() }
    }
}

/// What became of each request, in order. `generated` is the key of the clustered index's new record, if
/// the server generated it.
pub fn settle(
    statement: &Statement,
    requests: &[Request],
    answered: &Answered,
    generated: Option<&Key>,
    rules: Rules,
) -> Vec<Settled> {
    let flavour = rules.flavour;
    let found = found(statement, answered);
    let named = |r: &&Request| !r.kind.inserts() && r.certainty > Certainty::Unknown;
    let searched =
        requests.iter().filter(named).filter(|r| !change::is_of(r) && !foreign_key::is_of(r)).count() as u64;
    let none = found == Found::Nothing || matches!(answered, Answered::Changed { affected: 0, .. });
    let written = match statement {
        Statement::Insert(insert) => duplicate::settle(insert, requests, answered, generated, rules),
        _ => Vec::new(),
    };
    let written = written.into_iter().map(Some).chain(std::iter::repeat(None));
    requests
        .iter()
        .zip(written)
        .map(|(request, written)| match (request.kind, written) {
            _ if change::is_of(request) => change::settle(request, answered, none),
            _ if foreign_key::is_of(request) => foreign_key::settle(request, answered, none, flavour),
            // What the rest of WHERE rejects was read and stays locked.
            _ if found == Found::Nothing && keeps_rejected(request) => Settled::Kept,
            _ if *answered == Answered::Failed(READ_ONLY) => Settled::Released,
            // A table that INSERT … SELECT reads is searched; the other one is written.
            (kind, Some(written)) if kind.inserts() || duplicate::is_of(request) => written,
            _ if matches!(answered, Answered::Failed(code) if NOT_GRANTED.contains(code)) => {
                if searched == 1 { Settled::Released } else { Settled::Kept }
            }
            _ => match found {
                Found::Nothing => missing(request),
                Found::Rows(n) if request.kind == Kind::RecordOrGap && n >= searched => {
                    present(request, flavour)
                }
                _ => Settled::Kept,
            },
        })
        .collect()
}

/// The same for requests that were read from the server's indexes: they are what is held, but for what was
/// passed over.
pub fn settle_exact(
    statement: &Statement,
    requests: &[Request],
    answered: &Answered,
    generated: Option<&Key>,
    rules: Rules,
) -> Vec<Settled> {
    let mut settled = settle(statement, requests, answered, generated, rules);
    for (settled, request) in settled.iter_mut().zip(requests) {
        let refused =
            matches!(answered, Answered::Failed(code) if *code == READ_ONLY || NOT_GRANTED.contains(code));
        if change::is_of(request) || foreign_key::is_of(request) || duplicate::is_of(request) {
            continue;
        }
        if request.rule == PASSED_OVER {
            *settled = Settled::Released;
        } else if !refused && !request.kind.inserts() {
            *settled = Settled::Kept;
        }
    }
    settled
}

/// The same for requests of which the last `inner` are those of statements that it runs.
pub fn settle_all(
    statement: &Statement,
    (requests, inner): (&[Request], usize),
    exact: bool,
    answered: &Answered,
    generated: Option<&Key>,
    rules: Rules,
) -> Vec<Settled> {
    let (own, inner) = requests.split_at(requests.len().saturating_sub(inner));
    let settle = if exact { settle_exact } else { settle };
    let mut settled = settle(statement, own, answered, generated, rules);
    let none = match (statement, answered) {
        (_, Answered::Failed(code)) => *code == READ_ONLY,
        (Statement::Update(_), Answered::Changed { matched, .. }) => *matched == Some(0),
        (Statement::Insert(_) | Statement::Delete(_), Answered::Changed { affected, .. }) => *affected == 0,
        _ => false,
    };
    settled.extend(inner.iter().map(|request| match request.kind {
        _ if none || request.rule == PASSED_OVER => Settled::Released,
        // What it had inserted is undone with the statement.
        kind if kind.inserts() && matches!(answered, Answered::Failed(_)) => Settled::Released,
        kind if kind.inserts() => Settled::Became(Kind::Record, request.range.clone()),
        _ => Settled::Kept,
    }));
    settled
}

/// What a search has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// No entry in any of its ranges.
    Nothing,
    /// So many rows.
    Rows(u64),
    /// Not told.
    Unclear,
}

/// Says the answer "no row" nothing of what this request met?
fn keeps_rejected(request: &Request) -> bool {
    request.rule.ends_with("+filter")
        || matches!(request.rule, "full-scan" | "possible-path" | "beyond-range")
}

fn found(statement: &Statement, answered: &Answered) -> Found {
    let (tables, counts): (&[TableAccess], bool) = match statement {
        Statement::Select(select) => (&select.tables, !select.aggregated),
        Statement::Update(update) => (&update.tables, true),
        Statement::Delete(delete) => (&delete.tables, true),
        _ => return Found::Unclear,
    };
    // Conditions beyond the index, and other tables, can hide rows that were read and locked.
    let [table] = tables else { return Found::Unclear };
    let rows = match answered {
        Answered::Rows(rows) => *rows,
        Answered::Changed { matched: Some(matched), .. } => *matched,
        // Without "Rows matched", 0 affected may be a row that already was as the UPDATE makes it.
        Answered::Changed { affected: 0, .. } if matches!(statement, Statement::Update(_)) => {
            return Found::Unclear;
        }
        Answered::Changed { affected, .. } => *affected,
        Answered::Failed(_) | Answered::Duplicate { .. } | Answered::Unclear => return Found::Unclear,
    };
    match rows {
        _ if !counts => Found::Unclear,
        0 if table.predicate.exact => Found::Nothing,
        0 => Found::Unclear,
        rows => Found::Rows(rows),
    }
}

/// No entry: gaps only; at READ COMMITTED nothing.
fn missing(request: &Request) -> Settled {
    match request.kind {
        Kind::RecordOrGap | Kind::NextKey => Settled::Became(Kind::Gap, request.range.clone()),
        Kind::Record | Kind::Clustered { .. } | Kind::Entry => Settled::Released,
        _ => Settled::Kept,
    }
}

/// An entry for each unique key: the record; MariaDB takes the gap below a secondary entry as well.
fn present(request: &Request, flavour: Flavour) -> Settled {
    let kind = match flavour {
        Flavour::MariaDb if request.index.index != 0 => Kind::NextKey,
        _ => Kind::Record,
    };
    Settled::Became(kind, request.range.clone())
}
