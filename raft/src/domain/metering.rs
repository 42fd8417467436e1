//! What is metered of the service itself (`contract §7`): how long versions are stored, and how often
//! payloads are read.

use lockbox_core::{CloudId, LogTime};
use minicbor::{Decode, Encode};

/// Milliseconds in an hour: bills are of whole hours of the log's clock.
pub const HOUR_MS: u64 = 3_600_000;

/// The hour that a time is in, counted from 1970-01-01T00:00:00Z.
#[must_use]
pub const fn hour_of(time: LogTime) -> u64 {
    time.as_ms() / HOUR_MS
}

/// The meter of a cloud. Replicated, for a bill must not end with a node, and kept for good: what
/// was deleted since was stored and read all the same.
///
/// Each version counts from its creation to its destruction, those of deactivated secrets too.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UsageMeter {
    /// The cloud.
    #[n(0)]
    pub cloud_id: CloudId,
    /// Versions that are stored.
    #[n(1)]
    pub versions: u64,
    /// How long versions were stored until [`Self::until`], all of them together, in milliseconds.
    #[n(2)]
    pub version_ms: u64,
    /// When the meter changed last, on the log's clock.
    #[n(3)]
    pub until: LogTime,
    /// Payload reads that were completed; nothing in what an earlier build wrote.
    #[cbor(n(4), default)]
    pub reads: u64,
}

impl UsageMeter {
    /// The meter of a cloud in which nothing was stored so far.
    #[must_use]
    pub fn new(cloud_id: CloudId) -> Self {
        Self { cloud_id, versions: 0, version_ms: 0, until: LogTime::default(), reads: 0 }
    }

    /// What it shows of storage at this time, in milliseconds of versions.
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

    /// Counts payload reads.
    pub fn count_reads(&mut self, now: LogTime, reads: u64) {
        // The time of the last change says to which hour all of the meter belongs.
        self.change(now, 0, 0);
        self.reads = self.reads.saturating_add(reads);
    }
}
