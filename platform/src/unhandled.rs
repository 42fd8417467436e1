//! Calls that reached no handler, told by the bare status that they end with.
//!
//! The generated code answers by itself when nobody serves a method or a message does not decode,
//! and [`crate::detach`] when too many calls are under way. None of them knows the request: whoever
//! puts a server's services together completes the answer, and records what has to be. A REST
//! request that is no message of its method takes the same way: what stands for its message does
//! not decode, and [`Undecoded`] says what is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use tonic::{Code, Status};

use crate::http_service::HttpService;
use crate::request::RequestContext;
use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};

/// When to come back where too many calls are under way.
const NO_ROOM_RETRY: Duration = Duration::from_millis(200);

/// How much of a method's path is repeated, in characters: the longest of ours has 71.
const METHOD_CHARS_MAX: usize = 120;

/// What the generated code says beside UNIMPLEMENTED to a request that is compressed.
pub const ACCEPTED_ENCODINGS: &str = "grpc-accept-encoding";

/// What the gateway found wrong with a REST request. In the extensions of the gRPC request that it
/// makes of it, whose bytes are no message of any method.
#[derive(Debug, Clone)]
pub struct Undecoded(ApiError);

impl Undecoded {
    pub(crate) const fn new(error: ApiError) -> Self {
        Self(error)
    }

    /// What is wrong with this request, when the gateway has found something.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}

/// Why a call reached no handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unhandled {
    /// Nobody serves the method.
    Method(ApiError),
    /// Its message could not be read.
    Message(ApiError),
    /// Too many calls are under way. Nothing of it was looked at, and nothing is recorded: whoever
    /// records is a call, too.
    NoRoom(ApiError),
}

impl Unhandled {
    /// By the status in the head of an answer to a call of this method, which has no details then:
    /// one of a handler has. Its message may quote what did not decode, so nothing of it is passed
    /// on; what the gateway has found says more.
    #[must_use]
    pub fn of(headers: &HeaderMap, method: &str, undecoded: Option<Undecoded>) -> Option<Self> {
        if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
            return None;
        }
        let malformed = |what: &str| {
            let bare = || {
                let kind = ErrorKind::InvalidArgument(Vec::new());
                ApiError::new(kind, what, Outcome::NotProposed)
            };
            Self::Message(undecoded.map_or_else(bare, |undecoded| undecoded.0))
        };
        match Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes()) {
            Code::Unimplemented if headers.contains_key(ACCEPTED_ENCODINGS) => {
                let compressed = "the request is compressed, which this server does not read";
                Some(Self::Message(ApiError::unimplemented(compressed)))
            }
            Code::Unimplemented => Some(Self::Method(no_method(method))),
            Code::Internal => Some(malformed("the request is no message of this method")),
            Code::OutOfRange => Some(malformed("the request is longer than this server reads")),
            Code::ResourceExhausted => Some(Self::NoRoom(no_room())),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => None,
        }
    }
}

/// The services, for which nobody keeps a record of calls that reach no handler; who calls a method
/// that none of them has is told its name. Inside the request layer.
#[must_use]
pub fn naming_unknown_methods(services: HttpService) -> HttpService {
    HttpService::new(move |request| {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned();
        let answered = services.answer(request);
        async move {
            let response = answered.await;
            let Some(context) = context.filter(|context| !context.is_handled()) else {
                return response;
            };
            match Unhandled::of(response.headers(), &context.method, None) {
                Some(Unhandled::Method(error)) => completed(error, &context.request_id),
                Some(Unhandled::Message(_) | Unhandled::NoRoom(_)) | None => response,
            }
        }
        .boxed()
    })
}

fn completed(error: ApiError, request_id: &str) -> Response<Body> {
    error.into_status(request_id).into_http()
}

fn no_method(method: &str) -> ApiError {
    ApiError::unimplemented(format!("this server has no method {}", shown(method)))
}

/// A path as it may stand in a message: whoever calls has written it.
fn shown(method: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let mut shown: String = method.chars().take(METHOD_CHARS_MAX).map(printable).collect();
    if method.chars().nth(METHOD_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The refusal of a call for which there is no room.
pub(crate) fn no_room() -> ApiError {
    let busy = Exhausted::Busy { retry_after: NO_ROOM_RETRY };
    let kind = ErrorKind::ResourceExhausted(busy);
    ApiError::new(kind, "too many calls are under way", Outcome::NotProposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_status_is_of_a_call_that_reached_no_handler() {
        let method = "/a.B/C";
        let of = |status: Status| Unhandled::of(status.into_http::<()>().headers(), method, None);
        let Some(Unhandled::Method(unknown)) = of(Status::unimplemented("")) else { panic!() };
        assert_eq!(unknown.code(), Code::Unimplemented);
        assert_eq!(unknown.message(), "this server has no method /a.B/C");
        let quoted = of(Status::internal("failed to decode: canary"));
        let Some(Unhandled::Message(error)) = quoted else { panic!("{quoted:?}") };
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(!error.message().contains("canary"));
        let found = ApiError::invalid("name", "is no text");
        let headers = Status::internal("invalid tag value: 0").into_http::<()>();
        let told = Unhandled::of(headers.headers(), method, Some(Undecoded::new(found.clone())));
        assert_eq!(told, Some(Unhandled::Message(found)));
        let full = of(Status::resource_exhausted("full"));
        assert!(matches!(full, Some(Unhandled::NoRoom(_))), "{full:?}");
        assert_eq!(of(Status::permission_denied("")), None);
        assert_eq!(of(ApiError::internal("of a handler").into_status("id")), None);
    }

    #[test]
    fn a_path_is_repeated_as_far_as_it_is_short_and_printable() {
        assert_eq!(shown("/a.B/\u{1b}[2J\u{e9}"), "/a.B/?[2J?");
        let long = shown(&"/a".repeat(METHOD_CHARS_MAX));
        assert_eq!(long.len(), METHOD_CHARS_MAX + 3);
        assert!(long.ends_with("/a..."), "{long}");
        assert_eq!(shown(&"a".repeat(METHOD_CHARS_MAX)), "a".repeat(METHOD_CHARS_MAX));
    }
}
