//! `SET`: the parts that change transactions or how later text is read.

use super::cursor::Cursor;
use super::digest::LiteralKind;
use super::fold::{Piece, PieceKind};
use super::routine;
use super::statement::{Argument, Isolation, Scope, Setting, SqlMode, Statement};
use super::value::Scalar;

/// After `SET`.
pub(super) fn set(mut cursor: Cursor<'_, '_>) -> Statement {
    if cursor.peek().is_some_and(|piece| piece.is("PASSWORD")) {
        return Statement::Ddl {
            tables: Vec::new(),
            verb: "SET PASSWORD",
            commits: true,
            reads: Vec::new(),
            source: None,
        };
    }
    let mut settings = Vec::new();
    let mut scope = None;
    while !cursor.at_end() {
        if let Some(said) = scope_word(&mut cursor) {
            scope = Some(said);
        }
        if cursor.eat("TRANSACTION") {
            characteristics(&mut cursor, scope.unwrap_or(Scope::Next), &mut settings);
            break;
        }
        assignment(&mut cursor, scope, &mut settings);
    }
    Statement::Set(settings)
}

fn scope_word(cursor: &mut Cursor<'_, '_>) -> Option<Scope> {
    if cursor.eat_any(&["SESSION", "LOCAL"]) {
        Some(Scope::Session)
    } else if cursor.eat_any(&["GLOBAL", "PERSIST", "PERSIST_ONLY"]) {
        Some(Scope::Global)
    } else {
        None
    }
}

/// `ISOLATION LEVEL …, READ ONLY`
fn characteristics(cursor: &mut Cursor<'_, '_>, scope: Scope, settings: &mut Vec<Setting>) {
    loop {
        if cursor.eat_all("ISOLATION LEVEL") {
            let level = if cursor.eat_all("READ UNCOMMITTED") {
                Some(Isolation::ReadUncommitted)
            } else if cursor.eat_all("READ COMMITTED") {
                Some(Isolation::ReadCommitted)
            } else if cursor.eat_all("REPEATABLE READ") {
                Some(Isolation::RepeatableRead)
            } else if cursor.eat("SERIALIZABLE") {
                Some(Isolation::Serializable)
            } else {
                None
            };
            settings.push(Setting::Isolation(scope, level));
        } else if cursor.eat_all("READ ONLY") {
            settings.push(Setting::ReadOnly(scope, Some(true)));
        } else if cursor.eat_all("READ WRITE") {
            settings.push(Setting::ReadOnly(scope, Some(false)));
        }
        if !cursor.eat_op(",") {
            return;
        }
    }
}

/// `name = value` and the comma after it. Always takes at least one piece.
fn assignment(cursor: &mut Cursor<'_, '_>, keyword: Option<Scope>, settings: &mut Vec<Setting>) {
    let Some(target) = cursor.next() else {
        return;
    };
    let mut variable = String::from_utf8_lossy(target.text).replace('`', "").to_lowercase();
    let mut scope = keyword;
    // `@@x` and `x` mean the session; for the transaction's own variables `@@x` alone means the next one.
    let mut bare_at = false;
    if let Some(name) = variable.strip_prefix("@@") {
        let (said, rest) = match name.split_once('.') {
            Some(("session" | "local", rest)) => (Some(Scope::Session), rest.to_owned()),
            Some(("global" | "persist" | "persist_only", rest)) => (Some(Scope::Global), rest.to_owned()),
            _ => (None, name.to_owned()),
        };
        bare_at = said.is_none();
        scope = said;
        variable = rest;
    }
    let assigned = cursor.eat_op("=") || cursor.eat_op(":=");
    let value = value(cursor);
    if !assigned {
        return;
    }
    if let Some(name) = routine::variable(target) {
        let argument = value.map_or(Argument::Scalar(Scalar::Unknown), routine::argument);
        settings.push(Setting::Variable(name, argument));
        return;
    }
    let session = scope.unwrap_or(Scope::Session) == Scope::Session;
    // MySQL manual, "SET TRANSACTION": `@@transaction_isolation` without scope is the next transaction's.
    let transaction_scope = match scope {
        Some(scope) => scope,
        None if bare_at => Scope::Next,
        None => Scope::Session,
    };
    match variable.as_str() {
        "autocommit" if session => settings.push(Setting::Autocommit(truth(value))),
        "transaction_isolation" | "tx_isolation" => {
            settings.push(Setting::Isolation(transaction_scope, isolation(value)));
        }
        "transaction_read_only" | "tx_read_only" => {
            settings.push(Setting::ReadOnly(transaction_scope, truth(value)));
        }
        "sql_mode" if session => settings.push(Setting::SqlMode(sql_mode(value))),
        "foreign_key_checks" if session => settings.push(Setting::ForeignKeyChecks(truth(value))),
        "unique_checks" if session => settings.push(Setting::UniqueChecks(truth(value))),
        "innodb_lock_wait_timeout" if session => settings.push(Setting::LockWaitTimeout(seconds(value))),
        _ => {}
    }
}

