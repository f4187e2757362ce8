//! Bytes to tokens, as the server's own lexer cuts them (MySQL manual, "Language Structure").
//!
//! One pass, no allocation, never fails: what is not SQL becomes a [`TokenKind::Bad`] token. The text need
//! not be UTF-8; bytes above 0x7F are letters. Multi-byte sets whose second byte can be a backslash (gbk,
//! sjis, big5) are read as if it were one, which can only lead to a statement that is not understood.

use memchr::{memchr, memchr2, memmem};

use super::statement::SqlMode;
use super::tag::Tag;

/// How a text is to be read: the session's mode and the server's version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reading {
    /// The parts of `sql_mode` that change tokens.
    pub mode: SqlMode,
    /// MariaDB executes `/*M! */` and passes over `/*!50700 … */` to `/*!99999 … */`.
    pub mariadb: bool,
    /// Version as in executable comments: 80036, 90704, 101119.
    pub version: u32,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { mode: SqlMode::default(), mariadb: false, version: 90_700 }
    }
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A keyword or an identifier without quotes.
    Word,
    /// An identifier in backticks, or in double quotes under ANSI_QUOTES. The span includes the quotes.
    Quoted,
    /// A number without sign.
    Number,
    /// A string: with introducer, `N` prefix and adjacent strings, if any.
    String,
    /// `x'4D'`, `0x4D`, `b'01'`, `0b01`
    Bits,
    /// `?`
    Param,
    /// `@name`, `@'name'`
    UserVariable,
    /// `@@name`, `@@session.name`
    SystemVariable,
    /// An operator or a mark, up to three bytes.
    Operator,
    /// `/*+ … */`
    Hint,
    /// An unterminated string, identifier or comment: it reaches to the end of the text.
    Bad,
}

/// A token: its kind and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// The tokens of a text, one after the other. Cloning it is a bookmark.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    reading: Reading,
    position: usize,
    /// Inside `/*! … */` whose content is executed.
    executing: bool,
    /// The last comment tag seen.
    pub tag: Option<Tag>,
}

const OTHER: u8 = 0;
const SPACE: u8 = 1;
/// An operator of one byte, whatever follows.
const MARK: u8 = 2;
/// May begin a comment, or end an executed one.
const COMMENT: u8 = 3;
const WORD: u8 = 4;
const DIGIT: u8 = 5;

/// Class of each byte.
const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        class[i] = match byte {
            b' ' | 9..=13 => SPACE,
            b'(' | b')' | b',' | b';' | b'=' | b'+' | b'%' | b'^' | b'~' | b'{' | b'}' => MARK,
            b'#' | b'-' | b'/' | b'*' => COMMENT,
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => WORD,
            _ => OTHER,
        };
        i += 1;
    }
    class
};

impl<'a> Lexer<'a> {
    /// Begins at the text's first byte.
    pub fn new(text: &'a [u8], reading: Reading) -> Self {
        Lexer { text, reading, position: 0, executing: false, tag: None }
    }

    /// Goes on at another place, which must be the end of a token.
    pub fn seek(&mut self, position: usize) {
        self.position = position;
    }

    #[inline]
    fn at(&self, offset: usize) -> u8 {
        self.text.get(self.position + offset).copied().unwrap_or(0)
    }

    #[inline]
    fn class(&self, position: usize) -> u8 {
        self.text.get(position).map_or(0, |&byte| CLASS[usize::from(byte)])
    }

    /// Passes over white space and comments where some may stand. False: an unterminated comment (the rest is [`TokenKind::Bad`]).
    fn skip(&mut self) -> bool {
        while let Some(&byte) = self.text.get(self.position) {
            match byte {
                b' ' | 9..=13 => self.position += 1,
                b'#' => self.line(),
                // `--` begins a comment only before white space, a control character or the end.
                b'-' if self.at(1) == b'-' && self.at(2) <= b' ' => self.line(),
                b'/' if self.at(1) == b'*' => {
                    if self.at(2) == b'+' {
                        return true;
                    }
                    if !self.comment() {
                        return false;
                    }
                }
                b'*' if self.executing && self.at(1) == b'/' => {
                    self.executing = false;
                    self.position += 2;
                }
                _ => return true,
            }
        }
        true
    }

    fn line(&mut self) {
        let rest = &self.text[self.position..];
        self.position += memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
    }

    /// At `/*`: passes over the comment, or into it if the server executes it.
    fn comment(&mut self) -> bool {
        let rest = &self.text[self.position..];
        let body = match rest.get(2..) {
            Some([b'!', body @ ..]) => Some((body, false)),
            Some([b'M', b'!', body @ ..]) => Some((body, true)),
            _ => None,
        };
        if let Some((body, mariadb_only)) = body {
            let digits = body.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
            let digits = if digits >= 5 { digits } else { 0 };
            let version = body[..digits].iter().fold(0u32, |n, byte| n * 10 + u32::from(byte - b'0'));
            if self.executes(version, mariadb_only) {
                self.executing = true;
                self.position += rest.len() - body.len() + digits;
                return true;
            }
        }
        let Some(end) = memmem::find(&rest[2..], b"*/") else {
            return false;
        };
        if body.is_none() && end < 64 {
            self.tag = Tag::of(&rest[2..2 + end]).or(self.tag);
        }
        self.position += end + 4;
        true
    }

