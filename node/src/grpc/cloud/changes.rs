//! Clouds that are made and changed.

use std::collections::BTreeMap;

use lockbox_core::{CloudId, OrganizationId, Permission, ResourceKind, ResourcePath, ResourceRef};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use lockbox_raft::apply::{require, require_own_token};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateCloud};
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::state::tables;

use super::{cloud_for, parse_cloud_id};
use crate::call::Call;
use crate::grpc::container_changes::{Fields, keep_listed, masked};
use crate::refused::within;
use crate::{convert, idempotency};

pub(super) async fn create(
    call: &mut Call<'_>,
    request: &wire::CreateCloudRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let organization_id = OrganizationId::parse(&request.organization_id)
        .map_err(|error| ApiError::invalid("organization_id", error.to_string()))?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(answer(call, &operation));
    }
    let permission = Permission::ResourceManagerAdminister;
    let ((), path) = call
        .prepare(&caller, |view| {
            let root = ResourceRef::new(ResourceKind::Organization, organization_id.as_str());
            let known = tables::cluster(view)?;
            if known.is_none_or(|cluster| cluster.organization_id != organization_id) {
                return Err(Rejection::not_found(root.kind, &root.id).into());
            }
            let path = ResourcePath::new(vec![root]);
            within(path, |path| {
                // Its maker owns it for good.
                require(&view.lasting(), &caller.subject, permission, path)?;
                require_own_token(Some(&caller.token))
            })
        })
        .await?;
    call.path = Some(path);
    let command = Command::CreateCloud(CreateCloud {
        id: CloudId::generate(call.app.random.as_ref()),
        organization_id,
        name: request.name.clone(),
        description: request.description.clone(),
        labels: request.labels.clone(),
    });
    let operation = call.propose(&caller, claim, command).await?;
    Ok(answer(call, &operation))
}

/// The operation on the wire; the new cloud's id goes into the audit record.
fn answer(call: &mut Call<'_>, operation: &OperationRecord) -> Operation {
    if let OperationResult::Cloud(cloud) = &operation.result {
        call.details = AuditDetails::Request(RequestDetails {
            source: EventSource::ResourceManager,
            event_name: "CreateCloud",
            ids: BTreeMap::from([
                ("organization_id", cloud.organization_id.to_string()),
                ("cloud_id", cloud.id.to_string()),
            ]),
        });
    }
    convert::operation(operation)
}

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateCloudRequest,
) -> Result<Operation, ApiError> {
    let mut listed = request.clone();
    keep_listed(&mut fields(&mut listed));
    let caller = call.admit(&listed)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let cloud_id = parse_cloud_id("cloud_id", &request.cloud_id)?;
    let changes = masked(&fields(&mut listed))?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let permission = Permission::ResourceManagerAdminister;
    let found = call.prepare(&caller, |view| cloud_for(view, &caller, &cloud_id, permission));
    call.path = Some(found.await?.1);
    let command = Command::UpdateCloud { cloud_id, changes };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

fn fields(request: &mut wire::UpdateCloudRequest) -> Fields<'_> {
    Fields {
        mask: request.update_mask.as_ref(),
        name: &mut request.name,
        description: &mut request.description,
        labels: &mut request.labels,
    }
}
