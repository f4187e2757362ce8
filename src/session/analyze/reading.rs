//! Asking the server about a statement: its plan, then what its searches meet in the indexes that they go through, and
//! what stands at the places beside them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::super::serve::Knowledge;
use super::inner::{self, MAX_DEPTH};
use super::inquiry::{Inquiry, plan_key};
use super::reading_values::{owned, seen_span, span_sql};
use super::tables::{find, tables};
use super::unsorted;
use crate::backend::scan;
use crate::catalog::{Flavour, Table, TableKind};
use crate::id::TableId;
use crate::intent;
use crate::intent::access_path::{Path, Span, Way};
use crate::intent::foreign_key::Place;
use crate::intent::known::{Known, Plan, SeenPath, SeenPlace, SeenSpan};
use crate::intent::read::{self, Searched};
use crate::lock::key::Key;
use crate::sql::access::{Condition, RowLock, TableAccess, TableName, Test, WaitPolicy};
use crate::sql::plain::Plain;
use crate::sql::statement::Statement;
use crate::sql::value::Value;

/// Most spans of one path that are read; longer IN lists stay wide.
const MAX_SPANS: usize = 16;

/// Foreign keys that are followed down from a row.
const MAX_ROUNDS: usize = 4;

/// Statements that one runs which are asked about.
const MAX_INNER: usize = 16;

impl Inquiry {
    /// Asks; what cannot be learnt in time stays unknown.
    pub(super) async fn ask(&self) -> Known {
        let begun = self.shared.admission.now();
        let mut known = Known { plan: Plan::Unavailable, asked: true, ..Known::default() };
        let Some(knowledge) = &self.shared.knowledge else { return known };
        let plain = self.plain();
        if let Some(plain) = &plain {
            known.limit = plain.limit;
            if let Some(key) = plan_key(&self.shared, self.schema.as_deref(), &self.analysed) {
                known.plan = match self.unsorted(knowledge, &key, plain).await {
                    Some(plan) => plan,
                    None => {
                        let steps = knowledge.explainer.plan(key, &plain.select).await;
                        steps.map_or(Plan::Unavailable, Plan::Steps)
                    }
                };
                let table = |name: &TableName| self.table_named(name);
                known.plan = unsorted::limited(self.statement(), std::mem::take(&mut known.plan), &table);
                if known.plan.reads_nothing() && self.reads_all_the_same() {
                    known.plan = Plan::scan(&self.statement().accesses()[0].alias);
                }
            }
        }
        for place in self.rivals() {
            self.place(knowledge, place, &mut known).await;
        }
        let mut read = Read {
            inquiry: self,
            knowledge,
            plain: plain.as_ref(),
            plan: known.plan.clone(),
            columns: Vec::new(),
        };
        read.tables(&mut known).await;
        self.name_new(&known);
        self.places(knowledge, &mut known).await;
        self.learn_gaps(&known, begun);
        for inner in self.inner(&known) {
            known.inner.push(inner.ask_boxed().await);
        }
        known
    }

    /// MariaDB sees that two conditions on a column exclude each other in a SELECT only: an UPDATE or DELETE reads all
    /// rows, unless an index has the column.
    fn reads_all_the_same(&self) -> bool {
        let changes = matches!(self.statement(), Statement::Update(_) | Statement::Delete(_));
        let [access] = self.statement().accesses() else { return false };
        let Some(table) = self.table_named(&access.table).filter(|_| changes) else { return false };
        let conditions = &access.predicate.conditions;
        let twice = conditions.iter().enumerate().any(|(at, condition)| {
            conditions[..at].iter().any(|other| other.column.eq_ignore_ascii_case(&condition.column))
        });
        let null = conditions.iter().any(|condition| condition.test == Test::IsNull);
        let plain = twice && !null && !conditions.iter().any(|condition| table.is_indexed(&condition.column));
        self.context.flavour == Flavour::MariaDb && plain
    }

    /// What is counted before it is known which way a search goes.
    fn rivals(&self) -> Vec<Place> {
        let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
        let table = |name: &TableName| self.table_named(name);
        read::rivals(self.statement(), &values, &self.context, &table)
    }

