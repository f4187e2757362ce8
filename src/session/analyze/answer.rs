//! Answers: the transaction state is corrected, locks are kept or given back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::super::analysis::Answer;
use super::statement::has_policy;
use super::tables::{find, tables};
use super::{Analyzer, Locking, Pending, besides};
use crate::admission::ledger::Happened;
use crate::admission::search::Narrow;
use crate::id::TxnId;
use crate::intent::duplicate;
use crate::intent::outcome::{self, Answered, Rules};
use crate::lock::request::Settled;
use crate::metrics::labels::{Coordination, FailOpen};
use crate::sql::access::WaitPolicy;
use crate::sql::statement::{Insert, OpaqueReason, Rows, Statement};
use crate::sql::value::Scalar;
use crate::txn::effect::{After, Ending, Outcome};
use crate::wire::outcome::OutcomeKind;

/// The errors that say "deadlock": ER_LOCK_DEADLOCK, and MariaDB's ER_AUTOINC_READ_FAILED for a cycle
/// through the AUTO-INC lock.
const DEADLOCK: [u16; 2] = [1213, 1467];
/// ER_DUP_ENTRY
const DUPLICATE_KEY: u16 = 1062;
/// A transaction of whose locks none is known: no conflict can have been foreseen.
const UNFOLLOWED: TxnId = TxnId(0);
/// ER_LOCK_WAIT_TIMEOUT
const TIMEOUT: u16 = 1205;

impl Analyzer {
    /// A result has passed.
    pub(super) fn answered(&mut self, answer: &Answer) {
        let Some(mut pending) = self.pending.pop_front() else { return };
        match &mut pending {
            Pending::Statement { plan, part, locking } => {
                let plan = plan.clone();
                let number = *part;
                if answer.last {
                    let errno = match answer.result {
                        OutcomeKind::Error { code, .. } => Some(code),
                        _ => None,
                    };
                    plan.uses.answered(errno, answer.server_time.as_nanos() as u64);
                }
                *part += 1;
                let locking = match locking {
                    Some(several) if !answer.last => several.next_part(),
                    locking => locking.take(),
                };
                self.statement_answered(&plan.statement, number, locking, answer);
            }
            Pending::Prepare(_) | Pending::Fetch | Pending::Other => {
                self.observed(answer);
                if let OutcomeKind::Error { code, .. } = answer.result {
                    self.failed_unseen(code);
                }
            }
            Pending::InitDb(schema) => {
                if !matches!(answer.result, OutcomeKind::Error { .. }) {
                    self.state.set_schema(Some(std::mem::take(schema)));
                }
                self.observed(answer);
            }
            Pending::Reset => {
                if !matches!(answer.result, OutcomeKind::Error { .. }) {
                    self.state.reset_connection();
                    self.begin_again();
                }
            }
            Pending::ChangeUser { user, schema } => {
                if !matches!(answer.result, OutcomeKind::Error { .. }) {
                    self.state.change_user(schema.take());
                    self.entry.rename(user);
                    self.begin_again();
                }
            }
        }
        if !answer.last {
            self.pending.push_front(pending);
            return;
        }
        if self.pending.is_empty() {
            self.entry.journal.lock().answered();
        }
        if let (Pending::Prepare(text), OutcomeKind::Prepared { id, params, .. }) = (pending, &answer.result)
        {
            self.prepared.open(*id, *params, *text);
        }
    }

    /// COM_RESET_CONNECTION, COM_CHANGE_USER: the server has rolled back and forgotten everything.
    fn begin_again(&mut self) {
        self.prepared.clear();
        self.named.clear();
        self.names.clear();
        self.last_insert_id = None;
        if let Some(retry) = &mut self.retry {
            retry.clear();
        }
        self.held.extend(self.owned.take());
        self.end_transaction(Ending::RolledBack);
    }

    /// A command that was not understood has failed: what the error ends, it ends here too.
    fn failed_unseen(&mut self, code: u16) {
        self.may_be_deadlock(self.txn, Some(code));
        let unseen = Statement::Opaque { reason: OpaqueReason::TooLong, tables: Vec::new() };
        if let Some(txn) = self.txn {
            self.report(txn, Some(code));
        }
        let after = self.state.after(&unseen, Outcome::Error { code });
        self.follow(after);
    }

    /// Flags of a command that is no statement.
    fn observed(&mut self, answer: &Answer) {
        if let Some(status) = answer.status {
            let after = self.state.observed(status);
            self.follow(after);
        }
    }

