//! A text to a statement: on a miss of the digest cache only.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::access::{Predicate, RowLock, WaitPolicy};
use super::admin::from_clauses;
use super::cursor::Cursor;
use super::digest::{Digest, FoldKind};
use super::fold::{Piece, PieceKind, pieces, text as digest_text};
use super::lexer::Reading;
use super::named_lock;
use super::read::{Reader, access};
use super::recognise::{Recognised, recognise};
use super::rewrite::tokens;
use super::statement::{OpaqueReason, Select, Setting, Statement};
use super::write::{delete, insert, update};

/// Folded texts with more tokens than this are not parsed: that would block a thread for milliseconds.
const MAX_PIECES: usize = 8_192;
/// From this number of tokens on, a stack of its own is taken: trees of long `OR` chains are as deep as
/// they are long, and are dropped recursively.
const DEEP: usize = 256;
const DEEP_STACK: usize = 16 << 20;
/// How deep parentheses and operators may nest.
const MAX_DEPTH: usize = 50;
/// Length of a digest text in bytes.
const MAX_TEXT: usize = 1_024;

/// What became of a text.
#[derive(Clone, PartialEq, Debug)]
pub struct Parsed {
    /// The plan.
    pub statement: Statement,
    /// The text for reports and logs: normalised, without literals, of bounded length.
    pub text: String,
    /// It gives user variables values that the plan does not show.
    pub assigns: bool,
}

/// Reads a text whose digest is known. It never fails: what is not understood is [`Statement::Opaque`].
pub fn parse(text: &[u8], reading: Reading, digest: &Digest) -> Parsed {
    if digest.too_long {
        let statement = Statement::Opaque { reason: OpaqueReason::TooLong, tables: Vec::new() };
        return Parsed { statement, text: String::from("(too long)"), assigns: true };
    }
    let pieces = pieces(text, reading, digest);
    let text = digest_text(&pieces, MAX_TEXT);
    let statement = if pieces.len() > DEEP {
        stacker::grow(DEEP_STACK, || statements(&pieces, digest))
    } else {
        statements(&pieces, digest)
    };
    let assigns = assigns(&statement, &pieces);
    Parsed { statement, text, assigns }
}

