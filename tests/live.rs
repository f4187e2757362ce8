//! What changes while the process runs: its configuration, its certificates, its program; and what the
//! service manager is told of it.

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use support::{Interlock, Kind, Login, RawClient, Server, both, wait_until};

const TABLE: &str = "CREATE TABLE test.l (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;
    INSERT INTO test.l VALUES (1, 0), (2, 0), (10, 0)";
/// Longest time until something is seen that needs no more than a few milliseconds.
const SOON: Duration = Duration::from_secs(20);

fn client(port: u16) -> RawClient {
    RawClient::login(port, &Login { schema: Some("test".into()), ..Login::default() })
}

fn prepare(server: &Server) {
    let mut root = RawClient::login(server.port, &Login::default());
    assert!(root.query(TABLE).iter().all(|packet| packet.error().is_none()));
}

fn ok(client: &mut RawClient, sql: &str) {
    let answer = client.query(sql);
    assert!(answer.iter().all(|packet| packet.error().is_none()), "{sql}: {answer:?}");
}

/// A configuration file that tests write anew.
struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> File {
        let file = File { folder: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("interlock.toml")
    }

    /// Replaces it at once, as an editor or a ConfigMap does.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}

fn reloads(interlock: &Interlock, result: &str) -> f64 {
    interlock.metric(&format!("interlock_config_reloads_total{{result=\"{result}\"}}")).unwrap()
}

/// Writes the file, has it read, and waits until it was.
fn reload(interlock: &Interlock, file: &File, text: &str, result: &str) {
    let before = reloads(interlock, result);
    file.write(text);
    interlock.signal("HUP");
    wait_until("the configuration is read again", SOON, || reloads(interlock, result) > before);
}

#[test]
fn rules_and_limits_change_without_dropping_a_connection() {
    both(|server| {
        prepare(server);
        let file = File::new("[policy]\naction = \"flag\"\n");
        let path = file.path();
        let interlock = Interlock::start(server, &["--config", path.to_str().unwrap()]);
        let mut first = client(interlock.port);
        let mut second = client(interlock.port);
        ok(&mut first, "BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE");
        ok(&mut second, "BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE");
        ok(&mut second, "ROLLBACK");

        reload(
            &interlock,
            &file,
            "[policy]\naction = \"reorder\"\n[reorder]\nhold_timeout = \"1m\"\n",
            "applied",
        );
        assert_eq!(interlock.status()["action"], "reorder");
        // The transaction that was open is still open, and its lock is respected.
        ok(&mut second, "BEGIN");
        second.command(3, b"SELECT * FROM l WHERE id = 5 FOR UPDATE");
        wait_until("the statement is held", SOON, || interlock.status()["held"] == 1);
        ok(&mut first, "COMMIT");
        while !second.receive().is_eof() {}
        while !second.receive().is_eof() {}
        ok(&mut second, "ROLLBACK");

        // A fault in one place: nothing of it is taken, and all faults are told.
        let faulty = "[policy]\naction = \"flag\"\n[reorder]\nmax_held = -1\nmax_kept = 1\n";
        reload(&interlock, &file, faulty, "refused");
        assert_eq!(interlock.status()["action"], "reorder");
        let output = interlock.output();
        assert!(output.contains("reorder.max_held: found -1"), "{output}");
        assert!(output.contains("reorder.max_kept: found an unknown key"), "{output}");

        // What needs a restart says so; the rest of the file is in force.
        let mixed = "[policy]\naction = \"flag\"\n[frontend]\nworkers = 7\nmax_connections = 2\n";
        reload(&interlock, &file, mixed, "applied");
        assert_eq!(interlock.metric("interlock_config_pending_keys"), Some(1.0));
        let output = interlock.output();
        assert!(
            output.lines().any(|line| line.contains("frontend.workers") && line.contains("restart")),
            "{output}"
        );
        assert_eq!(interlock.status()["action"], "flag");
        assert_eq!(RawClient::connect(interlock.port).greeting_error().expect("an error").0, 1040);
        ok(&mut first, "SELECT n FROM l WHERE id = 1");
        ok(&mut second, "SELECT n FROM l WHERE id = 1");
        drop((first, second));
        interlock.assert_nothing_is_left();
    });
}

#[test]
fn the_log_level_changes_and_a_changed_file_is_seen() {
    let file = File::new("[reload]\npoll = \"50ms\"\n");
    let path = file.path();
    let interlock = Interlock::start_raw(&["--config", path.to_str().unwrap()]);
    // Each is a line of the level INFO.
    let refused = || assert!(RawClient::connect(interlock.port).greeting_error().is_some());
    let lines = || interlock.output().matches("login failed").count();
    refused();
    wait_until("a refused login is logged", SOON, || lines() == 1);
    file.write("[reload]\npoll = \"50ms\"\n[log]\nlevel = \"warn\"\n");
    wait_until("the change is seen", SOON, || reloads(&interlock, "applied") == 1.0);
    (0..5).for_each(|_| refused());
    // A faulty file is told of once, not at each look.
    file.write("[log]\nlevel = 5\n");
    wait_until("the fault is seen", SOON, || reloads(&interlock, "refused") == 1.0);
    file.write("[reload]\npoll = \"50ms\"\n[log]\nlevel = \"info\"\n");
    wait_until("the next change is seen", SOON, || reloads(&interlock, "applied") == 2.0);
    assert_eq!(reloads(&interlock, "refused"), 1.0);
    refused();
    wait_until("logins are logged again", SOON, || lines() > 1);
    assert_eq!(lines(), 2);
}

#[test]
fn a_server_that_is_down_at_the_start_is_waited_for() {
    for kind in Kind::ALL {
        let Some(mut server) = Server::start(kind) else { continue };
        prepare(&server);
        server.kill();
        wait_until("the port is closed", SOON, || TcpStream::connect(server.address()).is_err());
        let interlock = Interlock::start(&server, &["--action", "reorder"]);
        let (code, text) = RawClient::connect(interlock.port).greeting_error().expect("an error packet");
        assert!(code == 2003 && text.contains(&server.address()), "{code} {text}");
        assert_eq!(interlock.get("/healthz").unwrap().0, 200);
        let (status, reason) = interlock.get("/readyz").unwrap();
        assert!(status == 503 && reason.starts_with("not ready"), "{status} {reason}");
        server.restart();
        wait_until("it is ready", SOON, || interlock.get("/readyz").unwrap().0 == 200);
        // With its catalog: a conflict is seen.
        let mut first = client(interlock.port);
        let mut second = client(interlock.port);
        wait_until("a conflict is seen", SOON, || {
            ok(&mut first, "BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE");
            second.query("BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE; ROLLBACK");
            ok(&mut first, "ROLLBACK");
            !interlock.conflicts().is_empty()
        });
        drop((first, second));
        interlock.assert_nothing_is_left();
    }
}

#[test]
fn a_shutdown_lets_held_statements_go_on() {
    both(|server| {
        prepare(server);
        let environment = [("INTERLOCK__SHUTDOWN__GRACE", "1m"), ("INTERLOCK__REORDER__HOLD_TIMEOUT", "10m")];
        let mut interlock = Interlock::start_with(server, &["--action", "reorder"], &environment);
        let mut first = client(interlock.port);
        let mut held = client(interlock.port);
        ok(&mut first, "BEGIN; SELECT * FROM l WHERE id = 5 FOR UPDATE");
        ok(&mut held, "BEGIN");
        held.command(3, b"SELECT * FROM l WHERE id = 5 FOR UPDATE");
        wait_until("the statement is held", SOON, || interlock.status()["held"] == 1);
        interlock.signal("TERM");
        // The first one does nothing meanwhile: it is the shutdown that lets the second go on.
        while !held.receive().is_eof() {}
        while !held.receive().is_eof() {}
        wait_until("nothing is held", SOON, || {
            interlock.metric("interlock_holds_total{kind=\"hazard\",end=\"shutdown\"}") == Some(1.0)
        });
        ok(&mut held, "COMMIT");
        ok(&mut first, "COMMIT");
        assert_eq!(interlock.wait(SOON).code(), Some(0));
    });
}

/// A process that tests start by themselves; killed at the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends a process that is no child of this one.
struct Stranger(u32);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Manager { socket, path, _folder: folder }
    }

    /// Reads on until this is said; the rest of that line.
    fn hears(&self, what: &str) -> String {
        let mut bytes = [0; 1024];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|_| panic!("{what} is not said"));
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if let Some(rest) = said.lines().find_map(|line| line.strip_prefix(what)) {
                return rest.to_owned();
            }
        }
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn a_service_manager_opens_the_sockets_and_is_told() {
    let manager = Manager::new();
    // Bound before the process is there, as by a socket unit: who connects early is not refused.
    let clients = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, admin_port) = (clients.local_addr().unwrap().port(), admin.local_addr().unwrap().port());
    let mut early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    early.set_read_timeout(Some(SOON)).unwrap();
    let sockets = [OwnedFd::from(clients), OwnedFd::from(admin)];
    let mappings =
        sockets.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    let file = File::new("[log]\nlevel = \"warn\"\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    command
        .args(["run", "--config", file.path().to_str().unwrap()])
        // Neither is listened on.
        .args(["--listen", "127.0.0.1:1", "--admin-listen", "127.0.0.1:2", "--upstream", "127.0.0.1:1"])
        .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "clients:admin"), ("WATCHDOG_USEC", "200000")])
        .env("NOTIFY_SOCKET", &manager.path)
        .stdin(Stdio::null())
        .fd_mappings(mappings.collect())
        .unwrap();
    let mut process = Process(command.spawn().unwrap());
    drop(command);
    manager.hears("READY=1");
    let mut code = [0; 7];
    std::io::Read::read_exact(&mut early, &mut code).expect("the early client is answered");
    assert_eq!((code[4], u16::from_le_bytes([code[5], code[6]])), (0xff, 2003), "the server is away");
    assert!(answers(admin_port));
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    let signal = |name: &str| {
        Command::new("kill").args([format!("-{name}"), process.0.id().to_string()]).status().unwrap();
    };
    signal("HUP");
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    signal("TERM");
    manager.hears("STOPPING=1");
    let deadline = Instant::now() + SOON;
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}

