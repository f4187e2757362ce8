//! The body of a trigger or procedure, as the statements that it runs.
//!
//! ```text
//! BEGIN DECLARE n INT DEFAULT 1; UPDATE t SET a = NEW.a WHERE id = n; IF n > 1 THEN DELETE FROM u; END IF; END
//!   Set n = 1
//!   Run `UPDATE t SET a = ? WHERE id = ?` with NEW.a, n     sure
//!   Run `DELETE FROM u`                                     not sure
//! ```
//!
//! Where a statement names a variable or a column of `OLD` or `NEW`, it gets a `?`: so it is read like any
//! prepared statement, and bound when it is known what runs it. Control flow is not followed: what stands in
//! an IF or a loop may run, and what it assigns is not known (MySQL manual, "Compound Statement Syntax").

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::Analysed;
use super::lexer::Reading;
use super::program_reader::Reader;
use super::value::Value;

/// Statements that one run of a body may have, those in loops counted once.
const MAX_RUNS: usize = 64;

/// A body that was read.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// In text order.
    pub steps: Vec<Step>,
    /// It has statements that could not be read.
    pub unread: bool,
    /// It ends transactions.
    pub commits: bool,
}

/// A statement of a body.
#[derive(Clone, Debug)]
pub enum Step {
    /// A statement that may lock.
    Run(Arc<Inner>),
    /// A variable or a column of the new row gets a value.
    Set {
        /// What gets it: a variable, or a column of `NEW`.
        target: Operand,
        /// The value.
        value: Operand,
    },
}

/// A statement as the body has it, with `?` for what it is given.
#[derive(Clone, Debug)]
pub struct Inner {
    /// The text.
    pub text: Box<[u8]>,
    /// The text, read.
    pub analysed: Analysed,
    /// One for each `?`.
    pub operands: Vec<Operand>,
    /// It runs whenever the body does.
    pub sure: bool,
    /// A plain SELECT, which locks only because a statement that changes something runs it.
    pub reads: bool,
}

/// What a `?` stands for, or what gets a value. Names are lower-cased.
#[derive(Clone, PartialEq, Debug)]
pub enum Operand {
    /// `OLD.column`
    Old(String),
    /// `NEW.column`
    New(String),
    /// A parameter or a declared variable.
    Variable(String),
    /// A literal.
    Value(Value<'static>),
    /// Only the server knows.
    Unknown,
}

/// What a body is run with.
pub struct Frame<'f> {
    /// A column of the row as it was.
    pub old: &'f dyn Fn(&str) -> Option<Value<'static>>,
    /// A column of the row as it will be.
    pub new: &'f dyn Fn(&str) -> Option<Value<'static>>,
    /// Parameters by lower-case name.
    pub parameters: HashMap<String, Value<'static>>,
}

/// A statement with the values that it is run with.
#[derive(Clone, Debug)]
pub struct Running {
    /// The statement.
    pub inner: Arc<Inner>,
    /// One for each `?`.
    pub params: Vec<Value<'static>>,
}

impl Program {
    /// Reads a body. `parameters` are the names of a procedure's; a trigger has none, and locks what it reads.
    pub fn read(body: &str, parameters: Option<&[String]>, reading: Reading) -> Program {
        Reader::new(body.as_bytes(), parameters, reading).program()
    }

