//! What can be looked at and done from outside: the admin room's view and operator, from the other rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tracing::{info, warn};

use super::reload::{Applied, Reloader};
use crate::admin::console::{self, Accounts, Both, Console, Handshake, Secure};
use crate::admin::guard::Access;
use crate::admin::operator::{Operator, Refused};
use crate::admin::turns::Turns;
use crate::admin::view::View;
use crate::admin::view::rows::{Digest, Signature};
use crate::admission::record::Resource;
use crate::backend::control::Lane;
use crate::catalog::Table;
use crate::config::{Action, Address, Change, Config};
use crate::id::{IndexId, TableId};
use crate::scheduler::signature::{KnownBy, Role, Signature as Learned};
use crate::session::place;
use crate::session::serve::Shared;
use crate::shutdown::{Drain, Phase};
use crate::sql::cache::Plan;

/// Pause between two attempts to open the console's port.
const CONSOLE_RETRY: Duration = Duration::from_secs(2);

/// The rows that the API, the console and the page show.
pub(super) fn view(shared: &Arc<Shared>) -> View {
    let (names, digests, action) = (shared.clone(), shared.digests.clone(), shared.clone());
    let (clear, learned) = (shared.digests.clone(), shared.clone());
    View {
        admission: shared.admission.clone(),
        metrics: shared.metrics.clone(),
        names: Arc::new(move || {
            let known = names.knowledge.as_ref().map(|k| k.catalog.by_id()).unwrap_or_default();
            Box::new(move |index| named(&known, index))
        }),
        digests: Arc::new(move || rows_of(&digests.plans())),
        clear_digests: Arc::new(move || clear.plans().iter().for_each(|plan| plan.uses.clear())),
        signatures: Arc::new(move || {
            learned.admission.scheduler().signatures().all().iter().map(signature).collect()
        }),
        action: Arc::new(move || format!("{:?}", action.settings().action).to_lowercase()),
        started: Instant::now(),
        places: std::hash::RandomState::new(),
    }
}

fn named(known: &HashMap<TableId, Arc<Table>>, index: IndexId) -> Resource {
    let whole = |table: &str, index: &str| Resource {
        table: table.to_owned(),
        index: index.to_owned(),
        ..Resource::default()
    };
    match index {
        IndexId::METADATA => return whole("(tables)", "metadata"),
        IndexId::NAMED_LOCKS => return whole("(named locks)", "GET_LOCK"),
        _ => {}
    }
    let Some(table) = known.get(&index.table) else { return Resource::default() };
    place::place(table, index.index)
}

/// One row for each digest; threads that know it are added up.
fn rows_of(plans: &[Arc<Plan>]) -> Vec<Digest> {
    let mut rows: HashMap<u128, Digest> = HashMap::new();
    for plan in plans {
        let row = rows.entry(plan.hash).or_insert_with(|| Digest::new(plan.hash, plan.text.clone()));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        row.executions += read(&plan.uses.executions);
        row.errors += read(&plan.uses.errors);
        row.deadlocks += read(&plan.uses.deadlocks);
        row.conflicts += read(&plan.uses.conflicts);
        row.holds += read(&plan.uses.holds);
        row.server_ms += read(&plan.uses.server_nanos) as f64 / 1e6;
    }
    let mut rows: Vec<Digest> = rows.into_values().collect();
    for row in &mut rows {
        row.average_ms = row.server_ms / (row.executions.max(1) as f64);
    }
    rows.sort_by(|a, b| b.server_ms.total_cmp(&a.server_ms));
    rows
}

fn signature(known: &Learned) -> Signature {
    let time = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or_default();
        jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
    };
    let role = |role: &Role| role.statements.iter().map(|s| &*s.text).collect::<Vec<_>>().join("; ");
    Signature {
        signature: known.id.to_string(),
        parties: known.roles.len() as u64,
        known_by: match known.known_by {
            KnownBy::Model => "model",
            KnownBy::Server => "server",
            KnownBy::Chance => "chance",
        }
        .to_owned(),
        deadlocks: known.deadlocks,
        matches: known.matches,
        needless: known.needless,
        trust: f64::from(known.trust) / 1000.0,
        armed: known.is_armed(),
        first_seen: time(known.first_seen),
        last_seen: time(known.last_seen),
        statements: known.roles.iter().map(role).collect::<Vec<_>>().join(" | "),
    }
}

