//! The PROXY protocol header that a load balancer sends first (HAProxy's `proxy-protocol.txt`).
//!
//! It is read to its last byte and not beyond. The client behind the balancer waits for the server's
//! greeting, so reading small pieces costs nothing that matters.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::backend::proxy_header::SIGNATURE;
use crate::backend::stream::Peer;

/// Longest version 1 header, line end included.
const MAX_V1: usize = 107;

/// Most bytes of addresses and extensions that a version 2 header may have here.
const MAX_V2: usize = 4096;

/// No good header.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// The connection ended or broke.
    #[error("connection closed in the PROXY header: {0}")]
    Io(#[from] io::Error),
    /// The first bytes are not a header.
    #[error("no PROXY header")]
    Missing,
    /// A header that breaks the rules.
    #[error("malformed PROXY header")]
    Malformed,
}

/// Reads a header of either version. `None`: the balancer speaks for itself or does not know the client.
pub async fn read_header<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<Peer>, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [command, family, len @ ..] = fixed;
        let len = usize::from(u16::from_be_bytes(len));
        if len > MAX_V2 {
            return Err(HeaderError::Malformed);
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).await?;
        return parse_v2(command, family, &body);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1 {
            return Err(HeaderError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

fn parse_v1(line: &[u8]) -> Result<Option<Peer>, HeaderError> {
    let text = std::str::from_utf8(line).map_err(|_| HeaderError::Malformed)?;
    let mut words = text.trim_end_matches("\r\n").split(' ').skip(1);
    let family = words.next().ok_or(HeaderError::Malformed)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let [Some(source), Some(destination), Some(source_port), Some(destination_port), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(HeaderError::Malformed);
    };
    let address = |ip: &str, port: &str| -> Option<SocketAddr> {
        let ip: IpAddr = match family {
            "TCP4" => ip.parse::<Ipv4Addr>().ok()?.into(),
            "TCP6" => ip.parse::<Ipv6Addr>().ok()?.into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port.parse().ok()?))
    };
    match (address(source, source_port), address(destination, destination_port)) {
        (Some(source), Some(destination)) => Ok(Some(Peer::Tcp { source, destination })),
        _ => Err(HeaderError::Malformed),
    }
}

fn parse_v2(command: u8, family: u8, body: &[u8]) -> Result<Option<Peer>, HeaderError> {
    match command {
        // LOCAL: the balancer's own health check.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(HeaderError::Malformed),
    }
    let peer = match family {
        0x11 => addresses::<4>(body),
        0x21 => addresses::<16>(body),
        // Unix sockets, UDP, unspecified: nothing that could be reported.
        _ => return Ok(None),
    };
    peer.map(Some).ok_or(HeaderError::Malformed)
}

/// Two addresses of `N` bytes and two ports; extensions after them are not looked at.
fn addresses<const N: usize>(body: &[u8]) -> Option<Peer>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    Some(Peer::Tcp {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes(*destination_port)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::proxy_header::{v1, v2};

    /// Reads a header, with a greeting's answer behind it that must stay unread.
    async fn read(header: &[u8]) -> Result<Option<Peer>, HeaderError> {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(b"rest");
        let mut stream = bytes.as_slice();
        let peer = read_header(&mut stream).await?;
        assert_eq!(stream, b"rest");
        Ok(peer)
    }

    fn peer(source: &str, destination: &str) -> Peer {
        let parse = |text: &str| text.parse().expect("the test gives addresses");
        Peer::Tcp { source: parse(source), destination: parse(destination) }
    }

    #[tokio::test]
    async fn reads_what_is_sent_upstream() {
        for client in [peer("10.1.2.3:5000", "10.0.0.1:3306"), peer("[fd00::1]:1", "[fd00::2]:2")] {
            assert_eq!(read(v1(&client).as_bytes()).await.expect("a header"), Some(client));
            assert_eq!(read(&v2(&client)).await.expect("a header"), Some(client));
        }
        assert_eq!(read(v1(&Peer::Local).as_bytes()).await.expect("a header"), None);
        assert_eq!(read(&v2(&Peer::Local)).await.expect("a header"), None);
    }

    #[tokio::test]
    async fn skips_extensions() {
        let mut header = v2(&peer("10.1.2.3:5000", "10.0.0.1:3306"));
        header[15] += 5;
        header.extend_from_slice(&[4, 0, 2, 9, 9]);
        assert_eq!(read(&header).await.expect("a header"), Some(peer("10.1.2.3:5000", "10.0.0.1:3306")));
    }

    #[tokio::test]
    async fn refuses_the_rest() {
        for bad in [
            &b"SELECT 1 and more"[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            &[b'P', b'R', b'O', b'X', b'Y', b' '].repeat(30),
        ] {
            assert!(read_header(&mut &bad[..]).await.is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..200),
            start in 0..3_usize,
        ) {
            let mut bytes = [&b""[..], b"PROXY TCP4 ", &SIGNATURE][start].to_vec();
            bytes.extend_from_slice(&tail);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = runtime.block_on(read_header(&mut bytes.as_slice()));
        }
    }
}
