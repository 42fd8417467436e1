//! What a call asks the KMS and is billed for: noted before the request leaves, for the audit record.
//!
//! A record that names a request without an answer says that it may have been billed: the node
//! waited no longer, or the KMS ended in between.

use lockbox_core::KmsKeyId;
use lockbox_platform::audit::record::KmsRequest;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;

use super::Call;

/// A billed operation of the KMS that nodes ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsOperation {
    /// Makes the data key of a new version.
    GenerateDataKey,
    /// Opens the data key of a version.
    Decrypt,
}

impl KmsOperation {
    const fn name(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "GenerateDataKey",
            Self::Decrypt => "Decrypt",
        }
    }
}

impl Call<'_> {
    /// Notes a request that is about to leave, under the id that its assertion carries. A repeat
    /// of an earlier one of this call is the same request.
    pub fn asks_kms(
        &mut self,
        operation: KmsOperation,
        key: &KmsKeyId,
        assertion: &CallerAssertion,
    ) {
        let kms_request_id = hex::encode(&assertion.kms_request_id);
        let is_it = |known: &KmsRequest| known.kms_request_id == kms_request_id;
        let request = match self.kms_requests.iter().position(is_it) {
            Some(place) => self.kms_requests.remove(place),
            None => KmsRequest {
                kms_request_id,
                key_id: key.to_string(),
                operation: operation.name(),
                answered: false,
            },
        };
        self.kms_requests.push(request);
    }

    /// Notes that the KMS has done what it was asked last, if it was asked.
    pub fn kms_has_answered(&mut self) {
        if let Some(request) = self.kms_requests.last_mut() {
            request.answered = true;
        }
    }
}
