//! Where the meters of what is billed are.

use lockbox_core::{CloudId, NodeId};

use super::{Key, REPORTS_COUNTED, USAGE_METER, USAGE_OF_HOUR};

/// What of a cloud's secrets was stored and read.
#[must_use]
pub fn usage_meter(cloud: &CloudId) -> Vec<u8> {
    Key::new(USAGE_METER).text(cloud.as_str()).done()
}

/// The meters of all clouds.
#[must_use]
pub fn usage_meters() -> Vec<u8> {
    vec![USAGE_METER]
}

/// The meter of a cloud as it stood at the ends of earlier hours, by hour; hours without a change
/// have none.
#[must_use]
pub fn usage_of_hours(cloud: &CloudId) -> Vec<u8> {
    Key::new(USAGE_OF_HOUR).text(cloud.as_str()).done()
}

/// One place in [`usage_of_hours`].
#[must_use]
pub fn usage_of_hour(cloud: &CloudId, hour: u64) -> Vec<u8> {
    Key::new(USAGE_OF_HOUR).text(cloud.as_str()).number(hour).done()
}

/// Which reports of a node's reads were counted.
#[must_use]
pub fn reports_counted(id: NodeId) -> Vec<u8> {
    Key::new(REPORTS_COUNTED).number(id).done()
}
