//! Who talks to the admin address: so many connections at one time, and none that is silent for long.
//!
//! Without this, whoever reaches the port could take all file descriptors of the process, which are its clients'.
//! Event streams are never silent: they carry a sign of life every ten seconds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;

/// Connections at one time; the next one is closed at once.
const MAX_CONNECTIONS: usize = 256;
/// A connection on which nothing has come or gone for so long is closed. Longer than a Prometheus waits between
/// two scrapes.
const SILENCE: Duration = Duration::from_secs(150);
/// Pause after a failure to accept: others must get a chance to close their descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that keeps to the limits.
pub(super) struct Crowd {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
}

/// A connection; its place is free again when it is dropped.
pub(super) struct Visitor {
    stream: TcpStream,
    silence: Duration,
    /// Ready when it has been silent for too long.
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn new(listener: TcpListener) -> Crowd {
        Crowd::with(listener, MAX_CONNECTIONS, SILENCE)
    }

    fn with(listener: TcpListener, most: usize, silence: Duration) -> Crowd {
        Crowd { listener, places: Arc::new(Semaphore::new(most)), silence }
    }
}

impl axum::serve::Listener for Crowd {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let (silence, deadline) = (self.silence, Box::pin(sleep(self.silence)));
                        return (Visitor { stream, silence, deadline, _place: place }, peer);
                    }
                    Err(_) => debug!(%peer, "too many connections to the admin address"),
                },
                Err(error) => {
                    debug!(%error, "the admin address cannot accept");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

// === impl Visitor ===

impl Visitor {
    /// What came of an attempt to read or write: something has moved, or how long may nothing move?
    fn moved<T>(&mut self, context: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match attempt {
            Poll::Ready(done) => {
                let next = Instant::now() + self.silence;
                self.deadline.as_mut().reset(next);
                Poll::Ready(done)
            }
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        this.moved(cx, read)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.moved(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn serve(most: usize, silence: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(axum::serve(Crowd::with(listener, most, silence), router).into_future());
        address
    }

    /// An answer on this connection, which stays open; `None` if it is closed.
    async fn ask(stream: &mut TcpStream) -> Option<String> {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            let mut part = [0; 256];
            match stream.read(&mut part).await.ok()? {
                0 => return None,
                count => answer.extend_from_slice(&part[..count]),
            }
        }
        Some(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn beyond_the_limit_a_connection_is_closed_and_its_end_makes_room() {
        let address = serve(2, SILENCE).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut stream).await.is_some());
            open.push(stream);
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut third).await, None);
        assert!(ask(&mut open[0]).await.is_some(), "those that are there stay");
        open.pop();
        // The server sees its end a moment later.
        let again = async {
            loop {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if ask(&mut stream).await.is_some() {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.expect("room");
    }

    #[tokio::test]
    async fn who_is_silent_for_too_long_is_closed_and_who_talks_is_not() {
        let silence = Duration::from_millis(400);
        let address = serve(10, silence).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        // Half a request is no reason to stay either.
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        let mut talking = TcpStream::connect(address).await.unwrap();
        for _ in 0..10 {
            assert!(ask(&mut talking).await.is_some());
            sleep(silence / 5).await;
        }
        for closed in [&mut silent, &mut half] {
            let ended = tokio::time::timeout(Duration::from_secs(10), closed.read_u8()).await;
            assert!(ended.expect("it is closed").is_err());
        }
    }
}
