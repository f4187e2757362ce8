//! The analysis of one session: what its commands mean, what they lock, and what became of it.
//!
//! ```text
//! command ─▶ statement ─▶ lock requests ─▶ admission ─▶ Forward | Hold | Reject
//! answer  ─▶ transaction state corrected ─▶ locks kept or released
//! ```
//!
//! For every command that is forwarded one `Pending` is queued; answers take them off in order.

mod plans;
mod prepared;
mod tables;
mod statement;
mod locking;
mod contend;
mod answer;
mod reading_values;
mod inquiry;
mod unsorted;
mod reading;
mod look;
mod gleaned;
mod guard;
mod inner;
mod retry;
mod search;
mod trace;
mod besides;
mod foresee;
mod savepoint;
mod text_prepared;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::analysis::{Analysis, Answer, Deadlock, Keep, LoginFacts, Replayed, Verdict};
use super::serve::Shared;
use crate::admission::registry::Entry;
use crate::admission::{Admitted, Hold};
use crate::catalog::Flavour;
use crate::id::{SessionId, TableId, TxnId};
use crate::intent::known::Known;
use crate::lock::table::LockRef;
use crate::metrics::labels::{CommandKind, FailOpen, TimeSpent};
use crate::sql::cache::Plan;
use crate::sql::statement::{Statement, TableName};
use crate::txn::effect::{Ending, Outcome, STATUS_AUTOCOMMIT};
use crate::txn::state::TransactionState;
use crate::wire::command::{self, Command};
use crate::wire::error::ErrorPacket;
use besides::Owned;
pub use foresee::{Foreseen, ForeseenLock, Supposed};
use guard::{Guarded, Names};
use locking::Locking;
pub use plans::{Digests, Plans};
use prepared::Prepared;
use retry::Retry;
use savepoint::Savepoints;
use search::Search;
use text_prepared::TextPrepared;
pub use trace::tables_named;

/// A transaction's list of locks that is longer than this is not kept for the next one.
const KEPT_CAPACITY: usize = 32;

/// The analysis of one session.
pub struct Analyzer {
    shared: Arc<Shared>,
    plans: Rc<Plans>,
    entry: Arc<Entry>,
    capabilities: u32,
    flavour: Flavour,
    /// As in executable comments: 90704, 101119.
    server_version: u32,
    state: TransactionState,
    /// The transaction that holds locks, if one does, and its locks.
    txn: Option<TxnId>,
    held: Vec<LockRef>,
    /// What the session owns beyond its transactions: named locks, LOCK TABLES.
    owned: Owned,
    /// The open transaction has written tables into its registry entry.
    names_tables: bool,
    /// Its statements whose locks are known widely only.
    searches: Vec<Arc<Search>>,
    /// XA transactions that this session has prepared and not ended.
    xa_prepared: Vec<(TxnId, Vec<LockRef>)>,
    /// Their locks; they count against `limits.locks_per_transaction`, too.
    xa_locks: usize,
    /// The savepoint marker at which the open transaction may first have used a table.
    touched: Option<u32>,
    savepoints: Savepoints,
    prepared: Prepared,
    /// What is prepared as text, and user variables.
    named: TextPrepared,
    pending: VecDeque<Pending>,
    waiting: Option<Waiting>,
    /// The command at hand has been looked at: its tables were waited for, its gap was probed.
    looked: Looked,
    /// What was learnt from the server for the command at hand.
    learnt: Arc<Mutex<Option<Known>>>,
    /// Nothing is sent (`interlock explain`): what the server shows is not all that there is.
    rehearsed: bool,
    /// Tables that this session has used: their definition was fresh then.
    used: FxHashSet<TableId>,
    /// Names that were waited for in vain: they are not waited for again.
    tried: FxHashSet<TableName>,
    /// The number in its transaction of the statement at hand.
    step: usize,
    /// The code of the command at hand.
    code: u8,
    /// `KILL QUERY` statements that are under way: which of the server's connections each is about.
    kills: VecDeque<Option<u32>>,
    /// Names of gaps that the session has on the server.
    names: Names,
    /// The open transaction may have locks that are not followed.
    unfollowed: bool,
    /// `LAST_INSERT_ID()`, while it is known.
    last_insert_id: Option<u64>,
    /// What a victim's transaction is run again with; `None`: it never is.
    retry: Option<Box<Retry>>,
}

