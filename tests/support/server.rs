//! A private MySQL or MariaDB server, started by the script `tests/support/server`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// MySQL from the private root (`tests/support/mysql-root`).
    MySql,
    /// MariaDB of the distribution.
    MariaDb,
}

impl Kind {
    /// Both servers that the tests run on.
    pub const ALL: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        }
    }
}

/// A running server; dropped, it is killed and its data directory removed.
///
/// Accounts: `root` without a password, `app` with the password `app`; an empty schema `test`.
#[derive(Debug)]
pub struct Server {
    /// Which one it is.
    pub kind: Kind,
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Process id of the server itself.
    pub pid: u32,
    /// Version as three numbers, `9.7.4`.
    pub version: String,
    /// The script: it ends the server when its standard input closes.
    script: Child,
}

impl Server {
    /// Starts a server, or gives `None` where this kind cannot be had (which is a failure with `CI=true`).
    pub fn start(kind: Kind) -> Option<Server> {
        Server::start_with(kind, &[])
    }

    /// Starts a server with options of its own, such as `--max-connections=1`.
    pub fn start_with(kind: Kind, options: &[&str]) -> Option<Server> {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/server"))
            .arg(kind.name())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tests/support/server is executable");
        let mut line = String::new();
        let stdout = script.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the script's first line is text");
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["ready", port, socket, pid, version] = words[..] {
            return Some(Server {
                kind,
                port: port.parse().expect("the script prints the port"),
                socket: socket.into(),
                pid: pid.parse().expect("the script prints the process id"),
                version: version.to_owned(),
                script,
            });
        }
        let mut reason = String::new();
        let stderr = script.stderr.as_mut().expect("stderr is piped");
        stderr.read_to_string(&mut reason).expect("the script's messages are text");
        let status = script.wait().expect("the script is a child of this process");
        assert_eq!(status.code(), Some(3), "{} did not start: {reason}", kind.name());
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "in CI both servers must be there: {reason}");
        static SAID: Once = Once::new();
        SAID.call_once(|| eprint!("{reason}"));
        None
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL for control connections and for clients that take one.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/test", self.port)
    }

    /// True for MySQL.
    pub fn is_mysql(&self) -> bool {
        self.kind == Kind::MySql
    }

    /// Starts a killed server again, on the same port and data.
    pub fn restart(&mut self) {
        let stdin = self.script.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"restart\n").expect("the script lives");
        let file = self.socket.with_file_name("pid");
        let old = self.pid;
        // The killed process' file is still there, and its port may take connections for a moment more.
        super::wait_until("the server is back", Duration::from_secs(60), || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            self.pid = text.trim().parse().unwrap_or(old);
            self.pid != old && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills the server as a crash would; the port then refuses connections.
    pub fn kill(&self) {
        signal(self.pid, "KILL");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take()); // end of file: the script kills the server and removes its files
        let _ = self.script.wait();
    }
}

/// Runs a check on MySQL and on MariaDB, each with a fresh server of its own.
pub fn both(check: impl Fn(&Server)) {
    for kind in Kind::ALL {
        if let Some(server) = Server::start(kind) {
            check(&server);
        }
    }
}

/// Sends a signal by the `kill` program; a process that is gone already is fine.
pub(super) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
}