    fn executes(&self, version: u32, mariadb_only: bool) -> bool {
        if self.reading.mariadb {
            let foreign = !mariadb_only && (50_700..=99_999).contains(&version);
            !foreign && version <= self.reading.version
        } else {
            !mariadb_only && version <= self.reading.version
        }
    }

    #[inline]
    fn word(&mut self, start: usize) -> TokenKind {
        let rest = &self.text[start..];
        let length = rest.iter().position(|&byte| CLASS[usize::from(byte)] < WORD).unwrap_or(rest.len());
        self.position = start + length;
        if rest[0] == b'_' || (length == 1 && rest.get(1) == Some(&b'\'')) {
            return self.prefix(rest[0]);
        }
        TokenKind::Word
    }

    /// After a word that may belong to the literal after it: `N'…'`, `x'…'`, `b'…'`, `_utf8mb4 '…'`.
    #[cold]
    fn prefix(&mut self, first: u8) -> TokenKind {
        match first {
            b'N' | b'n' => self.string(b'\''),
            b'x' | b'X' | b'b' | b'B' => self.bits(),
            b'_' => self.introducer(),
            _ => TokenKind::Word,
        }
    }

    /// After `_charset`: a string or bit literal makes it an introducer, otherwise it was a name.
    fn introducer(&mut self) -> TokenKind {
        let bookmark = self.position;
        while self.class(self.position) == SPACE {
            self.position += 1;
        }
        match self.at(0) {
            b'\'' => return self.string(b'\''),
            b'"' if !self.reading.mode.ansi_quotes => return self.string(b'"'),
            b'x' | b'X' | b'b' | b'B' if self.at(1) == b'\'' => {
                self.position += 1;
                return self.bits();
            }
            _ => {}
        }
        self.position = bookmark;
        TokenKind::Word
    }

    /// At the quote of `x'…'`.
    fn bits(&mut self) -> TokenKind {
        let rest = &self.text[self.position + 1..];
        match memchr(b'\'', rest) {
            Some(n) => {
                self.position += n + 2;
                TokenKind::Bits
            }
            None => self.bad(),
        }
    }

    fn bad(&mut self) -> TokenKind {
        self.position = self.text.len();
        TokenKind::Bad
    }

    /// At an opening quote: passes over the string and all adjacent ones, which are one literal.
    fn string(&mut self, quote: u8) -> TokenKind {
        if !self.quoted(quote) {
            return self.bad();
        }
        loop {
            let next = self.at(0);
            if matches!(next, b',' | b')' | 0) {
                return TokenKind::String;
            }
            let bookmark = self.clone();
            if !self.skip() {
                *self = bookmark;
                return TokenKind::String;
            }
            let next = self.at(0);
            let adjacent = next == b'\'' || (next == b'"' && !self.reading.mode.ansi_quotes);
            if !adjacent {
                *self = bookmark;
                return TokenKind::String;
            }
            if !self.quoted(next) {
                return self.bad();
            }
        }
    }

    /// At an opening quote: passes over one string with its doubled quotes and escapes.
    fn quoted(&mut self, quote: u8) -> bool {
        let mut position = self.position + 1;
        let escapes = !self.reading.mode.no_backslash_escapes;
        loop {
            let Some(rest) = self.text.get(position..) else {
                return false;
            };
            let found = if escapes { memchr2(quote, b'\\', rest) } else { memchr(quote, rest) };
            let Some(n) = found else {
                return false;
            };
            position += n;
            if self.text[position] == b'\\' || self.text.get(position + 1) == Some(&quote) {
                position += 2;
                continue;
            }
            self.position = position + 1;
            return true;
        }
    }

    /// At an opening quote of an identifier, which knows doubled quotes but no escapes.
    fn identifier(&mut self, quote: u8) -> TokenKind {
        let mut position = self.position + 1;
        loop {
            let found = self.text.get(position..).and_then(|rest| near(quote, rest));
            let Some(n) = found else {
                return self.bad();
            };
            position += n + 1;
            if self.text.get(position) != Some(&quote) {
                self.position = position;
                return TokenKind::Quoted;
            }
            position += 1;
        }
    }

