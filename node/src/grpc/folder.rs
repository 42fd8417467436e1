//! `FolderService`: folders, and who may do what in them (`contract §2.12`, `§4`).
//!
//! The first folder is made by `cluster init`. None is deleted: with it would go all that is in it,
//! and that is a decision which no single call should be able to make.

mod changes;

use std::sync::Arc;

use lockbox_core::{CloudId, FolderId, Permission, ResourceKind, ResourcePath, ResourceRef};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use lockbox_raft::apply::{cloud_path, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::identity::FolderRecord;
use lockbox_raft::state::{TimedView, tables};
use tonic::{Request, Response, Status};
use wire::folder_service_server::FolderService;

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
pub struct FolderGrpc {
    app: Arc<App>,
}

impl FolderGrpc {
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
impl FolderService for FolderGrpc {
    async fn get(&self, request: Request<wire::GetFolderRequest>) -> Answer<wire::Folder> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("GetFolder", "folder_id", &request.get_ref().folder_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = get(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListFoldersRequest>,
    ) -> Answer<wire::ListFoldersResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ListFolders", "cloud_id", &request.get_ref().cloud_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create(&self, request: Request<wire::CreateFolderRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("CreateFolder", "cloud_id", &request.get_ref().cloud_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::create(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update(&self, request: Request<wire::UpdateFolderRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("UpdateFolder", "folder_id", &request.get_ref().folder_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn delete(&self, _: Request<wire::DeleteFolderRequest>) -> Answer<Operation> {
        Err(unserved())
    }

    async fn list_operations(
        &self,
        request: Request<wire::ListFolderOperationsRequest>,
    ) -> Answer<wire::ListFolderOperationsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ListFolderOperations", "folder_id", &request.get_ref().folder_id);
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
        access_bindings::list(&self.app, request, &access_bindings::FOLDER).await
    }

    async fn set_access_bindings(
        &self,
        request: Request<access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::set(&self.app, request, &access_bindings::FOLDER).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::update(&self.app, request, &access_bindings::FOLDER).await
    }
}

fn parse_folder_id(field: &str, text: &str) -> Result<FolderId, ApiError> {
    FolderId::parse(text).map_err(|error| ApiError::invalid(field, error.to_string()))
}

/// A folder with its path, for who may do this with it.
fn folder_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &FolderId,
    permission: Permission,
) -> Result<(FolderRecord, ResourcePath), Refused> {
    let not_found = || Rejection::not_found(ResourceKind::Folder, id.as_str());
    let folder = tables::folder(view, id)?.ok_or_else(not_found)?;
    let path = tables::folder_path(view, id)?.ok_or_else(not_found)?;
    within(path, |path| {
        require(view, &caller.subject, permission, path)?;
        Ok(folder)
    })
}

async fn get(
    call: &mut Call<'_>,
    request: &wire::GetFolderRequest,
) -> Result<wire::Folder, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_folder_id("folder_id", &request.folder_id)?;
    let permission = Permission::ResourceManagerGet;
    let (folder, path) =
        call.read(&caller, |view| folder_for(view, &caller, &id, permission)).await?;
    call.path = Some(path);
    Ok(convert::folder(&folder))
}

async fn list(
    call: &mut Call<'_>,
    request: &wire::ListFoldersRequest,
) -> Result<wire::ListFoldersResponse, ApiError> {
    let caller = call.admit(request)?;
    let cloud_id = CloudId::parse(&request.cloud_id)
        .map_err(|error| ApiError::invalid("cloud_id", error.to_string()))?;
    let name = name_filter::parse(&request.filter)?;
    let of = format!("{cloud_id} {}", name.as_deref().unwrap_or_default());
    let list = List { kind: "folders", of: &of };
    let after = list.id_place(&request.page_token)?;
    let after = after.map(|id| parse_folder_id("page_token", &id)).transpose()?;
    let size = page::size(request.page_size);
    let (records, path) = call
        .read(&caller, |view| {
            let cloud = tables::cloud(view, &cloud_id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, cloud_id.as_str()))?;
            let path = cloud_path(&cloud);
            require(view, &caller.subject, Permission::ResourceManagerGet, &path)?;
            if let Some(name) = &name {
                // There is one at most, and it is found without looking at all the others.
                let found = tables::folder_named(view, &cloud_id, name)?;
                let behind = |folder: &FolderRecord| after.as_ref().is_none_or(|a| folder.id > *a);
                return Ok((found.into_iter().filter(behind).collect(), path));
            }
            let read = |after: Option<&FolderId>, size| tables::folders_page(view, after, size);
            let id = |folder: &FolderRecord| folder.id.clone();
            let wanted = |folder: &FolderRecord| Ok(folder.cloud_id == cloud_id);
            Ok((container_pages::behind(after.clone(), size + 1, read, id, wanted)?, path))
        })
        .await?;
    call.path = Some(path);
    let (folders, next_page_token) =
        container_pages::of_records(list, records, size, convert::folder, |folder| &folder.id);
    Ok(wire::ListFoldersResponse { folders, next_page_token })
}

async fn list_operations(
    call: &mut Call<'_>,
    request: &wire::ListFolderOperationsRequest,
) -> Result<wire::ListFolderOperationsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_folder_id("folder_id", &request.folder_id)?;
    let list = List { kind: "operations on a folder", of: id.as_str() };
    let asked = operations_of::Asked::new(list, &request.page_token, request.page_size)?;
    let (operations, next_page_token) = asked
        .answer(call, &caller, |view, asked| {
            let (_, path) = folder_for(view, &caller, &id, Permission::ResourceManagerGet)?;
            let of = ResourceRef::new(ResourceKind::Folder, id.as_str());
            Ok((asked.of_resource(view, &of)?, path))
        })
        .await?;
    Ok(wire::ListFolderOperationsResponse { operations, next_page_token })
}
