//! Looking things up while a command is kept back: definitions of tables, the edges of a gap.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::Analyzer;
use super::inner::{Asker, procedure};
use super::inquiry::{Inquiry, plan_key};
use super::reading_values::{seen_span, span_sql};
use super::search::Search;
use super::statement::Execution;
use super::tables::{find, tables};
use super::unsorted;
use crate::backend::probe::ProbeValue;
use crate::backend::scan;
use crate::catalog::{Family, Flavour, Table};
use crate::id::TxnId;
use crate::intent::access_path::Span;
use crate::intent::foreign_key::{children_of as children, relatives};
use crate::intent::known::Plan;
use crate::intent::{self, Context, Intent, value};
use crate::lock::key::Key;
use crate::lock::request::Request;
use crate::lock::shown::Neighbours;
use crate::scheduler::conflict::Doubts;
use crate::sql::access::TableName;
use crate::sql::cache;
use crate::sql::lexer::Reading;
use crate::sql::statement::Statement;
use crate::sql::value::Value;
use crate::txn::effect::Effect;

/// Names of tables that were waited for in vain, per session; with more, none is waited for.
const MAX_TRIED: usize = 256;

/// Tables that hang together by foreign keys which are loaded with one of them.
const MAX_RELATIVES: usize = 32;

/// Most statements whose locks one look narrows.
const MAX_NARROWED: usize = 16;

