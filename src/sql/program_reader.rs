//! Reading the text of a stored program: blocks, control flow, variables, and the statements between them.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::{RowLock, WaitPolicy};
use super::cache::Analysed;
use super::lexer::{Lexer, Reading, Token, TokenKind};
use super::program::{Inner, Operand, Program, Step};
use super::statement::Statement;
use super::value::Value;

/// What is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `BEGIN … END`
    Block,
    /// IF, CASE, loops, handlers: what stands in it may run.
    Control,
}

/// First words of statements that may lock rows.
const LOCKING: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CALL", "TABLE"];
/// First words of statements that lock no row.
const SILENT: [&str; 10] =
    ["CLOSE", "SIGNAL", "RESIGNAL", "GET", "DO", "SHOW", "SAVEPOINT", "RELEASE", "DEALLOCATE", "NULL"];
/// Behind these words stands a name of a table, column or alias, never a variable.
const BEFORE_NAME: [&str; 9] =
    ["FROM", "JOIN", "STRAIGHT_JOIN", "INTO", "UPDATE", "TABLE", "AS", "INDEX", "KEY"];

/// The text under way.
pub(super) struct Reader<'t> {
    text: &'t [u8],
    reading: Reading,
    tokens: Vec<Token>,
    at: usize,
    /// Parameters and variables, lower-cased.
    names: Vec<String>,
    /// Declared cursors with the tokens of their queries.
    cursors: HashMap<String, (usize, usize)>,
    open: Vec<Open>,
    /// A handler's statement is next.
    handler: bool,
    /// The way may have ended before.
    left: bool,
    program: Program,
    /// Plain SELECTs lock what they read.
    locks_reads: bool,
}

impl<'t> Reader<'t> {
    /// `None` for `parameters`: a trigger's body.
    pub(super) fn new(text: &'t [u8], parameters: Option<&[String]>, reading: Reading) -> Self {
        Reader {
            text,
            reading,
            tokens: Lexer::new(text, reading).collect(),
            at: 0,
            names: parameters.unwrap_or_default().iter().map(|name| name.to_lowercase()).collect(),
            cursors: HashMap::new(),
            open: Vec::new(),
            handler: false,
            left: false,
            program: Program::default(),
            locks_reads: parameters.is_none(),
        }
    }

    pub(super) fn program(mut self) -> Program {
        while self.at < self.tokens.len() {
            // Each turn takes a token at least.
            self.statement();
        }
        self.program
    }

    fn statement(&mut self) {
        if self.op(self.at, ";") {
            self.at += 1;
            return;
        }
        if self.op(self.at + 1, ":") {
            self.at += 2; // a label
            return;
        }
        let word = self.word(self.at);
        match word.as_str() {
            "BEGIN" => {
                self.open.push(if self.handler { Open::Control } else { Open::Block });
                self.handler = false;
                self.at += 1;
                while ["NOT", "ATOMIC"].contains(&self.word(self.at).as_str()) {
                    self.at += 1;
                }
            }
            "END" => {
                self.open.pop();
                self.at = self.end();
            }
            "IF" | "CASE" => {
                self.condition("THEN");
                self.control();
            }
            "ELSEIF" | "WHEN" => self.condition("THEN"),
            "ELSE" => self.at += 1,
            "WHILE" => {
                self.condition("DO");
                self.control();
            }
            "FOR" => {
                self.program.unread = true;
                self.at = self.find("DO", self.tokens.len()) + 1;
                self.control();
            }
            "LOOP" | "REPEAT" => {
                self.control();
                self.at += 1;
            }
            "UNTIL" => self.at = self.find("END", self.tokens.len()),
            "LEAVE" | "ITERATE" | "RETURN" => {
                self.left = true;
                self.at = self.end();
            }
            "DECLARE" => self.declare(),
            _ => {
                self.simple(&word);
                self.handler = false;
            }
        }
    }

    fn control(&mut self) {
        self.open.push(Open::Control);
        self.handler = false;
    }

