//! The server of the demonstration: one that runs already, or a private one.

use super::child::{Guarded, free_port, tail};
use super::workload::Pattern;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Schema of the demonstration's tables.
const SCHEMA: &str = "interlock_demo";

/// The tables as an ORM would make them: a parent with a natural key, a child that refers to it.
const TABLES: [&str; 4] = [
    "DROP TABLE IF EXISTS cycle",
    "DROP TABLE IF EXISTS batch",
    "CREATE TABLE batch (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, server_id BIGINT NOT NULL, \
     created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY batch_server_id (server_id)) ENGINE=InnoDB",
    "CREATE TABLE cycle (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, batch_id BIGINT NOT NULL, \
     state VARCHAR(20) NOT NULL, KEY cycle_batch_id (batch_id), \
     CONSTRAINT cycle_batch FOREIGN KEY (batch_id) REFERENCES batch (id)) ENGINE=InnoDB",
];

/// Which server to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Choice {
    /// Whichever is found first.
    Auto,
    /// MySQL.
    Mysqld,
    /// MariaDB.
    Mariadbd,
}

/// Why there is no server.
#[derive(thiserror::Error, Debug)]
pub enum ServerError {
    #[error(
        "no {0} was found: install one (Debian, Ubuntu: apt-get install mariadb-server), name its program in \
         INTERLOCK_DEMO_SERVER, or use --upstream"
    )]
    NotFound(&'static str),
    #[error("the server's data directory could not be made:\n{0}")]
    Initialize(String),
    #[error("the server did not start:\n{0}")]
    Start(String),
    #[error("{0} is no address of a server: host:port is wanted")]
    Address(String),
    #[error("no private server: {0}")]
    Io(#[from] std::io::Error),
}

/// A server that takes connections, and an account on it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    user: String,
    password: String,
}

impl Target {
    /// A server that runs already.
    pub fn running(address: &str, user: &str, password: &str) -> Result<Target, ServerError> {
        let target = Target { address: address.into(), user: user.into(), password: password.into() };
        target.options_at(address)?;
        Ok(target)
    }

    /// The account as a URL, for the proxy's control connections.
    pub fn url(&self) -> String {
        let escape = |text: &str| -> String {
            text.bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect()
        };
        let secret =
            if self.password.is_empty() { String::new() } else { format!(":{}", escape(&self.password)) };
        format!("mysql://{}{secret}@{}", escape(&self.user), self.address)
    }

    /// How clients connect to this account at an address: the server's, or that of a proxy before it.
    pub fn options_at(&self, address: &str) -> Result<OptsBuilder, ServerError> {
        let wrong = || ServerError::Address(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        Ok(OptsBuilder::default()
            .ip_or_hostname(host.trim_matches(['[', ']']))
            .tcp_port(port.parse().map_err(|_| wrong())?)
            .user(Some(&self.user))
            .pass(Some(&self.password).filter(|password| !password.is_empty()))
            .prefer_socket(false)
            // Asked for at every connection otherwise.
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800)))
    }

    async fn connect(&self) -> Result<Conn, mysql_async::Error> {
        // The address was parsed when this value was made, so a failure here cannot be of that kind.
        let options = self.options_at(&self.address).unwrap_or_default();
        Conn::new(Opts::from(options)).await
    }

    /// Name and version, as `MySQL 9.7.4`.
    pub async fn version(&self) -> Result<String, mysql_async::Error> {
        let mut connection = self.connect().await?;
        let version: String = connection.query_first("SELECT VERSION()").await?.unwrap_or_default();
        connection.disconnect().await?;
        let number = version.split('-').next().unwrap_or_default();
        Ok(format!("{} {number}", if version.contains("MariaDB") { "MariaDB" } else { "MySQL" }))
    }

    /// Makes the tables anew, filled as the pattern wants them.
    pub async fn fresh_tables(&self, pattern: Pattern) -> Result<(), mysql_async::Error> {
        let mut connection = self.connect().await?;
        connection.query_drop(format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}")).await?;
        connection.query_drop(format!("USE {SCHEMA}")).await?;
        for statement in TABLES {
            connection.query_drop(statement).await?;
        }
        let keys: Vec<String> = pattern.prefilled().map(|key| format!("({key})")).collect();
        for rows in keys.chunks(2000) {
            connection.query_drop(format!("INSERT INTO batch (server_id) VALUES {}", rows.join(","))).await?;
        }
        connection.query_drop("ANALYZE TABLE batch, cycle").await?;
        connection.disconnect().await
    }

    /// Takes the demonstration's schema away.
    pub async fn drop_schema(&self) -> Result<(), mysql_async::Error> {
        let mut connection = self.connect().await?;
        connection.query_drop(format!("DROP DATABASE IF EXISTS {SCHEMA}")).await?;
        connection.disconnect().await
    }

    /// The schema that clients start in.
    pub fn schema() -> &'static str {
        SCHEMA
    }
}

