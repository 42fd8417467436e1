//! The directory that a run keeps its servers' files in, and the removal of dead runs' ones.
//!
//! Promises: a directory is removed only when the lock in it is free, so a run that lives is left
//! alone; what a killed run has left is gone after the next sweep.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::program::run;

const LOCK: &str = "lock";

/// The directory of a run. Everything in it goes with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Held while the run lives; the kernel gives it back when it is killed.
    _lock: File,
}

impl Scratch {
    /// Makes one below `base`, after removing what dead runs have left there.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn make(base: &Path) -> Result<Self> {
        fs::create_dir_all(base).with_context(|| format!("cannot make {}", base.display()))?;
        // One run at a time sweeps and begins, so none takes another's beginning for an end.
        let beginning = File::create(base.join(LOCK))?;
        beginning.lock().context("cannot lock the directory of the runs")?;
        sweep(base)?;
        let process = std::process::id();
        for attempt in 0_u32.. {
            let path = base.join(format!("run-{process}-{attempt}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = File::create_new(path.join(LOCK))?;
                    lock.try_lock().context("cannot lock a directory that was just made")?;
                    return Ok(Self { path, _lock: lock });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(format!("cannot make {}", path.display())),
            }
        }
        anyhow::bail!("no name is free in {}", base.display())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run's sweep.
        remove(&self.path).ok();
    }
}

/// Removes what dead runs have left below `base`: processes, mounts and files. Returns how many
/// runs that were. Nothing else may begin a run there meanwhile.
///
/// # Errors
/// When something that is left cannot be removed.
fn sweep(base: &Path) -> Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(base).with_context(|| format!("cannot read {}", base.display()))? {
        let path = entry?.path();
        if !path.is_dir() || is_held(&path) {
            continue;
        }
        end_processes(&path);
        remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        swept += 1;
    }
    Ok(swept)
}

/// Whether the run lives: one whose lock is gone was being removed.
fn is_held(path: &Path) -> bool {
    let lock = File::open(path.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Ends the servers of a dead run. The path is of that run alone, so what names it is its own.
fn end_processes(path: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let mark = path.as_os_str().as_encoded_bytes();
    for entry in processes.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let names_it = words.windows(mark.len()).any(|part| part == mark);
        if names_it && pid != rustix::process::getpid() {
            // It may have ended by itself.
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for mount in below.filter(|mount| Path::new(mount).starts_with(path)) {
        run("umount", ["--lazy", mount])?;
    }
    // A server that is just dying may still write.
    let mut removed = fs::remove_dir_all(path);
    for _ in 0..3 {
        if removed.is_ok() || !path.exists() {
            return Ok(());
        }
        removed = fs::remove_dir_all(path);
    }
    Ok(removed?)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::moment::until;

    #[test]
    fn dead_runs_are_removed_and_living_ones_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let living = Scratch::make(base.path()).unwrap();
        let dead = base.path().join("run-0-0");
        fs::create_dir_all(dead.join("node-1")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("node-1/LOG"), "left").unwrap();
        assert_eq!(sweep(base.path()).unwrap(), 1);
        assert!(!dead.exists() && living.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_that_a_dead_run_has_left_is_ended() {
        let base = tempfile::tempdir().unwrap();
        let dead = base.path().join("run-0-1");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let mut left = Command::new("sh")
            .args(["-c", "read forever", "sh"])
            .arg(dead.join("node-1.toml"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it is the shell, its command line is ours.
        let named = || {
            let words = fs::read(format!("/proc/{}/cmdline", left.id())).unwrap();
            words.starts_with(b"sh\0").then_some(())
        };
        until(std::time::Duration::from_secs(10), named).unwrap();
        assert_eq!(sweep(base.path()).unwrap(), 1);
        assert!(!left.wait().unwrap().success());
    }
}
