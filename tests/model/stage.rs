//! Plays a case: its sessions' statements through interlock in `flag` mode, one after the other, while the
//! server says who waits.
//!
//! After each step the stage waits until every statement under way has either returned or stands in two
//! answers of the server as waiting. A session that waits keeps its later steps until it is free; one that
//! got 1213 leaves out its steps up to its next BEGIN, as an application would.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::{Case, Step, session_name};
use crate::support::raw::capability;
use crate::support::{Interlock, Login, RawClient, Server};
use crate::truth::Watch;

/// A statement that has neither returned nor waits for a lock after this has a fault of its own.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two answers of the server that say that a statement waits: its deadlock detector has run.
const SETTLED: Duration = Duration::from_millis(20);
/// A wait that lasts as long after all others have gone is a circle that no detector has found.
const CIRCLE: Duration = Duration::from_millis(1500);
/// CR_SERVER_LOST
const CONNECTION_LOST: u16 = 2013;
/// ER_LOCK_DEADLOCK, and MariaDB's ER_AUTOINC_READ_FAILED for a cycle through the AUTO-INC lock.
const DEADLOCK: [u16; 2] = [1213, 1467];

/// A server with an interlock before it, and a database of its own.
pub struct Stage<'a> {
    watch: &'a Watch,
    interlock: Interlock,
    control: RawClient,
    database: String,
    /// The last conflict that was read.
    seen: u64,
}

/// What became of a case.
#[derive(Debug)]
pub struct Played {
    /// Its statements.
    pub steps: Vec<PlayedStep>,
    /// Sessions that got 1213.
    pub victims: Vec<usize>,
    /// At the end some waited for each other, and nobody had noticed.
    pub circle: bool,
}

/// What became of a statement.
#[derive(Clone, Debug, Default)]
pub struct PlayedStep {
    /// Whose it is.
    pub session: usize,
    /// Its text.
    pub sql: String,
    /// It was sent.
    pub issued: bool,
    /// The lock that it waited for.
    pub waited: Option<String>,
    /// Its error.
    pub errno: Option<u16>,
    /// What interlock said of it before it was sent.
    pub predictions: Vec<Prediction>,
}

/// A conflict as interlock predicted it.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// `wait` or `deadlock`.
    pub deadlock: bool,
    /// It was sure.
    pub certain: bool,
    /// Index and range of the lock in the way, and its kind.
    pub place: String,
    /// What was asked for: `X insert intention`.
    pub mode: String,
}

/// A session at work.
struct Session {
    todo: Sender<String>,
    connection: u32,
    /// The step under way, and when it was sent.
    running: Option<(usize, Instant)>,
    /// The server said at this moment that it waits.
    waits_at: Option<Instant>,
    backlog: VecDeque<usize>,
    /// Got 1213: leaves out its steps up to the next BEGIN.
    skips: bool,
}

/// An answer: session, error number.
type Answer = (usize, Option<u16>);

