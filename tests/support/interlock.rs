//! The program itself as a child process, in front of a server.

use super::server::{Server, signal};
use super::{free_port, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `interlock run`; dropped, it is killed.
#[derive(Debug)]
pub struct Interlock {
    /// Port that clients connect to, on 127.0.0.1.
    pub port: u16,
    /// Port of the admin address (`/metrics`, `/api/conflicts`, …), on 127.0.0.1.
    pub admin_port: u16,
    /// What it was started with, apart from the two addresses.
    args: Vec<String>,
    environment: Vec<(String, String)>,
    /// A command that becomes the program: its arguments are the program's command line.
    under: Vec<String>,
    child: Child,
    /// Kills the child when the test process dies without running destructors.
    watchdog: Child,
    log: tempfile::TempDir,
}

impl Interlock {
    /// In front of a server, with a control connection as root, and `args` more (`&["--action", "reorder"]`).
    pub fn start(server: &Server, args: &[&str]) -> Interlock {
        let upstream = server.address();
        let url = server.url();
        let mut all = vec!["--upstream", &upstream, "--control-url", &url];
        all.extend(args);
        Interlock::start_raw(&all)
    }

    /// As [`Interlock::start`], with settings of the environment: `("INTERLOCK__SHUTDOWN__GRACE", "1s")`.
    pub fn start_with(server: &Server, args: &[&str], environment: &[(&str, &str)]) -> Interlock {
        let upstream = server.address();
        let url = server.url();
        let mut all = vec!["--upstream", &upstream, "--control-url", &url];
        all.extend(args);
        Interlock::start_bare(&all, environment)
    }

    /// With these arguments only, apart from the two addresses that it listens on.
    pub fn start_raw(args: &[&str]) -> Interlock {
        Interlock::start_bare(args, &[])
    }

    /// As [`Interlock::start_raw`], with settings of the environment.
    pub fn start_bare(args: &[&str], environment: &[(&str, &str)]) -> Interlock {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<(String, String)> = environment.iter().map(owned).collect();
        Interlock::launch_somewhere(args, &environment, Vec::new())
    }

    /// As [`Interlock::start_with`], by a command that gets the program's command line and becomes the program.
    pub fn start_under(
        under: &[&str],
        server: &Server,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Interlock {
        let (upstream, url) = (server.address(), server.url());
        let mut all = vec!["--upstream", &upstream, "--control-url", &url];
        all.extend(args);
        let under = under.iter().map(|word| (*word).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<(String, String)> = environment.iter().map(owned).collect();
        let args = all.iter().map(|arg| (*arg).to_owned()).collect();
        Interlock::launch_somewhere(args, &environment, under)
    }

    /// Kills it and starts another one that listens where it did, with the same arguments.
    pub fn restart(&mut self) {
        self.stop();
        let (args, environment) = (std::mem::take(&mut self.args), std::mem::take(&mut self.environment));
        let under = std::mem::take(&mut self.under);
        *self = Interlock::launch(self.port, self.admin_port, args, environment, under);
    }

    /// On free ports. Between the moment in which they are found free and the start, somebody else may take one.
    fn launch_somewhere(
        args: Vec<String>,
        environment: &[(String, String)],
        under: Vec<String>,
    ) -> Interlock {
        for _ in 0..5 {
            let (port, admin_port) = (free_port(), free_port());
            match Interlock::try_launch(port, admin_port, args.clone(), environment.to_vec(), under.clone()) {
                Ok(interlock) => return interlock,
                Err(said) if said.contains("Address already in use") || port == admin_port => {}
                Err(said) => panic!("interlock ended at once: {said}"),
            }
        }
        panic!("no free port");
    }

    fn launch(
        port: u16,
        admin_port: u16,
        args: Vec<String>,
        environment: Vec<(String, String)>,
        under: Vec<String>,
    ) -> Interlock {
        Interlock::try_launch(port, admin_port, args, environment, under)
            .unwrap_or_else(|said| panic!("interlock ended at once: {said}"))
    }

    /// What it said, if it ended at once.
    fn try_launch(
        port: u16,
        admin_port: u16,
        args: Vec<String>,
        environment: Vec<(String, String)>,
        under: Vec<String>,
    ) -> Result<Interlock, String> {
        let log = tempfile::tempdir().expect("a temporary directory");
        let stderr = File::create(log.path().join("stderr")).expect("a file in it");
        let stdout = File::create(log.path().join("stdout")).expect("a file in it");
        let mut line = under.clone();
        // A program that was put aside, while this one is built anew.
        let program = std::env::var("INTERLOCK_PROGRAM").ok();
        line.extend([
            program.unwrap_or_else(|| env!("CARGO_BIN_EXE_interlock").to_owned()),
            "run".to_owned(),
        ]);
        let child = Command::new(&line[0])
            .args(&line[1..])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--admin-listen", &format!("127.0.0.1:{admin_port}")])
            .args(&args)
            .env("INTERLOCK__CONSOLE__LISTEN", "")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL \"$1\"", "watchdog", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let mut interlock = Interlock { port, admin_port, args, environment, under, child, watchdog, log };
        let mut ended = None;
        wait_until("interlock listens", Duration::from_secs(20), || {
            if let Some(status) = interlock.child.try_wait().expect("it is a child") {
                ended = Some(format!("{status}: {}", interlock.output()));
                return true;
            }
            // The admin address: a connection to the other one would open a server connection.
            TcpStream::connect(("127.0.0.1", interlock.admin_port)).is_ok()
                && interlock.get("/healthz").is_some_and(|(status, _)| status == 200)
        });
        ended.map_or(Ok(interlock), Err)
    }

    /// `127.0.0.1:PORT` for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL for clients that take one: root without a password, schema `test`.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/test", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `"TERM"` or `"HUP"`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end; panics when it has not ended after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("interlock ends", limit, || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        status.expect("wait_until returned, so there is one")
    }

    /// True as long as the process lives.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }

    /// Everything that it has written to stdout and stderr.
    pub fn output(&self) -> String {
        let read = |name| std::fs::read_to_string(self.log.path().join(name)).unwrap_or_default();
        read("stdout") + &read("stderr")
    }

    /// HTTP GET on the admin address: status and body; `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// One sample of `/metrics` by its name and labels as printed; `None` when it is not there.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
    }

    /// The answer of `/api/status`.
    pub fn status(&self) -> serde_json::Value {
        let (status, body) = self.get("/api/status").expect("the admin address answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("the answer is JSON")
    }

    /// Waits until no session, transaction, lock, wait or hold is left; nothing must have panicked.
    pub fn assert_nothing_is_left(&self) {
        let figures = ["sessions", "transactions", "locks", "wait_edges", "held"];
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let status = self.status();
            if figures.iter().all(|figure| status[figure] == 0) {
                break;
            }
            assert!(Instant::now() < deadline, "something is left: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = self.output();
        assert!(!output.contains("panicked"), "{output}");
    }

    /// The answer of `/api/conflicts?after=0`.
    pub fn conflicts(&self) -> Vec<serde_json::Value> {
        let (status, body) = self.get("/api/conflicts?after=0").expect("the admin address answers");
        assert_eq!(status, 200, "{body}");
        let mut answer: serde_json::Value = serde_json::from_str(&body).expect("the answer is JSON");
        match answer["conflicts"].take() {
            serde_json::Value::Array(list) => list,
            other => panic!("conflicts is not a list: {other}"),
        }
    }
}

impl Interlock {
    fn stop(&mut self) {
        // The watchdog first: it must not outlive the child, whose number the kernel may give away again.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Interlock {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- interlock said:\n{}", self.output());
        }
    }
}
