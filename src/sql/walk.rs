//! The one pass over a text that makes its digest. The rules are in [`super::digest`].

use smallvec::SmallVec;

use super::digest::{Digest, Fold, FoldKind, Literal, LiteralKind, MAX_LITERALS};
use super::hash::{Hash, keyword, upper};
use super::lexer::{Lexer, Reading, Token, TokenKind};

/// What the last token means for the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    /// `IN`
    In,
    /// `VALUES`, `VALUE`
    Values,
    /// After `(`, `,` or a comparison: a sign is a sign, and NULL, TRUE and FALSE are values.
    Sign,
    /// After `AND`, `BETWEEN`, `NOT`, …: a sign is a sign. NULL may be part of `IS NOT NULL`.
    Word,
    /// After `WAIT`: the number tells what the statement does.
    Wait,
    /// A value or a name: a sign here is an operator.
    Operand,
}

/// One pass over a text.
pub(super) struct Walk<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    hash: Hash,
    literals: SmallVec<[Literal; 8]>,
    folds: SmallVec<[Fold; 2]>,
    params: u32,
    part: u32,
    /// Literals that have no slot so far.
    extra: u32,
    before: Before,
    /// The bytes of literals count.
    exact: bool,
}

/// What the hash takes in for a literal, a folded list, and so on: never the bytes of a token.
const LITERAL: u64 = 1 << 56;
const LIST: u64 = 2 << 56;
const MIXED: u64 = 3 << 56;
const SEPARATOR: u64 = 4 << 56;
const ROWS: u64 = 5 << 56;

impl<'a> Walk<'a> {
    /// The digest of a text.
    pub(super) fn over(text: &'a [u8], reading: Reading) -> Digest {
        let mut walk = Walk {
            text,
            lexer: Lexer::new(text, reading),
            hash: Hash::new(),
            literals: SmallVec::new(),
            folds: SmallVec::new(),
            params: 0,
            part: 0,
            extra: 0,
            before: Before::Word,
            exact: false,
        };
        let too_long = u32::try_from(text.len()).is_err() || !walk.run();
        Digest {
            hash: walk.hash.finish(),
            literals: walk.literals,
            folds: walk.folds,
            tag: walk.lexer.tag,
            params: walk.params,
            too_long,
        }
    }

    /// False: too many literals.
    fn run(&mut self) -> bool {
        let mut separators = 0;
        let mut first = true;
        while let Some(token) = self.lexer.next() {
            if self.literals.len() > MAX_LITERALS {
                return false;
            }
            if separators > 0 {
                self.hash.number(SEPARATOR);
                self.part += 1;
                separators = 0;
            }
            if first {
                first = false;
                self.exact = self.sets(token);
            }
            if token.kind == TokenKind::Operator {
                match self.text[token.start] {
                    b';' => {
                        separators += 1;
                        self.before = Before::Word;
                        first = true;
                        continue;
                    }
                    b'(' if self.before == Before::In => {
                        self.hash.number(u64::from(b'('));
                        self.before = Before::Sign;
                        self.list();
                        continue;
                    }
                    b'(' if self.before == Before::Values => {
                        self.rows(token);
                        continue;
                    }
                    _ => {}
                }
            }
            self.token(token);
        }
        true
    }

    /// Is this the first word of a `SET` whose literals tell what it does? Not those of `SET @a = …` and
    /// MariaDB's `SET STATEMENT … FOR …`, which would fill the cache.
    fn sets(&self, token: Token) -> bool {
        if token.kind != TokenKind::Word || !self.text[token.start..token.end].eq_ignore_ascii_case(b"set") {
            return false;
        }
        let second = self.lexer.clone().next();
        second.is_some_and(|second| {
            second.kind != TokenKind::UserVariable
                && !self.text[second.start..second.end].eq_ignore_ascii_case(b"statement")
        })
    }

    /// Takes in one token that folds nothing.
    #[inline]
    fn token(&mut self, token: Token) {
        let Token { kind, start, end } = token;
        match kind {
            TokenKind::Word if self.before == Before::Sign && self.constant(token) => {}
            TokenKind::Word => {
                let word = self.hash.bytes(1, self.text, start, end);
                self.before = before_next(upper(word));
            }
            TokenKind::Number => self.literal(LiteralKind::Number, start, end),
            TokenKind::String => self.literal(LiteralKind::String, start, end),
            TokenKind::Bits => self.literal(LiteralKind::Bits, start, end),
            TokenKind::Param => {
                self.literal(LiteralKind::Param(self.params), start, end);
                self.params += 1;
            }
            TokenKind::Operator => self.operator(start, end),
            _ => {
                self.hash.bytes(2 + kind as u8, self.text, start, end);
                self.before = Before::Operand;
            }
        }
    }

