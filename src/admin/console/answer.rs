//! What the console understands, statement by statement.
//!
//! A SELECT from a table goes through sqlparser ([`crate::sql::question`]); the rest are a few words, told
//! apart by their beginning. What MySQL clients and graphical tools send by themselves when they connect is
//! answered as a small, empty server would answer it.

use serde_json::Value;

use super::account::Role;
use super::query::{self, Table};
use super::{Console, Fault, schema};
use crate::admin::view::tables::{Column, ColumnKind, TABLES};
use crate::sql::question::{QuestionError, Term, question};

/// Rows that one look gives to a SELECT.
const MAX_ROWS: usize = 100_000;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// User name.
    pub(super) user: String,
    /// What the user may do.
    pub(super) role: Role,
    /// The schema in use.
    pub(super) schema: Option<&'static str>,
    /// Number of the connection.
    pub(super) number: u32,
}

/// The answer to a statement.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Answer {
    /// It was done; a sentence about it.
    Done(String),
    /// A result set.
    Rows(Table),
}

type Result<T> = std::result::Result<T, Fault>;

/// What HELP shows.
const HELP: &[(&str, &str)] = &[
    ("SHOW CONFLICTS", "conflicts that were found, newest first"),
    ("SHOW CONFLICT n", "one of them: what both sessions did, side by side"),
    ("SHOW LOCKS", "locks that open transactions hold or ask for"),
    ("SHOW WAITS", "who waits for whom"),
    ("SHOW TRANSACTIONS", "open transactions, oldest first"),
    ("SHOW SESSIONS", "client connections"),
    ("SHOW HOLDS", "statements that are held back now"),
    ("SHOW DIGESTS", "statements without their literals, and what became of them"),
    ("SHOW SIGNATURES", "shapes of transactions that were learned"),
    ("SHOW STATUS", "figures since the start"),
    ("SHOW VARIABLES", "the configuration in force"),
    (
        "SELECT … FROM interlock.locks WHERE … ORDER BY … LIMIT …",
        "the same as tables; WHERE also after SHOW LOCKS and its like",
    ),
    ("SELECT * FROM interlock.conflicts_reset", "read conflicts (or digests) and clear them"),
    ("DESCRIBE interlock.locks", "the columns of a table and what they say"),
    ("RELEASE HOLD n", "let a held statement go on"),
    ("KILL SESSION n", "close a session; its transaction is rolled back"),
    (
        "SET action = 'flag' | 'reorder' | 'reject'",
        "what is done about conflicts, until the configuration is read again",
    ),
    ("RELOAD CONFIG", "read the configuration again"),
];

