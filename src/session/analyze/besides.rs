//! What a statement asks for besides rows: the definitions of its tables, named locks.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::statement::Execution;
use super::tables::find;
use super::{Analyzer, Locking};
use crate::admission::metadata::Excluding;
use crate::intent::metadata::{self, Name};
use crate::intent::{self, Values};
use crate::lock::key::Key;
use crate::lock::mode::Mode;
use crate::lock::request::{Request, Settled};
use crate::lock::table::LockRef;
use crate::sql::access::TableName;
use crate::sql::statement::{NamedLock, Statement};
use crate::sql::value::Value;
use crate::txn::effect::{Effect, Ending};

/// What a statement asks for besides rows.
#[derive(Default)]
pub(super) struct Besides {
    /// In the order in which the server asks; before any row.
    pub(super) requests: Vec<Request>,
    /// What it does with named locks.
    pub(super) named: Vec<Named>,
    /// It keeps others from its tables.
    pub(super) excluding: Option<Excluding>,
}

/// A call on a named lock.
pub(super) enum Named {
    /// The request at this position asks for it.
    Get(usize),
    /// It is taken only if it is free.
    TryGet(Request),
    /// One is given back.
    Release(Key),
    /// All are.
    ReleaseAll,
}

/// What a session owns beyond its transactions.
#[derive(Default)]
pub(super) struct Owned {
    /// Named locks, one entry for each time that the session got one.
    named: Vec<(Key, LockRef)>,
    /// Locks of LOCK TABLES or FLUSH TABLES WITH READ LOCK.
    tables: Vec<LockRef>,
    excluding: Option<Excluding>,
    /// FLUSH TABLES WITH READ LOCK: BEGIN does not end it.
    everything: bool,
}

impl Owned {
    /// Does LOCK TABLES end with this statement?
    pub(super) fn goes_with(&self, statement: &Statement) -> bool {
        let ends = match statement {
            Statement::UnlockTables => true,
            Statement::Begin { .. } => !self.everything,
            _ => false,
        };
        ends && !self.tables.is_empty()
    }

    /// Nothing is owned.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.tables.is_empty()
    }

    /// Everything is given up.
    pub(super) fn take(&mut self) -> Vec<LockRef> {
        self.excluding = None;
        let named = self.named.drain(..).map(|(_, lock)| lock);
        named.chain(self.tables.drain(..)).collect()
    }
}

/// A table's number for the registry: names compare without case, which at worst finds too much.
fn number(schema: &str, table: &str) -> u64 {
    let mut hasher = FxHasher::default();
    for part in [schema, table] {
        part.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        hasher.write_u8(0);
    }
    hasher.finish()
}

fn request(schema: &str, table: &str, mode: Mode, rule: &'static str) -> Request {
    let (schema, table) = (schema.to_lowercase(), table.to_lowercase());
    metadata::request(&Name { schema: &schema, table: &table }, mode, rule)
}

/// FLUSH TABLES WITH READ LOCK, and what it keeps out.
const GLOBAL: &str = "FLUSH TABLES WITH READ LOCK";

impl Analyzer {
    /// Writes down which tables the transaction names.
    pub(super) fn name_tables(&mut self, statement: &Statement) {
        let (state, entry) = (&self.state, &self.entry);
        let mut named = false;
        metadata::uses(statement, &mut |table, mode| {
            if let Some(schema) = table.schema.as_deref().or(state.schema()) {
                entry.uses.name(number(schema, &table.name), mode != Mode::IS);
                named = true;
            }
        });
        self.names_tables |= named;
    }

    /// Does the statement ask for anything besides rows, now?
    pub(super) fn asks_besides(&self, statement: &Statement) -> bool {
        match statement {
            Statement::NamedLocks(_) | Statement::LockTables(_) => true,
            Statement::Ddl { verb, .. } if *verb == GLOBAL => true,
            statement if metadata::excludes(statement) => true,
            statement => self.shared.admission.excludes() && names_any(statement),
        }
    }

    /// What the statement asks for besides rows.
    pub(super) fn besides(&mut self, execution: &Execution<'_>, effect: &Effect) -> Besides {
        let statement = &execution.analysed.plan.statement;
        let mut besides = Besides::default();
        match statement {
            Statement::NamedLocks(calls) => self.named_locks(calls, execution, &mut besides),
            // Of several statements in one text only the names are noted.
            Statement::Multi(_) => {}
            Statement::LockTables(_) => {
                self.give_up_tables();
                self.definitions_asked(statement, effect, &mut besides);
            }
            Statement::Ddl { commits: false, .. } => {}
            statement => self.definitions_asked(statement, effect, &mut besides),
        }
        besides
    }

