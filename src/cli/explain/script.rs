//! The text that is to be explained, cut into statements.
//!
//! Statements end at `;`. A line `-- session A` says whose the following ones are; before the first such
//! line they are those of a session of its own.

use crate::sql::lexer::{Lexer, Reading, TokenKind};

/// A statement of the script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Whose it is.
    pub session: String,
    /// Its text.
    pub sql: String,
    /// The line of the input that it begins on, from 1.
    pub line: usize,
}

/// The name of the session before the first `-- session` line.
const UNNAMED: &str = "A";

/// Cuts a script into its statements.
pub fn read(text: &str, reading: Reading) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut session = UNNAMED.to_owned();
    let (mut part, mut first) = (String::new(), 1);
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = session_line(line) {
            cut(&part, first, &session, reading, &mut lines);
            part.clear();
            first = number + 2;
            session = name.to_owned();
            continue;
        }
        part.push_str(line);
        part.push('\n');
    }
    cut(&part, first, &session, reading, &mut lines);
    lines
}

/// `-- session NAME`
fn session_line(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("--")?.trim_start();
    let (word, name) = name.split_once(' ')?;
    let name = name.trim().trim_end_matches(':');
    (word.eq_ignore_ascii_case("session") && !name.is_empty() && !name.contains(' ')).then_some(name)
}

fn cut(part: &str, first: usize, session: &str, reading: Reading, lines: &mut Vec<Line>) {
    let lexer = Lexer::new(part.as_bytes(), reading);
    let (mut begin, mut end) = (None, 0);
    let mut add = |begin: Option<usize>, end: usize| {
        let Some(begin) = begin else { return };
        let line = first + part[..begin].matches('\n').count();
        lines.push(Line { session: session.to_owned(), sql: part[begin..end].trim().to_owned(), line });
    };
    for token in lexer {
        if token.kind == TokenKind::Operator && &part[token.start..token.end] == ";" {
            add(begin.take(), end);
        } else {
            begin.get_or_insert(token.start);
            end = token.end;
        }
    }
    add(begin, end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, usize, &str)]) {
        let lines = read(text, Reading::default());
        let lines: Vec<_> = lines.iter().map(|l| (l.session.as_str(), l.line, l.sql.as_str())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_statement() {
        check("SELECT 1", &[("A", 1, "SELECT 1")]);
        check("SELECT ';' -- not ; here\n;", &[("A", 1, "SELECT ';'")]);
        check(" -- nothing\n;;", &[]);
    }

    #[test]
    fn sessions_take_turns() {
        check(
            "-- session A\nBEGIN;\n\nUPDATE t\nSET n = 1;\n--session b:\nBEGIN; DELETE FROM t\n-- session A\nCOMMIT",
            &[
                ("A", 2, "BEGIN"),
                ("A", 4, "UPDATE t\nSET n = 1"),
                ("b", 7, "BEGIN"),
                ("b", 7, "DELETE FROM t"),
                ("A", 9, "COMMIT"),
            ],
        );
    }
}
