//! One client's life, from its accepted connection to its end.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures_util::future::LocalBoxFuture;
use tracing::{debug, info};

use super::analyze::{Analyzer, Digests, Plans};
use super::login::{self, LoggedIn, LoginError, change_user};
use super::programs::Programs;
use super::relay::{End, Negotiated, Observer, Relay, RelayLimits};
use super::rules::Rules;
use super::views::Views;
use crate::admission::Admission;
use crate::backend::catalog_store::Catalog;
use crate::backend::control::Control;
use crate::backend::coordinator::Ends;
use crate::backend::explain::Explainer;
use crate::backend::probe::Prober;
use crate::backend::procedures::Procedures;
use crate::backend::scan::Scanner;
use crate::backend::stream::{Peer, Stream};
use crate::lock::key::Key;
use crate::metrics::Metrics;
use crate::metrics::labels::{ConnectionEnd, Direction, Errno};
use crate::scheduler::policy::Action;
use crate::shutdown::{Phase, Watch};

/// How long a login may go on when the process shuts down.
const LOGIN_GRACE: Duration = Duration::from_secs(3);

/// What all sessions share.
pub struct Shared {
    /// What a reload of the configuration replaces.
    pub live: ArcSwap<Live>,
    /// The door to the scheduler.
    pub admission: Arc<Admission>,
    /// What can be asked of the server; `None` without a control account.
    pub knowledge: Option<Knowledge>,
    /// What is counted.
    pub metrics: Metrics,
    /// The statements that are known.
    pub digests: Arc<Digests>,
    /// The shutdown.
    pub watch: Watch,
}

/// A snapshot of everything that a reload of the configuration replaces, as one. It never changes; a reload
/// puts another in its place, and each statement and each login looks at the one that is there.
pub struct Live {
    /// How to log in.
    pub login: login::Settings,
    /// TLS towards clients; `None` without a certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How statements are analysed.
    pub settings: Settings,
}

/// The settings in force. Not to be kept: it is cheap to take, and a kept one is soon out of date.
pub struct Current(Guard<Arc<Live>>);

impl Shared {
    /// The settings in force: one atomic load.
    pub fn settings(&self) -> Current {
        Current(self.live.load())
    }
}

impl std::ops::Deref for Current {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0.settings
    }
}

/// What can be asked of the server.
pub struct Knowledge {
    /// The control connections.
    pub control: Control,
    /// Definitions of tables.
    pub catalog: Arc<Catalog>,
    /// Looks at the records around a place.
    pub prober: Prober,
    /// What is known of the ends of indexes, for the names of gaps.
    pub ends: Ends<Key>,
    /// What stands behind views.
    pub views: Views,
    /// Procedures.
    pub procedures: Procedures,
    /// The bodies of triggers and procedures, read.
    pub programs: Programs,
    /// Access paths.
    pub explainer: Explainer,
    /// Looks at the entries that a search meets.
    pub scanner: Scanner,
}

/// How statements are analysed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What may be done about a conflict, unless a rule says otherwise.
    pub action: Action,
    /// The rules.
    pub rules: Rules,
    /// Bytes of a transaction that are kept to run it again if it is a deadlock's victim; `None`: never.
    pub retry: Option<usize>,
    /// Names of gaps are taken on the server, because other interlocks stand before it too.
    pub coordinates: bool,
    /// Keep no literals.
    pub redact: bool,
    /// Bytes of a command up to which it is analysed.
    pub max_statement: usize,
    /// Prepared statements per session that are followed.
    pub max_prepared: usize,
    /// Plans in a worker's digest cache.
    pub max_plans: usize,
    /// Savepoints per transaction that are followed.
    pub max_savepoints: usize,
    /// Locks of one transaction that are followed.
    pub max_locks: usize,
    /// Statements remembered per transaction.
    pub history: usize,
    /// A definition of this age is believed by a session that uses the table for the first time.
    pub fresh: Duration,
    /// How long such a statement waits for the definition.
    pub first_use_timeout: Duration,
    /// How long a statement waits for a look at a gap's edges.
    pub probe_timeout: Duration,
}

