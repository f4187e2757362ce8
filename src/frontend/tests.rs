//! The entrance, from the outside.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::config::Config;
use super::listener::Listener;
use super::tls::server_config;
use super::welcome::Connections;
use super::worker::{HandlerFactory, Workers};
use crate::backend::endpoint::Endpoint;

/// Says who the peer is and how many connections its thread has had, then waits for the client to close.
fn greeter() -> HandlerFactory {
    Arc::new(|_thread| {
        let served = Rc::new(Cell::new(0));
        Rc::new(move |mut stream, peer| {
            served.set(served.get() + 1);
            let greeting = format!("{} {peer}\n", served.get());
            Box::pin(async move {
                stream.write_all(greeting.as_bytes()).await.expect("the client reads");
                let _ = stream.read_u8().await;
            })
        })
    })
}

struct Running {
    address: Endpoint,
    connections: Connections,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(config: Config) -> Running {
    let listener = Listener::bind(&config).await.expect("a free address");
    let (address, connections) = (listener.address().clone(), listener.connections());
    let workers = Workers::start(&config, greeter()).expect("threads");
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move {
        listener.serve(&workers, async { drop(stopped.await) }).await;
        workers.join().await;
    });
    Running { address, connections, stop, ended }
}

fn config() -> Config {
    let listen = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    Config { listen, workers: 2, ..Config::default() }
}

async fn connect(address: &Endpoint) -> TcpStream {
    let Endpoint::Tcp { host, port } = address else { panic!("not a TCP address: {address}") };
    TcpStream::connect((host.as_str(), *port)).await.expect("a listener")
}

async fn line<R: AsyncReadExt + Unpin>(stream: &mut R) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.expect("a line"));
    }
    String::from_utf8(line).expect("text")
}

/// Waits until no connection is open.
async fn drained(connections: &Connections) {
    let empty = async {
        while connections.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), empty).await.expect("every connection gives its place back");
}

#[tokio::test]
async fn connections_go_to_the_threads_in_turn() {
    let running = start(config()).await;
    let mut clients = Vec::new();
    for expected in ["1 ", "1 ", "2 ", "2 "] {
        let mut client = connect(&running.address).await;
        let own = client.local_addr().expect("an address");
        assert_eq!(line(&mut client).await, format!("{expected}{own}\n"));
        clients.push(client);
    }
    assert_eq!(running.connections.open(), 4);
    drop(clients);
    drained(&running.connections).await;
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let running = start(Config { max_connections: 1, ..config() }).await;
    let mut first = connect(&running.address).await;
    line(&mut first).await;
    let mut answer = Vec::new();
    connect(&running.address).await.read_to_end(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"\x17\x00\x00\x00\xff\x10\x04Too many connections");
    drop(first);
    drained(&running.connections).await;
    line(&mut connect(&running.address).await).await;
}

#[tokio::test]
async fn stopping_lets_open_connections_end() {
    let running = start(config()).await;
    let mut client = connect(&running.address).await;
    line(&mut client).await;
    running.stop.send(()).expect("the listener waits for it");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!running.ended.is_finished());
    let Endpoint::Tcp { host, port } = &running.address else { panic!("not a TCP address") };
    assert!(TcpStream::connect((host.as_str(), *port)).await.is_err(), "nobody listens any more");
    drop(client);
    timeout(Duration::from_secs(10), running.ended).await.expect("the threads end").expect("no panic");
}

#[tokio::test]
async fn a_balancer_names_its_client() {
    let mut config = config();
    config.proxy_protocol.accept_from = vec!["127.0.0.0/8".parse().expect("a network")];
    config.handshake_timeout = Duration::from_millis(200);
    let running = start(config).await;
    let mut client = connect(&running.address).await;
    client.write_all(b"PROXY TCP4 10.9.8.7 10.0.0.1 4000 3306\r\n").await.expect("a reader");
    assert_eq!(line(&mut client).await, "1 10.9.8.7:4000\n");
    // Neither something else nor silence gets through.
    let mut other = connect(&running.address).await;
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("a reader");
    let mut silent = connect(&running.address).await;
    for refused in [&mut other, &mut silent] {
        assert!(refused.read_u8().await.is_err());
    }
    drop(client);
    drained(&running.connections).await;
}

#[tokio::test]
async fn a_unix_socket_comes_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("interlock.sock");
    // Left behind by a process that has crashed.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let config = Config { listen: Endpoint::Unix(path.clone()), ..config() };
    let running = start(config.clone()).await;
    assert_eq!(line(&mut UnixStream::connect(&path).await.expect("a listener")).await, "1 local\n");
    assert!(Listener::bind(&config).await.is_err(), "a socket in use is left alone");
    running.stop.send(()).expect("the listener waits for it");
    running.ended.await.expect("no panic");
    assert!(!path.exists());
    std::fs::write(&path, "a file").expect("a file");
    assert!(Listener::bind(&config).await.is_err(), "other files are left alone");
    assert!(path.exists());
}

#[test]
fn certificates_are_read_or_their_fault_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let write = || {
        let fresh = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&cert, fresh.cert.pem()).expect("a file");
        std::fs::write(&key, fresh.signing_key.serialize_pem()).expect("a file");
    };
    let mut settings = config().tls;
    assert!(server_config(&settings).expect("no TLS is fine").is_none());
    settings.required = true;
    assert!(server_config(&settings).is_err());
    settings.cert = Some(cert.clone());
    assert!(server_config(&settings).is_err());
    settings.key = Some(key.clone());
    assert!(server_config(&settings).is_err());
    write();
    assert!(server_config(&settings).expect("good files").is_some());
    std::fs::write(&cert, "nothing").expect("a file");
    let error = server_config(&settings).expect_err("no certificate").to_string();
    assert!(error.contains("cert.pem"), "{error}");
}

#[test]
fn the_configuration_is_read_strictly() {
    let text =
        "listen = 'unix:/run/x'\nhandshake_timeout = '3s'\nproxy_protocol.accept_from = ['10.0.0.0/8']";
    let config: Config = toml::from_str(text).expect("good");
    assert_eq!(config.handshake_timeout, Duration::from_secs(3));
    for bad in ["port = 1", "listen = 'x'", "proxy_protocol.accept_from = ['10.0.0.0/33']", "tls.ca = 'x'"] {
        assert!(toml::from_str::<Config>(bad).is_err(), "{bad}");
    }
}