impl Analyzer {
    /// Tables that this session uses for the first time are loaded, or looked at again if what is known is
    /// old: the one point where a statement waits for knowledge, bounded by `control.first_use_timeout`.
    pub(super) fn tables_to_load(&mut self, statement: &Statement) -> Option<LocalBoxFuture<'static, ()>> {
        let mut called_tables = self.called_tables(statement);
        let knowledge = self.shared.knowledge.as_ref()?;
        let mut wanted: Vec<(String, String)> = Vec::new();
        for name in tables(statement) {
            let Some(schema) = name.schema.as_deref().or(self.state.schema()) else { continue };
            match find(&self.shared, self.state.schema(), name) {
                Some(table) => {
                    self.tried.remove(name);
                    if !self.used.insert(table.id) {
                        continue;
                    }
                }
                // It was not found when it was waited for (temporary, no such table, no right to see it):
                // it is not waited for again, but it may have come since.
                None if self.tried.len() >= MAX_TRIED || !self.tried.insert(name.clone()) => {
                    knowledge.catalog.request(schema, &name.name);
                    continue;
                }
                None => {}
            }
            wanted.push((schema.to_owned(), name.name.clone()));
        }
        let called = procedure(statement).and_then(|(name, _)| self.procedure_to_load(name));
        wanted.append(&mut called_tables);
        if wanted.is_empty() && called.is_none() {
            return None;
        }
        let reading = Reading {
            mariadb: self.flavour == Flavour::MariaDb,
            version: self.server_version,
            ..Reading::default()
        };
        let context = self.context(self.effect(statement));
        let (shared, runtime) = (self.shared.clone(), knowledge.control.runtime().clone());
        let settings = self.shared.settings();
        let (fresh, timeout) = (settings.fresh, settings.first_use_timeout);
        Some(Box::pin(async move {
            if let (Some((schema, name)), Some(knowledge)) = (called, &shared.knowledge) {
                let load = knowledge.procedures.load(&schema, &name);
                let _ = tokio::time::timeout(timeout, load).await;
                let asker = Asker { shared: &shared, schema: Some(&schema), context, reading };
                wanted.extend(asker.procedure_tables(&TableName { schema: None, name }));
            }
            let loads = wanted.into_iter().map(|(schema, name)| {
                let shared = shared.clone();
                runtime.spawn(async move {
                    let Some(knowledge) = &shared.knowledge else { return };
                    let load = async |schema: &str, name: &str| {
                        knowledge.catalog.fresh(schema, name, fresh, timeout).await
                    };
                    let Some(mut table) = load(&schema, &name).await else { return };
                    if let Some(base) = knowledge.views.base(&table) {
                        let schema = base.schema.as_deref().unwrap_or(&schema);
                        let Some(behind) = load(schema, &base.name).await else { return };
                        table = behind;
                    }
                    // Its foreign keys lock there too.
                    let mut loaded = vec![(table.schema.clone(), table.name.clone())];
                    let mut wanted: Vec<(String, String)> = owned(relatives(&table));
                    while !wanted.is_empty() && loaded.len() < MAX_RELATIVES {
                        let loads = wanted.iter().map(|(schema, name)| load(schema, name));
                        let found = futures_util::future::join_all(loads).await;
                        loaded.append(&mut wanted);
                        // What goes with a child goes with its parent.
                        let next = found.iter().flatten().flat_map(|table| owned(children(table)));
                        wanted = next.filter(|name| !loaded.contains(name)).collect();
                        wanted.dedup();
                    }
                    // So do the statements of its triggers.
                    let asker = Asker { shared: &shared, schema: Some(&schema), context, reading };
                    let named = asker.trigger_tables(&table);
                    let loads = named.iter().map(|(schema, name)| load(schema, name));
                    futures_util::future::join_all(loads).await;
                })
            });
            // Known in time or not: the statement goes on with what there is.
            futures_util::future::join_all(loads).await;
        }))
    }

    /// The procedure that is called, unless it is known. One whose definition is old is loaded meanwhile.
    fn procedure_to_load(&self, name: &TableName) -> Option<(String, String)> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let schema = name.schema.as_deref().or(self.state.schema())?;
        let place = (schema.to_owned(), name.name.clone());
        if knowledge.procedures.get(schema, &name.name).is_none() {
            return Some(place);
        }
        if knowledge.procedures.is_old(schema, &name.name) {
            let shared = self.shared.clone();
            knowledge.control.runtime().spawn(async move {
                if let Some(knowledge) = &shared.knowledge {
                    knowledge.procedures.load(&place.0, &place.1).await;
                }
            });
        }
        None
    }

    /// The tables of a procedure that this session uses for the first time.
    fn called_tables(&mut self, statement: &Statement) -> Vec<(String, String)> {
        let Some((name, _)) = procedure(statement) else { return Vec::new() };
        let context = self.context(self.effect(statement));
        let named = self.asker(context, Reading::default()).procedure_tables(name);
        let shared = self.shared.clone();
        let table = |schema: &str, name: &str| shared.knowledge.as_ref()?.catalog.get(schema, name);
        named
            .into_iter()
            .filter(|(schema, name)| match table(schema, name) {
                Some(table) => self.used.insert(table.id),
                None => {
                    let name = TableName { schema: Some(schema.clone()), name: name.clone() };
                    self.tried.len() < MAX_TRIED && self.tried.insert(name)
                }
            })
            .collect()
    }

    /// Is the server to be asked about the statement at hand where it is not sure that something is in its way?
    pub(super) fn may_look(&self, plan: &cache::Plan) -> bool {
        let nobody = self.looked.gap || self.rehearsed || self.shared.knowledge.is_none();
        !nobody && self.shared.admission.may_look(|| plan.uses.are_worth_a_look())
    }

    /// All looks that make a decision sure: the statement's own locks, those that it ran into, the edges of
    /// a gap. They run at the same time; what they find goes to the scheduler and to the next decision.
    pub(super) fn look(
        &self,
        execution: &Execution<'_>,
        doubts: &Doubts,
        request: Option<&Request>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let mut looks: Vec<LocalBoxFuture<'static, ()>> = Vec::new();
        for search in doubts.searches.iter().take(MAX_NARROWED) {
            looks.extend(self.shared.admission.searches.narrow(*search).map(|look| look as _));
        }
        looks.extend(request.and_then(|request| self.look_at_gap(execution, request)));
        let statement = &execution.analysed.plan.statement;
        let searches =
            !matches!(statement, Statement::Ddl { .. } | Statement::Multi(_) | Statement::NamedLocks(_));
        if doubts.own && searches {
            let inquiry = self.inquiry(execution, self.context(self.effect(statement)));
            let (learnt, txn) = (Arc::clone(&self.learnt), self.txn);
            let task = knowledge.control.runtime().spawn(async move {
                let mut known = inquiry.ask().await;
                if let Some(txn) = txn {
                    inquiry.as_its_own(&mut known, txn);
                }
                *learnt.lock() = Some(known);
            });
            looks.push(Box::pin(async move {
                let _ = task.await;
            }));
        }
        if looks.is_empty() {
            return None;
        }
        // A server that does not answer keeps a statement back no longer than this.
        let longest = self.shared.settings().probe_timeout * 3;
        Some(Box::pin(async move {
            let _ = tokio::time::timeout(longest, futures_util::future::join_all(looks)).await;
        }))
    }

    /// The statement with what is needed to ask about it later.
    pub(super) fn inquiry(&self, execution: &Execution<'_>, context: Context) -> Inquiry {
        Inquiry {
            shared: self.shared.clone(),
            text: execution.text.into(),
            analysed: execution.analysed.clone(),
            params: execution.params.iter().map(Value::outliving).collect(),
            schema: self.state.schema().map(str::to_owned),
            context,
            moment: self.moment(),
            depth: 0,
        }
    }

    /// Notes a statement whose requests are wide, so that they can be narrowed.
    pub(super) fn search(
        &self,
        execution: &Execution<'_>,
        effect: Effect,
        intent: &Intent,
        txn: TxnId,
    ) -> Option<Arc<Search>> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let statement = &execution.analysed.plan.statement;
        let alone = matches!(
            statement,
            Statement::Select(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Insert(_)
        ) || procedure(statement).is_some();
        // What was just read from the server is as narrow as it gets.
        if !alone || !intent.is_wide() || self.learnt.lock().is_some() {
            return None;
        }
        let search = Search::open(self.inquiry(execution, self.context(effect)), txn);
        if intent.needs_plan {
            let key = plan_key(&self.shared, self.state.schema(), execution.analysed);
            if key.is_some_and(|key| knowledge.explainer.known(&key).is_none()) {
                search.explain();
            }
        }
        Some(search)
    }

    /// The server's plan of this statement, if it is known.
    pub(super) fn known_plan(&self, execution: &Execution<'_>) -> Option<Plan> {
        let knowledge = self.shared.knowledge.as_ref()?;
        let key = plan_key(&self.shared, self.state.schema(), execution.analysed)?;
        let (statement, schema) = (&execution.analysed.plan.statement, self.state.schema());
        let find = |name: &TableName| find(&self.shared, schema, name);
        let by_rows = unsorted::is_ordered(statement).then(|| {
            let steps = knowledge.explainer.known(&unsorted::without_order(&key))??;
            unsorted::by_rows(statement, steps, &find)
        });
        let plan = match by_rows.flatten() {
            Some(plan) => plan,
            None => knowledge.explainer.known(&key)?.map_or(Plan::Unavailable, Plan::Steps),
        };
        Some(unsorted::limited(statement, plan, &find))
    }

    /// A look at the records around a place in an index; what is seen goes to the scheduler.
    pub(super) fn look_at_gap(
        &self,
        execution: &Execution<'_>,
        request: &Request,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let statement = &execution.analysed.plan.statement;
        let schema = self.state.schema();
        let table = tables(statement)
            .into_iter()
            .filter_map(|name| find(&self.shared, schema, name))
            .find(|table| table.id == request.index.table)?;
        if request.range.low.is_end() && request.index.index == 0 {
            return self.look_at_end(table, request);
        }
        let binding = execution.analysed.bind(execution.text, execution.params).at(self.moment());
        let named = |name: &TableName| find(&self.shared, schema, name);
        let values = intent::values_of(statement, &binding, &table, request, &named)?;
        let index = request.index;
        if request.kind.inserts() && index.index != 0 {
            return self.look_at_place(table.clone(), request, values.iter().map(Value::outliving).collect());
        }
        let columns = &table.indexes.get(usize::from(index.index))?.parts;
        let wanted: Option<Vec<ProbeValue>> = values
            .iter()
            .zip(columns)
            .map(|(value, part)| probe_value(value, &table.columns[part.column?].family))
            .collect();
        let (wanted, place, shared) = (wanted?, request.range.low.clone(), self.shared.clone());
        Some(Box::pin(async move {
            let Some(knowledge) = &shared.knowledge else { return };
            let asked = shared.admission.now();
            let Some(seen) = knowledge.prober.neighbours(&table, index.index, &wanted).await else { return };
            let edge = |entry: Option<Vec<ProbeValue>>| match entry {
                Some(entry) => key(&table, usize::from(index.index), &entry).map(Some),
                None => Some(None),
            };
            // An edge that cannot be compared is no knowledge.
            let (Some(below), Some(above)) = (edge(seen.previous), edge(seen.next)) else { return };
            let seen = Neighbours { asked, place, present: seen.exact.is_some(), below, above };
            shared.admission.learn(index, &seen);
        }))
    }

    /// A look at the last entry of an index, behind which the next generated key goes.
    fn look_at_end(&self, table: Arc<Table>, request: &Request) -> Option<LocalBoxFuture<'static, ()>> {
        let (index, place, shared) = (request.index, request.range.low.clone(), self.shared.clone());
        Some(Box::pin(async move {
            let Some(knowledge) = &shared.knowledge else { return };
            let asked = shared.admission.now();
            let Some(last) = knowledge.prober.last(&table, index.index).await else { return };
            let below = match last {
                Some(entry) => match key(&table, usize::from(index.index), &entry) {
                    Some(key) => Some(key),
                    None => return,
                },
                None => None,
            };
            shared.admission.learn(index, &Neighbours { asked, place, present: false, below, above: None });
        }))
    }

    /// A look at the place of a new entry in a secondary index, where entries of an equal key are told apart by
    /// the clustered key behind it.
    fn look_at_place(
        &self,
        table: Arc<Table>,
        request: &Request,
        values: Vec<Value<'static>>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        let (index, place) = (request.index, request.range.low.clone());
        let at = usize::from(index.index);
        let span = Span { equal: values, ..Span::default() };
        let span = span_sql(&table, at, &span)?;
        let sql = scan::build(&table, at, &[span], None, false, &table.name, &[])?;
        let shared = self.shared.clone();
        Some(Box::pin(async move {
            let Some(knowledge) = &shared.knowledge else { return };
            let asked = shared.admission.now();
            let Some(seen) = knowledge.scanner.scan(&sql).await else { return };
            let Some(span) = seen.first().and_then(|seen| seen_span(&table, at, seen, true)) else { return };
            let all = || span.below.iter().chain(&span.entries).chain(&span.above).map(|entry| &entry.key);
            let below = all().filter(|key| **key < place).max().cloned();
            // An entry with the very key bounds the gap too.
            let above = all().filter(|key| **key >= place).min().cloned();
            shared.admission.learn(index, &Neighbours { asked, place, present: false, below, above });
        }))
    }
}