    #[inline]
    fn operator(&mut self, start: usize, end: usize) {
        let byte = self.text[start];
        if self.before != Before::Operand && matches!(byte, b'-' | b'+') && self.signed(start) {
            return;
        }
        if end == start + 1 {
            self.hash.number(u64::from(byte));
        } else {
            self.hash.bytes(2, self.text, start, end);
        }
        self.before = match byte {
            b'(' | b',' | b'=' | b'<' | b'>' | b'!' | b':' => Before::Sign,
            _ => Before::Operand,
        };
    }

    /// At a sign without an operand before it: takes it in with the number that follows directly.
    fn signed(&mut self, start: usize) -> bool {
        let bookmark = self.lexer.clone();
        match self.lexer.next() {
            Some(Token { kind: TokenKind::Number, start: number, end }) if number == start + 1 => {
                self.literal(LiteralKind::Number, start, end);
                true
            }
            _ => {
                self.lexer = bookmark;
                false
            }
        }
    }

    #[inline]
    fn literal(&mut self, kind: LiteralKind, start: usize, end: usize) {
        self.hash.number(LITERAL);
        if self.exact || self.before == Before::Wait {
            self.hash.bytes(2, self.text, start, end);
        }
        // The text is shorter than 4 GiB: `of` looked.
        self.literals.push(Literal { kind, start: start as u32, end: end as u32 });
        self.before = Before::Operand;
    }

    /// Takes in NULL, TRUE or FALSE as a literal.
    fn constant(&mut self, token: Token) -> bool {
        let Some(kind) = constant(&self.text[token.start..token.end]) else {
            return false;
        };
        self.literal(kind, token.start, token.end);
        true
    }

    /// After `IN (`: folds the list if it holds nothing but literals, else leaves all as it was.
    fn list(&mut self) {
        let (lexer, literals, params, hash) =
            (self.lexer.clone(), self.literals.len(), self.params, self.hash);
        let mut count = 0;
        let mut width = 0;
        let mut first_end = 0;
        let end = loop {
            let before = self.literals.len();
            let Some(end) = self.element() else {
                break None;
            };
            let found = self.literals.len() - before;
            if count == 0 {
                (width, first_end) = (found, end);
            } else if found != width {
                break None;
            }
            count += 1;
            match self.mark() {
                Some(b',') if self.literals.len() <= MAX_LITERALS => {}
                Some(b')') => break Some(end),
                _ => break None,
            }
        };
        self.hash = hash;
        self.before = Before::Sign;
        let Some(end) = end else {
            self.lexer = lexer;
            self.literals.truncate(literals);
            self.params = params;
            return;
        };
        self.hash.number(LIST | width as u64);
        self.before = Before::Operand;
        self.fold(FoldKind::List, literals, width, count, first_end, end);
    }

    /// A one-byte operator.
    fn mark(&mut self) -> Option<u8> {
        let token = self.lexer.next()?;
        (token.kind == TokenKind::Operator && token.end == token.start + 1).then(|| self.text[token.start])
    }

    /// A literal, or literals in parentheses: gives its end.
    fn element(&mut self) -> Option<usize> {
        let token = self.lexer.next()?;
        if token.kind == TokenKind::Operator && self.text[token.start] == b'(' {
            loop {
                let inner = self.lexer.next()?;
                self.scalar(inner)?;
                let mark = self.lexer.next()?;
                match (mark.kind, self.text[mark.start]) {
                    (TokenKind::Operator, b',') => {}
                    (TokenKind::Operator, b')') => return Some(mark.end),
                    _ => return None,
                }
            }
        }
        self.scalar(token)
    }

    /// A literal with its sign: gives its end.
    fn scalar(&mut self, token: Token) -> Option<usize> {
        match token.kind {
            TokenKind::Number | TokenKind::String | TokenKind::Bits | TokenKind::Param => self.token(token),
            TokenKind::Word if self.constant(token) => {}
            TokenKind::Operator
                if matches!(self.text[token.start], b'-' | b'+') && self.signed(token.start) => {}
            _ => return None,
        }
        self.literals.last().map(|literal| literal.end as usize)
    }

