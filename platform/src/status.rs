//! The one mapping of errors to gRPC and HTTP (`contract §5`).
//!
//! Promises: every error says whether anything was handed to Raft ([`Outcome`]), carries its
//! request id, and has the details that the contract names for its code. No arm of a match here
//! is a wildcard, so that a new kind of error cannot get a code by accident. Refuses to know
//! where errors come from; messages never hold a value.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use lockbox_proto::any;
use lockbox_proto::google::rpc;
use lockbox_proto::google::rpc::{bad_request, precondition_failure, quota_failure};
use prost::Message;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

use crate::headers;

/// One field of a request that is wrong. The description never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl From<lockbox_proto::validate::Violation> for FieldViolation {
    fn from(violation: lockbox_proto::validate::Violation) -> Self {
        Self { field: violation.field, description: violation.description }
    }
}

/// A state that the request needs and does not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Its kind, in capitals, for example `SECRET_INACTIVE`.
    pub kind: &'static str,
    /// What it is about, for example a resource id.
    pub subject: String,
    /// What would have to be so.
    pub description: String,
}

/// What there is no more of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exhausted {
    /// A quota: waiting does not help.
    Quota {
        /// What the quota applies to.
        subject: String,
        /// The quota and its limit.
        description: String,
    },
    /// Room in a queue: waiting helps.
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
}

/// What kind of failure it is. Each kind has one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed or over a limit.
    InvalidArgument(Vec<FieldViolation>),
    /// There is no token, or it is not valid.
    Unauthenticated,
    /// The caller may not.
    PermissionDenied,
    /// It is not there.
    NotFound {
        /// For example `lockbox.secret`.
        resource_type: &'static str,
        /// As asked for.
        id: String,
    },
    /// It is there already.
    AlreadyExists {
        /// For example `lockbox.secret`.
        resource_type: &'static str,
        /// As asked for.
        id: String,
    },
    /// Its state does not allow it.
    FailedPrecondition(Precondition),
    /// Somebody else changed it at the same time.
    Aborted {
        /// The condition that no longer holds, when the caller named one.
        precondition: Option<Precondition>,
        /// When to try again, when that helps.
        retry_after: Option<Duration>,
    },
    /// A quota or a queue is full.
    ResourceExhausted(Exhausted),
    /// Not now, or not here.
    Unavailable {
        /// When to try again, when that is known.
        retry_after: Option<Duration>,
    },
    /// The caller's time is over.
    DeadlineExceeded,
    /// It is not built.
    Unimplemented,
    /// A bug.
    Internal,
    /// Stored data fails authentication.
    DataLoss,
    /// The caller went away.
    Cancelled,
}

impl ErrorKind {
    /// The gRPC code (`contract §5.1`).
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidArgument(_) => Code::InvalidArgument,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::NotFound { .. } => Code::NotFound,
            Self::AlreadyExists { .. } => Code::AlreadyExists,
            Self::FailedPrecondition(_) => Code::FailedPrecondition,
            Self::Aborted { .. } => Code::Aborted,
            Self::ResourceExhausted(_) => Code::ResourceExhausted,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
            Self::DataLoss => Code::DataLoss,
            Self::Cancelled => Code::Cancelled,
        }
    }

    fn details(&self) -> Vec<prost_types::Any> {
        match self {
            Self::InvalidArgument(violations) if violations.is_empty() => Vec::new(),
            Self::InvalidArgument(violations) => vec![bad_request(violations)],
            Self::NotFound { resource_type, id } | Self::AlreadyExists { resource_type, id } => {
                vec![any::pack(&rpc::ResourceInfo {
                    resource_type: (*resource_type).to_owned(),
                    resource_name: id.clone(),
                    owner: String::new(),
                    description: String::new(),
                })]
            }
            Self::FailedPrecondition(precondition) => vec![precondition_failure(precondition)],
            Self::Aborted { precondition, retry_after } => {
                let condition = precondition.as_ref().map(precondition_failure);
                condition.into_iter().chain(retry_after.map(retry_info)).collect()
            }
            Self::ResourceExhausted(Exhausted::Quota { subject, description }) => {
                vec![quota_failure(subject, description)]
            }
            Self::ResourceExhausted(Exhausted::Busy { retry_after }) => {
                vec![retry_info(*retry_after)]
            }
            Self::Unavailable { retry_after } => retry_after.map(retry_info).into_iter().collect(),
            Self::Unauthenticated
            | Self::PermissionDenied
            | Self::DeadlineExceeded
            | Self::Unimplemented
            | Self::Internal
            | Self::DataLoss
            | Self::Cancelled => Vec::new(),
        }
    }
}

fn bad_request(violations: &[FieldViolation]) -> prost_types::Any {
    let one = |violation: &FieldViolation| bad_request::FieldViolation {
        field: violation.field.clone(),
        description: violation.description.clone(),
    };
    any::pack(&rpc::BadRequest { field_violations: violations.iter().map(one).collect() })
}

