//! The admin address over HTTP: metrics, health, and the JSON API.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | Prometheus text format, or OpenMetrics if asked for |
//! | `/healthz` | 200 while the process serves |
//! | `/readyz` | 200 if the server can be reached, else 503 and the reason |
//! | `/api/…` | JSON ([`super::api`]) |
//! | `/` | the page ([`super::page`]) |
//!
//! This room knows none of the others: what it shows is handed in as closures.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::crowd::Crowd;
use super::guard::{self, Access};
use super::operator::Operator;
use super::turns::Turns;
use super::view::View;
use super::{api, page};

/// Is the server reachable? The error is one line for people.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Media type and text for the `Accept` header of a scrape.
pub type Scrape = Arc<dyn Fn(Option<&str>) -> (&'static str, String) + Send + Sync>;

/// What the admin address shows.
#[derive(Clone)]
pub struct Sources {
    /// The answer of `/metrics`.
    pub metrics: Scrape,
    /// Asked for `/readyz`, once a second at most.
    pub ready: Ready,
    /// The rows of every other table.
    pub view: View,
    /// What can be done.
    pub operator: Operator,
    /// Who may.
    pub access: Arc<ArcSwap<Access>>,
    /// Looks at one time.
    pub turns: Turns,
}

/// How long an answer of `ready` is given again.
const READY_LIFE: Duration = Duration::from_secs(1);
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
    let server = axum::serve(Crowd::new(listener), router(sources)).with_graceful_shutdown(stop);
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
    let access = sources.access.clone();
    let guarded = api::router(&sources).merge(page::router());
    let guarded = guarded.layer(axum::middleware::from_fn_with_state(access, guard::guard));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Admin { sources, ready: Mutex::new(None) }))
        .merge(guarded)
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such page") })
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (media_type, text) = (admin.sources.metrics)(accept);
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

pub(super) fn error(status: StatusCode, reason: &str) -> Response {
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
        let view = View::empty();
        let sources = Sources {
            metrics: Arc::new(|_accept| ("text/plain; version=0.0.4", "a_total 1\n".to_owned())),
            ready: Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                let result = if flag.load(Ordering::Relaxed) { Ok(()) } else { Err("refused".to_owned()) };
                Box::pin(async move { result })
            }),
            operator: operator(&view),
            view,
            access: Arc::new(ArcSwap::from_pointee(Access::new(Some("0123456789abcdef"), Vec::new()))),
            turns: Turns::default(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(serve(listener, sources, async {
            let _ = stopped.await;
        }));
        Served { address, reachable, asked, stop, task }
    }

    fn operator(view: &View) -> Operator {
        let refused = || Err(crate::admin::operator::Refused("no".to_owned()));
        Operator {
            admission: view.admission.clone(),
            kill_at_server: Arc::new(|_| ()),
            set_action: Arc::new(move |_| refused()),
            reload: Arc::new(|| Err(crate::admin::operator::Refused("no".to_owned()))),
        }
    }

    async fn get(served: &Served, path: &str) -> String {
        ask(served, &format!("GET {path}"), "Host: localhost").await
    }

    async fn ask(served: &Served, what: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("{what} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
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
        check("/api/status", "200", "\"restarted\":0}").await;
        check("/api/locks", "200", "{\"locks\":[],\"truncated\":false}").await;
        check("/api/locks?table=orders&limit=5", "200", "{\"locks\":[],\"truncated\":false}").await;
        check("/api/locks?colour=red", "400", "{\"error\":\"locks has no column colour\"}").await;
        check("/api/waits?limit=-1", "400", "whole number, 0 or more\"}").await;
        check("/api/rocks", "404", "{\"error\":\"no such table\"}").await;
        check("/api/conflicts", "200", "{\"next\":0,\"conflicts\":[]}").await;
        check("/api/conflicts?after=7&limit=3", "200", "{\"next\":0,\"conflicts\":[]}").await;
        check(
            "/api/conflicts?after=x",
            "400",
            "{\"error\":\"after and limit must be whole numbers, 0 or more\"}",
        )
        .await;
        check("/nothing", "404", "{\"error\":\"no such page\"}").await;
        assert!(get(&served, "/metrics").await.contains("content-type: text/plain; version=0.0.4"));
    }

    #[tokio::test]
    async fn strangers_are_refused() {
        let served = start().await;
        let check = async |what: &str, headers: &str, status: &str| {
            let answer = ask(&served, what, headers).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what} {headers}: {answer}");
        };
        check("GET /api/status", "Host: evil.example", "421").await;
        check("GET /", "Host: evil.example", "421").await;
        check("GET /metrics", "Host: interlock.monitoring.svc", "200").await;
        let release = "POST /api/holds/1/release";
        let token = "Authorization: Bearer 0123456789abcdef";
        check(release, "Host: localhost", "401").await;
        check(release, &format!("Host: localhost\r\n{token}"), "404").await;
        check(release, &format!("Host: localhost\r\nOrigin: http://localhost\r\n{token}"), "404").await;
        check(release, &format!("Host: localhost\r\nOrigin: http://evil.example\r\n{token}"), "403").await;
        check("GET /api/holds/1/release", "Host: localhost", "405").await;
        assert!(get(&served, "/api/status").await.contains("content-security-policy: default-src 'none'"));
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
    async fn event_readers_have_a_limit() {
        let served = start().await;
        let read = async || {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            (stream, String::from_utf8_lossy(&status).into_owned())
        };
        let mut readers = Vec::new();
        for _ in 0..crate::admin::events::MAX_READERS {
            let (stream, status) = read().await;
            assert_eq!(status, "HTTP/1.1 200");
            readers.push(stream);
        }
        assert_eq!(read().await.1, "HTTP/1.1 503");
        drop(readers);
        let again = async {
            while read().await.1 != "HTTP/1.1 200" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), again).await.expect("a place is free");
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
