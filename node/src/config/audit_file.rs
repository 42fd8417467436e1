//! The audit's files, and how often their heads go into the log.

use std::path::PathBuf;
use std::time::Duration;

use lockbox_platform::audit::shipping::SyslogConfig;
use lockbox_platform::audit::{self, AuditSync, FILE_BYTES_DEFAULT, FILE_BYTES_MIN};
use lockbox_platform::config_file::WrongValue;
use lockbox_platform::otlp::OtlpConfig;
use serde::Deserialize;

/// How surely an audit record is on disk before its reply leaves (`design §10`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSyncMode {
    /// In the kernel at once, on disk within 100 ms: survives SIGKILL.
    #[default]
    Batched,
    /// On disk: survives power loss.
    Each,
}

impl From<AuditSyncMode> for AuditSync {
    fn from(mode: AuditSyncMode) -> Self {
        match mode {
            AuditSyncMode::Batched => Self::Batched,
            AuditSyncMode::Each => Self::Each,
        }
    }
}

/// The audit's files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The file that is written to; `audit.jsonl` in the data directory when absent. Finished ones
    /// are beside it.
    pub path: Option<PathBuf>,
    /// When records are synced.
    pub sync: AuditSyncMode,
    /// The length at which a file is finished and the next one begun, in bytes.
    pub file_bytes_max: u64,
    /// Finished files that are kept; all of them when absent.
    pub finished_files_max: Option<u32>,
    /// How often the head of the chain goes into the replicated log while there are new records,
    /// in seconds. At a change of the leader it does so at once.
    pub head_interval_seconds: u64,
    /// A receiver of copies by syslog; none when absent.
    pub syslog: Option<SyslogConfig>,
    /// A collector of copies by OTLP; none when absent.
    pub otlp: Option<OtlpConfig>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            path: None,
            sync: AuditSyncMode::default(),
            file_bytes_max: FILE_BYTES_DEFAULT,
            finished_files_max: None,
            head_interval_seconds: 10,
            syslog: None,
            otlp: None,
        }
    }
}

impl AuditConfig {
    /// How often the head goes into the log.
    #[must_use]
    pub const fn head_interval(&self) -> Duration {
        Duration::from_secs(self.head_interval_seconds)
    }

    /// What the writer takes, for this file.
    #[must_use]
    pub fn of_writer(&self, path: PathBuf) -> audit::AuditConfig {
        audit::AuditConfig {
            path,
            sync: self.sync.into(),
            file_bytes_max: self.file_bytes_max,
            finished_files_max: self.finished_files_max,
            // The heads in the log say first what goes.
            removal: audit::Removal::WhenPermitted,
        }
    }

    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.file_bytes_max < FILE_BYTES_MIN {
            return wrong("audit.file_bytes_max", "must be at least 4096");
        }
        if self.finished_files_max == Some(0) {
            return wrong("audit.finished_files_max", "must be positive");
        }
        if self.head_interval_seconds == 0 {
            return wrong("audit.head_interval_seconds", "must be positive");
        }
        if let Some(Err(problem)) = self.syslog.as_ref().map(SyslogConfig::receiver) {
            return wrong("audit.syslog", problem);
        }
        if let Some(Err(problem)) = self.otlp.as_ref().map(OtlpConfig::check) {
            return wrong("audit.otlp", problem);
        }
        Ok(())
    }
}
