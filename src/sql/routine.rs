//! Statements that run what stands elsewhere: `CALL`, and `PREPARE` and `EXECUTE` as text.

use super::cursor::Cursor;
use super::fold::{Piece, PieceKind};
use super::statement::{Argument, Runs, Statement};
use super::value::Scalar;

/// What a `CALL` or `EXECUTE` runs. `None`: another statement, or one that cannot be read.
pub(super) fn runs(mut cursor: Cursor<'_, '_>) -> Option<Box<Runs>> {
    if cursor.eat("CALL") {
        let name = cursor.table()?;
        let arguments = if cursor.eat_op("(") { arguments(&mut cursor) } else { Vec::new() };
        return Some(Box::new(Runs::Procedure { name, arguments }));
    }
    if !cursor.eat("EXECUTE") {
        return None;
    }
    if cursor.eat("IMMEDIATE") {
        let from = source(&mut cursor, &["USING"]);
        return Some(Box::new(Runs::Text { from, using: arguments(&mut cursor) }));
    }
    let name = cursor.name()?.to_lowercase();
    if !cursor.eat("USING") && !cursor.at_end() {
        return None;
    }
    Some(Box::new(Runs::Prepared { name, using: arguments(&mut cursor) }))
}

/// `PREPARE name FROM …`, `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
pub(super) fn prepare(mut cursor: Cursor<'_, '_>) -> Option<Statement> {
    if cursor.eat_any(&["DEALLOCATE PREPARE", "DROP PREPARE"]) {
        return Some(Statement::Prepare { name: cursor.name()?.to_lowercase(), from: None });
    }
    if !cursor.eat("PREPARE") {
        return None;
    }
    let name = cursor.name()?.to_lowercase();
    if !cursor.eat("FROM") {
        return None;
    }
    Some(Statement::Prepare { name, from: Some(source(&mut cursor, &[])) })
}

/// The name of a user variable, lower-cased as the server compares it: `@a`, `@'a'`.
pub(super) fn variable(piece: &Piece<'_>) -> Option<String> {
    if piece.kind != PieceKind::UserVariable {
        return None;
    }
    let name = String::from_utf8_lossy(piece.text).to_lowercase();
    Some(name.trim_start_matches('@').trim_matches(['`', '\'', '"']).to_owned())
}

/// What a single piece gives.
pub(super) fn argument(piece: &Piece<'_>) -> Argument {
    match piece.kind {
        PieceKind::Slot(slot, _) => Argument::Scalar(Scalar::Slot(slot)),
        PieceKind::UserVariable => {
            variable(piece).map_or(Argument::Scalar(Scalar::Unknown), Argument::Variable)
        }
        PieceKind::Word if piece.is("NULL") => Argument::Scalar(Scalar::Null),
        _ => Argument::Scalar(Scalar::Unknown),
    }
}

/// One expression, up to one of these words, which is taken.
fn source(cursor: &mut Cursor<'_, '_>, ends: &[&str]) -> Argument {
    let mut pieces = Vec::new();
    while let Some(piece) = cursor.next() {
        if ends.iter().any(|word| piece.is(word)) {
            break;
        }
        pieces.push(piece);
    }
    match pieces.as_slice() {
        [piece] => argument(piece),
        _ => Argument::Scalar(Scalar::Unknown),
    }
}