    /// A statement may run statements that run statements.
    fn ask_boxed(&self) -> BoxFuture<'_, Known> {
        Box::pin(self.ask())
    }

    /// The statements that it runs.
    fn inner(&self, known: &Known) -> Vec<Inquiry> {
        if self.depth >= MAX_DEPTH || !runs_more(self.statement(), &|name| self.table_named(name)) {
            return Vec::new();
        }
        let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
        let (runs, _) = self.asker().runs(self.statement(), &values, known);
        let inquiry = |run: inner::Run| Inquiry {
            shared: self.shared.clone(),
            text: run.running.inner.text.clone(),
            analysed: run.running.inner.analysed.clone(),
            params: run.running.params,
            schema: Some(run.schema.to_string()),
            context: self.context,
            moment: self.moment,
            depth: self.depth + 1,
        };
        runs.into_iter().take(MAX_INNER).map(inquiry).collect()
    }

    /// Reads the places beside the searches; what is seen there may lead to others (the children of children).
    async fn places(&self, knowledge: &Knowledge, known: &mut Known) {
        let mut asked: Vec<(TableId, usize, Option<Key>)> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let places = {
                let values = self.analysed.bind(&self.text, &self.params).at(self.moment);
                let table = |name: &TableName| find(&self.shared, self.schema.as_deref(), name);
                intent::places(self.statement(), &values, &self.context, &table, known)
            };
            let before = asked.len();
            for place in places {
                let mark = (place.table.id, place.index, place.key.clone());
                if asked.len() - before < MAX_SPANS && !asked.contains(&mark) {
                    asked.push(mark);
                    self.place(knowledge, place, known).await;
                }
            }
            if asked.len() == before {
                return;
            }
        }
    }

    async fn place(&self, knowledge: &Knowledge, place: Place, known: &mut Known) {
        let (table, index) = (&place.table, place.index);
        let span = Span { equal: place.values, ..Span::default() };
        let Some(span) = span_sql(table, index, &span) else { return };
        let Some(sql) = scan::build(table, index, &[span], None, false, &table.name, &[]) else { return };
        let Some(seen) = knowledge.scanner.scan(&sql).await else { return };
        let span = seen.first().and_then(|seen| seen_span(table, index, seen, true));
        if let (Some(span), Some(key)) = (span, place.key) {
            known.places.push(SeenPlace { table: table.id, index, key, span });
        }
    }
}

/// Does it run other statements?
fn runs_more(statement: &Statement, table: &dyn Fn(&TableName) -> Option<Arc<Table>>) -> bool {
    let triggered = |name: &&TableName| table(name).is_some_and(|table| !table.triggers.is_empty());
    inner::procedure(statement).is_some() || tables(statement).iter().any(triggered)
}

/// The reading of a statement's tables, one after the other.
struct Read<'a> {
    inquiry: &'a Inquiry,
    knowledge: &'a Knowledge,
    plain: Option<&'a Plain>,
    plan: Plan,
    /// Values of tables that were read: alias, column, values.
    columns: Vec<(String, String, Vec<Value<'static>>)>,
}

