//! Server to client: answers are observed while they pass.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::expect::Origin;
use super::link::Link;
use super::restart::Restart;
use super::tape::Tape;
use super::{Negotiated, Observer, RelayError};
use crate::session::analysis::{Analysis, Answer, Deadlock};
use crate::session::buffer::Buffer;
use crate::wire::error::LOCK_DEADLOCK;
use crate::wire::fingerprint::Fingerprint;
use crate::wire::outcome::{Outcome, OutcomeKind};
use crate::wire::packet::{HEADER, Header};
use crate::wire::response::{Event, Format, Kind, Response};

/// A longer error packet is not looked at.
const MAX_ERROR: usize = 4096;

/// The direction's state.
#[derive(Debug)]
pub(super) struct Down {
    buffer: Buffer,
    response: Response,
    /// `response` has begun on the first expected answer.
    begun: bool,
    /// When the last answer began: a pipelined command is not started before.
    last_answer: Option<Instant>,
    /// How long the server took for the current answer; given out once.
    server_time: Duration,
    /// Of the current answer, if somebody wants it.
    print: Option<Fingerprint>,
    /// The beginning of an answer is there, but too little of it to let it pass.
    short: bool,
    /// Something was written since the last flush.
    dirty: bool,
}

impl Down {
    pub fn new(session: Negotiated) -> Down {
        let format = Format::new(session.capabilities, session.mariadb_capabilities);
        Down {
            buffer: Buffer::default(),
            response: Response::new(format),
            begun: false,
            last_answer: None,
            server_time: Duration::ZERO,
            print: None,
            short: false,
            dirty: false,
        }
    }

    /// Everything that came has been passed on.
    pub fn is_drained(&self, link: &Link) -> bool {
        self.buffer.is_empty() && link.to_client.is_empty() && !self.dirty
    }

    /// Something that the other direction has left is to be done here, without a byte from the server.
    pub fn has_work(&self, link: &mut Link) -> bool {
        !link.to_client.is_empty() || link.expected.front().is_some_and(|first| first.kind == Kind::Nothing)
    }

    pub fn park(&mut self) {
        self.buffer.park();
    }