/// The pieces up to the comma: the value if it is a single piece.
fn value<'p, 'a>(cursor: &mut Cursor<'p, 'a>) -> Option<&'p Piece<'a>> {
    let mut found = None;
    let mut count = 0;
    let mut depth = 0u32;
    while let Some(piece) = cursor.next() {
        if piece.op(",") && depth == 0 {
            break;
        }
        if piece.op("(") {
            depth += 1;
        } else if piece.op(")") {
            depth = depth.saturating_sub(1);
        }
        count += 1;
        found = Some(piece);
    }
    found.filter(|_| count == 1)
}

/// The text of a value without quotes, lower case.
fn plain(value: Option<&Piece<'_>>) -> Option<String> {
    let value = value?;
    let text = String::from_utf8_lossy(value.text).to_lowercase();
    match value.kind {
        PieceKind::Slot(_, LiteralKind::Param(_)) => None,
        PieceKind::Slot(..) => Some(text.trim_matches(['\'', '"']).to_owned()),
        PieceKind::Word => Some(text),
        PieceKind::Quoted => Some(text.trim_matches(['`', '"']).to_owned()),
        _ => None,
    }
}

fn truth(value: Option<&Piece<'_>>) -> Option<bool> {
    match plain(value)?.as_str() {
        "1" | "on" | "true" => Some(true),
        "0" | "off" | "false" => Some(false),
        _ => None,
    }
}

fn seconds(value: Option<&Piece<'_>>) -> Option<u64> {
    plain(value)?.parse().ok()
}

fn isolation(value: Option<&Piece<'_>>) -> Option<Isolation> {
    level(&plain(value)?)
}

/// `READ-COMMITTED` and so on, in any case, as the server's variables have it; or its number.
pub fn level(name: &str) -> Option<Isolation> {
    match name.to_ascii_lowercase().as_str() {
        "read-uncommitted" | "0" => Some(Isolation::ReadUncommitted),
        "read-committed" | "1" => Some(Isolation::ReadCommitted),
        "repeatable-read" | "2" => Some(Isolation::RepeatableRead),
        "serializable" | "3" => Some(Isolation::Serializable),
        _ => None,
    }
}

fn sql_mode(value: Option<&Piece<'_>>) -> Option<SqlMode> {
    let modes = plain(value)?;
    if modes.bytes().any(|byte| byte.is_ascii_digit()) || modes == "default" {
        return None;
    }
    let has = |names: &[&str]| modes.split(',').any(|mode| names.contains(&mode.trim()));
    Some(SqlMode {
        // The combination modes that hold ANSI_QUOTES (MySQL and MariaDB manuals, "Combination SQL Modes").
        ansi_quotes: has(&["ansi_quotes", "ansi", "db2", "maxdb", "mssql", "oracle", "postgresql"]),
        no_backslash_escapes: has(&["no_backslash_escapes"]),
    })
}
