//! Names of gaps on the server, where several interlocks stand before it (`coordination = "server"`).
//!
//! ```text
//! admitted ─▶ Naming (a look, if it must be) ─▶ Asking ⟲ Pausing ─▶ forward ─▶ … ─▶ COMMIT, give back
//! ```
//!
//! A statement that may lock a gap takes the gap's name first. It waits no longer than a hold may last, local
//! hold included, and not at all while its transaction has locks that others may want: InnoDB sees no cycle
//! through a name. Whatever goes wrong, the statement goes on, as it would without interlock.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use tokio::time::Sleep;

use super::super::analysis::Verdict;
use super::super::serve::Shared;
use super::look::{key, probe_value};
use super::statement::Execution;
use super::tables::{find, tables};
use super::{Analyzer, Locking, Pending, Waiting};
use crate::backend::coordinator::{self, Name, Took};
use crate::backend::probe::ProbeValue;
use crate::catalog::{Flavour, Table};
use crate::id::IndexId;
use crate::intent;
use crate::lock::key::Key;
use crate::lock::mode::Certainty;
use crate::lock::request::Settled;
use crate::metrics::labels::Coordination;
use crate::scheduler::conflict::Submission;
use crate::scheduler::policy::Action;
use crate::sql::access::TableName;
use crate::sql::cache::Plan;
use crate::sql::statement::Statement;
use crate::txn::effect::Effect;
use crate::wire::error::ErrorPacket;

/// Names that one statement takes at most; beyond, the rest of its gaps are open.
const MAX_NAMES: usize = 4;
/// Longest wait in the server at a time: afterwards the session looks whether it still should.
const SLICE: Duration = Duration::from_secs(1);
/// MySQL waits whole seconds. Less is spent by asking again after so long.
const PAUSE: Duration = Duration::from_millis(10);
/// Names that are left over after an error go back when the client is silent for so long.
const LINGER: Duration = Duration::from_millis(500);
/// Names that the server does not take back are asked for so often.
const MAX_FAILURES: u8 = 3;

/// The names that a session has on the server.
#[derive(Debug, Default)]
pub(super) struct Names {
    held: Vec<Name>,
    /// The transaction that they were taken for.
    transaction: u64,
    /// Those that are on their way back.
    giving: Vec<Name>,
    failures: u8,
    /// The command at hand ends the transaction.
    ending: bool,
    /// The last statement was a COMMIT or ROLLBACK that succeeded.
    ended_well: bool,
    /// Names are left over since a statement that is better not followed by another: until when.
    linger: Option<Pin<Box<Sleep>>>,
    /// The application has locks of the same kind, which others may want.
    user_locks: bool,
    /// The client is told what its transaction does, and would be told of interlock's statements.
    watched: bool,
}

impl Names {
    /// The session has names.
    pub(super) fn any(&self) -> bool {
        !self.held.is_empty()
    }

    /// The server has forgotten all of them.
    pub(super) fn clear(&mut self) {
        *self = Names::default();
    }
}

/// The gaps that a statement may lock.
pub(super) struct Guard {
    gaps: Vec<Gap>,
    transaction: u64,
    patience: Duration,
}

struct Gap {
    table: Arc<Table>,
    index: IndexId,
    place: Key,
    /// The values at the place, if a look there would tell which gap it is.
    asked: Option<Vec<ProbeValue>>,
}

/// A statement that the scheduler has let on, on its way to its names.
pub(super) struct Guarded {
    plan: Arc<Plan>,
    pub(super) locking: Locking,
    transaction: u64,
    /// Still to be taken.
    wanted: VecDeque<Name>,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// A look tells which gaps they are.
    Naming(LocalBoxFuture<'static, Vec<Name>>),
    /// The server was asked for the first one wanted.
    Asking { since: Instant, slices: u32 },
    /// It was not free; it is asked for again in a moment.
    Pausing { sleep: Pin<Box<Sleep>>, since: Instant, slices: u32 },
}

impl Analyzer {
    /// The gaps that a statement may lock and that other interlocks should keep out of.
    pub(super) fn guard(
        &mut self,
        execution: &Execution<'_>,
        submission: &Submission,
        effect: &Effect,
    ) -> Option<Box<Guard>> {
        if !self.shared.settings().coordinates || submission.action != Action::Reorder || !submission.keeps {
            return None;
        }
        let gaps = self.gaps(execution, submission);
        if gaps.is_empty() {
            return None;
        }
        if self.names.watched || self.state.tables_locked() || asks_about_itself(execution.text) {
            self.shared.metrics.coordination.inc(Coordination::Skipped);
            return None;
        }
        let patience = Duration::from_millis(submission.patience_ms);
        let patience = patience.min(self.shared.admission.settings().hold_timeout);
        Some(Box::new(Guard { gaps, transaction: effect.transaction, patience }))
    }

