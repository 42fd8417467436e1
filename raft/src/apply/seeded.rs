//! What the seeded bugs of `apply` do where one line does not say it (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`.

use lockbox_core::{Mutant, SecretId, VersionId, mutant};

use super::Application;
use crate::domain::operation::OperationRecord;
use crate::domain::version::VersionStatus;
use crate::error::StorageError;
use crate::state::{Direction, Overlay, Scan, Space, StateRead, keys, tables};

/// Whether an operation is overlooked that this very entry made when it was applied before: after
/// a crash the entry is applied again, and the check for repeats is part of what was lost
/// ([`Mutant::ReappliedAfterCrash`]).
pub(super) fn overlooks(found: &OperationRecord, index: u64) -> bool {
    mutant(Mutant::ReappliedAfterCrash) && found.index == index
}

/// Whether this version was made by this very entry when it was applied before, as
/// [`overlooks`].
pub(super) fn finds_itself(
    application: &Application<'_, '_>,
    secret: &SecretId,
    version: &VersionId,
) -> Result<bool, StorageError> {
    if !mutant(Mutant::ReappliedAfterCrash) {
        return Ok(false);
    }
    let found = tables::version(application.state, secret, version)?;
    Ok(found.is_some_and(|found| found.sequence == application.index))
}

/// Whether a new version may have this id because the one that had it is destroyed
/// ([`Mutant::VersionIdReused`]). The old one leaves its place in the list.
pub(super) fn takes_over(
    application: &mut Application<'_, '_>,
    secret: &SecretId,
    version: &VersionId,
) -> Result<bool, StorageError> {
    if !mutant(Mutant::VersionIdReused) {
        return Ok(false);
    }
    let found = tables::version(application.state, secret, version)?;
    let Some(gone) = found.filter(|found| found.status == VersionStatus::Destroyed) else {
        return Ok(false);
    };
    application.state.delete(Space::Records, keys::version_in_secret(secret, gone.sequence));
    Ok(true)
}

/// The keys in the order of a hash map, which differs from process to process: what `apply` must
/// never do ([`Mutant::MapOrder`]).
#[expect(clippy::disallowed_types, reason = "this is the bug")]
pub(super) fn map_order(entry_keys: Vec<String>) -> Vec<String> {
    let unordered: std::collections::HashSet<_> = entry_keys.into_iter().collect();
    unordered.into_iter().collect()
}

/// Deletes every idempotency record ([`Mutant::KeysForgottenAtLeaderChange`]).
pub(super) fn forget_keys(state: &mut Overlay<'_>) -> Result<(), StorageError> {
    let all = keys::idempotency_records();
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&all),
        from: all,
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    for (key, _) in state.scan(&scan)? {
        state.delete(Space::Records, key);
    }
    Ok(())
}