impl Read<'_> {
    async fn tables(&mut self, known: &mut Known) {
        if known.plan.reads_nothing() {
            return;
        }
        let statement = self.inquiry.statement();
        let mut all = read::searched(statement, &self.inquiry.context);
        let locked: Vec<usize> = all.iter().map(|searched| searched.access).collect();
        all.extend(values_only(statement, &locked, &known.plan));
        // In the order in which the server reads them, so that a joined table finds the values it needs.
        // Who needs values of others comes later.
        let needs = |s: &Searched<'_>| {
            s.table.predicate.conditions.iter().any(|c| matches!(c.test, Test::EqColumn(..)))
        };
        {
            let analysed = &self.inquiry.analysed;
            let values = analysed.bind(&self.inquiry.text, &self.inquiry.params).at(self.inquiry.moment);
            let table = |name: &TableName| find(&self.inquiry.shared, self.inquiry.schema.as_deref(), name);
            let order = |s: &Searched<'_>| read::order(s, statement, &values, &table, &known.plan);
            all.sort_by_key(|searched| (order(searched), needs(searched)));
        }
        for searched in all {
            let name = &searched.table.table;
            let Some(table) = find(&self.inquiry.shared, self.inquiry.schema.as_deref(), name) else {
                continue;
            };
            if table.kind == TableKind::InnoDb {
                self.table(&searched, &table, known).await;
            }
        }
        known.seen.retain(|seen| locked.contains(&seen.access));
    }

    async fn table(&mut self, searched: &Searched<'_>, table: &Arc<Table>, known: &mut Known) {
        let values =
            self.inquiry.analysed.bind(&self.inquiry.text, &self.inquiry.params).at(self.inquiry.moment);
        let questions: Vec<(usize, Option<Question>)> = {
            let columns = &self.columns;
            let said = read::said(self.inquiry.statement(), &values);
            let joined = |alias: &str, column: &str| {
                let same = |(a, c, _): &&(String, String, _)| {
                    a.eq_ignore_ascii_case(alias) && c.eq_ignore_ascii_case(column)
                };
                let read = columns.iter().find(same).map(|(.., values)| values.clone());
                read.or_else(|| said(alias, column))
            };
            let paths = read::paths(table, searched, &values, known, &joined);
            let question = |path: &Path<'_>| self.question(searched, table, path);
            paths.iter().enumerate().map(|(at, path)| (at, question(path))).collect()
        };
        for (path, question) in questions {
            let spans = match question {
                Some(Question::Nothing) => vec![SeenSpan { unread: true, ..SeenSpan::default() }],
                Some(Question::Empty) => Vec::new(),
                Some(Question::Scan { sql, index, covers, sure, otherwise }) => {
                    known.unsure |= !sure;
                    let mut seen = self.knowledge.scanner.scan(&sql).await;
                    if let (None, Some(Question::Scan { sql, .. })) = (&seen, otherwise.as_deref()) {
                        seen = self.knowledge.scanner.scan(sql).await;
                    }
                    let Some(seen) = seen else {
                        if let Some(Question::Nothing) = otherwise.as_deref() {
                            let spans = vec![SeenSpan { unread: true, ..SeenSpan::default() }];
                            known.seen.push(SeenPath { access: searched.access, path, spans });
                        }
                        continue;
                    };
                    self.remember(searched, table, &seen);
                    let all: Option<Vec<SeenSpan>> =
                        seen.iter().map(|span| seen_span(table, index, span, covers)).collect();
                    let Some(spans) = all else { continue };
                    spans
                }
                None => continue,
            };
            known.seen.push(SeenPath { access: searched.access, path, spans });
        }
    }

    /// What there is to read on a path.
    fn question(&self, searched: &Searched<'_>, table: &Table, path: &Path<'_>) -> Option<Question> {
        let locks_gaps = self.inquiry.context.locks_gaps();
        if path.is_unresolved() {
            return None;
        }
        let limited = self.plain.is_some_and(|plain| plain.limit.is_some());
        let everything = path.way == Way::All
            && path.extreme.is_none()
            && path.index == 0
            && locks_gaps
            && !limited
            && !self.is_joined(searched);
        let index = &table.indexes[path.index];
        if everything && index.parts.is_empty() {
            return Some(Question::Nothing);
        }
        if path.spans.is_empty() {
            return Some(Question::Empty);
        }
        if path.spans.len() > MAX_SPANS {
            return None;
        }
        let spans: Option<Vec<scan::Span>> =
            path.spans.iter().map(|span| span_sql(table, path.index, span)).collect();
        let alone = !searched.table.nested && !self.is_joined(searched);
        let condition = self.plain.and_then(|plain| plain.condition.as_deref()).filter(|_| alone);
        let mut more = self.wanted_columns(searched, table);
        more.extend(self.inquiry.asker().row_columns(table));
        let alias = &searched.table.alias;
        let condition = condition.filter(|_| !path.covers);
        if index.parts.is_empty() {
            return None;
        }
        let (mut spans, index) = (spans?, path.index);
        spans.iter_mut().for_each(|span| span.end = path.extreme);
        let scan = |filter, otherwise| {
            let sql = scan::build(table, index, &spans, condition, filter, alias, &more)?;
            let predicate = &searched.table.predicate;
            let all = predicate.exact && predicate.conditions.is_empty() && predicate.sides.is_empty();
            let sure = path.covers || condition.is_some() || all && alone;
            Some(Question::Scan { sql, index, covers: path.covers || condition.is_none(), sure, otherwise })
        };
        // An UPDATE at READ COMMITTED passes over what does not match without asking for it. Others do ask for
        // it, and release it.
        let update = matches!(self.inquiry.statement(), Statement::Update(_));
        match () {
            () if everything => scan(false, Some(Box::new(Question::Nothing))),
            () if path.extreme.is_some() => scan(false, None),
            () if path.way == Way::All && !locks_gaps && update => scan(true, None),
            () if path.way == Way::All && !locks_gaps => scan(false, scan(true, None).map(Box::new)),
            () => scan(false, None),
        }
    }

    fn is_joined(&self, searched: &Searched<'_>) -> bool {
        let accesses = self.inquiry.statement().accesses();
        accesses.iter().any(|other| !other.nested && other.alias != searched.table.alias)
    }

    /// Columns of this table that others are joined by.
    fn wanted_columns(&self, searched: &Searched<'_>, table: &Table) -> Vec<usize> {
        let alias = &searched.table.alias;
        let conditions = self.inquiry.statement().accesses().iter().flat_map(|a| &a.predicate.conditions);
        let named = conditions.filter_map(|condition| match &condition.test {
            Test::EqColumn(other, column) if other.eq_ignore_ascii_case(alias) => table.column(column),
            _ => None,
        });
        let mut columns: Vec<usize> =
            named.chain(self.plan.joins_by(alias).filter_map(|column| table.column(column))).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Keeps the values that other tables are joined by.
    fn remember(&mut self, searched: &Searched<'_>, table: &Table, seen: &[scan::Seen]) {
        for column in self.wanted_columns(searched, table) {
            let mut values: Vec<Value<'static>> = Vec::new();
            for row in seen.iter().flat_map(|span| &span.entries).filter(|row| row.matches) {
                let found = row.values.iter().find(|(c, _)| *c == column);
                if let Some(value) = found.map(|(_, value)| owned(value))
                    && value != Value::Null
                    && !values.contains(&value)
                {
                    values.push(value);
                }
            }
            let name = table.columns[column].name.clone();
            self.columns.push((searched.table.alias.clone(), name, values));
        }
    }
}

