//! The plain SELECT that reads what a statement searches: what may be given to EXPLAIN.
//!
//! EXPLAIN of a locking statement can itself lock rows and wait for them (`EXPLAIN SELECT … FOR UPDATE` of a
//! row found by a full key, `EXPLAIN UPDATE` with a constant subquery). So the statement is written anew
//! from its own tokens as a SELECT without a locking clause:
//!
//! | statement | plain SELECT |
//! |---|---|
//! | `SELECT … FOR UPDATE OF t SKIP LOCKED` | `SELECT …` |
//! | `UPDATE t SET … WHERE w ORDER BY o LIMIT n` | `SELECT * FROM t WHERE w ORDER BY o LIMIT n` |
//! | `DELETE a FROM a JOIN b … WHERE w` | `SELECT * FROM a JOIN b … WHERE w` |
//! | `INSERT INTO t SELECT …` | `SELECT …` |
//!
//! The text holds literals: it goes to the server and nowhere else.

use super::lexer::{Lexer, Reading, Token, TokenKind};
use super::statement::SqlMode;

/// Functions that tell of the connection on which they are called.
const OF_SESSION: [&str; 7] =
    ["CONNECTION_ID", "CURRENT_USER", "DATABASE", "SCHEMA", "SESSION_USER", "SYSTEM_USER", "USER"];

/// A statement's search as a plain SELECT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    /// The whole SELECT.
    pub select: String,
    /// The condition of its WHERE, if it is one query block with one WHERE and no subquery: then it says
    /// of a row whether it is found.
    pub condition: Option<String>,
    /// Of an UPDATE or DELETE with ORDER BY: the SELECT without that, and without LIMIT.
    pub unsorted: Option<String>,
    /// `LIMIT`: the rows after which the search may stop, those that are skipped included.
    pub limit: Option<u64>,
}

/// Writes the SELECT. `param` gives the literal for the n-th `?`. `None`: the text cannot be asked about
/// (user variables, a sql_mode or character set of its own, no search).
pub fn plain(text: &[u8], reading: Reading, param: &dyn Fn(u32) -> Option<String>) -> Option<Plain> {
    if reading.mode != SqlMode::default() || std::str::from_utf8(text).is_err() {
        return None;
    }
    let tokens: Vec<Token> = Lexer::new(text, reading).collect();
    let words = Words { text, tokens: &tokens };
    let begins = ["SELECT", "UPDATE", "DELETE", "INSERT", "REPLACE", "WITH", "TABLE"];
    // A query in parentheses: `(SELECT …) UNION (SELECT …)`.
    let first = if words.op(0, b"(") { 0 } else { words.top(0, &begins).filter(|first| *first == 0)? };
    let mut out = Writer { words: &words, param, text: String::new(), params: 0, end: 0 };
    let end = words.end();
    match words.word(first).to_ascii_uppercase().as_str() {
        "SELECT" | "TABLE" | "(" => out.copy(0, end)?,
        "WITH" if words.top(first, &["UPDATE", "DELETE"]).is_none() => out.copy(0, end)?,
        "UPDATE" => {
            let set = words.top(first, &["SET"])?;
            let after_set = words.top(set, &["WHERE", "ORDER", "LIMIT", "RETURNING"]).unwrap_or(end);
            out.raw("SELECT * FROM ");
            out.copy(words.skip(first + 1, &["LOW_PRIORITY", "IGNORE"]), set)?;
            out.count_params(set, after_set);
            out.raw(" ");
            out.copy(after_set, words.top(after_set, &["RETURNING"]).unwrap_or(end))?;
        }
        "DELETE" => {
            let from = words.top(first, &["FROM"])?;
            let using = words
                .top(from, &["USING"])
                .filter(|using| words.top(from, &["JOIN", "WHERE"]).is_none_or(|before| *using < before));
            out.raw("SELECT * FROM ");
            let end = words.top(from, &["RETURNING"]).unwrap_or(end);
            out.copy(using.unwrap_or(from) + 1, end)?;
        }
        "INSERT" | "REPLACE" => {
            let query = words.top(first, &["SELECT", "WITH", "TABLE"])?;
            let end = (query..end)
                .find(|at| words.is(*at, "ON") && words.is(at + 1, "DUPLICATE") || words.is(*at, "RETURNING"))
                .unwrap_or(end);
            out.count_params(first, query);
            out.copy(query, end)?;
        }
        _ => return None,
    }
    let changes = words.is(first, "UPDATE") || words.is(first, "DELETE");
    let unsorted = words.top(first, &["ORDER"]).filter(|_| changes).and_then(|order| {
        let end = words.tokens[order].start;
        Some(plain(&text[..end], reading, param)?.select)
    });
    Some(Plain {
        select: out.text,
        condition: condition(&words, param),
        unsorted,
        limit: limit(&words, param),
    })
}

