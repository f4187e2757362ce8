//! Running a victim's transaction again (`reorder.retry`): what may be kept of it, and when it may go on.
//!
//! ```text
//! Off ─BEGIN─▶ Kept ─▶ Kept … ─COMMIT passed on─▶ Off
//!                 └─ something that cannot be repeated ─▶ Spoilt ─ its end ─▶ Off
//! ```
//!
//! A statement that takes another value the next time (time, chance) spoils what follows, not itself: if it is the
//! one that fails, nobody has seen its answer.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::super::analysis::{Answer, Deadlock, Keep, Replayed};
use super::Analyzer;
use super::statement::{Execution, locks};
use super::tables::find;
use crate::catalog::TableKind;
use crate::id::TxnId;
use crate::metrics::labels::Restarted;
use crate::scheduler::policy::Action;
use crate::sql::repeat::Repeat;
use crate::sql::statement::{Rows, Statement};
use crate::sql::tag::Tag;
use crate::txn::effect::{Effect, Runs};
use crate::txn::state::XaState;
use crate::wire::command;
use crate::wire::error::LOCK_DEADLOCK;
use crate::wire::outcome::OutcomeKind;

/// A transaction is run again at most so often.
const MAX_RESTARTS: u32 = 3;
/// How long it waits if nobody can tell whom for; each further time, twice as long.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the server's report on the deadlock is waited for.
const REPORT_TIMEOUT: Duration = Duration::from_millis(200);
/// Prepared statements that are closed only after the transaction; with more, it is not run again.
const MAX_CLOSED: usize = 256;

/// What is known of the open transaction for running it again.
#[derive(Default)]
pub(super) struct Retry {
    /// What the command at hand is to its transaction.
    step: Step,
    run: Run,
    /// The server generates the keys of the statement at hand.
    generates: bool,
    /// The last statement may be held: `action = "reorder"`, as rules and hints have it.
    reorders: bool,
    /// How often the transaction has been run again.
    restarts: u32,
    /// It is being run again, since.
    since: Option<Instant>,
    /// All went the same: the command that failed is about to be answered.
    same: bool,
    /// It was asked whether the last deadlock may be followed by a restart.
    asked: bool,
    /// Whom the model has seen in the circle.
    others: Vec<TxnId>,
    /// Whom the server names.
    report: Option<oneshot::Receiver<Vec<u32>>>,
    waiting: Option<LocalBoxFuture<'static, bool>>,
    /// Prepared statements that the transaction has executed, and those of them that its client has closed since.
    executed: Vec<u32>,
    closed: Vec<u32>,
    /// The session may have temporary tables, which come before others of the same name.
    temporary: bool,
}

/// What a command is to its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    /// Nothing: it can be left out.
    Beside,
    /// Its first statement.
    First(Repeat),
    /// One of its statements.
    Next(Repeat),
    /// It cannot be repeated.
    #[default]
    Spoils,
    /// The transaction ends, or one begins that is not kept.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Run {
    #[default]
    Off,
    /// All of it can be repeated, but for the last statement if that takes a value that changes.
    Kept {
        last_changes: bool,
    },
    Spoilt,
}

impl Retry {
    /// The session, or its connection, is as new.
    pub(super) fn clear(&mut self) {
        *self = Retry { since: self.since, ..Retry::default() };
    }

    /// A command without a statement comes.
    pub(super) fn command(&mut self, code: u8) {
        self.step = match code {
            command::COM_PING
            | command::COM_STMT_PREPARE
            | command::COM_STMT_CLOSE
            | command::COM_STMT_RESET
            | command::COM_STATISTICS
            | command::COM_PROCESS_INFO
            | command::COM_FIELD_LIST => Step::Beside,
            command::COM_QUIT | command::COM_RESET_CONNECTION | command::COM_CHANGE_USER => Step::Over,
            _ => Step::Spoils,
        };
    }

    /// A prepared statement is executed; `plain`: as it could be again.
    pub(super) fn executes(&mut self, id: Option<u32>, plain: bool) {
        match id {
            Some(id) if plain && self.closed.len() < MAX_CLOSED => {
                if !self.executed.contains(&id) {
                    self.executed.push(id);
                }
            }
            _ => self.step = self.spoilt(),
        }
    }

