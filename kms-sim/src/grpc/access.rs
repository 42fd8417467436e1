//! KeyAccessService: what nodes ask about keys without using them.

use std::sync::Arc;

use lockbox_platform::audit::record::EventSource;
use lockbox_platform::detach::detached;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::key_access_service_server::KeyAccessService;
use lockbox_proto::lockbox::kms::v1::{CheckAttachRequest, CheckAttachResponse};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::{Edge, convert, events};
use crate::keys::service::{self, Answer};
use crate::store::records::KeyRecord;

/// The service.
pub(crate) struct AccessService {
    edge: Arc<Edge>,
}

impl AccessService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

async fn attachable(
    edge: &Edge,
    call: &mut Call,
    message: &CheckAttachRequest,
    observed: &mut Option<KeyRecord>,
) -> Result<Answer<CheckAttachResponse>, ApiError> {
    let caller = call.admit(edge, message).await?;
    let key_id = convert::key_id("key_id", &message.key_id)?;
    let index = service::attachable(&edge.engine, &caller, &key_id, observed)?;
    Ok(Answer { value: CheckAttachResponse {}, index })
}

#[tonic::async_trait]
impl KeyAccessService for AccessService {
    async fn check_attach(
        &self,
        request: Request<CheckAttachRequest>,
    ) -> Result<Response<CheckAttachResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&edge, &request)?;
            let message = request.into_inner();
            let mut observed = None;
            let result = attachable(&edge, &mut call, &message, &mut observed).await;
            let id = ("key_id", message.key_id.as_str());
            let name = "CheckSymmetricKeyAttach";
            let event = events::request(EventSource::Kms, name, id, observed.as_ref());
            call.finish(&edge, event, result).await
        })
        .await
    }
}
