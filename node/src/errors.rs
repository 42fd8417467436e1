//! From the domain's refusals to the one API error (`contract §5`).

use std::time::Duration;

use lockbox_platform::status::{
    ApiError, ErrorKind, Exhausted, FieldViolation, Outcome, Precondition,
};
use lockbox_raft::domain::outcome::{Precondition as StatePrecondition, Rejection};
use lockbox_raft::replica::{
    NotProposedReason, ProposalOutcome, ProposeError, ReadError, UnknownReason,
};

use crate::merge::MergeError;
use crate::password::SpecError;
use crate::turns::NoTurn;

/// How long a caller waits before trying again what raced.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long a caller waits before trying again what was refused for lack of room.
const BUSY_RETRY: Duration = Duration::from_millis(200);

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
        // The keyring changed under the call, or a step of it came twice: the next try finds it as
        // it is now.
        Rejection::Precondition(StatePrecondition::KeyringStage) => {
            ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) }
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
        StatePrecondition::VersionNotActive(id)
        | StatePrecondition::VersionNotScheduled(id)
        | StatePrecondition::VersionDestroyed(id) => ("VERSION_STATUS", id.to_string()),
        StatePrecondition::NoCurrentVersion => ("CURRENT_VERSION", String::new()),
        StatePrecondition::DeletionProtected => ("DELETION_PROTECTION", String::new()),
        StatePrecondition::AmbiguousName => ("SECRET_NAME", String::new()),
        StatePrecondition::AlreadyInitialised | StatePrecondition::NotInitialised => {
            ("CLUSTER", String::new())
        }
        StatePrecondition::OwnAccount => ("OWN_ACCOUNT", String::new()),
        StatePrecondition::KeyringStage => ("KEYRING", String::new()),
        StatePrecondition::AuditHeadMoved | StatePrecondition::AuditHeadContradicts => {
            ("AUDIT_HEAD", String::new())
        }
        StatePrecondition::FeatureLevel => ("FEATURE_LEVEL", String::new()),
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
        | MergeError::TooManyChanges { .. }
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

/// Maps a read that no view answered.
///
/// UNAVAILABLE, and not DEADLINE_EXCEEDED, also when time ran out: nothing was handed to anybody,
/// so trying again is right, and clients do that on UNAVAILABLE alone (`contract §5.1`).
#[must_use]
pub fn unread(error: ReadError) -> ApiError {
    match error {
        ReadError::NoLeader => ApiError::unavailable("no leader"),
        ReadError::Deadline => ApiError::unavailable("no leader confirmed the read in time"),
        ReadError::Draining => ApiError::unavailable("the node is shutting down"),
        ReadError::QueueFull => busy(),
        ReadError::Storage(error) => ApiError::internal(error.to_string()),
    }
}

/// Maps a proposal without an outcome.
///
/// DEADLINE_EXCEEDED only here, when it was handed to Raft and no outcome came, whatever the
/// reason: it may take effect, and a client must not try again by itself, as it does on
/// UNAVAILABLE.
#[must_use]
pub fn unproposed(error: &ProposeError) -> ApiError {
    let outcome = match error.outcome() {
        ProposalOutcome::NotProposed => Outcome::NotProposed,
        ProposalOutcome::Unknown => Outcome::Unknown,
    };
    let unavailable = ErrorKind::Unavailable { retry_after: None };
    let kind = match error {
        ProposeError::NotProposed(NotProposedReason::QueueFull) => return busy(),
        ProposeError::NotProposed(NotProposedReason::NoRoom) => {
            ErrorKind::ResourceExhausted(Exhausted::Quota {
                subject: "disk".to_owned(),
                description: "what deletes and destroys is still taken".to_owned(),
            })
        }
        ProposeError::NotProposed(
            NotProposedReason::NoLeader
            | NotProposedReason::Deadline
            | NotProposedReason::Draining
            | NotProposedReason::Refused,
        ) => unavailable,
        // Another try finds the same until an operator has finished the upgrade.
        ProposeError::NotProposed(NotProposedReason::FeatureLevel) => {
            ErrorKind::FailedPrecondition(state_precondition(&StatePrecondition::FeatureLevel))
        }
        ProposeError::Unknown(
            UnknownReason::Deadline | UnknownReason::EarlierTry | UnknownReason::Stopped,
        ) => ErrorKind::DeadlineExceeded,
        ProposeError::Storage(error) => return ApiError::internal(error.to_string()),
    };
    ApiError::new(kind, error.to_string(), outcome)
}

/// Maps a turn that did not come: nothing was merged, and trying again is right.
#[must_use]
pub fn no_turn(error: NoTurn) -> ApiError {
    let kind = match error {
        NoTurn::Full => ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: BUSY_RETRY }),
        NoTurn::Late => ErrorKind::Unavailable { retry_after: None },
    };
    ApiError::new(kind, error.to_string(), Outcome::NotProposed)
}

fn busy() -> ApiError {
    let exhausted = Exhausted::Busy { retry_after: BUSY_RETRY };
    let kind = ErrorKind::ResourceExhausted(exhausted);
    ApiError::new(kind, "too many requests are under way", Outcome::NotProposed)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn time_that_ran_out_says_whether_trying_again_is_right() {
        for error in [ReadError::NoLeader, ReadError::Deadline, ReadError::Draining] {
            let error = unread(error);
            assert_eq!((error.code(), error.outcome()), (Code::Unavailable, Outcome::NotProposed));
        }
        let nobody = unproposed(&ProposeError::NotProposed(NotProposedReason::NoLeader));
        assert_eq!((nobody.code(), nobody.outcome()), (Code::Unavailable, Outcome::NotProposed));
        let full = unproposed(&ProposeError::NotProposed(NotProposedReason::NoRoom));
        assert_eq!((full.code(), full.outcome()), (Code::ResourceExhausted, Outcome::NotProposed));
        assert!(full.message().contains("too little room left"), "{full}");
        for reason in [UnknownReason::Deadline, UnknownReason::EarlierTry, UnknownReason::Stopped] {
            let late = unproposed(&ProposeError::Unknown(reason));
            assert_eq!((late.code(), late.outcome()), (Code::DeadlineExceeded, Outcome::Unknown));
        }
    }
}