/// Serves one client to its end.
pub fn serve(
    shared: Arc<Shared>,
    stream: Stream,
    peer: Peer,
    plans: Rc<Plans>,
) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        // A login that is under way when the process shuts down may end well; somebody who only holds a
        // connection open is not waited for.
        let mut watch = shared.watch.clone();
        let live = shared.live.load_full();
        let login = login::login(&live.login, stream, peer, live.tls.clone());
        let login = tokio::select! {
            login = login => login,
            () = async {
                watch.reached(Phase::Draining).await;
                tokio::time::sleep(LOGIN_GRACE).await;
            } => return,
        };
        // A session may last for days: it must not keep the settings of its first day.
        drop((live, watch));
        let end = match login {
            Ok(session) => run(&shared, session, plans).await,
            Err(error) => {
                // Health checks connect and leave: no line for them.
                if !matches!(error, LoginError::ClientLeft) {
                    info!(?peer, %error, "login failed");
                }
                failed(&error)
            }
        };
        shared.metrics.connections.inc(end);
    })
}

/// The command phase, with the changes of user that interlock has to mediate.
async fn run(shared: &Arc<Shared>, session: LoggedIn, plans: Rc<Plans>) -> ConnectionEnd {
    let LoggedIn { mut client, mut server, facts, mariadb_capabilities, mut reauthentication } = session;
    let capabilities = facts.capabilities;
    let negotiated = Negotiated {
        capabilities,
        mariadb_capabilities,
        is_mariadb: facts.server_version.contains("MariaDB"),
    };
    let limits = RelayLimits {
        max_analysed: shared.settings().max_statement,
        bridge_change_user: reauthentication.is_needed(),
        ..RelayLimits::default()
    };
    let mut analysis = Analyzer::new(shared.clone(), plans, facts);
    let _open = Open::enter(&shared.metrics);
    debug!(session = %analysis.id(), thread = analysis.server_thread(), "connection opened");
    let entry = analysis.entry().clone();
    let mut watch = shared.watch.clone();
    let mut relay = Relay::new(negotiated, limits);
    let traffic = Traffic(&shared.metrics);
    let end = loop {
        let end = relay.run(&mut client, &mut server, &mut analysis, &mut watch, &traffic);
        let end = tokio::select! {
            biased;
            end = end => end,
            // Both connections close: the server rolls back.
            () = poll_fn(|context| entry.poll_killed(context)) => {
                info!(session = %entry.id, "session killed by an operator");
                break ConnectionEnd::Killed;
            }
        };
        match end {
            Ok(End::ChangeUser(packet)) => {
                let live = shared.live.load_full();
                let change =
                    change_user(&live.login, &reauthentication, capabilities, client, server, &packet);
                match change.await {
                    Ok(changed) => {
                        (client, server, reauthentication) =
                            (changed.client, changed.server, changed.reauthentication);
                        relay.user_changed(&mut analysis, &changed.answer);
                    }
                    Err(error) => {
                        info!(session = %analysis.id(), %error, "change of user failed");
                        break ConnectionEnd::Error;
                    }
                }
            }
            Ok(end) => break ended(&end),
            Err(error) => {
                debug!(session = %analysis.id(), %error, "connection broke");
                break ConnectionEnd::Error;
            }
        }
    };
    debug!(session = %analysis.id(), ?end, "connection closed");
    end
}

fn failed(error: &LoginError) -> ConnectionEnd {
    match error {
        LoginError::Connect(_) | LoginError::ServerLeft | LoginError::Server(_) => ConnectionEnd::Unreachable,
        LoginError::Denied { .. } | LoginError::Refused(_) => ConnectionEnd::Denied,
        LoginError::TlsRequired
        | LoginError::TlsNotOffered
        | LoginError::ClientTls(_)
        | LoginError::ServerWithoutTls
        | LoginError::ServerTls(_) => ConnectionEnd::Tls,
        _ => ConnectionEnd::Login,
    }
}

fn ended(end: &End) -> ConnectionEnd {
    match end {
        End::Quit | End::ClientClosed => ConnectionEnd::Client,
        End::ServerClosed => ConnectionEnd::Server,
        End::Drained | End::Closed => ConnectionEnd::Shutdown,
        End::RollbackFailed | End::ChangeUser(_) => ConnectionEnd::Error,
    }
}

/// Counts a session while it lives.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn enter(metrics: &'a Metrics) -> Open<'a> {
        metrics.sessions.inc();
        Open(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.sessions.dec();
    }
}

/// Counts what passes.
struct Traffic<'a>(&'a Metrics);

impl Observer for Traffic<'_> {
    fn to_server(&self, bytes: usize) {
        self.0.bytes.add(Direction::ToServer, bytes as u64);
    }

    fn to_client(&self, bytes: usize) {
        self.0.bytes.add(Direction::ToClient, bytes as u64);
    }

    fn error(&self, code: u16) {
        self.0.errors.inc(Errno::of(code));
    }
}
