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
    pid: i32,
}

impl Paused {
    /// Stops a process; it stands still when this returns.
    ///
    /// # Errors
    /// When the kernel does not say that it is stopped.
    pub(super) fn stop(pid: u32) -> Result<Self> {
        let pid = one_process(pid)?;
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

/// The id as one that names a single process, and neither a group nor all that there are: to `kill`
/// 0 is its own group, and what does not fit is -1, which is everybody.
fn one_process(pid: u32) -> Result<i32> {
    let id = i32::try_from(pid).ok().filter(|id| *id > 1);
    id.with_context(|| format!("{pid} is the id of no server"))
}

fn signal(name: &str, pid: i32) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    let status = status.context("cannot run kill")?;
    ensure!(status.success(), "kill -s {name} {pid}: {status}");
    Ok(())
}

fn is_stopped(pid: i32) -> Result<bool> {
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
        let id = one_process(child.id()).unwrap();
        let paused = Paused::stop(child.id()).unwrap();
        assert!(is_stopped(id).unwrap());
        drop(paused);
        let deadline = Instant::now() + KERNEL;
        while is_stopped(id).unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the check alone: whoever signals such an id stops the machine.
    #[test]
    fn what_names_more_than_one_process_is_refused() {
        for pid in [0, 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            assert!(one_process(pid).is_err(), "{pid}");
        }
        assert_eq!(one_process(2).unwrap(), 2);
        assert_eq!(one_process((1 << 31) - 1).unwrap(), i32::MAX);
    }
}
