//! Child processes that never outlive the demonstration, and the proxy as one of them.

use super::server::Target;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs its arguments as a program and kills it when standard input ends: when this process closes the
/// pipe, and also when it dies without having closed anything. The first argument is a directory that goes
/// with a program killed so. `setsid` gives the program a process group, so that its own children go too.
const GUARD: &str = r#"
files=$1; shift
exec 3<&0
setsid "$@" </dev/null 3<&- & program=$!
{ read -r _ <&3; kill -KILL "-$program"; } 2>/dev/null & guard=$!
wait "$program"; code=$?
kill "$guard" 2>/dev/null
[ "$code" != 137 ] || rm -rf "$files"
exit "$code""#;

/// A child process; dropped, it is killed.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// Starts a program whose output goes to a log file; killed, it takes the directory `files` along.
    ///
    /// # Errors
    /// When the log file cannot be made, or there is no `sh`.
    pub fn spawn(program: &Path, args: &[String], files: &Path, log: &Path) -> std::io::Result<Guarded> {
        let output = File::create(log)?;
        let child = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(files)
            .arg(program)
            .args(args)
            // Ctrl-C on a terminal reaches the whole process group: the order in which things end is ours.
            .process_group(0)
            // The person's own environment must not configure the proxy under demonstration.
            .env_remove("INTERLOCK__POLICY__ACTION")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Guarded(child))
    }

    /// True when the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Why the proxy is not there.
#[derive(thiserror::Error, Debug)]
pub enum ProxyError {
    #[error("the proxy could not be started: {0}")]
    Spawn(#[from] std::io::Error),
    #[error("the proxy did not get ready within {0:?}:\n{1}")]
    NotReady(Duration, String),
    #[error("the proxy ended at once:\n{0}")]
    Ended(String),
}

/// `interlock run` in front of the server.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub address: String,
    admin: String,
    _child: Guarded,
    _files: tempfile::TempDir,
}

impl Proxy {
    /// Starts this same program with an action, and waits until it takes connections. `shared`: others stand
    /// before the same server.
    pub async fn start(target: &Target, action: &str, shared: bool) -> Result<Proxy, ProxyError> {
        let files = tempfile::tempdir()?;
        let log = files.path().join("log");
        let address = format!("127.0.0.1:{}", free_port()?);
        let admin = format!("127.0.0.1:{}", free_port()?);
        let config = files.path().join("interlock.toml");
        // Literals make the timeline readable, and the data is the demonstration's own.
        let coordination = if shared { "server" } else { "local" };
        std::fs::write(&config, format!("redact = false\ncoordination = \"{coordination}\"\n"))?;
        let mut args: Vec<String> = ["run", "--config"].map(String::from).to_vec();
        args.push(config.display().to_string());
        for (flag, value) in [
            ("--listen", address.as_str()),
            ("--admin-listen", &admin),
            ("--upstream", &target.address),
            ("--control-url", &target.url()),
            ("--action", action),
        ] {
            args.extend([flag.to_owned(), value.to_owned()]);
        }
        let mut child = Guarded::spawn(&std::env::current_exe()?, &args, files.path(), &log)?;
        let start = Instant::now();
        let limit = Duration::from_secs(15);
        loop {
            if get(&admin, "/readyz").await.is_some_and(|(status, _)| status == 200) {
                return Ok(Proxy { address, admin, _child: child, _files: files });
            }
            if child.has_ended() {
                return Err(ProxyError::Ended(tail(&log)));
            }
            if start.elapsed() > limit {
                return Err(ProxyError::NotReady(limit, tail(&log)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long it took to let held statements on.
    pub async fn hand_overs(&self) -> HandOvers {
        match get(&self.admin, "/metrics").await {
            Some((200, body)) => HandOvers::read(&body),
            _ => HandOvers::default(),
        }
    }

    /// The conflicts that it has recorded; empty when they cannot be had.
    pub async fn conflicts(&self) -> Vec<serde_json::Value> {
        let Some((200, body)) = get(&self.admin, "/api/conflicts?after=0").await else { return Vec::new() };
        let Ok(mut answer) = serde_json::from_str::<serde_json::Value>(&body) else { return Vec::new() };
        match answer["conflicts"].take() {
            serde_json::Value::Array(list) => list,
            _ => Vec::new(),
        }
    }
}

/// How long hand-overs took: cumulative counts by their upper bound in microseconds.
#[derive(Debug, Default)]
pub struct HandOvers(Vec<(f64, u64)>);

impl HandOvers {
    /// Reads the histogram of `/metrics`.
    fn read(text: &str) -> HandOvers {
        let bucket = |line: &str| {
            let (bound, count) =
                line.strip_prefix("interlock_handover_seconds_bucket{le=\"")?.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound * 1e6, count.trim().parse().ok()?))
        };
        HandOvers(text.lines().filter_map(bucket).collect())
    }

    /// One line, if there were any.
    pub fn line(&self) -> Option<String> {
        let all = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let share = |below: f64| {
            let found = self.0.iter().find(|(bound, _)| (bound - below).abs() < 0.5);
            found.map_or(0.0, |(_, count)| 100.0 * *count as f64 / all as f64)
        };
        let quantile = |q: f64| {
            let wanted = (all as f64 * q).ceil() as u64;
            self.0.iter().find(|(_, count)| *count >= wanted).map_or(f64::INFINITY, |(bound, _)| *bound)
        };
        Some(format!(
            "hand-over    {all} held statements went on: {:.1} % within 100 µs of the COMMIT's passing, half within {:.0} µs, 99 % within {:.0} µs",
            share(100.0),
            quantile(0.5),
            quantile(0.99),
        ))
    }
}

/// HTTP GET: status and body, or nothing.
async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), exchange).await.ok().flatten()
}

/// A port that was free a moment ago.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The last lines of a log, for a message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::HandOvers;

    #[test]
    fn quantiles_are_read_from_the_buckets() {
        let text = "interlock_handover_seconds_bucket{le=\"0.00005\"} 50\ninterlock_handover_seconds_bucket{le=\"0.0001\"} 90\n\
                    interlock_handover_seconds_bucket{le=\"0.001\"} 99\ninterlock_handover_seconds_bucket{le=\"+Inf\"} 100\n";
        let line = HandOvers::read(text).line().unwrap();
        assert!(line.contains("100 held") && line.contains("90.0 % within 100 µs"), "{line}");
        assert!(line.ends_with("half within 50 µs, 99 % within 1000 µs"), "{line}");
        assert_eq!(HandOvers::read("").line(), None);
    }
}
