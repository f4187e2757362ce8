//! Logins against a scripted server, packet by packet.

mod faults;
mod legs;
mod passing;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::backend::endpoint::Endpoint;

/// MySQL 9.7.4, which offers TLS.
const GREETING: &[u8] = b"\x0a9.7.4-2\x00\x09\x00\x00\x00\x11L.NVvwQ\x00\xff\xff\xff\x02\x00\xff\xdf\x15\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00W\x15B\x16{t}\x1bE\x7f! \x00caching_sha2_password\x00";

const OK: &[u8] = b"\x00\x00\x00\x02\x00\x00\x00";

/// A response of user `app` for `caching_sha2_password`, `tls` as the client's leg has it.
fn response(tls: bool) -> Vec<u8> {
    let capabilities: u32 = 0x0018_8208 | if tls { 0x800 } else { 0 };
    let mut bytes = capabilities.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1, 45]);
    bytes.extend_from_slice(&[0; 23]);
    bytes.extend_from_slice(b"app\x00\x03\x01\x02\x03shop\x00caching_sha2_password\x00");
    bytes.extend_from_slice(b"\x10\x0cprogram_name\x02py");
    bytes
}

/// Reads one packet: its sequence number and payload.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> (u8, Vec<u8>) {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.expect("a header");
    let [a, b, c, sequence] = header;
    let mut payload = vec![0; usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16];
    stream.read_exact(&mut payload).await.expect("a payload");
    (sequence, payload)
}

/// Writes one packet.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, sequence: u8, payload: &[u8]) {
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    let packet = [&[a, b, c, sequence], payload].concat();
    stream.write_all(&packet).await.expect("the other side reads");
    stream.flush().await.expect("the other side reads");
}

/// The other side has closed, or reset, the connection and says nothing more.
async fn assert_closed<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

/// The server is asked for a login that it can only refuse; then it hears nothing more.
async fn refuse(server: &mut TcpStream) {
    let (sequence, payload) = read(server).await;
    assert_eq!((sequence, payload), (1, crate::wire::handshake::hopeless_response()));
    write(server, 2, b"\xfecaching_sha2_password\x00ABCDEFGHIJKLMNOPQRST\x00").await;
    assert_eq!(read(server).await, (3, Vec::new()));
    write(server, 4, b"\xff\x15\x04#28000Access denied").await;
    assert_closed(server).await;
}

/// A server and a client at the two ends of a login.
struct Bench {
    server: TcpListener,
    backend: backend::Config,
    handshake_timeout: Duration,
    tls_required: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Bench {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        Self {
            server,
            backend: backend::Config { address: endpoint(address), ..backend::Config::default() },
            handshake_timeout: Duration::from_secs(20),
            tls_required: false,
            tls: None,
        }
    }

    /// Runs a login between `server` and `client`, which are given their sockets; both end first.
    async fn run<S, C>(
        &self,
        server: impl FnOnce(TcpStream) -> S,
        client: impl FnOnce(TcpStream) -> C,
    ) -> Result<LoggedIn, LoginError>
    where
        S: Future<Output = ()>,
        C: Future<Output = ()>,
    {
        let settings = Settings::new(self.backend.clone(), self.handshake_timeout, self.tls_required, None)
            .expect("good settings");
        let (near, far) = pair().await;
        let peer = Stream::from(far);
        let login = async { login(&settings, peer, Peer::Local, self.tls.clone()).await };
        let server = async {
            let (socket, _) = self.server.accept().await.expect("a connection");
            server(socket).await;
        };
        let all = async { tokio::join!(login, server, client(near)).0 };
        timeout(Duration::from_secs(30), all).await.expect("no login hangs")
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// Two ends of a TCP connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("a connection"), far.expect("a connection").0)
}
