//! Plays a script through the proxy's own analysis, with answers that are looked up instead of awaited.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use super::answer::{self, Changes};
use super::script::Line;
use super::shown::{self, Shown};
use super::words::{self, Around};
use crate::admission::record::{Detected, Record};
use crate::backend::control::{ControlError, Lane};
use crate::backend::literal;
use crate::catalog::{Flavour, ServerFacts};
use crate::intent::outcome::{self, Answered, Rules};
use crate::lock::request::{Kind, Request, Settled};
use crate::scheduler::conflict::ConflictKind;
use crate::session::analysis::{Analysis, Answer, LoginFacts, Verdict};
use crate::session::analyze::{Analyzer, Foreseen, ForeseenLock, Plans};
use crate::session::serve::{Knowledge, Shared};
use crate::sql::statement::{Isolation, OpaqueReason, Statement};
use crate::txn::effect::{STATUS_AUTOCOMMIT, STATUS_IN_TRANS};
use crate::wire::command::{COM_QUERY, Command};
use crate::wire::outcome::OutcomeKind;

/// The server does not let the account prepare it, or it is no statement that can be prepared: no fault of
/// the statement. ER_DBACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED, ER_SPECIFIC_ACCESS_DENIED,
/// ER_UNSUPPORTED_PS, ER_OPTION_PREVENTS_STATEMENT
const NOT_CHECKED: [u16; 6] = [1044, 1142, 1143, 1227, 1295, 1290];

/// Why a script cannot be played.
#[derive(thiserror::Error, Debug)]
pub enum RehearsalError {
    /// The server does not accept a statement.
    #[error("line {line}: {message} (error {code})\n  {sql}")]
    Refused { line: usize, code: u16, message: String, sql: String },
    /// Neither interlock nor the server could read it.
    #[error("line {line}: this statement is not understood\n  {sql}")]
    NotUnderstood { line: usize, sql: String },
    /// The control connection.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A script that was played.
pub struct Played {
    /// `MySQL 9.7.4`
    pub server: String,
    /// Names of the sessions, in order of appearance.
    pub sessions: Vec<String>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Sessions that still wait at the end, with those that they wait for.
    pub waiting: Vec<(usize, Vec<usize>)>,
}

/// One moment of a script.
pub enum Event {
    /// A statement was sent.
    Sent(Step),
    /// A statement that waited goes on, because those before it have ended.
    GoesOn { session: usize, number: usize },
    /// A statement cannot be sent: its session still waits.
    Behind { session: usize, number: usize, line: Line },
    /// A statement is left out: its transaction was rolled back to end a deadlock.
    LeftOut { session: usize, number: usize, line: Line },
}

/// A statement that was sent.
pub struct Step {
    /// Whose it is.
    pub session: usize,
    /// Its number in the script, from 1.
    pub number: usize,
    /// Its text.
    pub line: Line,
    /// Isolation level that it runs under.
    pub isolation: &'static str,
    /// It is a transaction of its own.
    pub alone: bool,
    /// The locks that it takes.
    pub locks: Vec<Lock>,
    /// Something that it locks is not known, and why.
    pub unknown: Option<&'static str>,
    /// What it meets.
    pub conflict: Option<Conflict>,
}

/// A lock, in words.
#[derive(serde::Serialize)]
pub struct Lock {
    pub schema: String,
    pub table: String,
    pub index: String,
    pub mode: String,
    pub kind: &'static str,
    pub place: String,
    pub certainty: String,
    pub rule: &'static str,
    pub why: &'static str,
    pub blocks: &'static str,
    /// As the server would show it, if it would.
    pub shown: Option<Shown>,
}

/// What a statement meets.
pub struct Conflict {
    /// Wait, deadlock, or hazard.
    pub kind: ConflictKind,
    /// How sure that is.
    pub certainty: String,
    /// The sessions in the way.
    pub holders: Vec<usize>,
    /// What was asked for, and where.
    pub place: String,
}

/// A script being played.
pub struct Rehearsal {
    shared: Arc<Shared>,
    facts: Arc<ServerFacts>,
    schema: Option<String>,
    isolation: Option<&'static str>,
    plans: Rc<Plans>,
    names: Vec<String>,
    actors: Vec<Actor>,
    changes: Changes,
    events: Vec<Event>,
    /// The last conflict that was read.
    seen: u64,
}

/// A session.
struct Actor {
    analyzer: Analyzer,
    /// The statement that waits.
    waits: Option<Waits>,
    backlog: VecDeque<(usize, Line)>,
    /// The victim of a deadlock: an application gives up the rest of its transaction.
    gives_up: bool,
}

struct Waits {
    number: usize,
    sql: String,
}

impl Rehearsal {
    /// A script on this server, every session in `schema` and at `isolation`.
    pub fn new(
        shared: Arc<Shared>,
        facts: Arc<ServerFacts>,
        schema: Option<String>,
        isolation: Option<&'static str>,
    ) -> Rehearsal {
        let plans = Rc::new(Plans::new(shared.settings().max_plans, shared.digests.clone()));
        Rehearsal {
            shared,
            facts,
            schema,
            isolation,
            plans,
            names: Vec::new(),
            actors: Vec::new(),
            changes: Changes::default(),
            events: Vec::new(),
            seen: 0,
        }
    }