fn precondition_failure(precondition: &Precondition) -> prost_types::Any {
    any::pack(&rpc::PreconditionFailure {
        violations: vec![precondition_failure::Violation {
            r#type: precondition.kind.to_owned(),
            subject: precondition.subject.clone(),
            description: precondition.description.clone(),
        }],
    })
}

fn quota_failure(subject: &str, description: &str) -> prost_types::Any {
    any::pack(&rpc::QuotaFailure {
        violations: vec![quota_failure::Violation {
            subject: subject.to_owned(),
            description: description.to_owned(),
        }],
    })
}

fn retry_info(after: Duration) -> prost_types::Any {
    // A Duration of std that does not fit into the message is longer than anybody waits.
    let retry_delay = prost_types::Duration::try_from(after).ok();
    any::pack(&rpc::RetryInfo { retry_delay })
}

/// What the caller may conclude about the state (`style.md` part 3, `design §3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was handed to Raft, or only what the state has refused already. Only this sets
    /// `lockbox-outcome: not-proposed`.
    NotProposed,
    /// It was decided on the state at this index: an observation.
    DecidedAt {
        /// The Raft index.
        index: u64,
        /// The Raft term.
        term: u64,
    },
    /// It may or may not have happened.
    Unknown,
}

/// The error that a handler answers with. One pointer, for it is in every result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError(Box<Content>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    kind: ErrorKind,
    message: String,
    outcome: Outcome,
    extra_headers: Vec<(&'static str, String)>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// An error of this kind. The message is lower case without a full stop and holds no value.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>, outcome: Outcome) -> Self {
        let message = message.into();
        Self(Box::new(Content { kind, message, outcome, extra_headers: Vec::new() }))
    }

    /// A request with wrong fields; nothing proposed.
    #[must_use]
    pub fn violations<V: Into<FieldViolation>>(violations: Vec<V>) -> Self {
        let violations: Vec<_> = violations.into_iter().map(Into::into).collect();
        let message = match violations.as_slice() {
            [only] => format!("{}: {}", only.field, only.description),
            _ => "the request is not valid".to_owned(),
        };
        Self::new(ErrorKind::InvalidArgument(violations), message, Outcome::NotProposed)
    }

    /// A request with one wrong field; nothing proposed.
    #[must_use]
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        Self::violations(vec![violation])
    }

    /// No token or a wrong one; nothing proposed.
    #[must_use]
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, message, Outcome::NotProposed)
    }

    /// A call that cannot be served now; nothing proposed.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        let kind = ErrorKind::Unavailable { retry_after: None };
        Self::new(kind, message, Outcome::NotProposed)
    }

    /// A method that is not built; nothing proposed.
    #[must_use]
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unimplemented, message, Outcome::NotProposed)
    }

    /// A bug; what happened is not known.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message, Outcome::Unknown)
    }

    /// This error with another outcome.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        self
    }

    /// This error with one more header, for example the leader or the KMS's index.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.extra_headers.push((name, value.into()));
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the caller may conclude.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.kind.code()
    }

    /// The status that goes on the wire, with details and headers.
    #[must_use]
    pub fn into_status(self, request_id: &str) -> Status {
        let code = self.code();
        let mut details = self.0.kind.details();
        details.push(any::pack(&rpc::RequestInfo {
            request_id: request_id.to_owned(),
            serving_data: String::new(),
        }));
        let status =
            rpc::Status { code: i32::from(code), message: self.0.message.clone(), details };
        let encoded = Bytes::from(status.encode_to_vec());
        let metadata = self.metadata(request_id);
        Status::with_details_and_metadata(code, self.0.message, encoded, metadata)
    }

    fn metadata(&self, request_id: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        insert(&mut metadata, headers::REQUEST_ID, request_id);
        match self.0.outcome {
            Outcome::NotProposed => {
                insert(&mut metadata, headers::OUTCOME, headers::OUTCOME_NOT_PROPOSED);
            }
            Outcome::DecidedAt { index, term } => {
                insert(&mut metadata, headers::INDEX, &index.to_string());
                insert(&mut metadata, headers::TERM, &term.to_string());
            }
            Outcome::Unknown => {}
        }
        for (name, value) in &self.0.extra_headers {
            insert(&mut metadata, name, value);
        }
        metadata
    }
}

/// Adds a header; one that cannot be written is left out rather than fail the answer.
fn insert(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let (Ok(name), Ok(value)) =
        (AsciiMetadataKey::from_bytes(name.as_bytes()), AsciiMetadataValue::try_from(value))
    {
        metadata.insert(name, value);
    }
}

/// The HTTP status of a gRPC code (`contract §5.1`).
#[must_use]
pub fn http_status(code: Code) -> http::StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
    };
    http::StatusCode::from_u16(number).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests;
