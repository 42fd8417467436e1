//! OperationService for the operations of this KMS. All of them are finished when they are made.

use std::sync::Arc;

use lockbox_platform::audit::record::EventSource;
use lockbox_platform::detach::detached;
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationService;
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation,
};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::{Edge, convert, events, operations};
use crate::keys;
use crate::keys::service::Answer;

/// The service.
pub(crate) struct OperationsService {
    edge: Arc<Edge>,
}

impl OperationsService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    async fn read<M: Validate + Send + Sync + 'static>(
        &self,
        request: Request<M>,
        event_name: &'static str,
        id: impl FnOnce(&M) -> String + Send + 'static,
    ) -> Result<Response<Operation>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&edge, &request)?;
            let message = request.into_inner();
            let id = id(&message);
            let result = Self::find(&edge, &mut call, &message, &id).await;
            let asked = ("operation_id", id.as_str());
            let event = events::request(EventSource::Operation, event_name, asked, None);
            call.finish(&edge, event, result).await
        })
        .await
    }

    async fn find<M: Validate>(
        edge: &Edge,
        call: &mut Call,
        message: &M,
        id: &str,
    ) -> Result<Answer<Operation>, ApiError> {
        let caller = call.admit(edge, message).await?;
        let id = convert::operation_id(id)?;
        let Answer { value, index } = keys::operations::get(&edge.engine, &caller, &id)?;
        Ok(Answer { value: operations::to_wire(&value), index })
    }
}

#[tonic::async_trait]
impl OperationService for OperationsService {
    async fn get(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.read(request, "GetOperation", |message| message.operation_id.clone()).await
    }

    async fn cancel(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        // A finished operation is returned as it is.
        self.read(request, "CancelOperation", |message| message.operation_id.clone()).await
    }
}