    /// A statement that is no control flow.
    fn simple(&mut self, word: &str) {
        let (from, end) = (self.at, self.end());
        self.at = end.max(from + 1);
        match word {
            "SET" => self.assignments(from + 1, end),
            "COMMIT" | "ROLLBACK" | "START" => self.program.commits = true,
            "OPEN" => {
                let query = self.name(from + 1).and_then(|name| self.cursors.get(&name).copied());
                match query {
                    Some((from, end)) => self.run(from, end, ""),
                    None => self.program.unread = true,
                }
            }
            "FETCH" => self.forget_targets(from, end),
            _ if SILENT.contains(&word) => {}
            _ if LOCKING.contains(&word) || self.op(from, "(") => self.run(from, end, ""),
            _ => self.program.unread = true,
        }
    }

    /// Is what comes sure to run?
    fn sure(&self) -> bool {
        !self.left && !self.handler && !self.open.contains(&Open::Control)
    }

    /// A condition up to a word, which is taken; its subqueries are run.
    fn condition(&mut self, until: &str) {
        let end = self.find(until, self.tokens.len());
        self.queries(self.at + 1, end);
        self.at = end + 1;
    }

    /// What an expression reads.
    fn queries(&mut self, from: usize, end: usize) {
        if (from..end.min(self.tokens.len())).any(|at| self.is(at, "SELECT")) {
            self.run(from, end, "SELECT ");
        }
    }

    /// After `DECLARE`: variables, a cursor, a handler, a condition.
    fn declare(&mut self) {
        let (from, end) = (self.at + 1, self.end());
        self.at = end;
        if (from..from + 2).any(|at| self.is(at, "HANDLER")) {
            // The statement stands behind the conditions that it is for.
            let mut at = self.find_from(from, "FOR", end) + 1;
            loop {
                at += match self.word(at).as_str() {
                    "NOT" => 2,
                    "SQLSTATE" if self.is(at + 1, "VALUE") => 3,
                    "SQLSTATE" => 2,
                    _ => 1,
                };
                if !self.op(at, ",") {
                    break;
                }
                at += 1;
            }
            self.handler = true;
            self.at = at.max(from);
            return;
        }
        if self.is(from + 1, "CURSOR") {
            if let Some(name) = self.name(from) {
                self.cursors.insert(name, (self.find_from(from, "FOR", end) + 1, end));
            }
            return;
        }
        if self.is(from + 1, "CONDITION") {
            return;
        }
        let mut names = Vec::new();
        let mut at = from;
        while let Some(name) = self.name(at) {
            names.push(name);
            at += 1;
            if !self.op(at, ",") {
                break;
            }
            at += 1;
        }
        let default = self.find_from(at, "DEFAULT", end);
        let value = if default < end { self.value(default + 1, end) } else { Operand::Value(Value::Null) };
        for name in names {
            self.names.push(name.clone());
            self.set(Operand::Variable(name), value.clone());
        }
    }

    /// `SET a = 1, NEW.b = a`
    fn assignments(&mut self, mut at: usize, end: usize) {
        while at < end {
            let (target, next) = match (self.row(at), self.name(at)) {
                (Some(operand), _) => (Some(operand), at + 3),
                (None, Some(name)) if self.names.contains(&name) => (Some(Operand::Variable(name)), at + 1),
                _ => (None, at + 1),
            };
            let from =
                (next..end).find(|at| self.op(*at, "=") || self.op(*at, ":=")).map_or(end, |at| at + 1);
            let mut depth = 0i32;
            let stop = (from..end).find(|at| {
                depth += i32::from(self.op(*at, "(")) - i32::from(self.op(*at, ")"));
                depth == 0 && self.op(*at, ",")
            });
            let stop = stop.unwrap_or(end);
            let value = self.value(from, stop);
            if let Some(target) = target {
                self.set(target, value);
            }
            at = stop + 1;
        }
    }

    fn set(&mut self, target: Operand, value: Operand) {
        let value = if self.sure() { value } else { Operand::Unknown };
        self.program.steps.push(Step::Set { target, value });
    }

    /// What an expression is worth, if it is a name or a literal; its subqueries are run.
    fn value(&mut self, from: usize, end: usize) -> Operand {
        self.queries(from, end);
        if let Some(operand) = self.row(from).filter(|_| end == from + 3) {
            return operand;
        }
        if let Some(name) = self.name(from).filter(|name| end == from + 1 && self.names.contains(name)) {
            return Operand::Variable(name);
        }
        let (text, operands) = self.substituted(from, end, "SELECT ");
        let analysed = Analysed::of(&text, self.reading);
        let tokens = Lexer::new(&text, self.reading).count();
        let signed = self.op(from, "-") || self.op(from, "+");
        match analysed.digest.literals.as_slice() {
            [_] if operands.is_empty() && tokens == 2 + usize::from(signed) => {
                Operand::Value(analysed.bind(&text, &[]).value(0).outliving())
            }
            _ if self.is(from, "NULL") && end == from + 1 => Operand::Value(Value::Null),
            _ => Operand::Unknown,
        }
    }