    fn gaps(&self, execution: &Execution<'_>, submission: &Submission) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        let statement = &execution.analysed.plan.statement;
        for request in submission
            .requests
            .iter()
            .filter(|r| r.certainty > Certainty::Unknown && self.shared.admission.may_lock_gap(r))
        {
            if let Some(known) = gaps.iter_mut().find(|gap| gap.index == request.index) {
                // Several places: only the whole index has all of them.
                known.asked = None;
                continue;
            }
            let of_index = |table: &Arc<Table>| table.id == request.index.table;
            let named = tables(statement).into_iter();
            let schema = self.state.schema();
            let table = named.filter_map(|name| find(&self.shared, schema, name)).find(of_index);
            let Some(table) = table.filter(|_| gaps.len() < MAX_NAMES) else { continue };
            let binding = execution.analysed.bind(execution.text, execution.params).at(self.moment());
            let of_name = |name: &TableName| find(&self.shared, schema, name);
            let values = intent::values_of(statement, &binding, &table, request, &of_name);
            let columns = table.indexes.get(usize::from(request.index.index)).map(|index| &index.parts);
            let asked = values.zip(columns).and_then(|(values, parts)| {
                let pairs = values.iter().zip(parts);
                pairs.map(|(value, part)| probe_value(value, &table.columns[part.column?].family)).collect()
            });
            let (index, place) = (request.index, request.range.low.clone());
            gaps.push(Gap { table, index, place, asked });
        }
        gaps
    }

    // ## Admitted => Naming, Asking or forwarded

    /// The scheduler has let a statement on; what it waited for began at `since`.
    pub(super) fn guarded(
        &mut self,
        guard: Guard,
        plan: Arc<Plan>,
        locking: Locking,
        since: Instant,
    ) -> Verdict {
        let now = Instant::now();
        let (deadline, transaction) = (since + guard.patience, guard.transaction);
        let mut guarded =
            Guarded { plan, locking, transaction, wanted: VecDeque::new(), deadline, stage: asking(now) };
        match names(&self.shared, guard, now) {
            Ok(names) => {
                guarded.wanted = names.into();
                self.take_next(Box::new(guarded))
            }
            Err(look) => {
                guarded.stage = Stage::Naming(look);
                self.waiting = Some(Waiting::Guard(Box::new(guarded)));
                Verdict::Hold
            }
        }
    }

    /// What a guarded statement waits for, apart from the server.
    pub(super) fn poll_guard(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        let Some(Waiting::Guard(guarded)) = &mut self.waiting else {
            return Poll::Ready(Verdict::AfterEarlier);
        };
        match &mut guarded.stage {
            Stage::Naming(look) => {
                let names = ready!(look.as_mut().poll(context));
                guarded.wanted = names.into();
                guarded.stage = asking(Instant::now());
            }
            Stage::Pausing { sleep, since, slices } => {
                ready!(sleep.as_mut().poll(context));
                guarded.stage = Stage::Asking { since: *since, slices: *slices };
            }
            Stage::Asking { .. } => {}
        }
        match self.waiting.take() {
            Some(Waiting::Guard(guarded)) => Poll::Ready(self.take_next(guarded)),
            _ => Poll::Ready(Verdict::AfterEarlier),
        }
    }

    // ## Asking, Pausing => Asking, or forwarded

    fn take_next(&mut self, mut guarded: Box<Guarded>) -> Verdict {
        self.names.ending = false;
        self.names.transaction = guarded.transaction;
        while let Some(name) = guarded.wanted.front() {
            if self.names.held.contains(name) {
                guarded.wanted.pop_front();
                continue;
            }
            let left = guarded.deadline.saturating_duration_since(Instant::now());
            let wait = if self.may_wait() { left.min(SLICE) } else { Duration::ZERO };
            let text = coordinator::take(name, wait, self.flavour == Flavour::MariaDb);
            self.waiting = Some(Waiting::Guard(guarded));
            return Verdict::First(text);
        }
        let Guarded { plan, locking, .. } = *guarded;
        self.push(Pending::Statement { plan, part: 0, locking: Some(Box::new(locking)) })
    }