/// A command that was forwarded and not yet answered.
enum Pending {
    /// A statement, from text or prepared; `locking` if it asks for locks.
    Statement {
        /// What it is.
        plan: Arc<Plan>,
        /// Which result comes next, for several statements in one text.
        part: usize,
        /// What it asks for.
        locking: Option<Box<Locking>>,
    },
    /// COM_STMT_PREPARE
    Prepare(Box<prepared::Text>),
    /// COM_STMT_FETCH: rows of a cursor.
    Fetch,
    /// COM_INIT_DB
    InitDb(String),
    /// COM_RESET_CONNECTION
    Reset,
    /// COM_CHANGE_USER
    ChangeUser {
        /// The new user.
        user: String,
        /// The new default schema.
        schema: Option<String>,
    },
    /// Everything else.
    Other,
}

/// What a command that is kept back waits for.
enum Waiting {
    /// Knowledge: a definition, a look at a gap. Then the command is decided anew.
    Knowledge(LocalBoxFuture<'static, ()>),
    /// The scheduler.
    Hold(Box<Held>),
    /// The name of its gap on the server.
    Guard(Box<Guarded>),
    /// That all such names are given back; then the command is decided anew.
    Freeing,
}

/// A statement that the scheduler holds.
struct Held {
    hold: Hold,
    plan: Arc<Plan>,
    locking: Locking,
    since: Instant,
    /// A look at the server whether it has to be.
    look: Option<LocalBoxFuture<'static, ()>>,
}

/// What has been looked up for the command at hand.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Looked {
    tables: bool,
    gap: bool,
}

impl Analyzer {
    /// A session that has just logged in.
    pub fn new(shared: Arc<Shared>, plans: Rc<Plans>, facts: LoginFacts) -> Analyzer {
        let mariadb = facts.server_version.contains("MariaDB");
        let id = shared.admission.session();
        let history = shared.settings().history;
        let (user, program) = (&facts.user, facts.program.clone());
        let mut entry = Entry::new(id, facts.server_thread, user, program, facts.peer.clone(), history);
        entry.attributes = Arc::new(facts.attributes);
        let entry = shared.admission.registry.open(entry);
        let mut state = TransactionState::new(statement::defaults(&shared, mariadb), facts.schema);
        state.observed(facts.status);
        Analyzer {
            plans,
            entry,
            capabilities: facts.capabilities,
            flavour: if mariadb { Flavour::MariaDb } else { Flavour::MySql },
            server_version: plans::version_number(&facts.server_version),
            state,
            txn: None,
            held: Vec::new(),
            owned: Owned::default(),
            names_tables: false,
            searches: Vec::new(),
            learnt: Arc::default(),
            rehearsed: false,
            xa_prepared: Vec::new(),
            xa_locks: 0,
            step: 0,
            code: 0,
            kills: VecDeque::new(),
            names: Names::default(),
            unfollowed: false,
            last_insert_id: None,
            retry: shared.settings().retry.is_some().then(Box::default),
            tried: FxHashSet::default(),
            touched: None,
            savepoints: Savepoints::default(),
            prepared: Prepared::new(shared.settings().max_prepared),
            named: TextPrepared::default(),
            pending: VecDeque::new(),
            waiting: None,
            looked: Looked::default(),
            used: FxHashSet::default(),
            shared,
        }
    }

    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.entry.id
    }

    /// The session as the registry knows it.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The server's connection id.
    pub fn server_thread(&self) -> u32 {
        self.entry.server_thread
    }

    /// The transaction is over: what it holds is given back.
    fn end_transaction(&mut self, ending: Ending) {
        self.touched = None;
        self.savepoints.clear();
        self.entry.changed.store(0, Ordering::Relaxed);
        self.unfollowed = false;
        if self.txn.is_some() {
            self.shared.admission.learn_order(&self.entry);
        }
        self.close_searches();
        let stays = !self.owned.is_empty();
        if self.txn.is_some() || std::mem::take(&mut self.names_tables) {
            let (txn, locks) = self.entry.uses.end(stays);
            self.txn = self.txn.or(txn);
            self.held.extend(locks);
        }
        let committed = ending != Ending::RolledBack;
        match self.txn {
            Some(txn) if stays => self.shared.admission.emptied(txn, &self.held, committed),
            Some(txn) => self.shared.admission.ended(txn, &self.held, committed),
            None => {}
        }
        self.txn = self.txn.filter(|_| stays);
        self.names_tables = false;
        self.held.clear();
        if self.held.capacity() > KEPT_CAPACITY {
            self.held = Vec::new();
        }
    }

    /// Nothing of the transaction is narrowed any more: all of its locks are in `held`.
    fn close_searches(&mut self) {
        for search in self.searches.drain(..) {
            self.held.extend(search.close());
        }
    }

    /// The XA transactions that this session has prepared are over. Which of them is not told: all go, and
    /// what then waits, waits at the server.
    fn end_prepared(&mut self, ending: Ending) {
        self.xa_locks = 0;
        for (txn, held) in std::mem::take(&mut self.xa_prepared) {
            self.shared.admission.ended(txn, &held, ending != Ending::RolledBack);
        }
    }

    fn push(&mut self, pending: Pending) -> Verdict {
        self.shared.metrics.commands.inc(CommandKind::of(self.code));
        if !matches!(&pending, Pending::Statement { plan, .. } if touches_nothing(&plan.statement)) {
            self.touched.get_or_insert(self.state.marker());
        }
        self.pending.push_back(pending);
        self.looked = Looked::default();
        self.learnt.lock().take();
        Verdict::Forward
    }

    /// What the scheduler says goes; `since`: when the statement came to it.
    fn admitted(&mut self, admitted: Admitted, plan: Arc<Plan>, locking: Locking, since: Instant) -> Verdict {
        match admitted {
            Admitted::Forward { refs, .. } => {
                let mut locking = locking.noted(refs);
                if let Some(guard) = locking.guard.take() {
                    return self.guarded(*guard, plan, locking, since);
                }
                self.push(Pending::Statement { plan, part: 0, locking: Some(Box::new(locking)) })
            }
            Admitted::Hold(hold) => {
                self.waiting = Some(Waiting::Hold(Box::new(Held { hold, plan, locking, since, look: None })));
                Verdict::Hold
            }
            Admitted::Reject => {
                self.looked = Looked::default();
                self.learnt.lock().take();
                Verdict::Reject { error: ErrorPacket::deadlock(), rollback: true }
            }
            // As at the server: the statement ends, the transaction stays, if one is open.
            Admitted::Killed => {
                self.looked = Looked::default();
                if !self.state.is_open() {
                    self.end_transaction(Ending::RolledBack);
                }
                self.entry.answered(!self.pending.is_empty(), self.state.is_open());
                Verdict::Reject { error: ErrorPacket::interrupted(), rollback: false }
            }
            // Only for callers that can look; they have looked before they come here.
            Admitted::Look { .. } => self.push(Pending::Statement { plan, part: 0, locking: None }),
        }
    }
}

