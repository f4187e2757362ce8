//! Reading pieces one after the other.

use super::access::TableName;
use super::fold::{Piece, PieceKind};

/// A place in the pieces of one statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'p, 'a> {
    pieces: &'p [Piece<'a>],
}

impl<'p, 'a> Cursor<'p, 'a> {
    pub(super) fn new(pieces: &'p [Piece<'a>]) -> Self {
        Cursor { pieces }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'p [Piece<'a>] {
        self.pieces
    }

    pub(super) fn at_end(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn peek(&self) -> Option<&'p Piece<'a>> {
        self.pieces.first()
    }

    pub(super) fn next(&mut self) -> Option<&'p Piece<'a>> {
        let (first, rest) = self.pieces.split_first()?;
        self.pieces = rest;
        Some(first)
    }

    /// Takes a keyword (upper case) if it is next.
    pub(super) fn eat(&mut self, keyword: &str) -> bool {
        self.eat_if(|piece| piece.is(keyword))
    }

    /// Takes several keywords if all of them are next: `eat_all("NOT EXISTS")`.
    pub(super) fn eat_all(&mut self, keywords: &str) -> bool {
        let mut ahead = *self;
        let found = keywords.split(' ').all(|keyword| ahead.eat(keyword));
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes one of several keywords.
    pub(super) fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat_all(keyword))
    }

    /// Takes an operator if it is next.
    pub(super) fn eat_op(&mut self, operator: &str) -> bool {
        self.eat_if(|piece| piece.op(operator))
    }

    fn eat_if(&mut self, test: impl Fn(&Piece<'a>) -> bool) -> bool {
        let found = self.peek().is_some_and(test);
        if found {
            self.pieces = &self.pieces[1..];
        }
        found
    }

    /// Takes a name, with or without quotes.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = name(self.peek()?)?;
        self.pieces = &self.pieces[1..];
        Some(name)
    }

    /// Takes `table` or `schema.table`.
    pub(super) fn table(&mut self) -> Option<TableName> {
        // `.t` is what ODBC once wrote for a table without schema.
        self.eat_op(".");
        let first = self.name()?;
        if self.eat_op(".") {
            return Some(TableName { schema: Some(first), name: self.name()? });
        }
        Some(TableName { schema: None, name: first })
    }

    /// Takes `a, b, c`.
    pub(super) fn tables(&mut self) -> Vec<TableName> {
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if !self.eat_op(",") {
                break;
            }
        }
        tables
    }

    /// Goes to the token after the parenthesis that closes the one just taken.
    pub(super) fn close(&mut self) {
        let mut depth = 1;
        while let Some(piece) = self.next() {
            if piece.op("(") {
                depth += 1;
            } else if piece.op(")") {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }
}

/// The name that a piece is, without its quotes.
pub(super) fn name(piece: &Piece<'_>) -> Option<String> {
    match piece.kind {
        PieceKind::Word => Some(String::from_utf8_lossy(piece.text).into_owned()),
        PieceKind::Quoted => Some(unquote(piece.text)),
        _ => None,
    }
}

/// Takes the quotes of an identifier off.
fn unquote(text: &[u8]) -> String {
    let Some((&quote, [inner @ .., _])) = text.split_first() else {
        return String::new();
    };
    let inner = String::from_utf8_lossy(inner);
    let quote = char::from(quote);
    let doubled: String = [quote, quote].iter().collect();
    inner.replace(&doubled, &quote.to_string())
}
