//! The JSON API.
//!
//! | path | answer |
//! |---|---|
//! | `/api/status` | figures |
//! | `/api/locks`, `waits`, `transactions`, `sessions`, `holds`, `digests`, `signatures` | rows of a table |
//! | `/api/conflicts?after=SEQ` | conflict records after a number, at most `limit` |
//! | `/api/conflicts/SEQ` | one of them |
//! | `/api/groups` | conflicts of one kind counted together, each with its newest example |
//! | `/api/groups/ID` | one of them |
//! | `/api/hazards` | cycles in the order of locks, whether or not they ever met |
//! | `/api/events` | server-sent events ([`super::events`]) |
//! | `/api/openapi.json` | the description of all this |
//! | POST `/api/holds/N/release`, `/api/sessions/N/kill` | something done ([`super::guard`]) |

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::events::Events;
use super::http::{Sources, error};
use super::openapi;
use super::view::MAX_LOCKS;
use super::view::tables::{self, Row};

/// Rows of an answer unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 1000;
/// The most that `limit` can ask for.
const MAX_LIMIT: usize = 10_000;

struct Api {
    sources: Sources,
    events: Events,
}

pub(super) fn router(sources: &Sources) -> Router {
    let events = Events::start(sources.view.clone());
    Router::new()
        .route("/api/status", get(status))
        .route("/api/conflicts", get(conflicts))
        .route("/api/conflicts/{seq}", get(conflict))
        .route("/api/groups", get(groups))
        .route("/api/groups/{id}", get(group))
        .route("/api/hazards", get(hazards))
        .route("/api/events", get(async |State(api): State<Arc<Api>>| api.events.read()))
        .route(
            "/api/openapi.json",
            get(async || ([(header::CONTENT_TYPE, "application/json")], openapi::TEXT)),
        )
        .route("/api/{table}", get(table))
        .route("/api/holds/{hold}/release", post(release))
        .route("/api/sessions/{session}/kill", post(kill))
        .with_state(Arc::new(Api { sources: sources.clone(), events }))
}

/// An answer that takes time to make, or is large: made in turn, on a thread that serves nobody else.
async fn made<T: Serialize>(api: &Api, make: impl FnOnce() -> T + Send + 'static) -> Response {
    let text = api.sources.turns.take(move || serde_json::to_vec(&make())).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        _ => error(StatusCode::INTERNAL_SERVER_ERROR, "this went wrong; the log says how"),
    }
}

async fn status(State(api): State<Arc<Api>>) -> Response {
    axum::Json(api.sources.view.status()).into_response()
}

/// `/api/locks` and its like: `{"locks": [rows], "truncated": false}`. A column's name as a parameter keeps
/// the rows with that value; `limit` is the most rows of the answer.
async fn table(
    State(api): State<Arc<Api>>,
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
    let view = api.sources.view.clone();
    let look = move || {
        let fits = |row: &Row| wanted.iter().all(|(column, value)| plain(&row[column]) == *value);
        let all = (table.rows)(&view, scan).into_iter().filter(fits).take(limit + 1);
        let mut rows: Vec<Value> = all.map(Value::Object).collect();
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Row::from_iter([(table.name.to_owned(), rows.into()), ("truncated".to_owned(), truncated.into())])
    };
    made(&api, look).await
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
    /// The most records of the answer.
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

async fn conflicts(State(api): State<Arc<Api>>, query: Result<Query<After>, QueryRejection>) -> Response {
    match query {
        Ok(Query(After { after, limit })) => {
            let view = api.sources.view.clone();
            made(&api, move || view.admission.ledger.page(after, limit.clamp(1, MAX_LIMIT))).await
        }
        Err(_) => error(StatusCode::BAD_REQUEST, "after and limit must be whole numbers, 0 or more"),
    }
}

async fn conflict(State(api): State<Arc<Api>>, Path(seq): Path<u64>) -> Response {
    match api.sources.view.admission.ledger.get(seq) {
        Some(record) => axum::Json(record).into_response(),
        None => error(StatusCode::NOT_FOUND, "there is no such conflict (any more)"),
    }
}

async fn groups(State(api): State<Arc<Api>>) -> Response {
    let view = api.sources.view.clone();
    made(&api, move || BTreeMap::from([("groups", view.admission.ledger.groups())])).await
}

async fn group(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    match id.parse().ok().and_then(|id| api.sources.view.admission.ledger.group(id)) {
        Some(group) => axum::Json(group).into_response(),
        None => error(StatusCode::NOT_FOUND, "there is no such group (any more)"),
    }
}

async fn hazards(State(api): State<Arc<Api>>) -> Response {
    let view = api.sources.view.clone();
    made(&api, move || BTreeMap::from([("hazards", view.admission.order.hazards())])).await
}

async fn release(State(api): State<Arc<Api>>, Path(hold): Path<u64>) -> Response {
    match api.sources.operator.release_hold(hold, "http") {
        true => axum::Json(json!({ "released": hold })).into_response(),
        false => error(StatusCode::NOT_FOUND, "there is no such hold (any more)"),
    }
}

async fn kill(State(api): State<Arc<Api>>, Path(session): Path<u64>) -> Response {
    match api.sources.operator.kill_session(session, "http") {
        true => axum::Json(json!({ "killed": session })).into_response(),
        false => error(StatusCode::NOT_FOUND, "there is no such session (any more)"),
    }
}
