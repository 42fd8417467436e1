//! What the seeded bugs of the KMS do where one line does not say it (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`. The cache has no bound: a mutant lives for minutes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::KmsKeyId;
use tokio::time::Instant;

use crate::store::records::{KeyRecord, KeyStatus};

/// How long a status is believed with [`lockbox_core::Mutant::KeyStatusCached`].
const STATUS_TTL: Duration = Duration::from_secs(1);

static STATUSES: Mutex<BTreeMap<KmsKeyId, (KeyStatus, Instant)>> = Mutex::new(BTreeMap::new());

/// The status that a key had when it was looked at within the last second
/// ([`lockbox_core::Mutant::KeyStatusCached`]).
pub(crate) fn status_lately(key: &KeyRecord) -> KeyStatus {
    let mut statuses = STATUSES.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let (status, since) = statuses.entry(key.id.clone()).or_insert((key.status, now));
    if now.duration_since(*since) >= STATUS_TTL {
        (*status, *since) = (key.status, now);
    }
    *status
}
