//! Libraries that are preloaded into the nodes: wrong clocks, bad syncs, lost unsynced data.
//!
//! Our own are compiled when a run begins, by the machine's C compiler, so that no binary is kept
//! in the tree. What a machine lacks is left out, and the faults that need it say so.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::program::finish;

const FAULTY_SYNC: &str = include_str!("../../preload/faulty_sync.c");
const WRONG_CLOCK: &str = include_str!("../../preload/wrong_clock.c");
const FORGET_UNSYNCED: &str = include_str!("../../../raft/tests/preload/forget_unsynced.c");
/// A sync that fails for as long as the fault lasts.
const ALL_FAIL: u32 = u32::MAX;
/// Length of the control file; `faulty_sync.c` says what is in it.
const SYNC_CONTROL_BYTES: usize = 32;
/// Length of the control file of the clock; `wrong_clock.c` says what is in it.
const CLOCK_CONTROL_BYTES: usize = 16;
const NANOS: i64 = 1_000_000_000;

/// The libraries of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Preload {
    faulty_sync: Option<PathBuf>,
    forget_unsynced: Option<PathBuf>,
    wrong_clock: Option<PathBuf>,
}

impl Preload {
    /// Compiles ours into a directory, as far as there is a compiler. Losing unsynced data copies
    /// everything that is synced, so it is asked for.
    ///
    /// # Errors
    /// When there is a compiler and it refuses.
    pub(crate) fn make(directory: &Path, forgetful: bool) -> Result<Self> {
        let mut preload = Self::default();
        if super::program::exists("cc") {
            let compile = |name, source| compile(directory, name, source);
            preload.faulty_sync = Some(compile("faulty_sync", FAULTY_SYNC)?);
            preload.wrong_clock = Some(compile("wrong_clock", WRONG_CLOCK)?);
            if forgetful {
                preload.forget_unsynced = Some(compile("forget_unsynced", FORGET_UNSYNCED)?);
            }
        }
        Ok(preload)
    }

    pub(crate) const fn has_faulty_sync(&self) -> bool {
        self.faulty_sync.is_some()
    }

    pub(crate) const fn has_forget_unsynced(&self) -> bool {
        self.forget_unsynced.is_some()
    }

    pub(crate) const fn has_wrong_clock(&self) -> bool {
        self.wrong_clock.is_some()
    }

    /// What a node finds in its environment, with the files that steer the libraries.
    pub(crate) fn environment(&self, data: &Path, steering: &Steering) -> Vec<(&str, OsString)> {
        let mut variables = Vec::new();
        let mut set = |name, value: &Path| variables.push((name, value.as_os_str().to_owned()));
        if self.faulty_sync.is_some() {
            set("FAULTY_SYNC_DATA", data);
            set("FAULTY_SYNC_CONTROL", &steering.sync_control());
        }
        if self.forget_unsynced.is_some() {
            set("FORGET_UNSYNCED_DATA", data);
            set("FORGET_UNSYNCED_DISK", &steering.durable());
        }
        if self.wrong_clock.is_some() {
            set("WRONG_CLOCK_CONTROL", &steering.clock_control());
        }
        // The outermost first: a sync that fails must not reach the durable image.
        let libraries = [&self.faulty_sync, &self.forget_unsynced, &self.wrong_clock];
        let libraries: Vec<_> =
            libraries.into_iter().flatten().map(|path| path.as_os_str()).collect();
        if !libraries.is_empty() {
            variables.push(("LD_PRELOAD", libraries.join(OsStr::new(":"))));
        }
        variables
    }
}

fn compile(directory: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let (input, output) =
        (directory.join(format!("{name}.c")), directory.join(format!("{name}.so")));
    fs::write(&input, source).with_context(|| input.display().to_string())?;
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
    command.arg(&output).arg(&input).args(["-ldl", "-pthread"]);
    finish(command, "").with_context(|| format!("{name}.c does not compile"))?;
    Ok(output)
}

/// The files that steer a node's libraries while it runs.
#[derive(Debug, Clone)]
pub struct Steering {
    directory: PathBuf,
}

/// What was done to syncs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// Syncs that took longer.
    pub delayed: u64,
    /// Syncs that failed.
    pub failed: u64,
    /// All syncs.
    pub synced: u64,
}

impl Steering {
    /// Makes the files: right clock, good syncs. The directory is on the node's disk, because what
    /// is durable of a file must be on its file system.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let steering = Self { directory: directory.to_owned() };
        fs::create_dir_all(steering.durable())?;
        fs::write(steering.sync_control(), [0; SYNC_CONTROL_BYTES])?;
        fs::write(steering.clock_control(), [0; CLOCK_CONTROL_BYTES])?;
        Ok(steering)
    }

    /// Those that [`Self::make`] has made.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where the image of what is durable is kept.
    pub(crate) fn durable(&self) -> PathBuf {
        self.directory.join("durable")
    }

    fn sync_control(&self) -> PathBuf {
        self.directory.join("sync-control")
    }

    fn clock_control(&self) -> PathBuf {
        self.directory.join("clock-control")
    }

    /// Moves the node's wall clock against the machine's.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_clock(&self, offset_s: i64) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.clock_control())?;
        Ok(file.write_all_at(&offset_s.saturating_mul(NANOS).to_ne_bytes(), 0)?)
    }

    /// How often the node has read a wrong clock since the file was made.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn wrong_reads(&self) -> Result<u64> {
        count(&fs::read(self.clock_control())?, 8)
    }

    /// Makes every sync slower, and lets the next ones fail.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_sync(&self, delay_us: u32, failing: SyncFailures) -> Result<()> {
        let failing = match failing {
            SyncFailures::None => 0,
            SyncFailures::Next(count) => count,
            SyncFailures::All => ALL_FAIL,
        };
        let file = OpenOptions::new().write(true).open(self.sync_control())?;
        let mut both = [0; 8];
        both[..4].copy_from_slice(&delay_us.to_ne_bytes());
        both[4..].copy_from_slice(&failing.to_ne_bytes());
        Ok(file.write_all_at(&both, 0)?)
    }

    /// What was done to syncs since the files were made.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sync_counts(&self) -> Result<SyncCounts> {
        let control = fs::read(self.sync_control())?;
        let of = |at| count(&control, at);
        Ok(SyncCounts { delayed: of(8)?, failed: of(16)?, synced: of(24)? })
    }
}

fn count(control: &[u8], at: usize) -> Result<u64> {
    let bytes = control.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_ne_bytes).context("the control file is too short")
}

/// Which syncs fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFailures {
    /// None.
    None,
    /// So many that follow.
    Next(u32),
    /// All that follow.
    All,
}
