//! The gate before opensrv-mysql's packet reader, which is unsound without it.
//!
//! opensrv-mysql 0.7.0 keeps the packet that it returns in a buffer that it replaces as soon as one read has
//! brought more than that packet: the packet then points into freed memory, before the login too. So the
//! gate never lets that happen:
//!
//! 1. a read ends at the end of a packet, at the latest;
//! 2. the next packet begins only after the answer to the last one was flushed;
//! 3. a packet is no longer than a limit, so it is never one of several parts.
//!
//! Besides, COM_STMT_SEND_LONG_DATA ends the connection: opensrv-mysql would collect such data without a bound,
//! and the console takes no parameters.
//!
//! Whatever a client pipelines waits in the kernel. With 1 and 2 the reader's remainder is always empty, and
//! its faulty branch is never entered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Length of a packet's header: three bytes of length, one of sequence.
const HEADER: usize = 4;

/// COM_STMT_SEND_LONG_DATA
const SEND_LONG_DATA: u8 = 0x18;

/// Whose turn it is. The server's at first: it greets.
#[derive(Debug, Default)]
pub struct Turn {
    client: AtomicBool,
    waker: AtomicWaker,
    /// After the login: packets are commands, and not proofs, which may begin with any byte.
    commands: AtomicBool,
}

impl Turn {
    /// The login is over.
    pub fn logged_in(&self) {
        self.commands.store(true, Ordering::Release);
    }
}

/// The reading half: hands packets over one at a time.
#[derive(Debug)]
pub struct Gate<R> {
    stream: R,
    turn: Arc<Turn>,
    longest: usize,
    header: [u8; HEADER],
    /// Bytes of the header that were handed over.
    had: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// The next byte of the payload is its first.
    first: bool,
}

/// The writing half: its flush gives the turn to the client.
#[derive(Debug)]
pub struct Answers<W> {
    stream: W,
    turn: Arc<Turn>,
}

/// The two halves of a connection. Packets longer than `longest` end it.
pub fn gate<R, W>(reader: R, writer: W, longest: usize) -> (Gate<R>, Answers<W>) {
    let turn = Arc::new(Turn::default());
    let gate = Gate {
        stream: reader,
        turn: turn.clone(),
        longest,
        header: [0; HEADER],
        had: 0,
        left: 0,
        first: false,
    };
    (gate, Answers { stream: writer, turn })
}

impl<R> Gate<R> {
    /// Whose turn it is.
    pub fn turn(&self) -> Arc<Turn> {
        self.turn.clone()
    }

    /// At most so many bytes may be handed over now; 0: it is the server's turn.
    fn wanted(&self, context: &mut Context<'_>) -> usize {
        match (self.had, self.left) {
            (HEADER, left) => left,
            (0, _) => {
                // Registered before it is read, so that a flush in between is not lost.
                self.turn.waker.register(context.waker());
                if self.turn.client.load(Ordering::Acquire) { HEADER } else { 0 }
            }
            (had, _) => HEADER - had,
        }
    }

    /// Takes note of bytes that are handed over. At the packet's end it is the server's turn.
    fn note(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(()); // the end of the stream
        }
        if self.had < HEADER {
            self.header[self.had..self.had + bytes.len()].copy_from_slice(bytes);
            self.had += bytes.len();
            if self.had < HEADER {
                return Ok(());
            }
            let [a, b, c, _] = self.header;
            self.left = u32::from_le_bytes([a, b, c, 0]) as usize;
            if self.left > self.longest {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the packet is too long"));
            }
            self.first = true;
        } else {
            let first = std::mem::take(&mut self.first);
            if first && bytes[0] == SEND_LONG_DATA && self.turn.commands.load(Ordering::Acquire) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the console takes no parameters"));
            }
            self.left -= bytes.len();
        }
        if self.left == 0 {
            self.had = 0;
            self.turn.client.store(false, Ordering::Release);
        }
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Gate<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = self.wanted(context).min(buffer.remaining());
        if wanted == 0 {
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        self.note(part.filled())?;
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Answers<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.turn.client.store(true, Ordering::Release);
        self.turn.waker.wake();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        packet.push(sequence);
        packet.extend_from_slice(payload);
        packet
    }

    /// Reads until the packet is whole, as opensrv's reader does: into a buffer with room for much more.
    async fn read(gate: &mut Gate<&[u8]>) -> io::Result<Vec<u8>> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 4096]);
        loop {
            let count = gate.read(&mut buffer).await?;
            all.extend_from_slice(&buffer[..count]);
            let whole = all.len() >= HEADER && all.len() == HEADER + usize::from(all[0]);
            if whole || count == 0 {
                return Ok(all);
            }
        }
    }

    #[tokio::test]
    async fn packets_come_one_at_a_time_however_they_were_sent() {
        let packets = [packet(0, b"one"), packet(0, b""), packet(0, b"three")];
        let bytes = packets.concat();
        let (mut gate, mut answers) = gate(bytes.as_slice(), Vec::new(), 100);
        for packet in &packets {
            let early = futures_util::poll!(Box::pin(read(&mut gate)));
            assert!(early.is_pending(), "not before the answer was flushed");
            answers.write_all(b"answer").await.unwrap();
            let early = futures_util::poll!(Box::pin(read(&mut gate)));
            assert!(early.is_pending(), "written is not flushed");
            answers.flush().await.unwrap();
            assert_eq!(read(&mut gate).await.unwrap(), *packet);
        }
        answers.flush().await.unwrap();
        assert_eq!(read(&mut gate).await.unwrap(), b"", "the end of the stream");
    }

    #[tokio::test]
    async fn long_data_ends_the_connection_but_a_proof_may_look_like_it() {
        let packets = [packet(3, b"\x18 a proof"), packet(0, b"\x18 data")].concat();
        let (mut gate, mut answers) = gate(packets.as_slice(), Vec::new(), 100);
        answers.flush().await.unwrap();
        read(&mut gate).await.unwrap();
        gate.turn().logged_in();
        answers.flush().await.unwrap();
        assert_eq!(read(&mut gate).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_packet_that_is_too_long_ends_the_connection() {
        let bytes = [0xff, 0xff, 0xff, 0];
        let (mut gate, mut answers) = gate(bytes.as_slice(), Vec::new(), 1 << 20);
        answers.flush().await.unwrap();
        assert_eq!(gate.read(&mut [0; 64]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
