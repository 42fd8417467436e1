//! What was destroyed, by name, for whoever keeps older copies of the state.

use lockbox_core::LogTime;

use super::{decode, erasures, erasures_after};
use crate::domain::erasure::{Destroyed, Erasure, ErasurePoint};
use crate::domain::version::{VersionRecord, VersionStatus};
use crate::error::StorageError;
use crate::state::{Direction, Row, Scan, Space, StateRead, keys};

/// Rows of one step through a table.
const ROWS: usize = 1_024;

/// What was destroyed after the first so many erasures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestroyedSince {
    /// How far the view is.
    pub point: ErasurePoint,
    /// What was destroyed, in order and once.
    pub destroyed: Vec<Destroyed>,
}

/// What was destroyed after the first `done` erasures. When those are more than are kept, it is all
/// that the state knows of: secrets that were ever deleted, and versions whose metadata are kept.
///
/// # Errors
/// [`StorageError`].
pub fn destroyed_since(view: &dyn StateRead, done: u64) -> Result<DestroyedSince, StorageError> {
    let point = erasures(view)?;
    let mut destroyed = match erasures_after(view, done, point)? {
        Some(erasures) => erasures.iter().filter_map(named).collect(),
        None => all(view)?,
    };
    destroyed.sort_unstable();
    destroyed.dedup();
    Ok(DestroyedSince { point, destroyed })
}

/// Whose payloads an erasure was about; nothing when only the log held them.
fn named(erasure: &Erasure) -> Option<Destroyed> {
    let at = erasure.at;
    if let Some((secret_id, version)) = keys::payload_of(&erasure.from) {
        return Some(Destroyed { secret_id, version_id: Some(version), at });
    }
    let secret_id = keys::secret_of_payloads(&erasure.from)?;
    Some(Destroyed { secret_id, version_id: None, at })
}

fn all(view: &dyn StateRead) -> Result<Vec<Destroyed>, StorageError> {
    let mut destroyed = Vec::new();
    for_each_row(view, &keys::deleted_secrets(), |(key, value)| {
        let at: LogTime = decode(&value)?;
        let secret = keys::deleted_secret_of(&key);
        destroyed.extend(secret.map(|secret_id| Destroyed { secret_id, version_id: None, at }));
        Ok(())
    })?;
    let now = super::log_time(view)?;
    for_each_row(view, &keys::versions(), |(_, value)| {
        let version: VersionRecord = decode(&value)?;
        if version.status == VersionStatus::Destroyed {
            let VersionRecord { secret_id, id, .. } = version;
            destroyed.push(Destroyed { secret_id, version_id: Some(id), at: now });
        }
        Ok(())
    })?;
    Ok(destroyed)
}

fn for_each_row(
    view: &dyn StateRead,
    table: &[u8],
    mut take: impl FnMut(Row) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut from = table.to_vec();
    loop {
        let scan = Scan {
            space: Space::Records,
            from,
            to: keys::prefix_end(table),
            direction: Direction::Ascending,
            limit: ROWS,
        };
        let rows = view.scan(&scan)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = keys::after(last);
        for row in rows {
            take(row)?;
        }
    }
}
