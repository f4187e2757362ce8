//! A scripted analysis, and both ends of both connections.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use crate::session::analysis::{Analysis, Answer, Deadlock, Keep, Replayed, Verdict};
use crate::session::relay::{End, Negotiated, Relay, RelayError, RelayLimits};
use crate::shutdown::Drain;
use crate::wire::command::{COM_QUERY, Command};
use crate::wire::error::ErrorPacket;
use crate::wire::flags::capability;
use crate::wire::packet::write_packet;

/// What the analysis was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Command { code: u8, body: Vec<u8>, length: usize, truncated: bool, pending: usize },
    Answer(Answer),
}

#[derive(Default)]
pub struct State {
    pub told: Vec<Told>,
    pub released: Option<Verdict>,
    pub holder: Option<Waker>,
    pub busy: bool,
    pub behind: Option<String>,
    pub errand: Option<String>,
    pub done: Vec<Result<(), u16>>,
    pub keeps: bool,
    pub keep: Keep,
    pub restarts: usize,
    pub pauses: bool,
    pub deadlocks: Vec<Deadlock>,
    pub replayed: Vec<Replayed>,
    pub closed: Vec<u32>,
    /// How many commands had been decided when everything had been sent, each time.
    pub sent: Vec<usize>,
}

/// Decides by the first word of the text: EARLIER, HOLD, FIRST (asks `ASK` before it, and is rejected if that
/// fails), REJECT, UNDO (reject with rollback), ONCE (likewise, as long as a restart is possible), else forward.
/// With `keeps`, BEGIN begins what is kept, COMMIT ends it. Behind a LAST it sends `GIVE`; `errand` is what
/// it wants to send when idle.
#[derive(Clone, Default)]
pub struct Script(pub Arc<Mutex<State>>);

impl Analysis for Script {
    fn command(&mut self, command: &Command<'_>, pending: usize) -> Verdict {
        let mut state = self.0.lock().unwrap();
        let Command { code, length, truncated, body } = *command;
        state.told.push(Told::Command { code, body: body.to_vec(), length, truncated, pending });
        state.keep = match body.split(|byte| *byte == b' ').next() {
            _ if !state.keeps => Keep::Nothing,
            Some(b"BEGIN") => Keep::First { most: 4096, generates: false },
            Some(b"COMMIT") => Keep::Nothing,
            Some(b"BESIDE") => Keep::Pass,
            Some(b"INSERT") => Keep::Next { generates: true },
            _ => Keep::Next { generates: false },
        };
        match body.split(|byte| *byte == b' ').next() {
            Some(b"ONCE") if state.restarts > 0 => {
                Verdict::Reject { error: ErrorPacket::deadlock(), rollback: true }
            }
            Some(b"EARLIER") if pending > 0 => Verdict::AfterEarlier,
            Some(b"HOLD") => Verdict::Hold,
            Some(b"FIRST") => Verdict::First("ASK".to_owned()),
            Some(b"LAST") => {
                state.behind = Some("GIVE".to_owned());
                Verdict::Forward
            }
            Some(b"REJECT") => Verdict::Reject { error: ErrorPacket::deadlock(), rollback: false },
            Some(b"UNDO") => Verdict::Reject { error: ErrorPacket::deadlock(), rollback: true },
            _ => Verdict::Forward,
        }
    }

    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        let mut state = self.0.lock().unwrap();
        state.holder = Some(context.waker().clone());
        state.released.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn sent(&mut self) {
        let mut state = self.0.lock().unwrap();
        let decided = state.told.iter().filter(|told| matches!(told, Told::Command { .. })).count();
        state.sent.push(decided);
    }

    fn told(&mut self, answer: Result<(), u16>) -> Verdict {
        match answer {
            Ok(()) => Verdict::Forward,
            Err(_) => Verdict::Reject { error: ErrorPacket::interrupted(), rollback: false },
        }
    }

    fn errand_behind(&mut self) -> Option<String> {
        self.0.lock().unwrap().behind.take()
    }

    fn errand_idle(&mut self, _context: &mut Context<'_>) -> Option<String> {
        self.0.lock().unwrap().errand.take()
    }

    fn errand_done(&mut self, answer: Result<(), u16>) {
        self.0.lock().unwrap().done.push(answer);
    }

    fn rolled_back(&mut self) {}

    fn keep(&mut self) -> Keep {
        self.0.lock().unwrap().keep
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn restart(&mut self, deadlock: Deadlock) -> bool {
        let mut state = self.0.lock().unwrap();
        state.deadlocks.push(deadlock);
        let restarts = state.restarts > 0 && deadlock.whole;
        state.restarts -= usize::from(restarts);
        restarts
    }

    fn poll_restart(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock().unwrap();
        state.holder = Some(context.waker().clone());
        if state.pauses { Poll::Pending } else { Poll::Ready(true) }
    }

    fn replayed(&mut self, replayed: Replayed) {
        self.0.lock().unwrap().replayed.push(replayed);
    }

    fn left_open(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap().closed)
    }

