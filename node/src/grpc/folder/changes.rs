//! Folders that are made and changed.

use std::collections::BTreeMap;

use lockbox_core::{CloudId, FolderId, Permission, ResourceKind};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use lockbox_raft::apply::{cloud_path, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateFolder};
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::state::tables;

use super::{folder_for, parse_folder_id};
use crate::call::Call;
use crate::grpc::container_changes::{Fields, keep_listed, masked};
use crate::refused::within;
use crate::{convert, idempotency};

pub(super) async fn create(
    call: &mut Call<'_>,
    request: &wire::CreateFolderRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let cloud_id = CloudId::parse(&request.cloud_id)
        .map_err(|error| ApiError::invalid("cloud_id", error.to_string()))?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(answer(call, &operation));
    }
    let permission = Permission::ResourceManagerAdminister;
    let ((), path) = call
        .prepare(&caller, |view| {
            let cloud = tables::cloud(view, &cloud_id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, cloud_id.as_str()))?;
            within(cloud_path(&cloud), |path| require(view, &caller.subject, permission, path))
        })
        .await?;
    call.path = Some(path);
    let command = Command::CreateFolder(CreateFolder {
        id: FolderId::generate(call.app.random.as_ref()),
        cloud_id,
        name: request.name.clone(),
        description: request.description.clone(),
        labels: request.labels.clone(),
    });
    let operation = call.propose(&caller, claim, command).await?;
    Ok(answer(call, &operation))
}

/// The operation on the wire; the new folder's id goes into the audit record.
fn answer(call: &mut Call<'_>, operation: &OperationRecord) -> Operation {
    if let OperationResult::Folder(folder) = &operation.result {
        call.details = AuditDetails::Request(RequestDetails {
            source: EventSource::ResourceManager,
            event_name: "CreateFolder",
            ids: BTreeMap::from([
                ("cloud_id", folder.cloud_id.to_string()),
                ("folder_id", folder.id.to_string()),
            ]),
        });
    }
    convert::operation(operation)
}

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateFolderRequest,
) -> Result<Operation, ApiError> {
    let mut listed = request.clone();
    keep_listed(&mut fields(&mut listed));
    let caller = call.admit(&listed)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let folder_id = parse_folder_id("folder_id", &request.folder_id)?;
    let changes = masked(&fields(&mut listed))?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let permission = Permission::ResourceManagerAdminister;
    let found = call.prepare(&caller, |view| folder_for(view, &caller, &folder_id, permission));
    call.path = Some(found.await?.1);
    let command = Command::UpdateFolder { folder_id, changes };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

fn fields(request: &mut wire::UpdateFolderRequest) -> Fields<'_> {
    Fields {
        mask: request.update_mask.as_ref(),
        name: &mut request.name,
        description: &mut request.description,
        labels: &mut request.labels,
    }
}
