//! From the domain's refusals to the one API error (`contract §5`).

use std::time::Duration;

use lockbox_platform::status::{
    ApiError, ErrorKind, Exhausted, FieldViolation, Outcome, Precondition,
};
use lockbox_raft::domain::outcome::{Precondition as StatePrecondition, Rejection};

use crate::merge::MergeError;
use crate::password::SpecError;

/// How long a caller waits before trying again what raced.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Where a refusal was decided: the index that it observes.
#[derive(Debug, Clone, Copy)]
pub struct DecidedAt {
    /// Raft index of the view or of the entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

impl From<DecidedAt> for Outcome {
    fn from(at: DecidedAt) -> Self {
        Self::DecidedAt { index: at.index, term: at.term }
    }
}

/// Maps a refusal of the state; every one is an observation at an index.
#[must_use]
pub fn rejected(rejection: &Rejection, at: DecidedAt) -> ApiError {
    let message = rejection.to_string();
    let kind = match rejection {
        Rejection::Unauthenticated => ErrorKind::Unauthenticated,
        Rejection::PermissionDenied => ErrorKind::PermissionDenied,
        Rejection::NotFound { kind, id } => {
            ErrorKind::NotFound { resource_type: kind.audit_name(), id: id.clone() }
        }
        Rejection::OperationNotFound(id) => {
            ErrorKind::NotFound { resource_type: "operation", id: id.clone() }
        }
        Rejection::KeyNotFound(id) => {
            ErrorKind::NotFound { resource_type: "iam.key", id: id.clone() }
        }
        Rejection::AlreadyExists { kind } => {
            ErrorKind::AlreadyExists { resource_type: kind.audit_name(), id: String::new() }
        }
        Rejection::Precondition(precondition) => {
            ErrorKind::FailedPrecondition(state_precondition(precondition))
        }
        Rejection::BaseMoved { .. } => {
            ErrorKind::Aborted { precondition: None, retry_after: Some(RETRY_AFTER) }
        }
        Rejection::CurrentMismatch { expected, current } => {
            let current = current.as_ref().map_or("none", |id| id.as_str());
            let precondition = Precondition {
                kind: "CURRENT_VERSION",
                subject: expected.to_string(),
                description: format!("expected version {expected}, current version {current}"),
            };
            ErrorKind::Aborted { precondition: Some(precondition), retry_after: None }
        }
        Rejection::QuotaExceeded { quota, limit } => {
            ErrorKind::ResourceExhausted(Exhausted::Quota {
                subject: quota.clone(),
                description: format!("limit is {limit}"),
            })
        }
        Rejection::IdempotencyConflict => ErrorKind::InvalidArgument(vec![FieldViolation {
            field: "idempotency-key".to_owned(),
            description: "was used for another request".to_owned(),
        }]),
        Rejection::IdempotencyFull => {
            ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: Duration::from_secs(3600) })
        }
        Rejection::InvalidArgument { field, description } => {
            ErrorKind::InvalidArgument(vec![FieldViolation {
                field: field.clone(),
                description: description.clone(),
            }])
        }
    };
    ApiError::new(kind, message, at.into())
}

fn state_precondition(precondition: &StatePrecondition) -> Precondition {
    let (kind, subject) = match precondition {
        StatePrecondition::SecretInactive => ("SECRET_STATUS", String::new()),
        StatePrecondition::VersionNotActive(id) | StatePrecondition::VersionNotScheduled(id) => {
            ("VERSION_STATUS", id.to_string())
        }
        StatePrecondition::NoCurrentVersion => ("CURRENT_VERSION", String::new()),
        StatePrecondition::DeletionProtected => ("DELETION_PROTECTION", String::new()),
        StatePrecondition::AmbiguousName => ("SECRET_NAME", String::new()),
        StatePrecondition::AlreadyInitialised | StatePrecondition::NotInitialised => {
            ("CLUSTER", String::new())
        }
        StatePrecondition::KeyringStage => ("KEYRING", String::new()),
    };
    Precondition { kind, subject, description: precondition.to_string() }
}

/// Maps a mistake in the entries of a request; `list` is the field that holds them.
#[must_use]
pub fn wrong_entries(error: &MergeError, list: &str) -> ApiError {
    let field = match error {
        MergeError::DuplicateKey { position } => format!("{list}[{position}].key"),
        MergeError::MissingValue { position } => format!("{list}[{position}].value"),
        MergeError::NoEntries
        | MergeError::ValuesTooLarge { .. }
        | MergeError::KeysTooLarge { .. }
        | MergeError::TooManyEntries { .. } => list.to_owned(),
    };
    ApiError::invalid(field, error.to_string())
}

/// Maps a mistake in a password specification.
#[must_use]
pub fn wrong_spec(error: SpecError) -> ApiError {
    ApiError::invalid(error.field(), error.to_string())
}