    /// At the `(` after VALUES: takes in the first row, and folds those that follow into it.
    fn rows(&mut self, open: Token) {
        let outer = self.hash;
        let literals = self.literals.len();
        let Some((first, first_end)) = self.row(open) else {
            self.hash = outer;
            return;
        };
        let width = self.literals.len() - literals;
        let mut count = 1;
        let mut mixed = false;
        let mut end = first_end;
        while self.literals.len() <= MAX_LITERALS {
            let bookmark = self.lexer.clone();
            if self.mark() != Some(b',') {
                self.lexer = bookmark;
                break;
            }
            let open = self.lexer.next();
            let Some(open) =
                open.filter(|o| o.kind == TokenKind::Operator && self.text.get(o.start) == Some(&b'('))
            else {
                self.lexer = bookmark;
                break;
            };
            let Some((row, row_end)) = self.row(open) else {
                self.hash = outer;
                return;
            };
            mixed |= row != first;
            end = row_end;
            count += 1;
        }
        self.hash = outer;
        self.hash.number(ROWS | u64::from(mixed));
        let row = first.finish();
        self.hash.number(row as u64);
        self.hash.number((row >> 64) as u64 ^ if mixed { MIXED } else { 0 });
        self.before = Before::Operand;
        if count > 1 {
            let kind = if mixed { FoldKind::MixedRows } else { FoldKind::Rows };
            self.fold(kind, literals, width, count, first_end, end);
        }
    }

    /// One row with its parentheses: gives its hash and its end. None: the text ended first, or has too many
    /// literals.
    fn row(&mut self, open: Token) -> Option<(Hash, usize)> {
        self.hash = Hash::new();
        self.token(open);
        let mut depth = 1;
        while self.literals.len() <= MAX_LITERALS {
            let token = self.lexer.next()?;
            match (token.kind, self.text[token.start]) {
                (TokenKind::Operator, b'(') => depth += 1,
                (TokenKind::Operator, b')') => depth -= 1,
                _ => {}
            }
            self.token(token);
            if depth == 0 {
                return Some((self.hash, token.end));
            }
        }
        None
    }

    fn fold(
        &mut self,
        kind: FoldKind,
        literal: usize,
        width: usize,
        count: u32,
        first_end: usize,
        end: usize,
    ) {
        let extra = (self.literals.len() - literal - width) as u32;
        self.folds.push(Fold {
            kind,
            part: self.part,
            slot: literal as u32 - self.extra,
            literal: literal as u32,
            width: width as u32,
            count,
            extra,
            start: first_end as u32,
            end: end as u32,
        });
        self.extra += extra;
    }
}

/// What a word (upper case, 0 if it is long) means for the token after it.
#[inline]
fn before_next(word: u64) -> Before {
    const IN: u64 = keyword("IN");
    const VALUE: u64 = keyword("VALUE");
    const VALUES: u64 = keyword("VALUES");
    const WAIT: u64 = keyword("WAIT");
    const OR: u64 = keyword("OR");
    const BY: u64 = keyword("BY");
    const AND: u64 = keyword("AND");
    const NOT: u64 = keyword("NOT");
    const THEN: u64 = keyword("THEN");
    const ELSE: u64 = keyword("ELSE");
    const WHEN: u64 = keyword("WHEN");
    const LIKE: u64 = keyword("LIKE");
    const LIMIT: u64 = keyword("LIMIT");
    const SELECT: u64 = keyword("SELECT");
    const BETWEEN: u64 = keyword("BETWEEN");
    const INTERVAL: u64 = keyword("INTERVAL");
    match word {
        IN => Before::In,
        VALUE | VALUES => Before::Values,
        WAIT => Before::Wait,
        OR | BY | AND | NOT | THEN | ELSE | WHEN | LIKE | LIMIT | SELECT | BETWEEN | INTERVAL => Before::Word,
        _ => Before::Operand,
    }
}

/// NULL, TRUE and FALSE.
fn constant(word: &[u8]) -> Option<LiteralKind> {
    match word.len() {
        4 if word.eq_ignore_ascii_case(b"null") => Some(LiteralKind::Null),
        4 if word.eq_ignore_ascii_case(b"true") => Some(LiteralKind::Boolean(true)),
        5 if word.eq_ignore_ascii_case(b"false") => Some(LiteralKind::Boolean(false)),
        _ => None,
    }
}
