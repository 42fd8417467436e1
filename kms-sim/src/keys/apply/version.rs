//! Versions: which one is primary, and their scheduled destruction (`contract §3.1`, `§3.2`).

use lockbox_core::LogTime;

use super::read::{any_key, live_key};
use super::{Changed, Place, Refusal, Stop, read_primary, read_version};
use crate::keys::command::VersionOf;
use crate::store::due::Due;
use crate::store::records::{KeyRecord, OperationKind, VersionRecord, VersionStatus};
use crate::store::tables::{self, Table};
use crate::store::{View, Write};
use lockbox_core::codec::encode;

pub(super) fn set_primary(view: &View<'_>, of: &VersionOf) -> Result<Changed, Stop> {
    let before = live_key(view, &of.key_id)?;
    let version = find(view, of)?;
    if version.status != VersionStatus::Active {
        return Err(Refusal::VersionNotActive.into());
    }
    let kind = OperationKind::SetPrimaryVersion { before: before.primary_version_id.clone() };
    let key = KeyRecord { primary_version_id: version.id.clone(), ..before.clone() };
    let writes = Vec::new();
    Ok(Changed { writes, kind, before: Some(before), key, primary_version: version })
}

/// Also of a version that is scheduled already: it gets the new time, as a secret's version does
/// (`contract §2.3`).
pub(super) fn schedule(
    view: &View<'_>,
    of: &VersionOf,
    destroy_at: LogTime,
    place: Place,
) -> Result<Changed, Stop> {
    let key = live_key(view, &of.key_id)?;
    let mut version = find(view, of)?;
    if key.primary_version_id == version.id {
        return Err(Refusal::VersionIsPrimary.into());
    }
    if version.status == VersionStatus::Destroyed || is_over(&version, place) {
        return Err(Refusal::VersionNotActive.into());
    }
    let mut writes = unscheduled(&version);
    version.status = VersionStatus::ScheduledForDestruction;
    version.destroy_at = Some(destroy_at);
    writes.push(Write::put(Table::Due, due(&version).row(destroy_at), Vec::new()));
    let kind = OperationKind::ScheduleVersionDestruction { version: version.clone() };
    store(view, key, &version, writes, kind)
}

/// As long as its time has not come: from then on the cluster may have been told that it is gone.
pub(super) fn cancel(view: &View<'_>, of: &VersionOf, place: Place) -> Result<Changed, Stop> {
    let key = live_key(view, &of.key_id)?;
    let mut version = find(view, of)?;
    if version.status != VersionStatus::ScheduledForDestruction || is_over(&version, place) {
        return Err(Refusal::VersionNotScheduled.into());
    }
    let writes = unscheduled(&version);
    version.status = VersionStatus::Active;
    version.destroy_at = None;
    let kind = OperationKind::CancelVersionDestruction { version: version.clone() };
    store(view, key, &version, writes, kind)
}

/// Applies only to the schedule that it names, and only when the commit's own time has reached it:
/// whoever is early, late or repeats itself does no harm.
pub(super) fn destroy(
    view: &View<'_>,
    of: &VersionOf,
    destroy_at: LogTime,
    place: Place,
) -> Result<Changed, Stop> {
    // A version's own end does not wait for that of its deleted key.
    let key = any_key(view, &of.key_id)?;
    let mut version = find(view, of)?;
    if version.destroy_at != Some(destroy_at) || place.time < destroy_at {
        return Err(Refusal::NotDue.into());
    }
    let writes = destroyed(&mut version, place.time);
    store(view, key, &version, writes, OperationKind::Destroy)
}

/// Ends a version: the rows that go with it. Its own row is for the caller to write.
pub(super) fn destroyed(version: &mut VersionRecord, at: LogTime) -> Vec<Write> {
    let mut writes = unscheduled(version);
    let row = tables::version(&version.key_id, &version.id);
    writes.push(Write::delete(Table::Materials, row));
    version.status = VersionStatus::Destroyed;
    version.destroy_at = None;
    version.destroyed_at = Some(at);
    writes
}

/// Takes a version's destruction out of what is due.
fn unscheduled(version: &VersionRecord) -> Vec<Write> {
    let row = version.destroy_at.map(|at| due(version).row(at));
    row.map(|row| Write::delete(Table::Due, row)).into_iter().collect()
}

fn due(version: &VersionRecord) -> Due {
    Due::DestroyVersion(version.key_id.clone(), version.id.clone())
}

/// Whether the time of its destruction has come, though nobody has carried it out yet.
fn is_over(version: &VersionRecord, place: Place) -> bool {
    version.destroy_at.is_some_and(|at| place.time >= at)
}

fn find(view: &View<'_>, of: &VersionOf) -> Result<VersionRecord, Stop> {
    let version = read_version(view, &of.key_id, &of.version_id)?;
    version.ok_or_else(|| Refusal::VersionNotFound.into())
}

fn store(
    view: &View<'_>,
    key: KeyRecord,
    version: &VersionRecord,
    mut writes: Vec<Write>,
    kind: OperationKind,
) -> Result<Changed, Stop> {
    let row = tables::version(&version.key_id, &version.id);
    writes.push(Write::put(Table::Versions, row, encode(version)));
    // Never this one: the primary version is neither scheduled nor destroyed by itself.
    let primary_version = read_primary(view, &key)?;
    Ok(Changed { writes, kind, before: Some(key.clone()), key, primary_version })
}
