//! What the seeded bugs of the store do where one line does not say it
//! (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`.

use lockbox_core::{LogTime, Mutant, mutant};

use super::codec;
use super::engine::{LogEngine, LogOp, LogRecord, StateEngine};
use super::state_handle::{Applied, on_view};
use crate::domain::version::{VersionRecord, VersionStatus};
use crate::domain::{decode, encode};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, Write, keys};

/// Entries that a node loses with [`Mutant::LostTail`].
const TAIL_LOST: u64 = 8;
/// Entries that a node applies again with [`Mutant::ReappliedAfterCrash`].
pub(super) const ENTRIES_REAPPLIED: u64 = 8;

/// Removes the last entries of a log ([`Mutant::LostTail`]).
pub(super) fn lose_tail(log: &dyn LogEngine) -> Result<(), StorageError> {
    let entries = log.recover()?.entries;
    // The first one stays, so that there is one to be the last.
    let last = entries.end.saturating_sub(TAIL_LOST + 1).max(entries.start);
    let Some(encoded) = log.read(last..entries.end.min(last + 1), 0)?.pop() else { return Ok(()) };
    let id = codec::decode_entry(&encoded)?.log_id;
    let value = codec::encode_log_id(&id);
    let committed = LogOp::Record { record: LogRecord::Committed, value };
    log.write(&[LogOp::TruncateFrom { index: last + 1 }, committed], true)
}

/// Removes from a state that came as a snapshot what the snapshot of this mutant lacks.
pub(super) fn omit_from_snapshot(
    engine: &dyn StateEngine,
    mut applied: Applied,
) -> Result<Applied, StorageError> {
    if mutant(Mutant::SnapshotOmitsOperations) {
        remove(engine, Space::Records, &keys::operation_tables())?;
    }
    if mutant(Mutant::SnapshotOmitsBindings) {
        remove(engine, Space::Records, &keys::binding_tables())?;
    }
    if mutant(Mutant::SnapshotOmitsClock) {
        applied.log_time = own_clock();
        let (space, key) = (Space::System, keys::SYSTEM_LOG_TIME.to_vec());
        engine.commit(&[Write { space, key, value: Some(encode(&applied.log_time)) }])?;
        engine.flush()?;
    }
    if mutant(Mutant::SnapshotOmitsMembership) {
        remove(engine, Space::System, &[keys::SYSTEM_MEMBERSHIP.to_vec()])?;
    }
    if mutant(Mutant::DestroyedComesBack) {
        revive_destroyed(engine)?;
    }
    Ok(applied)
}

/// Makes every destroyed version an active one again ([`Mutant::DestroyedComesBack`]).
fn revive_destroyed(engine: &dyn StateEngine) -> Result<(), StorageError> {
    let prefix = keys::versions();
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    for (key, row) in on_view(engine, |state| state.scan(&scan))?? {
        let mut version: VersionRecord =
            decode(&row).map_err(|e| StorageError::corrupt("revive a version", e.to_string()))?;
        if version.status == VersionStatus::Destroyed {
            version.status = VersionStatus::Active;
            let value = Some(encode(&version));
            engine.commit(&[Write { space: Space::Records, key, value }])?;
        }
    }
    engine.flush()
}

/// What no state may be made from.
#[expect(clippy::disallowed_methods, reason = "this is the bug")]
fn own_clock() -> LogTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    LogTime::from_ms(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// Removes every row under these prefixes.
fn remove(
    engine: &dyn StateEngine,
    space: Space,
    prefixes: &[Vec<u8>],
) -> Result<(), StorageError> {
    let scan = |prefix: &Vec<u8>| Scan {
        space,
        from: prefix.clone(),
        to: keys::prefix_end(prefix),
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    for prefix in prefixes {
        let rows = on_view(engine, |state| state.scan(&scan(prefix)))??;
        let gone = rows.into_iter().map(|(key, _)| Write { space, key, value: None });
        engine.commit(&gone.collect::<Vec<_>>())?;
    }
    engine.flush()
}
