//! What the relay tells a session's analysis, and asks it: each goes to the module that it is about.

use std::task::{Context, Poll};

use super::{Analyzer, Held, Pending, Waiting};
use crate::metrics::labels::{FailOpen, TimeSpent};
use crate::session::analysis::{Analysis, Answer, Deadlock, Keep, Replayed, Verdict};
use crate::sql::statement::Statement;
use crate::txn::effect::{Ending, Outcome, STATUS_AUTOCOMMIT};
use crate::wire::command::{self, Command};
use crate::wire::error::ErrorPacket;

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

    fn sent(&mut self) {
        self.leave();
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
