//! Meters the storage of versions, for each cloud (`contract §7`).

use lockbox_core::FolderId;

use super::Application;
use crate::domain::metering::StorageMeter;
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
    let known = tables::storage_meter(application.state, &cloud_id)?;
    let mut meter = known.unwrap_or_else(|| StorageMeter::new(cloud_id));
    meter.change(application.now, came, went);
    application.put(Space::Records, keys::storage_meter(&meter.cloud_id), &meter);
    Ok(())
}
