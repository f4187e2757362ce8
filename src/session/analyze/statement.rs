//! The decision on one statement.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::analysis::Verdict;
use super::super::rules::Facts;
use super::super::serve::Shared;
use super::inner::{Asker, procedure};
use super::prepared::{self, Text};
use super::tables::find;
use super::{Analyzer, Locking, Looked, Pending, Waiting, trace};
use crate::admission::comment;
use crate::admission::history::Running;
use crate::catalog::Flavour;
use crate::id::{DigestId, TxnId};
use crate::intent::known::Known;
use crate::intent::{self, Context, Intent};
use crate::lock::table::LockRefs;
use crate::metrics::labels::{FailOpen, StatementKind};
use crate::scheduler::conflict::{self as submission, Submission};
use crate::scheduler::policy::Action;
use crate::shutdown::Phase;
use crate::sql::access::{TableAccess, TableName, WaitPolicy};
use crate::sql::cache::{Analysed, Plan};
use crate::sql::formula::Moment;
use crate::sql::lexer::Reading;
use crate::sql::set;
use crate::sql::statement::Statement;
use crate::sql::tag::Tag;
use crate::sql::value::{Scalar, Value};
use crate::txn::effect::{Effect, Ending, Runs};
use crate::txn::state::SessionDefaults;
use crate::wire::command;

/// The first MySQL whose foreign keys are checked above the storage engine.
const FOREIGN_KEYS_IN_SERVER: u32 = 90600;
/// From here on MariaDB prefers the primary key (its optimizer's costs are those of the storage engine).
const COSTS_KEYS: u32 = 110000;

/// A statement with the values of this execution.
pub(super) struct Execution<'a> {
    pub(super) text: &'a [u8],
    pub(super) analysed: &'a Analysed,
    pub(super) params: &'a [Value<'a>],
}

/// What a new session begins with on this server.
pub(super) fn defaults(shared: &Shared, mariadb: bool) -> SessionDefaults {
    let max_savepoints = shared.settings().max_savepoints;
    let mut defaults = SessionDefaults { mariadb, max_savepoints, ..SessionDefaults::default() };
    if let Some(facts) = shared.knowledge.as_ref().and_then(|k| k.control.known_facts()) {
        defaults.autocommit = facts.autocommit;
        defaults.isolation = set::level(&facts.isolation).unwrap_or(defaults.isolation);
        defaults.rollback_on_timeout = facts.rollback_on_timeout;
        defaults.lock_wait_timeout = facts.lock_wait_timeout;
    }
    defaults
}

impl Analyzer {
    /// COM_QUERY
    pub(super) fn query(&mut self, body: &[u8], pending: usize) -> Verdict {
        let Some(text) = command::query_text(body, self.capabilities) else {
            return self.push(Pending::Other);
        };
        let analysed = self.analyse(text);
        if let Statement::Routine { verb: "EXECUTE", runs: Some(runs), .. } = &analysed.plan.statement {
            if pending > 0 {
                return Verdict::AfterEarlier;
            }
            if let Some(verdict) = self.execute_named(runs, text, &analysed) {
                return verdict;
            }
        }
        self.statement(&Execution { text, analysed: &analysed, params: &[] }, pending)
    }

    /// COM_STMT_PREPARE
    pub(super) fn prepare(&mut self, body: &[u8]) -> Verdict {
        let analysed = self.analyse(body);
        self.push(Pending::Prepare(Box::new(Text { text: body.into(), analysed })))
    }

    /// COM_STMT_EXECUTE
    pub(super) fn execute(&mut self, body: &[u8], pending: usize) -> Verdict {
        if pending > 0 {
            // The statement may be one whose PREPARE is still under way.
            return Verdict::AfterEarlier;
        }
        match self.prepared.execute(body, self.capabilities) {
            Some(execution) => {
                let Text { text, analysed } = &*execution.text;
                let verdict =
                    self.statement(&Execution { text, analysed, params: &execution.values }, pending);
                if let Some(retry) = &mut self.retry {
                    let named = command::statement_id(body).filter(|id| *id != prepared::LAST);
                    retry.executes(named, execution.plain);
                }
                if !matches!(self.waiting, Some(Waiting::Knowledge(_))) {
                    // The server forgets what was sent in pieces with the execution.
                    self.prepared.reset(body);
                }
                verdict
            }
            None => self.unknown(),
        }
    }

