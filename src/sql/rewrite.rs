//! Pieces to the tokens of sqlparser, with what it cannot read written in another way.
//!
//! Slots go in as literals whose text is the slot's number; [`slot`] reads them back from the tree.

use sqlparser::tokenizer::Token;

use super::cursor::{Cursor, name};
use super::digest::LiteralKind;
use super::fold::{Piece, PieceKind};

/// Marks a string token that holds a slot, so that two adjacent ones are not read as one number.
const STRING_SLOT: char = '\u{1}';

/// The slot that a literal of the tree stands for.
pub(super) fn slot(text: &str) -> Option<usize> {
    text.trim_start_matches([STRING_SLOT, ':']).parse().ok()
}

/// Compound units of INTERVAL and EXTRACT.
const COMPOUND_UNITS: [&str; 11] = [
    "SECOND_MICROSECOND",
    "MINUTE_MICROSECOND",
    "MINUTE_SECOND",
    "HOUR_MICROSECOND",
    "HOUR_SECOND",
    "HOUR_MINUTE",
    "DAY_MICROSECOND",
    "DAY_SECOND",
    "DAY_MINUTE",
    "DAY_HOUR",
    "YEAR_MONTH",
];

/// What a parenthesis holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paren {
    /// The arguments of `CHAR(…)`.
    Char,
    /// `FROM (a, b)`: tables.
    Tables,
    Other,
}

/// The tokens under way.
struct Rewriter<'p, 'a> {
    cursor: Cursor<'p, 'a>,
    tokens: Vec<Token>,
    /// The parentheses that are open.
    open: Vec<Paren>,
    /// `t.*` names a table.
    delete: bool,
    /// Between UPDATE and SET: a comma outside parentheses joins tables.
    update: bool,
}