/// A list of expressions, up to the parenthesis that closes it or to the end.
fn arguments(cursor: &mut Cursor<'_, '_>) -> Vec<Argument> {
    let (mut all, mut depth) = (Vec::new(), 0u32);
    let mut one: Vec<&Piece<'_>> = Vec::new();
    let mut end = |one: &mut Vec<&Piece<'_>>| {
        match one.as_slice() {
            [] => {}
            [piece] => all.push(argument(piece)),
            _ => all.push(Argument::Scalar(Scalar::Unknown)),
        }
        one.clear();
    };
    while let Some(piece) = cursor.next() {
        match () {
            () if depth == 0 && piece.op(",") => end(&mut one),
            () if depth == 0 && piece.op(")") => break,
            () => {
                depth += u32::from(piece.op("("));
                depth -= u32::from(piece.op(")") && depth > 0);
                one.push(piece);
            }
        }
    }
    end(&mut one);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::cache::Analysed;
    use crate::sql::lexer::Reading;
    use crate::sql::value::Value;

    fn check(sql: &str, expect: &[&str]) {
        let analysed = Analysed::of(sql.as_bytes(), Reading::default());
        let values = analysed.bind(sql.as_bytes(), &[]);
        let shown = |argument: &Argument| match argument {
            Argument::Variable(name) => format!("@{name}"),
            Argument::Scalar(Scalar::Slot(slot)) => match values.value(*slot) {
                Value::Text(text) => String::from_utf8_lossy(&text).into_owned(),
                value => format!("{value:?}"),
            },
            Argument::Scalar(other) => format!("{other:?}"),
        };
        let got: Vec<String> = match &analysed.plan.statement {
            Statement::Prepare { name, from } => {
                std::iter::once(name.clone()).chain(from.iter().map(shown)).collect()
            }
            Statement::Routine { runs: Some(runs), .. } => match &**runs {
                Runs::Procedure { name, arguments } => {
                    std::iter::once(name.name.clone()).chain(arguments.iter().map(shown)).collect()
                }
                Runs::Prepared { name, using } => {
                    std::iter::once(name.clone()).chain(using.iter().map(shown)).collect()
                }
                Runs::Text { from, using } => {
                    std::iter::once(shown(from)).chain(using.iter().map(shown)).collect()
                }
            },
            other => vec![format!("{other:?}")],
        };
        assert_eq!(got, expect, "{sql}");
    }

    #[test]
    fn what_is_run_and_with_what() {
        check(
            "CALL shop.take(1, 'x', @Out, NULL, 2 + 3)",
            &["take", "Int(1)", "x", "@out", "Null", "Unknown"],
        );
        check("CALL sweep", &["sweep"]);
        check("CALL f(concat('a', 'b'), -4)", &["f", "Unknown", "Int(-4)"]);
        check("PREPARE Q FROM 'SELECT 1'", &["q", "SELECT 1"]);
        check("PREPARE q FROM @text", &["q", "@text"]);
        check("PREPARE q FROM CONCAT('a', 'b')", &["q", "Unknown"]);
        check("EXECUTE q USING @a, @b", &["q", "@a", "@b"]);
        check("EXECUTE q", &["q"]);
        check(
            "EXECUTE IMMEDIATE 'DELETE FROM t WHERE id = ?' USING 5",
            &["DELETE FROM t WHERE id = ?", "Int(5)"],
        );
        check("DEALLOCATE PREPARE Q", &["q"]);
        check("DROP PREPARE q", &["q"]);
    }

    #[test]
    fn what_a_set_gives_user_variables() {
        let sql = "SET @a = 5, @`B` := 'x', @c = @a, @d = @a + 1";
        let analysed = Analysed::of(sql.as_bytes(), Reading::default());
        let Statement::Set(settings) = &analysed.plan.statement else { panic!("not a SET") };
        let names: Vec<_> = settings.iter().map(|setting| format!("{setting:?}")).collect();
        let expect = ["Scalar(Slot(0))", "Scalar(Slot(1))", "Variable(\"a\")", "Scalar(Unknown)"];
        for ((name, value), got) in ["a", "b", "c", "d"].iter().zip(expect).zip(names) {
            assert_eq!(got, format!("Variable(\"{name}\", {value})"));
        }
        assert!(!analysed.plan.assigns);
    }

    #[test]
    fn assignments_that_the_plan_does_not_show() {
        let assigns = |sql: &str| Analysed::of(sql.as_bytes(), Reading::default()).plan.assigns;
        assert!(assigns("SELECT @a := max(id) FROM t"));
        assert!(assigns("SELECT id INTO @a FROM t"));
        assert!(assigns("CALL f(@a)"));
        assert!(!assigns("UPDATE t SET n = @a WHERE id = 1"));
        assert!(!assigns("INSERT INTO t VALUES (1)"));
    }
}