    /// COM_STMT_BULK_EXECUTE: the first row stands for all.
    pub(super) fn bulk_execute(&mut self, body: &[u8], pending: usize) -> Verdict {
        if pending > 0 {
            return Verdict::AfterEarlier;
        }
        self.fail_open(FailOpen::ManyRows);
        match self.prepared.bulk_execute(body) {
            Some(execution) => {
                let Text { text, analysed } = &*execution.text;
                let verdict =
                    self.statement(&Execution { text, analysed, params: &execution.values }, pending);
                if let Some(retry) = &mut self.retry {
                    retry.executes(None, false);
                }
                verdict
            }
            None => self.unknown(),
        }
    }

    /// What the statement will do. Several in one text are decided on as one: in a transaction if one of
    /// them is, under the strongest level of any.
    pub(super) fn effect(&self, statement: &Statement) -> Effect {
        let Statement::Multi(_) = statement else { return self.state.before(statement) };
        let each = self.state.before_each(statement);
        let mut all = self.state.before(statement);
        for effect in each {
            all.begins |= effect.begins;
            all.select_locks |= effect.select_locks;
            all.isolation = all.isolation.max(effect.isolation);
            if effect.runs == Runs::Transaction || all.runs == Runs::Outside {
                all.runs = effect.runs;
            }
        }
        all
    }

    fn unknown(&mut self) -> Verdict {
        self.fail_open(FailOpen::PreparedLimit);
        self.push(Pending::Other)
    }

    pub(super) fn analyse(&self, text: &[u8]) -> Analysed {
        let server = (self.flavour == Flavour::MariaDb, self.server_version);
        let (analysed, parsed) = self.plans.analyse(text, self.state.sql_mode(), server);
        if parsed {
            self.shared.metrics.parses.inc(());
        }
        analysed
    }

