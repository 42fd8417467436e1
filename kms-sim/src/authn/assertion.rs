//! The caller that a node asserts: read and checked for its short validity.
//!
//! Whether the bytes may be believed is decided by who sent them, before they come here.

use lockbox_core::{Subject, SubjectKind};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use prost::Message;

use super::grants;
use crate::caller::{Caller, KmsRequestId, Via};

/// The metadata key that carries the assertion.
pub const ASSERTION_METADATA: &str = "lockbox-assertion-bin";

/// Longest validity that a node may give, in milliseconds (`design §7`: valid 5 s).
const VALIDITY_MS_MAX: u64 = 5_000;
/// How far the clocks of node and KMS may be apart, in milliseconds.
const SKEW_MS: u64 = 2_000;

/// What an assertion says besides who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    /// The caller.
    pub caller: Caller,
    /// Id of the client's request, for logs.
    pub request_id: String,
    /// Address of the client, for the audit.
    pub remote_address: String,
    /// Program of the client, for the audit.
    pub user_agent: String,
}

/// Why an assertion is not believed; one sentence, without what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The bytes are no assertion.
    #[error("the caller assertion does not decode")]
    Malformed,
    /// No subject, or of a kind that does not exist.
    #[error("the caller assertion names no subject")]
    NoSubject,
    /// Not valid yet, not valid any more, or for too long.
    #[error("the caller assertion is not valid at this time")]
    OutOfTime,
    /// The KMS request id has a wrong length.
    #[error("the KMS request id is not 16 or 32 bytes")]
    BadRequestId,
}

/// Reads what the node of this name asserts, at this time.
///
/// # Errors
/// [`AssertionError`].
pub fn read(bytes: &[u8], node: &str, now_ms: u64) -> Result<Asserted, AssertionError> {
    let assertion = CallerAssertion::decode(bytes).map_err(|_| AssertionError::Malformed)?;
    let (issued, expires) = (assertion.issued_at_ms, assertion.expires_at_ms);
    let too_long = expires.saturating_sub(issued) > VALIDITY_MS_MAX || expires < issued;
    let early = issued > now_ms.saturating_add(SKEW_MS);
    let late = now_ms > expires.saturating_add(SKEW_MS);
    if too_long || early || late {
        return Err(AssertionError::OutOfTime);
    }
    let kind = SubjectKind::parse(&assertion.subject_type).ok_or(AssertionError::NoSubject)?;
    if assertion.subject_id.is_empty() {
        return Err(AssertionError::NoSubject);
    }
    let kms_request_id = if assertion.kms_request_id.is_empty() {
        None
    } else {
        let id = KmsRequestId::from_bytes(assertion.kms_request_id);
        Some(id.ok_or(AssertionError::BadRequestId)?)
    };
    let wire_grants = assertion.grants.iter();
    let wire_folders = assertion.folders.iter();
    let rights = grants::rights(
        wire_grants.map(|g| (g.resource_type.as_str(), g.resource_id.as_str(), g.role_id.as_str())),
        wire_folders
            .map(|f| (f.folder_id.as_str(), f.cloud_id.as_str(), f.organization_id.as_str())),
    );
    Ok(Asserted {
        caller: Caller {
            subject: Subject { kind, id: assertion.subject_id },
            subject_name: assertion.subject_name,
            token_id: assertion.token_id,
            // Nodes pass on no changes of bindings.
            borrowed: false,
            via: Via::Assertion { node: node.to_owned(), kms_request_id },
            rights,
        },
        request_id: assertion.request_id,
        remote_address: assertion.remote_address,
        user_agent: assertion.user_agent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion() -> CallerAssertion {
        CallerAssertion {
            subject_type: "serviceAccount".to_owned(),
            subject_id: "a".to_owned(),
            issued_at_ms: 100_000,
            expires_at_ms: 105_000,
            kms_request_id: vec![1; 32],
            ..CallerAssertion::default()
        }
    }

    fn read_at(assertion: &CallerAssertion, now_ms: u64) -> Result<Asserted, AssertionError> {
        read(&assertion.encode_to_vec(), "node-1", now_ms)
    }

    #[test]
    fn validity_is_five_seconds_with_two_of_skew() {
        let assertion = assertion();
        for now in [98_000, 100_000, 105_000, 107_000] {
            assert!(read_at(&assertion, now).is_ok(), "{now}");
        }
        for now in [97_999, 107_001, 0, u64::MAX] {
            assert_eq!(read_at(&assertion, now), Err(AssertionError::OutOfTime), "{now}");
        }
        for expires_at_ms in [105_001, 99_999, u64::MAX] {
            let wrong = CallerAssertion { expires_at_ms, ..assertion.clone() };
            assert_eq!(read_at(&wrong, 100_000), Err(AssertionError::OutOfTime));
        }
    }

    #[test]
    fn subject_and_request_id_must_be_right() {
        let wrong = CallerAssertion { subject_id: String::new(), ..assertion() };
        assert_eq!(read_at(&wrong, 100_000), Err(AssertionError::NoSubject));
        let wrong = CallerAssertion { subject_type: "robot".to_owned(), ..assertion() };
        assert_eq!(read_at(&wrong, 100_000), Err(AssertionError::NoSubject));
        let wrong = CallerAssertion { kms_request_id: vec![1; 15], ..assertion() };
        assert_eq!(read_at(&wrong, 100_000), Err(AssertionError::BadRequestId));
        assert_eq!(read(&[0xff], "node-1", 100_000), Err(AssertionError::Malformed));
        let none = CallerAssertion { kms_request_id: Vec::new(), ..assertion() };
        let asserted = read_at(&none, 100_000).unwrap();
        let via = Via::Assertion { node: "node-1".to_owned(), kms_request_id: None };
        assert_eq!(asserted.caller.via, via);
    }
}
