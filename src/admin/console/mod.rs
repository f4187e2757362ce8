//! The console: a MySQL port of interlock's own, for any MySQL client.
//!
//! ```text
//! mysql> SHOW LOCKS WHERE session = 7;
//! mysql> SELECT * FROM interlock.transactions WHERE blocks > 0 ORDER BY age_ms DESC;
//! mysql> RELEASE HOLD 12;
//! ```
//!
//! The protocol is opensrv-mysql's, behind a gate (`gate.rs`) without which its packet reader is unsound. Each
//! connection is a task of its own: if it panics, only it ends.

mod account;
mod answer;
mod gate;
mod help;
mod query;
mod schema;
mod secure;
mod shim;
mod timeline;
mod variables;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use opensrv_mysql::{AsyncMysqlIntermediary, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::operator::Operator;
use super::turns::Turns;
use super::view::View;
pub use account::Accounts;
pub use secure::{Both, Handshake, Secure};

/// Connections at one time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Longest packet that is read.
const LONGEST_PACKET: usize = 1 << 20;
/// Longest time from accept to the end of the login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the console shows and does.
#[derive(Clone)]
pub struct Console {
    /// The tables.
    pub view: View,
    /// The hands.
    pub operator: Operator,
    /// Who may log in.
    pub accounts: Arc<ArcSwap<Accounts>>,
    /// The configuration in force, key by key, secrets masked.
    pub variables: Arc<dyn Fn() -> Vec<(String, String)> + Send + Sync>,
    /// Statements that are answered at one time.
    pub turns: Turns,
    /// TLS for those who ask for it.
    pub secure: Secure,
}

/// Why a statement was not answered: a MySQL error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Fault {
    /// MySQL's error number.
    pub code: u16,
    /// What is wrong.
    pub text: String,
}

/// Serves until `stop` is ready.
pub async fn serve(listener: TcpListener, console: Console, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let numbers = AtomicU32::new(1);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match (accepted, slots.clone().try_acquire_owned()) {
            (Ok((stream, peer)), Ok(slot)) => {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let session = session(stream, peer, console.clone(), number, slot);
                // A panic ends this task, and with it this connection only.
                tokio::spawn(session);
            }
            (Ok((_, peer)), Err(_)) => warn!(%peer, "too many console connections"),
            (Err(error), _) => {
                // Out of descriptors, most likely: others must get a chance to close theirs.
                warn!(%error, "the console cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn session(
    stream: TcpStream,
    peer: SocketAddr,
    console: Console,
    number: u32,
    _slot: OwnedSemaphorePermit,
) {
    // Answers are written in one piece; without this they would wait for the last acknowledgement.
    let _ = stream.set_nodelay(true);
    let scramble = shim::scramble();
    let whose = Whose { console, number, peer, scramble };
    let Some(handshake) = (whose.console.secure)() else {
        let (reader, writer) = stream.into_split();
        return talk(reader, writer, whose).await;
    };
    let greeting = secure::greeting(&variables::version(), number, &scramble);
    match tokio::time::timeout(LOGIN_TIMEOUT, secure::open(stream, handshake, &greeting)).await {
        Ok(Ok((stream, login))) => {
            let (reader, writer) = tokio::io::split(stream);
            talk(std::io::Cursor::new(login).chain(reader), secure::Muted::new(writer), whose).await;
        }
        Ok(Err(error)) => debug!(%peer, %error, "console connection ended before its login"),
        Err(_) => debug!(%peer, "no login on the console in time"),
    }
}

/// Whose connection it is.
struct Whose {
    console: Console,
    number: u32,
    peer: SocketAddr,
    scramble: [u8; 20],
}

async fn talk<R, W>(reader: R, writer: W, whose: Whose)
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin,
{
    let peer = whose.peer;
    let (reader, writer) = gate::gate(reader, tokio::io::BufWriter::new(writer), LONGEST_PACKET);
    let (shim, logged_in) = shim::Shim::new(whose, reader.turn());
    let talk = AsyncMysqlIntermediary::run_on(shim, reader, writer);
    tokio::pin!(talk);
    let ended = tokio::select! {
        ended = &mut talk => ended,
        () = login_timeout(logged_in) => {
            debug!(%peer, "no login on the console in time");
            return;
        }
    };
    match ended {
        Ok(()) => debug!(%peer, "console connection closed"),
        Err(error) => debug!(%peer, %error, "console connection ended"),
    }
}

/// Ready if no login came in time; never ready after one.
async fn login_timeout(logged_in: tokio::sync::oneshot::Receiver<()>) {
    if let Ok(Ok(())) = tokio::time::timeout(LOGIN_TIMEOUT, logged_in).await {
        std::future::pending::<()>().await;
    }
}

impl Fault {
    fn new(code: u16, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// 1064
    fn syntax(text: &str) -> Fault {
        Fault::new(1064, format!("{text}; HELP shows what the console understands"))
    }

    /// 1235
    fn beyond(text: &str) -> Fault {
        Fault::new(1235, text)
    }

    /// 1054
    fn unknown_column(name: &str) -> Fault {
        Fault::new(1054, format!("Unknown column '{name}'"))
    }

    /// 1193
    fn unknown_variable(name: &str) -> Fault {
        Fault::new(1193, format!("Unknown system variable '{name}'"))
    }

    /// 1146
    fn unknown_table(schema: &str, name: &str) -> Fault {
        Fault::new(1146, format!("Table '{schema}.{name}' doesn't exist"))
    }

    /// The kind that opensrv-mysql wants; it knows a fixed list.
    fn kind(&self) -> ErrorKind {
        match self.code {
            1045 => ErrorKind::ER_ACCESS_DENIED_ERROR,
            1049 => ErrorKind::ER_BAD_DB_ERROR,
            1054 => ErrorKind::ER_BAD_FIELD_ERROR,
            1064 => ErrorKind::ER_PARSE_ERROR,
            1094 => ErrorKind::ER_NO_SUCH_THREAD,
            1146 => ErrorKind::ER_NO_SUCH_TABLE,
            1193 => ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE,
            1227 => ErrorKind::ER_SPECIFIC_ACCESS_DENIED_ERROR,
            1231 => ErrorKind::ER_WRONG_VALUE_FOR_VAR,
            1235 => ErrorKind::ER_NOT_SUPPORTED_YET,
            _ => ErrorKind::ER_UNKNOWN_ERROR,
        }
    }
}

#[cfg(test)]
mod tests;
