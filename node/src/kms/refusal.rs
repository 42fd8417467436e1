//! What the KMS's refusals mean for a secret's caller, and for the breaker.

use std::error::Error;
use std::time::Duration;

use lockbox_core::KmsKeyId;
use lockbox_platform::status::{ApiError, ErrorKind, FieldViolation, Outcome, Precondition};
use tonic::{Code, Status};

use super::breaker::NotAsked;
use super::{KeyOrigin, PATIENCE, kms_index, with_kms_index};

/// About when a caller may try again while the KMS does not answer; each is told another time.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there is no answer that says yes.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The KMS refused, or the transport failed.
    Status(Status),
    /// It was not asked.
    NotAsked(NotAsked),
}

impl From<Unanswered> for Status {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Status(status) => status,
            Unanswered::NotAsked(NotAsked::Resting { .. }) => {
                Self::unavailable("the KMS does not answer")
            }
            Unanswered::NotAsked(NotAsked::Crowded) => {
                Self::unavailable("too many calls wait for the KMS")
            }
            Unanswered::NotAsked(NotAsked::Late) => Self::deadline_exceeded("no answer in time"),
        }
    }
}

/// Whether the KMS itself has answered, by how a call ended: with this failure, if with one, and
/// after this time. Nothing when that cannot be told.
///
/// Whatever the KMS refuses is an answer. UNAVAILABLE is one when it says at which of its commits:
/// others come from the transport, from what stands between, or from a KMS that cannot work.
pub(super) fn was_answered(failure: Option<&Status>, took: Duration) -> Option<bool> {
    let Some(status) = failure else { return Some(true) };
    match status.code() {
        Code::Unavailable => Some(kms_index(status.metadata()).is_some()),
        Code::DeadlineExceeded | Code::Cancelled => (took >= PATIENCE).then_some(false),
        // What broke in the transport has a cause of its own.
        Code::Unknown | Code::Internal => Some(status.source().is_none()),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Some(true),
    }
}

/// What it means for the secret that the KMS did not say yes; after `pause` the caller may try again,
/// where that helps and the breaker does not know better.
pub(super) fn failed(
    unanswered: &Unanswered,
    key: &KmsKeyId,
    step: Step,
    pause: Duration,
) -> ApiError {
    match unanswered {
        Unanswered::Status(status) => refused(status, key, step, pause),
        Unanswered::NotAsked(why) => not_asked(*why, pause),
    }
}

/// Nothing was sent, so nothing was billed, and trying again is right (`design §6`: fails fast).
pub(super) fn not_asked(why: NotAsked, pause: Duration) -> ApiError {
    let (retry_after, message) = match why {
        NotAsked::Resting { retry_after } => (retry_after, "the KMS is not available"),
        NotAsked::Crowded => (pause, "too many calls wait for the KMS"),
        NotAsked::Late => (pause, "the KMS did not answer in time"),
    };
    let kind = ErrorKind::Unavailable { retry_after: Some(retry_after) };
    ApiError::new(kind, message, Outcome::NotProposed)
}

/// What the KMS was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A new data key, or whether one could be made.
    Make(KeyOrigin),
    /// A stored data key in clear.
    Open,
}

/// What a refusal of the KMS means for the secret (`contract §3.4`).
///
/// A key that is gone is a state of the secret, never NOT_FOUND: clients would believe that the
/// secret is gone (`contract §5.2`). Nothing here is DEADLINE_EXCEEDED: nothing was proposed, and
/// a KMS that does not answer is one that is not available.
pub(super) fn refused(status: &Status, key: &KmsKeyId, step: Step, pause: Duration) -> ApiError {
    let unusable = |description: &str| {
        let kind = ErrorKind::FailedPrecondition(Precondition {
            kind: "KMS_KEY",
            subject: key.to_string(),
            description: description.to_owned(),
        });
        // Who names the key in the request can name another.
        let message = match step {
            Step::Make(KeyOrigin::Request) => format!("kms_key_id: {description}"),
            Step::Make(KeyOrigin::Secret) | Step::Open => "the secret's key is unusable".to_owned(),
        };
        (kind, message)
    };
    let unavailable =
        |message: &str| (ErrorKind::Unavailable { retry_after: Some(pause) }, message.to_owned());
    let (kind, message) = match (status.code(), step) {
        (Code::NotFound, _) => unusable("the key does not exist"),
        (Code::FailedPrecondition, _) => unusable("the key or its version is not active"),
        (Code::PermissionDenied, _) => {
            (ErrorKind::PermissionDenied, "permission denied on the KMS key".to_owned())
        }
        (Code::InvalidArgument, Step::Make(KeyOrigin::Request)) => {
            let (field, description) = ("kms_key_id", "is not taken by the KMS");
            let violation =
                FieldViolation { field: field.to_owned(), description: description.to_owned() };
            let message = format!("{field}: {description}");
            (ErrorKind::InvalidArgument(vec![violation]), message)
        }
        (Code::InvalidArgument, Step::Make(KeyOrigin::Secret)) => {
            unusable("the KMS makes no data key under it")
        }
        (Code::InvalidArgument, Step::Open) => {
            (ErrorKind::DataLoss, "the secret's data key does not open".to_owned())
        }
        (Code::DataLoss, _) => {
            (ErrorKind::DataLoss, "the KMS key's material is damaged".to_owned())
        }
        (Code::Unauthenticated, _) => {
            // The caller was authenticated here: what the KMS refuses is this node.
            tracing::error!(reason = status.message(), "the KMS refuses this node");
            unavailable("the KMS does not accept this node")
        }
        // CANCELLED is what tonic's server answers when the caller's deadline has passed.
        (Code::DeadlineExceeded | Code::Cancelled, _) => {
            unavailable("the KMS did not answer in time")
        }
        (Code::ResourceExhausted, _) => unavailable("the KMS is busy"),
        (
            Code::Ok
            | Code::Unknown
            | Code::AlreadyExists
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable,
            _,
        ) => unavailable("the KMS is not available"),
    };
    let error = ApiError::new(kind, message, Outcome::NotProposed);
    with_kms_index(error, kms_index(status.metadata()).as_deref())
}
