//! The mapping of refusals and failures to the wire (`contract §5.2`, `§3.3`).
//!
//! Promises: a refusal that rests on the state carries the commit sequence that it reflects; no
//! arm is a wildcard, so that a new refusal cannot get a code by accident.

use std::time::Duration;

use lockbox_core::ResourceKind;
use lockbox_platform::headers;
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome, Precondition};

use crate::authn::AuthnError;
use crate::commit::CommitFailure;
use crate::error::{KmsError, Rejection};

/// When a caller that found the ledger's queue full should come back.
const BUSY_RETRY: Duration = Duration::from_millis(50);
/// When a caller should come back while no commits are reserved.
const UNRESERVED_RETRY: Duration = Duration::from_secs(5);
/// When a caller whose key is being changed should come back.
const CONTENDED_RETRY: Duration = Duration::from_millis(20);
/// When a caller whose token could not be checked should come back.
const CLUSTER_RETRY: Duration = Duration::from_secs(1);
/// When a caller should come back who found too many tokens being checked.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

const KEY_VERSION_TYPE: &str = "kms.symmetricKeyVersion";
const OPERATION_TYPE: &str = "operation";

/// The wire's view of a failed authentication.
pub(super) fn unrecognised(error: AuthnError) -> ApiError {
    match error {
        AuthnError::Missing
        | AuthnError::NotANode
        | AuthnError::Assertion(_)
        | AuthnError::InvalidToken => ApiError::unauthenticated(error.to_string()),
        AuthnError::Unavailable(_) => {
            let kind = ErrorKind::Unavailable { retry_after: Some(CLUSTER_RETRY) };
            ApiError::new(kind, error.to_string(), Outcome::NotProposed)
        }
        AuthnError::Crowded(_) => {
            let busy = Exhausted::Busy { retry_after: CROWDED_RETRY };
            let kind = ErrorKind::ResourceExhausted(busy);
            ApiError::new(kind, error.to_string(), Outcome::NotProposed)
        }
    }
}

impl From<KmsError> for ApiError {
    fn from(error: KmsError) -> Self {
        let message = error.to_string();
        match error {
            KmsError::Invalid { field, problem } => Self::invalid(field, problem),
            KmsError::Unimplemented(_) => Self::unimplemented(message),
            // What a refusal means for the caller's next step stands in its index, not in an
            // outcome: `DecidedAt` would claim an index of the cluster's log.
            KmsError::Rejected { index, rejection } => {
                Self::new(kind(rejection), message, Outcome::Unknown)
                    .with_header(headers::KMS_INDEX, index.to_string())
            }
            KmsError::Contended => {
                let kind = ErrorKind::Unavailable { retry_after: Some(CONTENDED_RETRY) };
                Self::new(kind, message, Outcome::NotProposed)
            }
            KmsError::Commit(CommitFailure::Busy) => {
                let busy = Exhausted::Busy { retry_after: BUSY_RETRY };
                Self::new(ErrorKind::ResourceExhausted(busy), message, Outcome::NotProposed)
            }
            KmsError::Commit(CommitFailure::Unreserved) => {
                let kind = ErrorKind::Unavailable { retry_after: Some(UNRESERVED_RETRY) };
                Self::new(kind, message, Outcome::NotProposed)
            }
            KmsError::Commit(CommitFailure::Stopped) => Self::unavailable(message),
            KmsError::Commit(CommitFailure::Unknown) => {
                Self::unavailable(message).with_outcome(Outcome::Unknown)
            }
            // The cause names files: it is for the log, not for the caller.
            KmsError::Store(_) => Self::internal("the store failed"),
            KmsError::MaterialDamaged(_) => {
                Self::new(ErrorKind::DataLoss, message, Outcome::Unknown)
            }
        }
    }
}