    /// Is it a MariaDB?
    pub fn is_mariadb(&self) -> bool {
        self.facts.flavour == Flavour::MariaDb
    }

    /// Plays a script to its end.
    pub async fn play(&mut self, lines: Vec<Line>) -> Result<Played, RehearsalError> {
        for (at, line) in lines.into_iter().enumerate() {
            let session = self.session(&line.session).await?;
            if self.actors[session].waits.is_some() {
                self.events.push(Event::Behind { session, number: at + 1, line: line.clone() });
                self.actors[session].backlog.push_back((at + 1, line));
                continue;
            }
            self.send(session, at + 1, line).await?;
            self.go_on().await?;
        }
        let waiting = (0..self.actors.len()).filter(|s| self.actors[*s].waits.is_some());
        let waiting = waiting.map(|session| (session, self.blockers(session))).collect();
        let name = if self.is_mariadb() { "MariaDB" } else { "MySQL" };
        let version = self.facts.version.split('-').next().unwrap_or_default();
        Ok(Played {
            server: format!("{name} {version}"),
            sessions: self.names.clone(),
            events: std::mem::take(&mut self.events),
            waiting,
        })
    }

    /// The session of a name; it logs in when it is first named.
    async fn session(&mut self, name: &str) -> Result<usize, RehearsalError> {
        if let Some(known) = self.names.iter().position(|known| known == name) {
            return Ok(known);
        }
        let version = &self.facts.version;
        let flavoured = self.is_mariadb() && !version.contains("MariaDB");
        let login = LoginFacts {
            user: name.to_owned(),
            schema: self.schema.clone(),
            server_thread: self.names.len() as u32 + 1,
            server_version: if flavoured { format!("{version}-MariaDB") } else { version.clone() },
            status: STATUS_AUTOCOMMIT,
            ..LoginFacts::default()
        };
        let analyzer = Analyzer::new(self.shared.clone(), self.plans.clone(), login);
        self.names.push(name.to_owned());
        self.actors.push(Actor { analyzer, waits: None, backlog: VecDeque::new(), gives_up: false });
        let session = self.actors.len() - 1;
        if let Some(level) = self.isolation {
            let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
            self.command(session, &set).await;
            let foreseen = self.actors[session].analyzer.foresee(set.as_bytes());
            self.actors[session].analyzer.answer(&answer::of(&foreseen, &[]));
        }
        Ok(session)
    }

    /// Puts a statement to the analysis, and answers it unless it would wait.
    async fn send(&mut self, session: usize, number: usize, line: Line) -> Result<(), RehearsalError> {
        self.check(session, &line).await?;
        let actor = &mut self.actors[session];
        let begins =
            matches!(actor.analyzer.foresee(line.sql.as_bytes()).plan.statement, Statement::Begin { .. });
        actor.gives_up &= !begins;
        if actor.gives_up {
            self.events.push(Event::LeftOut { session, number, line });
            return Ok(());
        }
        self.actors[session].analyzer.learn(line.sql.as_bytes(), &self.changes).await;
        let foreseen = self.actors[session].analyzer.foresee(line.sql.as_bytes());
        self.command(session, &line.sql).await;
        let around = match &self.shared.knowledge {
            Some(knowledge) => answer::look(&foreseen, knowledge, &self.changes).await,
            None => Vec::new(),
        };
        let conflict = self.conflict(session);
        let reply = answer::of(&foreseen, &around);
        let step_sql = line.sql.clone();
        self.events.push(Event::Sent(Step {
            session,
            number,
            isolation: level(foreseen.isolation),
            alone: foreseen.alone,
            locks: self.locks(&foreseen, &around, &reply),
            unknown: foreseen.unknown,
            line,
            conflict,
        }));
        let Some(Event::Sent(Step { conflict, .. })) = self.events.last() else { return Ok(()) };
        match conflict.as_ref().map(|conflict| conflict.kind) {
            Some(ConflictKind::Wait) => {
                let sql = step_sql;
                self.actors[session].waits = Some(Waits { number, sql });
            }
            Some(ConflictKind::Deadlock) => {
                // The server chooses the victim; as a rule it is the one that closed the circle.
                self.actors[session].analyzer.answer(&answer::deadlock());
                self.actors[session].gives_up = true;
                self.changes.ended(session, false);
            }
            _ => self.answer(session, &foreseen, &reply),
        }
        Ok(())
    }

