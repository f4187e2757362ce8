//! The decision on the command at the front of the buffer: forward, wait, ask first, hold or reject.

use std::task::{Context, Poll};

use super::expect::Origin;
use super::link::Link;
use super::restart::Restart;
use super::tape::Tape;
use super::up::{Frame, Mode, Up};
use super::{End, Observer};
use crate::session::analysis::{Analysis, Deadlock, Keep, Verdict};
use crate::wire::command::{COM_CHANGE_USER, COM_QUIT, Command, needs_body};
use crate::wire::error::ErrorPacket;
use crate::wire::packet::{HEADER, Header};
use crate::wire::response::Kind;

/// Of a payload beyond the limit, the analysis sees so much.
const PREFIX: usize = 4096;
/// Of a command whose body is not needed, so much is waited for.
const GLANCE: usize = 16;

/// Whether the command at the front of the buffer may go on.
#[derive(Debug, Default)]
pub(super) enum Gate {
    #[default]
    Open,
    /// Until everything before it has been answered.
    Earlier,
    /// Until the analysis says so.
    Held,
    /// Until a statement of interlock's own has been answered; the text, as long as it is not sent.
    First(Option<String>),
    /// It will not.
    Rejected(Box<Rejection>),
}

#[derive(Debug)]
pub(super) struct Rejection {
    error: ErrorPacket,
    rollback: Rollback,
    /// The client waits for an answer to this command.
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rollback {
    Wanted,
    Sent,
    /// Done, or not wanted.
    Done,
}

impl Up {
    /// The command at the front of the buffer.
    pub(super) fn command<A: Analysis>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut Link,
        analysis: &mut A,
    ) -> bool {
        self.wanted = HEADER + 1;
        self.stalled = false;
        let Some(header) = Header::parse(self.buffer.undecided()) else { return false };
        if link.expected.is_authenticating() {
            // A new command counts from 0; the rounds of an authentication go on counting.
            self.stalled = header.sequence == 0;
            return !self.stalled && self.next_frame();
        }
        let payload = &self.buffer.undecided()[HEADER..];
        let code = match payload.first() {
            Some(code) => *code,
            None if header.length == 0 => 0,
            None => return false,
        };
        let needed = match header.length {
            length if !needs_body(code) => length.min(GLANCE),
            length if length <= link.limits.max_analysed => length,
            _ => PREFIX.min(link.limits.max_analysed),
        };
        self.wanted = HEADER + needed;
        if payload.len() < needed {
            return false;
        }
        // What interlock itself sends goes out before anything that comes after it is approved.
        self.stalled = link.expected.len() >= link.limits.max_pending
            || !link.to_server.is_empty()
            || must_be_alone(code, link, self.buffer.is_written());
        if self.stalled {
            return false;
        }
        let body = payload.get(1..needed).unwrap_or(&[]);
        let command = Command { code, body, length: header.length, truncated: needed < header.length };
        let verdict = match &self.gate {
            Gate::Open => analysis.command(&command, link.expected.len()),
            Gate::Earlier if link.expected.is_empty() => analysis.command(&command, 0),
            Gate::Earlier => return false,
            Gate::Held => match analysis.poll_hold(context) {
                Poll::Ready(verdict) => verdict,
                Poll::Pending => return false,
            },
            Gate::First(_) => match self.first(link, analysis) {
                Some(verdict) => verdict,
                None => return !link.to_server.is_empty(),
            },
            Gate::Rejected(_) => return self.reject(link, header, analysis),
        };
        self.obey(link, header, code, verdict, analysis);
        self.errand_behind(link, analysis);
        true
    }

    fn obey<A: Analysis>(
        &mut self,
        link: &mut Link,
        header: Header,
        code: u8,
        verdict: Verdict,
        analysis: &mut A,
    ) {
        match verdict {
            Verdict::Forward => self.forward(link, header, code, analysis),
            // ## Open => Earlier; Held => Earlier: what was waited for is known, the decision is made anew
            Verdict::AfterEarlier
                if link.expected.is_empty() && matches!(self.gate, Gate::Open | Gate::Earlier) =>
            {
                self.forward(link, header, code, analysis);
            }
            Verdict::AfterEarlier => self.gate = Gate::Earlier,
            // ## Open, Earlier => Held
            Verdict::Hold if !matches!(self.gate, Gate::Held) => self.gate = Gate::Held,
            // A hold that ends in a hold: against the contract, and it must not go on for ever.
            Verdict::Hold => self.forward(link, header, code, analysis),
            // ## any => First
            Verdict::First(text) => self.gate = Gate::First(Some(text)),
            // ## any => Rejected
            Verdict::Reject { error, rollback } => {
                let rollback = if rollback { Rollback::Wanted } else { Rollback::Done };
                let answered = Kind::of(code) != Kind::Nothing;
                self.gate = Gate::Rejected(Box::new(Rejection { error, rollback, answered }));
            }
        }
    }