fn kind(rejection: Rejection) -> ErrorKind {
    let description = rejection.to_string();
    let precondition = |kind, subject: String| {
        let description = description.clone();
        ErrorKind::FailedPrecondition(Precondition { kind, subject, description })
    };
    match rejection {
        Rejection::KeyNotFound(id) => {
            ErrorKind::NotFound { resource_type: ResourceKind::KmsKey.audit_name(), id: id.into() }
        }
        Rejection::VersionNotFound(_, id) => {
            ErrorKind::NotFound { resource_type: KEY_VERSION_TYPE, id: id.into() }
        }
        Rejection::FolderNotFound(id) => {
            ErrorKind::NotFound { resource_type: ResourceKind::Folder.audit_name(), id: id.into() }
        }
        Rejection::OperationNotFound(id) => {
            ErrorKind::NotFound { resource_type: OPERATION_TYPE, id: id.into() }
        }
        Rejection::Denied => ErrorKind::PermissionDenied,
        Rejection::KeyInactive(id) => precondition("KEY_INACTIVE", id.into()),
        Rejection::VersionNotActive(_, id) => precondition("KEY_VERSION_NOT_ACTIVE", id.into()),
        Rejection::VersionExhausted(_, id) => precondition("KEY_VERSION_EXHAUSTED", id.into()),
        Rejection::DeletionProtected(id) => precondition("KEY_DELETION_PROTECTED", id.into()),
        Rejection::KeyNotDeleted(id) => precondition("KEY_NOT_DELETED", id.into()),
        Rejection::VersionNotScheduled(_, id) => {
            precondition("KEY_VERSION_NOT_SCHEDULED", id.into())
        }
        Rejection::VersionIsPrimary(_, id) => precondition("KEY_VERSION_IS_PRIMARY", id.into()),
        Rejection::Ciphertext | Rejection::RequestIdReused | Rejection::IdempotencyKeyReused => {
            ErrorKind::InvalidArgument(Vec::new())
        }
        Rejection::TooManyKeys => {
            let subject = "kms.symmetricKeys.count".to_owned();
            ErrorKind::ResourceExhausted(Exhausted::Quota { subject, description })
        }
        Rejection::TooManyVersions => {
            let subject = "kms.symmetricKeyVersions.count".to_owned();
            ErrorKind::ResourceExhausted(Exhausted::Quota { subject, description })
        }
        Rejection::TooManyBindings => {
            let subject = "access.bindings.count".to_owned();
            ErrorKind::ResourceExhausted(Exhausted::Quota { subject, description })
        }
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::{KmsKeyId, KmsKeyVersionId};
    use tonic::Code;

    use super::*;

    #[test]
    fn refusals_have_the_codes_of_the_contract() {
        let key = || KmsKeyId::parse("k").unwrap();
        let version = || KmsKeyVersionId::parse("v").unwrap();
        for (rejection, code) in [
            (Rejection::KeyNotFound(key()), Code::NotFound),
            (Rejection::VersionNotFound(key(), version()), Code::NotFound),
            (Rejection::Denied, Code::PermissionDenied),
            (Rejection::KeyInactive(key()), Code::FailedPrecondition),
            (Rejection::VersionNotActive(key(), version()), Code::FailedPrecondition),
            (Rejection::VersionExhausted(key(), version()), Code::FailedPrecondition),
            (Rejection::DeletionProtected(key()), Code::FailedPrecondition),
            (Rejection::KeyNotDeleted(key()), Code::FailedPrecondition),
            (Rejection::VersionNotScheduled(key(), version()), Code::FailedPrecondition),
            (Rejection::VersionIsPrimary(key(), version()), Code::FailedPrecondition),
            (Rejection::Ciphertext, Code::InvalidArgument),
            (Rejection::RequestIdReused, Code::InvalidArgument),
            (Rejection::IdempotencyKeyReused, Code::InvalidArgument),
            (Rejection::TooManyKeys, Code::ResourceExhausted),
            (Rejection::TooManyVersions, Code::ResourceExhausted),
            (Rejection::TooManyBindings, Code::ResourceExhausted),
        ] {
            let status =
                ApiError::from(KmsError::Rejected { index: 7, rejection }).into_status("r");
            assert_eq!(status.code(), code);
            let index = status.metadata().get("kms-index").and_then(|v| v.to_str().ok());
            assert_eq!(index, Some("7"));
            assert!(status.metadata().get("lockbox-index").is_none());
            assert!(status.metadata().get("lockbox-outcome").is_none());
        }
    }

    #[test]
    fn who_finds_too_many_tokens_being_checked_is_told_when_to_come_back() {
        let error = unrecognised(AuthnError::Crowded(crate::authn::asking::Crowded));
        let busy = Exhausted::Busy { retry_after: CROWDED_RETRY };
        assert_eq!(*error.kind(), ErrorKind::ResourceExhausted(busy));
        assert_eq!(error.outcome(), Outcome::NotProposed);
    }

    #[test]
    fn only_what_was_not_taken_says_so() {
        let outcome = |failure| ApiError::from(KmsError::Commit(failure)).outcome();
        assert_eq!(outcome(CommitFailure::Busy), Outcome::NotProposed);
        assert_eq!(outcome(CommitFailure::Unreserved), Outcome::NotProposed);
        assert_eq!(outcome(CommitFailure::Stopped), Outcome::NotProposed);
        assert_eq!(outcome(CommitFailure::Unknown), Outcome::Unknown);
    }
}
