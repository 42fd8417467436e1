//! What is known about a call before its handler runs (`contract §10`).
//!
//! Promises: the token is in a redacting type and no longer among the headers; the deadline is a
//! point on the monotonic clock, never further than [`DEADLINE_MAX`]. Refuses to judge: nothing
//! here is authenticated.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use lockbox_core::{Randomness, RequestId, SensitiveString};
use tokio::time::Instant;

use crate::body_budget::Share;
use crate::headers;
use crate::listener::ConnectionInfo;
use crate::status::ApiError;
use crate::tls::PeerIdentity;

/// How long a call may take when its client does not say.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// How long a call may take whatever its client says.
pub const DEADLINE_MAX: Duration = Duration::from_secs(300);
/// Part of the client's time that is kept for the answer to travel: an error that says what the
/// matter was is worth more than the client's own "deadline exceeded".
const ANSWER_SHARE: u32 = 10;
/// The most that is kept for the answer.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(100);
/// How much of a header is kept for logs and audit, in bytes.
const KEPT_BYTES_MAX: usize = 512;

/// The credential of a call.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// There is none.
    Missing,
    /// There is one and it is not a bearer token.
    Malformed,
    /// A bearer token.
    Bearer(SensitiveString),
}

/// What is known about a call. In the extensions of its request, shared.
#[derive(Debug)]
pub struct RequestContext {
    /// The id of the request, a UUID. A client may have chosen it, so it is for logs, audit and
    /// errors only: never the id of a proposal.
    pub request_id: String,
    /// Our own id of the request, a UUID.
    pub server_trace_id: String,
    /// The client's id of the request.
    pub client_request_id: Option<String>,
    /// The client's id of several requests.
    pub client_trace_id: Option<String>,
    /// The credential.
    pub authorization: Authorization,
    /// The key of the logical mutation. Reads ignore it.
    pub idempotency_key: Option<String>,
    /// Our extension `x-if-version`.
    pub if_version: Option<String>,
    /// Our extension `x-consistency`.
    pub consistency: Option<String>,
    /// Our extension `lockbox-min-index`.
    pub min_index: Option<String>,
    /// The first of [`headers::DECISIVE`] that came more than once, perhaps with two values.
    repeated: Option<&'static str>,
    /// The client's program; empty when it does not say.
    pub user_agent: String,
    /// The client's address; absent for calls made inside the process.
    pub remote: Option<SocketAddr>,
    /// The names of the client's certificate, when it showed one.
    pub peer_identity: Option<PeerIdentity>,
    /// When the answer has to leave: a little before the caller stops waiting.
    pub deadline: Instant,
    /// Which attempt this is, when the client says.
    pub retry_attempt: Option<u32>,
    /// `/<package>.<Service>/<Method>`.
    pub method: String,
    /// Whether a handler has taken the request up.
    handled: AtomicBool,
    /// What the message takes up of the listener's budget.
    held: Mutex<Option<Share>>,
}

impl RequestContext {
    /// Reads the headers of a request, and takes the credential out of them.
    #[must_use]
    pub fn take(
        method: &str,
        headers: &mut HeaderMap,
        connection: Option<&ConnectionInfo>,
        random: &dyn Randomness,
    ) -> Self {
        let authorization = take_authorization(headers);
        let client_request_id = text(headers, headers::CLIENT_REQUEST_ID);
        let requested = text(headers, headers::REQUEST_ID);
        let adopted = [&requested, &client_request_id]
            .into_iter()
            .find_map(|id| RequestId::parse(id.as_deref()?));
        let request_id = adopted.unwrap_or_else(|| RequestId::generate(random));
        let timeout = text(headers, headers::GRPC_TIMEOUT).and_then(|t| parse_timeout(&t));
        let allowed = timeout.map_or(DEADLINE_DEFAULT, within_timeout).min(DEADLINE_MAX);
        Self {
            request_id: request_id.to_string(),
            server_trace_id: RequestId::generate(random).to_string(),
            client_request_id,
            client_trace_id: text(headers, headers::CLIENT_TRACE_ID),
            authorization,
            idempotency_key: whole(headers, headers::IDEMPOTENCY_KEY),
            if_version: whole(headers, headers::IF_VERSION),
            consistency: whole(headers, headers::CONSISTENCY),
            min_index: whole(headers, headers::MIN_INDEX),
            repeated: headers::DECISIVE.into_iter().find(|name| is_repeated(headers, name)),
            user_agent: text(headers, headers::USER_AGENT).unwrap_or_default(),
            remote: connection.map(|connection| connection.remote_addr),
            peer_identity: connection.and_then(|connection| connection.peer_identity.clone()),
            deadline: Instant::now() + allowed,
            retry_attempt: text(headers, headers::RETRY_ATTEMPT).and_then(|t| t.parse().ok()),
            method: method.to_owned(),
            handled: AtomicBool::new(false),
            held: Mutex::new(None),
        }
    }

