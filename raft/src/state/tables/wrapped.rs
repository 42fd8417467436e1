//! The data keys that the keyring has wrapped, found by going through all payloads.

use lockbox_core::{CloudId, FolderId, SecretId, VersionId};

use super::{all_secrets_page, decode, folder, secret};
use crate::domain::version::{SealedPayload, WrappedDataKey};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys};

/// Secrets in one step of [`live_versions`].
const SECRETS_PAGE: usize = 500;

/// A payload whose data key the keyring has wrapped, and the place that it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedPayload {
    /// Its cloud.
    pub cloud_id: CloudId,
    /// Its folder.
    pub folder_id: FolderId,
    /// Its secret.
    pub secret_id: SecretId,
    /// Its version.
    pub version_id: VersionId,
    /// The keyring key that wraps its data key.
    pub keyring_key_id: u32,
    /// The salt of that wrap.
    pub salt: [u8; 32],
    /// The wrapped data key.
    pub ciphertext: Vec<u8>,
}

/// Some payloads in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedPage {
    /// Those that the keyring has wrapped.
    pub payloads: Vec<WrappedPayload>,
    /// How many were looked at, whoever wrapped them.
    pub examined: usize,
    /// Where the next page begins; absent when this is the last.
    pub next: Option<Vec<u8>>,
}

/// Looks at so many payloads from a key on; from the first one when there is none.
///
/// # Errors
/// [`StorageError`]; a payload without its secret is corruption.
pub fn wrapped_page(
    view: &dyn StateRead,
    from: Option<&[u8]>,
    limit: usize,
) -> Result<WrappedPage, StorageError> {
    let table = keys::payloads();
    let scan = Scan {
        space: Space::Payloads,
        to: keys::prefix_end(&table),
        from: from.map_or(table, <[u8]>::to_vec),
        direction: Direction::Ascending,
        limit,
    };
    let rows = view.scan(&scan)?;
    let full = rows.len() == limit;
    // Nothing sorts between a key and the same key with a zero byte behind it.
    let next = rows.last().filter(|_| full).map(|(key, _)| [key.as_slice(), &[0]].concat());
    let examined = rows.len();
    let mut payloads = Vec::new();
    for (key, value) in rows {
        payloads.extend(wrapped(view, &key, &value)?);
    }
    Ok(WrappedPage { payloads, examined, next })
}

fn wrapped(
    view: &dyn StateRead,
    key: &[u8],
    value: &[u8],
) -> Result<Option<WrappedPayload>, StorageError> {
    let corrupt = |what: &str| StorageError::corrupt("go through the payloads", what.to_owned());
    let sealed: SealedPayload = decode(value)?;
    let WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext } = sealed.wrapped_key else {
        return Ok(None);
    };
    let (secret_id, version_id) =
        keys::payload_of(key).ok_or_else(|| corrupt("a key names no version"))?;
    let secret = secret(view, &secret_id)?.ok_or_else(|| corrupt("a payload has no secret"))?;
    let folder = folder(view, &secret.folder_id)?.ok_or_else(|| corrupt("a secret is loose"))?;
    Ok(Some(WrappedPayload {
        cloud_id: folder.cloud_id,
        folder_id: secret.folder_id,
        secret_id,
        version_id,
        keyring_key_id,
        salt,
        ciphertext,
    }))
}

/// How many versions of all secrets have a payload.
///
/// # Errors
/// [`StorageError`].
pub fn live_versions(view: &dyn StateRead) -> Result<u64, StorageError> {
    let (mut versions, mut after) = (0, None);
    loop {
        let (secrets, more) = all_secrets_page(view, after.as_ref(), SECRETS_PAGE)?;
        versions += secrets.iter().map(|secret| u64::from(secret.live_versions)).sum::<u64>();
        after = secrets.last().map(|secret| secret.id.clone());
        if !more {
            return Ok(versions);
        }
    }
}