    fn spoilt(&self) -> Step {
        if matches!(self.step, Step::First(_) | Step::Over) { Step::Over } else { Step::Spoils }
    }

    /// The client closes a prepared statement. True: it stays open until the transaction has ended, because running
    /// that again needs it.
    pub(super) fn closes(&mut self, id: Option<u32>) -> bool {
        let needed = matches!(self.run, Run::Kept { .. }) && id.is_some_and(|id| self.executed.contains(&id));
        self.closed.extend(id.filter(|_| needed));
        needed
    }

    fn keep(&mut self, most: usize) -> Keep {
        let (run, keep) = match (std::mem::take(&mut self.step), self.run) {
            (Step::Beside, _) => return Keep::Pass,
            (Step::First(repeat), _) => {
                self.restarts = 0;
                (kept(repeat), Keep::First { most, generates: self.generates })
            }
            (Step::Next(repeat), Run::Kept { last_changes: false }) => {
                (kept(repeat), Keep::Next { generates: self.generates })
            }
            (Step::Over | Step::Next(_), Run::Off) | (Step::Over, _) => (Run::Off, Keep::Nothing),
            (Step::Next(_) | Step::Spoils, _) => (Run::Spoilt, Keep::Nothing),
        };
        self.run = run;
        if !matches!(keep, Keep::Next { .. }) {
            // The statement at hand is the only one that may be needed.
            self.executed.drain(..self.executed.len().saturating_sub(1));
        }
        keep
    }

    /// Why a deadlock is not followed by a restart.
    fn refuses(&self, deadlock: Deadlock) -> Option<Restarted> {
        match self.run {
            Run::Off | Run::Spoilt => Some(Restarted::NotRepeatable),
            // The one that was refused has never run, so it is the one before that was seen.
            Run::Kept { last_changes: true } if !deadlock.by_server => Some(Restarted::NotRepeatable),
            Run::Kept { .. } if !deadlock.whole => Some(Restarted::TooLarge),
            Run::Kept { .. } if self.restarts >= MAX_RESTARTS => Some(Restarted::DeadlockedAgain),
            Run::Kept { .. } => None,
        }
    }
}

fn kept(repeat: Repeat) -> Run {
    match repeat {
        Repeat::Always => Run::Kept { last_changes: false },
        Repeat::Unseen => Run::Kept { last_changes: true },
        Repeat::Never => Run::Spoilt,
    }
}

/// May the session have temporary tables after it? Routines can make some too.
fn makes_temporary(statement: &Statement) -> bool {
    match statement {
        Statement::Ddl { commits, .. } => !commits,
        Statement::Routine { verb, .. } => ["CALL", "EXECUTE", "BEGIN"].contains(verb),
        Statement::Multi(parts) => parts.iter().any(|part| makes_temporary(part)),
        _ => false,
    }
}

impl Analyzer {
    /// A statement comes; `effect`: what it will do.
    pub(super) fn retry_statement(&mut self, execution: &Execution<'_>, effect: &Effect, pending: usize) {
        if self.retry.is_none() {
            return;
        }
        let tag = self.tag(execution);
        let reorders = self.action(tag) == Action::Reorder;
        let step =
            if tag == Some(Tag::Off) || pending > 0 { Step::Spoils } else { self.step_of(execution, effect) };
        let statement = &execution.analysed.plan.statement;
        let generates = self.generates_keys(statement);
        let Some(retry) = &mut self.retry else { return };
        retry.generates = generates;
        retry.temporary |= makes_temporary(statement);
        let temporary = retry.temporary && matches!(step, Step::First(_));
        retry.step = if temporary { Step::Over } else { step };
        retry.reorders = reorders;
    }

