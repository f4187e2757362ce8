//! The PROXY protocol header for the server (HAProxy's `proxy-protocol.txt`, versions 1 and 2).

use std::net::{IpAddr, SocketAddr};

use super::stream::Peer;

/// First bytes of a version 2 header.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header in version 1, with its line end.
pub fn v1(client: &Peer) -> String {
    let Peer::Tcp { source, destination } = client else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (source, destination) = same_family(*source, *destination);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
}

/// A header in version 2.
pub fn v2(client: &Peer) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Peer::Tcp { source, destination } = client else {
        // Version 2, LOCAL: the connection speaks for itself.
        header.extend_from_slice(&[0x20, 0, 0, 0]);
        return header;
    };
    let (source, destination) = same_family(*source, *destination);
    let mut addresses = Vec::with_capacity(36);
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(ip) => addresses.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => addresses.extend_from_slice(&ip.octets()),
        }
    }
    addresses.extend_from_slice(&source.port().to_be_bytes());
    addresses.extend_from_slice(&destination.port().to_be_bytes());
    let (family, len) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
    // Version 2, PROXY; the family's addresses over TCP; their length.
    header.extend_from_slice(&[0x21, family, 0, len]);
    header.extend_from_slice(&addresses);
    header
}

/// A header has room for one address family: IPv4 inside IPv6 becomes IPv4, or both become IPv6.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(source: &str, destination: &str) -> Peer {
        let parse = |text: &str| text.parse().expect("the test gives addresses");
        Peer::Tcp { source: parse(source), destination: parse(destination) }
    }

    #[test]
    fn version_1() {
        assert_eq!(v1(&peer("10.1.2.3:5000", "10.0.0.1:3306")), "PROXY TCP4 10.1.2.3 10.0.0.1 5000 3306\r\n");
        assert_eq!(v1(&peer("[fd00::1]:1", "[fd00::2]:2")), "PROXY TCP6 fd00::1 fd00::2 1 2\r\n");
        assert_eq!(v1(&peer("[::ffff:1.2.3.4]:1", "4.3.2.1:2")), "PROXY TCP4 1.2.3.4 4.3.2.1 1 2\r\n");
        assert_eq!(v1(&Peer::Local), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2() {
        let header = v2(&peer("10.1.2.3:5000", "10.0.0.1:3306"));
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..], [0x21, 0x11, 0, 12, 10, 1, 2, 3, 10, 0, 0, 1, 0x13, 0x88, 0x0c, 0xea]);
        assert_eq!(v2(&peer("[fd00::1]:1", "1.2.3.4:2")).len(), 16 + 36);
        assert_eq!(v2(&Peer::Local)[12..], [0x20, 0, 0, 0]);
    }
}
