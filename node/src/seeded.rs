//! What the seeded bugs of the node do where one line does not say it (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`. The caches have no bound: a mutant lives for
//! minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_core::{FolderId, ResourcePath, Subject, VersionId};
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::identity::ServiceAccountRecord;
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
use lockbox_raft::domain::version::VersionStatus;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use tokio::time::Instant;

use crate::authn::Caller;

/// How long a right is remembered with [`lockbox_core::Mutant::BindingsCached`].
const BINDINGS_TTL: Duration = Duration::from_secs(5);
/// Log entries within which two mutations of one secret count as a race, with
/// [`lockbox_core::Mutant::TwoCurrentVersions`].
const RACE_ENTRIES: u64 = 64;

static STATUSES: Mutex<BTreeMap<String, SecretStatus>> = Mutex::new(BTreeMap::new());
static ALLOWED: Mutex<BTreeMap<(String, String), Instant>> = Mutex::new(BTreeMap::new());
static ACCEPTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status that a secret had when this node saw it first, or that this node gave it since
/// ([`lockbox_core::Mutant::DeactivateInCache`]).
pub(crate) fn status_seen_first(secret: &SecretRecord) -> SecretStatus {
    *locked(&STATUSES).entry(secret.id.to_string()).or_insert(secret.status)
}

/// Takes note of a status that was set through this node.
pub(crate) fn note_status(operation: &OperationRecord) {
    if let OperationResult::Secret(snapshot) = &operation.result {
        locked(&STATUSES).insert(snapshot.secret.id.to_string(), snapshot.secret.status);
    }
}

/// The decision, or that it was allowed within the last five seconds
/// ([`lockbox_core::Mutant::BindingsCached`]).
pub(crate) fn or_allowed_lately(
    decision: Result<(), Refusal>,
    subject: &Subject,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    let resource = path.resources().last().map(|last| last.id.clone()).unwrap_or_default();
    let key = (subject.to_string(), resource);
    let mut allowed = locked(&ALLOWED);
    if decision.is_ok() {
        allowed.insert(key, Instant::now());
        return decision;
    }
    match allowed.get(&key) {
        Some(at) if at.elapsed() < BINDINGS_TTL => Ok(()),
        Some(_) | None => decision,
    }
}

/// What a token was judged to be, or that it was accepted once
/// ([`lockbox_core::Mutant::RevokedTokenCached`]).
pub(crate) fn or_accepted_before(
    judgement: Result<Option<ServiceAccountRecord>, Refusal>,
    caller: &Caller,
) -> Result<Option<ServiceAccountRecord>, Refusal> {
    let token = caller.token.token_id.to_string();
    let mut accepted = locked(&ACCEPTED);
    if judgement.is_ok() {
        accepted.insert(token);
        return judgement;
    }
    if accepted.contains(&token) { Ok(None) } else { judgement }
}

/// Some secrets of a folder, and what the token of the next page holds.
type SecretsPage = Result<(Vec<SecretRecord>, Option<u64>), StorageError>;

/// All of a folder's secrets, in the order of lists.
fn all_secrets(view: &dyn StateRead, folder: &FolderId) -> Result<Vec<SecretRecord>, StorageError> {
    Ok(tables::secrets_page(view, folder, 0, usize::MAX)?.0)
}

/// The page behind so many secrets ([`lockbox_core::Mutant::PageByOffset`]).
pub(crate) fn page_by_offset(
    view: &dyn StateRead,
    folder: &FolderId,
    offset: u64,
    size: usize,
) -> SecretsPage {
    let all = all_secrets(view, folder)?;
    let shown = all.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(size);
    let page: Vec<SecretRecord> = shown.cloned().collect();
    let next = offset.saturating_add(page.len() as u64);
    Ok((page, Some(next).filter(|next| *next < all.len() as u64)))
}

/// The page behind a second ([`lockbox_core::Mutant::PageByTime`]).
pub(crate) fn page_by_time(
    view: &dyn StateRead,
    folder: &FolderId,
    second: u64,
    size: usize,
) -> SecretsPage {
    let second_of = |secret: &SecretRecord| secret.created_at.as_ms() / 1000;
    let mut page = all_secrets(view, folder)?;
    page.retain(|secret| second_of(secret) > second);
    let more = page.len() > size;
    page.truncate(size);
    let next = page.last().map(second_of).filter(|_| more);
    Ok((page, next))
}

/// The page behind the secret of this place, or the first one when that secret is gone
/// ([`lockbox_core::Mutant::PageRestarts`]).
pub(crate) fn page_or_first(
    view: &dyn StateRead,
    folder: &FolderId,
    place: u64,
    size: usize,
) -> SecretsPage {
    let (found, _) = tables::secrets_page(view, folder, place.saturating_sub(1), 1)?;
    let is_there = found.first().is_some_and(|secret| secret.sequence == place);
    tables::secrets_page(view, folder, if is_there { place } else { 0 }, size)
}

/// A destroyed version of a secret, whose id a new one gets
/// ([`lockbox_core::Mutant::VersionIdReused`]).
pub(crate) fn destroyed_version(
    view: &dyn StateRead,
    secret: &SecretRecord,
) -> Result<Option<VersionId>, StorageError> {
    let (versions, _) = tables::versions_page(view, &secret.id, u64::MAX, usize::MAX)?;
    let gone = versions.into_iter().find(|version| version.status == VersionStatus::Destroyed);
    Ok(gone.map(|version| version.id))
}

/// What payload reads take for the current version: the newest one, when the pointer moved right
/// after it was added ([`lockbox_core::Mutant::TwoCurrentVersions`]).
pub(crate) fn other_current(
    view: &dyn StateRead,
    secret: &SecretRecord,
) -> Result<VersionId, StorageError> {
    let (newest, _) = tables::versions_page(view, &secret.id, u64::MAX, 1)?;
    let raced = |sequence: u64| secret.revision.saturating_sub(sequence) <= RACE_ENTRIES;
    let newest = newest.into_iter().find(|version| raced(version.sequence));
    let current = newest.map(|version| version.id).or_else(|| secret.current_version.clone());
    current.ok_or_else(|| StorageError::corrupt("read the state", "no version is current"))
}