    /// The server has answered.
    pub(super) fn took(&mut self, mut guarded: Box<Guarded>, answer: Result<(), u16>) -> Verdict {
        let Stage::Asking { since, slices } = guarded.stage else { return self.forward(guarded) };
        let now = Instant::now();
        let left = guarded.deadline.saturating_duration_since(now);
        let took = coordinator::took(answer);
        if took == Took::NotFree && self.may_wait() && !left.is_zero() {
            // ## Asking => Asking (the next slice), or Pausing where the server cannot wait so short
            if self.flavour == Flavour::MariaDb || left >= SLICE {
                guarded.stage = Stage::Asking { since, slices: slices + 1 };
                return self.take_next(guarded);
            }
            let sleep = Box::pin(tokio::time::sleep(PAUSE.min(left)));
            guarded.stage = Stage::Pausing { sleep, since, slices: slices + 1 };
            self.waiting = Some(Waiting::Guard(guarded));
            return Verdict::Hold;
        }
        let waited = now.saturating_duration_since(since);
        self.shared.metrics.coordination_seconds.observe(waited.as_secs_f64());
        self.shared.metrics.coordination.inc(match took {
            Took::Taken if slices == 0 && waited < Duration::from_millis(2) => Coordination::Taken,
            Took::Taken => Coordination::Waited,
            Took::NotFree if self.may_wait() => Coordination::TimedOut,
            Took::NotFree => Coordination::NotFree,
            Took::Cycle => Coordination::Cycle,
            Took::Killed => Coordination::Killed,
            Took::Refused => Coordination::Refused,
        });
        match took {
            Took::Taken => {
                self.names.held.extend(guarded.wanted.pop_front());
                guarded.stage = asking(now);
                self.take_next(guarded)
            }
            Took::Killed => self.killed(guarded),
            _ => self.forward(guarded),
        }
    }

    /// Without the names that are still wanted.
    fn forward(&mut self, mut guarded: Box<Guarded>) -> Verdict {
        guarded.wanted.clear();
        self.take_next(guarded)
    }

    /// `KILL QUERY` was meant for the statement, which is not at the server.
    fn killed(&mut self, guarded: Box<Guarded>) -> Verdict {
        let txn = guarded.locking.txn;
        let refs = guarded.locking.into_refs();
        let released = vec![Settled::Released; refs.len()];
        self.shared.admission.answered(txn, refs, &released);
        self.looked = Default::default();
        Verdict::Reject { error: ErrorPacket::interrupted(), rollback: false }
    }

    /// Nobody can wait for this session while it waits for a name.
    fn may_wait(&self) -> bool {
        let holds = !self.held.is_empty() || !self.searches.is_empty() || !self.owned.is_empty();
        !holds && !self.unfollowed && !self.names.user_locks
    }

    // ## Giving back

    /// A statement comes while the session may have names; `ends`: it ends the open transaction. Names that are
    /// left over from an earlier transaction go back first.
    fn names_before(&mut self, ends: bool, text: &[u8]) -> Option<Verdict> {
        self.names.ending = ends;
        if self.names.held.is_empty() || ends || !self.names_are_over() || asks_about_last(text) {
            return None;
        }
        let text = self.names_back();
        self.waiting = Some(Waiting::Freeing);
        Some(Verdict::First(text))
    }

    /// Behind a COMMIT or ROLLBACK: there is nothing about these that a client could ask and that giving back
    /// would change.
    pub(super) fn names_behind(&mut self) -> Option<String> {
        let ending = std::mem::take(&mut self.names.ending);
        (ending && !self.names.held.is_empty()).then(|| self.names_back())
    }

    /// Nothing is under way. After an error the client may want to see the warnings, so names that are left
    /// over then wait for its next statement, but not long.
    pub(super) fn names_idle(&mut self, context: &mut Context<'_>) -> Option<String> {
        if self.names.held.is_empty() || !self.names_are_over() {
            return None;
        }
        let sleep = || Box::pin(tokio::time::sleep(LINGER));
        let over = self.names.ended_well
            || self.names.linger.get_or_insert_with(sleep).as_mut().poll(context).is_ready();
        over.then(|| self.names_back())
    }

    /// COMMIT or ROLLBACK has succeeded: whoever sent several commands at once gets here with names left.
    pub(super) fn names_after(&mut self, ended_well: bool) {
        self.names.ended_well = ended_well;
    }

    fn names_are_over(&self) -> bool {
        !self.state.is_open() || self.state.number() != self.names.transaction
    }

    fn names_back(&mut self) -> String {
        self.names.giving = std::mem::take(&mut self.names.held);
        self.names.linger = None;
        coordinator::give_back(&self.names.giving, self.flavour == Flavour::MariaDb)
    }