fn owned(names: Vec<(&str, &str)>) -> Vec<(String, String)> {
    names.into_iter().map(|(schema, name)| (schema.to_owned(), name.to_owned())).collect()
}

/// A value as a probe of a column of this family asks for it.
pub(super) fn probe_value(value: &Value<'_>, family: &Family) -> Option<ProbeValue> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(match (family, value) {
        (_, Value::Null) => ProbeValue::Null,
        (Family::Integer, Value::Int(n)) => ProbeValue::Int(*n),
        (Family::Integer, Value::Text(digits)) => ProbeValue::Int(text(digits)?.trim().parse().ok()?),
        (Family::Decimal(_), Value::Int(n)) => ProbeValue::Decimal(n.to_string()),
        (Family::Decimal(_), Value::Decimal(digits)) => ProbeValue::Decimal((*digits).to_owned()),
        (Family::Float, Value::Float(f)) => ProbeValue::Float(*f),
        (Family::Text(_), Value::Text(bytes) | Value::Bytes(bytes)) => ProbeValue::Text(bytes.to_vec()),
        (Family::Binary(_), Value::Text(bytes) | Value::Bytes(bytes)) => ProbeValue::Bytes(bytes.to_vec()),
        (Family::Date | Family::DateTime(_), Value::Text(bytes)) => ProbeValue::Temporal(text(bytes)?),
        (Family::Date | Family::DateTime(_), Value::Temporal(moment)) => ProbeValue::Temporal(moment.clone()),
        _ => return None,
    })
}

/// The key of an entry that a probe has seen.
pub(super) fn key(table: &Table, index: usize, entry: &[ProbeValue]) -> Option<Key> {
    let mut key = Key::default();
    for (seen, part) in entry.iter().zip(&table.indexes[index].parts) {
        let value = match seen {
            ProbeValue::Null => Value::Null,
            ProbeValue::Int(n) => Value::Int(*n),
            ProbeValue::Decimal(digits) => Value::Decimal(digits),
            ProbeValue::Float(f) => Value::Float(*f),
            ProbeValue::Text(bytes) | ProbeValue::Bytes(bytes) => Value::Text(bytes.into()),
            ProbeValue::Temporal(moment) => Value::Temporal(moment.clone()),
        };
        value::push(&mut key, &table.columns[part.column?], part, &value)?;
    }
    Some(key)
}
