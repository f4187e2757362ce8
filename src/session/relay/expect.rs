//! The answers that are still to come, in the order of their commands.

use std::collections::VecDeque;
use std::time::Instant;

use crate::wire::response::Kind;

/// Whose command an answer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The client's: the answer is passed on.
    Client,
    /// interlock's own, before the command at the front of the buffer: the answer is swallowed.
    Injected,
    /// interlock's own, at a time when the client waits for nothing: likewise.
    Errand,
    /// The client's, run again: the answer is compared and swallowed.
    Replay,
}

/// One answer to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub kind: Kind,
    pub origin: Origin,
    /// When the command's last byte was passed on.
    pub sent: Instant,
    /// Its first byte has come.
    pub begun: bool,
    /// The command is on the tape: its answer gets a fingerprint, and a deadlock error need not be the end.
    pub taped: bool,
}

/// The queue of answers to come.
#[derive(Debug, Default)]
pub(super) struct Expectations(VecDeque<Expected>);

impl Expectations {
    pub fn push(&mut self, kind: Kind, origin: Origin) {
        self.0.push_back(Expected { kind, origin, sent: Instant::now(), begun: false, taped: false });
    }

    /// The newest command is on the tape.
    pub fn taped(&mut self) {
        if let Some(last) = self.0.back_mut() {
            last.taped = true;
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn front(&mut self) -> Option<&mut Expected> {
        self.0.front_mut()
    }

    pub fn pop(&mut self) {
        self.0.pop_front();
    }

    /// The last command was long, and its last byte has been passed on only now.
    pub fn sent_now(&mut self) {
        if let Some(last) = self.0.back_mut() {
            last.sent = Instant::now();
        }
    }

    /// The client's packets belong to an authentication, not to commands.
    pub fn is_authenticating(&self) -> bool {
        self.0.back().is_some_and(|last| last.kind == Kind::ChangeUser)
    }

    /// No command is under way; a stream that never ends (binary log) does not count.
    pub fn is_idle(&self) -> bool {
        self.0.front().is_none_or(|first| first.kind == Kind::Raw)
    }

    /// No byte of the next answer has come, so that something else could be put in its place.
    pub fn front_is_untouched(&self) -> bool {
        self.0.front().is_none_or(|first| !first.begun)
    }
}