    /// The variables behind INTO get values that nobody knows.
    fn forget_targets(&mut self, from: usize, end: usize) {
        let into = self.find_from(from, "INTO", end);
        for at in into..end {
            if let Some(name) = self.name(at).filter(|name| self.names.contains(name)) {
                self.program
                    .steps
                    .push(Step::Set { target: Operand::Variable(name), value: Operand::Unknown });
            }
        }
    }

    /// A statement that may lock.
    fn run(&mut self, from: usize, end: usize, head: &str) {
        let end = end.min(self.tokens.len());
        let (text, operands) = self.substituted(from, end, head);
        let mut analysed = Analysed::of(&text, self.reading);
        let reads = self.locks_reads && shared_reads(&mut analysed);
        self.program.unread |= matches!(analysed.plan.statement, Statement::Opaque { .. });
        let called = matches!(analysed.plan.statement, Statement::Routine { .. });
        let given: Vec<Operand> = if called { operands.clone() } else { Vec::new() };
        let inner = Inner { text: text.into(), analysed, operands, sure: self.sure(), reads };
        self.program.steps.push(Step::Run(Arc::new(inner)));
        if self.is(from, "SELECT") || self.is(from, "WITH") {
            self.forget_into(from, end);
        }
        // Whether a parameter is one that comes back is not looked up.
        for target in given.into_iter().filter(|operand| matches!(operand, Operand::Variable(_))) {
            self.program.steps.push(Step::Set { target, value: Operand::Unknown });
        }
    }

    fn forget_into(&mut self, from: usize, end: usize) {
        if let Some((into, stop)) = self.target_list(from, end) {
            self.forget_targets(into, stop);
        }
    }

    /// `INTO a, @b` of a SELECT.
    fn target_list(&self, from: usize, end: usize) -> Option<(usize, usize)> {
        let into = Some(self.find_from(from, "INTO", end)).filter(|into| *into < end)?;
        let mut stop = into + 2;
        while stop < end && self.op(stop, ",") {
            stop += 2;
        }
        Some((into, stop.min(end)))
    }

    /// The text of some tokens with `?` for what it is given, and what that is.
    fn substituted(&self, from: usize, end: usize, head: &str) -> (Vec<u8>, Vec<Operand>) {
        let mut text = head.as_bytes().to_vec();
        let mut operands = Vec::new();
        let selects = self.is(from, "SELECT") || self.is(from, "WITH");
        let left_out = if selects { self.target_list(from, end) } else { None };
        let mut names = Names::new(self, from);
        let (mut at, mut last) = (from, None);
        while at < end {
            if let Some((_, stop)) = left_out.filter(|(into, _)| *into == at) {
                at = stop;
                continue;
            }
            let token = self.tokens[at];
            if last.is_some_and(|last| last != token.start) {
                text.push(b' ');
            }
            let named = names.names_column(self, at);
            let given = match self.row(at) {
                Some(operand) => Some((operand, 3)),
                None if named => None,
                None => self.variable(at).map(|operand| (operand, 1)),
            };
            match given {
                Some((operand, count)) => {
                    text.push(b'?');
                    operands.push(operand);
                    at += count;
                }
                None => {
                    text.extend_from_slice(&self.text[token.start..token.end]);
                    at += 1;
                }
            }
            last = self.tokens.get(at - 1).map(|token| token.end);
        }
        (text, operands)
    }

    /// A variable that is read here: not a part of a qualified name, and no function.
    fn variable(&self, at: usize) -> Option<Operand> {
        let before = at.checked_sub(1);
        let qualified = before.is_some_and(|before| self.op(before, ".")) || self.op(at + 1, ".");
        if qualified || self.op(at + 1, "(") {
            return None;
        }
        let name = self.name(at)?;
        self.names.contains(&name).then_some(Operand::Variable(name))
    }

    /// `OLD.column` or `NEW.column`.
    fn row(&self, at: usize) -> Option<Operand> {
        if !self.op(at + 1, ".") {
            return None;
        }
        let column = self.name(at + 2)?;
        match self.word(at).as_str() {
            "OLD" => Some(Operand::Old(column)),
            "NEW" => Some(Operand::New(column)),
            _ => None,
        }
    }

