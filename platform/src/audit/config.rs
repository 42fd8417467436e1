//! Where and how the audit is written.

use std::path::{Path, PathBuf};

/// The length at which a file is finished unless the configuration says otherwise, in bytes.
pub const FILE_BYTES_DEFAULT: u64 = 64 << 20;
/// The smallest length that a configuration may ask for, in bytes: each file costs two syncs.
pub const FILE_BYTES_MIN: u64 = 4 << 10;

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditSync {
    /// When the kernel has it: survives the process, not a power loss within 100 ms.
    #[default]
    Batched,
    /// When the disk has it.
    Each,
}

/// When a finished file that is one too many is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Removal {
    /// As soon as there is another one.
    #[default]
    AtOnce,
    /// When [`super::AuditorHandle::permit_removal`] says so: a cluster has to know first what is
    /// missing from now on.
    WhenPermitted,
}

/// Where and how records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file; created with mode 0600. Finished ones are beside it.
    pub path: PathBuf,
    /// When a record counts as written.
    pub sync: AuditSync,
    /// The length at which a file is finished and the next one begun, in bytes.
    pub file_bytes_max: u64,
    /// Finished files that are kept; all of them when absent.
    pub finished_files_max: Option<u32>,
    /// When the others are removed.
    pub removal: Removal,
}

impl AuditConfig {
    /// This file, with the defaults.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            sync: AuditSync::default(),
            file_bytes_max: FILE_BYTES_DEFAULT,
            finished_files_max: None,
            removal: Removal::default(),
        }
    }
}