/// A private server; dropped, it is killed and its files are removed.
#[derive(Debug)]
pub struct DemoServer {
    /// How to reach it.
    pub target: Target,
    // In this order: first the process, then its files.
    _process: Guarded,
    _files: tempfile::TempDir,
}

impl DemoServer {
    /// Initialises a data directory and starts a server on it.
    pub async fn start(choice: Choice) -> Result<DemoServer, ServerError> {
        let program = find(choice)?;
        let mariadb = is_mariadb(&program).unwrap_or(false);
        let files = tempfile::Builder::new().prefix("interlock-demo.").tempdir()?;
        let path = |name: &str| files.path().join(name);
        let log = path("log");
        // The server refuses to run as root unless told so; the owner of a new directory is who we are.
        let as_user =
            if std::fs::metadata(files.path())?.uid() == 0 { vec!["--user=root".into()] } else { vec![] };
        initialize(&program, mariadb, &as_user, &path("data"), &log).await?;
        let accounts = path("accounts.sql");
        std::fs::write(
            &accounts,
            // Both names of the loopback address: an anonymous account of either would win over '%'.
            "CREATE USER 'demo'@'localhost';\nGRANT ALL ON *.* TO 'demo'@'localhost';\n\
             CREATE USER 'demo'@'127.0.0.1';\nGRANT ALL ON *.* TO 'demo'@'127.0.0.1';\n",
        )?;
        let port = free_port()?;
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", path("data").display()),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".into(),
            format!("--socket={}", path("socket").display()),
            format!("--pid-file={}", path("pid").display()),
            format!("--tmpdir={}", files.path().display()),
            format!("--init-file={}", accounts.display()),
            // What is shown is locking, not the disk.
            "--innodb-flush-log-at-trx-commit=2".into(),
            "--sync-binlog=0".into(),
        ];
        if !mariadb {
            // The directory that it was built with need not be there.
            args.extend([
                "--mysqlx=OFF".into(),
                "--disable-log-bin".into(),
                "--secure-file-priv=NULL".into(),
            ]);
        }
        args.extend(as_user);
        let mut process = Guarded::spawn(&program, &args, files.path(), &log)?;
        let start = Instant::now();
        // Both servers say so in the log when they take connections.
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("ready for connections") {
            if process.has_ended() || start.elapsed() > Duration::from_secs(60) {
                return Err(ServerError::Start(tail(&log)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let target = Target::running(&format!("127.0.0.1:{port}"), "demo", "")?;
        Ok(DemoServer { target, _process: process, _files: files })
    }
}

async fn initialize(
    program: &Path,
    mariadb: bool,
    as_user: &[String],
    data: &Path,
    log: &Path,
) -> Result<(), ServerError> {
    let datadir = format!("--datadir={}", data.display());
    let mut args = vec!["--no-defaults".to_owned(), datadir];
    args.extend_from_slice(as_user);
    let initializer = if mariadb {
        args.extend(["--auth-root-authentication-method=normal".into(), "--skip-test-db".into()]);
        let beside = program.with_file_name("mariadb-install-db");
        if beside.is_file() { beside } else { PathBuf::from("mariadb-install-db") }
    } else {
        args.push("--initialize-insecure".into());
        program.to_path_buf()
    };
    let mut process = Guarded::spawn(&initializer, &args, data.parent().unwrap_or(data), log)?;
    while !process.has_ended() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // MySQL makes this schema's files last, MariaDB its directory first and the tables' files in it later.
    let done = if mariadb { data.join("mysql/global_priv.frm") } else { data.join("mysql.ibd") };
    if done.is_file() { Ok(()) } else { Err(ServerError::Initialize(tail(log))) }
}

/// The server program: the one that the environment names, or the first in the path and the usual places.
fn find(choice: Choice) -> Result<PathBuf, ServerError> {
    if let Some(program) = env::var_os("INTERLOCK_DEMO_SERVER") {
        return Ok(PathBuf::from(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/homebrew/bin"];
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(usual.map(PathBuf::from)).collect();
    let (names, wanted): (&[&str], _) = match choice {
        Choice::Auto => (&["mysqld", "mariadbd"], None),
        // Distributions of MariaDB have a link of this name.
        Choice::Mysqld => (&["mysqld"], Some(false)),
        Choice::Mariadbd => (&["mariadbd", "mysqld"], Some(true)),
    };
    for name in names {
        for folder in &folders {
            let program = folder.join(name);
            if let Some(mariadb) = is_mariadb(&program)
                && wanted.is_none_or(|wanted| wanted == mariadb)
            {
                return Ok(program);
            }
        }
    }
    Err(ServerError::NotFound(match choice {
        Choice::Auto => "mysqld or mariadbd",
        Choice::Mysqld => "mysqld of MySQL",
        Choice::Mariadbd => "mariadbd",
    }))
}

/// What a program's `--version` says; `None` when it does not run.
fn is_mariadb(program: &Path) -> Option<bool> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    (output.status.success() && text.contains("ver")).then(|| text.contains("mariadb"))
}
