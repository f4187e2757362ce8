//! Another program takes over without a client being refused (SIGUSR2).
//!
//! ```text
//! this process                          the program at the same path, perhaps a newer one
//!    │ starts it with the listening sockets ──▶ both listen on the same sockets
//!    │ ◀───────────────────────────── "ready"   it accepts clients
//!    │ stops accepting, drains, ends
//! ```
//!
//! The sockets themselves are never closed, so what is queued in them is served by whoever accepts first.
//! Between the two, locks of the old process' transactions are not known to the new one.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tracing::info;

/// Set for a process that takes over: it then says on its standard output that it is ready.
const TAKES_OVER: &str = "INTERLOCK_TAKES_OVER";
/// What it says.
const READY: &str = "ready";
/// Longest time from its start until it says so.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first inherited descriptor, by convention of `LISTEN_FDS`.
const FIRST: i32 = 3;

/// Why nobody took over. This process goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// The program cannot be started.
    #[error("cannot start {}: {source}", program.to_string_lossy())]
    Start {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// It ended, or said something else.
    #[error("the new process did not become ready; its log says why")]
    NotReady,
    /// It took too long.
    #[error("the new process was not ready after {}", humantime::format_duration(PATIENCE))]
    Timeout,
}

/// Starts the program anew with these sockets and waits until it serves; its process id. Blocks.
pub(super) fn hand_over(sockets: Vec<(&'static str, OwnedFd)>) -> Result<u32, UpgradeError> {
    let mut arguments = env::args_os();
    // By its name, not by what runs now: that file may have been replaced.
    let program = arguments.next().unwrap_or_else(|| "interlock".into());
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let failed = |source: io::Error| UpgradeError::Start { program: program.clone(), source };
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env(TAKES_OVER, "1")
        // They would name this process.
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mapped = sockets.into_iter().zip(FIRST..);
    let mapped = mapped.map(|((_, parent_fd), child_fd)| FdMapping { parent_fd, child_fd }).collect();
    command.fd_mappings(mapped).map_err(|error| failed(io::Error::other(error)))?;
    let mut child = command.spawn().map_err(failed)?;
    // Its copies of the sockets are closed with the command: a stopped listener must not stay open here.
    drop(command);
    info!(pid = child.id(), "a new process is to take over");
    match said_ready(&mut child) {
        Ok(()) => Ok(child.id()),
        Err(error) => {
            // It must not serve beside this one, whatever state it is in.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn said_ready(child: &mut Child) -> Result<(), UpgradeError> {
    let Some(output) = child.stdout.take() else { return Err(UpgradeError::NotReady) };
    let (said, heard) = mpsc::channel();
    // A thread of its own, because a pipe cannot be read with a deadline; it ends with the pipe.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let _ = said.send(read.is_ok() && line.trim_end() == READY);
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(true) => Ok(()),
        Ok(false) => Err(UpgradeError::NotReady),
        Err(_) => Err(UpgradeError::Timeout),
    }
}

/// Tells the process that started this one to take over that it may go, if there is such a process.
pub(super) fn taken_over() {
    if env::var_os(TAKES_OVER).is_some() {
        let mut output = io::stdout();
        // If it is gone already, it need not be told.
        let _ = writeln!(output, "{READY}").and_then(|()| output.flush());
    }
}
