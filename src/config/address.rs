//! Addresses and networks, as they are written in the configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `host:port` or `unix:/path`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// Name or address; an IPv6 address without its brackets.
        host: String,
        /// Port; 0 in a listen address is any free one.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// The text is not an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not host:port, [IPv6]:port or unix:/path")]
pub struct AddressError;

/// A network in CIDR notation: `10.0.0.0/8`, `fd00::/8`; a bare address is a network of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    /// The network's address; bits beyond the prefix are zero.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// The text is not a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError;

// === impl Address ===

impl Address {
    /// A TCP address.
    pub fn tcp(host: &str, port: u16) -> Self {
        Address::Tcp { host: host.to_owned(), port }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            // A path that is not absolute would depend on where the process was started.
            return if path.starts_with('/') { Ok(Address::Unix(path.into())) } else { Err(AddressError) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let port = port.parse().map_err(|_| AddressError)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or(AddressError)?;
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError)?;
                inner
            }
            // More colons without brackets: an IPv6 address whose last group looks like a port.
            None if host.contains(':') => return Err(AddressError),
            None => host,
        };
        let legal = |c: char| !c.is_whitespace() && !"/@\\?#".contains(c);
        if host.is_empty() || !host.chars().all(legal) {
            return Err(AddressError);
        }
        Ok(Address::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

// === impl Network ===

impl Network {
    /// Is the address in this network? An IPv4 address that came in over an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(a)) => {
                masked(net.to_bits().into(), 32, self.prefix) == masked(a.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(a)) => {
                masked(net.to_bits(), 128, self.prefix) == masked(a.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of `width` bits; the others are dropped.
fn masked(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NetworkError)?,
            None => width,
        };
        if prefix > width {
            return Err(NetworkError);
        }
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["127.0.0.1:3306", "db.example:1", "[::1]:3306", "unix:/run/mysqld/mysqld.sock", "h:0"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in
            ["", "db", ":3306", "db:", "db:65536", "::1:3306", "[::1]", "[db]:1", "unix:mysqld.sock", "a b:1"]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let check = |net: &str, address: &str, expected: bool| {
            let net: Network = net.parse().unwrap();
            assert_eq!(net.contains(address.parse().unwrap()), expected, "{net} {address}");
        };
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("fd00::/8", "fd12::1", true);
    }

    #[test]
    fn other_texts_are_no_networks() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }
}