/// Opens the console, if the configuration has one. It is an aid: without it, because another process has
/// the port, the proxy runs all the same; it is tried again until the port is free.
pub(super) fn console(
    config: &Config,
    shared: &Arc<Shared>,
    reloader: &Arc<Reloader>,
    drain: &Drain,
    turns: Turns,
) {
    let Some(Address::Tcp { host, port }) = config.console.listen.clone() else { return };
    let variables = reloader.clone();
    let accounts = Arc::new(ArcSwap::from_pointee(Accounts::default()));
    let newest = accounts.clone();
    reloader.listen(move |config| {
        newest.store(Arc::new(Accounts::new(config.console.users.iter().map(|user| user.expose()))));
    });
    let console = Console {
        view: view(shared),
        operator: operator(shared, reloader),
        accounts,
        variables: Arc::new(move || variables.config().shown().into_iter().collect()),
        turns,
        secure: secure(shared),
    };
    let mut closing = drain.watch();
    let stop = async move {
        closing.reached(Phase::Closing).await;
    };
    tokio::spawn(async move {
        let listener = open(&host, port);
        tokio::pin!(stop, listener);
        tokio::select! {
            listener = &mut listener => console::serve(listener, console, stop).await,
            () = &mut stop => {}
        }
    });
}

/// The console's TLS: what clients of the proxy are offered.
fn secure(shared: &Arc<Shared>) -> Secure {
    let shared = shared.clone();
    Arc::new(move || {
        let config = shared.live.load().tls.clone()?;
        let handshake: Handshake = Box::new(move |stream| {
            Box::pin(async move {
                let secure = tokio_rustls::TlsAcceptor::from(config).accept(stream).await?;
                Ok(Box::new(secure) as Box<dyn Both>)
            })
        });
        Some(handshake)
    })
}

async fn open(host: &str, port: u16) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => {
                info!(console = ?listener.local_addr().ok(), "console open");
                return listener;
            }
            Err(error) if !told => {
                warn!(%host, port, %error, "no console (console.listen) as long as its port cannot be had");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(CONSOLE_RETRY).await;
    }
}

/// Who may ask, as the configuration says from time to time.
pub(super) fn access(reloader: &Reloader) -> Arc<ArcSwap<Access>> {
    let access = Arc::new(ArcSwap::from_pointee(Access::default()));
    let newest = access.clone();
    reloader.listen(move |config| {
        let mut hosts = config.admin.hosts.clone();
        if let Some(Address::Tcp { host, .. }) = &config.admin.listen {
            hosts.push(host.clone());
        }
        newest.store(Arc::new(Access::new(config.admin.token.as_ref().map(|token| token.expose()), hosts)));
    });
    access
}

/// What an operator can do.
pub(super) fn operator(shared: &Arc<Shared>, reloader: &Arc<Reloader>) -> Operator {
    let (setter, reloader) = (reloader.clone(), reloader.clone());
    let at_server = shared.clone();
    Operator {
        admission: shared.admission.clone(),
        kill_at_server: Arc::new(move |thread| {
            let Some(knowledge) = &at_server.knowledge else { return };
            let control = knowledge.control.clone();
            // Without the right to, the server finds out when the statement ends: the connection is closed.
            knowledge.control.runtime().spawn(async move {
                if let Err(error) = control.query(Lane::Probe, format!("KILL {thread}")).await {
                    tracing::info!(thread, %error, "the server did not kill the session's thread");
                }
            });
        }),
        set_action: Arc::new(move |action| {
            let action = match action {
                "flag" => Action::Flag,
                "reorder" => Action::Reorder,
                "reject" => Action::Reject,
                _ => return Err(Refused("the action is flag, reorder or reject".to_owned())),
            };
            setter.set_action(action).map_err(|error| Refused(error.to_string()))
        }),
        reload: Arc::new(move || {
            reloader.reload().map(|applied| in_words(&applied)).map_err(|error| Refused(error.to_string()))
        }),
    }
}

/// What a reload did, for the one who asked for it.
fn in_words(applied: &Applied) -> String {
    let keys = |changes: &[Change]| changes.iter().map(|c| c.key.clone()).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !applied.changed.is_empty() {
        parts.push(format!("changed: {}", keys(&applied.changed)));
    }
    if !applied.pending.is_empty() {
        parts.push(format!("after a restart: {}", keys(&applied.pending)));
    }
    if let Some(action) = applied.kept {
        parts.push(format!("policy.action stays {} as it was set here", action_name(action)));
    }
    if parts.is_empty() { "nothing has changed".to_owned() } else { parts.join("; ") }
}

fn action_name(action: Action) -> String {
    format!("{action:?}").to_lowercase()
}
