//! The relay: moves the bytes of one session after its login.
//!
//! One task per session polls both sockets on every pass. `up` frames what the client sends, and `gate` has
//! each command decided before a byte of it goes on; `down` observes the answers while they pass. Both
//! directions work on buffers that exist only during a pass. Commands may be pipelined: `expect` holds the
//! order in which answers come. A transaction that a deadlock has ended may be run again from its `tape`: that is
//! a `restart`, in which the tape takes the client's place.

mod down;
mod expect;
mod gate;
mod link;
mod restart;
mod tape;
mod up;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::analysis::Analysis;
use crate::shutdown::{Phase, Watch};
use crate::wire::error::ErrorPacket;
use crate::wire::packet::MAX_PAYLOAD;
use down::Down;
use expect::Origin;
use link::Link;
use up::Up;

/// What the login agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Negotiated {
    /// Capabilities in force: the client's, limited to the server's.
    pub capabilities: u32,
    /// MariaDB's extended capabilities in force; 0 on MySQL.
    pub mariadb_capabilities: u32,
    /// The server is MariaDB.
    pub is_mariadb: bool,
}

/// Limits of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayLimits {
    /// Payloads up to this many bytes are given to the analysis as a whole; of longer ones a prefix is.
    pub max_analysed: usize,
    /// Pipelined commands without an answer; beyond it the client is not read.
    pub max_pending: usize,
    /// Hand COM_CHANGE_USER to the caller ([`End::ChangeUser`]) instead of relaying it: for legs of
    /// different security, where the password exchange needs a bridge.
    pub bridge_change_user: bool,
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits { max_analysed: 1024 * 1024, max_pending: 1024, bridge_change_user: false }
    }
}

/// Sees what passes, for metrics.
pub trait Observer {
    /// Bytes written to the server.
    fn to_server(&self, bytes: usize);
    /// Bytes written to the client.
    fn to_client(&self, bytes: usize);
    /// An error packet from the server or from interlock went to the client.
    fn error(&self, code: u16);
}