    pub(super) fn statement(&mut self, execution: &Execution<'_>, pending: usize) -> Verdict {
        let plan = &execution.analysed.plan;
        let statement = &plan.statement;
        // A read that locks nothing needs no state. Everything else is decided on what its predecessors
        // leave behind.
        let effect = self.effect(statement);
        let plain = matches!(statement, Statement::Select(_) | Statement::Harmless);
        let locks = locks(statement, &effect) || self.asks_besides(statement);
        let concerned = self.shared.admission.scheduler().signatures().concerns(DigestId(plan.hash));
        self.retry_statement(execution, &effect, pending);
        let off = (locks || !plain || concerned) && self.tag(execution) == Some(Tag::Off);
        let concerned = concerned && !off;
        if pending > 0 && (!plain || locks || concerned) {
            return Verdict::AfterEarlier;
        }
        let settings = self.shared.settings();
        if settings.coordinates
            && !off
            && let Some(verdict) = self.mind_names(statement, execution.text)
        {
            return verdict;
        }
        if self.looked == Looked::default() {
            // A read outside of any transaction is part of no conflict.
            let first = !self.state.is_open();
            self.unfollowed &= !first;
            if !first || locks || concerned || effect.begins || trace::may_lock(statement) {
                let first = first || effect.begins;
                let text = shown(plan, execution.text, settings.redact);
                let tags = comment::tags(execution.text, settings.redact);
                self.step = self.entry.note(Running { text, digest: plan.hash, tags, first });
                if !off {
                    let ran = trace::ran(execution, locks);
                    self.entry.journal.lock().note(ran, trace::schema(self.state.schema()), first);
                }
            }
            self.name_tables(statement);
            self.note_names(execution);
            self.shared.metrics.statements.inc(kind(statement));
            match statement {
                Statement::Opaque { reason, .. } => self.fail_open((*reason).into()),
                // Of a procedure it is asked below what it runs.
                Statement::Routine { .. } if procedure(statement).is_none() => {
                    self.fail_open(FailOpen::Routine);
                }
                _ => {}
            }
        }
        // Inside an XA transaction COMMIT is refused and ends nothing: `ends` knows.
        let ends = matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. });
        let leaves = effect.ends.filter(|_| ends);
        if let (Some(ending), Some(txn)) = (leaves, self.txn) {
            self.close_searches();
            self.shared.admission.closes(txn, &self.held, ending == Ending::Committed);
        }
        if let Statement::KillQuery(id) = statement {
            self.kills.push_back(kills(execution, id));
        }
        if !off && (locks || concerned) {
            return self.locking(execution, effect, concerned);
        }
        self.leaves = self.leaves.or(leaves);
        self.push(Pending::Statement { plan: plan.clone(), part: 0, locking: None })
    }

    /// A statement that asks for locks, or has once been part of a deadlock (`concerned`).
    pub(super) fn locking(&mut self, execution: &Execution<'_>, effect: Effect, concerned: bool) -> Verdict {
        let plan = &execution.analysed.plan;
        if !self.looked.tables
            && let Some(look) = self.tables_to_load(&plan.statement)
        {
            self.looked.tables = true;
            self.waiting = Some(Waiting::Knowledge(look));
            return Verdict::Hold;
        }
        let besides = self.besides(execution, &effect);
        let (mut intent, parts) = self.intent(execution, effect);
        let before = besides.requests.len();
        intent.requests.splice(0..0, besides.requests.iter().cloned());
        intent.reaches.splice(0..0, std::iter::repeat_n(None, before));
        if let Some(reason) = intent.unknown {
            self.fail_open(FailOpen::of(reason));
        }
        let full = self.held.len() + self.xa_locks >= self.shared.settings().max_locks;
        if full {
            self.fail_open(FailOpen::LockLimit);
        }
        let nothing = intent.requests.is_empty() && besides.named.is_empty();
        let full = full || !nothing && !self.has_room(intent.requests.len());
        if nothing && !concerned || full {
            return self.push(Pending::Statement { plan: plan.clone(), part: 0, locking: None });
        }
        let keeps = effect.runs == Runs::Transaction;
        let gaps = self.context(effect).locks_gaps();
        let txn = self.transaction();
        let search = self.search(execution, effect, &intent, txn);
        self.shared.admission.lead(&mut intent.requests);
        let known = submission::Known {
            as_it_is: !self.may_look(plan),
            search: search.as_ref().map(|search| search.id),
            reaches: std::mem::take(&mut intent.reaches),
            never_waits: intent.never_waits,
        };
        let submission = Submission {
            session: self.entry.id,
            txn,
            seen: trace::seen(execution, self.state.schema()),
            action: self.action_on(execution),
            requests: intent.requests,
            known,
            patience_ms: self.state.lock_wait_timeout().saturating_mul(500),
            overtakes: self.flavour == Flavour::MySql,
            leaves_out: leaves_out(&plan.statement),
            changes: matches!(plan.statement, Statement::Update(_) | Statement::Delete(_)),
            keeps,
        };
        let guard = self.guard(execution, &submission, &effect);
        if intent.deletes {
            for request in &submission.requests {
                self.shared.admission.scheduler().forget(request.index, &request.range);
            }
        }
        let entered = self.shared.admission.enter(&submission);
        let intent = Intent { requests: Vec::new(), ..intent };
        let (step, refs, reported) = (self.step, LockRefs::new(), entered.is_none());
        let mut locking = Locking { txn, step, intent, refs, search, reported, parts, guard, besides, gaps };
        let Some(refs) = entered else {
            return self.contend(execution, submission, plan.clone(), locking);
        };
        if self.looked.gap {
            plan.uses.looked(false);
        }
        locking.intent.requests = submission.requests;
        let mut locking = locking.noted(refs);
        match locking.guard.take() {
            Some(guard) => self.guarded(*guard, plan.clone(), locking, Instant::now()),
            None => {
                let locking = Some(Box::new(locking));
                self.push(Pending::Statement { plan: plan.clone(), part: 0, locking })
            }
        }
    }

    /// What the statement will ask for, and how that is spread over several statements in one text.
    pub(super) fn intent(&self, execution: &Execution<'_>, effect: Effect) -> (Intent, VecDeque<usize>) {
        let context = self.context(effect);
        let table = |name: &TableName| find(&self.shared, self.state.schema(), name);
        let asker = self.asker(context, execution.analysed.reading);
        let binding = execution.analysed.bind(execution.text, execution.params).at(self.moment());
        match &execution.analysed.plan.statement {
            Statement::Multi(parts) => {
                let (mut all, mut counts) = (Intent::default(), VecDeque::new());
                for (at, part) in parts.iter().enumerate() {
                    let one = intent::requests(part, &binding.part(at), &context, &table);
                    counts.push_back(one.requests.len());
                    all.requests.extend(one.requests);
                    all.unknown = all.unknown.or(one.unknown).or(one.triggers.then_some("trigger"));
                    all.deletes |= one.deletes;
                }
                (all, counts)
            }
            statement => {
                let values = binding;
                let ask = |known: &Known| asker.intent(statement, &values, known);
                if let Some(learnt) = &*self.learnt.lock() {
                    return (ask(learnt), VecDeque::new());
                }
                let first = ask(&Known::default());
                // The plan matters only where the catalog does not tell the way.
                match first.needs_plan.then(|| self.known_plan(execution)).flatten() {
                    Some(plan) => (ask(&Known { plan, ..Known::default() }), VecDeque::new()),
                    None => (first, VecDeque::new()),
                }
            }
        }
    }

    /// When the statement at hand runs, and what its session has been given.
    pub(super) fn moment(&self) -> Moment {
        let seconds = || {
            let ahead = self.shared.knowledge.as_ref()?.control.clock_ahead()?;
            let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
            Some(i64::try_from(here).ok()? + ahead)
        };
        Moment { seconds: seconds(), last_insert_id: self.last_insert_id }
    }

    /// Who asks for a statement's locks.
    pub(super) fn asker(&self, context: Context, reading: Reading) -> Asker<'_> {
        Asker { shared: &self.shared, schema: self.state.schema(), context, reading }
    }

    /// What the statement runs under.
    pub(super) fn context(&self, effect: Effect) -> Context {
        let knowledge = self.shared.knowledge.as_ref();
        Context {
            isolation: effect.isolation,
            flavour: self.flavour,
            in_transaction: effect.runs == Runs::Transaction,
            foreign_keys: self.state.foreign_key_checks(),
            parents_first: self.flavour == Flavour::MySql && self.server_version >= FOREIGN_KEYS_IN_SERVER,
            ranges_keys: self.flavour == Flavour::MariaDb && self.server_version < COSTS_KEYS,
            // Without knowledge the mode in which nobody takes the lock.
            autoinc_lock_mode: knowledge.and_then(|known| known.control.autoinc_lock_mode()).unwrap_or(2),
        }
    }

    /// The statement goes on without the model's advice: what its transaction holds is no longer known.
    pub(super) fn fail_open(&mut self, reason: FailOpen) {
        self.shared.metrics.fail_open.inc(reason);
        self.unfollowed = true;
    }

    /// Room for a statement's locks in the lock table. Without it they are not followed.
    fn has_room(&mut self, locks: usize) -> bool {
        let room = self.shared.admission.has_room(locks);
        if !room {
            self.fail_open(FailOpen::LockTableFull);
        }
        room
    }

    /// The transaction that the statement's locks belong to.
    fn transaction(&mut self) -> TxnId {
        let (admission, entry) = (&self.shared.admission, &self.entry);
        *self.txn.get_or_insert_with(|| {
            let txn = entry.uses.transaction(|| admission.transaction());
            admission.registry.began(txn, entry);
            txn
        })
    }

    /// GET_LOCK has a timeout of its own, and an answer for it: it is not held.
    fn action_on(&self, execution: &Execution<'_>) -> Action {
        match execution.analysed.plan.statement {
            Statement::NamedLocks(_) => Action::Flag,
            _ => self.action(self.tag(execution)),
        }
    }

    /// What a comment hint in the statement says, or else the first rule that matches.
    pub(super) fn tag(&self, execution: &Execution<'_>) -> Option<Tag> {
        let settings = self.shared.settings();
        if execution.analysed.digest.tag.is_some() || settings.rules.is_empty() {
            return execution.analysed.digest.tag;
        }
        let plan = &execution.analysed.plan;
        let user = self.entry.user();
        let facts = Facts {
            statement: &plan.statement,
            text: &plan.text,
            digest: plan.hash,
            user: &user,
            schema: self.state.schema(),
        };
        settings.rules.first(&facts).map(|(_, action)| action)
    }

    pub(super) fn action(&self, tag: Option<Tag>) -> Action {
        match tag {
            Some(Tag::Flag | Tag::Off) => Action::Flag,
            Some(Tag::Reorder) => Action::Reorder,
            Some(Tag::Reject) => Action::Reject,
            // A shutdown waits for nobody who waits for somebody.
            None if self.shared.watch.phase() != Phase::Running => Action::Flag,
            None => self.shared.settings().action,
        }
    }
}

