//! The head of the KMS's audit, as the KMS tells it.

use lockbox_proto::lockbox::kms::v1::audit_head_service_client::AuditHeadServiceClient;
use lockbox_proto::lockbox::kms::v1::{TellAuditHeadRequest, TellAuditHeadResponse};
use tokio::time::Instant;
use tonic::Status;

use super::{KmsClient, within};

impl KmsClient {
    /// Asks for the head of the KMS's audit, as the node itself.
    ///
    /// Beside the breaker: reading files may take the KMS longer than any call of callers, which
    /// says nothing of how it answers those.
    ///
    /// # Errors
    /// [`Status`] as the KMS or the transport gave it; UNIMPLEMENTED from a KMS that has none.
    pub async fn audit_head(
        &self,
        request: TellAuditHeadRequest,
        deadline: Instant,
    ) -> Result<TellAuditHeadResponse, Status> {
        let mut client = AuditHeadServiceClient::new(self.line.channel());
        let request = self.identity.own(within(request, deadline)).await?;
        tokio::select! {
            biased;
            () = self.hung_up.cancelled() => Err(Status::unavailable("the node is shutting down")),
            answer = client.tell_audit_head(request) => answer.map(tonic::Response::into_inner),
            () = tokio::time::sleep_until(deadline) => {
                Err(Status::deadline_exceeded("no answer in time"))
            }
        }
    }
}
