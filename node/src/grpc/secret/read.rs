//! Metadata reads: `Get`, `List`, `ListVersions` (`contract §2.11`).

use std::collections::BTreeMap;

use lockbox_core::{FolderId, Permission, ResourceKind};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_raft::apply::require;
use lockbox_raft::domain::Rejection;
use lockbox_raft::state::tables;
use prost::Message;

use super::{parse_secret_id, with_current};
use crate::call::Call;
use crate::page::{self, List, PAGE_BYTES_MAX};
use crate::{convert, describe};

/// The audit details of a metadata read: which method, and the one id that it names.
pub(super) fn event(event_name: &'static str, field: &'static str, id: &str) -> AuditDetails {
    let ids = BTreeMap::from([(field, describe::named_id(id))]);
    AuditDetails::Request(RequestDetails { source: EventSource::Lockbox, event_name, ids })
}

pub(super) async fn get(
    call: &mut Call<'_>,
    request: &wire::GetSecretRequest,
) -> Result<wire::Secret, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_secret_id(&request.secret_id)?;
    let (snapshot, path) = call
        .read(&caller, |view| {
            let secret = tables::secret(view, &id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
            let path = tables::secret_path(view, &secret)?;
            require(view, &caller.subject, Permission::SecretsGet, &path)?;
            Ok((with_current(view, secret)?, path))
        })
        .await?;
    call.path = Some(path);
    Ok(convert::secret(&snapshot))
}

pub(super) async fn list(
    call: &mut Call<'_>,
    request: &wire::ListSecretsRequest,
) -> Result<wire::ListSecretsResponse, ApiError> {
    let caller = call.admit(request)?;
    let folder = FolderId::parse(&request.folder_id)
        .map_err(|error| ApiError::invalid("folder_id", error.to_string()))?;
    let list = List { kind: "secrets", of: folder.as_str() };
    let after = list.place(&request.page_token)?.unwrap_or(0);
    let size = page::size(request.page_size);
    let ((snapshots, next), path) = call
        .read(&caller, |view| {
            let path = tables::folder_path(view, &folder)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
            require(view, &caller.subject, Permission::SecretsList, &path)?;
            let (secrets, next) = tables::secrets_page(view, &folder, after, size)?;
            let snapshots: Result<Vec<_>, _> =
                secrets.into_iter().map(|secret| with_current(view, secret)).collect();
            Ok(((snapshots?, next), path))
        })
        .await?;
    call.path = Some(path);
    let places: Vec<u64> = snapshots.iter().map(|s| s.secret.sequence).collect();
    let secrets = snapshots.iter().map(convert::secret).collect();
    let (secrets, next) = cut(secrets, &places, next);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListSecretsResponse { secrets, next_page_token })
}

pub(super) async fn list_versions(
    call: &mut Call<'_>,
    request: &wire::ListVersionsRequest,
) -> Result<wire::ListVersionsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_secret_id(&request.secret_id)?;
    let list = List { kind: "versions", of: id.as_str() };
    let before = list.place(&request.page_token)?.unwrap_or(u64::MAX);
    let size = page::size(request.page_size);
    let ((records, next), path) = call
        .read(&caller, |view| {
            let secret = tables::secret(view, &id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
            let path = tables::secret_path(view, &secret)?;
            require(view, &caller.subject, Permission::SecretsGet, &path)?;
            Ok((tables::versions_page(view, &id, before, size)?, path))
        })
        .await?;
    call.path = Some(path);
    let places: Vec<u64> = records.iter().map(|version| version.sequence).collect();
    let versions = records.iter().map(convert::version).collect();
    let (versions, next) = cut(versions, &places, next);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListVersionsResponse { versions, next_page_token })
}

/// Ends a page early when its messages grow past what clients accept (`contract §9`).
fn cut<M: Message>(mut items: Vec<M>, places: &[u64], next: Option<u64>) -> (Vec<M>, Option<u64>) {
    let mut bytes = 0;
    // A single item is far smaller than a page, so the first one always fits.
    let fits = |item: &&M| {
        bytes += item.encoded_len();
        bytes <= PAGE_BYTES_MAX
    };
    let kept = items.iter().take_while(fits).count();
    if kept == items.len() {
        return (items, next);
    }
    items.truncate(kept);
    let last = kept.checked_sub(1).and_then(|at| places.get(at)).copied();
    (items, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(bytes: usize) -> wire::Version {
        wire::Version { description: "x".repeat(bytes), ..wire::Version::default() }
    }

    #[test]
    fn a_page_ends_by_bytes_at_the_right_place() {
        let items =
            vec![version(PAGE_BYTES_MAX / 2), version(PAGE_BYTES_MAX / 3), version(1 << 20)];
        let (kept, next) = cut(items.clone(), &[7, 8, 9], None);
        assert_eq!((kept.len(), next), (2, Some(8)));
        let (kept, next) = cut(items[..2].to_vec(), &[7, 8], Some(8));
        assert_eq!((kept.len(), next), (2, Some(8)));
    }
}
