//! Lists of a view, a page at a time.

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, OperationId, ResourceRef, SecretId, ServiceAccountId,
    VersionId,
};
use minicbor::Decode;

use super::decode;
use crate::domain::identity::{
    AuthorizedKeyRecord, CloudRecord, FolderRecord, ServiceAccountRecord,
};
use crate::domain::metering::UsageMeter;
use crate::domain::operation::OperationRecord;
use crate::domain::secret::SecretRecord;
use crate::domain::version::VersionRecord;
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys};

/// One page of a list, and where the next one begins. It may be shorter than asked for
/// ([`PAGE_RECORD_BYTES_MAX`]); only a page without a next one is the last.
pub type Page<T> = Result<(Vec<T>, Option<u64>), StorageError>;

/// A page ends early before its records grow past this size, encoded: so much at most, and one
/// record more, is held while a view is open. Bytes.
pub const PAGE_RECORD_BYTES_MAX: usize = 3 * 1024 * 1024;

/// One page of the cluster's clouds by id, behind the cloud `after`, and whether there are more.
///
/// # Errors
/// [`StorageError`].
pub fn clouds_page(
    view: &dyn StateRead,
    after: Option<&CloudId>,
    limit: usize,
) -> Result<(Vec<CloudRecord>, bool), StorageError> {
    page_by_id(view, keys::clouds(), after.map(keys::cloud), limit)
}

/// One page of the meters by cloud, behind the cloud `after`, and whether there are more.
///
/// # Errors
/// [`StorageError`].
pub fn usage_meters_page(
    view: &dyn StateRead,
    after: Option<&CloudId>,
    limit: usize,
) -> Result<(Vec<UsageMeter>, bool), StorageError> {
    page_by_id(view, keys::usage_meters(), after.map(keys::usage_meter), limit)
}

/// One page of the cluster's folders by id, behind the folder `after`, and whether there are more.
///
/// # Errors
/// [`StorageError`].
pub fn folders_page(
    view: &dyn StateRead,
    after: Option<&FolderId>,
    limit: usize,
) -> Result<(Vec<FolderRecord>, bool), StorageError> {
    page_by_id(view, keys::folders(), after.map(keys::folder), limit)
}

/// One page of the cluster's secrets by id, behind the secret `after`, and whether there are more.
///
/// # Errors
/// [`StorageError`].
pub fn all_secrets_page(
    view: &dyn StateRead,
    after: Option<&SecretId>,
    limit: usize,
) -> Result<(Vec<SecretRecord>, bool), StorageError> {
    page_by_id(view, keys::secrets(), after.map(keys::secret), limit)
}

/// One page of a whole table by key, behind the key `after`, and whether there are more.
fn page_by_id<T: for<'b> Decode<'b, ()>>(
    view: &dyn StateRead,
    table: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<T>, bool), StorageError> {
    let to = keys::prefix_end(&table);
    // Nothing sorts between a key and the same key with a zero byte behind it.
    let from = after.map_or(table, |key| [key, vec![0]].concat());
    let limit_and_one = limit.saturating_add(1);
    let direction = Direction::Ascending;
    let scan = Scan { space: Space::Records, from, to, direction, limit: limit_and_one };
    let rows = view.scan(&scan)?;
    let more = rows.len() > limit;
    let page: Result<_, _> = rows.iter().take(limit).map(|(_, value)| decode(value)).collect();
    Ok((page?, more))
}

/// One page of a folder's secrets by creation, behind the sequence `after`.
///
/// # Errors
/// [`StorageError`].
pub fn secrets_page(
    view: &dyn StateRead,
    folder: &FolderId,
    after: u64,
    limit: usize,
) -> Page<SecretRecord> {
    let prefix = keys::secrets_in_folder(folder);
    let scan = Scan {
        space: Space::Records,
        from: keys::secret_in_folder(folder, after.saturating_add(1)),
        to: keys::prefix_end(&prefix),
        direction: Direction::Ascending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &SecretId| keys::secret(id))
}

/// One page of a secret's versions, newest first, before the sequence `before`.
///
/// # Errors
/// [`StorageError`].
pub fn versions_page(
    view: &dyn StateRead,
    secret: &SecretId,
    before: u64,
    limit: usize,
) -> Page<VersionRecord> {
    let scan = Scan {
        space: Space::Records,
        from: keys::versions_in_secret(secret),
        to: keys::version_in_secret(secret, before),
        direction: Direction::Descending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &VersionId| keys::version(id))
}

