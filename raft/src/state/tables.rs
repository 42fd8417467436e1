//! Typed access to the records of a view. Views of the node and `apply` read through these.

mod destroyed;
mod erasures;
mod pages;
mod paths;
mod system;
mod usage;
mod wrapped;

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, NodeId, OperationId, ResourceRef, SecretId,
    ServiceAccountId, Subject, TokenId, VersionId,
};
use minicbor::Decode;

pub use self::destroyed::{DestroyedSince, destroyed_since};
pub use self::erasures::{ErasedMarks, erased_marks, erasing_since, erasures, erasures_after};
pub use self::pages::{
    PAGE_RECORD_BYTES_MAX, Page, all_secrets_page, authorized_keys_page, changes_page, clouds_page,
    folders_page, key_operations_page, operations_page, secrets_page, service_accounts_page,
    usage_meters_page, versions_page,
};
pub use self::paths::{folder_path, secret_path};
pub use self::system::{
    changes_begin, expiry_next, feature_level, log_time, retention, state_check,
};
pub use self::usage::{Used, reports_counted, usage_between, usage_meter};
pub use self::wrapped::{WrappedPage, WrappedPayload, live_versions, wrapped_page};
use super::{Direction, Scan, Space, StateRead, keys};
use crate::domain::audit_head::AuditHeads;
use crate::domain::binding::BindingSet;
use crate::domain::codec;
use crate::domain::idempotency::IdempotencyRecord;
use crate::domain::identity::{
    AuthorizedKeyRecord, CloudRecord, ClusterRecord, FirstResources, FolderRecord,
    ServiceAccountRecord,
};
use crate::domain::keyring::KeyringKeyRecord;
use crate::domain::kms_witness::{KmsTombstone, KmsWitness};
use crate::domain::member::MemberRecord;
use crate::domain::operation::OperationRecord;
use crate::domain::secret::SecretRecord;
use crate::domain::version::{SealedPayload, VersionRecord};
use crate::error::StorageError;

/// Result of a look-up: the record, or its absence.
pub type Found<T> = Result<Option<T>, StorageError>;

/// Reads and decodes one record.
fn load<T>(view: &dyn StateRead, space: Space, key: &[u8]) -> Found<T>
where
    T: for<'b> Decode<'b, ()>,
{
    let Some(bytes) = view.get(space, key)? else { return Ok(None) };
    decode(&bytes).map(Some)
}

/// Decodes a stored record; anything else under its key is corruption.
fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, StorageError> {
    codec::decode(bytes).map_err(|e| StorageError::corrupt("read the state", e.to_string()))
}

/// The cluster record; absent before `cluster init`.
///
/// # Errors
/// [`StorageError`], as every function of this module.
pub fn cluster(view: &dyn StateRead) -> Found<ClusterRecord> {
    load(view, Space::Records, keys::CLUSTER)
}

/// What `cluster init` made beside the cluster; absent before it.
///
/// # Errors
/// [`StorageError`].
pub fn first_resources(view: &dyn StateRead) -> Found<FirstResources> {
    load(view, Space::Records, keys::FIRST_RESOURCES)
}

/// A node that is, or was, a member.
///
/// # Errors
/// [`StorageError`].
pub fn member(view: &dyn StateRead, id: NodeId) -> Found<MemberRecord> {
    load(view, Space::Records, &keys::member(id))
}

/// Every node that ever was a member, by id.
///
/// # Errors
/// [`StorageError`].
pub fn members(view: &dyn StateRead) -> Result<Vec<MemberRecord>, StorageError> {
    prefix_rows(view, &keys::members(), usize::MAX)
}

/// What is anchored of a node's audit.
///
/// # Errors
/// [`StorageError`].
pub fn audit_heads(view: &dyn StateRead, id: NodeId) -> Result<AuditHeads, StorageError> {
    Ok(load(view, Space::Records, &keys::audit_heads(id))?.unwrap_or_default())
}

