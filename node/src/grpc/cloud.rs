//! `CloudService`: clouds, and who may do what in them (`contract §2.12`, `§4`).
//!
//! The first cloud is made by `cluster init`. None is deleted, as no folder is.

mod changes;

use std::sync::Arc;

use lockbox_core::{CloudId, Permission, ResourceKind, ResourcePath, ResourceRef};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use lockbox_raft::apply::{authorize, cloud_path, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::identity::CloudRecord;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{TimedView, tables};
use tonic::{Request, Response, Status};
use wire::cloud_service_server::CloudService;

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::grpc::{access_bindings, container_pages, operations_of};
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::unserved::unserved;
use crate::{convert, describe, name_filter};

/// The service over the node's parts.
#[derive(Clone)]
pub struct CloudGrpc {
    app: Arc<App>,
}

impl CloudGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn event(event_name: &'static str, field: &'static str, id: &str) -> AuditDetails {
    describe::request_event(EventSource::ResourceManager, event_name, field, id)
}

#[tonic::async_trait]
impl CloudService for CloudGrpc {
    async fn get(&self, request: Request<wire::GetCloudRequest>) -> Answer<wire::Cloud> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("GetCloud", "cloud_id", &request.get_ref().cloud_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = get(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListCloudsRequest>,
    ) -> Answer<wire::ListCloudsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().organization_id;
            let details = event("ListClouds", "organization_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create(&self, request: Request<wire::CreateCloudRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().organization_id;
            let details = event("CreateCloud", "organization_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::create(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update(&self, request: Request<wire::UpdateCloudRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("UpdateCloud", "cloud_id", &request.get_ref().cloud_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn delete(&self, _: Request<wire::DeleteCloudRequest>) -> Answer<Operation> {
        Err(unserved())
    }

    async fn list_operations(
        &self,
        request: Request<wire::ListCloudOperationsRequest>,
    ) -> Answer<wire::ListCloudOperationsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ListCloudOperations", "cloud_id", &request.get_ref().cloud_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list_operations(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_access_bindings(
        &self,
        request: Request<access::ListAccessBindingsRequest>,
    ) -> Answer<access::ListAccessBindingsResponse> {
        access_bindings::list(&self.app, request, &access_bindings::CLOUD).await
    }

    async fn set_access_bindings(
        &self,
        request: Request<access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::set(&self.app, request, &access_bindings::CLOUD).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::update(&self.app, request, &access_bindings::CLOUD).await
    }
}

fn parse_cloud_id(field: &str, text: &str) -> Result<CloudId, ApiError> {
    CloudId::parse(text).map_err(|error| ApiError::invalid(field, error.to_string()))
}

/// A cloud with its path, for who may do this with it.
fn cloud_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &CloudId,
    permission: Permission,
) -> Result<(CloudRecord, ResourcePath), Refused> {
    let cloud = tables::cloud(view, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, id.as_str()))?;
    within(cloud_path(&cloud), |path| {
        require(view, &caller.subject, permission, path)?;
        Ok(cloud)
    })
}

async fn get(
    call: &mut Call<'_>,
    request: &wire::GetCloudRequest,
) -> Result<wire::Cloud, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_cloud_id("cloud_id", &request.cloud_id)?;
    let permission = Permission::ResourceManagerGet;
    let (cloud, path) =
        call.read(&caller, |view| cloud_for(view, &caller, &id, permission)).await?;
    call.path = Some(path);
    Ok(convert::cloud(&cloud))
}

async fn list(
    call: &mut Call<'_>,
    request: &wire::ListCloudsRequest,
) -> Result<wire::ListCloudsResponse, ApiError> {
    let caller = call.admit(request)?;
    let name = name_filter::parse(&request.filter)?;
    let organization = request.organization_id.as_str();
    let of = format!("{organization} {}", name.as_deref().unwrap_or_default());
    let list = List { kind: "clouds", of: &of };
    let after = list.id_place(&request.page_token)?;
    let after = after.map(|id| parse_cloud_id("page_token", &id)).transpose()?;
    let size = page::size(request.page_size);
    let wanted = |cloud: &CloudRecord| {
        (organization.is_empty() || cloud.organization_id.as_str() == organization)
            && name.as_ref().is_none_or(|name| cloud.name == *name)
    };
    let records = call
        .read(&caller, |view| {
            let read = |after: Option<&CloudId>, size| tables::clouds_page(view, after, size);
            let seen = |cloud: &CloudRecord| Ok(wanted(cloud) && may_see(view, &caller, cloud)?);
            let id = |cloud: &CloudRecord| cloud.id.clone();
            Ok(container_pages::behind(after.clone(), size + 1, read, id, seen)?)
        })
        .await?;
    let (clouds, next_page_token) =
        container_pages::of_records(list, records, size, convert::cloud, |cloud| &cloud.id);
    Ok(wire::ListCloudsResponse { clouds, next_page_token })
}

fn may_see(
    view: &TimedView<'_>,
    caller: &Caller,
    cloud: &CloudRecord,
) -> Result<bool, StorageError> {
    let permission = Permission::ResourceManagerGet;
    Ok(authorize(view, &caller.subject, permission, &cloud_path(cloud))?.allowed())
}

async fn list_operations(
    call: &mut Call<'_>,
    request: &wire::ListCloudOperationsRequest,
) -> Result<wire::ListCloudOperationsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_cloud_id("cloud_id", &request.cloud_id)?;
    let list = List { kind: "operations on a cloud", of: id.as_str() };
    let asked = operations_of::Asked::new(list, &request.page_token, request.page_size)?;
    let (operations, next_page_token) = asked
        .answer(call, &caller, |view, asked| {
            let (_, path) = cloud_for(view, &caller, &id, Permission::ResourceManagerGet)?;
            let of = ResourceRef::new(ResourceKind::Cloud, id.as_str());
            Ok((asked.of_resource(view, &of)?, path))
        })
        .await?;
    Ok(wire::ListCloudOperationsResponse { operations, next_page_token })
}
