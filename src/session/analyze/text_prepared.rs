//! Statements that are prepared as text, and the user variables that they are given.
//!
//! `PREPARE q FROM '…'`, `SET @a = 5`, `EXECUTE q USING @a`: what is executed is the prepared text with the
//! values. A variable that gets its value in any other way is not known any more.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::analysis::Verdict;
use super::Analyzer;
use super::prepared::Text;
use super::statement::Execution;
use crate::intent::{self, Values};
use crate::sql::cache::Analysed;
use crate::sql::statement::{Argument, Runs, Setting, Statement};
use crate::sql::value::Value;

/// User variables that are followed.
const MAX_VARIABLES: usize = 256;
/// Longest value that is kept, bytes.
const MAX_VALUE: usize = 64 << 10;

/// What a session has prepared and set by name.
#[derive(Default)]
pub(super) struct TextPrepared {
    statements: HashMap<String, Rc<Text>>,
    variables: HashMap<String, Value<'static>>,
}

impl TextPrepared {
    /// What an argument is worth now.
    pub(super) fn value(&self, argument: &Argument, values: &dyn Values) -> Value<'static> {
        let found = match argument {
            Argument::Scalar(scalar) => intent::scalar(scalar, values, 0).map(|value| value.outliving()),
            Argument::Variable(name) => self.variables.get(name).cloned(),
        };
        found.unwrap_or(Value::Unknown)
    }

    /// `SET`: in order, so that one may refer to the one before it.
    pub(super) fn set(&mut self, settings: &[Setting], values: &dyn Values) {
        for setting in settings {
            let Setting::Variable(name, argument) = setting else { continue };
            let value = self.value(argument, values);
            let fits = match &value {
                Value::Text(bytes) | Value::Bytes(bytes) => bytes.len() <= MAX_VALUE,
                Value::Unknown => false,
                _ => true,
            };
            if !fits {
                self.variables.remove(name);
            } else if self.variables.len() < MAX_VARIABLES || self.variables.contains_key(name) {
                self.variables.insert(name.clone(), value);
            }
        }
    }

    /// Variables may have got any values.
    pub(super) fn forget_variables(&mut self) {
        self.variables.clear();
    }

    /// A name stands for this text; `None`: for nothing that is known. At most `limit` are kept.
    pub(super) fn prepare(&mut self, name: &str, text: Option<Text>, limit: usize) {
        self.statements.remove(name);
        if let Some(text) = text.filter(|_| self.statements.len() < limit) {
            self.statements.insert(name.to_owned(), Rc::new(text));
        }
    }

    /// The text that a name stands for.
    pub(super) fn prepared(&self, runs: &Runs) -> Option<Rc<Text>> {
        match runs {
            Runs::Prepared { name, .. } => self.statements.get(name).cloned(),
            Runs::Procedure { .. } | Runs::Text { .. } => None,
        }
    }

    /// What it is executed with.
    pub(super) fn given(&self, runs: &Runs, values: &dyn Values) -> Vec<Value<'static>> {
        let (Runs::Prepared { using: given, .. }
        | Runs::Text { using: given, .. }
        | Runs::Procedure { arguments: given, .. }) = runs;
        given.iter().map(|argument| self.value(argument, values)).collect()
    }

    /// The connection begins anew.
    pub(super) fn clear(&mut self) {
        *self = TextPrepared::default();
    }
}

impl Analyzer {
    /// `EXECUTE`: what is decided on is the text that was prepared. `None`: that is not known.
    pub(super) fn execute_named(&mut self, runs: &Runs, text: &[u8], analysed: &Analysed) -> Option<Verdict> {
        let values = analysed.bind(text, &[]);
        let prepared = match runs {
            Runs::Text { from, .. } => Rc::new(self.text_of(from, &values)?),
            runs => self.named.prepared(runs)?,
        };
        let params = self.named.given(runs, &values);
        let mut inner = prepared.analysed.clone();
        // What a comment says of the EXECUTE, it says of what that runs.
        inner.digest.tag = analysed.digest.tag.or(inner.digest.tag);
        Some(self.statement(&Execution { text: &prepared.text, analysed: &inner, params: &params }, 0))
    }

    /// The text that a `PREPARE` or `EXECUTE IMMEDIATE` is given.
    fn text_of(&self, from: &Argument, values: &dyn Values) -> Option<Text> {
        let (Value::Text(text) | Value::Bytes(text)) = self.named.value(from, values) else { return None };
        let text: Box<[u8]> = text.into_owned().into();
        Some(Text { analysed: self.analyse(&text), text })
    }

    /// What a statement does to the names of statements and values.
    pub(super) fn note_names(&mut self, execution: &Execution<'_>) {
        let plan = &execution.analysed.plan;
        match &plan.statement {
            _ if plan.assigns => self.named.forget_variables(),
            Statement::Set(settings) => {
                let values = execution.analysed.bind(execution.text, execution.params);
                self.named.set(settings, &values);
            }
            Statement::Prepare { name, from } => {
                let values = execution.analysed.bind(execution.text, execution.params);
                let text = from.as_ref().and_then(|from| self.text_of(from, &values));
                self.named.prepare(name, text, self.shared.settings().max_prepared);
            }
            _ => {}
        }
    }
}