/// What is anchored of all audits, by node.
///
/// # Errors
/// [`StorageError`].
pub fn all_audit_heads(view: &dyn StateRead) -> Result<Vec<AuditHeads>, StorageError> {
    prefix_rows(view, &keys::all_audit_heads(), usize::MAX)
}

/// What was seen of the KMS; absent before it has attested anything.
///
/// # Errors
/// [`StorageError`].
pub fn kms_witness(view: &dyn StateRead) -> Found<KmsWitness> {
    load(view, Space::Records, keys::KMS_WITNESS)
}

/// What the KMS has destroyed, by id, behind the one that a page ended with.
///
/// # Errors
/// [`StorageError`].
pub fn kms_tombstones_page(
    view: &dyn StateRead,
    after: Option<&KmsTombstone>,
    limit: usize,
) -> Result<Vec<KmsTombstone>, StorageError> {
    let all = keys::kms_tombstones();
    let from = after.map_or_else(
        || all.clone(),
        |last| {
            let mut from = keys::kms_tombstone(&last.key_id, last.version_id.as_ref());
            // The smallest key behind it.
            from.push(0);
            from
        },
    );
    let to = keys::prefix_end(&all);
    let scan = Scan { space: Space::Records, from, to, direction: Direction::Ascending, limit };
    view.scan(&scan)?.iter().map(|(_, value)| decode(value)).collect()
}

/// The folder of that name in a cloud; there is one at most.
///
/// # Errors
/// [`StorageError`].
pub fn folder_named(view: &dyn StateRead, cloud: &CloudId, name: &str) -> Found<FolderRecord> {
    let id: Option<FolderId> = load(view, Space::Records, &keys::folder_by_name(cloud, name))?;
    id.map_or(Ok(None), |id| folder(view, &id))
}

/// A cloud.
///
/// # Errors
/// [`StorageError`].
pub fn cloud(view: &dyn StateRead, id: &CloudId) -> Found<CloudRecord> {
    load(view, Space::Records, &keys::cloud(id))
}

/// A folder.
///
/// # Errors
/// [`StorageError`].
pub fn folder(view: &dyn StateRead, id: &FolderId) -> Found<FolderRecord> {
    load(view, Space::Records, &keys::folder(id))
}

/// A secret.
///
/// # Errors
/// [`StorageError`].
pub fn secret(view: &dyn StateRead, id: &SecretId) -> Found<SecretRecord> {
    load(view, Space::Records, &keys::secret(id))
}

/// A version of a secret; nothing for a version of another one.
///
/// # Errors
/// [`StorageError`].
pub fn version(view: &dyn StateRead, secret: &SecretId, id: &VersionId) -> Found<VersionRecord> {
    Ok(any_version(view, id)?.filter(|version| version.secret_id == *secret))
}

/// The version of that id, of whatever secret.
///
/// # Errors
/// [`StorageError`].
pub fn any_version(view: &dyn StateRead, id: &VersionId) -> Found<VersionRecord> {
    load(view, Space::Records, &keys::version(id))
}

/// The sealed payload of a version; absent once it is destroyed.
///
/// # Errors
/// [`StorageError`].
pub fn payload(view: &dyn StateRead, secret: &SecretId, id: &VersionId) -> Found<SealedPayload> {
    load(view, Space::Payloads, &keys::payload(secret, id))
}

/// The bindings set directly on a resource.
///
/// # Errors
/// [`StorageError`].
pub fn bindings(view: &dyn StateRead, on: &ResourceRef) -> Result<BindingSet, StorageError> {
    Ok(load(view, Space::Records, &keys::bindings(on))?.unwrap_or_default())
}

/// A service account.
///
/// # Errors
/// [`StorageError`].
pub fn service_account(view: &dyn StateRead, id: &ServiceAccountId) -> Found<ServiceAccountRecord> {
    load(view, Space::Records, &keys::service_account(id))
}

