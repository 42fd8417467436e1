//! Quotas and limits of a node (`contract §9`).

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::CloudId;
use lockbox_platform::admission::{Admission, AdmissionMetrics};
use lockbox_platform::body_budget;
use lockbox_platform::config_file::WrongValue;
use lockbox_platform::detach::Calls;
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::rate::Rate;
use serde::Deserialize;

use crate::merge::PayloadLimits;

/// The shortest time that the metadata of a destroyed version stay, in seconds: longer than
/// idempotency keys and the KMS remember a request, for the version's id may come back after it.
const DESTROYED_RETENTION_MIN_SECONDS: u64 = 2 * 24 * 3600;

/// Quotas and limits (`contract §9`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Secrets in one cloud.
    pub secrets_per_cloud: u32,
    /// Clouds with a quota of their own: the cloud's id, and how many secrets it may have.
    pub secrets_of_clouds: BTreeMap<String, u32>,
    /// Versions of one secret that are not destroyed.
    pub versions_per_secret: u32,
    /// The shortest time between the request to destroy a version and its destruction, in seconds
    /// (`contract §13` no. 2).
    pub destruction_pending_min_seconds: u64,
    /// How long the metadata of a destroyed version stay, in seconds (`contract §13` no. 13); two
    /// days at least, and 10,000 for one secret at most.
    pub destroyed_versions_retention_seconds: u64,
    /// Authorized keys of one service account.
    pub keys_per_service_account: u32,
    /// Sum of the values of one version, in bytes.
    pub value_bytes: usize,
    /// Sum of the keys of one version, in bytes.
    pub key_bytes: usize,
    /// Entries of one version.
    pub entries: usize,
    /// Whether secrets' names are unique within a folder (`contract §13` no. 1).
    pub unique_names: bool,
    /// Requests of one subject that this node takes in a second; 0 is no limit. Logins of one
    /// account are counted by themselves, and so are the requests of one token that revoke, or that
    /// come after it was revoked.
    pub requests_per_second: u32,
    /// Requests of one subject at once after a pause; 0 is as many as in a second.
    pub requests_burst: u32,
    /// Bytes of clients' requests that are in memory at one time: of those that are not finished,
    /// and of those whose calls are under way. A quarter is for callers without a valid token; one
    /// address has half of the quarter and half of the rest at most.
    pub request_bytes_in_memory: usize,
    /// How long most calls may take, in milliseconds, 500 by default; 0 is no bound. While they
    /// take longer the node lets fewer in at one time, never fewer than 512 reads and 512 changes,
    /// and refuses the rest at once with RESOURCE_EXHAUSTED.
    pub wait_ms_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let payload = PayloadLimits::default();
        Self {
            secrets_per_cloud: 10_000,
            secrets_of_clouds: BTreeMap::new(),
            versions_per_secret: 1000,
            destruction_pending_min_seconds: 0,
            destroyed_versions_retention_seconds: 30 * 24 * 3600,
            keys_per_service_account: 1000,
            value_bytes: payload.value_bytes_max,
            key_bytes: payload.key_bytes_max,
            entries: payload.entries_max,
            unique_names: false,
            requests_per_second: 0,
            requests_burst: 0,
            request_bytes_in_memory: body_budget::BYTES_DEFAULT,
            wait_ms_max: 500,
        }
    }
}

impl LimitsConfig {
    /// Secrets that this cloud may have.
    #[must_use]
    pub fn secrets_of(&self, cloud: &str) -> u32 {
        self.secrets_of_clouds.get(cloud).copied().unwrap_or(self.secrets_per_cloud)
    }

    /// The shortest time between the request to destroy a version and its destruction.
    #[must_use]
    pub const fn destruction_pending_min(&self) -> Duration {
        Duration::from_secs(self.destruction_pending_min_seconds)
    }

    /// Requests of one subject.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        Rate { per_second: self.requests_per_second, burst: self.requests_burst }
    }

    /// The calls of a node with these limits, and what is measured of them.
    ///
    /// # Errors
    /// [`MetricsError`] when the registry has them already.
    pub fn calls(&self, metrics: &Metrics) -> Result<Calls, MetricsError> {
        if self.wait_ms_max == 0 {
            return Ok(Calls::default());
        }
        let wait_max = Duration::from_millis(self.wait_ms_max);
        Ok(Calls::admitted_by(Admission::new(wait_max, &AdmissionMetrics::register(metrics)?)))
    }

    /// How long the metadata of a destroyed version stay, in milliseconds.
    #[must_use]
    pub const fn destroyed_retained_ms(&self) -> u64 {
        self.destroyed_versions_retention_seconds.saturating_mul(1000)
    }

    /// The limits on one version's entries.
    #[must_use]
    pub const fn payload(&self) -> PayloadLimits {
        PayloadLimits {
            value_bytes_max: self.value_bytes,
            key_bytes_max: self.key_bytes,
            entries_max: self.entries,
        }
    }

    /// Refuses numbers that something else rests on.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.destroyed_versions_retention_seconds < DESTROYED_RETENTION_MIN_SECONDS {
            let key = "limits.destroyed_versions_retention_seconds";
            return wrong(key, "must be at least 172800 (two days)");
        }
        if self.request_bytes_in_memory < body_budget::BYTES_MIN {
            return wrong("limits.request_bytes_in_memory", "must be at least 17825792 (17 MiB)");
        }
        if self.secrets_of_clouds.keys().any(|id| CloudId::parse(id).is_err()) {
            return wrong("limits.secrets_of_clouds", "must name clouds by their ids");
        }
        Ok(())
    }
}
