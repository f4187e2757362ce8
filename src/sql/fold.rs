//! The folded text of a digest, made only when a plan is: pieces for the parser, and a text for people.

use super::digest::{Digest, FoldKind, LiteralKind};
use super::lexer::{Lexer, Reading, Token, TokenKind};

/// A token of the folded text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    pub(super) kind: PieceKind,
    /// The bytes of the token; for a literal those of the first text that had this digest.
    pub(super) text: &'a [u8],
    /// The end of an element that was folded: more of its kind may follow in the text.
    pub(super) folded: Option<FoldKind>,
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PieceKind {
    Word,
    Quoted,
    /// The literal at a slot.
    Slot(usize, LiteralKind),
    Operator,
    UserVariable,
    SystemVariable,
    Hint,
    Bad,
}

impl Piece<'_> {
    /// Is it this keyword (upper case)?
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == PieceKind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Is it this operator?
    pub(super) fn op(&self, operator: &str) -> bool {
        self.kind == PieceKind::Operator && self.text == operator.as_bytes()
    }
}

/// The folded text: every token, but only the first element of what was folded.
pub(super) fn pieces<'a>(text: &'a [u8], reading: Reading, digest: &Digest) -> Vec<Piece<'a>> {
    let mut lexer = Lexer::new(text, reading);
    let mut pieces: Vec<Piece<'a>> = Vec::new();
    let mut folds = digest.folds.iter().peekable();
    let mut literal = 0;
    let mut extra = 0;
    while let Some(Token { kind, start, mut end }) = lexer.next() {
        let kind = match digest.literals.get(literal) {
            Some(found) if found.start as usize == start => {
                // The sign and the number are one literal.
                if found.end as usize != end {
                    end = found.end as usize;
                    lexer.seek(end);
                }
                literal += 1;
                PieceKind::Slot(literal - 1 - extra, found.kind)
            }
            _ => plain(kind),
        };
        let fold = folds.next_if(|fold| fold.start as usize == end);
        if let Some(fold) = fold {
            lexer.seek(fold.end as usize);
            literal += fold.extra as usize;
            extra += fold.extra as usize;
        }
        pieces.push(Piece { kind, text: &text[start..end], folded: fold.map(|fold| fold.kind) });
    }
    pieces
}

fn plain(kind: TokenKind) -> PieceKind {
    match kind {
        TokenKind::Word => PieceKind::Word,
        TokenKind::Quoted => PieceKind::Quoted,
        TokenKind::Operator => PieceKind::Operator,
        TokenKind::UserVariable => PieceKind::UserVariable,
        TokenKind::SystemVariable => PieceKind::SystemVariable,
        TokenKind::Hint => PieceKind::Hint,
        // A literal that the digest did not collect: only in a text that is too long.
        TokenKind::Number | TokenKind::String | TokenKind::Bits | TokenKind::Param | TokenKind::Bad => {
            PieceKind::Bad
        }
    }
}

/// The text for reports and logs: one space where one is needed, `?` for literals, `(...)` for lists.
pub(super) fn text(pieces: &[Piece<'_>], limit: usize) -> String {
    let mut text = String::new();
    let mut glue = true;
    for piece in pieces {
        let part = match piece.kind {
            PieceKind::Slot(..) if piece.folded == Some(FoldKind::List) => "...".into(),
            PieceKind::Slot(..) => "?".into(),
            PieceKind::Bad => "…".into(),
            _ => String::from_utf8_lossy(piece.text),
        };
        let tight =
            matches!(&*part, "," | ")" | "." | ";" | "(") && (&*part != "(" || glue || !spaced(&text));
        if !glue && !tight {
            text.push(' ');
        }
        if text.len() + part.len() > limit {
            text.push('…');
            break;
        }
        text.push_str(&part);
        glue = matches!(&*part, "(" | "." | "@");
    }
    text
}

/// Does a `(` after this text stand apart? After keywords that take a list it does, after function names not.
fn spaced(text: &str) -> bool {
    let word = text.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
    let keyword =
        ["IN", "VALUES", "VALUE", "AND", "OR", "NOT", "ON", "WHERE", "FROM", "AS", "USING", "SET", "BY"];
    word.is_empty() || keyword.iter().any(|k| word.eq_ignore_ascii_case(k)) || into(text, word)
}

/// `INSERT INTO t (`: the table's columns stand apart.
fn into(text: &str, word: &str) -> bool {
    let before = text[..text.len() - word.len()].trim_end();
    before.len() >= 4 && before.is_char_boundary(before.len() - 4) && {
        let tail = &before[before.len() - 4..];
        tail.eq_ignore_ascii_case("into") || tail.eq_ignore_ascii_case("join")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        let digest = Digest::of(sql.as_bytes(), Reading::default());
        let pieces = pieces(sql.as_bytes(), Reading::default(), &digest);
        assert_eq!(text(&pieces, 1000), expect);
    }

    #[test]
    fn digest_text() {
        check("SELECT  a.b , count( * ) FROM t WHERE x=5 -- c", "SELECT a.b, count(*) FROM t WHERE x = ?");
        check("SELECT 1 WHERE a IN (1,2,3) AND b = 'x'", "SELECT ? WHERE a IN (...) AND b = ?");
        check("INSERT INTO t (a,b) VALUES (1,'x'),(2,'y')", "INSERT INTO t (a, b) VALUES (?, ?)");
        check(
            "INSERT INTO t (a) VALUES (1),(2),(3) ON DUPLICATE KEY UPDATE a=4",
            "INSERT INTO t (a) VALUES (?) ON DUPLICATE KEY UPDATE a = ?",
        );
        check("SELECT * FROM t WHERE a = -5 - 3", "SELECT * FROM t WHERE a = ? - ?");
        check(
            "SELECT * FROM t WHERE (a,b) IN ((1,2),(3,4)) AND c IN (1,a)",
            "SELECT * FROM t WHERE (a, b) IN ((?, ?)) AND c IN (?, a)",
        );
    }
}