/// The tokens of a text, asked for words.
struct Words<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl<'a> Words<'a> {
    fn end(&self) -> usize {
        self.tokens.len()
    }

    fn bytes(&self, at: usize) -> &'a [u8] {
        self.tokens.get(at).map_or(&[], |token| &self.text[token.start..token.end])
    }

    fn word(&self, at: usize) -> &'a str {
        std::str::from_utf8(self.bytes(at)).unwrap_or_default()
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Word)
            && self.word(at).eq_ignore_ascii_case(word)
    }

    /// Is it a function that says something else on another connection?
    fn of_session(&self, at: usize) -> bool {
        let called = self.op(at + 1, b"(") || self.is(at, "CURRENT_USER");
        called && OF_SESSION.iter().any(|function| self.is(at, function))
    }

    fn op(&self, at: usize, op: &[u8]) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Operator) && self.bytes(at) == op
    }

    /// The first of these words from `from` on, outside parentheses.
    fn top(&self, from: usize, words: &[&str]) -> Option<usize> {
        let mut depth = 0i32;
        for at in from..self.end() {
            match self.bytes(at) {
                b"(" if self.op(at, b"(") => depth += 1,
                b")" if self.op(at, b")") => depth -= 1,
                _ if depth <= 0 && words.iter().any(|word| self.is(at, word)) => return Some(at),
                _ => {}
            }
        }
        None
    }

    fn skip(&self, mut at: usize, words: &[&str]) -> usize {
        while words.iter().any(|word| self.is(at, word)) {
            at += 1;
        }
        at
    }

    /// The end of a locking clause that begins here; `None`: none does.
    fn locking(&self, at: usize) -> Option<usize> {
        if self.is(at, "LOCK") && self.is(at + 1, "IN") && self.is(at + 2, "SHARE") {
            return Some(self.waits(at + 4));
        }
        let clause = self.is(at, "FOR") && (self.is(at + 1, "UPDATE") || self.is(at + 1, "SHARE"));
        if !clause {
            return None;
        }
        let mut end = at + 2;
        if self.is(end, "OF") {
            end += 2;
            while self.op(end, b",") || self.op(end, b".") {
                end += 2;
            }
        }
        Some(self.waits(end))
    }

    fn waits(&self, at: usize) -> usize {
        match () {
            () if self.is(at, "NOWAIT") => at + 1,
            () if self.is(at, "SKIP") || self.is(at, "WAIT") => at + 2,
            () => at,
        }
    }
}

/// Writes tokens out.
struct Writer<'a> {
    words: &'a Words<'a>,
    param: &'a dyn Fn(u32) -> Option<String>,
    text: String,
    /// `?` passed so far.
    params: u32,
    /// Where the last token ended in the source.
    end: usize,
}

