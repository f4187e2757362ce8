//! Who may ask over HTTP.
//!
//! * **Host**: a page of somebody else's can make a browser on this machine ask interlock under a name of
//!   its own (DNS rebinding). So the page and the API answer only to addresses, `localhost` and the names of
//!   the configuration. `/metrics` and the probes answer to every name: Prometheus comes under many.
//! * **Origin**: what changes something is refused to pages of other origins.
//! * **Token**: what changes something needs `Authorization: Bearer …`; compared in constant time, as
//!   digests, so that not even its length shows. Without a token in the configuration nothing can be changed.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::http::error;

/// What the browser may do with the page: nothing but talk to where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may ask, and who may change something.
#[derive(Clone, Default, Debug)]
pub struct Access {
    /// SHA-256 of the token.
    token: Option<Vec<u8>>,
    /// Names besides addresses and `localhost`, in small letters.
    hosts: Vec<String>,
}

impl Access {
    /// Changes need `token`; without one there are none. `hosts` are names that the page is reached under.
    pub fn new(token: Option<&str>, hosts: Vec<String>) -> Access {
        let token = token.map(|token| digest(&SHA256, token.as_bytes()).as_ref().to_vec());
        Access { token, hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// May a request with these headers change something?
    fn may_change(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let Some(token) = &self.token else {
            return Err((StatusCode::FORBIDDEN, "nothing can be changed here: admin.token is not set"));
        };
        let shown =
            headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let shown = digest(&SHA256, shown.unwrap_or_default());
        verify_slices_are_equal(shown.as_ref(), token)
            .map_err(|_| (StatusCode::UNAUTHORIZED, "this needs the token: Authorization: Bearer …"))
    }

    fn knows(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

/// The middleware of the page and the API.
pub(super) async fn guard(
    State(access): State<Arc<ArcSwap<Access>>>,
    request: Request,
    next: Next,
) -> Response {
    let access = access.load_full();
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !access.knows(host) {
        return error(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown host name: admin.hosts lists those that are known",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let own = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host))
        };
        if headers.get(header::ORIGIN).is_some_and(|origin| !own(origin)) {
            return error(StatusCode::FORBIDDEN, "pages of other origins change nothing here");
        }
        if let Err((status, reason)) = access.may_change(headers) {
            let mut refusal = error(status, reason);
            if status == StatusCode::UNAUTHORIZED {
                refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return refusal;
        }
    }
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A Host header without its port and without the brackets of an IPv6 address.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_known() {
        let access = Access::new(None, vec!["Panel.example".to_owned()]);
        let check = |host: &str, known: bool| assert_eq!(access.knows(host), known, "{host}");
        check("localhost:6034", true);
        check("127.0.0.1:6034", true);
        check("[::1]:6034", true);
        check("10.1.2.3", true);
        check("panel.example:80", true);
        check("evil.example", false);
        check("127.0.0.1.evil.example:6034", false);
        check("", false);
    }

    #[test]
    fn changes_need_the_token() {
        let check = |token: Option<&str>, shown: Option<&str>, expected: Option<u16>| {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
            }
            let refused = Access::new(token, Vec::new()).may_change(&headers).err();
            assert_eq!(refused.map(|(status, _)| status.as_u16()), expected, "{token:?} {shown:?}");
        };
        check(Some("0123456789abcdef"), Some("Bearer 0123456789abcdef"), None);
        check(Some("0123456789abcdef"), Some("Bearer 0123456789abcdeF"), Some(401));
        check(Some("0123456789abcdef"), Some("0123456789abcdef"), Some(401));
        check(Some("0123456789abcdef"), None, Some(401));
        check(None, Some("Bearer "), Some(403));
        check(None, None, Some(403));
    }
}
