//! Data definition, administration and routines: told by their first words.

use super::access::TableName;
use super::cursor::Cursor;
use super::fold::PieceKind;
use super::routine;
use super::statement::{OpaqueReason, Statement};

/// First words of what commits implicitly (MySQL manual, "Statements That Cause an Implicit Commit").
/// Longer ones stand before their prefixes.
const COMMITS: &[&str] = &[
    "ANALYZE",
    "CACHE INDEX",
    "CHANGE",
    "CHECK",
    "FLUSH",
    "GRANT",
    "IMPORT",
    "INSTALL",
    "LOAD INDEX",
    "OPTIMIZE",
    "RENAME USER",
    "REPAIR",
    "RESET",
    "REVOKE",
    "START",
    "STOP",
    "UNINSTALL",
];

/// First words of what takes no lock that the model knows and changes no transaction.
const HARMLESS: &[&str] = &[
    "BINLOG",
    "CHECKSUM",
    "CLONE",
    "DEALLOCATE",
    "GET",
    "HELP",
    "KILL",
    "LOCK INSTANCE",
    "PREPARE",
    "PURGE",
    "RESET PERSIST",
    "RESIGNAL",
    "RESTART",
    "SHOW",
    "SHUTDOWN",
    "SIGNAL",
    "UNLOCK INSTANCE",
    "BACKUP",
];

/// First words of what may lock more than the text shows.
const ROUTINES: &[&str] = &[
    "CALL",
    "DO",
    "HANDLER",
    "LOAD DATA",
    "LOAD XML",
    "EXECUTE",
    "BEGIN",
    "IF",
    "LOOP",
    "REPEAT",
    "WHILE",
    "CASE",
];

/// Classifies a statement that is neither transaction control nor DML.
pub(super) fn classify(all: Cursor<'_, '_>) -> Statement {
    if let Some(statement) = definition(all) {
        return statement;
    }
    let starts = |list: &'static [&'static str]| {
        list.iter().copied().find(|words| {
            let mut cursor = all;
            cursor.eat_all(words)
        })
    };
    if let Some(statement) = routine::prepare(all) {
        return statement;
    }
    if starts(HARMLESS).is_some() {
        return Statement::Harmless;
    }
    if let Some(verb) = starts(ROUTINES) {
        return Statement::Routine { verb, tables: mentioned(all, verb), runs: routine::runs(all) };
    }
    if let Some(verb) = starts(COMMITS) {
        let mut cursor = all;
        cursor.next();
        cursor.eat_any(&["LOCAL", "NO_WRITE_TO_BINLOG"]);
        let listed = cursor.eat_any(&["TABLES", "TABLE"])
            && !cursor.peek().is_some_and(|piece| piece.is("WITH") || piece.is("FOR"));
        let tables = if listed { cursor.tables() } else { Vec::new() };
        if verb == "FLUSH" && (cursor.eat_all("WITH READ LOCK") || cursor.eat_all("FOR EXPORT")) {
            return flush_and_lock(tables);
        }
        return Statement::Ddl { tables, verb, commits: true, reads: Vec::new(), source: None };
    }
    Statement::Opaque { reason: OpaqueReason::Syntax, tables: from_clauses(all) }
}

/// `FLUSH TABLES … WITH READ LOCK`: with a list it is LOCK TABLES, without one it locks everything.
fn flush_and_lock(tables: Vec<TableName>) -> Statement {
    if tables.is_empty() {
        let verb = "FLUSH TABLES WITH READ LOCK";
        return Statement::Ddl { tables, verb, commits: true, reads: Vec::new(), source: None };
    }
    Statement::LockTables(tables.into_iter().map(|table| (table, false)).collect())
}

/// The tables of a routine statement.
fn mentioned(mut cursor: Cursor<'_, '_>, verb: &str) -> Vec<TableName> {
    match verb {
        "HANDLER" => {
            cursor.next();
            cursor.table().into_iter().collect()
        }
        "LOAD DATA" | "LOAD XML" => {
            while let Some(piece) = cursor.next() {
                if piece.is("INTO") && cursor.eat("TABLE") {
                    return cursor.table().into_iter().collect();
                }
            }
            Vec::new()
        }
        _ => from_clauses(cursor),
    }
}

/// Tables named after FROM, JOIN, INTO and UPDATE, as far as one can see without a parser.
pub(super) fn from_clauses(mut cursor: Cursor<'_, '_>) -> Vec<TableName> {
    let mut tables = Vec::new();
    while let Some(piece) = cursor.next() {
        if !["FROM", "JOIN", "INTO", "UPDATE"].iter().any(|word| piece.is(word)) {
            continue;
        }
        loop {
            let quoted = cursor.peek().is_some_and(|piece| piece.kind == PieceKind::Quoted);
            let keyword =
                ["SELECT", "SET", "OUTFILE", "DUMPFILE", "LATERAL", "NOWAIT", "SKIP", "OF", "DUAL", "WAIT"];
            if !quoted && cursor.peek().is_some_and(|piece| keyword.iter().any(|word| piece.is(word))) {
                break;
            }
            let Some(table) = cursor.table() else {
                break;
            };
            if !tables.contains(&table) {
                tables.push(table);
            }
            // An alias, then perhaps the next table of a comma list.
            cursor.eat("AS");
            if !cursor.peek().is_some_and(|piece| piece.op(",")) {
                let mut ahead = cursor;
                if ahead.name().is_some() && ahead.peek().is_some_and(|piece| piece.op(",")) {
                    cursor = ahead;
                }
            }
            if !cursor.eat_op(",") {
                break;
            }
        }
    }
    tables
}