impl Observer for () {
    fn to_server(&self, _bytes: usize) {}
    fn to_client(&self, _bytes: usize) {}
    fn error(&self, _code: u16) {}
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// COM_QUIT was passed on.
    Quit,
    /// The client closed or reset its connection.
    ClientClosed,
    /// The server closed or reset its connection; what it sent before has been passed on.
    ServerClosed,
    /// Shutdown: the session was idle and the client was told (1053).
    Drained,
    /// Shutdown: the grace period was over.
    Closed,
    /// The ROLLBACK before a rejected command failed: the connection must not go on.
    RollbackFailed,
    /// Not the end: the caller has to carry out this COM_CHANGE_USER (packets with headers), report it to
    /// [`Relay::user_changed`] and go on. Only with [`RelayLimits::bridge_change_user`].
    ChangeUser(Vec<u8>),
}

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The client's connection failed in an unusual way.
    #[error("client connection")]
    Client(#[source] io::Error),
    /// The server's connection failed in an unusual way.
    #[error("server connection")]
    Server(#[source] io::Error),
}

/// Relays one session from the end of its login to its end.
pub async fn relay<C, S, A, O>(
    client: &mut C,
    server: &mut S,
    session: Negotiated,
    analysis: &mut A,
    limits: RelayLimits,
    watch: &mut Watch,
    observer: &O,
) -> Result<End, RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
    A: Analysis,
    O: Observer,
{
    Relay::new(session, limits).run(client, server, analysis, watch, observer).await
}

/// The relay of one session. Use [`relay`] unless [`End::ChangeUser`] is wanted.
#[derive(Debug)]
pub struct Relay {
    link: Link,
    up: Up,
    down: Down,
}

impl Relay {
    /// A relay that has seen no command.
    pub fn new(session: Negotiated, mut limits: RelayLimits) -> Relay {
        // A payload that is continued in further packets has no known length: never wait for its end.
        limits.max_analysed = limits.max_analysed.min(MAX_PAYLOAD - 1);
        Relay { link: Link::new(session, limits), up: Up::default(), down: Down::new(session) }
    }

    /// The caller has carried out a COM_CHANGE_USER. `answer` is reported to the analysis.
    pub fn user_changed<A: Analysis>(&mut self, analysis: &mut A, answer: &crate::session::analysis::Answer) {
        analysis.answer(answer);
    }

    /// Relays until the session ends. Cancelling it loses nothing but the session: drop both connections.
    pub async fn run<C, S, A, O>(
        &mut self,
        client: &mut C,
        server: &mut S,
        analysis: &mut A,
        watch: &mut Watch,
        observer: &O,
    ) -> Result<End, RelayError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
        A: Analysis,
        O: Observer,
    {
        poll_fn(|context| {
            let result = self.poll(context, client, server, analysis, watch, observer);
            self.up.park();
            self.down.park();
            result
        })
        .await
    }

    fn poll<C, S, A, O>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        server: &mut S,
        analysis: &mut A,
        watch: &mut Watch,
        observer: &O,
    ) -> Poll<Result<End, RelayError>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
        A: Analysis,
        O: Observer,
    {
        loop {
            self.down.pass(context, client, server, &mut self.link, analysis, observer)?;
            if std::mem::take(&mut self.link.local_file) {
                self.up.begin_local_file(&mut self.link);
                continue;
            }
            let moved = self.up.pass(context, client, server, &mut self.link, analysis, observer)?;
            if let Poll::Ready(end) = self.poll_end(context, client, server)? {
                return Poll::Ready(Ok(end));
            }
            // Each direction has gone as far as it could. Going up seldom makes more possible down: both
            // sockets need not be asked again.
            if moved && self.down.has_work(&mut self.link) {
                continue;
            }
            if self.may_run_errand()
                && let closed = analysis.left_open()
                && !closed.is_empty()
            {
                self.link.close_statements(&closed);
                continue;
            }
            if self.may_run_errand()
                && let Some(text) = analysis.errand_idle(context)
            {
                self.link.inject(&text, Origin::Errand);
                continue;
            }
            match watch.poll_phase(context) {
                Phase::Running => return Poll::Pending,
                Phase::Draining if !(self.is_idle() && analysis.may_close()) => return Poll::Pending,
                Phase::Draining => return self.poll_farewell(context, client, observer, End::Drained),
                Phase::Closing => return self.poll_farewell(context, client, observer, End::Closed),
            }
        }
    }

    /// Whether and how the session is over.
    fn poll_end<C, S>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        server: &mut S,
    ) -> Poll<Result<End, RelayError>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(end) = self.link.end.take() {
            return Poll::Ready(Ok(end));
        }
        if self.link.server_eof && self.down.is_drained(&self.link) {
            // Best effort: a TLS client learns that this was not an attack.
            let _ = Pin::new(client).poll_shutdown(context);
            return Poll::Ready(Ok(End::ServerClosed));
        }
        if self.link.change_user.is_some()
            && self.down.is_drained(&self.link)
            && self.up.is_written(&self.link)
        {
            return Poll::Ready(Ok(End::ChangeUser(self.link.change_user.take().unwrap_or_default())));
        }
        if self.link.quit && self.up.is_written(&self.link) && self.link.expected.is_empty() {
            return Poll::Ready(Ok(End::Quit));
        }
        if self.link.client_eof && self.up.is_stuck(&self.link) {
            if self.link.expected.is_empty() && self.down.is_drained(&self.link) {
                return Poll::Ready(Ok(End::ClientClosed));
            }
            // The client may have closed only its writing half and wait for the answer. Closing ours
            // tells the server as much as the client told us: it ends when the statement has ended.
            if !self.link.server_shut {
                self.link.server_shut = Pin::new(server).poll_shutdown(context).is_ready();
            }
        }
        Poll::Pending
    }

    /// The server would carry out a statement of interlock's own at once, and nobody would notice.
    fn may_run_errand(&self) -> bool {
        let leaving = self.link.quit || self.link.client_eof || self.link.server_eof || self.link.server_shut;
        !leaving
            && self.link.restart.is_none()
            && self.link.expected.is_empty()
            && self.link.to_server.is_empty()
            && self.link.change_user.is_none()
            && self.up.is_between_commands()
    }

    /// Nothing is under way in either direction.
    fn is_idle(&self) -> bool {
        let restarts = self.link.restart.is_some();
        !restarts && self.link.expected.is_idle() && self.up.is_idle() && self.down.is_drained(&self.link)
    }

    /// Ends the session for a shutdown. The client is told where an error packet can stand: before any
    /// byte of an answer, or between answers.
    fn poll_farewell<C: AsyncWrite + Unpin, O: Observer>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        observer: &O,
        end: End,
    ) -> Poll<Result<End, RelayError>> {
        if self.down.is_drained(&self.link) && self.link.expected.front_is_untouched() {
            let error = ErrorPacket::shutdown();
            // A client that waits for an answer expects the number after its command's.
            let waits = !(self.link.expected.is_empty() && self.up.is_idle()) || self.link.restart.is_some();
            let sequence = u8::from(waits);
            let bytes = error.encode(sequence, self.link.protocol_41());
            // One try: the socket's buffer is empty in an idle session, and a client that does not read
            // must not delay the shutdown.
            if let Poll::Ready(Ok(count)) = Pin::new(&mut *client).poll_write(context, &bytes) {
                observer.to_client(count);
                observer.error(error.code);
            }
        }
        let _ = Pin::new(&mut *client).poll_flush(context);
        let _ = Pin::new(client).poll_shutdown(context);
        Poll::Ready(Ok(end))
    }
}
