//! What a statement will ask for, for those who only want to know: `interlock explain` drives this analysis
//! with statements that it never sends.

use std::sync::Arc;

use super::Analyzer;
use super::look::probe_value;
use super::statement::{Bound, Execution, find, tables};
use crate::backend::probe::ProbeValue;
use crate::catalog::{KeyPart, Table};
use crate::id::TxnId;
use crate::intent;
use crate::lock::request::Request;
use crate::sql::cache::Plan;
use crate::sql::statement::Isolation;
use crate::txn::effect::Runs;

/// What a statement will ask for.
pub struct Foreseen {
    /// What it is.
    pub plan: Arc<Plan>,
    /// Its locks, in the order in which the server asks for them.
    pub locks: Vec<ForeseenLock>,
    /// Something that it locks is not known, and why.
    pub unknown: Option<&'static str>,
    /// The isolation level that it runs under.
    pub isolation: Isolation,
    /// It is a transaction of its own: its locks end with it.
    pub alone: bool,
    /// The status flags that the server's answer will have.
    pub status: u16,
}

/// A lock that a statement will ask for.
pub struct ForeseenLock {
    /// The model's request.
    pub request: Request,
    /// The table.
    pub table: Arc<Table>,
    /// The values of the place in the index, where they are known.
    pub place: Option<Vec<ProbeValue>>,
}

impl Analyzer {
    /// What a statement asks for if it runs now. Nothing is noted.
    pub fn foresee(&self, text: &[u8]) -> Foreseen {
        let analysed = self.analyse(text);
        let statement = &analysed.plan.statement;
        let execution = Execution { text, analysed: &analysed, params: &[] };
        let effect = self.effect(statement);
        let asked = if super::statement::locks(statement, &effect) {
            self.intent(&execution, effect).0
        } else {
            intent::Intent::default()
        };
        let schema = self.state.schema();
        let known: Vec<Arc<Table>> =
            tables(statement).into_iter().filter_map(|name| find(&self.shared, schema, name)).collect();
        let lock = |request: Request| {
            let table = known.iter().find(|table| table.id == request.index.table)?.clone();
            let binding = Bound(analysed.bind(text, &[]));
            let values = intent::values_of(statement, &binding, &table, &request);
            let parts = &table.indexes.get(usize::from(request.index.index))?.parts;
            let place = values.and_then(|values| {
                let of_column =
                    |(value, part): (_, &KeyPart)| probe_value(value, &table.columns[part.column?].family);
                values.iter().zip(parts).map(of_column).collect()
            });
            Some(ForeseenLock { request, table, place })
        };
        Foreseen {
            plan: analysed.plan.clone(),
            locks: asked.requests.into_iter().filter_map(lock).collect(),
            unknown: asked.unknown,
            isolation: effect.isolation,
            alone: effect.runs != Runs::Transaction,
            status: self.state.status_if_done(statement),
        }
    }

    /// The transaction that holds locks, if one does.
    pub fn transaction_under_way(&self) -> Option<TxnId> {
        self.txn.or_else(|| {
            self.pending.iter().rev().find_map(|pending| match pending {
                super::Pending::Statement { locking: Some(locking), .. } => Some(locking.txn),
                _ => None,
            })
        })
    }

    /// The default schema.
    pub fn schema(&self) -> Option<&str> {
        self.state.schema()
    }
}