    // === tokens ===

    fn bytes(&self, at: usize) -> &'t [u8] {
        self.tokens.get(at).map_or(&[], |token| &self.text[token.start..token.end])
    }

    fn op(&self, at: usize, operator: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Operator)
            && self.bytes(at) == operator.as_bytes()
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Word)
            && self.bytes(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// A keyword in upper case; empty where none is.
    fn word(&self, at: usize) -> String {
        match self.tokens.get(at) {
            Some(token) if token.kind == TokenKind::Word => {
                String::from_utf8_lossy(self.bytes(at)).to_ascii_uppercase()
            }
            _ => String::new(),
        }
    }

    /// A name without its quotes, lower-cased.
    fn name(&self, at: usize) -> Option<String> {
        let text = String::from_utf8_lossy(self.bytes(at));
        match self.tokens.get(at)?.kind {
            TokenKind::Word => Some(text.to_lowercase()),
            TokenKind::Quoted => Some(text.trim_matches(['`', '"']).to_lowercase()),
            _ => None,
        }
    }

    /// The end of the statement at hand.
    fn end(&self) -> usize {
        (self.at..self.tokens.len()).find(|at| self.op(*at, ";")).unwrap_or(self.tokens.len())
    }

    /// The next place of a word outside parentheses, or `end`.
    fn find(&self, word: &str, end: usize) -> usize {
        self.find_from(self.at, word, end)
    }

    fn find_from(&self, from: usize, word: &str, end: usize) -> usize {
        let mut depth = 0i32;
        let found = (from..end).find(|at| {
            depth += i32::from(self.op(*at, "(")) - i32::from(self.op(*at, ")"));
            depth == 0 && self.is(*at, word)
        });
        found.unwrap_or(end)
    }
}

/// What a trigger reads is locked with the statement that runs it, shared as by INSERT … SELECT.
/// True: that is all it locks.
fn shared_reads(analysed: &mut Analysed) -> bool {
    let Some(plan) = Arc::get_mut(&mut analysed.plan) else { return false };
    let Statement::Select(select) = &mut plan.statement else { return false };
    let plain = select.tables.iter().all(|table| table.lock.is_none());
    let shared = RowLock { exclusive: false, wait: WaitPolicy::Wait };
    select.tables.iter_mut().for_each(|table| table.lock = table.lock.or(Some(shared)));
    plain
}

/// Which names of a statement are those of columns that it writes, while its tokens pass by.
struct Names {
    inserts: bool,
    /// Before VALUES, SELECT or SET of an INSERT: its column list.
    listing: bool,
    /// In a SET clause: a name after SET or a comma is a target.
    setting: bool,
    depth: i32,
    target: bool,
}

impl Names {
    fn new(reader: &Reader<'_>, from: usize) -> Names {
        let inserts = reader.is(from, "INSERT") || reader.is(from, "REPLACE");
        Names { inserts, listing: inserts, setting: false, depth: 0, target: false }
    }

    /// Is the name at this place one of a column, table or alias? To be asked for each token in order.
    fn names_column(&mut self, reader: &Reader<'_>, at: usize) -> bool {
        let word = reader.word(at);
        self.depth += i32::from(reader.op(at, "(")) - i32::from(reader.op(at, ")"));
        match word.as_str() {
            "VALUES" | "VALUE" | "SELECT" => self.listing = false,
            "SET" => (self.listing, self.setting, self.target) = (false, true, true),
            // ON DUPLICATE KEY UPDATE
            "UPDATE" if self.inserts && at > 0 && reader.is(at - 1, "KEY") => {
                (self.setting, self.target) = (true, true);
                return true;
            }
            "WHERE" | "ORDER" | "LIMIT" | "ON" if self.depth == 0 => self.setting = false,
            _ if self.setting && self.depth == 0 && reader.op(at, ",") => self.target = true,
            _ if self.setting && self.depth == 0 && reader.op(at, "=") => self.target = false,
            _ => {
                let before = at.checked_sub(1).map(|before| reader.word(before)).unwrap_or_default();
                let behind = BEFORE_NAME.contains(&before.as_str());
                return behind || self.listing || (self.setting && self.target);
            }
        }
        true
    }
}
