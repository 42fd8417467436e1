//! Backups: where they go, for whom they are sealed, how often they are made and how long kept.

use std::path::PathBuf;
use std::time::Duration;

use lockbox_platform::config_file::WrongValue;
use lockbox_platform::sealed_file::{RECIPIENTS_MAX, Recipient};
use serde::Deserialize;

/// A backup more often than this would be the cluster's main work.
const EVERY_MIN_SECONDS: u64 = 60;

/// Backups. Of all nodes the leader's counts for the schedule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// How often the leader makes one by itself, in seconds; 60 at least, and 0 (the default) is
    /// never.
    pub every_seconds: u64,
    /// The directory that they go to, or none (the default). Each node has its own unless it is
    /// shared.
    pub directory: Option<PathBuf>,
    /// The bucket that they go to, or none (the default); a directory and a bucket exclude each
    /// other.
    pub bucket: Option<BucketConfig>,
    /// Who may open them, as `lockbox admin backup keygen` names them; none by default, 31 at most.
    pub recipients: Vec<String>,
    /// Whether the KMS may open them, too, by the cluster's system key; `false` by default.
    pub under_kms: bool,
    /// How many of the newest are kept, whatever their age; 14 by default, 1 at least.
    pub keep_newest: u32,
    /// For how many days the others are kept; 30 by default.
    pub keep_days: u32,
    /// How soon after a destruction the signed list of what was destroyed is written beside the
    /// backups, in seconds; 60 by default, 1 at least.
    pub destroyed_within_seconds: u64,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            every_seconds: 0,
            directory: None,
            bucket: None,
            recipients: Vec::new(),
            under_kms: false,
            keep_newest: 14,
            keep_days: 30,
            destroyed_within_seconds: 60,
        }
    }
}

/// A bucket of an S3-compatible object store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Its address, as a URL: `https://s3.example`.
    pub endpoint: String,
    /// Its region; `us-east-1` by default.
    #[serde(default = "default_region")]
    pub region: String,
    /// Its name.
    pub name: String,
    /// What the names of objects begin with; empty by default.
    #[serde(default)]
    pub prefix: String,
    /// A file of two lines: the id of the access key, and its secret. Nobody but the owner may be
    /// able to read it.
    pub credentials_file: PathBuf,
    /// PEM file of the authorities of its certificate; those of the system when absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether plain HTTP may be spoken to it: for one on this machine; `false` by default.
    #[serde(default)]
    pub plaintext: bool,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl BackupConfig {
    /// How often the leader makes one, if it does.
    #[must_use]
    pub fn every(&self) -> Option<Duration> {
        (self.every_seconds > 0).then(|| Duration::from_secs(self.every_seconds))
    }

    /// How soon a list of destructions is written.
    #[must_use]
    pub const fn destroyed_within(&self) -> Duration {
        Duration::from_secs(self.destroyed_within_seconds)
    }

    /// Whether there is a place that they go to.
    #[must_use]
    pub const fn has_place(&self) -> bool {
        self.directory.is_some() || self.bucket.is_some()
    }

    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.directory.is_some() && self.bucket.is_some() {
            return wrong("backup.bucket", "must not stand beside backup.directory");
        }
        // One place is for the KMS.
        if self.recipients.len() >= RECIPIENTS_MAX {
            return wrong("backup.recipients", "must be 31 at most");
        }
        if self.recipients.iter().any(|text| Recipient::parse(text).is_err()) {
            return wrong("backup.recipients", "must be recipients of lockbox admin backup keygen");
        }
        if self.keep_newest == 0 {
            return wrong("backup.keep_newest", "must be positive");
        }
        if self.destroyed_within_seconds == 0 {
            return wrong("backup.destroyed_within_seconds", "must be positive");
        }
        if self.every_seconds == 0 {
            return Ok(());
        }
        if self.every_seconds < EVERY_MIN_SECONDS {
            return wrong("backup.every_seconds", "must be 0 or at least 60");
        }
        if !self.has_place() {
            return wrong("backup.every_seconds", "needs backup.directory or backup.bucket");
        }
        if self.recipients.is_empty() && !self.under_kms {
            return wrong("backup.every_seconds", "needs backup.recipients or backup.under_kms");
        }
        Ok(())
    }
}