impl Writer<'_> {
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn count_params(&mut self, from: usize, to: usize) {
        let tokens = &self.words.tokens[from..to];
        self.params += tokens.iter().filter(|token| token.kind == TokenKind::Param).count() as u32;
    }

    /// Copies a span without its locking clauses. `None`: it holds what cannot be asked about.
    fn copy(&mut self, from: usize, to: usize) -> Option<()> {
        let mut at = from;
        while at < to {
            if let Some(end) = self.words.locking(at) {
                at = end;
                continue;
            }
            let token = self.words.tokens[at];
            // What touches in the source touches here: `COUNT (` would not be a function.
            let closes = self.words.op(at, b")") || self.words.op(at, b",");
            if token.start != self.end && !closes && !self.text.is_empty() && !self.text.ends_with(' ') {
                self.text.push(' ');
            }
            self.end = token.end;
            match token.kind {
                TokenKind::UserVariable | TokenKind::Bad => return None,
                TokenKind::Word if self.words.is(at, "INTO") || self.words.of_session(at) => return None,
                TokenKind::Param => {
                    let literal = (self.param)(self.params)?;
                    self.params += 1;
                    self.text.push_str(&literal);
                }
                _ => self.text.push_str(self.words.word(at)),
            }
            at += 1;
        }
        Some(())
    }
}

/// The text of the WHERE of a statement's own query block, if it has no subquery.
fn condition(words: &Words<'_>, param: &dyn Fn(u32) -> Option<String>) -> Option<String> {
    let place = words.top(0, &["WHERE"])?;
    if words.top(0, &["UNION", "EXCEPT", "INTERSECT", "HAVING"]).is_some() {
        return None;
    }
    let end = words
        .top(place, &["GROUP", "ORDER", "LIMIT", "FOR", "LOCK", "ON", "RETURNING"])
        .unwrap_or(words.end());
    if (place..end).any(|at| words.is(at, "SELECT")) {
        return None;
    }
    let mut out = Writer { words, param, text: String::new(), params: 0, end: 0 };
    out.count_params(0, place + 1);
    out.copy(place + 1, end)?;
    Some(out.text)
}

