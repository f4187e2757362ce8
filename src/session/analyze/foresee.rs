//! What a statement will ask for, for those who only want to know: `interlock explain` drives this analysis
//! with statements that it never sends.
//!
//! The server shows its tables as they are; what other rehearsed statements would have made of them it cannot
//! show. So each statement is looked up beforehand ([`Analyzer::learn`]), what was seen is corrected by what
//! is supposed to have happened, and nothing is looked up again when it meets somebody.

use std::sync::Arc;

use super::Analyzer;
use super::inquiry::Inquiry;
use super::look::probe_value;
use super::statement::Execution;
use super::tables::{find, table_of};
use crate::backend::probe::ProbeValue;
use crate::catalog::{KeyPart, Table};
use crate::id::{TableId, TxnId};
use crate::intent;
use crate::intent::access_path::alone;
use crate::intent::known::{Known, SeenSpan};
use crate::intent::read;
use crate::lock::key::Key;
use crate::lock::range::Range;
use crate::lock::request::Request;
use crate::sql::access::TableName;
use crate::sql::cache::Plan;
use crate::sql::statement::{Isolation, Statement};
use crate::txn::effect::Runs;

/// What there is in the tables besides what the server shows.
pub trait Supposed {
    /// Corrects what was seen of a part of an index.
    fn correct(&self, table: TableId, index: u16, range: &Range, seen: &mut SeenSpan);
}

/// What a statement will ask for.
pub struct Foreseen {
    /// What it is.
    pub plan: Arc<Plan>,
    /// Its locks, in the order in which the server asks for them.
    pub locks: Vec<ForeseenLock>,
    /// The locks are those that the server's indexes show.
    pub exact: bool,
    /// The clustered keys of the rows that its search finds, if it has one and that could be read.
    pub rows: Option<Vec<(TableId, Key)>>,
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
    /// How far its gaps reach, if that was read.
    pub reach: Option<Range>,
    /// The table.
    pub table: Arc<Table>,
    /// The values of the place in the index, where they are known.
    pub place: Option<Vec<ProbeValue>>,
}

impl Analyzer {
    /// Looks up what a statement's searches will meet: the server's plan, and the entries of its indexes
    /// with what is supposed to have become of them. The next command uses that.
    pub async fn learn(&mut self, text: &[u8], supposed: &dyn Supposed) {
        self.rehearsed = true;
        let analysed = self.analyse(text);
        let statement = &analysed.plan.statement;
        let effect = self.effect(statement);
        if !super::statement::locks(statement, &effect) {
            return;
        }
        if let Some(load) = self.tables_to_load(statement) {
            load.await;
        }
        let execution = Execution { text, analysed: &analysed, params: &[] };
        let inquiry = self.inquiry(&execution, self.context(effect));
        let mut known = inquiry.ask().await;
        inquiry.suppose(&mut known, supposed);
        *self.learnt.lock() = Some(known);
    }

    /// What a statement asks for if it runs now, with what was learnt. Nothing is noted.
    pub fn foresee(&self, text: &[u8]) -> Foreseen {
        let analysed = self.analyse(text);
        let statement = &analysed.plan.statement;
        let execution = Execution { text, analysed: &analysed, params: &[] };
        let effect = self.effect(statement);
        let mut asked = if super::statement::locks(statement, &effect) {
            self.intent(&execution, effect).0
        } else {
            intent::Intent::default()
        };
        let schema = self.state.schema();
        let named = |name: &TableName| find(&self.shared, schema, name);
        asked.reaches.resize(asked.requests.len(), None);
        let lock = |(request, reach): (Request, Option<Range>)| {
            let known = || self.shared.knowledge.as_ref()?.catalog.find(request.index.table);
            let table = table_of(statement, request.index, &named).or_else(known)?;
            let binding = analysed.bind(text, &[]).at(self.moment());
            let values = intent::values_of(statement, &binding, &table, &request, &named);
            let parts = &table.indexes.get(usize::from(request.index.index))?.parts;
            let place = values.and_then(|values| {
                let of_column =
                    |(value, part): (_, &KeyPart)| probe_value(value, &table.columns[part.column?].family);
                values.iter().zip(parts).map(of_column).collect()
            });
            Some(ForeseenLock { request, reach, table, place })
        };
        let learnt = self.learnt.lock();
        let inquiry = learnt.is_some().then(|| self.inquiry(&execution, self.context(effect)));
        Foreseen {
            plan: analysed.plan.clone(),
            locks: asked.requests.into_iter().zip(asked.reaches).filter_map(lock).collect(),
            exact: asked.exact,
            rows: inquiry.zip(learnt.as_ref()).and_then(|(inquiry, known)| inquiry.rows(known)),
            unknown: asked.unknown.or_else(|| in_a_file(statement)),
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

/// Rows that the text does not show are inserted all the same.
fn in_a_file(statement: &Statement) -> Option<&'static str> {
    let loads = matches!(statement, Statement::Routine { verb: "LOAD DATA" | "LOAD XML", .. });
    loads.then_some("its_rows_are_in_a_file")
}

impl Inquiry {
    /// Corrects what was seen in the indexes.
    fn suppose(&self, known: &mut Known, supposed: &dyn Supposed) {
        let statement = &self.analysed.plan.statement;
        let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
        let mut seen = std::mem::take(&mut known.seen);
        for searched in read::searched(statement, &self.context) {
            let Some(table) = self.table(&searched.table.table) else { continue };
            let paths = read::paths(&table, &searched, &values, known, &alone);
            for seen in seen.iter_mut().filter(|seen| seen.access == searched.access) {
                let Some(path) = paths.get(seen.path) else { continue };
                let Some(ranges) = path.ranges(&table) else { continue };
                for ((range, _), span) in ranges.iter().zip(&mut seen.spans) {
                    supposed.correct(table.id, path.index as u16, range, span);
                }
            }
        }
        known.seen = seen;
        for place in &mut known.places {
            supposed.correct(place.table, place.index as u16, &Range::entries(&place.key), &mut place.span);
        }
    }

    /// The rows that the search finds, as clustered keys. `None`: there are several searches, or what it
    /// finds was not read.
    fn rows(&self, known: &Known) -> Option<Vec<(TableId, Key)>> {
        if known.plan.reads_nothing() {
            return Some(Vec::new());
        }
        let statement = &self.analysed.plan.statement;
        let [searched] = read::searched(statement, &self.context)[..] else { return None };
        let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
        let table = self.table(&searched.table.table)?;
        let paths = read::paths(&table, &searched, &values, known, &alone);
        let ([_], spans) = (&paths[..], known.of(searched.access, 0)?) else { return None };
        let unread = spans.iter().any(|span| span.unread);
        let most = known.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let rows = spans.iter().flat_map(|span| &span.entries).filter(|entry| entry.matches).take(most);
        (!unread).then(|| rows.map(|entry| (table.id, entry.clustered.clone())).collect())
    }

    fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        find(&self.shared, self.schema.as_deref(), name)
    }
}