/// Answers a statement.
pub(super) fn answer(console: &Console, asker: &mut Asker, text: &str) -> Result<Answer> {
    let text = plain(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let head: Vec<&str> = lower.iter().map(String::as_str).collect();
    match head.as_slice() {
        [] => Err(Fault::new(1065, "Query was empty")),
        ["help", ..] | ["?"] => Ok(Answer::Rows(pairs("statement", "what", HELP.iter().copied()))),
        ["release", "hold", hold] => {
            operator(asker)?;
            let hold = number(hold)?;
            match console.operator.release_hold(hold, &asker.user) {
                true => Ok(Answer::Done(format!("hold {hold} released"))),
                false => Err(Fault::new(1094, format!("there is no hold {hold} (any more)"))),
            }
        }
        ["kill", "session" | "connection" | "query", session] | ["kill", session] => {
            operator(asker)?;
            let session = number(session)?;
            match console.operator.kill_session(session, &asker.user) {
                true => Ok(Answer::Done(format!("session {session} killed"))),
                false => Err(Fault::new(1094, format!("Unknown session: {session}"))),
            }
        }
        ["reload", "config"] => {
            operator(asker)?;
            let done = console.operator.reload(&asker.user);
            done.map(Answer::Done).map_err(|refused| Fault::new(1105, refused.to_string()))
        }
        ["set", ..] => set(console, asker, text),
        ["show", "conflict", seq] => timeline(console, number(seq)?),
        ["show", "full" | "extended", ..] => show(console, asker, &head[2..], &words[2..], true),
        ["show", ..] => show(console, asker, &head[1..], &words[1..], false),
        ["describe" | "desc" | "explain", table] => schema::describe(asker, table, true),
        ["use", name] => {
            let name = name.trim_matches('`');
            let known = schema::find_schema(name);
            asker.schema = Some(known.ok_or_else(|| Fault::new(1049, format!("Unknown database '{name}'")))?);
            Ok(Answer::Done(String::new()))
        }
        ["begin" | "commit" | "rollback" | "start" | "unlock" | "flush" | "do", ..] => {
            Ok(Answer::Done(String::new()))
        }
        _ => select(console, asker, text),
    }
}

/// Without comments at its ends and without the semicolon.
fn plain(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = text.strip_prefix("/*").and_then(|rest| rest.split_once("*/")) {
        text = rest.1.trim_start();
    }
    text.trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

fn number(word: &str) -> Result<u64> {
    word.parse().map_err(|_| Fault::syntax(&format!("'{word}' is not a number")))
}

fn operator(asker: &Asker) -> Result<()> {
    match asker.role {
        Role::Operator => Ok(()),
        Role::Reader => Err(Fault::new(
            1227,
            "Access denied; this changes something and needs an account: console.users of the configuration",
        )),
    }
}

/// `SET action = …`; what else clients set by themselves has no effect here.
fn set(console: &Console, asker: &Asker, text: &str) -> Result<Answer> {
    let rest = text[3..].trim_start().to_ascii_lowercase();
    let rest = ["global ", "session ", "@@global.", "@@"]
        .iter()
        .fold(rest.as_str(), |rest, scope| rest.strip_prefix(scope).unwrap_or(rest).trim_start());
    let rest = rest.strip_prefix("policy.").unwrap_or(rest);
    let Some(value) =
        rest.strip_prefix("action").map(str::trim_start).and_then(|rest| rest.strip_prefix('='))
    else {
        return Ok(Answer::Done(String::new()));
    };
    operator(asker)?;
    let action = value.trim().trim_matches(['\'', '"', '`']);
    console
        .operator
        .set_action(action, &asker.user)
        .map_err(|refused| Fault::new(1231, refused.to_string()))?;
    Ok(Answer::Done(format!("action is {action}")))
}

/// Everything after SHOW; `words` as they were written.
fn show(console: &Console, asker: &Asker, head: &[&str], words: &[&str], full: bool) -> Result<Answer> {
    let rest = || words[1..].join(" ");
    match head {
        ["status", ..] | ["global" | "session", "status", ..] => {
            let status = TABLES.iter().find(|table| table.name == "status");
            let row = status.and_then(|table| (table.rows)(&console.view, 1).pop()).unwrap_or_default();
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let pairs = row.iter().map(|(name, value)| (name.clone(), text(value)));
            filtered(pairs.collect(), head, words)
        }
        ["variables", ..] | ["global" | "session" | "local", "variables", ..] => {
            filtered(variables(console), head, words)
        }
        [table, ..] if TABLES.iter().any(|known| known.name == *table) => {
            select(console, asker, &format!("SELECT * FROM interlock.{table} {}", rest()))
        }
        ["processlist", ..] => select(console, asker, "SELECT * FROM interlock.sessions"),
        ["databases" | "schemas", ..] => {
            let sql = "SELECT schema_name AS `Database` FROM information_schema.schemata";
            select(console, asker, sql)
        }
        ["tables", ..] => schema::show_tables(asker, head, full),
        ["table", "status", ..] => Ok(Answer::Rows(schema::table_status())),
        ["columns" | "fields", "from" | "in", _, ..] => schema::describe(asker, words[2], full),
        ["create", "table", _] => schema::create_table(asker, words[2]),
        [
            "warnings" | "errors" | "engines" | "plugins" | "events" | "triggers" | "grants" | "index"
            | "indexes" | "keys" | "collation" | "character" | "charset" | "procedure" | "function"
            | "privileges" | "binary" | "replica" | "slave" | "master" | "profiles" | "open",
            ..,
        ] => Ok(Answer::Rows(schema::nothing(head[0]))),
        _ => Err(Fault::syntax(&format!("cannot show {}", words.join(" ")))),
    }
}

/// `Variable_name`, `Value`, with the LIKE or WHERE at the end of the statement.
fn filtered(pairs_of: Vec<(String, String)>, head: &[&str], words: &[&str]) -> Result<Answer> {
    let table = pairs("Variable_name", "Value", pairs_of);
    let Some(at) = head.iter().position(|word| matches!(*word, "like" | "where")) else {
        return Ok(Answer::Rows(table));
    };
    let condition = match head[at] {
        "like" => format!("variable_name LIKE {}", words[at + 1..].join(" ")),
        _ => words[at + 1..].join(" "),
    };
    let sql = format!("SELECT * FROM variables WHERE {condition}");
    let question = question(&sql).map_err(fault)?;
    let named = |row: Vec<Value>| table.columns.iter().map(|c| c.name.clone()).zip(row).collect();
    let rows = table.rows.clone().into_iter().map(named).collect();
    query::answer(&question, &table.columns, rows, &|_| None).map(Answer::Rows)
}

/// The configuration, and what clients want to know of every server.
fn variables(console: &Console) -> Vec<(String, String)> {
    let mut variables = (console.variables)();
    let server = [
        ("action", (console.view.action)()),
        ("autocommit", "ON".to_owned()),
        ("auto_increment_increment", "1".to_owned()),
        ("character_set_client", "utf8mb4".to_owned()),
        ("character_set_connection", "utf8mb4".to_owned()),
        ("character_set_results", "utf8mb4".to_owned()),
        ("character_set_server", "utf8mb4".to_owned()),
        ("collation_connection", "utf8mb4_general_ci".to_owned()),
        ("collation_server", "utf8mb4_general_ci".to_owned()),
        ("init_connect", String::new()),
        ("interactive_timeout", "28800".to_owned()),
        ("license", "Apache-2.0".to_owned()),
        ("lower_case_table_names", "1".to_owned()),
        ("max_allowed_packet", "1048576".to_owned()),
        ("net_write_timeout", "60".to_owned()),
        ("performance_schema", "OFF".to_owned()),
        ("query_cache_size", "0".to_owned()),
        ("query_cache_type", "OFF".to_owned()),
        ("socket", String::new()),
        ("sql_mode", String::new()),
        ("system_time_zone", "UTC".to_owned()),
        ("time_zone", "SYSTEM".to_owned()),
        ("transaction_isolation", "REPEATABLE-READ".to_owned()),
        ("tx_isolation", "REPEATABLE-READ".to_owned()),
        ("version", version()),
        ("version_comment", "interlock console".to_owned()),
        ("wait_timeout", "28800".to_owned()),
    ];
    variables.extend(server.map(|(name, value)| (name.to_owned(), value)));
    variables
}

fn version() -> String {
    format!("8.0.99-interlock-{}", env!("CARGO_PKG_VERSION"))
}

/// A SELECT.
fn select(console: &Console, asker: &Asker, text: &str) -> Result<Answer> {
    let question = question(text).map_err(fault)?;
    let outside = |term: &Term| outside(console, asker, term);
    let Some((schema, name)) = &question.table else {
        // One row of nothing, as every server has it.
        return query::answer(&question, &[], vec![Default::default()], &outside).map(Answer::Rows);
    };
    let schema = schema.as_deref().or(asker.schema).unwrap_or("interlock").to_ascii_lowercase();
    if schema != "interlock" {
        let (columns, rows) = schema::rows(&schema, name)?;
        return query::answer(&question, &columns, rows, &outside).map(Answer::Rows);
    }
    let lower = name.to_ascii_lowercase();
    let (name, resets) = match lower.strip_suffix("_reset") {
        Some(name) if matches!(name, "conflicts" | "digests") => (name, true),
        _ => (lower.as_str(), false),
    };
    let table = TABLES.iter().find(|table| table.name == name);
    let table = table.ok_or_else(|| Fault::unknown_table(&schema, name))?;
    if resets {
        operator(asker)?;
    }
    let rows = (table.rows)(&console.view, MAX_ROWS);
    let answer = query::answer(&question, &table.columns(), rows, &outside).map(Answer::Rows)?;
    if resets {
        match name {
            "conflicts" => console.view.admission.ledger.clear(),
            _ => (console.view.clear_digests)(),
        }
    }
    Ok(answer)
}

/// Values that do not come from a table.
fn outside(console: &Console, asker: &Asker, term: &Term) -> Option<Value> {
    let user = || Value::from(format!("{}@localhost", asker.user));
    match term {
        Term::Variable(name) => {
            let value = variables(console).into_iter().find(|(known, _)| known == name)?.1;
            Some(match value.as_str() {
                "ON" => 1.into(),
                "OFF" => 0.into(),
                number => number.parse::<i64>().map_or_else(|_| value.clone().into(), Value::from),
            })
        }
        Term::Function(name, _) => Some(match name.as_str() {
            "database" | "schema" => asker.schema.map_or(Value::Null, Value::from),
            "version" => version().into(),
            "connection_id" => asker.number.into(),
            "user" | "current_user" | "session_user" | "system_user" => user(),
            "now" | "current_timestamp" | "sysdate" => {
                jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string().into()
            }
            _ => return None,
        }),
        Term::Column(name) if name.eq_ignore_ascii_case("current_user") => Some(user()),
        _ => None,
    }
}

/// `SHOW CONFLICT n`: both sides' statements in one order of time.
fn timeline(console: &Console, seq: u64) -> Result<Answer> {
    let record = console.view.admission.ledger.get(seq);
    let record = record.ok_or_else(|| Fault::new(1094, format!("there is no conflict {seq} (any more)")))?;
    let title = |party: &crate::admission::record::Party| {
        let program = party.program.as_deref().map(|p| format!(", {p}")).unwrap_or_default();
        format!("session {} ({}{program}, thread {})", party.session, party.user, party.server_thread)
    };
    let holder = record.holders.first();
    let columns = vec![
        Column::plain("ms", ColumnKind::Double),
        Column::plain(&holder.map_or("in the way: not known".to_owned(), title), ColumnKind::Text),
        Column::plain(&title(&record.requester), ColumnKind::Text),
    ];
    let mut steps: Vec<(f64, bool, &str)> = Vec::new();
    for (right, party) in [(false, holder), (true, Some(&record.requester))] {
        let Some(party) = party else { continue };
        // Times count from each side's own BEGIN; what both share is the moment of the record.
        steps.extend(party.transaction.iter().map(|s| (s.at_ms - party.age_ms, right, &*s.statement)));
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let start = steps.first().map_or(0.0, |step| step.0);
    let row = |(at, right, statement): (f64, bool, &str)| {
        let (left, right) = if right { ("", statement) } else { (statement, "") };
        vec![Value::from(((at - start) * 10.0).round() / 10.0), left.into(), right.into()]
    };
    let mut rows: Vec<Vec<Value>> = steps.into_iter().map(row).collect();
    let place = &record.resource;
    let what = format!(
        "{:?} on {}.{} ({}), {:?}, {:?}",
        record.kind, place.table, place.index, place.range, record.action, record.outcome
    );
    rows.push(vec![Value::Null, Value::from(""), what.to_lowercase().into()]);
    Ok(Answer::Rows(Table { columns, rows }))
}

fn fault(error: QuestionError) -> Fault {
    match error {
        QuestionError::Syntax(text) => Fault::syntax(&text),
        beyond => Fault::beyond(&beyond.to_string()),
    }
}

fn pairs<K: Into<String>, V: Into<String>>(
    key: &str,
    value: &str,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Table {
    let columns = vec![Column::plain(key, ColumnKind::Text), Column::plain(value, ColumnKind::Text)];
    let row = |(key, value): (K, V)| vec![Value::from(key.into()), Value::from(value.into())];
    Table { columns, rows: pairs.into_iter().map(row).collect() }
}