    fn answer(&mut self, session: usize, foreseen: &Foreseen, reply: &Answer) {
        self.actors[session].analyzer.answer(reply);
        self.changes.done(session, foreseen, reply);
        if reply.status.is_some_and(|status| status & STATUS_IN_TRANS == 0) {
            self.changes.ended(session, !matches!(foreseen.plan.statement, Statement::Rollback { .. }));
        }
    }

    /// Answers those that wait for nobody any more, and sends what had queued behind them.
    async fn go_on(&mut self) -> Result<(), RehearsalError> {
        while let Some(session) =
            (0..self.actors.len()).find(|s| self.actors[*s].waits.is_some() && self.blockers(*s).is_empty())
        {
            let Some(Waits { number, sql }) = self.actors[session].waits.take() else { break };
            // What it waited for has changed the tables: it looks again.
            self.actors[session].analyzer.learn(sql.as_bytes(), &self.changes).await;
            let foreseen = self.actors[session].analyzer.foresee(sql.as_bytes());
            let around = match &self.shared.knowledge {
                Some(knowledge) => answer::look(&foreseen, knowledge, &self.changes).await,
                None => Vec::new(),
            };
            self.events.push(Event::GoesOn { session, number });
            self.answer(session, &foreseen, &answer::of(&foreseen, &around));
            while self.actors[session].waits.is_none() {
                let Some((number, line)) = self.actors[session].backlog.pop_front() else { break };
                Box::pin(self.send(session, number, line)).await?;
            }
        }
        Ok(())
    }

    /// Gives the command to the analysis until it lets it on.
    async fn command(&mut self, session: usize, sql: &str) {
        let analyzer = &mut self.actors[session].analyzer;
        let body = sql.as_bytes();
        let command = Command { code: COM_QUERY, body, length: body.len() + 1, truncated: false };
        let mut verdict = analyzer.command(&command, 0);
        loop {
            verdict = match verdict {
                // In `flag` mode a statement is kept back only until something is known.
                Verdict::Hold => poll_fn(|context| analyzer.poll_hold(context)).await,
                Verdict::AfterEarlier => analyzer.command(&command, 0),
                Verdict::Forward | Verdict::Reject { .. } | Verdict::First(_) => return,
            }
        }
    }

