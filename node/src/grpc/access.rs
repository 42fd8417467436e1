//! `lockbox.iam.v1.AccessService`: bindings of any resource with their conditions, and why somebody
//! may or may not do something.

mod bindings;
mod explain;

use std::sync::Arc;

use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_proto::lockbox::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use tonic::{Request, Response, Status};
use wire::access_service_server::AccessService;

use super::access_bindings::on_resource;
use crate::app::App;
use crate::call::{Call, detached};
use crate::describe;

/// The service over the node's parts.
#[derive(Clone)]
pub struct AccessGrpc {
    app: Arc<App>,
}

impl AccessGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The audit details of a call that changes nothing.
fn event(event_name: &'static str, resource_id: &str) -> AuditDetails {
    describe::request_event(EventSource::Iam, event_name, "resource_id", resource_id)
}

#[tonic::async_trait]
impl AccessService for AccessGrpc {
    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ExplainAccess", &request.get_ref().resource_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = explain::explain(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_bindings(
        &self,
        request: Request<wire::ListBindingsRequest>,
    ) -> Result<Response<wire::ListBindingsResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ListBindings", &request.get_ref().resource_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = bindings::list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update_bindings(
        &self,
        request: Request<wire::UpdateBindingsRequest>,
    ) -> Result<Response<Operation>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = on_resource(describe::named_id(&request.get_ref().resource_id));
            let mut call = Call::begin(&app, &request, AuditDetails::UpdateBindings(details))?;
            let result = bindings::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }
}
