//! One leg of a login: whole packets in and out, with the sequence numbers of this leg.
//!
//! Every read asks for exactly what is missing of the packet (header, then body), so nothing is ever read
//! that belongs to TLS or to the command phase.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::backend::stream::Stream;
use crate::wire::auth::Transport;
use crate::wire::error::ErrorPacket;
use crate::wire::handshake::MAX_LOGIN_PACKET;

const HEADER: usize = 4;

/// Most that is read at once: memory follows what has come, not what a header promises.
const CHUNK: usize = 4096;

/// A socket and the state of its packet stream.
#[derive(Debug)]
pub(super) struct Leg {
    /// Absent while TLS is being set up, and for ever if that fails.
    stream: Option<Stream>,
    /// Sequence number of the next packet in either direction.
    sequence: u8,
    /// The packet being read, header included.
    packet: Vec<u8>,
}

/// A packet could not be read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// The other side is gone.
    #[error("connection closed")]
    Closed,
    #[error("connection broken: {0}")]
    Io(io::Error),
    #[error("packet of {0} bytes is too large for a login")]
    TooLarge(usize),
    #[error("packet out of order: number {got} instead of {expected}")]
    OutOfOrder { got: u8, expected: u8 },
}

impl Leg {
    /// A leg whose next packet has the given number.
    pub(super) fn new(stream: Stream, sequence: u8) -> Self {
        Self { stream: Some(stream), sequence, packet: Vec::new() }
    }

    /// Number of the next packet.
    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Replaces the socket by its TLS session; the packets go on counting.
    pub(super) async fn upgrade<F>(&mut self, handshake: impl FnOnce(Stream) -> F) -> io::Result<()>
    where
        F: Future<Output = io::Result<Stream>>,
    {
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(handshake(stream).await?);
        Ok(())
    }

    pub(super) fn is_secure(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_secure)
    }

    pub(super) fn transport(&self) -> Transport {
        match (self.is_tls(), self.is_secure()) {
            (true, _) => Transport::Tls,
            (false, true) => Transport::Local,
            (false, false) => Transport::Plain,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_tls)
    }

    /// Gives the socket back, at a packet's end.
    pub(super) fn into_stream(self) -> Option<Stream> {
        self.stream
    }

    /// The next packet's payload. Cancel-safe: what has come so far is kept.
    pub(super) async fn read(&mut self) -> Result<Vec<u8>, ReadError> {
        poll_fn(|context| self.poll_read(context)).await
    }

    /// Like [`Leg::read`].
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, ReadError>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(ReadError::Closed)) };
        loop {
            let wanted = match self.packet.first_chunk::<HEADER>() {
                Some(header) => HEADER + body(*header, self.packet.get(HEADER), self.sequence)?,
                None => HEADER,
            };
            let missing = wanted - self.packet.len();
            if missing == 0 {
                self.sequence = self.sequence.wrapping_add(1);
                return Poll::Ready(Ok(std::mem::take(&mut self.packet).split_off(HEADER)));
            }
            let mut chunk = [0; CHUNK];
            let mut buffer = ReadBuf::new(&mut chunk[..missing.min(CHUNK)]);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ReadError::from(error))),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(ReadError::Closed));
                }
                Poll::Ready(Ok(())) => self.packet.extend_from_slice(buffer.filled()),
            }
        }
    }

    /// Sends a payload as the next packet.
    pub(super) async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut packet = Vec::with_capacity(HEADER + payload.len());
        // A payload here is one that was read (at most MAX_LOGIN_PACKET) or a short one of our own.
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        packet.extend_from_slice(&[a, b, c, self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(&packet).await?;
        stream.flush().await
    }

    /// Sends an error. The SQLSTATE is left out of an initial packet: the client has said nothing of its
    /// protocol yet, and servers leave it out too.
    pub(super) async fn write_error(&mut self, error: &ErrorPacket) -> io::Result<()> {
        let mut payload = vec![0xff];
        payload.extend_from_slice(&error.code.to_le_bytes());
        if self.sequence > 0 {
            payload.push(b'#');
            payload.extend_from_slice(error.sqlstate.as_bytes());
        }
        payload.extend_from_slice(error.message.as_bytes());
        self.write(&payload).await
    }

    /// Ends the connection so that what was written arrives: a socket that is closed with unread bytes in
    /// it is reset, and the reset may overtake the error that explains it.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.shutdown().await?;
        let mut chunk = [0; CHUNK];
        for _ in 0..MAX_LOGIN_PACKET / CHUNK {
            if stream.read(&mut chunk).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// How much of the payload to read now, if the packet can be accepted so far.
///
/// An error may carry any number: it ends the connection, and MariaDB miscounts where it refuses the address
/// in a PROXY header. Behind an unexpected number, the first byte has to tell.
fn body(header: [u8; HEADER], first: Option<&u8>, expected: u8) -> Result<usize, ReadError> {
    let [a, b, c, got] = header;
    let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if len > MAX_LOGIN_PACKET {
        return Err(ReadError::TooLarge(len));
    }
    match first {
        _ if got == expected => Ok(len),
        None if len > 0 => Ok(1),
        Some(0xff) => Ok(len),
        _ => Err(ReadError::OutOfOrder { got, expected }),
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A TLS peer that hangs up without a farewell.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}