    /// Would the server accept it? It is asked to prepare it, which runs nothing.
    async fn check(&self, session: usize, line: &Line) -> Result<(), RehearsalError> {
        let analyzer = &self.actors[session].analyzer;
        let statement = &analyzer.foresee(line.sql.as_bytes()).plan;
        let opaque = matches!(statement.statement, Statement::Opaque { reason: OpaqueReason::Syntax, .. });
        let known = matches!(
            statement.statement,
            Statement::Select(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
        );
        let Some(Knowledge { control, .. }) = self.shared.knowledge.as_ref().filter(|_| known || opaque)
        else {
            return Ok(());
        };
        let schema = analyzer.schema().map(|name| format!("USE {}; ", literal::identifier(name)));
        let text = literal::string(&line.sql);
        let prepare = format!(
            "{}PREPARE interlock FROM {text}; DEALLOCATE PREPARE interlock",
            schema.unwrap_or_default()
        );
        match control.query(Lane::Catalog, prepare).await {
            Err(ControlError::Server(code, message)) if !NOT_CHECKED.contains(&code) => {
                Err(RehearsalError::Refused { line: line.line, code, message, sql: line.sql.clone() })
            }
            Err(ControlError::Server(..)) if opaque => {
                Err(RehearsalError::NotUnderstood { line: line.line, sql: line.sql.clone() })
            }
            Err(ControlError::Server(..)) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The worst conflict that interlock has found for the statement just sent.
    fn conflict(&mut self, session: usize) -> Option<Conflict> {
        let page = self.shared.admission.ledger.page(self.seen, usize::MAX);
        self.seen = page.next;
        let me = self.actors[session].analyzer.id().0;
        let mine = |record: &&Record| record.requester.session == me && record.detected == Detected::Before;
        let record = page.conflicts.iter().filter(mine).max_by_key(|record| record.kind)?;
        let position = |id: u64| self.actors.iter().position(|actor| actor.analyzer.id().0 == id);
        let place = &record.resource;
        Some(Conflict {
            kind: record.kind,
            certainty: format!("{:?}", record.certainty).to_lowercase(),
            holders: record.holders.iter().filter_map(|party| position(party.session)).collect(),
            place: format!("{} on {}.{}: {}", place.mode, place.table, place.index, place.range),
        })
    }

    /// The sessions that a waiting statement waits for.
    fn blockers(&self, session: usize) -> Vec<usize> {
        let Some(txn) = self.actors[session].analyzer.transaction_under_way() else { return Vec::new() };
        let edges = self.shared.admission.scheduler().graph().edges_of(txn);
        let owner = |edge: &crate::lock::wait_for::Edge| {
            let entry = self.shared.admission.registry.session_of(edge.to)?;
            self.actors.iter().position(|actor| actor.analyzer.id() == entry.id)
        };
        edges.iter().filter_map(owner).collect()
    }

    /// The locks as they are once the statement is answered.
    fn locks(&self, foreseen: &Foreseen, around: &[Option<Around>], reply: &Answer) -> Vec<Lock> {
        let answered = match &reply.result {
            OutcomeKind::Rows { rows, cursor: false } => Answered::Rows(*rows),
            OutcomeKind::Ok { affected, .. } => {
                Answered::Changed { affected: *affected, matched: Some(*affected) }
            }
            OutcomeKind::Error { code, .. } => Answered::Failed(*code),
            _ => Answered::Unclear,
        };
        let requests: Vec<_> = foreseen.locks.iter().map(|lock| lock.request.clone()).collect();
        let settle = if foreseen.exact { outcome::settle_exact } else { outcome::settle };
        let gaps = foreseen.isolation >= Isolation::RepeatableRead;
        let rules = Rules { flavour: self.facts.flavour, gaps };
        let settled = settle(&foreseen.plan.statement, &requests, &answered, None, rules);
        // One key is asked for only where somebody has put it, and then the statement waits for him.
        let nothing = |request: &Request| request.kind == Kind::Ahead && request.range.is_entries();
        let pairs = foreseen.locks.iter().zip(settled).zip(around);
        let asked = pairs.filter(|((lock, _), _)| !nothing(&lock.request));
        asked.map(|((lock, settled), around)| in_words(lock, &settled, around.as_ref())).collect()
    }
}

/// As SQL writes it.
fn level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "READ UNCOMMITTED",
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

fn in_words(lock: &ForeseenLock, settled: &Settled, around: Option<&Around>) -> Lock {
    let ForeseenLock { request, reach, table, place } = lock;
    let index = &table.indexes[usize::from(request.index.index)];
    let (mut mode, mut kind, mut name) = (request.mode, request.kind, request.kind.name());
    match settled {
        // An insert's new record is held like any other: the intention tells more.
        Settled::Became(..) if request.kind.inserts() => {}
        Settled::Became(became, _) => (kind, name) = (*became, became.name()),
        Settled::Duplicate => {
            (mode, kind, name) = (crate::lock::mode::Mode::S, Kind::Record, "record (duplicate)")
        }
        Settled::Released => name = "nothing is kept",
        Settled::Kept => {}
        #[allow(unreachable_patterns, reason = "what is added to the model needs no words at once")]
        _ => {}
    }
    let edges = words::edges(table, index, reach.as_ref(), around);
    let shown = shown::shown(request, settled, reach.as_ref(), around);
    Lock {
        schema: table.schema.clone(),
        table: table.name.clone(),
        index: index.name.clone(),
        mode: format!("{mode:?}"),
        kind: name,
        place: words::place(table, index, kind, &request.range, place.as_deref(), &edges),
        certainty: format!("{:?}", request.certainty).to_lowercase(),
        rule: request.rule,
        why: super::why::why(request.rule),
        blocks: if *settled == Settled::Released { "nobody" } else { words::blocks(mode, kind) },
        shown,
    }
}