/// The number of rows after which `LIMIT` ends the search.
fn limit(words: &Words<'_>, param: &dyn Fn(u32) -> Option<String>) -> Option<u64> {
    let place = words.top(0, &["LIMIT"])?;
    let number = |at: usize| -> Option<u64> {
        let token = words.tokens.get(at)?;
        if token.kind == TokenKind::Param {
            let before = words.tokens[..at].iter().filter(|t| t.kind == TokenKind::Param).count();
            return param(before as u32)?.parse().ok();
        }
        words.word(at).parse().ok()
    };
    let first = number(place + 1)?;
    if words.op(place + 2, b",") || words.is(place + 2, "OFFSET") {
        return first.checked_add(number(place + 3)?);
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: Option<&str>) {
        let got = plain(sql.as_bytes(), Reading::default(), &|n| Some(format!("{}", n + 70)));
        assert_eq!(got.as_ref().map(|plain| plain.select.as_str()), expect, "{sql}");
    }

    #[test]
    fn locking_clauses_go() {
        check("SELECT * FROM t WHERE a=1 FOR UPDATE", Some("SELECT * FROM t WHERE a=1"));
        check("select max(id) from t lock in share mode", Some("select max(id) from t"));
        check("SELECT a FROM t, u FOR UPDATE OF t, u SKIP LOCKED", Some("SELECT a FROM t, u"));
        check(
            "SELECT a FROM t ORDER BY a LIMIT 1 FOR UPDATE NOWAIT",
            Some("SELECT a FROM t ORDER BY a LIMIT 1"),
        );
        check("SELECT a FROM t FOR SHARE OF t FOR UPDATE OF u WAIT 5", Some("SELECT a FROM t"));
        check("(SELECT a FROM t FOR UPDATE) UNION SELECT 1", Some("(SELECT a FROM t) UNION SELECT 1"));
        check(
            "(SELECT a FROM t FOR UPDATE) UNION (SELECT b FROM t LOCK IN SHARE MODE)",
            Some("(SELECT a FROM t) UNION (SELECT b FROM t)"),
        );
    }

    #[test]
    fn changes_become_reads() {
        check(
            "UPDATE IGNORE t SET a = ?, b='x' WHERE c = ? LIMIT 2",
            Some("SELECT * FROM t WHERE c = 71 LIMIT 2"),
        );
        check(
            "UPDATE t JOIN u ON t.a=u.a SET t.b = (SELECT 1 WHERE 2)",
            Some("SELECT * FROM t JOIN u ON t.a=u.a "),
        );
        check("DELETE FROM t WHERE a < 3 ORDER BY a", Some("SELECT * FROM t WHERE a < 3 ORDER BY a"));
        check("DELETE t FROM t JOIN u ON t.a = u.a", Some("SELECT * FROM t JOIN u ON t.a = u.a"));
        check("DELETE FROM t USING t JOIN u WHERE t.a = u.a", Some("SELECT * FROM t JOIN u WHERE t.a = u.a"));
        check("DELETE FROM t WHERE a = 1 RETURNING b", Some("SELECT * FROM t WHERE a = 1"));
        check(
            "INSERT INTO t (a) SELECT a FROM u WHERE b=? ON DUPLICATE KEY UPDATE a = 1",
            Some("SELECT a FROM u WHERE b=70"),
        );
    }

    #[test]
    fn changes_are_planned_without_their_order() {
        let unsorted =
            |sql: &str| plain(sql.as_bytes(), Reading::default(), &|n| Some(format!("{}", n + 70)))?.unsorted;
        let of = |sql: &str| Some(sql.to_owned());
        assert_eq!(
            unsorted("DELETE FROM t WHERE a < ? ORDER BY id DESC LIMIT 1"),
            of("SELECT * FROM t WHERE a < 70")
        );
        assert_eq!(
            unsorted("UPDATE t SET a = ? WHERE b = ? ORDER BY id"),
            of("SELECT * FROM t WHERE b = 71")
        );
        assert_eq!(unsorted("DELETE FROM t WHERE a < 3 LIMIT 1"), None);
        assert_eq!(unsorted("SELECT * FROM t ORDER BY a LIMIT 1 FOR UPDATE"), None);
    }

    #[test]
    fn what_cannot_be_asked() {
        check("SELECT * FROM t WHERE a = @x FOR UPDATE", None);
        check("SELECT * FROM t WHERE a = CONNECTION_ID() FOR UPDATE", None);
        check("DELETE FROM t WHERE a = CURRENT_USER", None);
        check("SELECT user FROM t WHERE user = 1 FOR UPDATE", Some("SELECT user FROM t WHERE user = 1"));
        check("INSERT INTO t VALUES (1)", None);
        check("COMMIT", None);
    }

    #[test]
    fn conditions_and_limits() {
        let read = |sql: &str| {
            let plain = plain(sql.as_bytes(), Reading::default(), &|n| Some(format!("{}", n + 70))).unwrap();
            (plain.condition, plain.limit)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("UPDATE t SET a = ? WHERE b = ? LIMIT ?"), (some("b = 71"), Some(72)));
        assert_eq!(
            read("SELECT a FROM t WHERE b = 1 ORDER BY a LIMIT 5, 2 FOR UPDATE"),
            (some("b = 1"), Some(7))
        );
        assert_eq!(read("SELECT a FROM t LIMIT 2 OFFSET 5"), (None, Some(7)));
        assert_eq!(read("DELETE FROM t WHERE a IN (SELECT b FROM u WHERE c = 1)"), (None, None));
        let fills = "INSERT INTO t SELECT a FROM u WHERE b = 1 ON DUPLICATE KEY UPDATE c = 2";
        assert_eq!(read(fills), (some("b = 1"), None));
        let counts = "UPDATE t SET c = (SELECT COUNT(*) FROM u WHERE u.a = t.a) WHERE b = 1";
        assert_eq!(read(counts), (some("b = 1"), None));
    }
}