    /// The statements of one run, in order.
    pub fn run(&self, frame: &Frame<'_>) -> Vec<Running> {
        let mut variables = frame.parameters.clone();
        let mut new_row: HashMap<&str, Value<'static>> = HashMap::new();
        let mut running = Vec::new();
        for step in &self.steps {
            let value = |operand: &Operand| -> Value<'static> {
                let found = match operand {
                    Operand::Value(value) => Some(value.clone()),
                    Operand::Variable(name) => variables.get(name).cloned(),
                    Operand::Old(column) => (frame.old)(column),
                    Operand::New(column) => {
                        new_row.get(column.as_str()).cloned().or_else(|| (frame.new)(column))
                    }
                    Operand::Unknown => None,
                };
                found.unwrap_or(Value::Unknown)
            };
            match step {
                Step::Set { target: Operand::Variable(name), value: from } => {
                    let value = value(from);
                    variables.insert(name.clone(), value);
                }
                Step::Set { target: Operand::New(column), value: from } => {
                    let value = value(from);
                    new_row.insert(column, value);
                }
                Step::Set { .. } => {}
                Step::Run(inner) if running.len() < MAX_RUNS => {
                    let params = inner.operands.iter().map(value).collect();
                    running.push(Running { inner: Arc::clone(inner), params });
                }
                Step::Run(_) => {}
            }
        }
        running
    }

    /// The columns of `OLD` and `NEW` that its statements use, lower-cased.
    pub fn row_columns(&self) -> impl Iterator<Item = &str> {
        let operands = self.steps.iter().flat_map(|step| match step {
            Step::Run(inner) => inner.operands.as_slice(),
            Step::Set { value, .. } => std::slice::from_ref(value),
        });
        operands.filter_map(|operand| match operand {
            Operand::Old(column) | Operand::New(column) => Some(column.as_str()),
            _ => None,
        })
    }

    /// The columns of `NEW` that it sets.
    pub fn sets_columns(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Set { target: Operand::New(column), .. } => Some(column.as_str()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each statement: the digest's text, the values, `?` behind it if it is not sure.
    fn check(body: &str, parameters: &[(&str, i128)], expect: &[&str]) -> Program {
        let names: Vec<String> = parameters.iter().map(|(name, _)| (*name).to_owned()).collect();
        let program = Program::read(body, Some(&names), Reading::default());
        let row = |sign: i128| {
            move |column: &str| match column {
                "id" => Some(Value::Int(7)),
                "n" => Some(Value::Int(sign * 5)),
                _ => None,
            }
        };
        let parameters = parameters.iter().map(|(name, n)| ((*name).to_owned(), Value::Int(*n)));
        let frame = Frame { old: &row(-1), new: &row(1), parameters: parameters.collect() };
        let shown = |running: &Running| {
            let values: Vec<String> = running
                .params
                .iter()
                .map(|v| match v {
                    Value::Int(n) => n.to_string(),
                    Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                })
                .collect();
            let sure = if running.inner.sure { "" } else { " maybe" };
            format!("{} <{}>{sure}", running.inner.analysed.plan.text, values.join(" "))
        };
        let got: Vec<String> = program.run(&frame).iter().map(shown).collect();
        assert_eq!(got, expect, "{body}");
        program
    }

    #[test]
    fn one_statement() {
        check(
            "UPDATE total SET s = s + NEW.n - OLD.n WHERE k = NEW.id",
            &[],
            &["UPDATE total SET s = s + ? - ? WHERE k = ? <5 -5 7>"],
        );
        check(
            "UPDATE seat SET n = n + 1 WHERE id = n1",
            &[("n1", 3)],
            &["UPDATE seat SET n = n + ? WHERE id = ? <3>"],
        );
    }

    #[test]
    fn names_of_columns_stay() {
        check(
            "INSERT INTO t (id, n) VALUES (id, n)",
            &[("id", 1), ("n", 2)],
            &["INSERT INTO t (id, n) VALUES (?, ?) <1 2>"],
        );
        check(
            "UPDATE t SET n = n, m = t.n WHERE id = id",
            &[("n", 2)],
            &["UPDATE t SET n = ?, m = t.n WHERE id = id <2>"],
        );
        check(
            "INSERT INTO t SET n = n ON DUPLICATE KEY UPDATE n = n",
            &[("n", 2)],
            &["INSERT INTO t SET n = ? ON DUPLICATE KEY UPDATE n = ? <2 2>"],
        );
        check(
            "DELETE FROM n WHERE n(1) = x.n AND id = `n`",
            &[("n", 2)],
            &["DELETE FROM n WHERE n(?) = x.n AND id = ? <2>"],
        );
    }

    #[test]
    fn blocks_and_variables() {
        check(
            "BEGIN DECLARE a, b INT DEFAULT 4; DECLARE c INT; SET a = n, c = 'x'; \
             BEGIN UPDATE t SET v = c WHERE id = a; END; DELETE FROM u WHERE id = b; END",
            &[("n", 9)],
            &["UPDATE t SET v = ? WHERE id = ? <x 9>", "DELETE FROM u WHERE id = ? <4>"],
        );
        check(
            "BEGIN SET NEW.n = 8; UPDATE t SET a = NEW.n WHERE id = 1; END",
            &[],
            &["UPDATE t SET a = ? WHERE id = ? <8>"],
        );
        check(
            "BEGIN SELECT id, n INTO a, @b FROM t WHERE id = 1 FOR UPDATE; UPDATE t SET n = 1 WHERE id = a; END",
            &[("a", 1)],
            &["SELECT id, n FROM t WHERE id = ? FOR UPDATE <>", "UPDATE t SET n = ? WHERE id = ? <Unknown>"],
        );
    }

    #[test]
    fn what_control_flow_may_run() {
        check(
            "BEGIN IF n > 1 THEN DELETE FROM a; ELSEIF n > 0 THEN DELETE FROM b; ELSE SET n = 2; END IF; \
             DELETE FROM c WHERE id = n; END",
            &[("n", 9)],
            &["DELETE FROM a <> maybe", "DELETE FROM b <> maybe", "DELETE FROM c WHERE id = ? <Unknown>"],
        );
        check(
            "one: BEGIN CASE WHEN n = 1 THEN DELETE FROM a; END CASE; WHILE n > 1 DO DELETE FROM b; END WHILE; \
             two: LOOP LEAVE two; END LOOP two; REPEAT DELETE FROM c; UNTIL n END REPEAT; DELETE FROM d; END one",
            &[],
            &[
                "DELETE FROM a <> maybe",
                "DELETE FROM b <> maybe",
                "DELETE FROM c <> maybe",
                "DELETE FROM d <> maybe",
            ],
        );
        check(
            "BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION, SQLSTATE '23000' BEGIN DELETE FROM h; END; \
             DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1; DELETE FROM a; END",
            &[],
            &["DELETE FROM h <> maybe", "DELETE FROM a <>"],
        );
        check(
            "IF EXISTS (SELECT 1 FROM t WHERE id = NEW.id) THEN DELETE FROM u; END IF",
            &[],
            &["SELECT EXISTS(SELECT ? FROM t WHERE id = ?) <7>", "DELETE FROM u <> maybe"],
        );
    }

    #[test]
    fn cursors_and_what_cannot_be_read() {
        let program = check(
            "BEGIN DECLARE c CURSOR FOR SELECT id FROM t WHERE n = k FOR UPDATE; OPEN c; FETCH c INTO k; \
             DELETE FROM u WHERE id = k; CLOSE c; CREATE TABLE x (a INT); COMMIT; END",
            &[("k", 3)],
            &["SELECT id FROM t WHERE n = ? FOR UPDATE <3>", "DELETE FROM u WHERE id = ? <Unknown>"],
        );
        assert!(program.unread && program.commits);
        assert!(!check("BEGIN END", &[], &[]).unread);
    }

    #[test]
    fn arbitrary_text_is_read_to_its_end() {
        for body in [
            "",
            "END END END",
            "IF",
            "IF x",
            "CASE WHEN",
            "DECLARE",
            "DECLARE x CURSOR",
            "SET",
            "SET a",
            "x:",
            "FETCH c INTO",
            "BEGIN 'unterminated",
        ] {
            Program::read(body, Some(&["a".to_owned()]), Reading::default());
        }
    }
}