    /// Each row of an INSERT gets a key of the server's, one after the other, and no row is passed over.
    fn generates_keys(&self, statement: &Statement) -> bool {
        let Statement::Insert(insert) = statement else { return false };
        let Rows::Values(_) = insert.rows else { return false };
        if insert.replace || insert.ignore || insert.on_duplicate.is_some() {
            return false;
        }
        let (Some(columns), Some(table)) =
            (&insert.columns, find(&self.shared, self.state.schema(), &insert.table))
        else {
            return false;
        };
        let generated = table.columns.iter().find(|column| column.auto_increment);
        let named = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        // What triggers insert might take the key that is set.
        table.kind == TableKind::InnoDb
            && table.triggers.is_empty()
            && generated.is_some_and(|column| !named(&column.name))
    }

    fn step_of(&self, execution: &Execution<'_>, effect: &Effect) -> Step {
        let statement = &execution.analysed.plan.statement;
        let repeat = || execution.analysed.repeat(execution.text);
        let unusual = self.state.tables_locked() || self.state.xa() != XaState::None;
        let first = |repeat: Repeat| match repeat {
            Repeat::Never => Step::Over,
            // Its level or mode was set for it alone, and would not be there again.
            _ if unusual || self.state.one_shot() => Step::Over,
            repeat => Step::First(repeat),
        };
        match statement {
            Statement::Commit { .. } | Statement::Rollback { .. } => Step::Over,
            Statement::Harmless | Statement::KillQuery(_) => Step::Beside,
            _ if effect.begins => first(repeat()),
            _ if effect.ends.is_some() => Step::Over,
            _ if effect.runs == Runs::Alone && locks(statement, effect) => first(repeat()),
            _ if !self.state.is_open() => Step::Over,
            _ => match repeat() {
                Repeat::Never => Step::Spoils,
                repeat => Step::Next(repeat),
            },
        }
    }

    /// A command was passed on.
    pub(super) fn retry_keep(&mut self) -> Keep {
        let Some(retry) = &mut self.retry else { return Keep::Nothing };
        match self.shared.settings().retry {
            Some(most) => retry.keep(most),
            None => {
                retry.run = Run::Off;
                Keep::Nothing
            }
        }
    }

    /// What is kept is still of use.
    pub(super) fn retry_goes_on(&self) -> bool {
        let kept = |retry: &Retry| matches!(retry.run, Run::Kept { .. }) || retry.since.is_some();
        self.retry.as_deref().is_some_and(kept)
    }

    /// The client need not see a deadlock error, if the transaction can be run again.
    pub(super) fn retry_restart(&mut self, deadlock: Deadlock) -> bool {
        let on = self.shared.settings().retry.is_some();
        let txn = self.transaction_under_way().filter(|_| deadlock.by_server);
        let circle = txn.map(|txn| self.shared.admission.circle(txn)).unwrap_or_default();
        let Some(retry) = self.retry.as_deref_mut().filter(|retry| on && retry.reorders) else {
            return false;
        };
        retry.asked = true;
        retry.same = false;
        if let Some(outcome) = retry.refuses(deadlock) {
            self.retry_over(outcome);
            return false;
        }
        if !circle.is_empty() {
            retry.others = circle;
        }
        retry.restarts += 1;
        retry.since.get_or_insert_with(Instant::now);
        self.shared.admission.ledger.restarts(self.entry.id);
        true
    }

    /// The scheduler has refused a statement because of these.
    pub(super) fn retry_others(&mut self, own: TxnId, circle: &[TxnId]) {
        if let Some(retry) = &mut self.retry {
            retry.others = circle.iter().copied().filter(|txn| *txn != own).collect();
        }
    }

    /// The server will tell whom its deadlock was with.
    pub(super) fn retry_report(&mut self) -> Option<oneshot::Sender<Vec<u32>>> {
        let retry = self.retry.as_deref_mut().filter(|retry| retry.since.is_some())?;
        let (sender, receiver) = oneshot::channel();
        retry.report = Some(receiver);
        Some(sender)
    }