impl<'a> Stage<'a> {
    /// Starts an interlock before the server.
    pub fn start(server: &'a Server, watch: &'a Watch, database: &str) -> Stage<'a> {
        // Every step is to be judged by all that a look tells.
        let environment = [
            ("INTERLOCK__REDACT", "false"),
            ("INTERLOCK__CONTROL__LOOK_TIME", "1000s"),
            ("RUST_LOG", "error"),
        ];
        let interlock = Interlock::start_with(server, &["--action", "flag"], &environment);
        let control = RawClient::login(server.port, &Login::default());
        Stage { watch, interlock, control, database: database.to_owned(), seen: 0 }
    }

    /// Makes the tables anew: through interlock, as an application would.
    pub fn prepare(&mut self, schema: &[String]) -> Result<(), String> {
        let mut client = RawClient::login(self.interlock.port, &Login::default());
        let database = &self.database;
        let begin = [
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database} DEFAULT CHARACTER SET utf8mb4"),
            format!("USE {database}"),
        ];
        for sql in begin.iter().chain(schema) {
            let answer = client.query(sql);
            if let Some((code, message)) = answer.last().and_then(|packet| packet.error()) {
                return Err(format!("{sql}: {code} {message}"));
            }
        }
        let tables: Vec<String> = client
            .rows("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
            .into_iter()
            .filter_map(|row| row.into_iter().next()?)
            .collect();
        for table in tables {
            client.query(&format!("ANALYZE TABLE `{table}`")); // the same plans in every run
        }
        Ok(())
    }

    /// Plays the steps of a case on the tables as they are.
    pub fn play(&mut self, case: &Case) -> Played {
        let steps = case.steps();
        let (answers, from_sessions) = channel();
        let mut sessions: Vec<Session> =
            (0..case.sessions()).map(|n| self.session(n, &case.isolation, answers.clone())).collect();
        let mut played = Played { steps: Vec::new(), victims: Vec::new(), circle: false };
        self.read_conflicts(&sessions, &mut played);
        for step in steps {
            match step {
                Step::Sleep(pause) => std::thread::sleep(Duration::from_millis(pause)),
                Step::Statement(session, sql) => {
                    played.steps.push(PlayedStep { session, sql, ..PlayedStep::default() });
                    sessions[session].backlog.push_back(played.steps.len() - 1);
                }
            }
            let settled = self.settle(&mut sessions, &mut played, &from_sessions, PATIENCE);
            assert!(settled, "neither answered nor waiting: {}\n{:#?}", case.as_toml(), played.steps);
        }
        self.end(sessions, &mut played, &from_sessions);
        played
    }

    fn session(&self, number: usize, isolation: &str, answers: Sender<Answer>) -> Session {
        let login = Login {
            schema: Some(self.database.clone()),
            // As most drivers: affected rows, not found rows.
            capabilities: capability::DEFAULT & !capability::FOUND_ROWS,
            ..Login::default()
        };
        let mut client = RawClient::login(self.interlock.port, &login);
        client.set_timeout(Duration::from_secs(120));
        client.query(&format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"));
        let connection = client.connection_id;
        let (todo, work) = channel::<String>();
        std::thread::spawn(move || {
            for sql in work {
                let errno = match client.try_query(&sql) {
                    Ok(packets) => packets.last().and_then(|last| last.error()).map(|(code, _)| code),
                    Err(_) => Some(CONNECTION_LOST), // it was killed
                };
                if answers.send((number, errno)).is_err() {
                    return;
                }
            }
        });
        Session { todo, connection, running: None, waits_at: None, backlog: VecDeque::new(), skips: false }
    }

    /// Sends what can be sent, until all that is under way has returned or waits. False if that takes longer
    /// than `patience`.
    fn settle(
        &mut self,
        sessions: &mut [Session],
        played: &mut Played,
        answers: &Receiver<Answer>,
        patience: Duration,
    ) -> bool {
        let watch = self.watch;
        let begun = Instant::now();
        // When something last began or returned.
        let mut changed = begun;
        let mut interest = None;
        loop {
            while issue(sessions, played) {
                changed = Instant::now();
            }
            let quiet =
                |s: &Session| s.running.is_none() || s.waits_at.is_some_and(|at| at > changed + SETTLED);
            if sessions.iter().all(quiet) {
                break;
            }
            match answers.recv_timeout(Duration::from_millis(4)) {
                Ok(answer) => {
                    changed = Instant::now();
                    returned(answer, sessions, played);
                }
                // Most statements return at once: the server is asked only about the others.
                Err(_) if interest.is_none() => interest = Some(watch.interest()),
                Err(_) => {
                    assert!(!watch.has_ended(), "the server no longer answers");
                    if begun.elapsed() > patience {
                        return false;
                    }
                    self.ask(sessions, played);
                }
            }
        }
        self.read_conflicts(sessions, played);
        true
    }

    /// Takes in the server's newest answer.
    fn ask(&self, sessions: &mut [Session], played: &mut Played) {
        let snapshot = self.watch.newest();
        for session in sessions.iter_mut() {
            let Some((step, _)) = session.running.filter(|(_, sent)| snapshot.asked > *sent) else {
                continue;
            };
            let lock = snapshot.waiting.get(&session.connection);
            session.waits_at = lock.is_some().then_some(snapshot.asked);
            if let (Some(step), Some(lock)) = (played.steps.get_mut(step), lock) {
                step.waited.get_or_insert_with(|| lock.clone());
            }
        }
    }

    /// Reads what interlock has said since the last time, and notes it at the statements that it was said of.
    fn read_conflicts(&mut self, sessions: &[Session], played: &mut Played) {
        let answer = self.interlock.get(&format!("/api/conflicts?after={}", self.seen));
        let (_, body) = answer.expect("the admin address answers");
        let page: Value = serde_json::from_str(&body).expect("it is JSON");
        self.seen = page["next"].as_u64().expect("a number");
        for conflict in page["conflicts"].as_array().expect("a list") {
            let thread = conflict["requester"]["server_thread"].as_u64();
            let session = sessions.iter().position(|s| Some(u64::from(s.connection)) == thread);
            let kind = conflict["kind"].as_str().unwrap_or_default();
            let (Some(session), "before", "wait" | "deadlock") =
                (session, conflict["detected"].as_str().unwrap_or_default(), kind)
            else {
                continue;
            };
            let sql = conflict["requester"]["statement"].as_str().unwrap_or_default();
            let mut issued = played.steps.iter_mut().rev().filter(|s| s.session == session && s.issued);
            // Of an EXECUTE the text is shown that it runs.
            let shown = |step: &&mut PlayedStep| step.sql == sql || step.sql.starts_with("EXECUTE ");
            let Some(step) = issued.find(shown) else { continue };
            step.predictions.push(Prediction::of(conflict));
        }
    }

    /// Ends all transactions. Those who then still wait, wait for each other.
    fn end(&mut self, mut sessions: Vec<Session>, played: &mut Played, answers: &Receiver<Answer>) {
        let all = played.steps.len();
        let last = ["ROLLBACK", "UNLOCK TABLES", "DO RELEASE_ALL_LOCKS()"];
        for (number, session) in sessions.iter_mut().enumerate() {
            session.backlog.clear();
            session.skips = false;
            for sql in last {
                let step = PlayedStep { session: number, sql: sql.to_owned(), ..PlayedStep::default() };
                session.backlog.push_back(played.steps.len());
                played.steps.push(step);
            }
        }
        let ended = |sessions: &[Session]| sessions.iter().all(|s| s.running.is_none());
        let begun = Instant::now();
        while self.settle(&mut sessions, played, answers, PATIENCE)
            && !ended(&sessions)
            && begun.elapsed() < CIRCLE
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        played.circle = !ended(&sessions);
        for session in sessions.iter().filter(|s| s.running.is_some()) {
            self.control.query(&format!("KILL {}", session.connection));
        }
        while !ended(&sessions) {
            let answer = answers.recv_timeout(PATIENCE).expect("a killed connection ends its statement");
            sessions[answer.0].running = None;
        }
        played.steps.truncate(all);
    }
}