/// The tables that are read without locks, and whose columns say which rows of others are locked.
fn values_only<'s>(statement: &'s Statement, locked: &[usize], plan: &Plan) -> Vec<Searched<'s>> {
    let accesses = statement.accesses();
    let names = |condition: &Condition, alias: &str| matches!(&condition.test, Test::EqColumn(other, _) if other.eq_ignore_ascii_case(alias));
    let asked = |table: &TableAccess| {
        let mut conditions = locked.iter().flat_map(|access| &accesses[*access].predicate.conditions);
        conditions.any(|condition| names(condition, &table.alias))
            || plan.joins_by(&table.alias).next().is_some()
    };
    let lock = RowLock { exclusive: false, wait: WaitPolicy::Wait };
    let unlocked = accesses.iter().enumerate().filter(|(access, _)| !locked.contains(access));
    unlocked
        .filter(|(_, table)| asked(table))
        .map(|(access, table)| Searched { access, table, lock, nth: 0, by_itself: false, ranges_keys: false })
        .collect()
}

/// What is to be read on a path.
enum Question {
    /// Nothing: all of it is locked, whatever there is.
    Nothing,
    /// Nothing: the server looks for nothing there.
    Empty,
    /// A part of an index; if there is too much to read, something else instead. `sure`: it tells which rows match.
    Scan { sql: scan::ScanSql, index: usize, covers: bool, sure: bool, otherwise: Option<Box<Question>> },
}
