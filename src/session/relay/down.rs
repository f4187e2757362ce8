//! Server to client: answers are observed while they pass.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::expect::Origin;
use super::link::Link;
use super::{Negotiated, Observer, RelayError};
use crate::session::analysis::{Analysis, Answer, ResultKind};
use crate::session::buffer::Buffer;
use crate::wire::outcome::{Outcome, OutcomeKind};
use crate::wire::response::{Event, Format, Kind, Response};

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
            if link.server_eof || !self.buffer.is_empty() {
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
        let count = if !self.buffer.is_written() {
            std::task::ready!(self.buffer.poll_drain(context, client))?
        } else if !link.to_client.is_empty() {
            let count = std::task::ready!(Pin::new(client).poll_write(context, &link.to_client))?;
            link.to_client.drain(..count);
            if link.to_client.is_empty() {
                link.to_client = Vec::new();
            }
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            count
        } else {
            0
        };
        if count > 0 {
            observer.to_client(count);
            self.dirty = true;
        }
        Poll::Ready(Ok(count))
    }

    /// Looks at what came, as far as it can be decided.
    fn observe<A: Analysis, O: Observer>(&mut self, link: &mut Link, analysis: &mut A, observer: &O) {
        self.skip_unanswered(link, analysis);
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
            let (kind, origin) = (expected.kind, expected.origin);
            if kind == Kind::Raw {
                self.buffer.approve(usize::MAX);
                return;
            }
            if !self.begun {
                self.response.begin(kind);
                self.begun = true;
            }
            let (count, event) = self.response.feed(self.buffer.undecided());
            match origin {
                Origin::Client => self.buffer.approve(count),
                Origin::Injected | Origin::Errand => self.buffer.discard(count),
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
        match origin {
            Origin::Injected => link.injected = Some(own_answer(&outcome)),
            Origin::Errand => analysis.errand_done(own_answer(&outcome)),
            Origin::Client => {
                if let OutcomeKind::Error { code, .. } = outcome.kind {
                    observer.error(code);
                }
                analysis.answer(&answer(outcome, std::mem::take(&mut self.server_time)));
            }
        }
        if last {
            link.expected.pop();
            self.begun = false;
            self.skip_unanswered(link, analysis);
        }
    }

    /// Commands without an answer are complete when it is their turn.
    fn skip_unanswered<A: Analysis>(&mut self, link: &mut Link, analysis: &mut A) {
        while link.expected.front().is_some_and(|expected| expected.kind == Kind::Nothing) {
            link.expected.pop();
            analysis.answer(&Answer { last: true, ..Answer::default() });
        }
    }
}

/// How a statement of interlock's own ended. It has one result.
fn own_answer(outcome: &Outcome) -> Result<(), u16> {
    match outcome.kind {
        OutcomeKind::Error { code, .. } => Err(code),
        _ => Ok(()),
    }
}

fn answer(outcome: Outcome, server_time: Duration) -> Answer {
    let result = match outcome.kind {
        OutcomeKind::Ok { affected, last_insert_id, info, schema } => {
            ResultKind::Ok { affected, last_insert_id, info, schema }
        }
        OutcomeKind::Rows { rows, cursor } => ResultKind::Rows { rows, cursor },
        OutcomeKind::Prepared { id, params, columns } => ResultKind::Prepared { id, params, columns },
        OutcomeKind::Error { code, message } => ResultKind::Error { code, message },
        OutcomeKind::Other => ResultKind::None,
    };
    Answer { result, status: outcome.status, last: outcome.last, server_time }
}
