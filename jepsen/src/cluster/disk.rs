//! A server's disk: a file system of a given size, in memory, mounted for this run alone.
//!
//! In memory, so that the syncs of five nodes on one machine do not wait for each other; what a
//! loss of power would leave is modelled by a preloaded library instead. Full is made by shrinking
//! the file system to what is in it: nothing has to be written, and ENOSPC is the kernel's own.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::program::run;

/// A node whose disk has less than this free says that it is low: `disk.low_bytes` of the runs.
pub const LOW_BYTES: u64 = 16 << 20;
/// A probe of this size does not fit into what is free by rounding.
const PROBE_BYTES: usize = 1 << 20;
/// Tries to leave no room, each with more slack than the one before …
const FILLS: u64 = 10;
/// … and so much more. All of it is less than a probe.
const SLACK_BYTES: u64 = 64 << 10;

/// A mounted disk. It is unmounted with the enclosure.
#[derive(Debug, Clone)]
pub struct Disk {
    directory: PathBuf,
    mebibytes: u32,
}

impl Disk {
    /// Mounts an empty one.
    ///
    /// # Errors
    /// When the machine refuses.
    pub(crate) fn mount(directory: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let options = format!("size={mebibytes}m,mode=700");
        let target = directory.to_string_lossy();
        run("mount", ["-t", "tmpfs", "-o", &options, "lockbox-jepsen", &target])?;
        Ok(Self { directory: directory.to_owned(), mebibytes })
    }

    /// Leaves no room for anything more, and looks whether that is so.
    ///
    /// # Errors
    /// When there is still room.
    pub fn fill(&self) -> Result<()> {
        // Whoever writes at the same moment may need more than was just counted. What is left then
        // is less than a probe, and the next writes take it.
        for attempt in 0..FILLS {
            let used = self.used()?;
            let resized = self.resize(&format!("{}", used + attempt * SLACK_BYTES));
            if resized.is_ok() && self.is_full()? {
                return Ok(());
            }
        }
        bail!(
            "the disk {} does not get full",
            self.directory.file_name().unwrap_or_default().display()
        )
    }

    /// Leaves so many bytes of room.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn leave(&self, bytes: u64) -> Result<()> {
        let used = self.used()?;
        self.resize(&format!("{}", used + bytes))
    }

    fn used(&self) -> Result<u64> {
        let status = rustix::fs::statvfs(&self.directory)?;
        Ok((status.f_blocks - status.f_bfree) * status.f_frsize)
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the machine refuses, or there is still no room.
    pub fn free(&self) -> Result<()> {
        self.resize(&format!("{}m", self.mebibytes))?;
        if self.is_full()? {
            bail!("{} is still full", self.directory.display());
        }
        Ok(())
    }

    fn resize(&self, size: &str) -> Result<()> {
        let options = format!("remount,size={size}");
        run("mount", ["-o", &options, &self.directory.to_string_lossy()]).map(drop)
    }

    /// Whether a write fails for want of room.
    ///
    /// # Errors
    /// When it fails for another reason.
    pub fn is_full(&self) -> Result<bool> {
        let path = self.directory.join("probe");
        let written =
            fs::File::create(&path).and_then(|mut file| file.write_all(&vec![1; PROBE_BYTES]));
        let removed = fs::remove_file(&path);
        match written {
            Ok(()) => removed.map(|()| false).context("cannot remove the probe"),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(true),
            Err(error) => Err(error).context("a probe of the disk"),
        }
    }
}
