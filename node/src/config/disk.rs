//! The disk of a node: when it has too little room, and how damage on it is found.

use std::time::Duration;

use lockbox_platform::config_file::WrongValue;
use serde::Deserialize;

/// The mark is a tenth of the disk, and no more than this.
const LOW_BYTES_MAX: u64 = 1 << 30;
const LOW_PART: u64 = 10;
/// The ballast is a fortieth of the disk, and no more than this.
const BALLAST_BYTES_MAX: u64 = 256 << 20;
const BALLAST_PART: u64 = 40;
/// Less would be forgotten at once.
const RETAINED_BYTES_MIN: u64 = 1 << 20;

/// The disk.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskConfig {
    /// Below so many free bytes, where the data or the audit are, the disk is low: leadership goes
    /// to a node with room, and where no majority has any, what makes the data grow is refused. A
    /// tenth of the disk, and at most 1 GiB, when absent.
    pub low_bytes: Option<u64>,
    /// Bytes that a file `BALLAST` in the data directory holds back. It is removed when less than
    /// half of `low_bytes` is free, so that what deletes can go on, and made again when there is
    /// room. 0 is none; a fortieth of the disk, and at most 256 MiB, when absent.
    pub ballast_bytes: Option<u64>,
    /// Bytes that operations and idempotency records may take in the state, before compression.
    /// Beyond it operations are forgotten before their 30 days are over, the oldest first, and none
    /// within 26 hours. Of all nodes the leader's counts.
    pub retained_bytes_max: u64,
    /// Seconds between two readings of all files, which find what the disk has changed; 0 is never.
    pub scrub_interval_seconds: u64,
    /// How fast files are read for that, in bytes a second; 0 is as fast as that goes.
    pub scrub_bytes_per_second: u64,
    /// Seconds between two comparisons of the states of all members; 0 is never. Each node reads
    /// its whole state for one. Of all nodes the leader's counts.
    pub state_check_interval_seconds: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            low_bytes: None,
            ballast_bytes: None,
            retained_bytes_max: 4 << 30,
            scrub_interval_seconds: 24 * 3600,
            scrub_bytes_per_second: 16 << 20,
            state_check_interval_seconds: 3600,
        }
    }
}

impl DiskConfig {
    /// The mark below which a disk of this size is low, in bytes.
    #[must_use]
    pub fn low_bytes(&self, total: u64) -> u64 {
        self.low_bytes.unwrap_or_else(|| (total / LOW_PART).min(LOW_BYTES_MAX))
    }

    /// The ballast on a disk of this size, in bytes.
    #[must_use]
    pub fn ballast_bytes(&self, total: u64) -> u64 {
        self.ballast_bytes.unwrap_or_else(|| (total / BALLAST_PART).min(BALLAST_BYTES_MAX))
    }

    /// Between two readings of all files, if there are any.
    #[must_use]
    pub fn scrub_interval(&self) -> Option<Duration> {
        some(self.scrub_interval_seconds)
    }

    /// Between two comparisons of states, if there are any.
    #[must_use]
    pub fn state_check_interval(&self) -> Option<Duration> {
        some(self.state_check_interval_seconds)
    }

    /// Refuses numbers that forget everything.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        if self.retained_bytes_max < RETAINED_BYTES_MIN {
            let (key, problem) = ("disk.retained_bytes_max", "must be at least 1048576 (1 MiB)");
            return Err(WrongValue { key, problem });
        }
        Ok(())
    }
}

fn some(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_the_size_of_the_disk_up_to_a_bound() {
        let config = DiskConfig::default();
        assert_eq!((config.low_bytes(1000), config.ballast_bytes(1000)), (100, 25));
        let large = 1 << 45;
        assert_eq!(config.low_bytes(large), 1 << 30);
        assert_eq!(config.ballast_bytes(large), 256 << 20);
        let set = DiskConfig { low_bytes: Some(7), ballast_bytes: Some(0), ..config };
        assert_eq!((set.low_bytes(large), set.ballast_bytes(large)), (7, 0));
        assert_eq!(set.scrub_interval(), Some(Duration::from_secs(86_400)));
        let never = DiskConfig { scrub_interval_seconds: 0, ..set };
        assert_eq!(never.scrub_interval(), None);
        let wrong = DiskConfig { retained_bytes_max: 5, ..never }.check().unwrap_err();
        assert_eq!(wrong.key, "disk.retained_bytes_max");
    }
}
