//! Running a transaction again that a deadlock has ended, from its tape.
//!
//! ```text
//! 1213 from the server ─▶ Check ─▶ Rollback ─▶ Wait ─▶ Next ⟲ Sent ─▶ the command that failed, as its client's
//! refused at the gate  ─▶ Check ─────────────▶ Wait ─▶ Next ⟲ Sent ─▶ the gate opens, it is decided anew
//! ```
//!
//! Each command is put to the analysis as when its client sent it, so it can be held. An answer that is another one
//! than the client has seen ends it: everything is rolled back, and the client gets the deadlock error. Keys that
//! the server has generated are set beforehand (`INSERT_ID`, as replication does): they are used up, so nobody else
//! can have got them.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::expect::Origin;
use super::gate::{Gate, Rejection};
use super::link::Link;
use super::tape::{Kept, Tape};
use super::up::Up;
use super::{End, Observer};
use crate::session::analysis::{Analysis, Deadlock, Replayed, Verdict};
use crate::wire::command::Command;
use crate::wire::error::{ErrorPacket, LOCK_DEADLOCK};
use crate::wire::fingerprint::Fingerprint;
use crate::wire::outcome::OutcomeKind;
use crate::wire::packet::write_packet;
use crate::wire::response::Kind;

/// Among much else, what could not be rolled back.
const CHECK: &str = "SHOW WARNINGS";

/// ER_WARNING_NOT_COMPLETE_ROLLBACK as a column of a row: its length, then the digits.
const NOT_UNDONE: u64 = 0x04_31_31_39_36;

/// Finds a row if a key is still set for the next INSERT.
const KEY_LEFT: &str = "SELECT 1 FROM DUAL WHERE @@insert_id <> 0";

/// A transaction that is being run again.
#[derive(Debug)]
pub(super) struct Restart {
    tape: Tape,
    /// The next command of the tape.
    at: usize,
    /// The command that failed, if it never got to the server and waits at the front of the buffer.
    refused: Option<Box<Rejection>>,
    stage: Stage,
    /// The last error was the server's: what it has left open is still to be rolled back.
    by_server: bool,
    /// The analysis knows that every answer was the same.
    told: bool,
    /// A key was set that the server may not have taken.
    key_left: bool,
    /// The last bytes of the answer to interlock's own question.
    window: u64,
    /// The server has warned of what it could not roll back.
    not_undone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The server is asked whether everything was undone.
    Check {
        /// The question is on its way.
        sent: bool,
    },
    /// Everything is rolled back, whatever the error has left.
    Rollback {
        /// It is on its way.
        sent: bool,
        /// The analysis takes the transaction for open.
        open: bool,
        /// Not to be run again.
        last: bool,
    },
    /// The server is asked whether a key is left.
    Key {
        /// Not to be run again.
        last: bool,
    },
    /// The analysis says when it goes on.
    Wait,
    /// The next command is decided on.
    Next,
    /// A command is under way.
    Sent,
    /// The client gets its error.
    GiveUp,
}

// === impl Restart ===

impl Restart {
    /// The last command of the tape was answered with a deadlock error.
    pub fn of_failed(tape: Tape) -> Restart {
        Restart::new(tape, None)
    }

    /// A command was refused, and the transaction has been rolled back.
    pub fn of_refused(tape: Tape, refused: Box<Rejection>) -> Restart {
        Restart::new(tape, Some(refused))
    }

    fn new(tape: Tape, refused: Option<Box<Rejection>>) -> Restart {
        Restart {
            tape,
            at: 0,
            by_server: refused.is_none(),
            refused,
            stage: Stage::Check { sent: false },
            told: false,
            key_left: false,
            window: 0,
            not_undone: false,
        }
    }