    /// The metadata locks of a statement that excludes others, or that meets one that does.
    fn definitions_asked(&mut self, statement: &Statement, effect: &Effect, besides: &mut Besides) {
        let excludes = metadata::excludes(statement);
        if let (Some(ending), true) = (effect.ends, excludes) {
            // The implicit commit comes first.
            self.end_transaction(ending);
        }
        let global = matches!(statement, Statement::Ddl { verb, .. } if *verb == GLOBAL);
        if !excludes && !global && !self.shared.admission.excludes() {
            return;
        }
        let mut asked: Vec<(String, String, Mode, &'static str)> = Vec::new();
        let mut ask = |schema: &str, table: &str, mode: Mode, rule: &'static str| match asked
            .iter_mut()
            .find(|one| one.0 == schema && one.1 == table)
        {
            Some(one) if mode.includes(one.2) => (one.2, one.3) = (mode, rule),
            Some(_) => {}
            None => asked.push((schema.to_owned(), table.to_owned(), mode, rule)),
        };
        let schema = self.state.schema();
        let mut writes = false;
        metadata::uses(statement, &mut |table: &TableName, mode| {
            writes |= matches!(mode, Mode::IX | Mode::X);
            let Some(of) = table.schema.as_deref().or(schema) else { return };
            ask(of, &table.name, mode, metadata::rule(mode));
            if let (Mode::X, Statement::Ddl { verb, .. }) = (mode, statement)
                && let Some(known) = find(&self.shared, schema, table)
            {
                for other in metadata::related(verb, &known, self.flavour) {
                    ask(other.schema, other.table, Mode::X, "foreign-key-definition");
                }
            }
        });
        if global || writes {
            ask("", "", if global { Mode::S } else { Mode::IX }, "global-read-lock");
        }
        let requests = asked.iter().map(|(schema, table, mode, rule)| request(schema, table, *mode, rule));
        besides.requests.extend(requests);
        if excludes || global {
            let numbers: Vec<u64> = asked.iter().map(|one| number(&one.0, &one.1)).collect();
            let of = |at: usize, mode| request(&asked[at].0, &asked[at].1, mode, metadata::rule(mode));
            besides.excluding = Some(self.shared.admission.exclude(self.entry.id, &numbers, &of));
        }
    }

    fn named_locks(&mut self, calls: &[NamedLock], execution: &Execution<'_>, besides: &mut Besides) {
        let binding = execution.analysed.bind(execution.text, execution.params);
        for call in calls {
            match call {
                NamedLock::Get { name, timeout } => {
                    let Some(request) = name_of(name, &binding).map(|name| metadata::named(&name)) else {
                        self.fail_open(crate::metrics::labels::FailOpen::Routine);
                        continue;
                    };
                    if intent::scalar(timeout, &binding, 0) == Some(Value::Int(0)) {
                        besides.named.push(Named::TryGet(request));
                        continue;
                    }
                    besides.named.push(Named::Get(besides.requests.len()));
                    besides.requests.push(request);
                }
                NamedLock::Release(name) => {
                    let key = name_of(name, &binding).map(|name| metadata::named(&name).range.low);
                    besides.named.extend(key.map(Named::Release));
                }
                NamedLock::ReleaseAll => besides.named.push(Named::ReleaseAll),
            }
        }
    }

    /// The calls on named locks have been carried out. Whether a lock was got the answer's row would tell;
    /// that nobody has it any more tells it too.
    pub(super) fn named_locks_answered(&mut self, locking: Locking, failed: bool) {
        let Locking { txn, intent, refs, besides, .. } = locking;
        let kept = vec![Settled::Kept; refs.len()];
        let refs = self.shared.admission.answered(txn, refs, &kept);
        for call in besides.named {
            match call {
                Named::Get(at) => {
                    let (Some(request), Some(lock)) = (intent.requests.get(at), refs.get(at)) else {
                        continue;
                    };
                    if !failed && self.shared.admission.granted(txn, request, *lock) {
                        self.owned.named.push((request.range.low.clone(), *lock));
                    } else {
                        self.shared.admission.give_back(txn, &[*lock]);
                    }
                }
                Named::TryGet(request) if !failed => {
                    if let Some(lock) = self.shared.admission.take_free(txn, &request) {
                        self.owned.named.push((request.range.low, lock));
                    }
                }
                Named::Release(key) if !failed => {
                    if let Some(at) = self.owned.named.iter().rposition(|(held, _)| *held == key) {
                        let (_, lock) = self.owned.named.remove(at);
                        self.shared.admission.give_back(txn, &[lock]);
                    }
                }
                Named::ReleaseAll if !failed => {
                    let all: Vec<LockRef> = self.owned.named.drain(..).map(|(_, lock)| lock).collect();
                    self.shared.admission.give_back(txn, &all);
                }
                _ => {}
            }
        }
    }

    /// LOCK TABLES or FLUSH TABLES WITH READ LOCK was answered.
    pub(super) fn tables_locked(
        &mut self,
        refs: &[LockRef],
        excluding: Option<Excluding>,
        statement: &Statement,
    ) {
        self.owned.tables.extend_from_slice(refs);
        self.owned.excluding = excluding;
        self.owned.everything = locks_everything(statement);
    }

    /// What LOCK TABLES has locked is given up.
    pub(super) fn give_up_tables(&mut self) {
        let locks = std::mem::take(&mut self.owned.tables);
        if let (Some(txn), false) = (self.txn, locks.is_empty()) {
            self.shared.admission.give_back(txn, &locks);
        }
        self.owned.excluding = None;
        if self.owned.is_empty() && !self.state.is_open() && self.pending.is_empty() {
            self.end_transaction(Ending::Unknown);
        }
    }
}

/// What became of a lock on a definition: a statement that writes is kept out by FLUSH TABLES WITH READ LOCK
/// only while it runs, all else stays to the end of the transaction.
pub(super) fn settle(request: &Request) -> Settled {
    if request.rule == "global-read-lock" && request.mode == Mode::IX {
        Settled::Released
    } else {
        Settled::Kept
    }
}

/// Does the statement name a table?
fn names_any(statement: &Statement) -> bool {
    let mut any = false;
    metadata::uses(statement, &mut |_, _| any = true);
    any
}

/// Is this the statement that locks everything?
pub(super) fn locks_everything(statement: &Statement) -> bool {
    matches!(statement, Statement::Ddl { verb, .. } if *verb == GLOBAL)
}

fn name_of(name: &crate::sql::value::Scalar, values: &dyn Values) -> Option<Vec<u8>> {
    match intent::scalar(name, values, 0)? {
        Value::Text(text) | Value::Bytes(text) => Some(text.into_owned()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}