    fn answer(&mut self, answer: &Answer) {
        let answer = Answer { server_time: Default::default(), ..answer.clone() };
        self.0.lock().unwrap().told.push(Told::Answer(answer));
    }

    fn may_close(&self) -> bool {
        !self.0.lock().unwrap().busy
    }
}

impl Script {
    pub fn release(&self, verdict: Verdict) {
        let mut state = self.0.lock().unwrap();
        state.released = Some(verdict);
        let holder = state.holder.take();
        drop(state);
        holder.expect("something is held").wake();
    }

    pub fn answers(&self) -> Vec<Answer> {
        let state = self.0.lock().unwrap();
        let answers = state.told.iter().filter_map(|told| match told {
            Told::Answer(answer) => Some(answer.clone()),
            Told::Command { .. } => None,
        });
        answers.collect()
    }

    /// Codes and texts of the commands.
    pub fn commands(&self) -> Vec<(u8, Vec<u8>)> {
        let state = self.0.lock().unwrap();
        let commands = state.told.iter().filter_map(|told| match told {
            Told::Command { code, body, .. } => Some((*code, body.clone())),
            Told::Answer(_) => None,
        });
        commands.collect()
    }
}

/// A relay that runs, with the outer ends of its connections.
pub struct Bench {
    pub client: DuplexStream,
    pub server: DuplexStream,
    pub script: Script,
    pub drain: Drain,
    pub relay: JoinHandle<Result<End, RelayError>>,
}

pub const SESSION: Negotiated = Negotiated {
    capabilities: capability::PROTOCOL_41 | capability::DEPRECATE_EOF,
    mariadb_capabilities: 0,
    is_mariadb: false,
};

impl Bench {
    pub fn new() -> Bench {
        Bench::with(64 * 1024, RelayLimits::default())
    }

    /// `buffer` is the size of each socket's buffer.
    pub fn with(buffer: usize, limits: RelayLimits) -> Bench {
        let (client, mut inner_client) = duplex(buffer);
        let (server, mut inner_server) = duplex(buffer);
        let script = Script::default();
        let drain = Drain::new();
        let (mut analysis, mut watch) = (script.clone(), drain.watch());
        let relay = tokio::spawn(async move {
            let mut relay = Relay::new(SESSION, limits);
            relay.run(&mut inner_client, &mut inner_server, &mut analysis, &mut watch, &()).await
        });
        Bench { client, server, script, drain, relay }
    }

    pub async fn end(self) -> End {
        self.relay.await.unwrap().unwrap()
    }

    /// The client sends, the server gets exactly that.
    pub async fn up(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
        expect(&mut self.server, bytes).await;
    }

    /// The server sends, the client gets exactly that.
    pub async fn down(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
        expect(&mut self.client, bytes).await;
    }
}

/// The next bytes of a stream are these.
#[track_caller]
pub fn expect<'a>(stream: &'a mut DuplexStream, bytes: &'a [u8]) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let mut got = vec![0; bytes.len()];
        let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_exact(&mut got));
        read.await.unwrap_or_else(|_| panic!("nothing came: {caller}")).unwrap();
        assert!(got == bytes, "{caller}: {:?} instead of {:?}", brief(&got), brief(bytes));
    }
}

/// The stream ends here.
pub async fn expect_end(stream: &mut DuplexStream) {
    let mut byte = [0];
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read(&mut byte)).await;
    assert_eq!(read.expect("the end is seen").unwrap(), 0, "{byte:?}");
}

fn brief(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(200)]
}

/// Nothing is to be read for a while (in the virtual time of the test).
#[track_caller]
pub fn silence(stream: &mut DuplexStream) -> impl Future<Output = ()> + '_ {
    let caller = std::panic::Location::caller();
    async move {
        let mut byte = [0];
        let read = tokio::time::timeout(std::time::Duration::from_secs(1), stream.read(&mut byte)).await;
        assert!(read.is_err(), "{caller}: {read:?} {byte:?}");
    }
}

pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_packet(&mut bytes, sequence, payload);
    bytes
}

pub fn command(code: u8, body: &[u8]) -> Vec<u8> {
    packet(0, &[&[code], body].concat())
}

pub fn query(text: &str) -> Vec<u8> {
    command(COM_QUERY, text.as_bytes())
}

/// An OK packet: autocommit, so many affected rows.
pub fn ok(affected: u8) -> Vec<u8> {
    packet(1, &[0, affected, 0, 2, 0, 0, 0])
}

/// A result set of one column without EOF packets, with `MORE_RESULTS` or not.
pub fn rows(values: &[&str], more: bool) -> Vec<u8> {
    let mut bytes = packet(1, &[1]);
    bytes.extend(packet(2, b"\x03def\0\0\0\x01c\x01c\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0"));
    for value in values {
        bytes.extend(packet(3, &[&[value.len() as u8], value.as_bytes()].concat()));
    }
    bytes.extend(packet(4, &[0xFE, 0, 0, if more { 10 } else { 2 }, 0, 0, 0]));
    bytes
}
