//! TLS for the console: offered in the greeting, begun if the client asks for it.
//!
//! opensrv-mysql's own TLS is of another generation than the rest of interlock's, and would have to be let past the
//! gate. So what comes before the login happens here: the greeting, the request for TLS, the handshake, the login
//! packet. The protocol library then gets the login packet as if there had been no TLS, and what it says first, a
//! greeting of its own, is dropped.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that can be read and written.
pub trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// The server's side of a TLS handshake on a connection.
pub type Handshake =
    Box<dyn FnOnce(TcpStream) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Both>>> + Send>> + Send>;

/// TLS with the certificate that is in force; `None` if there is none.
pub type Secure = Arc<dyn Fn() -> Option<Handshake> + Send + Sync>;

/// Longest packet before the login.
const LONGEST: usize = 1 << 16;
/// Length of a request for TLS: what a login packet begins with.
const SSL_REQUEST: usize = 32;

/// `CLIENT_SSL` in the second byte of the capabilities.
const SSL: u8 = 0x08;

/// CONNECT_WITH_DB, PROTOCOL_41, SSL, SECURE_CONNECTION, PLUGIN_AUTH, PLUGIN_AUTH_LENENC_CLIENT_DATA, DEPRECATE_EOF
const CAPABILITIES: u32 = 1 << 3 | 1 << 9 | 1 << 11 | 1 << 15 | 1 << 19 | 1 << 21 | 1 << 24;

/// The greeting as opensrv-mysql writes it, with TLS on offer: Protocol::HandshakeV10.
pub(super) fn greeting(version: &str, number: u32, scramble: &[u8; 20]) -> Vec<u8> {
    let capabilities = CAPABILITIES.to_le_bytes();
    let (first, second) = scramble.split_at(8);
    let mut payload = vec![10];
    payload.extend_from_slice(version.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(first);
    payload.push(0);
    payload.extend_from_slice(&capabilities[..2]);
    // utf8, no status yet
    payload.extend_from_slice(&[0x21, 0, 0]);
    payload.extend_from_slice(&capabilities[2..]);
    payload.push(21);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(second);
    payload.extend_from_slice(b"\0mysql_native_password\0");
    payload
}

/// Greets, and goes as far as the login packet: what is left of the connection, and that packet, header included.
pub(super) async fn open(
    mut stream: TcpStream,
    handshake: Handshake,
    greeting: &[u8],
) -> io::Result<(Box<dyn Both>, Vec<u8>)> {
    let length = u32::try_from(greeting.len()).map_err(io::Error::other)?.to_le_bytes();
    stream.write_all(&[&length[..3], &[0], greeting].concat()).await?;
    let packet = receive(&mut stream).await?;
    let payload = &packet[4..];
    if payload.len() != SSL_REQUEST || payload[1] & SSL == 0 {
        return Ok((Box::new(stream), packet));
    }
    let mut stream = handshake(stream).await?;
    let mut login = receive(&mut stream).await?;
    if let Some(capabilities) = login.get_mut(5) {
        *capabilities &= !SSL;
    }
    Ok((stream, login))
}

/// One packet, header included.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the packet is too long"));
    }
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// Swallows the first packet that is written.
#[derive(Debug)]
pub(super) struct Muted<W> {
    stream: W,
    header: [u8; 4],
    /// Bytes of the header that were written.
    had: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl<W> Muted<W> {
    pub(super) fn new(stream: W) -> Muted<W> {
        Muted { stream, header: [0; 4], had: 0, left: 0 }
    }

    /// How many of these bytes belong to the first packet.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        let head = bytes.len().min(self.header.len() - self.had);
        if head > 0 {
            self.header[self.had..self.had + head].copy_from_slice(&bytes[..head]);
            self.had += head;
            if self.had == self.header.len() {
                let [a, b, c, _] = self.header;
                self.left = u32::from_le_bytes([a, b, c, 0]) as usize;
            }
        }
        let body = self.left.min(bytes.len() - head);
        self.left -= body;
        head + body
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Muted<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.swallow(bytes) {
            0 => Pin::new(&mut self.stream).poll_write(cx, bytes),
            swallowed => Poll::Ready(Ok(swallowed)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_first_packet_is_swallowed_in_whatever_pieces_it_comes() {
        let text = [&[3, 0, 0, 0][..], b"abc", &[2, 0, 0, 1], b"de", &[0, 0, 0, 2]].concat();
        for piece in 1..=text.len() {
            let mut written = Vec::new();
            let mut muted = Muted::new(&mut written);
            for part in text.chunks(piece) {
                muted.write_all(part).await.unwrap();
            }
            assert_eq!(written, text[7..], "pieces of {piece}");
        }
    }
}
