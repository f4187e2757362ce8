//! The analysis of one session: what its commands mean, what they lock, and what became of it.
//!
//! ```text
//! command ─▶ statement ─▶ lock requests ─▶ admission ─▶ Forward | Hold | Reject
//! answer  ─▶ transaction state corrected ─▶ locks kept or released
//! ```
//!
//! For every command that is forwarded one `Pending` is queued; answers take them off in order.

mod relayed;
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
mod ending;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::analysis::{LoginFacts, Verdict};
use super::serve::Shared;
use crate::admission::registry::Entry;
use crate::admission::{Admitted, Hold};
use crate::catalog::Flavour;
use crate::id::{SessionId, TableId, TxnId};
use crate::intent::known::Known;
use crate::lock::table::LockRef;
use crate::metrics::labels::CommandKind;
use crate::sql::access::TableName;
use crate::sql::cache::Plan;
use crate::sql::statement::Statement;
use crate::txn::effect::Ending;
use crate::txn::state::TransactionState;
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
    /// Its COMMIT or ROLLBACK has been passed on: nobody needs to be held behind it once that is sent.
    leaves: Option<Ending>,
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
            leaves: None,
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
