//! The keyring: when its key is replaced, and how fast data keys follow (`design §6`).

use std::time::Duration;

use lockbox_platform::config_file::WrongValue;
use serde::Deserialize;

/// The keyring. Of all nodes the leader's counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyringConfig {
    /// The age at which the key that wraps data keys is replaced by itself, in days; 0 is never.
    pub rotate_after_days: u32,
    /// Data keys that are put under a new keyring key in a second; payloads that have none to put
    /// are gone through twenty times as fast.
    pub rewraps_per_second: u32,
    /// How long a key that was replaced still takes what was under way, in seconds: longer than any
    /// call lasts, or one that was slow has to be made again.
    pub close_after_seconds: u64,
}

impl Default for KeyringConfig {
    fn default() -> Self {
        Self { rotate_after_days: 0, rewraps_per_second: 500, close_after_seconds: 150 }
    }
}

impl KeyringConfig {
    /// The age at which a key is replaced, if it is.
    #[must_use]
    pub fn rotate_after(&self) -> Option<Duration> {
        let days = u64::from(self.rotate_after_days);
        (days > 0).then(|| Duration::from_secs(days * 24 * 3600))
    }

    /// How long a key that was replaced still takes what was under way.
    #[must_use]
    pub const fn close_after(&self) -> Duration {
        Duration::from_secs(self.close_after_seconds)
    }

    /// Refuses numbers with which nothing would go on.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        if self.rewraps_per_second == 0 {
            let (key, problem) = ("keyring.rewraps_per_second", "must be positive");
            return Err(WrongValue { key, problem });
        }
        Ok(())
    }
}
