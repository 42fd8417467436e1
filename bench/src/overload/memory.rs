//! The memory of processes while something runs.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whose memory is watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watcher<'a> {
    pids: &'a [u32],
}

impl<'a> Watcher<'a> {
    pub(super) const fn new(pids: &'a [u32]) -> Self {
        Self { pids }
    }

    /// What `work` returns, and the largest resident memory of one of the processes meanwhile, in
    /// bytes; nothing when none is watched.
    ///
    /// # Errors
    /// When a process is gone.
    pub(super) async fn during<R>(self, work: impl Future<Output = R>) -> Result<(R, Option<u64>)> {
        let mut peak = self.largest()?;
        let mut work = Box::pin(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok((done, peak.max(self.largest()?))),
                () = tokio::time::sleep(LOOK_EVERY) => peak = peak.max(self.largest()?),
            }
        }
    }

    fn largest(self) -> Result<Option<u64>> {
        let mut largest = None;
        for pid in self.pids {
            largest = largest.max(Some(resident(*pid)?));
        }
        Ok(largest)
    }
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("process {pid} is not there"))?;
    parse(&text).with_context(|| format!("{path} has another form"))
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_in_kilobytes() {
        assert_eq!(parse("Name:\ta\nVmRSS:\t    12 kB\nThreads:\t1\n"), Some(12 * 1024));
        assert_eq!(parse("Name:\ta\n"), None);
    }

    #[tokio::test]
    async fn this_process_has_some_and_a_missing_one_is_told() {
        let own = [std::process::id()];
        let (done, peak) = Watcher::new(&own).during(async { 7 }).await.unwrap();
        assert_eq!(done, 7);
        assert!(peak.unwrap() > 0);
        assert!(Watcher::new(&[u32::MAX]).during(async {}).await.is_err());
        assert_eq!(Watcher::new(&[]).during(async {}).await.unwrap(), ((), None));
    }
}
