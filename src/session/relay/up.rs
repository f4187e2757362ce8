//! Client to server: commands are framed, and decided before a byte of them goes on.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::gate::Gate;
use super::link::Link;
use super::{End, Observer, RelayError};
use crate::session::analysis::Analysis;
use crate::session::buffer::{Buffer, POOLED};
use crate::wire::packet::{HEADER, Header};

/// While a command waits, the client is read so far ahead, to notice that it goes away.
const READ_AHEAD: usize = 16 * 1024;

/// What the client's packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Mode {
    /// Commands.
    #[default]
    Command,
    /// The content of a local file; an empty packet ends it.
    File,
    /// The rest of a command that was rejected.
    Discard,
    /// Anything.
    Raw,
}

/// The packet that is passing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// Bytes of it still to pass, header included.
    pub left: usize,
    /// Another packet continues it.
    pub continues: bool,
    /// Its sequence id.
    pub sequence: u8,
    /// Not all of it was there when its command was forwarded.
    pub streamed: bool,
}

/// The direction's state.
#[derive(Debug, Default)]
pub(super) struct Up {
    pub(super) buffer: Buffer,
    pub(super) mode: Mode,
    pub(super) gate: Gate,
    pub(super) frame: Frame,
    /// Bytes, header included, that must be in the buffer to go on.
    pub(super) wanted: usize,
    /// The command at the front is there, but waits for earlier ones.
    pub(super) stalled: bool,
    dirty: bool,
}

impl Up {
    /// Between two commands, with nothing of the next.
    pub fn is_idle(&self) -> bool {
        self.mode == Mode::Raw
            || (self.buffer.is_empty() && self.frame.left == 0 && self.mode == Mode::Command)
    }

    /// Between two commands, with nothing of the next, and the next will be one.
    pub fn is_between_commands(&self) -> bool {
        self.mode == Mode::Command && matches!(self.gate, Gate::Open) && self.is_idle()
    }

    /// Everything decided has been written.
    pub fn is_written(&self, link: &Link) -> bool {
        link.server_shut || (self.buffer.is_written() && link.to_server.is_empty() && !self.dirty)
    }

    /// Nothing more can be passed on unless the client sends more.
    pub fn is_stuck(&self, link: &Link) -> bool {
        self.is_written(link)
            && !self.stalled
            && (matches!(self.gate, Gate::Open) || link.expected.is_empty())
    }

    pub fn park(&mut self) {
        self.buffer.park();
    }

    /// The client's next packets are the content of a file. Whatever it has pipelined is taken for the
    /// file by the server; then what the packets are is no longer known, and they are not looked at.
    pub fn begin_local_file(&mut self, link: &mut Link) {
        let pipelined = link.expected.len() > 1 || self.frame.left > 0 || !matches!(self.gate, Gate::Open);
        self.gate = Gate::Open;
        self.mode = if pipelined { Mode::Raw } else { Mode::File };
    }

