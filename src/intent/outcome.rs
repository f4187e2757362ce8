//! What a statement's requests became when the server had answered.
//!
//! Text tells what is asked for; the answer tells what was there: no row found means a gap, one row on a
//! full unique key a record. Where the answer does not tell, the request stays as it was asked for.

use super::footprint::PASSED_OVER;
use super::read::BEFORE_RANGE;
use super::write::AUTO_INC;
use super::{change, duplicate, foreign_key};
use crate::catalog::Flavour;
use crate::lock::mode::Certainty;
use crate::lock::request::{Kind, Request, Settled, UNIQUE_LOOKUP};
use crate::sql::access::TableAccess;
use crate::sql::statement::{Rows, Statement};

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

impl Answered {
    /// So many rows were found or changed at least, if it tells.
    pub fn rows(&self) -> Option<u64> {
        match self {
            Answered::Rows(rows) => Some(*rows),
            Answered::Changed { affected, matched } => Some(matched.unwrap_or(*affected)),
            Answered::Failed(_) | Answered::Duplicate { .. } | Answered::Unclear => None,
        }
    }
}

/// ER_LOCK_WAIT_TIMEOUT and NOWAIT's ER_LOCK_NOWAIT: the lock that was waited for was not got.
const NOT_GRANTED: [u16; 2] = [1205, 3572];

/// Refused before anything is read: the text does not parse (ER_PARSE_ERROR) or names what is not there
/// (ER_NO_DB_ERROR, ER_BAD_DB_ERROR, ER_NON_UNIQ_ERROR, ER_BAD_FIELD_ERROR, ER_NONUNIQ_TABLE, ER_UNKNOWN_TABLE,
/// ER_FIELD_SPECIFIED_TWICE, ER_WRONG_VALUE_COUNT_ON_ROW, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST), the user may not
/// (ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR,
/// ER_SPECIFIC_ACCESS_DENIED_ERROR), or nobody may now (ER_OPTION_PREVENTS_STATEMENT,
/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION).
const REFUSED: [u16; 17] =
    [1044, 1046, 1049, 1052, 1054, 1064, 1066, 1109, 1110, 1136, 1142, 1143, 1146, 1227, 1290, 1305, 1792];

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