/// The tokens for the parser. None: the text has a piece that is no token.
pub(super) fn tokens(pieces: &[Piece<'_>]) -> Option<Vec<Token>> {
    let mut rewriter = Rewriter {
        cursor: Cursor::new(pieces),
        tokens: Vec::with_capacity(pieces.len()),
        open: Vec::new(),
        delete: false,
        update: false,
    };
    rewriter.head();
    while !rewriter.cursor.at_end() {
        rewriter.step()?;
    }
    Some(rewriter.tokens)
}

impl Rewriter<'_, '_> {
    fn word(&mut self, word: &str) {
        self.tokens.push(Token::make_word(word, None));
    }

    fn words(&mut self, words: &[&str]) {
        words.iter().for_each(|word| self.word(word));
    }

    /// The verb and its modifiers.
    fn head(&mut self) {
        let cursor = &mut self.cursor;
        if cursor.eat("TABLE") {
            self.words(&["SELECT"]);
            self.tokens.push(Token::Mul);
            self.word("FROM");
        } else if cursor.eat("DELETE") {
            while cursor.eat_any(&["LOW_PRIORITY", "QUICK", "IGNORE"]) {}
            self.word("DELETE");
            self.delete = true;
        } else if cursor.eat("UPDATE") {
            while cursor.eat_any(&["LOW_PRIORITY", "IGNORE"]) {}
            self.word("UPDATE");
            self.update = true;
        } else if cursor.peek().is_some_and(|piece| piece.is("INSERT") || piece.is("REPLACE")) {
            self.insert();
        }
    }

    fn insert(&mut self) {
        let verb = if self.cursor.eat("REPLACE") { "REPLACE" } else { "INSERT" };
        self.cursor.eat("INSERT");
        let mut ignore = false;
        loop {
            let hint = self.cursor.peek().is_some_and(|piece| piece.kind == PieceKind::Hint);
            if hint {
                self.cursor.next();
            } else if self.cursor.eat("IGNORE") {
                ignore = true;
            } else if !self.cursor.eat_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY"]) {
                break;
            }
        }
        self.cursor.eat("INTO");
        self.word(verb);
        if ignore {
            self.word("IGNORE");
        }
        self.word("INTO");
        // The table's name may be a word that sqlparser takes for something else.
        for _ in 0..3 {
            match self.cursor.peek() {
                Some(piece) if piece.op(".") => self.tokens.push(Token::Period),
                Some(piece) => match name(piece) {
                    Some(table) => self.tokens.push(Token::make_word(&table, Some('`'))),
                    None => break,
                },
                None => break,
            }
            self.cursor.next();
            let point = matches!(self.tokens.last(), Some(Token::Period));
            if !point && !self.cursor.peek().is_some_and(|piece| piece.op(".")) {
                break;
            }
        }
        if self.cursor.eat("PARTITION") && self.cursor.eat_op("(") {
            self.cursor.close();
        }
    }

    /// One piece, or several that belong together.
    fn step(&mut self) -> Option<()> {
        let cursor = &mut self.cursor;
        let piece = *cursor.peek()?;
        match piece.kind {
            PieceKind::Word => {
                if !self.phrase() {
                    self.cursor.next();
                    self.word(&String::from_utf8_lossy(piece.text));
                }
                return Some(());
            }
            PieceKind::Quoted => {
                let text = name(&piece)?;
                self.tokens.push(Token::make_word(&text, Some('`')));
            }
            PieceKind::Slot(slot, kind) => self.tokens.push(match kind {
                LiteralKind::String => Token::SingleQuotedString(format!("{STRING_SLOT}{slot}")),
                LiteralKind::Number | LiteralKind::Bits => Token::Number(slot.to_string(), false),
                _ => Token::Placeholder(format!(":{slot}")),
            }),
            PieceKind::Operator => {
                let token = self.operator(piece.text)?;
                self.tokens.extend(token);
            }
            PieceKind::UserVariable | PieceKind::SystemVariable => {
                self.word(&String::from_utf8_lossy(piece.text));
            }
            PieceKind::Hint => {}
            PieceKind::Bad => return None,
        }
        self.cursor.next();
        Some(())
    }

    /// Word phrases that sqlparser does not know. True: taken.
    fn phrase(&mut self) -> bool {
        let operand = self.operand();
        let cursor = &mut self.cursor;
        if cursor.eat_all("LOCK IN SHARE MODE") {
            self.words(&["FOR", "SHARE"]);
            self.waits();
        } else if cursor.eat_all("FOR UPDATE") {
            self.locking("UPDATE");
        } else if cursor.eat_all("FOR SHARE") {
            self.locking("SHARE");
        } else if cursor.eat_all("SOUNDS LIKE") {
            self.tokens.push(Token::Neq);
        } else if operand && cursor.eat("MOD") {
            self.tokens.push(Token::Mod);
        } else if !operand && cursor.peek().is_some_and(|piece| piece.is("BINARY")) {
            cursor.next();
            self.tokens.push(Token::Tilde);
        } else if (self.open.last() == Some(&Paren::Char) && cursor.eat("USING"))
            || cursor.eat_all("CHARACTER SET")
        {
            cursor.next();
        } else if cursor.eat("INTO") {
            self.into();
        } else if self.update && self.open.is_empty() && cursor.eat("SET") {
            self.update = false;
            self.word("SET");
        } else if COMPOUND_UNITS.iter().any(|unit| cursor.eat(unit)) {
            self.word("DAY");
        } else if cursor.eat_all("LIMIT ROWS EXAMINED") || cursor.eat_all("ROWS EXAMINED") {
            cursor.next();
        } else {
            return false;
        }
        true
    }

    /// After `FOR UPDATE` or `FOR SHARE`: one clause for each table named.
    fn locking(&mut self, strength: &str) {
        if !self.cursor.eat("OF") {
            self.words(&["FOR", strength]);
            self.waits();
            return;
        }
        let tables = self.cursor.tables();
        let waits = self.wait_words();
        for table in tables {
            self.words(&["FOR", strength, "OF"]);
            self.tokens.push(Token::make_word(&table.name, Some('`')));
            self.words(waits);
        }
    }

    fn waits(&mut self) {
        let words = self.wait_words();
        self.words(words);
    }

    /// NOWAIT, SKIP LOCKED or MariaDB's WAIT n.
    fn wait_words(&mut self) -> &'static [&'static str] {
        if self.cursor.eat("NOWAIT") {
            return &["NOWAIT"];
        }
        if self.cursor.eat_all("SKIP LOCKED") {
            return &["SKIP", "LOCKED"];
        }
        if self.cursor.eat("WAIT") {
            let zero = self.cursor.next().is_some_and(|piece| piece.text.iter().all(|&byte| byte == b'0'));
            return if zero { &["NOWAIT"] } else { &[] };
        }
        &[]
    }

    /// After INTO: the variables or the file of a SELECT are dropped.
    fn into(&mut self) {
        let variable = |piece: &Piece<'_>| piece.kind == PieceKind::UserVariable;
        if self.cursor.eat_any(&["OUTFILE", "DUMPFILE"]) {
            while let Some(piece) = self.cursor.peek() {
                if piece.is("FROM") || piece.is("FOR") || piece.op(")") {
                    break;
                }
                self.cursor.next();
            }
        } else if self.cursor.peek().is_some_and(variable) {
            while self.cursor.peek().is_some_and(variable) {
                self.cursor.next();
                if !self.cursor.eat_op(",") {
                    break;
                }
            }
        } else {
            self.word("INTO");
        }
    }

    /// The last token ends a value.
    fn operand(&self) -> bool {
        match self.tokens.last() {
            Some(Token::Word(word)) => {
                let keyword =
                    ["WHERE", "AND", "OR", "NOT", "ON", "SELECT", "BY", "HAVING", "THEN", "ELSE", "WHEN"];
                word.quote_style.is_some() || !keyword.iter().any(|k| word.value.eq_ignore_ascii_case(k))
            }
            Some(
                Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::RParen,
            ) => true,
            _ => false,
        }
    }

    /// The parenthesis that is next.
    fn paren(&self) -> Paren {
        let after = |words: &[&str]| match self.tokens.last() {
            Some(Token::Word(word)) => words.iter().any(|other| word.value.eq_ignore_ascii_case(other)),
            _ => false,
        };
        let within =
            matches!(self.tokens.last(), Some(Token::LParen)) && self.open.last() == Some(&Paren::Tables);
        let query = self
            .cursor
            .rest()
            .get(1)
            .is_some_and(|piece| ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| piece.is(word)));
        if after(&["CHAR"]) {
            Paren::Char
        } else if (after(&["FROM", "JOIN", "STRAIGHT_JOIN"]) || within) && !query {
            Paren::Tables
        } else {
            Paren::Other
        }
    }

    /// A comma here stands between tables where sqlparser knows only JOIN.
    fn joins_tables(&self) -> bool {
        match self.open.last() {
            Some(paren) => *paren == Paren::Tables,
            None => self.update,
        }
    }

    /// An operator's token; `Some(None)` drops it, None ends the attempt.
    fn operator(&mut self, text: &[u8]) -> Option<Option<Token>> {
        Some(Some(match text {
            b"(" => {
                let paren = self.paren();
                self.open.push(paren);
                Token::LParen
            }
            b")" => {
                self.open.pop();
                Token::RParen
            }
            b"," if self.joins_tables() => {
                self.word("CROSS");
                Token::make_keyword("JOIN")
            }
            b"," => Token::Comma,
            b"." if self.delete && self.cursor.rest().get(1).is_some_and(|piece| piece.op("*")) => {
                self.cursor.next();
                return Some(None);
            }
            b"." => Token::Period,
            b"=" => Token::Eq,
            b":=" => Token::Assignment,
            b"<=>" => Token::Spaceship,
            b"<>" | b"!=" => Token::Neq,
            b"<" => Token::Lt,
            b">" => Token::Gt,
            b"<=" => Token::LtEq,
            b">=" => Token::GtEq,
            b"+" => Token::Plus,
            b"-" => Token::Minus,
            b"*" => Token::Mul,
            b"/" => Token::Div,
            b"%" => Token::Mod,
            b"^" => Token::Caret,
            b"&" => Token::Ampersand,
            b"|" => Token::Pipe,
            b"~" => Token::Tilde,
            b"<<" => Token::ShiftLeft,
            b">>" => Token::ShiftRight,
            b"->" => Token::Arrow,
            b"->>" => Token::LongArrow,
            // `||` is OR but under PIPES_AS_CONCAT, where it restricts no column that the model could use.
            b"||" => Token::make_keyword("OR"),
            b"&&" => Token::make_keyword("AND"),
            b"!" => Token::make_keyword("NOT"),
            // `{ OJ … }`, `{ d '…' }`: the braces and the word go.
            b"{" => {
                self.cursor.next();
                return Some(None);
            }
            b"}" => return Some(None),
            _ => return None,
        }))
    }
}
