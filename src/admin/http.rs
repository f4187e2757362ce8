//! The admin address over HTTP: metrics, health, and the JSON API.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text format |
//! | `/healthz` | 200 while the process serves |
//! | `/readyz` | 200 if the server can be reached, else 503 and the reason |
//! | `/api/status` | JSON: version, action, sessions, … |
//! | `/api/locks`, `waits`, … | JSON: the rows of a table ([`tables`]) |
//! | `/api/conflicts?after=SEQ` | JSON: conflict records after a number |
//!
//! This room knows none of the others: what it shows is handed in as closures.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::view::tables::{self, Row};
use super::view::{MAX_LOCKS, View};

/// Is the server reachable? The error is one line for people.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// What the admin address shows.
#[derive(Clone)]
pub struct Sources {
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Its media type.
    pub metrics_type: &'static str,
    /// Asked for `/readyz`, once a second at most.
    pub ready: Ready,
    /// The answer of `/api/conflicts` for records after a number.
    pub conflicts: Arc<dyn Fn(u64) -> Value + Send + Sync>,
    /// The rows of every other table.
    pub view: View,
}

/// How long an answer of `ready` is given again.
const READY_LIFE: Duration = Duration::from_secs(1);
/// Rows of an answer unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 1000;
/// The most that `limit` can ask for.
const MAX_LIMIT: usize = 10_000;
/// Longest time of `ready`; Kubernetes' probes wait for one second by default.
const READY_TIMEOUT: Duration = Duration::from_millis(900);
/// After the stop, how long answers under way may take.
const STOP_GRACE: Duration = Duration::from_secs(1);

struct Admin {
    sources: Sources,
    /// Kept locked while `ready` runs, so that probes at the same time make one question.
    ready: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// Serves until `stop` is ready, then lets answers under way end.
pub async fn serve(
    listener: TcpListener,
    sources: Sources,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopped, stopping) = tokio::sync::oneshot::channel::<()>();
    let stop = async move {
        stop.await;
        // The receiver lives as long as this function.
        let _ = stopped.send(());
    };
    let server = axum::serve(listener, router(sources)).with_graceful_shutdown(stop);
    let deadline = async {
        // An error means that the server has ended by itself; then the other branch is ready.
        if stopping.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        // A client that keeps its connection open must not keep the process.
        () = deadline => Ok(()),
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/status", get(status))
        .route("/api/conflicts", get(conflicts))
        .route("/api/{table}", get(table))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such page") })
        .with_state(Arc::new(Admin { sources, ready: Mutex::new(None) }))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    ([(header::CONTENT_TYPE, admin.sources.metrics_type)], (admin.sources.metrics)()).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    axum::Json(admin.sources.view.status()).into_response()
}

/// `/api/locks` and its like: `{"locks": [rows], "truncated": false}`. A column's name as a parameter keeps
/// the rows with that value; `limit` is the most rows of the answer.
async fn table(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Query(mut wanted): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(table) = tables::find(&name).filter(|table| table.name != "conflicts") else {
        return error(StatusCode::NOT_FOUND, "no such table");
    };
    let limit = match wanted.remove("limit").map(|text| text.parse::<usize>()) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) => limit.min(MAX_LIMIT),
        Some(Err(_)) => return error(StatusCode::BAD_REQUEST, "limit must be a whole number, 0 or more"),
    };
    let columns = table.columns();
    if let Some(unknown) = wanted.keys().find(|key| !columns.iter().any(|column| column.name == **key)) {
        return error(StatusCode::BAD_REQUEST, &format!("{name} has no column {unknown}"));
    }
    let scan = if wanted.is_empty() { limit + 1 } else { MAX_LOCKS };
    let rows = (table.rows)(&admin.sources.view, scan).into_iter();
    let fits = |row: &Row| wanted.iter().all(|(column, value)| plain(&row[column]) == *value);
    let mut rows: Vec<Row> = rows.filter(fits).take(limit + 1).collect();
    let truncated = rows.len() > limit;
    rows.truncate(limit);
    axum::Json(json!({ table.name: rows, "truncated": truncated })).into_response()
}