/// Whether a cloud has a service account of that name.
///
/// # Errors
/// [`StorageError`].
pub fn service_account_name_taken(
    view: &dyn StateRead,
    cloud: &CloudId,
    name: &str,
) -> Result<bool, StorageError> {
    let key = keys::service_account_by_name(cloud, name);
    Ok(view.get(Space::Records, &key)?.is_some())
}

/// The service account of that name in a cloud.
///
/// # Errors
/// [`StorageError`].
pub fn service_account_named(
    view: &dyn StateRead,
    cloud: &CloudId,
    name: &str,
) -> Found<ServiceAccountRecord> {
    let key = keys::service_account_by_name(cloud, name);
    let Some(id) = load::<ServiceAccountId>(view, Space::Records, &key)? else { return Ok(None) };
    service_account(view, &id)
}

/// An authorized key.
///
/// # Errors
/// [`StorageError`].
pub fn authorized_key(view: &dyn StateRead, id: &AuthorizedKeyId) -> Found<AuthorizedKeyRecord> {
    load(view, Space::Records, &keys::authorized_key(id))
}

/// Every keyring key, by number.
///
/// # Errors
/// [`StorageError`].
pub fn keyring(view: &dyn StateRead) -> Result<Vec<KeyringKeyRecord>, StorageError> {
    prefix_rows(view, &keys::keyring(), usize::MAX)
}

/// A keyring key.
///
/// # Errors
/// [`StorageError`].
pub fn keyring_key(view: &dyn StateRead, id: u32) -> Found<KeyringKeyRecord> {
    load(view, Space::Records, &keys::keyring_key(id))
}

/// The nodes that are members now, voters or not, by id.
///
/// # Errors
/// [`StorageError`].
pub fn member_ids(view: &dyn StateRead) -> Result<Vec<NodeId>, StorageError> {
    let members = members(view)?.into_iter().filter(|member| member.removed_at.is_none());
    Ok(members.map(|member| member.node_id).collect())
}

/// An operation.
///
/// # Errors
/// [`StorageError`].
pub fn operation(view: &dyn StateRead, id: &OperationId) -> Found<OperationRecord> {
    load(view, Space::Records, &keys::operation(id))
}

/// What is remembered under a caller's idempotency key.
///
/// # Errors
/// [`StorageError`].
pub fn idempotency(
    view: &dyn StateRead,
    subject: &Subject,
    method: &str,
    key: &str,
) -> Found<IdempotencyRecord> {
    load(view, Space::Records, &keys::idempotency(subject, method, key))
}

/// How many idempotency records a subject has.
///
/// # Errors
/// [`StorageError`].
pub fn idempotency_count(view: &dyn StateRead, subject: &Subject) -> Result<u32, StorageError> {
    Ok(load(view, Space::Records, &keys::idempotency_count(subject))?.unwrap_or_default())
}

/// Whether a token was revoked.
///
/// # Errors
/// [`StorageError`].
pub fn token_revoked(view: &dyn StateRead, id: &TokenId) -> Result<bool, StorageError> {
    Ok(view.get(Space::Records, &keys::revoked_token(id))?.is_some())
}

/// The ids of the secrets of a folder under one name; two are enough to know it is ambiguous.
///
/// # Errors
/// [`StorageError`].
pub fn secrets_named(
    view: &dyn StateRead,
    folder: &FolderId,
    name: &str,
) -> Result<Vec<SecretId>, StorageError> {
    prefix_rows(view, &keys::secrets_by_name(folder, name), 2)
}

/// Decodes every value under a prefix, at most `limit`.
fn prefix_rows<T>(view: &dyn StateRead, prefix: &[u8], limit: usize) -> Result<Vec<T>, StorageError>
where
    T: for<'b> Decode<'b, ()>,
{
    let scan = Scan {
        space: Space::Records,
        from: prefix.to_vec(),
        to: keys::prefix_end(prefix),
        direction: Direction::Ascending,
        limit,
    };
    view.scan(&scan)?.iter().map(|(_, value)| decode(value)).collect()
}