    /// They are given back, or not.
    pub(super) fn names_given_back(&mut self, answer: Result<(), u16>) {
        let names = std::mem::take(&mut self.names.giving);
        self.names.failures = if answer.is_ok() { 0 } else { self.names.failures + 1 };
        if answer.is_err() && self.names.failures < MAX_FAILURES {
            self.names.held.extend(names);
        }
    }

    /// A statement comes: what must be done about names before it goes on.
    pub(super) fn mind_names(&mut self, statement: &Statement, text: &[u8]) -> Option<Verdict> {
        let ends = matches!(
            statement,
            Statement::Commit { release: false, .. } | Statement::Rollback { release: false, .. }
        );
        self.mind_user_locks(statement, text).or_else(|| self.names_before(ends, text))
    }

    /// What the application does with locks of the same kind must not meet interlock's: `RELEASE_ALL_LOCKS()`
    /// counts what it releases.
    fn mind_user_locks(&mut self, statement: &Statement, text: &[u8]) -> Option<Verdict> {
        let may = match statement {
            Statement::Select(select) => select.user_lock,
            Statement::NamedLocks(_) | Statement::Multi(_) => true,
            Statement::Routine { .. } | Statement::Set(_) | Statement::Opaque { .. } => true,
            _ => false,
        };
        if !may {
            return None;
        }
        self.names.user_locks |= mentions(text, b"get_lock");
        self.names.watched |= mentions(text, b"session_track");
        if self.names.held.is_empty() || !mentions(text, b"release_all_locks") {
            return None;
        }
        let text = self.names_back();
        self.waiting = Some(Waiting::Freeing);
        Some(Verdict::First(text))
    }
}

fn asking(now: Instant) -> Stage {
    Stage::Asking { since: now, slices: 0 }
}

/// The names of a statement's gaps; or, if it must be looked at first, the future that gives them.
fn names(
    shared: &Arc<Shared>,
    guard: Guard,
    now: Instant,
) -> Result<Vec<Name>, LocalBoxFuture<'static, Vec<Name>>> {
    let Some(knowledge) = &shared.knowledge else { return Ok(Vec::new()) };
    let (mut names, mut inside) = (Vec::new(), Vec::new());
    for gap in guard.gaps {
        let place = knowledge.ends.place(gap.index, &gap.place, now);
        if place.look {
            let (shared, table, index) = (shared.clone(), gap.table.clone(), gap.index);
            knowledge.control.runtime().spawn(async move { look_at_end(&shared, &table, index).await });
        }
        match gap.asked {
            Some(asked) if !place.at_end => inside.push((gap.table, gap.index, asked)),
            _ => names.push(coordinator::name(&gap.table, gap.index, None)),
        }
    }
    if inside.is_empty() {
        return Ok(in_order(names));
    }
    let shared = shared.clone();
    Err(Box::pin(async move {
        for (table, index, asked) in inside {
            let above = entry_above(&shared, &table, index, &asked).await;
            names.push(coordinator::name(&table, index, above.as_ref().map(Key::as_bytes)));
        }
        in_order(names)
    }))
}

/// All take names in the same order, so that no two wait for each other.
fn in_order(mut names: Vec<Name>) -> Vec<Name> {
    names.sort_unstable();
    names.dedup();
    names
}

/// The entry that bounds the gap above a place; `None`: the end, or not known, which is one name.
async fn entry_above(shared: &Shared, table: &Table, index: IndexId, asked: &[ProbeValue]) -> Option<Key> {
    let knowledge = shared.knowledge.as_ref()?;
    let seen = knowledge.prober.neighbours(table, index.index, asked).await?;
    let above = key(table, usize::from(index.index), &seen.next?)?;
    (!knowledge.ends.place(index, &above, Instant::now()).at_end).then_some(above)
}

async fn look_at_end(shared: &Shared, table: &Table, index: IndexId) {
    let Some(knowledge) = &shared.knowledge else { return };
    let Some(last) = knowledge.prober.last(table, index.index).await else { return };
    let last = match last {
        Some(entry) => key(table, usize::from(index.index), &entry),
        None => Some(Key::lowest()),
    };
    if let Some(last) = last {
        knowledge.ends.looked(index, last);
    }
}

/// The statement reads what interlock's own statements change.
fn asks_about_itself(text: &[u8]) -> bool {
    mentions(text, b"found_rows") || mentions(text, b"row_count")
}

/// The statement asks about the one before it.
fn asks_about_last(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"warning", b"error", b"diagnostics", b"_count"];
    asks_about_itself(text) || WORDS.iter().any(|word| mentions(text, word))
}

/// `word`, in lower case, stands in the text in any case.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}