    /// Ready when the others have ended, or have had time to; false: this session's wait was killed.
    pub(super) fn retry_poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.retry.as_ref().is_some_and(|retry| retry.waiting.is_none()) {
            let wait = self.retry_wait();
            if let Some(retry) = &mut self.retry {
                retry.waiting = Some(wait);
            }
        }
        let Some(waiting) = self.retry.as_mut().and_then(|retry| retry.waiting.as_mut()) else {
            return Poll::Ready(true);
        };
        let goes_on = ready!(waiting.as_mut().poll(context));
        if let Some(retry) = &mut self.retry {
            retry.waiting = None;
        }
        if !goes_on {
            self.retry_over(Restarted::Killed);
        }
        Poll::Ready(goes_on)
    }

    fn retry_wait(&mut self) -> LocalBoxFuture<'static, bool> {
        let (mut others, mut report, mut pause) = (Vec::new(), None, PAUSE);
        if let Some(retry) = &mut self.retry {
            others = std::mem::take(&mut retry.others);
            report = retry.report.take();
            pause = PAUSE * (1 << retry.restarts.min(8));
        }
        let (admission, session) = (self.shared.admission.clone(), self.entry.id);
        // It has no locks, so nobody has to know of it.
        let own = admission.transaction();
        let deadline = Instant::now() + admission.settings().deadlock_hold_timeout;
        Box::pin(async move {
            if let (true, Some(report)) = (others.is_empty(), report)
                && let Ok(Ok(threads)) = tokio::time::timeout(REPORT_TIMEOUT, report).await
            {
                others = admission.transactions_of(&threads, session);
            }
            if others.is_empty() {
                tokio::time::sleep(pause).await;
            }
            for other in others {
                if !admission.until_ended(session, own, other, deadline).await {
                    return false;
                }
            }
            true
        })
    }

    /// How running it again went.
    pub(super) fn retry_replayed(&mut self, replayed: Replayed) {
        match replayed {
            Replayed::Same => {
                if let Some(retry) = &mut self.retry {
                    retry.same = true;
                }
            }
            Replayed::Differs => self.retry_over(Restarted::Differs),
            Replayed::NotUndone => self.retry_over(Restarted::NotUndone),
            Replayed::Killed => self.retry_over(Restarted::Killed),
        }
    }

    /// A result has passed.
    pub(super) fn retry_answered(&mut self, answer: &Answer) {
        let open = self.state.is_open();
        let Some(retry) = &mut self.retry else { return };
        let deadlock = matches!(answer.result, OutcomeKind::Error { code: LOCK_DEADLOCK, .. });
        let asked = std::mem::take(&mut retry.asked);
        if retry.same {
            let outcome = if deadlock { Restarted::DeadlockedAgain } else { Restarted::Done };
            self.retry_over(outcome);
        } else if deadlock && !asked && retry.reorders && retry.since.is_none() {
            self.retry_over(Restarted::NotRepeatable);
        }
        self.retry_ended(open);
    }

    /// The transaction has been rolled back because a statement was refused.
    pub(super) fn retry_rolled_back(&mut self) {
        if let Some(retry) = &mut self.retry {
            retry.asked = false;
        }
        self.retry_ended(false);
    }

    fn retry_ended(&mut self, open: bool) {
        if let Some(retry) = self.retry.as_deref_mut().filter(|retry| !open && retry.since.is_none()) {
            retry.run = Run::Off;
        }
    }

    /// It is known what came of a deadlock.
    fn retry_over(&mut self, outcome: Restarted) {
        self.shared.metrics.restarts.inc(outcome);
        let Some(retry) = &mut self.retry else { return };
        retry.same = false;
        if let Some(since) = retry.since.take() {
            self.shared.metrics.restart_seconds.observe(since.elapsed().as_secs_f64());
            self.shared.admission.ledger.restarted(self.entry.id, outcome == Restarted::Done);
        }
    }

    /// Prepared statements that the client has closed, and that nothing needs any more.
    pub(super) fn retry_closed(&mut self) -> Vec<u32> {
        let over = self.retry.as_deref_mut().filter(|retry| retry.run == Run::Off && retry.since.is_none());
        let closed = over.map(|retry| std::mem::take(&mut retry.closed)).unwrap_or_default();
        closed.iter().for_each(|id| self.prepared.close(&id.to_le_bytes()));
        closed
    }

    /// The session ends.
    pub(super) fn retry_dropped(&mut self) {
        if self.retry.as_ref().is_some_and(|retry| retry.since.is_some()) {
            self.retry_over(Restarted::ClientGone);
        }
    }
}
