//! Calls that reached no handler, told by the bare status that they end with.
//!
//! The generated code answers by itself when nobody serves a method or a message does not decode,
//! and [`crate::detach`] when too many calls are under way. None of them knows the request: whoever
//! puts a server's services together completes the answer, and records what has to be. A REST
//! request that is no message of its method takes the same way: what stands for its message does
//! not decode, and [`Undecoded`] says what is wrong with it.

use std::time::Duration;

use http::{HeaderMap, Request};
use tonic::{Code, Status};

use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};

/// When to come back where too many calls are under way.
const NO_ROOM_RETRY: Duration = Duration::from_millis(200);

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
    Method,
    /// Its message could not be read.
    Message(ApiError),
    /// Too many calls are under way. Nothing of it was looked at, and nothing is recorded: whoever
    /// records is a call, too.
    NoRoom(ApiError),
}

impl Unhandled {
    /// By the status in the head of an answer, which has no details then: one of a handler has.
    /// Its message may quote what did not decode, so nothing of it is passed on; what the gateway
    /// has found says more.
    #[must_use]
    pub fn of(headers: &HeaderMap, undecoded: Option<Undecoded>) -> Option<Self> {
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
            Code::Unimplemented => Some(Self::Method),
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

fn no_room() -> ApiError {
    let busy = Exhausted::Busy { retry_after: NO_ROOM_RETRY };
    let kind = ErrorKind::ResourceExhausted(busy);
    ApiError::new(kind, "too many calls are under way", Outcome::NotProposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_status_is_of_a_call_that_reached_no_handler() {
        let of = |status: Status| Unhandled::of(status.into_http::<()>().headers(), None);
        assert_eq!(of(Status::unimplemented("")), Some(Unhandled::Method));
        let quoted = of(Status::internal("failed to decode: canary"));
        let Some(Unhandled::Message(error)) = quoted else { panic!("{quoted:?}") };
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(!error.message().contains("canary"));
        let found = ApiError::invalid("name", "is no text");
        let headers = Status::internal("invalid tag value: 0").into_http::<()>();
        let told = Unhandled::of(headers.headers(), Some(Undecoded::new(found.clone())));
        assert_eq!(told, Some(Unhandled::Message(found)));
        let full = of(Status::resource_exhausted("full"));
        assert!(matches!(full, Some(Unhandled::NoRoom(_))), "{full:?}");
        assert_eq!(of(Status::permission_denied("")), None);
        assert_eq!(of(ApiError::internal("of a handler").into_status("id")), None);
    }
}