    /// Moves what can be moved.
    pub fn pass<C, S, A, O>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        server: &mut S,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
    ) -> Result<(), RelayError>
    where
        C: AsyncWrite + Unpin,
        S: AsyncRead + Unpin,
        A: Analysis,
        O: Observer,
    {
        while link.end.is_none() {
            self.observe(link, analysis, observer);
            match self.poll_write(context, client, link, observer) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => link.client_failed(error)?,
                Poll::Pending => break,
            }
            // What is left in the buffer waits for something else than bytes.
            if link.server_eof || !(self.buffer.is_empty() || self.short) {
                break;
            }
            match self.buffer.poll_fill(context, server, 0) {
                Poll::Ready(Ok(Some(0))) => link.server_eof = true,
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Err(error)) => link.server_failed(error)?,
                Poll::Ready(Ok(None)) | Poll::Pending => break,
            }
        }
        if self.dirty && link.end.is_none() {
            match Pin::new(client).poll_flush(context) {
                Poll::Ready(Ok(())) => self.dirty = false,
                Poll::Ready(Err(error)) => link.client_failed(error)?,
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn poll_write<C: AsyncWrite + Unpin, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        link: &mut Link,
        observer: &O,
    ) -> Poll<std::io::Result<usize>> {
        let count = std::task::ready!(self.buffer.poll_drain_then(context, client, &mut link.to_client))?;
        if count > 0 {
            observer.to_client(count);
            self.dirty = true;
        }
        Poll::Ready(Ok(count))
    }

    /// Looks at what came, as far as it can be decided.
    fn observe<A: Analysis, O: Observer>(&mut self, link: &mut Link, analysis: &mut A, observer: &O) {
        self.skip_unanswered(link, analysis);
        self.short = false;
        // interlock's own packets go out before what comes after them is approved.
        while link.to_client.is_empty() && !link.local_file && !self.buffer.undecided().is_empty() {
            let Some(expected) =
                link.expected.front().filter(|_| self.begun || self.response.between_packets())
            else {
                // Unasked: an error before the server closes, for example.
                let (count, event) = self.response.feed(self.buffer.undecided());
                if let Some(Event::Result(Outcome { kind: OutcomeKind::Error { code, .. }, .. })) = event {
                    observer.error(code);
                }
                self.buffer.approve(count);
                continue;
            };
            if expected.origin != Origin::Client && !self.buffer.is_written() {
                break;
            }
            if !expected.begun {
                expected.begun = true;
                let now = Instant::now();
                let started = self.last_answer.map_or(expected.sent, |last| last.max(expected.sent));
                self.server_time = now.saturating_duration_since(started);
                self.last_answer = Some(now);
            }
            let (kind, origin, taped) = (expected.kind, expected.origin, expected.taped);
            if kind == Kind::Raw {
                self.buffer.approve(usize::MAX);
                return;
            }
            if !self.begun {
                if taped && origin == Origin::Client && !link.server_eof {
                    match Beginning::of(self.buffer.undecided()) {
                        Beginning::Short => {
                            self.short = true;
                            break;
                        }
                        Beginning::Deadlock(_) if !self.buffer.is_written() => break,
                        Beginning::Deadlock(length) if self.deadlocked(link, analysis, kind, length) => break,
                        _ => {}
                    }
                }
                self.response.begin(kind);
                self.begun = true;
                self.print = taped.then(Fingerprint::default);
            }
            let (count, event) = self.response.feed(self.buffer.undecided());
            if let Some(print) = &mut self.print {
                print.add(&self.buffer.undecided()[..count]);
            }
            if origin == Origin::Injected
                && let Some(restart) = &mut link.restart
            {
                restart.reads(&self.buffer.undecided()[..count]);
            }
            match origin {
                Origin::Client => self.buffer.approve(count),
                Origin::Injected | Origin::Errand | Origin::Replay => self.buffer.discard(count),
            }
            match event {
                None => {}
                Some(Event::LocalInfile) => link.local_file = true,
                Some(Event::Result(outcome)) => self.result(link, analysis, observer, origin, outcome),
            }
        }
    }

    fn result<A: Analysis, O: Observer>(
        &mut self,
        link: &mut Link,
        analysis: &mut A,
        observer: &O,
        origin: Origin,
        outcome: Outcome,
    ) {
        let last = outcome.last;
        let print = if last { self.print.take() } else { None };
        match origin {
            Origin::Injected => link.injected = Some(own_answer(&outcome)),
            Origin::Errand => analysis.errand_done(own_answer(&outcome).map(|_| ())),
            Origin::Client => {
                if let OutcomeKind::Error { code, .. } = outcome.kind {
                    observer.error(code);
                }
                let answer = answer(outcome, std::mem::take(&mut self.server_time));
                analysis.answer(&answer);
                if let (Some(print), Some(tape)) = (print, &mut link.tape) {
                    tape.answered(print, &answer.result);
                }
                if last && link.tape.is_some() && !analysis.goes_on() {
                    link.tape = None;
                }
            }
            Origin::Replay => {
                let kind = outcome.kind.clone();
                let answer = answer(outcome, std::mem::take(&mut self.server_time));
                match (&mut link.restart, print) {
                    (Some(restart), Some(print)) => {
                        restart.answered(analysis, print, &kind, |analysis| analysis.answer(&answer));
                    }
                    _ => analysis.answer(&answer),
                }
            }
        }
        if last {
            link.expected.pop();
            self.begun = false;
            self.skip_unanswered(link, analysis);
        }
    }

    /// The answer to a command on the tape is a deadlock error of this length. True: its client does not get it,
    /// the transaction is run again.
    fn deadlocked<A: Analysis>(
        &mut self,
        link: &mut Link,
        analysis: &mut A,
        kind: Kind,
        length: usize,
    ) -> bool {
        let alone = link.expected.len() == 1 && !link.client_eof && !link.server_shut;
        let whole = link.tape.as_ref().is_some_and(Tape::is_whole);
        if !alone || !analysis.restart(Deadlock { whole, by_server: true }) {
            return false;
        }
        self.response.begin(kind);
        let (count, event) = self.response.feed(&self.buffer.undecided()[..length]);
        self.buffer.discard(count);
        if let Some(Event::Result(outcome)) = event {
            analysis.answer(&answer(outcome, std::mem::take(&mut self.server_time)));
        }
        link.expected.pop();
        link.restart = link.tape.take().map(|tape| Box::new(Restart::of_failed(tape)));
        true
    }

    /// Commands without an answer are complete when it is their turn.
    fn skip_unanswered<A: Analysis>(&mut self, link: &mut Link, analysis: &mut A) {
        while link.expected.front().is_some_and(|expected| expected.kind == Kind::Nothing) {
            link.expected.pop();
            analysis.answer(&Answer { last: true, ..Answer::default() });
        }
    }
}

/// What the first packet of an answer is.
enum Beginning {
    /// Too little of it is there to tell.
    Short,
    /// A deadlock error, with its header so many bytes long.
    Deadlock(usize),
    Other,
}

impl Beginning {
    fn of(bytes: &[u8]) -> Beginning {
        let Some((header, first)) = Header::parse(bytes).zip(bytes.get(HEADER)) else {
            return if bytes.len() <= HEADER { Beginning::Short } else { Beginning::Other };
        };
        let length = HEADER + header.length;
        if *first != 0xFF || length > MAX_ERROR {
            return Beginning::Other;
        }
        match bytes.get(HEADER + 1..length) {
            None => Beginning::Short,
            Some(rest) if rest.starts_with(&LOCK_DEADLOCK.to_le_bytes()) => Beginning::Deadlock(length),
            Some(_) => Beginning::Other,
        }
    }
}

/// How a statement of interlock's own ended: the number of its rows, or of its error. It has one result.
fn own_answer(outcome: &Outcome) -> Result<u64, u16> {
    match outcome.kind {
        OutcomeKind::Error { code, .. } => Err(code),
        OutcomeKind::Rows { rows, .. } => Ok(rows),
        _ => Ok(0),
    }
}

fn answer(outcome: Outcome, server_time: Duration) -> Answer {
    let Outcome { kind: result, status, last } = outcome;
    Answer { result, status, last, server_time }
}