    /// A part of the answer to a statement of interlock's own.
    pub fn reads(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.window = (self.window << 8 | u64::from(*byte)) & 0xFF_FFFF_FFFF;
            self.not_undone |= self.window == NOT_UNDONE;
        }
    }

    /// A command of the tape was answered. `tell` is given the answer.
    pub fn answered<A: Analysis>(
        &mut self,
        analysis: &mut A,
        print: Fingerprint,
        outcome: &OutcomeKind,
        tell: impl FnOnce(&mut A),
    ) {
        let seen = self.at.checked_sub(1).and_then(|at| self.tape.get(at)).and_then(|kept| kept.answer);
        if seen == Some(print.value()) {
            tell(analysis);
            // Its key was generated, so it was the one that was set.
            self.key_left = false;
            self.stage = Stage::Next;
        } else if matches!(outcome, OutcomeKind::Error { code: LOCK_DEADLOCK, .. }) {
            let again = analysis.restart(Deadlock { whole: true, by_server: true });
            tell(analysis);
            self.by_server = true;
            self.at = 0;
            self.stage = match again {
                true => Stage::Check { sent: false },
                false => Stage::Rollback { sent: false, open: false, last: true },
            };
        } else {
            tell(analysis);
            analysis.replayed(Replayed::Differs);
            self.stage = Stage::Rollback { sent: false, open: true, last: true };
        }
    }

    /// The command that comes next, and whether it is the one that failed.
    fn next(&self) -> Option<(Arc<[u8]>, bool)> {
        let Kept { payload, .. } = self.tape.get(self.at)?;
        Some((payload.clone(), self.refused.is_none() && self.at + 1 == self.tape.len()))
    }

    /// The key that the next command was given.
    fn key(&self) -> Option<u64> {
        self.tape.get(self.at).and_then(|kept| kept.key)
    }
}