/// May it give user variables values that the plan does not show? `SET @a = …` alone does so in the open.
fn assigns(statement: &Statement, pieces: &[Piece<'_>]) -> bool {
    match statement {
        Statement::Set(_) | Statement::Prepare { .. } => false,
        Statement::Routine { verb, .. } => *verb != "EXECUTE",
        _ => {
            pieces.iter().any(|piece| piece.kind == PieceKind::UserVariable)
                && (matches!(statement, Statement::Multi(_) | Statement::NamedLocks(_))
                    || pieces.iter().any(|piece| piece.op(":=") || piece.is("INTO")))
        }
    }
}

/// Splits the text at its semicolons.
fn statements(pieces: &[Piece<'_>], digest: &Digest) -> Statement {
    if compound(pieces) {
        return statement(pieces, digest);
    }
    let mut parts = pieces.split(|piece| piece.op(";")).filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    if rest.peek().is_none() {
        return statement(first, digest);
    }
    let all = std::iter::once(first).chain(rest);
    Statement::Multi(all.map(|part| Arc::new(statement(part, digest))).collect())
}

/// Stored programs hold semicolons that end no statement of the text.
fn compound(pieces: &[Piece<'_>]) -> bool {
    let mut cursor = Cursor::new(pieces);
    if cursor.eat_all("BEGIN NOT ATOMIC") {
        return true;
    }
    let starts = ["IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR"];
    if cursor.peek().is_some_and(|piece| starts.iter().any(|word| piece.is(word))) {
        return true;
    }
    let programs = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];
    (cursor.eat("CREATE") || cursor.eat_all("ALTER EVENT"))
        && pieces
            .iter()
            .take(16)
            .take_while(|piece| !piece.is("TABLE") && !piece.op(";"))
            .any(|piece| programs.iter().any(|word| piece.is(word)) || piece.is("EVENT"))
}

fn statement(mut pieces: &[Piece<'_>], digest: &Digest) -> Statement {
    loop {
        match recognise(Cursor::new(pieces)) {
            Recognised::Done(statement) => return completed(statement, pieces, digest),
            Recognised::Skip(count) => pieces = &pieces[count.max(1).min(pieces.len())..],
            Recognised::Dml => return dml(pieces, digest),
        }
    }
}

/// What the first words do not tell: named locks, the source of CREATE TABLE … SELECT.
fn completed(mut statement: Statement, pieces: &[Piece<'_>], digest: &Digest) -> Statement {
    match &mut statement {
        Statement::Routine { verb: "DO", tables, .. } if tables.is_empty() => named_locks(statement, pieces),
        Statement::Set(settings) if settings.iter().all(|s| matches!(s, Setting::Variable(..))) => {
            named_locks(statement, pieces)
        }
        Statement::Ddl { verb: "CREATE TABLE", source, .. } => {
            let select = pieces.iter().position(|piece| piece.is("SELECT"));
            if let Some(Statement::Select(select)) = select.map(|at| dml(&pieces[at..], digest)) {
                *source = Some(Box::new(select));
            }
            statement
        }
        _ => statement,
    }
}

fn named_locks(statement: Statement, pieces: &[Piece<'_>]) -> Statement {
    let calls = named_lock::calls(pieces);
    if calls.is_empty() { statement } else { Statement::NamedLocks(calls) }
}

fn dml(pieces: &[Piece<'_>], digest: &Digest) -> Statement {
    if pieces.len() > MAX_PIECES {
        return unparsed(pieces, OpaqueReason::TooLong);
    }
    let user_lock = pieces.windows(2).any(|pair| pair[1].op("(") && calls_user_lock(&pair[0]));
    let Some(tokens) = tokens(pieces) else {
        return unparsed(pieces, OpaqueReason::Syntax);
    };
    let mut parser = Parser::new(&MySqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens(tokens);
    let tree = parser.parse_statement();
    let read_all = parser.peek_token().token == sqlparser::tokenizer::Token::EOF;
    let Some(tree) = tree.ok().filter(|_| read_all) else {
        return unparsed(pieces, OpaqueReason::Syntax);
    };
    let mixed = pieces.iter().any(|piece| piece.folded == Some(FoldKind::MixedRows));
    let mut reader = Reader::new(digest);
    let statement = plan(&mut reader, &tree, mixed).map(|statement| match statement {
        Statement::Select(select) if user_lock && select.tables.is_empty() => {
            named_locks(Statement::Select(Select { user_lock, ..select }), pieces)
        }
        Statement::Select(select) => Statement::Select(Select { user_lock, ..select }),
        other => other,
    });
    statement.unwrap_or_else(|| unparsed(pieces, OpaqueReason::Shape))
}

fn plan(reader: &mut Reader<'_>, tree: &ast::Statement, mixed: bool) -> Option<Statement> {
    Some(match tree {
        ast::Statement::Query(query) => match &*query.body {
            SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) => {
                let mut nested = Vec::new();
                reader.with(query, &mut nested);
                let mut statement = plan(reader, inner, mixed)?;
                match &mut statement {
                    Statement::Update(update) => update.tables.append(&mut nested),
                    Statement::Delete(delete) => delete.tables.append(&mut nested),
                    _ => {}
                }
                statement
            }
            _ => Statement::Select(reader.select(query)),
        },
        ast::Statement::Insert(tree) => Statement::Insert(insert(reader, tree, mixed)?),
        ast::Statement::Update(tree) => Statement::Update(update(reader, tree)),
        ast::Statement::Delete(tree) => Statement::Delete(delete(reader, tree)),
        _ => return None,
    })
}

fn calls_user_lock(piece: &Piece<'_>) -> bool {
    piece.kind == PieceKind::Word
        && ["GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS"].iter().any(|name| piece.is(name))
}

/// What can be said without a tree: the tables, and for a `SELECT` the lock.
fn unparsed(pieces: &[Piece<'_>], reason: OpaqueReason) -> Statement {
    let tables = from_clauses(Cursor::new(pieces));
    let select = pieces.iter().find(|piece| !piece.op("(")).is_some_and(|piece| piece.is("SELECT"));
    if !select || pieces.iter().any(|piece| piece.kind == PieceKind::Bad) {
        return Statement::Opaque { reason, tables };
    }
    let follows = |words: &[&str]| {
        pieces.windows(words.len()).any(|window| window.iter().zip(words).all(|(piece, word)| piece.is(word)))
    };
    let lock = if follows(&["FOR", "UPDATE"]) {
        Some(true)
    } else if follows(&["FOR", "SHARE"]) || follows(&["LOCK", "IN", "SHARE", "MODE"]) {
        Some(false)
    } else {
        None
    };
    let wait = if follows(&["NOWAIT"]) {
        WaitPolicy::NoWait
    } else if follows(&["SKIP", "LOCKED"]) {
        WaitPolicy::SkipLocked
    } else {
        WaitPolicy::Wait
    };
    let tables = tables.into_iter().map(|table| {
        let mut access = access(table, None, false);
        access.lock = lock.map(|exclusive| RowLock { exclusive, wait });
        access.predicate = Predicate::default();
        access
    });
    Statement::Select(Select {
        tables: tables.collect(),
        limited: follows(&["LIMIT"]),
        limit: None,
        order: Vec::new(),
        aggregated: true,
        user_lock: pieces.windows(2).any(|pair| pair[1].op("(") && calls_user_lock(&pair[0])),
    })
}