/// CREATE, ALTER, DROP, TRUNCATE, RENAME.
fn definition(mut cursor: Cursor<'_, '_>) -> Option<Statement> {
    let verb = cursor.next()?.text.to_ascii_uppercase();
    let mut reads = Vec::new();
    let (commits, (verb, tables)) = match verb.as_slice() {
        b"TRUNCATE" => {
            cursor.eat("TABLE");
            (true, ("TRUNCATE", cursor.table().into_iter().collect()))
        }
        b"RENAME" if cursor.eat_any(&["TABLES", "TABLE"]) => (true, ("RENAME TABLE", renamed(cursor))),
        b"CREATE" => {
            cursor.eat_all("OR REPLACE");
            let temporary = cursor.eat("TEMPORARY");
            (!temporary, created(cursor, &mut reads))
        }
        b"DROP" => {
            if cursor.peek()?.is("PREPARE") {
                return None;
            }
            let temporary = cursor.eat("TEMPORARY");
            (!temporary, dropped(cursor))
        }
        b"ALTER" => (true, altered(cursor)),
        _ => return None,
    };
    Some(Statement::Ddl { tables, verb, commits, reads, source: None })
}

type Definition = (&'static str, Vec<TableName>);

fn renamed(mut cursor: Cursor<'_, '_>) -> Vec<TableName> {
    let mut tables = Vec::new();
    cursor.eat_all("IF EXISTS");
    while let Some(table) = cursor.table() {
        tables.push(table);
        if !cursor.eat("TO") && !cursor.eat_op(",") {
            // MariaDB: `RENAME TABLE a WAIT 5 TO b`.
            cursor.eat_any(&["WAIT", "NOWAIT"]);
            if cursor.peek().is_some_and(|piece| matches!(piece.kind, PieceKind::Slot(..))) {
                cursor.next();
            }
            if !cursor.eat("TO") {
                break;
            }
        }
    }
    tables
}

fn created(mut cursor: Cursor<'_, '_>, reads: &mut Vec<TableName>) -> Definition {
    if cursor.eat("TABLE") {
        cursor.eat_all("IF NOT EXISTS");
        let mut tables: Vec<TableName> = cursor.table().into_iter().collect();
        references(cursor, &mut tables, reads);
        return ("CREATE TABLE", tables);
    }
    if cursor.eat("SEQUENCE") {
        cursor.eat_all("IF NOT EXISTS");
        return ("CREATE SEQUENCE", cursor.table().into_iter().collect());
    }
    let mut kind = "CREATE";
    while let Some(piece) = cursor.next() {
        if piece.is("INDEX") {
            kind = "CREATE INDEX";
        } else if piece.is("TRIGGER") {
            kind = "CREATE TRIGGER";
        } else if piece.is("VIEW") {
            cursor.eat_all("IF NOT EXISTS");
            let view = cursor.table().into_iter().collect();
            reads.extend(from_clauses(cursor));
            return ("CREATE VIEW", view);
        } else if ["PROCEDURE", "FUNCTION", "EVENT"].iter().any(|word| piece.is(word)) {
            return ("CREATE ROUTINE", Vec::new());
        } else if piece.is("ON") && kind != "CREATE" {
            return (kind, cursor.table().into_iter().collect());
        }
    }
    (kind, Vec::new())
}

/// The parents that foreign keys name: their catalog entries change too. `LIKE` only reads.
fn references(mut cursor: Cursor<'_, '_>, tables: &mut Vec<TableName>, reads: &mut Vec<TableName>) {
    while let Some(piece) = cursor.next() {
        if piece.is("REFERENCES") && !cursor.at_end() {
            tables.extend(cursor.table().filter(|table| !tables.contains(table)));
        } else if piece.is("LIKE") {
            reads.extend(cursor.table());
        }
    }
}

fn dropped(mut cursor: Cursor<'_, '_>) -> Definition {
    if cursor.eat_any(&["TABLES", "TABLE"]) {
        cursor.eat_all("IF EXISTS");
        return ("DROP TABLE", cursor.tables());
    }
    if cursor.eat("VIEW") {
        cursor.eat_all("IF EXISTS");
        return ("DROP VIEW", cursor.tables());
    }
    let index = cursor.eat("INDEX");
    while let Some(piece) = cursor.next() {
        if index && piece.is("ON") {
            return ("DROP INDEX", cursor.table().into_iter().collect());
        }
    }
    ("DROP", Vec::new())
}

fn altered(mut cursor: Cursor<'_, '_>) -> Definition {
    while cursor.eat_any(&["ONLINE", "IGNORE"]) {}
    if !cursor.eat("TABLE") {
        return ("ALTER", Vec::new());
    }
    cursor.eat_all("IF EXISTS");
    let mut tables: Vec<TableName> = cursor.table().into_iter().collect();
    references(cursor, &mut tables, &mut Vec::new());
    while let Some(piece) = cursor.next() {
        if piece.is("RENAME") && !["COLUMN", "INDEX", "KEY"].iter().any(|word| cursor.eat(word)) {
            cursor.eat_any(&["TO", "AS"]);
            tables.extend(cursor.table());
        }
    }
    ("ALTER TABLE", tables)
}
