//! The seam between the relay, which moves bytes, and the analysis, which understands them.
//!
//! The relay calls [`Analysis::command`] for every command before a byte of it goes to the server, and
//! [`Analysis::answer`] for every result that has passed on its way to the client. It knows nothing of SQL
//! or locks; the analysis knows nothing of sockets.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::wire::command::Command;
use crate::wire::error::ErrorPacket;
use crate::wire::outcome::OutcomeKind;

/// What becomes of a command.
#[derive(Debug)]
pub enum Verdict {
    /// Pass it on now.
    Forward,
    /// Ask again when every earlier command of this session has been answered: the decision needs the
    /// state that they leave behind.
    AfterEarlier,
    /// Keep it back. [`Analysis::poll_hold`] says when and how it goes on.
    Hold,
    /// First send this statement of interlock's own on the server connection, once every earlier command has
    /// been answered, and swallow its answer. [`Analysis::told`] then says how the command goes on.
    First(String),
    /// Do not pass it on. With `rollback`, the relay first sends `ROLLBACK` on the server connection and
    /// swallows the answer; then the client gets `error`.
    Reject {
        /// The error that the client gets.
        error: ErrorPacket,
        /// Roll the transaction back on the server first.
        rollback: bool,
    },
}

/// What is kept of a command that has just been passed on, to run its transaction again if it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// No transaction goes on that could be run again: nothing is kept any more.
    #[default]
    Nothing,
    /// This one does not belong to its transaction, which goes on.
    Pass,
    /// It is the first of a transaction.
    First {
        /// Bytes of commands and answers that are kept at most.
        most: usize,
        /// As with [`Keep::Next`].
        generates: bool,
    },
    /// It is the next.
    Next {
        /// The server generates the keys of its rows, and tells the first: run again, they are to be the same.
        generates: bool,
    },
}

/// A deadlock that a client need not see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlock {
    /// All that the transaction has run is kept.
    pub whole: bool,
    /// The server has given the error; else the command never got there.
    pub by_server: bool,
}

/// What came of running a transaction again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// Every answer was the same: the command that failed comes next.
    Same,
    /// An answer was another one.
    Differs,
    /// Not everything can be rolled back, or the server does not say that it was.
    NotUndone,
    /// It was interrupted.
    Killed,
}

/// One result of a command, as observed on its way to the client. A command with several results
/// (multi-statements, CALL) gives several, `last` with the final one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// What kind of result it was.
    pub result: OutcomeKind,
    /// `SERVER_STATUS_*` bits of the OK or EOF packet that ended it; `None` after an error.
    pub status: Option<u16>,
    /// No more results follow for this command.
    pub last: bool,
    /// How long the server took: from the command's last byte sent to the answer's first byte. Zero for
    /// the second and later results of a command.
    pub server_time: Duration,
}

/// What the login told about the session.
#[derive(Clone, Debug, Default)]
pub struct LoginFacts {
    /// User name as the client sent it.
    pub user: String,
    /// Default schema after login, if any.
    pub schema: Option<String>,
    /// `program_name` (or `_client_name`) of the connection attributes.
    pub program: Option<String>,
    /// The connection attributes, as many as are kept.
    pub attributes: BTreeMap<String, String>,
    /// The server's connection id: what `CONNECTION_ID()` and `KILL` use.
    pub server_thread: u32,
    /// Version string of the server's greeting.
    pub server_version: String,
    /// Capabilities in force on the connection (client's, limited to the server's).
    pub capabilities: u32,
    /// Status flags of the login's OK packet.
    pub status: u16,
    /// The client's address, for reports.
    pub peer: String,
}

/// The analysis of one session. One command is decided at a time; answers come in command order.
pub trait Analysis {
    /// Decides on a command. `pending` is the number of earlier commands without a complete answer.
    fn command(&mut self, command: &Command<'_>, pending: usize) -> Verdict;

    /// Called after `Verdict::Hold` whenever the task is woken, until it is ready; never ready with `Hold`.
    /// Ready with `AfterEarlier`, it asks for the same command to be put to [`command`](Self::command) again.
    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<Verdict>;

    /// All that was decided to go to the server has been written. What follows from a command, but need not be known
    /// before it is sent, is done now.
    fn sent(&mut self) {}

    /// The statement of [`Verdict::First`] was answered: `Err` with the error number if it failed. The command
    /// at hand goes on as this says; with `AfterEarlier` it is put to [`command`](Self::command) again.
    fn told(&mut self, answer: Result<(), u16>) -> Verdict;

    /// A statement of interlock's own that is to be sent right behind the command that has just been passed on
    /// and was alone; its answer is swallowed.
    fn errand_behind(&mut self) -> Option<String>;

    /// The same while the session is idle. Where time decides, the task is woken.
    fn errand_idle(&mut self, context: &mut Context<'_>) -> Option<String>;

    /// The errand was answered: `Err` with the error number if it failed.
    fn errand_done(&mut self, answer: Result<(), u16>);

    /// The `ROLLBACK` of a rejected command has been carried out: the transaction is gone.
    fn rolled_back(&mut self);

    /// A result has passed.
    fn answer(&mut self, answer: &Answer);

    /// A command has just been passed on: what is kept of it.
    fn keep(&mut self) -> Keep {
        Keep::Nothing
    }

    /// The transaction that is kept is still open.
    fn goes_on(&self) -> bool {
        false
    }

    /// A command has failed with a deadlock error that its client has not seen yet. Called before
    /// [`answer`](Self::answer) or [`rolled_back`](Self::rolled_back) tells of it. True: the transaction is run again.
    fn restart(&mut self, _deadlock: Deadlock) -> bool {
        false
    }

    /// Everything is rolled back. Ready when the transaction may be run again; false: it may not.
    fn poll_restart(&mut self, _context: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    /// How that went. Unless all was the same, the client gets its error now.
    fn replayed(&mut self, _replayed: Replayed) {}

    /// Prepared statements that the client has closed and that were kept open for a while. Asked when nothing is
    /// under way.
    fn left_open(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// No transaction is open and no session state needs the connection to stay: it may be closed for a
    /// shutdown now.
    fn may_close(&self) -> bool;
}
