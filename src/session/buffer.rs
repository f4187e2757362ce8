//! Buffers of a session: taken from a per-thread pool when there is something to move, given back after.
//!
//! An idle connection holds none. What cannot be moved on yet (an incomplete packet) is kept in memory of
//! its own size.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a pooled buffer: one read moves at most so much.
pub const POOLED: usize = 64 * 1024;
/// Buffers that an idle thread keeps.
const KEPT: usize = 16;
/// A remainder up to this size is copied out so that its pooled buffer can be given back.
const SMALL: usize = 16 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take_pooled() -> Vec<u8> {
    POOL.with(|pool| pool.borrow_mut().pop()).unwrap_or_else(|| vec![0; POOLED])
}

fn give_back(data: Vec<u8>) {
    if data.len() == POOLED {
        POOL.with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(data);
            }
        });
    }
}

/// Bytes on their way in one direction: `start..approved` may be written, `approved..end` is not decided.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Initialised to its whole length.
    data: Vec<u8>,
    start: usize,
    approved: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that are not decided yet.
    pub fn undecided(&self) -> &[u8] {
        &self.data[self.approved..self.end]
    }

    /// Decides that the next `count` undecided bytes are to be written.
    pub fn approve(&mut self, count: usize) {
        self.approved = self.approved.saturating_add(count).min(self.end);
    }

    /// Drops the next `count` undecided bytes. Only when everything approved has been written.
    pub fn discard(&mut self, count: usize) {
        debug_assert!(self.is_written());
        self.approve(count);
        self.start = self.approved;
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        (self.start, self.approved, self.end) = (0, 0, 0);
    }

    /// Everything approved has been written.
    pub fn is_written(&self) -> bool {
        self.start == self.approved
    }

    /// Nothing at all is in the buffer.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once. `wanted` undecided bytes must fit in the end; otherwise a pooled buffer's worth does.
    /// Ready with `None` if there is no room.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
        wanted: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        if !self.make_room(wanted) {
            return Poll::Ready(Ok(None));
        }
        let mut space = ReadBuf::new(&mut self.data[self.end..]);
        ready!(Pin::new(reader).poll_read(context, &mut space))?;
        let count = space.filled().len();
        self.end += count;
        Poll::Ready(Ok(Some(count)))
    }

    /// Writes once from what is approved; ready with 0 if there is nothing.
    pub fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<usize>> {
        if self.is_written() {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(Pin::new(writer).poll_write(context, &self.data[self.start..self.approved]))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.start += count;
        Poll::Ready(Ok(count))
    }

    /// Writes once: what is approved, or, if all of that is written, from `own`, which holds packets of interlock's own.
    pub fn poll_drain_then<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut W,
        own: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_written() || own.is_empty() {
            return self.poll_drain(context, writer);
        }
        let count = ready!(Pin::new(writer).poll_write(context, own))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        own.drain(..count);
        if own.is_empty() {
            // It is needed seldom.
            *own = Vec::new();
        }
        Poll::Ready(Ok(count))
    }

    /// Gives memory back at the end of a pass.
    pub fn park(&mut self) {
        let left = self.end - self.start;
        if left == 0 {
            self.clear();
            give_back(std::mem::take(&mut self.data));
        } else if left <= SMALL && self.data.len() > left {
            let small = self.data[self.start..self.end].to_vec();
            give_back(std::mem::replace(&mut self.data, small));
            self.approved -= self.start;
            (self.start, self.end) = (0, left);
        }
    }

    fn make_room(&mut self, wanted: usize) -> bool {
        if self.start == self.end {
            self.clear();
        }
        if self.data.len() < POOLED {
            // No memory, or that of a remainder: it would make every read as small as itself.
            let left = self.end - self.start;
            let mut pooled = take_pooled();
            pooled[..left].copy_from_slice(&self.data[self.start..self.end]);
            self.data = pooled;
            self.approved -= self.start;
            (self.start, self.end) = (0, left);
            return true;
        }
        if self.end < self.data.len() {
            return true;
        }
        if self.start > 0 && self.is_written() {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            (self.start, self.approved) = (0, 0);
            return true;
        }
        let limit = wanted.max(POOLED);
        if self.end >= limit {
            return false;
        }
        // Doubling: the length that a header claims costs nothing until the bytes are there.
        self.data.resize((self.data.len() * 2).min(limit), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn fill(buffer: &mut Buffer, mut bytes: &[u8], wanted: usize) -> Option<usize> {
        poll_fn(|context| buffer.poll_fill(context, &mut bytes, wanted)).await.unwrap()
    }

    /// `cdef`, not decided, in memory of its own size.
    async fn remainder() -> Buffer {
        let mut buffer = Buffer::default();
        fill(&mut buffer, b"abcdef", 0).await;
        buffer.approve(2);
        let mut out = Vec::new();
        poll_fn(|context| buffer.poll_drain(context, &mut out)).await.unwrap();
        buffer.park();
        buffer
    }

    #[tokio::test]
    async fn an_empty_buffer_holds_no_memory_after_a_pass() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, b"abc", 0).await, Some(3));
        buffer.approve(3);
        let mut out = Vec::new();
        assert_eq!(poll_fn(|context| buffer.poll_drain(context, &mut out)).await.unwrap(), 3);
        buffer.park();
        assert_eq!((out.as_slice(), buffer.data.capacity()), (&b"abc"[..], 0));
    }

    #[tokio::test]
    async fn a_remainder_is_kept_in_its_own_size_and_goes_on() {
        let mut buffer = remainder().await;
        assert_eq!((buffer.undecided(), buffer.data.len()), (&b"cdef"[..], 4));
        fill(&mut buffer, b"gh", 0).await;
        assert_eq!(buffer.undecided(), b"cdefgh");
    }

    #[tokio::test]
    async fn what_follows_a_remainder_is_read_in_one_piece() {
        let mut buffer = remainder().await;
        buffer.approve(4);
        let mut out = Vec::new();
        poll_fn(|context| buffer.poll_drain(context, &mut out)).await.unwrap();
        assert_eq!(fill(&mut buffer, &[7; POOLED], 0).await, Some(POOLED));
        assert_eq!(out, b"cdef");
    }

    #[tokio::test]
    async fn it_grows_to_what_is_wanted_and_no_further() {
        let mut buffer = Buffer::default();
        let wanted = POOLED * 3 + 5;
        let bytes = vec![7u8; POOLED * 4];
        let mut read = 0;
        while let Some(count) = fill(&mut buffer, &bytes[read..], wanted).await {
            read += count;
        }
        assert_eq!((read, buffer.data.len()), (wanted, wanted));
        buffer.approve(wanted);
        buffer.clear();
        buffer.park();
        assert_eq!(buffer.data.capacity(), 0);
    }
}
