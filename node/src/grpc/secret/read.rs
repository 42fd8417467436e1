//! Metadata reads: `Get`, `List`, `ListVersions`, `ListOperations` (`contract §2.11`).

use std::collections::BTreeMap;

use lockbox_core::{
    FolderId, Mutant, Permission, ResourceKind, ResourcePath, ResourceRef, SecretId, mutant,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_raft::apply::require;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::secret::SecretRecord;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, TimedView, tables};

use super::{parse_secret_id, with_current};
use crate::authn::Caller;
use crate::call::Call;
use crate::grpc::operations_of;
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::{convert, describe, seeded};

/// The audit details of a metadata read: which method, and the one id that it names.
pub(super) fn event(event_name: &'static str, field: &'static str, id: &str) -> AuditDetails {
    let ids = BTreeMap::from([(field, describe::named_id(id))]);
    AuditDetails::Request(RequestDetails { source: EventSource::Lockbox, event_name, ids })
}

/// A secret with its path, for who may do this with it.
pub(super) fn secret_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &SecretId,
    permission: Permission,
) -> Result<(SecretRecord, ResourcePath), Refused> {
    let secret = tables::secret(view, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
    let path = tables::secret_path(view, &secret)?;
    within(path, |path| {
        require(view, &caller.subject, permission, path)?;
        Ok(secret)
    })
}

pub(super) async fn get(
    call: &mut Call<'_>,
    request: &wire::GetSecretRequest,
) -> Result<wire::Secret, ApiError> {
    let caller = call.admit_metadata_read(request)?;
    let id = parse_secret_id(&request.secret_id)?;
    let (snapshot, path) = call
        .read_metadata(&caller, |view| {
            let secret = tables::secret(view, &id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
            let path = tables::secret_path(view, &secret)?;
            within(path, |path| {
                require(view, &caller.subject, Permission::SecretsGet, path)?;
                Ok(with_current(view, secret)?)
            })
        })
        .await?;
    call.path = Some(path);
    Ok(convert::secret(&snapshot))
}

pub(super) async fn list(
    call: &mut Call<'_>,
    request: &wire::ListSecretsRequest,
) -> Result<wire::ListSecretsResponse, ApiError> {
    let caller = call.admit_metadata_read(request)?;
    let folder = FolderId::parse(&request.folder_id)
        .map_err(|error| ApiError::invalid("folder_id", error.to_string()))?;
    let list = List { kind: "secrets", of: folder.as_str() };
    let after = list.place(&request.page_token)?.unwrap_or(0);
    let size = page::size(request.page_size);
    let ((secrets, next), path) = call
        .read_metadata(&caller, |view| {
            let path = tables::folder_path(view, &folder)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
            within(path, |path| {
                require(view, &caller.subject, Permission::SecretsList, path)?;
                let (secrets, next) = secrets_page(view, &folder, after, size)?;
                page::fill(secrets, next, |secret| {
                    let snapshot = with_current(view, secret)?;
                    Ok((snapshot.secret.sequence, convert::secret(&snapshot)))
                })
            })
        })
        .await?;
    call.path = Some(path);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListSecretsResponse { secrets, next_page_token })
}

/// One page of a folder's secrets behind a place of the list, and where the list goes on.
fn secrets_page(
    view: &dyn StateRead,
    folder: &FolderId,
    after: u64,
    size: usize,
) -> Result<(Vec<SecretRecord>, Option<u64>), StorageError> {
    if mutant(Mutant::PageByOffset) {
        return seeded::page_by_offset(view, folder, after, size);
    }
    if mutant(Mutant::PageByTime) {
        return seeded::page_by_time(view, folder, after, size);
    }
    if mutant(Mutant::PageRestarts) {
        return seeded::page_or_first(view, folder, after, size);
    }
    tables::secrets_page(view, folder, after, size)
}

pub(super) async fn list_versions(
    call: &mut Call<'_>,
    request: &wire::ListVersionsRequest,
) -> Result<wire::ListVersionsResponse, ApiError> {
    let caller = call.admit_metadata_read(request)?;
    let id = parse_secret_id(&request.secret_id)?;
    let list = List { kind: "versions", of: id.as_str() };
    let before = list.place(&request.page_token)?.unwrap_or(u64::MAX);
    let size = page::size(request.page_size);
    let ((versions, next), path) = call
        .read_metadata(&caller, |view| {
            let secret = tables::secret(view, &id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
            let path = tables::secret_path(view, &secret)?;
            within(path, |path| {
                require(view, &caller.subject, Permission::SecretsGet, path)?;
                let (versions, next) = tables::versions_page(view, &id, before, size)?;
                page::fill(versions, next, |version| {
                    Ok((version.sequence, convert::version(&version)))
                })
            })
        })
        .await?;
    call.path = Some(path);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListVersionsResponse { versions, next_page_token })
}

pub(super) async fn list_operations(
    call: &mut Call<'_>,
    request: &wire::ListSecretOperationsRequest,
) -> Result<wire::ListSecretOperationsResponse, ApiError> {
    let caller = call.admit_metadata_read(request)?;
    let id = parse_secret_id(&request.secret_id)?;
    let list = List { kind: "operations on a secret", of: id.as_str() };
    let asked = operations_of::Asked::new(list, &request.page_token, request.page_size)?;
    let (page, path) = call
        .read_metadata(&caller, |view| {
            let (secret, path) = secret_for(view, &caller, &id, Permission::SecretsGet)?;
            let of = ResourceRef::new(ResourceKind::Secret, secret.id.as_str());
            Ok((asked.of_resource(view, &of)?, path))
        })
        .await?;
    call.path = Some(path);
    let (operations, next_page_token) = asked.tokened(page);
    Ok(wire::ListSecretOperationsResponse { operations, next_page_token })
}
