//! Where, how often and how many backups the server makes by itself.

use std::path::PathBuf;
use std::time::Duration;

use lockbox_platform::config_file::WrongValue;
use serde::Deserialize;

use super::KmsConfig;
use crate::backup::scheduled::Settings;

/// Shortest time between scheduled backups, in seconds.
const INTERVAL_MIN_S: u64 = 10;

/// Scheduled backups of keys, ledger and commit sequence, sealed under the root key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// The directory that they are written to, which should be on another disk than the data; none
    /// are made when absent.
    pub directory: Option<PathBuf>,
    /// Longest time from one to the next while there are new commits, in seconds; 3600 by default,
    /// 10 at least. After a change of keys one is made within seconds.
    pub interval_s: u64,
    /// How many are kept, the newest; 48 by default.
    pub keep: u32,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self { directory: None, interval_s: 3600, keep: 48 }
    }
}

impl BackupConfig {
    /// Refuses what would keep no backup, or make nothing else.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        if self.keep == 0 {
            return Err(WrongValue { key: "backup.keep", problem: "must be positive" });
        }
        if self.interval_s < INTERVAL_MIN_S {
            return Err(WrongValue { key: "backup.interval_s", problem: "must be at least 10" });
        }
        Ok(())
    }
}

impl KmsConfig {
    /// Scheduled backups, if there are any.
    #[must_use]
    pub(crate) fn scheduled_backups(&self) -> Option<Settings> {
        let directory = self.backup.directory.clone()?;
        let interval = Duration::from_secs(self.backup.interval_s);
        Some(Settings { directory, interval, keep: self.backup.keep as usize })
    }
}