/// Connects, logs in, asks, leaves, again and again; counts.
fn visit(port: u16, stop: &AtomicBool, visits: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = RawClient::connect(port);
        assert_eq!(client.greeting_error(), None, "refused");
        assert!(client.authenticate(&Login::default()).is_ok());
        // A session that is idle when the old process drains is told so in place of an answer.
        client.command(3, b"DO 1");
        match client.try_receive() {
            Ok(answer) => assert!(answer.is_ok() || answer.error().is_some_and(|(code, _)| code == 1053)),
            Err(error) => panic!("{error}"),
        }
        visits.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_upgrade_refuses_no_connection() {
    both(|server| {
        prepare(server);
        let manager = Manager::new();
        let environment =
            [("NOTIFY_SOCKET", manager.path.to_str().unwrap()), ("INTERLOCK__SHUTDOWN__GRACE", "1m")];
        let mut interlock = Interlock::start_with(server, &[], &environment);
        let mut open = client(interlock.port);
        ok(&mut open, "BEGIN; UPDATE l SET n = n + 1 WHERE id = 1");
        let (stop, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let visitors: Vec<_> = (0..4)
            .map(|_| {
                let (stop, visits, port) = (stop.clone(), visits.clone(), interlock.port);
                std::thread::spawn(move || visit(port, &stop, &visits))
            })
            .collect();
        let more = |what: &str| {
            let before = visits.load(Ordering::Relaxed);
            wait_until(what, SOON, || visits.load(Ordering::Relaxed) > before + 20);
        };
        more("clients come before the upgrade");
        interlock.signal("USR2");
        let successor = Stranger(manager.hears("MAINPID=").parse().expect("a process id"));
        assert_ne!(successor.0, interlock.pid());
        more("clients come while the old process drains");
        assert!(interlock.is_running(), "a transaction is open in it");
        ok(&mut open, "COMMIT");
        assert_eq!(interlock.wait(SOON).code(), Some(0));
        more("clients come when it has gone");
        stop.store(true, Ordering::Relaxed);
        for visitor in visitors {
            visitor.join().expect("nobody was refused");
        }
        assert_eq!(interlock.get("/readyz").expect("the new process answers").0, 200);
        // The new one can be replaced, too, and ends as the first.
        let signal = |name: &str| {
            Command::new("kill").args([format!("-{name}"), successor.0.to_string()]).status().unwrap();
        };
        signal("TERM");
        wait_until("it ends", SOON, || !answers(interlock.port));
    });
}

/// The signals for which a process has a handler: bit `n - 1` for signal `n` (proc(5), `SigCgt`).
fn caught(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux tells");
    u64::from_str_radix(mask.trim(), 16).expect("a mask in hexadecimal digits")
}

/// Whoever sees that the process is there may tell it something: a signal must not end it by then.
#[test]
fn signals_are_caught_before_an_address_is_open() {
    for _ in 0..5 {
        let (port, admin_port) = (support::free_port(), support::free_port());
        let (listen, admin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin_port}"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_interlock"))
            .args(["run", "--listen", &listen, "--admin-listen", &admin])
            .env("INTERLOCK__CONSOLE__LISTEN", "")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + SOON;
        // The first of both to open, and without a pause: the time in question is short.
        while TcpStream::connect(&listen).is_err() {
            assert!(Instant::now() < deadline, "it listens nowhere");
        }
        let caught = caught(process.id());
        process.kill().unwrap();
        process.wait().unwrap();
        for (name, signal) in [("HUP", 1), ("INT", 2), ("USR2", 12), ("TERM", 15)] {
            assert_ne!(caught & (1 << (signal - 1)), 0, "SIG{name} would end it");
        }
    }
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("interlock.toml");
    std::fs::write(&file, "").unwrap();
    let interlock = Interlock::start_raw(&["--config", file.to_str().unwrap()]);
    // What a new process would read is faulty: it cannot start.
    std::fs::File::create(&file).unwrap().write_all(b"[frontend]\nworkers = -1\n").unwrap();
    interlock.signal("USR2");
    wait_until("it is told", SOON, || interlock.output().contains("nobody has taken over"));
    assert_eq!(interlock.get("/healthz").unwrap().0, 200);
    assert_eq!(RawClient::connect(interlock.port).greeting_error().expect("no server is there").0, 2003);
}
