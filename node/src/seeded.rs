//! What the seeded bugs of the node do where one line does not say it (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`. The caches have no bound: a mutant lives for
//! minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_core::{ResourcePath, Subject, VersionId};
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::identity::ServiceAccountRecord;
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
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
