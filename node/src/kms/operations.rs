//! The operations of the KMS, for who asks this node about them: the endpoint of operations polls
//! those of all services (`contract §0.1`).

use lockbox_core::OperationId;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::operation::{GetOperationRequest, Operation};
use tokio::time::Instant;
use tonic::Code;

use super::refusal::{Unanswered, not_asked};
use super::{KmsCall, KmsClient, kms_index, within};

/// An operation as the KMS tells it, and its commit sequence.
pub type Found = (Operation, Option<String>);

impl KmsClient {
    /// One operation on behalf of the caller; nothing when the KMS does not know it, or is one
    /// without operations, or does not know whom it may tell about them.
    ///
    /// # Errors
    /// PERMISSION_DENIED as the KMS says it; UNAVAILABLE when it does not answer.
    pub async fn operation(
        &self,
        id: &OperationId,
        assertion: &CallerAssertion,
        deadline: Instant,
    ) -> Result<Option<Found>, ApiError> {
        if !self.knows_callers() {
            return Ok(None);
        }
        let message = GetOperationRequest { operation_id: id.to_string() };
        let mut client = OperationServiceClient::new(self.line.channel());
        let identity = &self.identity;
        let ask = move |until| async move {
            client.get(identity.on_behalf(within(message, until), assertion).await?).await
        };
        let status = match self.in_time(KmsCall::GetOperation, deadline, ask).await {
            Ok(response) => {
                let index = kms_index(response.metadata());
                return Ok(Some((response.into_inner(), index)));
            }
            Err(Unanswered::Status(status)) => status,
            Err(Unanswered::NotAsked(why)) => return Err(not_asked(why, self.pause())),
        };
        let failed = |kind: ErrorKind, message: &str| {
            Err(ApiError::new(kind, message, Outcome::NotProposed))
        };
        match status.code() {
            Code::NotFound | Code::Unimplemented => Ok(None),
            Code::PermissionDenied => failed(ErrorKind::PermissionDenied, "permission denied"),
            _ => {
                tracing::warn!(code = ?status.code(), "the KMS did not say whether it knows an operation");
                let kind = ErrorKind::Unavailable { retry_after: Some(self.pause()) };
                failed(kind, "the operation is not known here, and the KMS does not answer")
            }
        }
    }
}
