//! Statements that are told by their first words, without a parser.

use super::admin;
use super::cursor::Cursor;
use super::fold::PieceKind;
use super::set;
use super::statement::{OpaqueReason, Statement, Xa};
use super::value::Scalar;

/// What a statement's first words say.
pub(super) enum Recognised {
    /// All there is to know.
    Done(Statement),
    /// SELECT, INSERT, UPDATE, DELETE and their like: for the parser.
    Dml,
    /// The statement is in fact the one that begins here (`EXPLAIN ANALYZE …`, `SET STATEMENT … FOR …`).
    Skip(usize),
}

/// Reads the first words. `all` is not empty.
pub(super) fn recognise(all: Cursor<'_, '_>) -> Recognised {
    let mut cursor = all;
    let skip = |cursor: &Cursor<'_, '_>| Recognised::Skip(all.rest().len() - cursor.rest().len());
    let Some(first) = cursor.next() else {
        return Recognised::Done(Statement::Harmless);
    };
    if first.op("(") {
        return Recognised::Dml;
    }
    let word = first.text.to_ascii_uppercase();
    Recognised::Done(match word.as_slice() {
        b"SELECT" | b"INSERT" | b"UPDATE" | b"DELETE" | b"REPLACE" | b"WITH" | b"VALUES" | b"TABLE" => {
            return Recognised::Dml;
        }
        b"BEGIN" | b"START" | b"COMMIT" | b"ROLLBACK" | b"SAVEPOINT" | b"RELEASE" | b"XA" => {
            return Recognised::Done(transaction(all).unwrap_or_else(|| admin::classify(all)));
        }
        b"SET" if cursor.eat("STATEMENT") => {
            while cursor.peek().is_some_and(|piece| !piece.is("FOR")) {
                cursor.next();
            }
            cursor.eat("FOR");
            return skip(&cursor);
        }
        b"SET" => set::set(cursor),
        b"USE" => match cursor.name() {
            Some(schema) => Statement::Use(schema),
            None => syntax(),
        },
        b"LOCK" if cursor.eat_any(&["TABLES", "TABLE"]) => lock_tables(cursor),
        b"UNLOCK" if cursor.eat_any(&["TABLES", "TABLE"]) => Statement::UnlockTables,
        b"EXPLAIN" | b"DESCRIBE" | b"DESC" => {
            if cursor.eat("ANALYZE") {
                format_clause(&mut cursor);
                return skip(&cursor);
            }
            Statement::Harmless
        }
        b"ANALYZE" => {
            // MariaDB's `ANALYZE [FORMAT=JSON] SELECT …` runs the statement.
            format_clause(&mut cursor);
            let runs = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];
            if cursor.peek().is_some_and(|piece| runs.iter().any(|word| piece.is(word))) {
                return skip(&cursor);
            }
            admin::classify(all)
        }
        b"KILL" => kill(cursor),
        _ => admin::classify(all),
    })
}

/// After `KILL`. Of the forms that name one statement, only a literal or a `?` tells which.
fn kill(mut cursor: Cursor<'_, '_>) -> Statement {
    cursor.eat_any(&["HARD", "SOFT"]);
    if !cursor.eat("QUERY") {
        return Statement::Harmless;
    }
    match cursor.next().map(|piece| piece.kind) {
        Some(PieceKind::Slot(slot, _)) if cursor.at_end() => Statement::KillQuery(Scalar::Slot(slot)),
        _ => Statement::Harmless,
    }
}

pub(super) fn syntax() -> Statement {
    Statement::Opaque { reason: OpaqueReason::Syntax, tables: Vec::new() }
}

fn format_clause(cursor: &mut Cursor<'_, '_>) {
    if cursor.eat("FORMAT") {
        cursor.eat_op("=");
        cursor.next();
    }
}

/// Transaction control. None: not what it looked like.
fn transaction(mut cursor: Cursor<'_, '_>) -> Option<Statement> {
    if cursor.eat("BEGIN") {
        cursor.eat("WORK");
        return cursor.at_end().then_some(Statement::Begin { read_only: None, snapshot: false });
    }
    if cursor.eat_all("START TRANSACTION") {
        return start(cursor);
    }
    if cursor.eat("COMMIT") {
        cursor.eat("WORK");
        let (chain, release) = completion(&mut cursor);
        return Some(Statement::Commit { chain, release });
    }
    if cursor.eat("ROLLBACK") {
        cursor.eat("WORK");
        if cursor.eat("TO") {
            cursor.eat("SAVEPOINT");
            return Some(Statement::RollbackTo(cursor.name()?.to_lowercase()));
        }
        let (chain, release) = completion(&mut cursor);
        return Some(Statement::Rollback { chain, release });
    }
    if cursor.eat("SAVEPOINT") {
        return Some(Statement::Savepoint(cursor.name()?.to_lowercase()));
    }
    if cursor.eat_all("RELEASE SAVEPOINT") {
        return Some(Statement::ReleaseSavepoint(cursor.name()?.to_lowercase()));
    }
    if cursor.eat("XA") {
        return xa(cursor);
    }
    None
}

fn start(mut cursor: Cursor<'_, '_>) -> Option<Statement> {
    let (mut read_only, mut snapshot) = (None, false);
    loop {
        if cursor.eat_all("READ ONLY") {
            read_only = Some(true);
        } else if cursor.eat_all("READ WRITE") {
            read_only = Some(false);
        } else if cursor.eat_all("WITH CONSISTENT SNAPSHOT") {
            snapshot = true;
        } else if !cursor.eat_op(",") {
            break;
        }
    }
    Some(Statement::Begin { read_only, snapshot })
}

/// `[AND [NO] CHAIN] [[NO] RELEASE]`
fn completion(cursor: &mut Cursor<'_, '_>) -> (bool, bool) {
    let (mut chain, mut release) = (false, false);
    if cursor.eat("AND") {
        chain = !cursor.eat("NO");
        cursor.eat("CHAIN");
    }
    if !cursor.eat_all("NO RELEASE") {
        release = cursor.eat("RELEASE");
    }
    (chain, release)
}

fn xa(mut cursor: Cursor<'_, '_>) -> Option<Statement> {
    let verb = cursor.next()?;
    let xa = match verb.text.to_ascii_uppercase().as_slice() {
        b"START" | b"BEGIN" => Xa::Start,
        b"END" => Xa::End,
        b"PREPARE" => Xa::Prepare,
        b"COMMIT" => Xa::Commit,
        b"ROLLBACK" => Xa::Rollback,
        b"RECOVER" => Xa::Recover,
        _ => return None,
    };
    Some(Statement::Xa(xa))
}

fn lock_tables(mut cursor: Cursor<'_, '_>) -> Statement {
    let mut tables = Vec::new();
    while let Some(table) = cursor.table() {
        let mut write = false;
        while let Some(piece) = cursor.peek() {
            if piece.op(",") {
                break;
            }
            write |= piece.is("WRITE");
            cursor.next();
        }
        tables.push((table, write));
        cursor.eat_op(",");
    }
    Statement::LockTables(tables)
}