    /// At a digit, or at a point before a digit. Names may begin with digits, so `1a` is a word.
    fn number(&mut self) -> TokenKind {
        let start = self.position;
        let mut end = start;
        while self.class(end) == DIGIT {
            end += 1;
        }
        let integer = end;
        if self.text.get(end) == Some(&b'.') {
            end += 1;
            while self.class(end) == DIGIT {
                end += 1;
            }
        } else if self.class(end) == WORD {
            match (self.text[start], self.text[end]) {
                (b'0', b'x' | b'X') if end == start + 1 => return self.radix(start, 16),
                (b'0', b'b' | b'B') if end == start + 1 => return self.radix(start, 2),
                _ => {}
            }
        }
        if matches!(self.text.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.text.get(end + 1), Some(b'+' | b'-')));
            if self.class(end + 1 + sign) == DIGIT {
                end += 1 + sign;
                while self.class(end) == DIGIT {
                    end += 1;
                }
            }
        }
        if end == integer && self.class(end) == WORD {
            return self.word(start);
        }
        self.position = end;
        TokenKind::Number
    }

    /// At the 0 of `0x` or `0b`: a literal if only digits of the radix follow.
    fn radix(&mut self, start: usize, radix: u32) -> TokenKind {
        let mut end = start + 2;
        while self.text.get(end).is_some_and(|&byte| char::from(byte).is_digit(radix)) {
            end += 1;
        }
        if end == start + 2 || self.class(end) >= WORD {
            return self.word(start);
        }
        self.position = end;
        TokenKind::Bits
    }

    /// At `@`.
    fn variable(&mut self) -> TokenKind {
        let system = self.at(1) == b'@';
        self.position += if system { 2 } else { 1 };
        match self.at(0) {
            quote @ (b'\'' | b'"' | b'`') => {
                if self.identifier(quote) == TokenKind::Bad {
                    return TokenKind::Bad;
                }
            }
            _ => {
                while self.class(self.position) >= WORD || self.at(0) == b'.' {
                    self.position += 1;
                }
                if system && self.at(0) == b'`' && self.identifier(b'`') == TokenKind::Bad {
                    return TokenKind::Bad;
                }
            }
        }
        if system { TokenKind::SystemVariable } else { TokenKind::UserVariable }
    }

    fn operator(&mut self, byte: u8) -> TokenKind {
        let (second, third) = (self.at(1), self.at(2));
        self.position += match (byte, second) {
            (b'<', b'=') if third == b'>' => 3,
            (b'-', b'>') if third == b'>' => 3,
            (b'<', b'=' | b'>' | b'<')
            | (b'>', b'=' | b'>')
            | (b'!' | b':', b'=')
            | (b'-', b'>')
            | (b'&', b'&')
            | (b'|', b'|') => 2,
            _ => 1,
        };
        TokenKind::Operator
    }

    fn hint(&mut self) -> TokenKind {
        match memmem::find(&self.text[self.position..], b"*/") {
            Some(n) => {
                self.position += n + 2;
                TokenKind::Hint
            }
            None => self.bad(),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline(always)]
    fn next(&mut self) -> Option<Token> {
        loop {
            let start = self.position;
            let byte = *self.text.get(start)?;
            let kind = match CLASS[usize::from(byte)] {
                SPACE => {
                    self.position += 1;
                    continue;
                }
                WORD => self.word(start),
                MARK => {
                    self.position += 1;
                    TokenKind::Operator
                }
                // Directly after the point of `t.` even digits are a name. (A number takes its own point.)
                DIGIT if start > 0 && self.text[start - 1] == b'.' => self.word(start),
                DIGIT => self.number(),
                COMMENT => {
                    if !self.skip() {
                        self.bad()
                    } else if self.position != start {
                        continue;
                    } else if byte == b'/' && self.at(1) == b'*' {
                        self.hint()
                    } else {
                        self.operator(byte)
                    }
                }
                _ => self.other(start, byte),
            };
            return Some(Token { kind, start, end: self.position });
        }
    }
}

impl Lexer<'_> {
    #[inline]
    fn other(&mut self, start: usize, byte: u8) -> TokenKind {
        match byte {
            b'`' => self.identifier(b'`'),
            b'\'' => self.string(b'\''),
            b'"' if self.reading.mode.ansi_quotes => self.identifier(b'"'),
            b'"' => self.string(b'"'),
            b'?' => {
                self.position += 1;
                TokenKind::Param
            }
            b'@' => self.variable(),
            // Directly after a name a point separates schema, table and column.
            b'.' if self.class(start + 1) == DIGIT && !self.after_name(start) => self.number(),
            _ => self.operator(byte),
        }
    }

    fn after_name(&self, start: usize) -> bool {
        start > 0 && (self.class(start - 1) >= WORD || matches!(self.text[start - 1], b'`' | b'"'))
    }
}

/// Where the byte is: names are short, for which a plain loop beats a call.
#[inline]
fn near(byte: u8, rest: &[u8]) -> Option<usize> {
    const NEAR: usize = 24;
    let head = rest.iter().take(NEAR).position(|&other| other == byte);
    head.or_else(|| Some(memchr(byte, rest.get(NEAR..)?)? + NEAR))
}
