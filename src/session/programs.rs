//! The bodies of triggers and procedures, read once for each definition.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::catalog::{Procedure, Table, TriggerEvent};
use crate::id::TableId;
use crate::sql::lexer::Reading;
use crate::sql::program::Program;

/// Definitions whose bodies are remembered; with more, all are read again.
const LIMIT: usize = 4096;

/// The triggers of a table, in the order in which they run.
pub type Triggers = Arc<[(TriggerEvent, Arc<Program>)]>;

/// A procedure's definition, and its body.
type ReadProcedure = (Arc<Procedure>, Arc<Program>);

/// Bodies by definition.
#[derive(Debug, Default)]
pub struct Programs {
    triggers: RwLock<HashMap<(TableId, u64), Triggers>>,
    /// By the address of a definition that is kept with it.
    procedures: RwLock<HashMap<usize, ReadProcedure>>,
}

impl Programs {
    /// What is run with changes of a table.
    pub fn triggers(&self, of: &Table, reading: Reading) -> Triggers {
        let key = (of.id, of.generation);
        if let Some(known) = self.triggers.read().get(&key) {
            return known.clone();
        }
        let read = of.triggers.iter().map(|trigger| {
            let program = program(&trigger.body, None, &trigger.sql_mode, reading);
            (trigger.event, Arc::new(program))
        });
        let triggers: Triggers = read.collect();
        let mut known = self.triggers.write();
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(key, triggers.clone());
        triggers
    }

    /// What a procedure runs.
    pub fn procedure(&self, of: &Arc<Procedure>, reading: Reading) -> Arc<Program> {
        let key = Arc::as_ptr(of).addr();
        if let Some((_, program)) = self.procedures.read().get(&key) {
            return program.clone();
        }
        let read = match &of.body {
            Some(body) => program(body, Some(&of.parameters), &of.sql_mode, reading),
            None => Program { unread: true, ..Program::default() },
        };
        let read = Arc::new(read);
        let mut known = self.procedures.write();
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(key, (of.clone(), read.clone()));
        read
    }
}

/// Reads a body, unless it was written under a sql_mode that gives its marks another meaning.
fn program(body: &str, parameters: Option<&[String]>, sql_mode: &str, reading: Reading) -> Program {
    let other = ["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"];
    if sql_mode.split(',').any(|mode| other.contains(&mode)) {
        return Program { unread: true, ..Program::default() };
    }
    Program::read(body, parameters, reading)
}