    /// Moves what can be moved; true if anything was.
    pub fn pass<C, S, A, O>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        server: &mut S,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
    ) -> Result<bool, RelayError>
    where
        C: AsyncRead + Unpin,
        S: AsyncWrite + Unpin,
        A: Analysis,
        O: Observer,
    {
        let mut moved = false;
        while link.end.is_none() {
            let mut again = self.decide(context, link, analysis, observer);
            match self.poll_write(context, server, link, observer) {
                Poll::Ready(Ok(count)) => again |= count > 0,
                Poll::Pending => {}
                // What the server has to say about it may still be on its way: go on reading.
                Poll::Ready(Err(_)) => {
                    link.server_shut = true;
                    self.buffer.clear();
                }
            }
            if !again && !link.client_eof {
                match self.buffer.poll_fill(context, client, self.room(link)) {
                    Poll::Ready(Ok(Some(0))) => {
                        self.client_left(link);
                        again = true;
                    }
                    Poll::Ready(Ok(Some(_))) => again = true,
                    Poll::Ready(Err(error)) => link.client_failed(error)?,
                    Poll::Ready(Ok(None)) | Poll::Pending => {}
                }
            }
            if !again {
                break;
            }
            moved = true;
        }
        if self.dirty && link.end.is_none() {
            match Pin::new(server).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.dirty = false;
                    if self.is_written(link) {
                        analysis.sent();
                    }
                }
                Poll::Ready(Err(_)) => link.server_shut = true,
                Poll::Pending => {}
            }
        }
        Ok(moved)
    }

    /// How many bytes the buffer must be able to hold.
    fn room(&self, link: &Link) -> usize {
        match self.gate {
            Gate::Open if link.restart.is_none() => self.wanted,
            _ => (self.wanted + READ_AHEAD).max(POOLED),
        }
    }

    /// The client has closed at least its writing half. What it sent before is still carried out, as the
    /// server would; only a held statement is given up.
    fn client_left(&mut self, link: &mut Link) {
        link.client_eof = true;
        if link.restart.is_some() || matches!(self.gate, Gate::First(None)) {
            // Only interlock's own statements are under way, and they may wait for a while.
            link.end = Some(End::ClientClosed);
        }
        if link.end.is_none() && matches!(self.gate, Gate::Held | Gate::First(Some(_))) {
            self.gate = Gate::Open;
            let rest = self.buffer.undecided().len();
            self.mode = Mode::Discard;
            self.frame = Frame { left: rest.max(1), continues: true, sequence: 0, streamed: false };
        }
    }

    fn poll_write<S: AsyncWrite + Unpin, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        server: &mut S,
        link: &mut Link,
        observer: &O,
    ) -> Poll<std::io::Result<usize>> {
        let count = std::task::ready!(self.buffer.poll_drain_then(context, server, &mut link.to_server))?;
        if count > 0 {
            observer.to_server(count);
            self.dirty = true;
        }
        Poll::Ready(Ok(count))
    }

    /// Decides on as much of the buffer as can be decided; true if anything was.
    fn decide<A: Analysis, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
    ) -> bool {
        let mut moved = false;
        while link.end.is_none() && !link.server_eof && self.step(context, link, analysis, observer) {
            moved = true;
        }
        moved
    }

    fn step<A: Analysis, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
    ) -> bool {
        if self.mode == Mode::Raw {
            let some = !self.buffer.undecided().is_empty();
            self.buffer.approve(usize::MAX);
            return some;
        }
        if self.frame.left > 0 {
            return self.pass_frame(link);
        }
        if self.frame.continues {
            return self.next_frame();
        }
        match self.mode {
            Mode::Command if link.restart.is_some() => self.run_again(context, link, analysis, observer),
            Mode::Discard => self.finish_rejection(link, observer),
            Mode::File => self.file_packet(),
            Mode::Command | Mode::Raw => self.command(context, link, analysis),
        }
    }

    /// Passes on (or drops) bytes of the current packet.
    fn pass_frame(&mut self, link: &mut Link) -> bool {
        let count = self.frame.left.min(self.buffer.undecided().len());
        if count == 0 || (self.mode == Mode::Discard && !self.buffer.is_written()) {
            return false;
        }
        match self.mode {
            Mode::Discard => self.buffer.discard(count),
            _ => self.buffer.approve(count),
        }
        self.frame.left -= count;
        if self.frame.left == 0 && !self.frame.continues && self.frame.streamed {
            link.expected.sent_now();
            self.frame.streamed = false;
        }
        true
    }

    /// The packet that continues the last one.
    pub(super) fn next_frame(&mut self) -> bool {
        self.wanted = HEADER;
        let Some(header) = Header::parse(self.buffer.undecided()) else { return false };
        let streamed = self.frame.streamed;
        self.frame = Frame {
            left: HEADER + header.length,
            continues: header.continues(),
            sequence: header.sequence,
            streamed,
        };
        true
    }

    /// A packet of a local file.
    fn file_packet(&mut self) -> bool {
        self.wanted = HEADER;
        let Some(header) = Header::parse(self.buffer.undecided()) else { return false };
        if header.length == 0 {
            self.mode = Mode::Command;
        }
        self.next_frame()
    }
}