/// A value as a parameter writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The query of `/api/conflicts`.
#[derive(Deserialize)]
struct After {
    /// Records with larger numbers are wanted.
    #[serde(default)]
    after: u64,
}

async fn conflicts(
    State(admin): State<Arc<Admin>>,
    query: Result<Query<After>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match query {
        Ok(Query(After { after })) => axum::Json((admin.sources.conflicts)(after)).into_response(),
        Err(_) => error(StatusCode::BAD_REQUEST, "after must be a whole number, 0 or more"),
    }
}

fn error(status: StatusCode, reason: &str) -> Response {
    (status, axum::Json(json!({ "error": reason }))).into_response()
}

impl Admin {
    async fn ready(&self) -> Result<(), String> {
        let mut last = self.ready.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < READY_LIFE
        {
            return result.clone();
        }
        let answer = tokio::time::timeout(READY_TIMEOUT, (self.sources.ready)()).await;
        let result = answer.unwrap_or_else(|_| Err("the server does not answer".to_owned()));
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A served admin address; the flag says whether the server can be reached, the number counts questions.
    struct Served {
        address: std::net::SocketAddr,
        reachable: Arc<AtomicBool>,
        asked: Arc<AtomicUsize>,
        stop: tokio::sync::oneshot::Sender<()>,
        task: tokio::task::JoinHandle<std::io::Result<()>>,
    }

    async fn start() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reachable, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (flag, count) = (reachable.clone(), asked.clone());
        let sources = Sources {
            metrics: Arc::new(|| "a_total 1\n".to_owned()),
            metrics_type: "text/plain; version=0.0.4",
            ready: Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                let result = if flag.load(Ordering::Relaxed) { Ok(()) } else { Err("refused".to_owned()) };
                Box::pin(async move { result })
            }),
            conflicts: Arc::new(|after| json!({ "next": after, "conflicts": [] })),
            view: View::empty(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(serve(listener, sources, async {
            let _ = stopped.await;
        }));
        Served { address, reachable, asked, stop, task }
    }

    async fn get(served: &Served, path: &str) -> String {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_are_served() {
        let served = start().await;
        let check = async |path: &str, status: &str, body: &str| {
            let answer = get(&served, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(answer.ends_with(body), "{path}: {answer}");
        };
        check("/healthz", "200", "\r\n\r\nok\n").await;
        check("/metrics", "200", "\r\n\r\na_total 1\n").await;
        check("/api/status", "200", "\"rejected\":0}").await;
        check("/api/locks", "200", "{\"locks\":[],\"truncated\":false}").await;
        check("/api/locks?table=orders&limit=5", "200", "{\"locks\":[],\"truncated\":false}").await;
        check("/api/locks?colour=red", "400", "{\"error\":\"locks has no column colour\"}").await;
        check("/api/waits?limit=-1", "400", "whole number, 0 or more\"}").await;
        check("/api/rocks", "404", "{\"error\":\"no such table\"}").await;
        check("/api/conflicts", "200", "{\"next\":0,\"conflicts\":[]}").await;
        check("/api/conflicts?after=7", "200", "{\"next\":7,\"conflicts\":[]}").await;
        check("/api/conflicts?after=x", "400", "{\"error\":\"after must be a whole number, 0 or more\"}")
            .await;
        check("/nothing", "404", "{\"error\":\"no such page\"}").await;
        assert!(get(&served, "/metrics").await.contains("content-type: text/plain; version=0.0.4"));
    }

    #[tokio::test]
    async fn readiness_is_asked_for_once_a_second() {
        let served = start().await;
        served.reachable.store(false, Ordering::Relaxed);
        let answer = get(&served, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: refused\n"), "{answer}");
        served.reachable.store(true, Ordering::Relaxed);
        assert!(get(&served, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert_eq!(served.asked.load(Ordering::Relaxed), 1);
        tokio::time::sleep(READY_LIFE).await;
        assert!(get(&served, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert_eq!(served.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_idle_client_does_not_delay_the_stop() {
        let served = start().await;
        let mut idle = TcpStream::connect(served.address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        served.stop.send(()).unwrap();
        let ended = tokio::time::timeout(STOP_GRACE * 3, served.task).await;
        assert!(ended.unwrap().unwrap().is_ok());
    }
}
