//! PROXY protocol headers, from load balancers and to the server.

use super::client::Client;
use super::support::{Login, RawClient, Server};
use super::{AUTHORITY, MARIADB, interlock, offered, shared};
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// A header of each version, by hand: a client 203.0.113.7:4711 (2001:db8::7 with IPv6).
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [&signature[..], rest].concat();
    let mut v6 = vec![0x21, 0x21, 0, 36];
    for last in [7, 1] {
        v6.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    v6.extend([0x12, 0x67, 0x0c, 0xea]);
    // With an extension (PP2_TYPE_NOOP) behind the addresses.
    let v4 = [0x21, 0x11, 0, 17, 203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x0c, 0xea, 4, 0, 2, 0, 0];
    vec![
        ("203.0.113.7:4711", b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 3306\r\n".to_vec()),
        ("2001:db8::7:4711", b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 3306\r\n".to_vec()),
        ("203.0.113.7:4711", v2(&v4)),
        ("2001:db8::7:4711", v2(&v6)),
    ]
}

/// Headers that name nobody: health checks of the balancer itself.
fn nameless() -> [Vec<u8>; 2] {
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    [b"PROXY UNKNOWN\r\n".to_vec(), local]
}

fn app() -> Login {
    Login { user: "app".into(), password: "app".into(), ..Login::default() }
}

/// The client's address in the server's process list.
fn host(client: &mut RawClient) -> String {
    let sql = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";
    let rows = client.query(sql);
    String::from_utf8_lossy(&rows[3].payload[1..]).into_owned()
}

fn ask(server: &Server, mut client: RawClient) -> String {
    let last = client.authenticate(&app());
    assert!(last.is_ok(), "{:?}: {:?}", server.kind, last.error());
    host(&mut client)
}

#[test]
fn headers_are_accepted_from_configured_networks() {
    shared(|server| {
        let networks = ("frontend.proxy_protocol.accept_from", "10.0.0.0/8, 127.0.0.0/8");
        let balanced = interlock(&server.address(), &[networks]);
        for (_, header) in headers().into_iter().chain(nameless().map(|header| ("", header))) {
            // The server is told nothing here: it sees interlock.
            let seen = ask(server, RawClient::connect_after(balanced.port, &header));
            assert!(seen.starts_with("127.0.0.1:") || seen.starts_with("localhost:"), "{seen}");
        }
        // What is no header ends the connection at once, without a greeting.
        let mut silent = RawClient::connect_silent(balanced.port);
        silent.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
        assert!(!matches!(silent.read_to_end(), Ok(rest) if !rest.is_empty()));
        balanced.assert_nothing_is_left();

        // From elsewhere a header is only a broken packet.
        let networks = ("frontend.proxy_protocol.accept_from", "10.0.0.0/8");
        let foreign = interlock(&server.address(), &[networks]);
        let mut client = RawClient::connect(foreign.port);
        client.send_bytes(&headers()[0].1);
        assert_eq!(client.receive().error().expect("an error packet").0, 1043);
        assert!(ask(server, RawClient::connect(foreign.port)).contains(':'));
        foreign.assert_nothing_is_left();
    });
}

#[test]
fn the_server_is_told_the_clients_address() {
    let Some(server) = &*MARIADB else { return };
    for version in ["v1", "v2"] {
        let keys = [("upstream.proxy_protocol", version)];
        let direct = interlock(&server.address(), &keys);
        let mut client = RawClient::connect(direct.port);
        let own = client.local_address();
        assert!(client.authenticate(&app()).is_ok());
        assert_eq!(host(&mut client).parse(), Ok(own), "{version}: not interlock's port");
        drop(client);
        direct.assert_nothing_is_left();

        // From the balancer through to the server.
        let keys = [keys[0], ("frontend.proxy_protocol.accept_from", "127.0.0.1/32")];
        let balanced = interlock(&server.address(), &keys);
        for (address, header) in headers() {
            let seen = ask(server, RawClient::connect_after(balanced.port, &header));
            assert_eq!(seen, address, "{version}");
        }
        for header in nameless() {
            let seen = ask(server, RawClient::connect_after(balanced.port, &header));
            let ip = seen.parse::<SocketAddr>().map(|address| address.ip());
            assert_eq!(ip, Ok(IpAddr::from([127, 0, 0, 1])), "{version}: {seen}");
        }
        balanced.assert_nothing_is_left();
    }
}

/// A balancer on a port of its own that sends this header for its one client.
fn balancer(port: u16, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let own = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || -> io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let mut server = TcpStream::connect(("127.0.0.1", port))?;
        server.write_all(&header)?;
        let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from_server, &mut to_client);
            to_client.shutdown(Shutdown::Both)
        });
        let _ = io::copy(&mut client, &mut server);
        server.shutdown(Shutdown::Both)
    });
    own
}

#[test]
fn headers_come_before_tls_on_both_legs() {
    let Some(server) = &*MARIADB else { return };
    let identity = AUTHORITY.issue("balanced", "127.0.0.1");
    for (version, (address, header)) in ["v2", "v2", "v1", "v1"].into_iter().zip(headers()) {
        let keys = [
            ("frontend.proxy_protocol.accept_from", "127.0.0.1/32"),
            ("upstream.proxy_protocol", version),
            ("upstream.tls.mode", "required"),
        ];
        let interlock = interlock(&server.address(), &[&offered(&identity)[..], &keys].concat());
        let client = Client::tls(balancer(interlock.port, header), "app", "app", &AUTHORITY);
        let sql = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";
        assert_eq!(client.ask(sql).expect("a session"), address, "{version}");
        interlock.assert_nothing_is_left();
    }
}
