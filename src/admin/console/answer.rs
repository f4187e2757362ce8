//! What the console understands, statement by statement.
//!
//! A SELECT from a table goes through sqlparser ([`crate::sql::question`]); the rest are a few words, told
//! apart by their beginning. What MySQL clients and graphical tools send by themselves when they connect is
//! answered as a small, empty server would answer it.

use serde_json::Value;

use super::account::Role;
use super::help::HELP;
use super::query::{self, Table};
use super::timeline::timeline;
use super::variables::{variables, version};
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

/// Answers a statement.
pub(super) fn answer(console: &Console, asker: &mut Asker, text: &str) -> Result<Answer> {
    let text = plain(text);
    let text = text.as_str();
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
        ["show", "conflict", seq] => timeline(console, number(seq)?).map(Answer::Rows),
        ["show", "help"] => Ok(Answer::Rows(pairs("statement", "what", HELP.iter().copied()))),
        ["show", "full" | "extended", ..] => show(console, asker, &head[2..], &words[2..], true),
        ["show", ..] => show(console, asker, &head[1..], &words[1..], false),
        ["describe" | "desc" | "explain", table] => schema::describe(asker, table, true).map(Answer::Rows),
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

/// Without comments and without the semicolon. What stands in a comment for servers, `/*!50002 GLOBAL */`, is
/// text of the statement.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['\'', '"', '`', '/', '*']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let quote = from.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
        let taken = match (quote, from.get(..2)) {
            // A quote that is doubled ends here and begins again: the text stays the same.
            (Some(quote), _) => from[1..].find(quote).map_or(from.len(), |end| end + 2),
            (None, Some("/*")) if !from.starts_with("/*!") => {
                plain.push(' ');
                rest = from[2..].split_once("*/").map_or("", |(_, rest)| rest);
                continue;
            }
            (None, Some("/*")) => {
                rest = from[3..].trim_start_matches(|c: char| c.is_ascii_digit());
                plain.push(' ');
                continue;
            }
            (None, Some("*/")) => {
                rest = &from[2..];
                continue;
            }
            _ => 1,
        };
        plain.push_str(&from[..taken]);
        rest = &from[taken..];
    }
    plain.push_str(rest);
    plain.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace()).to_owned()
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
    let table = match head {
        ["status", ..] | ["global" | "session", "status", ..] => {
            let status = TABLES.iter().find(|table| table.name == "status");
            let row = status.and_then(|table| (table.rows)(&console.view, 1).pop()).unwrap_or_default();
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            pairs("Variable_name", "Value", row.iter().map(|(name, value)| (name.clone(), text(value))))
        }
        ["variables", ..] | ["global" | "session" | "local", "variables", ..] => {
            pairs("Variable_name", "Value", variables(console))
        }
        [table, ..] if TABLES.iter().any(|known| known.name == *table) => {
            return select(console, asker, &format!("SELECT * FROM interlock.{table} {}", rest()));
        }
        ["processlist", ..] => return select(console, asker, "SELECT * FROM interlock.sessions"),
        ["databases" | "schemas", ..] => schema::databases(),
        ["tables", ..] => schema::show_tables(asker, head, full)?,
        ["table", "status", ..] => schema::table_status(),
        ["columns" | "fields", "from" | "in", _, ..] => schema::describe(asker, words[2], full)?,
        ["create", "table", _] => return schema::create_table(asker, words[2]).map(Answer::Rows),
        ["create", "database" | "schema", _] => return schema::create_database(words[2]).map(Answer::Rows),
        [
            "warnings" | "errors" | "engines" | "plugins" | "events" | "triggers" | "grants" | "index"
            | "indexes" | "keys" | "collation" | "character" | "charset" | "procedure" | "function"
            | "privileges" | "binary" | "replica" | "slave" | "master" | "profiles" | "open",
            ..,
        ] => return Ok(Answer::Rows(schema::nothing(head[0]))),
        _ => return Err(Fault::syntax(&format!("cannot show {}", words.join(" ")))),
    };
    filtered(table, head, words).map(Answer::Rows)
}

/// With the LIKE (of the first column) or WHERE at the end of the statement.
fn filtered(table: Table, head: &[&str], words: &[&str]) -> Result<Table> {
    let Some(at) = head.iter().position(|word| matches!(*word, "like" | "where")) else { return Ok(table) };
    let rest = words[at + 1..].join(" ");
    let condition = match head[at] {
        "like" => format!("`{}` LIKE {rest}", table.columns[0].name),
        _ => rest,
    };
    let question = question(&format!("SELECT * FROM shown WHERE {condition}")).map_err(fault)?;
    let named = |row: Vec<Value>| table.columns.iter().map(|c| c.name.clone()).zip(row).collect();
    let rows = table.rows.into_iter().map(named).collect();
    query::answer(&question, &table.columns, rows, &|_| None)
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
    // The newest comes first: what is found from now on stays.
    let newest = rows.first().and_then(|row| row.get("seq")).and_then(Value::as_u64);
    let answer = query::answer(&question, &table.columns(), rows, &outside).map(Answer::Rows)?;
    match (resets, name, newest) {
        (true, "conflicts", Some(newest)) => console.view.admission.ledger.clear(newest),
        (true, "digests", _) => (console.view.clear_digests)(),
        _ => {}
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

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn comments_are_left_out_and_quotes_left_alone() {
        let check = |text: &str, expected: &str| assert_eq!(plain(text), expected, "{text}");
        check("  SHOW LOCKS ; ", "SHOW LOCKS");
        check("/* a tool */ SELECT 1 /* end */", "SELECT 1");
        check("SHOW /*!50002 GLOBAL */ STATUS", "SHOW   GLOBAL  STATUS");
        check("SELECT '/* text */', \"*/\", `/*`", "SELECT '/* text */', \"*/\", `/*`");
        check("SELECT 'it''s /* text */'", "SELECT 'it''s /* text */'");
        check("SELECT COUNT(*) FROM locks", "SELECT COUNT(*) FROM locks");
        check("SELECT 'open", "SELECT 'open");
        check("SELECT 1 /* open", "SELECT 1");
        check("é/é*é'é", "é/é*é'é");
        check("/*!", "");
        check("'", "'");
    }
}