/// Is a row whose key is there not put, and the next one looked at?
fn leaves_out(statement: &Statement) -> bool {
    matches!(statement, Statement::Insert(insert) if insert.ignore || insert.on_duplicate.is_some())
}

/// Does one of its searches meet locks of others so?
pub(super) fn has_policy(statement: &Statement, policy: WaitPolicy) -> bool {
    let of = |access: &TableAccess| access.lock.map(|lock| lock.wait);
    statement.accesses().iter().any(|access| of(access) == Some(policy))
}

/// The text that is kept for reports.
fn shown(plan: &Plan, text: &[u8], redact: bool) -> Arc<str> {
    if redact {
        return plan.text.clone();
    }
    const LONGEST: usize = 4096;
    String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into()
}

/// What a statement is counted as.
fn kind(statement: &Statement) -> StatementKind {
    match statement {
        Statement::Begin { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint(_)
        | Statement::RollbackTo(_)
        | Statement::ReleaseSavepoint(_)
        | Statement::Xa(_) => StatementKind::Transaction,
        Statement::Set(_) | Statement::Use(_) | Statement::NamedLocks(_) | Statement::Prepare { .. } => {
            StatementKind::Session
        }
        Statement::LockTables(_) | Statement::UnlockTables => StatementKind::TableLock,
        Statement::Ddl { .. } => StatementKind::Ddl,
        Statement::Select(select) if select.tables.iter().any(|t| t.lock.is_some()) => {
            StatementKind::LockingSelect
        }
        Statement::Select(_) => StatementKind::Select,
        Statement::Insert(_) => StatementKind::Insert,
        Statement::Update(_) => StatementKind::Update,
        Statement::Delete(_) => StatementKind::Delete,
        Statement::Routine { .. } => StatementKind::Routine,
        Statement::KillQuery(_) | Statement::Harmless => StatementKind::Harmless,
        Statement::Opaque { .. } => StatementKind::Opaque,
        Statement::Multi(parts) => parts.first().map_or(StatementKind::Harmless, |part| kind(part)),
    }
}

/// The connection that a `KILL QUERY` is about; `None`: not known. One among several statements is not followed.
fn kills(execution: &Execution<'_>, scalar: &Scalar) -> Option<u32> {
    let Scalar::Slot(slot) = scalar else { return None };
    match execution.analysed.bind(execution.text, execution.params).value(*slot) {
        Value::Int(thread) => thread.try_into().ok(),
        _ => None,
    }
}

/// Does a statement, or a part of it, ask for row locks?
pub(super) fn locks(statement: &Statement, effect: &Effect) -> bool {
    match statement {
        Statement::Multi(parts) => parts.iter().any(|part| locks(part, effect)),
        Statement::Select(select) => effect.select_locks || select.tables.iter().any(|t| t.lock.is_some()),
        Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => true,
        Statement::Ddl { source, .. } => source.is_some(),
        statement => procedure(statement).is_some(),
    }
}
