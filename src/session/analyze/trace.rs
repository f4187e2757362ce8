//! What signatures see of a statement, and what they are told of a deadlock.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::Analyzer;
use super::statement::Execution;
use crate::admission::deadlock::Reported;
use crate::backend::deadlock_report;
use crate::id::{DigestId, TxnId};
use crate::scheduler::signature::{Ran, Values};
use crate::scheduler::signatures::Seen;
use crate::sql::access::TableName;
use crate::sql::digest::{Literal, LiteralKind};
use crate::sql::statement::Statement;
use crate::sql::value::Value;

/// Literals of one statement that are compared.
const MAX_VALUES: usize = 8;

/// Does a statement that asks for no row locks lock something else, or what the text does not show?
pub(super) fn may_lock(statement: &Statement) -> bool {
    match statement {
        Statement::Multi(parts) => parts.iter().any(|part| may_lock(part)),
        Statement::Ddl { .. }
        | Statement::Routine { .. }
        | Statement::LockTables(_)
        | Statement::Opaque { .. } => true,
        _ => false,
    }
}

/// A statement, as a journal keeps it.
pub(super) fn ran(execution: &Execution<'_>, locks: bool) -> Ran {
    let plan = &execution.analysed.plan;
    let locks = locks || may_lock(&plan.statement);
    Ran {
        digest: DigestId(plan.hash),
        text: plan.text.clone(),
        locks,
        tables: plan.tables,
        // What locks nothing is no part of a signature.
        values: if locks { values(execution) } else { Values::new() },
    }
}

/// A statement, as signatures look for it.
pub(super) fn seen(execution: &Execution<'_>, schema: Option<&str>) -> Seen {
    Seen {
        digest: DigestId(execution.analysed.plan.hash),
        schema: self::schema(schema),
        values: values(execution),
    }
}

/// A default schema, as a number.
pub(super) fn schema(name: Option<&str>) -> u64 {
    let mut hasher = FxHasher::default();
    name.hash(&mut hasher);
    hasher.finish()
}

/// All tables that a statement names.
pub fn tables_named(statement: &Statement) -> Vec<&TableName> {
    match statement {
        Statement::Multi(parts) => parts.iter().flat_map(|part| tables_named(part)).collect(),
        Statement::LockTables(locked) => locked.iter().map(|(table, _)| table).collect(),
        Statement::Ddl { tables, .. }
        | Statement::Routine { tables, .. }
        | Statement::Opaque { tables, .. } => tables.iter().collect(),
        statement => crate::intent::tables(statement),
    }
}

fn values(execution: &Execution<'_>) -> Values {
    let literals = execution.analysed.digest.literals.iter().take(MAX_VALUES);
    literals.map(|literal| value(literal, execution)).collect()
}

/// The same number for the same value, whether it stands in the text or was bound.
fn value(literal: &Literal, execution: &Execution<'_>) -> u32 {
    let mut hasher = FxHasher::default();
    let shown = execution.text.get(literal.start as usize..literal.end as usize).unwrap_or(&[]);
    match literal.kind {
        LiteralKind::Param(number) => match execution.params.get(number as usize) {
            Some(Value::Int(n)) => n.hash(&mut hasher),
            Some(Value::Text(bytes) | Value::Bytes(bytes)) => bytes.hash(&mut hasher),
            Some(other) => format!("{other:?}").hash(&mut hasher),
            None => {}
        },
        LiteralKind::Number => match std::str::from_utf8(shown).ok().and_then(integer) {
            Some(n) => n.hash(&mut hasher),
            None => shown.hash(&mut hasher),
        },
        LiteralKind::String if shown.len() >= 2 => shown[1..shown.len() - 1].hash(&mut hasher),
        _ => shown.hash(&mut hasher),
    }
    (hasher.finish() >> 32) as u32
}

/// Nearly all numbers are short; the wide type is slow to read.
fn integer(text: &str) -> Option<i128> {
    const SHORT: usize = 18;
    if text.len() <= SHORT { text.parse::<i64>().ok().map(i128::from) } else { text.parse().ok() }
}

impl Analyzer {
    /// This session has got a deadlock error: its signature is kept. The server is asked for what it knows.
    pub(super) fn deadlocked(&mut self, txn: Option<TxnId>, cycle: &[TxnId]) {
        let by_server = cycle.is_empty();
        let Some(scene) = self.shared.admission.deadlocked(self.entry.id, txn, cycle) else { return };
        let waits = self.retry_report();
        let Some(knowledge) = self.shared.knowledge.as_ref().filter(|_| by_server) else { return };
        self.shared.admission.asks_server(&scene);
        let (shared, control) = (self.shared.clone(), knowledge.control.clone());
        knowledge.control.runtime().spawn(async move {
            let parties = deadlock_report::ask(&control).await.unwrap_or_default();
            if let Some(waits) = waits {
                // Whoever was waiting may have gone meanwhile.
                let _ = waits.send(parties.iter().map(|party| party.server_thread).collect());
            }
            let reported = parties.into_iter().map(|party| Reported {
                server_thread: party.server_thread,
                holds: party.holds,
                waits_for: party.waits_for,
            });
            shared.admission.reported(scene, &reported.collect::<Vec<_>>());
        });
    }
}