/// Statements that reach no storage engine.
fn touches_nothing(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Begin { snapshot: false, .. }
            | Statement::Savepoint(_)
            | Statement::RollbackTo(_)
            | Statement::ReleaseSavepoint(_)
    )
}

impl Analysis for Analyzer {
    fn command(&mut self, command: &Command<'_>, pending: usize) -> Verdict {
        let _timing = self.shared.metrics.analysis();
        self.code = command.code;
        self.entry.busy();
        if let Some(retry) = &mut self.retry {
            retry.command(command.code);
        }
        match command.code {
            _ if command.truncated => {
                self.fail_open(FailOpen::TooLong);
                self.push(Pending::Other)
            }
            command::COM_QUERY => self.query(command.body, pending),
            command::COM_STMT_PREPARE => self.prepare(command.body),
            command::COM_STMT_EXECUTE => self.execute(command.body, pending),
            command::COM_STMT_BULK_EXECUTE => self.bulk_execute(command.body, pending),
            command::COM_STMT_FETCH => self.push(Pending::Fetch),
            command::COM_STMT_CLOSE => {
                let id = command::statement_id(command.body);
                if self.retry.as_mut().is_some_and(|retry| retry.closes(id)) {
                    // It has no answer, so nobody gets this error.
                    return Verdict::Reject { error: ErrorPacket::interrupted(), rollback: false };
                }
                self.prepared.close(command.body);
                self.push(Pending::Other)
            }
            command::COM_STMT_RESET => {
                self.prepared.reset(command.body);
                self.push(Pending::Other)
            }
            command::COM_STMT_SEND_LONG_DATA => {
                self.prepared.long_data(command.body);
                self.push(Pending::Other)
            }
            command::COM_INIT_DB => {
                let schema = String::from_utf8_lossy(command::init_db_schema(command.body)).into_owned();
                self.push(Pending::InitDb(schema))
            }
            command::COM_RESET_CONNECTION => self.push(Pending::Reset),
            command::COM_CHANGE_USER => {
                let user = command::change_user(command.body, self.capabilities);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.push(Pending::ChangeUser {
                    user: user.map(|u| text(u.user)).unwrap_or_default(),
                    schema: user.map(|u| text(u.schema)).filter(|s| !s.is_empty()),
                })
            }
            _ => self.push(Pending::Other),
        }
    }

    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        match &mut self.waiting {
            Some(Waiting::Knowledge(look)) => {
                std::task::ready!(look.as_mut().poll(context));
                self.waiting = None;
                Poll::Ready(Verdict::AfterEarlier)
            }
            Some(Waiting::Hold(held)) => {
                if held.look.as_mut().is_some_and(|look| look.as_mut().poll(context).is_ready()) {
                    held.look = None;
                }
                let admitted = std::task::ready!(std::pin::Pin::new(&mut held.hold).poll(context));
                let Some(Waiting::Hold(held)) = self.waiting.take() else {
                    return Poll::Ready(Verdict::Forward);
                };
                let Held { plan, locking, since, .. } = *held;
                match self.admitted(admitted, plan, locking, since) {
                    // Held on, until it is known which gap it is.
                    Verdict::Hold => self.poll_guard(context),
                    verdict => Poll::Ready(verdict),
                }
            }
            Some(Waiting::Guard(_)) => self.poll_guard(context),
            Some(Waiting::Freeing) | None => Poll::Ready(Verdict::AfterEarlier),
        }
    }

    fn told(&mut self, answer: Result<(), u16>) -> Verdict {
        match self.waiting.take() {
            Some(Waiting::Guard(guarded)) => self.took(guarded, answer),
            _ => {
                self.names_given_back(answer);
                Verdict::AfterEarlier
            }
        }
    }

    fn errand_behind(&mut self) -> Option<String> {
        self.names_behind()
    }

    fn errand_idle(&mut self, context: &mut Context<'_>) -> Option<String> {
        self.names_idle(context)
    }

    fn errand_done(&mut self, answer: Result<(), u16>) {
        self.names_given_back(answer);
    }

    fn rolled_back(&mut self) {
        let status = if self.state.autocommit() { STATUS_AUTOCOMMIT } else { 0 };
        let rollback = Statement::Rollback { chain: false, release: false };
        self.state.after(&rollback, Outcome::Ok { status });
        self.end_transaction(Ending::RolledBack);
        self.retry_rolled_back();
    }

    fn keep(&mut self) -> Keep {
        self.retry_keep()
    }

    fn goes_on(&self) -> bool {
        self.retry_goes_on()
    }

    fn restart(&mut self, deadlock: Deadlock) -> bool {
        self.retry_restart(deadlock)
    }

    fn poll_restart(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.retry_poll(context)
    }

    fn replayed(&mut self, replayed: Replayed) {
        self.retry_replayed(replayed);
    }

    fn left_open(&mut self) -> Vec<u32> {
        self.retry_closed()
    }

    fn answer(&mut self, answer: &Answer) {
        self.shared.metrics.time.add(TimeSpent::Server, answer.server_time.as_nanos() as u64);
        let _timing = self.shared.metrics.analysis();
        self.answered(answer);
        self.retry_answered(answer);
        self.entry.answered(!self.pending.is_empty(), self.state.is_open());
    }

    fn may_close(&self) -> bool {
        !self.state.is_open() && !self.state.tables_locked()
    }
}

impl Drop for Analyzer {
    fn drop(&mut self) {
        self.retry_dropped();
        // A hold leaves its queue first: it must not be let on any more.
        if let Some(Waiting::Guard(guarded)) = self.waiting.take() {
            self.txn = self.txn.or(Some(guarded.locking.txn));
            self.held.extend(guarded.locking.into_refs());
        }
        for pending in std::mem::take(&mut self.pending) {
            if let Pending::Statement { locking: Some(locking), .. } = pending {
                self.txn = self.txn.or(Some(locking.txn));
                self.held.extend(locking.into_refs());
            }
        }
        self.held.extend(self.owned.take());
        self.end_transaction(Ending::RolledBack);
        self.end_prepared(Ending::Unknown);
        self.shared.admission.registry.close(self.entry.id);
    }
}