    fn statement_answered(
        &mut self,
        statement: &Statement,
        number: usize,
        locking: Option<Box<Locking>>,
        answer: &Answer,
    ) {
        let errno = match answer.result {
            OutcomeKind::Error { code, .. } => Some(code),
            _ => None,
        };
        let part = match statement {
            Statement::Multi(parts) => parts.get(number).map_or(&Statement::Harmless, |part| part),
            // Further results of a CALL.
            statement => statement,
        };
        let txn = locking.as_ref().map(|l| l.txn);
        self.may_be_deadlock(txn.or(self.txn), errno);
        if errno.is_none() && self.owned.goes_with(part) {
            self.give_up_tables();
        }
        // Locks or none: a number that is given unseen would leave the one before it.
        self.note_last_insert_id(part, &answer.result);
        if let Some(locking) = locking {
            self.settle(part, *locking, answer, errno);
        }
        let after = match (errno, answer.status) {
            (Some(code), _) => self.state.after(part, Outcome::Error { code }),
            (None, Some(status)) => self.state.after(part, Outcome::Ok { status }),
            (None, None) => After::Continues,
        };
        if self.state.take_forgotten() {
            self.fail_open(FailOpen::SavepointLimit);
        }
        if let OutcomeKind::Ok { schema: Some(schema), .. } = &answer.result {
            self.state.set_schema(Some(schema.clone()));
        }
        self.report(txn.or(self.txn).unwrap_or(UNFOLLOWED), errno);
        match (part, errno) {
            (_, None) => self.definitions(part),
            (Statement::Prepare { name, .. }, _) => self.named.prepare(name, None, 0),
            (Statement::Set(_), _) => self.named.forget_variables(),
            _ => {}
        }
        if let Statement::KillQuery(_) = statement
            && let Some(thread) = self.kills.pop_front().flatten()
            && errno.is_none()
        {
            self.shared.admission.kill_query(thread);
        }
        if let (Statement::Savepoint(_), None) = (part, errno) {
            self.set_savepoint();
        }
        self.names_after(
            errno.is_none() && matches!(part, Statement::Commit { .. } | Statement::Rollback { .. }),
        );
        self.follow(after);
        if let (Statement::Begin { snapshot, .. }, None) = (part, errno) {
            match (snapshot, self.pending.is_empty()) {
                (true, _) => self.touched = Some(0),
                (false, true) => self.touched = None,
                (false, false) => {} // what has been sent since may have used a table already
            }
        }
        // An autocommit statement with several results may leave locks noted though nothing is open, an error
        // in the middle of several statements as well.
        let stays = matches!(after, After::Continues | After::StatementRolledBack);
        if answer.last && !self.state.is_open() && self.txn.is_some() && stays {
            self.end_transaction(Ending::Unknown);
        }
    }

    /// What the statement asked for became this.
    fn settle(&mut self, statement: &Statement, locking: Locking, answer: &Answer, errno: Option<u16>) {
        if let Statement::NamedLocks(_) = statement {
            let Locking { txn, reported, .. } = locking;
            self.named_locks_answered(locking, errno.is_some());
            if reported {
                self.shared.admission.came_true(txn, errno);
            }
            return;
        }
        let Locking { txn, step, intent, refs, search, reported, besides, gaps, .. } = locking;
        let answered = match &answer.result {
            OutcomeKind::Rows { cursor: true, .. } => Answered::Unclear,
            OutcomeKind::Rows { rows, .. } => Answered::Rows(*rows),
            OutcomeKind::Ok { affected, info, .. } => {
                Answered::Changed { affected: *affected, matched: matched(info) }
            }
            OutcomeKind::Error { code: DUPLICATE_KEY, message } => self.duplicate(statement, message),
            OutcomeKind::Error { code, .. } => Answered::Failed(*code),
            OutcomeKind::Prepared { .. } | OutcomeKind::Other => Answered::Unclear,
        };
        if let Answered::Changed { affected, .. } = &answered {
            self.entry.changed.fetch_add(*affected, Ordering::Relaxed);
        }
        let generated = generated(statement, &answer.result);
        let (definitions, rows) = intent.requests.split_at(besides.requests.len());
        let mut settled: Vec<Settled> = definitions.iter().map(besides::settle).collect();
        if errno.is_none() && has_policy(statement, WaitPolicy::NoWait) {
            self.shared.admission.believe(&refs, &intent.requests);
        }
        match search {
            // Its rows live with the search.
            Some(search) => {
                if search.answered(answered, generated) {
                    self.entry.searched(step, Arc::downgrade(&search) as Weak<dyn Narrow>);
                    self.searches.push(search);
                }
            }
            None => {
                let rules = Rules { flavour: self.flavour, gaps };
                let (rows, exact) = ((rows, intent.inner), intent.exact);
                settled.extend(outcome::settle_all(statement, rows, exact, &answered, generated, rules));
            }
        }
        let kept = self.shared.admission.answered(txn, refs, &settled);
        if intent.deletes {
            // A record that was found is known for a moment; this one is going.
            for request in &intent.requests {
                self.shared.admission.scheduler().forget(request.index, &request.range);
                if errno.is_none() {
                    self.shared.admission.scheduler().deleted(txn, request.index, &request.range);
                }
            }
        }
        let locks = matches!(statement, Statement::LockTables(_)) || besides::locks_everything(statement);
        if locks && errno.is_none() {
            self.tables_locked(&kept, besides.excluding, statement);
        } else {
            self.held.extend(kept);
        }
        self.entry.locked(step, intent.requests, settled);
        if self.txn != Some(txn) {
            // An earlier statement of the same text ended the transaction (COMMIT, DDL): these locks are
            // those of the one that followed.
            self.shared.admission.registry.began(txn, &self.entry);
            self.txn = Some(txn);
        }
        if reported {
            self.shared.admission.came_true(txn, errno);
        }
    }