/// One page of a folder's service accounts by creation, behind the sequence `after`.
///
/// # Errors
/// [`StorageError`].
pub fn service_accounts_page(
    view: &dyn StateRead,
    folder: &FolderId,
    after: u64,
    limit: usize,
) -> Page<ServiceAccountRecord> {
    let prefix = keys::service_accounts_in_folder(folder);
    let scan = Scan {
        space: Space::Records,
        from: keys::service_account_in_folder(folder, after.saturating_add(1)),
        to: keys::prefix_end(&prefix),
        direction: Direction::Ascending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &ServiceAccountId| keys::service_account(id))
}

/// One page of an account's authorized keys by creation, behind the sequence `after`.
///
/// # Errors
/// [`StorageError`].
pub fn authorized_keys_page(
    view: &dyn StateRead,
    account: &ServiceAccountId,
    after: u64,
    limit: usize,
) -> Page<AuthorizedKeyRecord> {
    let prefix = keys::authorized_keys_of(account);
    let scan = Scan {
        space: Space::Records,
        from: keys::authorized_key_of(account, after.saturating_add(1)),
        to: keys::prefix_end(&prefix),
        direction: Direction::Ascending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &AuthorizedKeyId| keys::authorized_key(id))
}

/// One page of the operations on a resource, newest first, before the index `before`.
///
/// # Errors
/// [`StorageError`].
pub fn operations_page(
    view: &dyn StateRead,
    resource: &ResourceRef,
    before: u64,
    limit: usize,
) -> Page<OperationRecord> {
    let scan = Scan {
        space: Space::Records,
        from: keys::operations_of(resource),
        to: keys::operation_of(resource, before),
        direction: Direction::Descending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &OperationId| keys::operation(id))
}

/// One page of the operations on an authorized key, newest first, before the index `before`.
///
/// # Errors
/// [`StorageError`].
pub fn key_operations_page(
    view: &dyn StateRead,
    key: &AuthorizedKeyId,
    before: u64,
    limit: usize,
) -> Page<OperationRecord> {
    let scan = Scan {
        space: Space::Records,
        from: keys::operations_of_key(key),
        to: keys::operation_of_key(key, before),
        direction: Direction::Descending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &OperationId| keys::operation(id))
}

/// One page of the changes of a folder's secrets, oldest first, behind the index `after`: the
/// operations that made them. Whether older ones are forgotten says [`super::changes_begin`].
///
/// # Errors
/// [`StorageError`].
pub fn changes_page(
    view: &dyn StateRead,
    folder: &FolderId,
    after: u64,
    limit: usize,
) -> Page<OperationRecord> {
    let scan = Scan {
        space: Space::Records,
        from: keys::change(folder, after.saturating_add(1)),
        to: keys::prefix_end(&keys::changes_of(folder)),
        direction: Direction::Ascending,
        limit: limit.saturating_add(1),
    };
    page(view, &scan, limit, |id: &OperationId| keys::operation(id))
}

/// Follows an index: each row's value is an id, and `key` says where its record is.
///
/// A page that ends early or has more rows behind it names the sequence of its last row: the
/// next one begins behind that.
fn page<I, T>(
    view: &dyn StateRead,
    scan: &Scan,
    limit: usize,
    key: impl Fn(&I) -> Vec<u8>,
) -> Page<T>
where
    I: for<'b> Decode<'b, ()>,
    T: for<'b> Decode<'b, ()>,
{
    let rows = view.scan(scan)?;
    let mut items = Vec::with_capacity(rows.len().min(limit));
    let mut last = None;
    let mut bytes = 0_usize;
    for (place, value) in rows.iter().take(limit) {
        let id: I = decode(value)?;
        let Some(record) = view.get(Space::Records, &key(&id))? else {
            return Err(StorageError::corrupt("read the state", "an index names no record"));
        };
        bytes = bytes.saturating_add(record.len());
        // The first one always fits, or a list could never get past it.
        if bytes > PAGE_RECORD_BYTES_MAX && !items.is_empty() {
            break;
        }
        items.push(decode(&record)?);
        last = keys::trailing_number(place);
    }
    let more = rows.len() > items.len();
    Ok((items, last.filter(|_| more)))
}