/// Sends the next statement of a session that is free, if there is one.
fn issue(sessions: &mut [Session], played: &mut Played) -> bool {
    let free = sessions.iter_mut().find(|s| s.running.is_none() && !s.backlog.is_empty());
    let Some(session) = free else { return false };
    let Some(number) = session.backlog.pop_front() else { return false };
    let step = &mut played.steps[number];
    let text = step.sql.to_ascii_uppercase();
    session.skips &= !(text.starts_with("BEGIN") || text.starts_with("START TRANSACTION"));
    if session.skips {
        return true;
    }
    step.issued = true;
    session.waits_at = None;
    session.running = Some((number, Instant::now()));
    session.todo.send(step.sql.clone()).expect("the session's thread lives as long as the session");
    true
}

/// A statement has returned.
fn returned((number, errno): Answer, sessions: &mut [Session], played: &mut Played) {
    let session = &mut sessions[number];
    let Some((step, _)) = session.running.take() else { return };
    session.waits_at = None;
    played.steps[step].errno = errno;
    if !errno.is_some_and(|code| DEADLOCK.contains(&code)) {
        return;
    }
    session.skips = true;
    played.victims.push(number);
    // It waited, for however short a time. The one that closed the circle, if that is another, goes on as soon as
    // this one has gone.
    let victim = &mut played.steps[step];
    if !is_end(&victim.sql) {
        victim.waited.get_or_insert_with(|| "a lock of the circle".to_owned());
    }
}

fn is_end(sql: &str) -> bool {
    let sql = sql.to_ascii_uppercase();
    sql.starts_with("COMMIT") || sql.starts_with("ROLLBACK")
}

// === impl Played ===

impl Played {
    /// A session got 1213, or they wait in a circle.
    pub fn deadlocked(&self) -> bool {
        !self.victims.is_empty() || self.circle
    }

    /// interlock foresaw a deadlock.
    pub fn deadlock_predicted(&self) -> bool {
        self.steps.iter().flat_map(|step| &step.predictions).any(|p| p.deadlock)
    }
}

/// What happened at each step and what was said of it, as comments.
impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps.iter().filter(|step| step.issued) {
            writeln!(f, "#   {}", step.text())?;
            let waited = step.waited.iter().map(|lock| format!("waited for {lock}"));
            let failed = step.errno.iter().map(|code| format!("error {code}"));
            let said = step.predictions.iter().map(|it| format!("foreseen: {it}"));
            waited.chain(failed).chain(said).try_for_each(|line| writeln!(f, "#       {line}"))?;
        }
        let victims = self.victims.iter().map(|victim| format!("{} is a victim", session_name(*victim)));
        let circle = self.circle.then(|| "they wait in a circle".to_owned());
        victims.chain(circle).try_for_each(|line| writeln!(f, "#   {line}"))
    }
}

impl PlayedStep {
    /// interlock foresaw a wait or a deadlock of this statement.
    pub fn predicted(&self) -> bool {
        !self.predictions.is_empty()
    }

    /// `A: statement`
    pub fn text(&self) -> String {
        format!("{}: {}", session_name(self.session), self.sql)
    }
}

impl Prediction {
    fn of(conflict: &Value) -> Prediction {
        let place = &conflict["resource"];
        let word = |name: &str| place[name].as_str().unwrap_or_default().to_owned();
        Prediction {
            deadlock: conflict["kind"] == "deadlock",
            certain: conflict["certainty"] == "certain",
            place: format!("{}.{} {}", word("table"), word("index"), word("range")),
            mode: word("mode"),
        }
    }

    /// `wait (likely)`
    pub fn kind(&self) -> String {
        let kind = if self.deadlock { "deadlock" } else { "wait" };
        let sure = if self.certain { "certain" } else { "likely" };
        format!("{kind} ({sure})")
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}", self.kind(), self.mode, self.place)
    }
}
