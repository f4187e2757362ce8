//! `interlock healthcheck`: does the interlock of this configuration serve?
//!
//! For `HEALTHCHECK` of an image that has neither a shell nor curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::ConfigArgs;
use crate::config::{self, Address};

/// Longest time for each of connecting, asking and the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read.
const LONGEST: u64 = 4096;

/// Arguments of the question.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask whether the server can be reached, too (/readyz in place of /healthz).
    #[arg(long)]
    ready: bool,
}

/// Exits 0 if the answer is 200; else prints why and exits 1.
pub fn run(args: &Args) -> ExitCode {
    let config = match config::load(&args.config.overrides(), std::env::vars()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    let Some(Address::Tcp { host, port }) = config.admin.listen else {
        eprintln!("interlock healthcheck: admin.listen is not set, so there is nobody to ask");
        return ExitCode::FAILURE;
    };
    match ask(&host, port, if args.ready { "/readyz" } else { "/healthz" }) {
        Ok((200, _)) => ExitCode::SUCCESS,
        Ok((status, text)) => {
            eprintln!("{status} {}", text.trim_end());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("interlock healthcheck: {host}:{port}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Status and body of a GET.
fn ask(host: &str, port: u16, path: &str) -> io::Result<(u16, String)> {
    let nobody = || io::Error::new(io::ErrorKind::NotFound, "no such address");
    let mut address = (host, port).to_socket_addrs()?.next().ok_or_else(nobody)?;
    // Who listens on every address is asked on loopback.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a server may answer and close as soon as it has seen the first.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str) -> io::Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let result = ask("0.0.0.0", port, "/healthz");
        server.join().unwrap();
        result
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(answered("HTTP/1.0 200 OK\r\n\r\nok\n").unwrap(), (200, "ok\n".to_owned()));
        assert_eq!(answered("HTTP/1.1 503 No\r\nA: b\r\n\r\nnot ready").unwrap().0, 503);
        assert!(answered("SSH-2.0").is_err());
        assert!(answered("").is_err());
    }
}
