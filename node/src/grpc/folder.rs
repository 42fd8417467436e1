//! `FolderService`: folders, and who may do what in them (`contract §2.12`, `§4`).
//!
//! The one folder of a young cluster is made by `cluster init`; making more is not served yet.

use std::sync::Arc;

use lockbox_core::{CloudId, FolderId, Permission, ResourceKind, ResourcePath, ResourceRef};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::AccessBindingsDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use lockbox_raft::apply::require;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::identity::FolderRecord;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use tonic::{Request, Response, Status};
use wire::folder_service_server::FolderService;

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::unserved::unserved;
use crate::{bindings, convert, describe, idempotency, name_filter};

/// Folders read at a time while a cloud's are looked for.
const FOLDERS_READ: usize = 1_000;

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

/// The details of a change of bindings that has only an id so far.
fn changed(id: &str) -> AccessBindingsDetails {
    AccessBindingsDetails { resource_id: describe::named_id(id), ..Default::default() }
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

    async fn create(&self, _: Request<wire::CreateFolderRequest>) -> Answer<Operation> {
        Err(unserved())
    }

    async fn update(&self, _: Request<wire::UpdateFolderRequest>) -> Answer<Operation> {
        Err(unserved())
    }

    async fn delete(&self, _: Request<wire::DeleteFolderRequest>) -> Answer<Operation> {
        Err(unserved())
    }

    async fn list_operations(
        &self,
        _: Request<wire::ListFolderOperationsRequest>,
    ) -> Answer<wire::ListFolderOperationsResponse> {
        Err(unserved())
    }

    async fn list_access_bindings(
        &self,
        request: Request<access::ListAccessBindingsRequest>,
    ) -> Answer<access::ListAccessBindingsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().resource_id;
            let details = event("ListFolderAccessBindings", "resource_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list_bindings(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn set_access_bindings(
        &self,
        request: Request<access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = changed(&request.get_ref().resource_id);
            let details = AuditDetails::SetFolderAccessBindings(details);
            let mut call = Call::begin(&app, &request, details)?;
            let result = set_bindings(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update_access_bindings(
        &self,
        request: Request<access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = changed(&request.get_ref().resource_id);
            let details = AuditDetails::UpdateFolderAccessBindings(details);
            let mut call = Call::begin(&app, &request, details)?;
            let result = update_bindings(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }
}

fn parse_folder_id(field: &str, text: &str) -> Result<FolderId, ApiError> {
    FolderId::parse(text).map_err(|error| ApiError::invalid(field, error.to_string()))
}

/// A folder with its path, for who may do this with it.
fn folder_for(
    view: &dyn StateRead,
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
    let list = List { kind: "folders", of: cloud_id.as_str() };
    let after = list.id_place(&request.page_token)?;
    let after = after.map(|id| parse_folder_id("page_token", &id)).transpose()?;
    let size = page::size(request.page_size);
    let wanted = |folder: &FolderRecord| {
        folder.cloud_id == cloud_id && name.as_ref().is_none_or(|name| folder.name == *name)
    };
    let (mut records, path) = call
        .read(&caller, |view| {
            let cloud = tables::cloud(view, &cloud_id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, cloud_id.as_str()))?;
            let path = ResourcePath::new(vec![
                ResourceRef::new(ResourceKind::Organization, cloud.organization_id.as_str()),
                ResourceRef::new(ResourceKind::Cloud, cloud.id.as_str()),
            ]);
            require(view, &caller.subject, Permission::ResourceManagerGet, &path)?;
            Ok((folders_behind(view, after.clone(), size + 1, wanted)?, path))
        })
        .await?;
    call.path = Some(path);
    let more = records.len() > size;
    records.truncate(size);
    let last = records.last().filter(|_| more);
    let next_page_token = last.map(|folder| list.id_token(folder.id.as_str())).unwrap_or_default();
    Ok(wire::ListFoldersResponse {
        folders: records.iter().map(convert::folder).collect(),
        next_page_token,
    })
}

/// At most `limit` wanted folders by id, behind `after`.
fn folders_behind(
    view: &dyn StateRead,
    mut after: Option<FolderId>,
    limit: usize,
    wanted: impl Fn(&FolderRecord) -> bool,
) -> Result<Vec<FolderRecord>, StorageError> {
    let mut found = Vec::new();
    loop {
        let (page, more) = tables::folders_page(view, after.as_ref(), FOLDERS_READ)?;
        after = page.last().map(|folder| folder.id.clone());
        found.extend(page.into_iter().filter(&wanted));
        if !more || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

async fn list_bindings(
    call: &mut Call<'_>,
    request: &access::ListAccessBindingsRequest,
) -> Result<access::ListAccessBindingsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_folder_id("resource_id", &request.resource_id)?;
    let list = List { kind: "bindings of a folder", of: id.as_str() };
    let after = list.place(&request.page_token)?;
    let size = page::size(request.page_size);
    let (set, path) = call
        .read(&caller, |view| {
            let (_, path) = folder_for(view, &caller, &id, Permission::ResourceManagerGet)?;
            Ok((tables::bindings(view, &resource(&id))?, path))
        })
        .await?;
    call.path = Some(path);
    let (access_bindings, next) = bindings::page(&set, after, size);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(access::ListAccessBindingsResponse { access_bindings, next_page_token })
}

fn resource(id: &FolderId) -> ResourceRef {
    ResourceRef::new(ResourceKind::Folder, id.as_str())
}

async fn set_bindings(
    call: &mut Call<'_>,
    request: access::SetAccessBindingsRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let id = parse_folder_id("resource_id", &request.resource_id)?;
    let new = bindings::set_from_wire(request.access_bindings)?;
    call.details = AuditDetails::SetFolderAccessBindings(AccessBindingsDetails {
        access_bindings: new.iter().map(bindings::to_audit).collect(),
        ..changed(id.as_str())
    });
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &id).await?;
    let command = Command::SetAccessBindings { resource: resource(&id), bindings: new };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

async fn update_bindings(
    call: &mut Call<'_>,
    request: access::UpdateAccessBindingsRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let id = parse_folder_id("resource_id", &request.resource_id)?;
    let deltas = bindings::deltas_from_wire(request.access_binding_deltas)?;
    call.details = AuditDetails::UpdateFolderAccessBindings(AccessBindingsDetails {
        access_binding_deltas: deltas.iter().map(bindings::delta_to_audit).collect(),
        ..changed(id.as_str())
    });
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &id).await?;
    let command = Command::UpdateAccessBindings { resource: resource(&id), deltas };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

/// An early answer on rights: only an administrative role grants (`contract §4.2`).
async fn look_up(call: &mut Call<'_>, caller: &Caller, id: &FolderId) -> Result<(), ApiError> {
    let permission = Permission::ResourceManagerAdminister;
    let found = call.prepare(caller, |view| folder_for(view, caller, id, permission)).await?;
    call.path = Some(found.1);
    Ok(())
}
