//! What is metered of the service itself (`contract §7`): how long versions are stored.

use lockbox_core::{CloudId, LogTime};
use minicbor::{Decode, Encode};

/// The storage meter of a cloud: each version counts from its creation to its destruction, those of
/// deactivated secrets too. Replicated, for a bill must not end with a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StorageMeter {
    /// The cloud.
    #[n(0)]
    pub cloud_id: CloudId,
    /// Versions that are stored.
    #[n(1)]
    pub versions: u64,
    /// How long versions were stored until [`Self::until`], all of them together, in milliseconds.
    #[n(2)]
    pub version_ms: u64,
    /// When the number of versions changed last, on the log's clock.
    #[n(3)]
    pub until: LogTime,
}

impl StorageMeter {
    /// The meter of a cloud in which nothing was stored so far.
    #[must_use]
    pub fn new(cloud_id: CloudId) -> Self {
        Self { cloud_id, versions: 0, version_ms: 0, until: LogTime::default() }
    }

    /// What it shows at this time, in milliseconds of versions.
    #[must_use]
    pub const fn version_ms_at(&self, now: LogTime) -> u64 {
        let since_ms = now.as_ms().saturating_sub(self.until.as_ms());
        self.version_ms.saturating_add(self.versions.saturating_mul(since_ms))
    }

    /// Notes that so many versions came and went.
    pub fn change(&mut self, now: LogTime, came: u64, went: u64) {
        self.version_ms = self.version_ms_at(now);
        self.until = self.until.max(now);
        // What an earlier build has stored was not counted when it came.
        self.versions = self.versions.saturating_add(came).saturating_sub(went);
    }
}
