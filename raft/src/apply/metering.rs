//! Meters what is billed of the service itself, for each cloud (`contract §7`).
//!
//! A meter is one row that is written over. When it changes for the first time in an hour, what it
//! showed before is kept as that of the earlier hour: so it can be read at the end of any hour.

use lockbox_core::{CloudId, FolderId, LogTime, Subject};

use super::{Application, Refusal};
use crate::domain::command::Envelope;
use crate::domain::metering::{UsageMeter, hour_of};
use crate::domain::outcome::Rejection;
use crate::domain::read_report::ReadReport;
use crate::error::StorageError;
use crate::state::{Space, keys, tables};

/// Notes that so many versions of secrets in a folder came and went.
pub(super) fn change(
    application: &mut Application<'_, '_>,
    folder: &FolderId,
    came: u64,
    went: u64,
) -> Result<(), StorageError> {
    let missing = || StorageError::corrupt("read the state", format!("folder {folder} is loose"));
    let cloud_id = tables::folder(application.state, folder)?.ok_or_else(missing)?.cloud_id;
    with_meter(application, cloud_id, |meter, now| meter.change(now, came, went))
}

/// Counts what a node reports, once; the system's alone. Whose the reads are is what the node says:
/// nodes are trusted for that, as they are for the subjects of calls.
pub(super) fn count_reads(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    report: &ReadReport,
) -> Result<(), Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let mut counted = tables::reports_counted(application.state, report.node_id)?;
    if !counted.note(report) {
        return Ok(());
    }
    application.put(Space::Records, keys::reports_counted(report.node_id), &counted);
    for of_cloud in &report.reads {
        let count = |meter: &mut UsageMeter, now| meter.count_reads(now, of_cloud.reads);
        with_meter(application, of_cloud.cloud_id.clone(), count)?;
    }
    Ok(())
}

fn with_meter(
    application: &mut Application<'_, '_>,
    cloud_id: CloudId,
    change: impl FnOnce(&mut UsageMeter, LogTime),
) -> Result<(), StorageError> {
    let now = application.now;
    let known = tables::usage_meter(application.state, &cloud_id)?;
    if let Some(before) = known.as_ref().filter(|known| hour_of(known.until) < hour_of(now)) {
        let place = keys::usage_of_hour(&cloud_id, hour_of(before.until));
        application.put(Space::Records, place, before);
    }
    let mut meter = known.unwrap_or_else(|| UsageMeter::new(cloud_id));
    change(&mut meter, now);
    application.put(Space::Records, keys::usage_meter(&meter.cloud_id), &meter);
    Ok(())
}
