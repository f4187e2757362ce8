//! Asking the server about one execution of a statement: its plan, and what its searches meet.
//!
//! An inquiry owns all that it needs, so that it outlives the command: the session that asks is seldom the
//! one whose statement it is.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::super::serve::Shared;
use super::inner::Asker;
use super::reading_values::literal;
use super::tables::{find, tables};
use crate::backend::explain::PlanKey;
use crate::catalog::Table;
use crate::intent::known::Known;
use crate::intent::{Context, Intent};
use crate::sql::access::TableName;
use crate::sql::cache::Analysed;
use crate::sql::formula::Moment;
use crate::sql::plain::{self, Plain};
use crate::sql::repeat::Repeat;
use crate::sql::statement::Statement;
use crate::sql::value::Value;

/// One execution of a statement.
pub(super) struct Inquiry {
    pub(super) shared: Arc<Shared>,
    pub(super) text: Box<[u8]>,
    pub(super) analysed: Analysed,
    pub(super) params: Vec<Value<'static>>,
    pub(super) schema: Option<String>,
    pub(super) context: Context,
    /// When it ran, and what its session had been given.
    pub(super) moment: Moment,
    /// How many statements run each other down to this one.
    pub(super) depth: u8,
}

impl Inquiry {
    pub(super) fn statement(&self) -> &Statement {
        &self.analysed.plan.statement
    }

    /// What the statement asks for, with what is known.
    pub(super) fn intent(&self, known: &Known) -> Intent {
        let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
        self.asker().intent(self.statement(), &values, known)
    }

    pub(super) fn asker(&self) -> Asker<'_> {
        let (shared, schema) = (&*self.shared, self.schema.as_deref());
        Asker { shared, schema, context: self.context, reading: self.analysed.reading }
    }

    pub(super) fn table_named(&self, name: &TableName) -> Option<Arc<Table>> {
        find(&self.shared, self.schema.as_deref(), name)
    }

    /// Has the server's plan fetched for the next execution.
    pub(super) async fn explain(&self) {
        let Some(knowledge) = &self.shared.knowledge else { return };
        let key = plan_key(&self.shared, self.schema.as_deref(), &self.analysed);
        if let (Some(key), Some(plain)) = (key, self.plain()) {
            knowledge.explainer.plan(key, &plain.select).await;
        }
    }

    /// The search as a SELECT. `None`: it has none, or it must not run on another connection: what it calls might do
    /// something there, or say something else.
    pub(super) fn plain(&self) -> Option<Plain> {
        if self.analysed.repeat(&self.text) == Repeat::Never {
            return None;
        }
        let param = |n: u32| match self.params.get(n as usize)? {
            Value::Null => Some("NULL".to_owned()),
            value => literal(value)?,
        };
        plain::plain(&self.text, self.analysed.reading, &param)
    }
}

/// What the plan of a statement is kept under. `None`: a table is not known.
pub(super) fn plan_key(shared: &Shared, schema: Option<&str>, analysed: &Analysed) -> Option<PlanKey> {
    let mut hasher = rustc_hash::FxHasher::default();
    for name in tables(&analysed.plan.statement) {
        let table = find(shared, schema, name)?;
        (table.id, table.generation).hash(&mut hasher);
    }
    let generation = hasher.finish();
    Some(PlanKey { digest: analysed.plan.hash, schema: schema.map(Box::from), generation })
}