    /// What `LAST_INSERT_ID()` is from now on (manual, "Information Functions"): the first number that an INSERT was
    /// given; what an UPDATE has made of it with `LAST_INSERT_ID(…)`.
    fn note_last_insert_id(&mut self, statement: &Statement, result: &OutcomeKind) {
        let OutcomeKind::Ok { last_insert_id, .. } = result else { return };
        match statement {
            Statement::Insert(insert) => match (last_insert_id, self.takes_number(insert)) {
                (0, _) | (_, Some(false)) => {}
                (_, Some(true)) => self.last_insert_id = generated(statement, result),
                (_, None) => self.last_insert_id = None,
            },
            Statement::Update(_) if *last_insert_id > 0 => self.last_insert_id = Some(*last_insert_id),
            Statement::Routine { .. } | Statement::Opaque { .. } => self.last_insert_id = None,
            _ => {}
        }
    }

    /// Does the server give the rows of an INSERT their numbers? `None`: not known.
    fn takes_number(&self, insert: &Insert) -> Option<bool> {
        let table = find(&self.shared, self.state.schema(), &insert.table)?;
        let Some(column) = table.columns.iter().find(|column| column.auto_increment) else {
            return Some(false);
        };
        let Some(names) = &insert.columns else { return None };
        let Some(at) = names.iter().position(|name| name.eq_ignore_ascii_case(&column.name)) else {
            return Some(true);
        };
        match &insert.rows {
            Rows::Values(row) => match row.get(at)? {
                Scalar::Null | Scalar::Default => Some(true),
                _ => None,
            },
            Rows::Select(_) => None,
        }
    }

    /// Which key was there already, as far as the message tells.
    fn duplicate(&self, statement: &Statement, message: &str) -> Answered {
        let Some((entry, key)) = duplicate_entry(message) else { return Answered::Failed(DUPLICATE_KEY) };
        let table =
            tables(statement).into_iter().find_map(|name| find(&self.shared, self.state.schema(), name));
        let index = table.as_ref().and_then(|table| {
            let at = table.indexes.iter().position(|index| index.name.eq_ignore_ascii_case(key))?;
            u16::try_from(at).ok()
        });
        let compared = table.zip(index).map(|(table, index)| duplicate::compared(&table, index, entry));
        Answered::Duplicate { index, entry: compared.unwrap_or_else(|| entry.to_owned()) }
    }

    /// Before the wait is forgotten: who was part of it? A timeout in a circle is a deadlock that no detector
    /// saw.
    fn may_be_deadlock(&mut self, txn: Option<TxnId>, errno: Option<u16>) {
        let deadlock = errno.is_some_and(|code| DEADLOCK.contains(&code));
        let circle = errno == Some(TIMEOUT) && txn.is_some_and(|txn| self.shared.admission.is_in_circle(txn));
        if deadlock || circle {
            self.deadlocked(txn, &[]);
        }
    }

    /// Deadlocks and timeouts that the server reports are written down, foreseen or not.
    fn report(&mut self, txn: TxnId, errno: Option<u16>) {
        let happened = match errno {
            Some(code) if DEADLOCK.contains(&code) => Happened::Deadlock(code),
            Some(TIMEOUT) => Happened::Timeout,
            _ => return,
        };
        if self.names.any() && matches!(happened, Happened::Deadlock(_)) {
            self.shared.metrics.coordination.inc(Coordination::Deadlocked);
        }
        self.shared.admission.server_reported(self.entry.id, txn, happened);
    }