impl Up {
    /// Takes a restart as far as it gets; true if anything was done.
    pub(super) fn run_again<A: Analysis, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
    ) -> bool {
        if !link.expected.is_empty() || !link.to_server.is_empty() || !self.buffer.is_written() {
            return false;
        }
        let Some(restart) = &mut link.restart else { return false };
        match restart.stage {
            Stage::Check { sent: false } => {
                restart.stage = Stage::Check { sent: true };
                (restart.window, restart.not_undone) = (0, false);
                link.inject(CHECK, Origin::Injected);
            }
            // ## Check => Rollback, Wait, or the end
            Stage::Check { sent: true } => {
                // The deadlock itself is there, unless the session keeps no warnings.
                let least = u64::from(restart.by_server);
                let told = matches!(link.injected.take(), Some(Ok(rows)) if rows >= least);
                let last = !told || restart.not_undone;
                if last {
                    analysis.replayed(Replayed::NotUndone);
                }
                restart.stage = match restart.by_server {
                    true => Stage::Rollback { sent: false, open: false, last },
                    false if last => Stage::GiveUp,
                    false => Stage::Wait,
                };
            }
            Stage::Rollback { sent: false, open, last } => {
                restart.stage = Stage::Rollback { sent: true, open, last };
                link.inject("ROLLBACK", Origin::Injected);
            }
            // ## Rollback => Wait, or the end
            Stage::Rollback { sent: true, open, last } => {
                if !matches!(link.injected.take(), Some(Ok(_))) {
                    link.end = Some(End::RollbackFailed);
                    return true;
                }
                if open {
                    analysis.rolled_back();
                }
                restart.stage = match (restart.key_left, last) {
                    (true, _) => Stage::Key { last },
                    (false, true) => Stage::GiveUp,
                    (false, false) => Stage::Wait,
                };
                if restart.key_left {
                    link.inject(KEY_LEFT, Origin::Injected);
                }
            }
            // ## Key => Wait, or the end: the next INSERT of the client's must not get that key
            Stage::Key { last } => {
                restart.key_left = false;
                restart.stage = if last { Stage::GiveUp } else { Stage::Wait };
                if link.injected.take() != Some(Ok(0)) {
                    link.end = Some(End::RollbackFailed);
                }
            }
            // ## Wait => Next
            Stage::Wait => match analysis.poll_restart(context) {
                Poll::Pending => return false,
                Poll::Ready(true) => restart.stage = Stage::Next,
                Poll::Ready(false) => restart.stage = Stage::GiveUp,
            },
            Stage::Next => return self.run_next(context, link, analysis),
            // Its answer moves it on; without one the server has gone.
            Stage::Sent => return false,
            Stage::GiveUp => self.give_up(link, observer),
        }
        true
    }

    /// Decides on the next command of the tape, as if its client had sent it.
    fn run_next<A: Analysis>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut Link,
        analysis: &mut A,
    ) -> bool {
        let Some(restart) = &mut link.restart else { return false };
        let next = restart.next();
        let failed = next.as_ref().is_none_or(|(_, last)| *last);
        if failed && !std::mem::replace(&mut restart.told, true) {
            analysis.replayed(Replayed::Same);
        }
        let Some((payload, last)) = next else {
            // ## Next => gone: the command at the front of the buffer is decided anew
            link.tape = link.restart.take().map(|restart| restart.tape);
            return true;
        };
        let Some((code, body)) = payload.split_first() else { return false };
        let command = Command { code: *code, body, length: payload.len(), truncated: false };
        let verdict = match &self.gate {
            Gate::Held => match analysis.poll_hold(context) {
                Poll::Ready(verdict) => verdict,
                Poll::Pending => return false,
            },
            Gate::First(_) => match self.first(link, analysis) {
                Some(verdict) => verdict,
                None => return !link.to_server.is_empty(),
            },
            _ => analysis.command(&command, 0),
        };
        match verdict {
            Verdict::AfterEarlier if !matches!(self.gate, Gate::Open | Gate::Earlier) => {
                self.gate = Gate::Earlier;
            }
            Verdict::Hold if !matches!(self.gate, Gate::Held) => self.gate = Gate::Held,
            Verdict::First(text) => self.gate = Gate::First(Some(text)),
            // ## Next => Rollback: refused again, or killed while it was held
            Verdict::Reject { rollback, .. } => {
                self.gate = Gate::Open;
                let again = rollback && analysis.restart(Deadlock { whole: true, by_server: true });
                if !rollback {
                    analysis.replayed(Replayed::Killed);
                }
                if let Some(restart) = &mut link.restart {
                    (restart.at, restart.told) = (0, false);
                    restart.stage = Stage::Rollback { sent: false, open: true, last: !again };
                }
            }
            Verdict::Forward | Verdict::AfterEarlier | Verdict::Hold => {
                self.gate = Gate::Open;
                if let Some(restart) = &mut link.restart
                    && let Some(key) = restart.key()
                {
                    restart.key_left = true;
                    link.inject(&format!("SET INSERT_ID = {key}"), Origin::Injected);
                }
                write_packet(&mut link.to_server, 0, &payload);
                // ## Next => gone: the answer to the command that failed is its client's
                let origin = if last { Origin::Client } else { Origin::Replay };
                link.expected.push(Kind::of(*code), origin);
                link.expected.taped();
                if last {
                    link.tape = link.restart.take().map(|restart| restart.tape);
                } else if let Some(restart) = &mut link.restart {
                    restart.at += 1;
                    restart.stage = Stage::Sent;
                }
            }
        }
        true
    }

    /// ## GiveUp => gone: the client gets the deadlock error
    fn give_up<O: Observer>(&mut self, link: &mut Link, observer: &O) {
        self.gate = Gate::Open;
        match link.restart.take().and_then(|restart| restart.refused) {
            Some(refused) => self.gate = Gate::Rejected(refused),
            None => {
                let error = ErrorPacket::deadlock();
                link.to_client.extend_from_slice(&error.encode(1, link.protocol_41()));
                observer.error(error.code);
            }
        }
    }
}
