//! The meters of what is billed, as they stand and as they stood at the end of any hour.

use lockbox_core::{CloudId, LogTime, NodeId};

use super::{Found, decode, load};
use crate::domain::metering::{HOUR_MS, UsageMeter, hour_of};
use crate::domain::read_report::ReportsCounted;
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys};

/// What a cloud used in some hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Milliseconds that versions were stored, all of them together.
    pub version_ms: u64,
    /// Payload reads.
    pub reads: u64,
}

/// The meter of a cloud; absent before the first version and the first read.
///
/// # Errors
/// [`StorageError`].
pub fn usage_meter(view: &dyn StateRead, cloud: &CloudId) -> Found<UsageMeter> {
    load(view, Space::Records, &keys::usage_meter(cloud))
}

/// Which reports of a node's reads were counted.
///
/// # Errors
/// [`StorageError`].
pub fn reports_counted(view: &dyn StateRead, id: NodeId) -> Result<ReportsCounted, StorageError> {
    Ok(load(view, Space::Records, &keys::reports_counted(id))?.unwrap_or_default())
}

/// What a cloud used from the begin of one hour up to the begin of another, as far as `now`.
///
/// # Errors
/// [`StorageError`].
pub fn usage_between(
    view: &dyn StateRead,
    cloud: &CloudId,
    (from_hour, to_hour): (u64, u64),
    now: LogTime,
) -> Result<Used, StorageError> {
    let (before, after) =
        (used_before(view, cloud, from_hour, now)?, used_before(view, cloud, to_hour, now)?);
    Ok(Used {
        version_ms: after.version_ms.saturating_sub(before.version_ms),
        reads: after.reads.saturating_sub(before.reads),
    })
}

/// What it had used when an hour began, or has by now.
fn used_before(
    view: &dyn StateRead,
    cloud: &CloudId,
    hour: u64,
    now: LogTime,
) -> Result<Used, StorageError> {
    let Some(meter) = meter_before(view, cloud, hour)? else { return Ok(Used::default()) };
    let at = LogTime::from_ms(hour.saturating_mul(HOUR_MS)).min(now);
    Ok(Used { version_ms: meter.version_ms_at(at), reads: meter.reads })
}

/// The meter as its last change before an hour left it.
fn meter_before(view: &dyn StateRead, cloud: &CloudId, hour: u64) -> Found<UsageMeter> {
    let newest = usage_meter(view, cloud)?;
    if newest.as_ref().is_none_or(|newest| hour_of(newest.until) < hour) {
        return Ok(newest);
    }
    let scan = Scan {
        space: Space::Records,
        from: keys::usage_of_hours(cloud),
        to: keys::usage_of_hour(cloud, hour),
        direction: Direction::Descending,
        limit: 1,
    };
    view.scan(&scan)?.first().map(|(_, row)| decode(row)).transpose()
}
