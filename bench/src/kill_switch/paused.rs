//! A server that is stopped by SIGSTOP for as long as this value lives.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// How long the kernel may take.
const KERNEL: Duration = Duration::from_secs(5);

/// See the file.
pub(super) struct Paused {
    pid: u32,
}

impl Paused {
    /// Stops a process; it stands still when this returns.
    ///
    /// # Errors
    /// When the kernel does not say that it is stopped.
    pub(super) fn stop(pid: u32) -> Result<Self> {
        signal("STOP", pid)?;
        let paused = Self { pid };
        let deadline = Instant::now() + KERNEL;
        while !is_stopped(pid)? {
            ensure!(Instant::now() < deadline, "process {pid} does not stop");
            std::thread::yield_now();
        }
        Ok(paused)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // A process that is gone needs no signal; one that stays stopped fails what comes next.
        signal("CONT", self.pid).ok();
    }
}

fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    let status = status.context("cannot run kill")?;
    ensure!(status.success(), "kill -s {name} {pid}: {status}");
    Ok(())
}

fn is_stopped(pid: u32) -> Result<bool> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name before it is in parentheses and may hold anything.
    let state = text.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    Ok(state == Some('T'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_still_and_goes_on() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let paused = Paused::stop(child.id()).unwrap();
        assert!(is_stopped(child.id()).unwrap());
        drop(paused);
        let deadline = Instant::now() + KERNEL;
        while is_stopped(child.id()).unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Paused::stop(u32::MAX).is_err());
    }
}