/// What became of each request, in order. `generated` is the first AUTO_INCREMENT number that the server
/// has given out for it: the rows after the first have the numbers after it.
pub fn settle(
    statement: &Statement,
    requests: &[Request],
    answered: &Answered,
    generated: Option<u64>,
    rules: Rules,
) -> Vec<Settled> {
    let flavour = rules.flavour;
    let found = found(statement, answered);
    let named = |r: &&Request| !r.kind.inserts() && r.kind != Kind::Ahead && r.certainty > Certainty::Unknown;
    let searched =
        requests.iter().filter(named).filter(|r| !change::is_of(r) && !foreign_key::is_of(r)).count() as u64;
    let puts = matches!(statement, Statement::Insert(_));
    let none = found == Found::Nothing && !puts || matches!(answered, Answered::Changed { affected: 0, .. });
    // Every row that was read was rejected; was it read by a full unique key?
    let all_rejected = !rules.gaps && rows(statement, answered) == Some(0);
    let rejects = all_rejected.then(|| requests.iter().any(|r| r.rule.starts_with(UNIQUE_LOOKUP)));
    let filtered = requests.iter().any(|r| r.rule.ends_with("+filter"));
    let written = match statement {
        Statement::Insert(insert) => duplicate::settle(insert, requests, answered, generated, rules),
        _ => Vec::new(),
    };
    let written = written.into_iter().map(Some).chain(std::iter::repeat(None));
    requests
        .iter()
        .zip(written)
        .map(|(request, written)| match (request.kind, written) {
            // It ends with the statement.
            (Kind::Ahead, _) => Settled::Released,
            _ if request.rule == AUTO_INC => Settled::Released,
            _ if change::is_of(request) => change::settle(request, answered, none, rules),
            _ if foreign_key::is_of(request) => foreign_key::settle(request, answered, none, flavour),
            _ if let Some(unique) = rejects
                && lets_go(statement, request, unique, flavour) =>
            {
                Settled::Released
            }
            // What the rest of WHERE rejects was read and stays locked.
            _ if found == Found::Nothing && keeps_rejected(request, filtered) => Settled::Kept,
            _ if is_refused(answered) => Settled::Released,
            // A table that INSERT … SELECT reads is searched; the other one is written.
            (kind, Some(written)) if kind.inserts() || duplicate::is_of(request) => written,
            _ if is_not_granted(answered) => {
                if searched == 1 {
                    Settled::Released
                } else {
                    Settled::Kept
                }
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

/// Did the server refuse a lock, at once or after a while?
pub fn is_not_granted(answered: &Answered) -> bool {
    matches!(answered, Answered::Failed(code) if NOT_GRANTED.contains(code))
}

/// Did the server look at no row?
fn is_refused(answered: &Answered) -> bool {
    matches!(answered, Answered::Failed(code) if REFUSED.binary_search(code).is_ok())
}

/// The same for requests that were read from the server's indexes: they are what is held, but for what was
/// passed over.
pub fn settle_exact(
    statement: &Statement,
    requests: &[Request],
    answered: &Answered,
    generated: Option<u64>,
    rules: Rules,
) -> Vec<Settled> {
    let mut settled = settle(statement, requests, answered, generated, rules);
    for (settled, request) in settled.iter_mut().zip(requests) {
        let refused = is_not_granted(answered) || is_refused(answered);
        if change::is_of(request) || foreign_key::is_of(request) || duplicate::is_of(request) {
            continue;
        }
        if request.rule == PASSED_OVER || request.rule == AUTO_INC || request.kind == Kind::Ahead {
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
    generated: Option<u64>,
    rules: Rules,
) -> Vec<Settled> {
    let (own, inner) = requests.split_at(requests.len().saturating_sub(inner));
    let settle = if exact { settle_exact } else { settle };
    let mut settled = settle(statement, own, answered, generated, rules);
    let none = match (statement, answered) {
        // A procedure may have come to its second statement.
        (Statement::Routine { .. }, Answered::Failed(_)) => false,
        (_, Answered::Failed(_)) => is_refused(answered),
        (Statement::Update(_), Answered::Changed { matched, .. }) => *matched == Some(0),
        (Statement::Insert(_) | Statement::Delete(_), Answered::Changed { affected, .. }) => *affected == 0,
        _ => false,
    };
    settled.extend(inner.iter().map(|request| match request.kind {
        _ if none || request.rule == PASSED_OVER || request.rule == AUTO_INC => Settled::Released,
        Kind::Ahead => Settled::Released,
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

/// Says the answer "no row" nothing of what this request met? `filtered`: entries were read and rejected, with
/// the rows behind them.
fn keeps_rejected(request: &Request, filtered: bool) -> bool {
    request.rule.ends_with("+filter")
        || filtered && matches!(request.kind, Kind::Clustered { .. })
        || matches!(request.rule, "full-scan" | "possible-path" | "beyond-range" | BEFORE_RANGE)
}

/// READ COMMITTED: is the lock on a row that WHERE rejects given up? A SELECT by a full unique key keeps it, and
/// on MariaDB whatever comes by a secondary index.
fn lets_go(statement: &Statement, request: &Request, unique: bool, flavour: Flavour) -> bool {
    let secondary = request.index.index != 0 || matches!(request.kind, Kind::Clustered { .. });
    let select = matches!(statement, Statement::Select(_));
    let kept = unique && select || secondary && flavour == Flavour::MariaDb || request.rule == BEFORE_RANGE;
    matches!(request.kind, Kind::Record | Kind::Clustered { .. }) && !kept
}

fn found(statement: &Statement, answered: &Answered) -> Found {
    let exact = |tables: &[TableAccess]| tables.iter().all(|table| table.predicate.exact);
    if let Some(there) = keeps_out(statement, answered) {
        return if there { Found::Rows(1) } else { Found::Nothing };
    }
    match rows(statement, answered) {
        None => Found::Unclear,
        Some(0) if tables(statement).is_some_and(exact) => Found::Nothing,
        Some(0) => Found::Unclear,
        Some(rows) => Found::Rows(rows),
    }
}

/// `INSERT … SELECT … WHERE NOT EXISTS (…)`: was there a row that keeps the new one out?
fn keeps_out(statement: &Statement, answered: &Answered) -> Option<bool> {
    let Statement::Insert(insert) = statement else { return None };
    let (Rows::Select(source), Answered::Changed { affected, .. }) = (&insert.rows, answered) else {
        return None;
    };
    let [table] = source.tables.as_slice() else { return None };
    let plain = !insert.ignore && !insert.replace && insert.on_duplicate.is_none();
    (plain && table.excludes && table.predicate.exact).then_some(*affected == 0)
}

/// The tables that a statement searches, if it is one that changes or reads what it finds.
fn tables(statement: &Statement) -> Option<&[TableAccess]> {
    match statement {
        Statement::Select(select) => Some(&select.tables),
        Statement::Update(update) => Some(&update.tables),
        Statement::Delete(delete) => Some(&delete.tables),
        _ => None,
    }
}

/// So many rows of a single table have met its whole condition; `None`: that is not told.
fn rows(statement: &Statement, answered: &Answered) -> Option<u64> {
    // Other tables can hide rows that were read and locked.
    let [_] = tables(statement)? else { return None };
    match (statement, answered) {
        (Statement::Select(select), _) if select.aggregated => None,
        (_, Answered::Rows(rows)) => Some(*rows),
        (_, Answered::Changed { matched: Some(matched), .. }) => Some(*matched),
        // Without "Rows matched", 0 affected may be a row that already was as the UPDATE makes it.
        (Statement::Update(_), Answered::Changed { affected: 0, .. }) => None,
        (_, Answered::Changed { affected, .. }) => Some(*affected),
        (_, Answered::Failed(_) | Answered::Duplicate { .. } | Answered::Unclear) => None,
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
