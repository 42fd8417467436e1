//! The HTTP side of `lockbox metadata`: who is answered, and in which form (`contract §0.2`).
//!
//! Promises: what a page in a browser can send is refused. It cannot send the header
//! `Metadata-Flavor` to another site without asking first, and a name that was made to lead here
//! is not one of ours; what a proxy passes on is for somebody else.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use futures::FutureExt;
use lockbox_core::SensitiveString;
use lockbox_platform::http_service::HttpService;
use serde::Serialize;

use super::keeper::{Lent, TokenHandle};

/// Where the token is.
pub(super) const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The header of requests and answers.
const FLAVOR: &str = "metadata-flavor";
/// Its only value.
const GOOGLE: &str = "Google";
/// Names, beside addresses, that a request may call this server by.
const OWN_NAMES: [&str; 2] = ["localhost", "metadata.google.internal"];

/// Answers requests for the token.
pub(super) fn service(tokens: TokenHandle) -> HttpService {
    HttpService::new(move |request| {
        let tokens = tokens.clone();
        // No request has a body that matters.
        let (request, _body) = request.into_parts();
        async move { answer(&request, &tokens).await }.boxed()
    })
}

async fn answer(request: &Parts, tokens: &TokenHandle) -> Response<Body> {
    if let Some(why) = refusal(&request.headers) {
        return text(StatusCode::FORBIDDEN, why);
    }
    if request.uri.path() != TOKEN_PATH {
        return text(StatusCode::NOT_FOUND, "only the token of the default account is here");
    }
    if request.method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "the token is read with GET");
    }
    match tokens.token().await {
        Ok(lent) => token(&lent),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// Why a request is not answered, whatever it asks for.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key("x-forwarded-for") {
        return Some("requests that a proxy passes on are not answered");
    }
    if headers.get(FLAVOR).is_none_or(|flavor| flavor != GOOGLE) {
        return Some("the header Metadata-Flavor: Google is missing");
    }
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if host.is_some_and(|host| !is_own(host)) {
        return Some("the header Host names another server");
    }
    None
}

/// Whether the host of `host:port` is an address or one of our names.
fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    is_address || OWN_NAMES.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// The answer's JSON.
#[derive(Serialize)]
struct TokenJson<'a> {
    access_token: &'a str,
    expires_in: u64,
    token_type: &'static str,
}

fn token(lent: &Lent) -> Response<Body> {
    let access_token = lent.token.expose();
    let json = TokenJson { access_token, expires_in: lent.left.as_secs(), token_type: "Bearer" };
    match serde_json::to_string(&json).map(SensitiveString::new) {
        Ok(json) => response(StatusCode::OK, "application/json", json.expose()),
        Err(_impossible) => text(StatusCode::INTERNAL_SERVER_ERROR, "the token cannot be written"),
    }
}

fn text(status: StatusCode, sentence: &str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", &format!("{sentence}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(FLAVOR, header::HeaderValue::from_static(GOOGLE));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&'static str, &str)]) -> Option<&'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        refusal(&map)
    }

    #[test]
    fn the_header_is_needed_and_proxies_are_not_served() {
        assert_eq!(refused(&[("metadata-flavor", "Google")]), None);
        assert!(refused(&[]).is_some_and(|why| why.contains("Metadata-Flavor")));
        assert!(refused(&[("metadata-flavor", "google ")]).is_some());
        let proxied = [("metadata-flavor", "Google"), ("x-forwarded-for", "")];
        assert!(refused(&proxied).is_some_and(|why| why.contains("proxy")));
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_not_ours() {
        for own in ["127.0.0.1:8469", "[::1]:1", "169.254.169.254", "LOCALHOST:1", "localhost"] {
            assert_eq!(refused(&[("metadata-flavor", "Google"), ("host", own)]), None, "{own}");
        }
        for other in ["evil.example", "evil.example:8469", "localhost.evil.example", "127.0.0.1.x"]
        {
            assert!(refused(&[("metadata-flavor", "Google"), ("host", other)]).is_some());
        }
    }

    #[test]
    fn the_answer_has_the_form_of_the_contract() {
        let left = std::time::Duration::from_millis(43_199_900);
        let token = token(&Lent { token: SensitiveString::new("t1.abc".to_owned()), left });
        assert_eq!(token.status(), StatusCode::OK);
        assert_eq!(token.headers()["content-type"], "application/json");
        assert_eq!(token.headers()["cache-control"], "no-store");
        assert_eq!(token.headers()["metadata-flavor"], "Google");
        let body = axum::body::to_bytes(token.into_body(), 1000).now_or_never().unwrap().unwrap();
        let expected = r#"{"access_token":"t1.abc","expires_in":43199,"token_type":"Bearer"}"#;
        assert_eq!(body, expected.as_bytes());
    }
}