    /// The context that [`crate::request_layer::RequestLayer`] made for this call.
    ///
    /// # Errors
    /// `INTERNAL` when the layer is not there: a bug in how the services are put together.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Arc<Self>, tonic::Status> {
        let context = request.extensions().get::<Arc<Self>>().cloned();
        let missing = || ApiError::internal("the request has no context").into_status("");
        let context = context.ok_or_else(missing)?;
        context.handled.store(true, Ordering::Relaxed);
        Ok(context)
    }

    /// Whether a handler has asked for the context. One that has not never saw the message: it did
    /// not decode, or nobody serves the method.
    #[must_use]
    pub fn is_handled(&self) -> bool {
        self.handled.load(Ordering::Relaxed)
    }

    /// Counts what has arrived until the call has ended, with or without its caller.
    pub(crate) fn hold(&self, share: Share) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
    }

    /// The call has ended: its message is no longer in memory.
    pub(crate) fn let_go(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The bearer token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when there is none (`contract §5.2`).
    pub fn bearer(&self) -> Result<&SensitiveString, ApiError> {
        match &self.authorization {
            Authorization::Bearer(token) => Ok(token),
            Authorization::Missing => Err(ApiError::unauthenticated("the call has no IAM token")),
            Authorization::Malformed => {
                Err(ApiError::unauthenticated("the authorization is not a bearer token"))
            }
        }
    }

    /// Refuses a call that is told more than once what it is to do: which of two values counts
    /// would be a guess, and a condition must not be believed to hold that nobody has looked at.
    ///
    /// # Errors
    /// INVALID_ARGUMENT that names the header.
    pub fn demand_single_headers(&self) -> Result<(), ApiError> {
        match self.repeated {
            Some(name) => Err(ApiError::invalid(name, "is given more than once")),
            None => Ok(()),
        }
    }

    /// How long the caller still waits.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the caller has stopped waiting.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// A header that decides what the call does: kept whole, however wrong, for its service to judge.
fn whole(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn is_repeated(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// A header for logs and audit, if it is there and not too long to keep.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let fits = !value.is_empty() && value.len() <= KEPT_BYTES_MAX;
    fits.then(|| value.to_owned())
}

fn take_authorization(headers: &mut HeaderMap) -> Authorization {
    let Some(value) = headers.remove(headers::AUTHORIZATION) else {
        return Authorization::Missing;
    };
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    match parts {
        // RFC 9110 §11.1: the scheme has no case.
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if token.is_empty() || token.contains(' ') {
                return Authorization::Malformed;
            }
            Authorization::Bearer(SensitiveString::new(token.to_owned()))
        }
        Some(_) | None => Authorization::Malformed,
    }
}

/// What of the client's time can be worked in.
fn within_timeout(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / ANSWER_SHARE).min(ANSWER_TIME_MAX))
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let numeric = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !numeric || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::system::SystemRandom;

    const UUID: &str = "0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c";

    fn context(headers: &[(&'static str, &'static str)]) -> RequestContext {
        let pairs = headers.iter().map(|(name, value)| {
            ((*name).parse().expect("a name"), HeaderValue::from_static(value))
        });
        let mut headers: HeaderMap = pairs.collect();
        let context = RequestContext::take("/a.B/C", &mut headers, None, &SystemRandom);
        assert!(!headers.contains_key("authorization"));
        context
    }

    #[test]
    fn the_token_is_taken_whatever_the_case_of_the_scheme() {
        for scheme in ["Bearer t1.a.b", "bearer t1.a.b", "BEARER  t1.a.b "] {
            let context = context(&[("authorization", scheme)]);
            assert!(context.bearer().is_ok_and(|token| token.ct_eq(b"t1.a.b")), "{scheme}");
            assert!(!format!("{context:?}").contains("t1.a.b"));
        }
        for wrong in ["Basic dXNlcg==", "Bearer", "Bearer ", "Bearer a b", "t1.a.b"] {
            let refused = context(&[("authorization", wrong)]);
            assert!(matches!(refused.authorization, Authorization::Malformed), "{wrong}");
            assert_eq!(
                refused.bearer().err().map(|e| e.code()),
                Some(tonic::Code::Unauthenticated)
            );
        }
        assert!(matches!(context(&[]).authorization, Authorization::Missing));
    }

    #[test]
    fn a_request_id_is_adopted_if_it_is_a_uuid() {
        assert_eq!(context(&[("x-request-id", UUID)]).request_id, UUID);
        assert_eq!(context(&[("x-client-request-id", UUID)]).request_id, UUID);
        let made = context(&[("x-request-id", "'; drop table"), ("x-client-trace-id", "trace")]);
        assert!(RequestId::parse(&made.request_id).is_some());
        assert_ne!(made.request_id, context(&[]).request_id);
        assert_eq!(made.client_trace_id.as_deref(), Some("trace"));
        assert_ne!(made.server_trace_id, made.request_id);
    }

    #[test]
    fn what_decides_is_said_once() {
        let demanded = |headers: &[(&'static str, &'static str)]| {
            let refused = context(headers).demand_single_headers().err();
            refused.map(|error| (error.code(), error.message().to_owned()))
        };
        let once = headers::DECISIVE.map(|name| (name, "1"));
        assert_eq!(demanded(&once), None);
        for name in headers::DECISIVE {
            let message = format!("{name}: is given more than once");
            for second in ["1", "2"] {
                let twice = [once.as_slice(), &[(name, second)]].concat();
                let refused = Some((tonic::Code::InvalidArgument, message.clone()));
                assert_eq!(demanded(&twice), refused);
            }
        }
        // What is for logs and audit alone decides nothing.
        assert_eq!(demanded(&[("x-client-trace-id", "a"), ("x-client-trace-id", "b")]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_have_a_default_and_a_cap() {
        let cases = [
            ("", DEADLINE_DEFAULT),
            ("200m", Duration::from_millis(180)),
            ("5S", Duration::from_millis(4_900)),
            ("2M", Duration::from_millis(119_900)),
            ("1H", DEADLINE_MAX),
            ("99999999H", DEADLINE_MAX),
            ("100000000n", DEADLINE_DEFAULT),
            ("S", DEADLINE_DEFAULT),
            ("-1S", DEADLINE_DEFAULT),
            ("5s", DEADLINE_DEFAULT),
        ];
        for (timeout, expected) in cases {
            let context = context(&[("grpc-timeout", timeout)]);
            assert_eq!(context.remaining(), expected, "{timeout}");
        }
        let short = context(&[("grpc-timeout", "10m")]);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(short.expired());
    }
}