    /// Sends what comes first, or gives the verdict once that was answered.
    pub(super) fn first<A: Analysis>(&mut self, link: &mut Link, analysis: &mut A) -> Option<Verdict> {
        let Gate::First(text) = &mut self.gate else { return None };
        if !link.expected.is_empty() || !self.buffer.is_written() {
            return None;
        }
        match text.take() {
            Some(text) => {
                link.inject(&text, Origin::Injected);
                None
            }
            // Nothing is expected any more, so it was answered.
            None => Some(analysis.told(link.injected.take().unwrap_or(Ok(0)).map(|_| ()))),
        }
    }

    /// A statement of interlock's own right behind a command: only where nothing else is under way.
    fn errand_behind<A: Analysis>(&self, link: &mut Link, analysis: &mut A) {
        let alone = link.expected.len() == 1 && self.frame.left == self.buffer.undecided().len();
        if !matches!(self.gate, Gate::Open) || !alone || self.frame.continues || link.quit {
            return;
        }
        if let Some(text) = analysis.errand_behind() {
            link.inject(&text, Origin::Errand);
        }
    }

    /// ## any => Open: the command goes on
    fn forward<A: Analysis>(&mut self, link: &mut Link, header: Header, code: u8, analysis: &mut A) {
        self.gate = Gate::Open;
        let keep = analysis.keep();
        let total = HEADER + header.length;
        self.wanted = HEADER;
        if code == COM_CHANGE_USER && link.limits.bridge_change_user {
            let count = total.min(self.buffer.undecided().len());
            link.change_user = Some(self.buffer.undecided()[..count].to_vec());
            self.buffer.discard(count);
            return;
        }
        let kind = Kind::of(code);
        link.expected.push(kind, Origin::Client);
        if keep != Keep::Nothing || link.tape.is_some() {
            self.tape(link, keep, total);
        }
        link.quit |= code == COM_QUIT;
        if kind == Kind::Raw {
            self.mode = Mode::Raw;
        }
        let streamed = total > self.buffer.undecided().len() || header.continues();
        self.frame =
            Frame { left: total, continues: header.continues(), sequence: header.sequence, streamed };
    }

    /// Keeps the command at the front of the buffer, which is `total` bytes long.
    fn tape(&self, link: &mut Link, keep: Keep, total: usize) {
        let generates = match keep {
            Keep::Nothing => {
                link.tape = None;
                return;
            }
            Keep::Pass => return,
            Keep::First { most, generates } => {
                link.tape = Some(Tape::new(most));
                generates
            }
            Keep::Next { generates } => generates,
        };
        match (&mut link.tape, self.buffer.undecided().get(HEADER..total)) {
            (Some(tape), Some(payload)) => {
                tape.sent(payload, generates);
                link.expected.taped();
            }
            // It is longer than what is looked at.
            (tape, _) => *tape = None,
        }
    }

    /// Rejects the command at the front of the buffer, once everything before it has been answered.
    fn reject<A: Analysis>(&mut self, link: &mut Link, header: Header, analysis: &mut A) -> bool {
        let Gate::Rejected(rejection) = &mut self.gate else { return false };
        if !link.expected.is_empty() || !self.buffer.is_written() {
            return false;
        }
        match rejection.rollback {
            Rollback::Wanted => {
                rejection.rollback = Rollback::Sent;
                link.inject("ROLLBACK", Origin::Injected);
            }
            Rollback::Sent if matches!(link.injected, Some(Ok(_))) => {
                rejection.rollback = Rollback::Done;
                let whole = link.tape.as_ref().is_some_and(Tape::is_whole);
                let again = analysis.restart(Deadlock { whole, by_server: false });
                analysis.rolled_back();
                // ## Rejected => Open, with a restart before it: the command is decided anew
                if let (Some(tape), true) = (link.tape.take(), again)
                    && let Gate::Rejected(rejection) = std::mem::take(&mut self.gate)
                {
                    link.restart = Some(Box::new(Restart::of_refused(tape, rejection)));
                }
            }
            Rollback::Sent => link.end = Some(End::RollbackFailed),
            Rollback::Done => {
                self.mode = Mode::Discard;
                self.frame = Frame {
                    left: HEADER + header.length,
                    continues: header.continues(),
                    sequence: header.sequence,
                    streamed: false,
                };
            }
        }
        true
    }

    /// ## Rejected => Open: the rejected command has been dropped, its client gets the error
    pub(super) fn finish_rejection<O: Observer>(&mut self, link: &mut Link, observer: &O) -> bool {
        self.mode = Mode::Command;
        if let Gate::Rejected(rejection) = std::mem::take(&mut self.gate)
            && rejection.answered
        {
            let sequence = self.frame.sequence.wrapping_add(1);
            link.to_client.extend_from_slice(&rejection.error.encode(sequence, link.protocol_41()));
            observer.error(rejection.error.code);
        }
        true
    }
}

/// A COM_CHANGE_USER that the caller carries out waits for all answers, and everything else waits for it.
fn must_be_alone(code: u8, link: &Link, written: bool) -> bool {
    let bridged = code == COM_CHANGE_USER && link.limits.bridge_change_user;
    link.change_user.is_some() || (bridged && !(link.expected.is_empty() && written))
}