    /// Definitions that the statement changed are forgotten.
    fn definitions(&mut self, statement: &Statement) {
        let (Statement::Ddl { tables, .. }, Some(knowledge)) = (statement, &self.shared.knowledge) else {
            return;
        };
        self.tried.clear();
        if tables.is_empty() {
            knowledge.procedures.forget();
        }
        for table in tables {
            if let Some(schema) = table.schema.as_deref().or(self.state.schema()) {
                if let Some(known) = knowledge.catalog.get(schema, &table.name) {
                    self.shared.admission.scheduler().locks().forget_table(known.id);
                }
                knowledge.catalog.invalidate(schema, &table.name);
            }
        }
        if tables.is_empty()
            && let Some(schema) = self.state.schema()
        {
            knowledge.catalog.invalidate_schema(schema);
        }
    }

    fn follow(&mut self, after: After) {
        match after {
            // The servers roll a storage engine back as a whole if it joined after the savepoint.
            After::RolledBackTo(marker) if self.touched.is_some_and(|touched| touched >= marker) => {
                self.end_transaction(Ending::RolledBack);
            }
            After::RolledBackTo(marker) => self.back_to(marker),
            After::Continues | After::StatementRolledBack => {}
            After::Ended(ending) => self.end_transaction(ending),
            // Its locks stay, whatever the session does next.
            After::Prepared => {
                self.close_searches();
                if let Some(txn) = self.txn.take() {
                    self.xa_locks += self.held.len();
                    self.xa_prepared.push((txn, std::mem::take(&mut self.held)));
                }
            }
            After::PreparedEnded(ending) => self.end_prepared(ending),
        }
    }
}

/// Entry and key of `Duplicate entry '20-3' for key 't.u'`; MariaDB names no table.
fn duplicate_entry(message: &str) -> Option<(&str, &str)> {
    let (entry, key) = message.strip_prefix("Duplicate entry '")?.rsplit_once("' for key '")?;
    let key = key.strip_suffix('\'')?;
    Some((entry, key.rsplit_once('.').map_or(key, |(_, key)| key)))
}

/// `Rows matched: 1  Changed: 0  Warnings: 0`
fn matched(info: &str) -> Option<u64> {
    let rest = info.strip_prefix("Rows matched: ")?;
    rest.split(' ').next()?.parse().ok()
}

/// The first number that the server has given to the rows of an INSERT. Of rows of which some were there already it does
/// not tell which got one.
fn generated(statement: &Statement, result: &OutcomeKind) -> Option<u64> {
    let (OutcomeKind::Ok { last_insert_id: id @ 1.., affected, info, .. }, Statement::Insert(insert)) =
        (result, statement)
    else {
        return None;
    };
    let puts_all = !insert.ignore && insert.on_duplicate.is_none() && !insert.replace;
    (*affected == 1 || puts_all || all_new(info, *affected)).then_some(*id)
}

/// `Records: 3  Duplicates: 0  Warnings: 0`: so many rows were given, and all are new. A row that an upsert left as it
/// was is not counted as a duplicate, but neither as affected.
fn all_new(info: &str, affected: u64) -> bool {
    let new = info.strip_prefix("Records: ").and_then(|rest| rest.split_once("  Duplicates: 0  "));
    new.is_some_and(|(records, _)| records.parse() == Ok(affected))
}

#[cfg(test)]
mod tests {
    use super::{all_new, duplicate_entry, matched};

    #[test]
    fn the_message_tells_the_key() {
        assert_eq!(duplicate_entry("Duplicate entry '20-3' for key 't.u'"), Some(("20-3", "u")));
        assert_eq!(duplicate_entry("Duplicate entry 'it's' for key 'PRIMARY'"), Some(("it's", "PRIMARY")));
        assert_eq!(duplicate_entry("Doppelter Eintrag"), None);
    }

    #[test]
    fn the_info_text_tells_matches() {
        assert_eq!(matched("Rows matched: 12  Changed: 0  Warnings: 0"), Some(12));
        assert_eq!(matched("Records: 3  Duplicates: 0  Warnings: 0"), None);
        assert!(all_new("Records: 3  Duplicates: 0  Warnings: 0", 3));
        assert!(!all_new("Records: 3  Duplicates: 0  Warnings: 0", 2));
        assert!(!all_new("Records: 3  Duplicates: 1  Warnings: 1", 2));
    }
}
