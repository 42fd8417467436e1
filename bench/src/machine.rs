//! What the kernel says of processors: who used them, and what was stolen.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Length of one tick of `/proc`: fixed at 1/100 s in Linux's interface to programs.
const TICK: Duration = Duration::from_millis(10);
/// Time in user mode in `/proc/<pid>/stat`, counted after the name in parentheses.
const STAT_UTIME: usize = 11;
/// Time in the kernel, likewise.
const STAT_STIME: usize = 12;

/// Processor time used since boot or since a process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// By the servers under load.
    pub servers: Duration,
    /// By this process.
    pub own: Duration,
    /// By everything on this machine.
    pub machine: Duration,
    /// Taken by the hypervisor for others.
    pub stolen: Duration,
}

impl Usage {
    /// Reads the counters.
    ///
    /// # Errors
    /// When a process is gone or `/proc` is not as expected.
    pub fn read(server_pids: &[u32]) -> Result<Self> {
        let mut servers = Duration::ZERO;
        for pid in server_pids {
            servers += process(&pid.to_string())?;
        }
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let (machine, stolen) = parse_machine(&text).context("/proc/stat has another form")?;
        Ok(Self { servers, own: process("self")?, machine, stolen })
    }

    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            servers: self.servers.saturating_sub(earlier.servers),
            own: self.own.saturating_sub(earlier.own),
            machine: self.machine.saturating_sub(earlier.machine),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }

    /// What neither the servers nor this process used.
    #[must_use]
    pub fn others(&self) -> Duration {
        self.machine.saturating_sub(self.servers + self.own)
    }
}

/// Processor time of one process, `self` or a number.
fn process(pid: &str) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("process {pid} is not there"))?;
    parse_process(&text).with_context(|| format!("{path} has another form"))
}

fn parse_process(text: &str) -> Option<Duration> {
    // The name may hold blanks and parentheses: what counts comes after the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(STAT_UTIME)? + ticks(STAT_STIME)?))
}

fn parse_machine(text: &str) -> Option<(Duration, Duration)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[user, nice, system, _idle, _io_wait, irq, soft_irq, stolen, ..] = ticks.as_slice() else {
        return None;
    };
    let time = |ticks: u64| Duration::from_millis(ticks * TICK.as_millis() as u64);
    Some((time(user + nice + system + irq + soft_irq), time(stolen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_is_skipped() {
        let text = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse_process(text), Some(Duration::from_secs(3)));
        assert_eq!(parse_process("7 (a"), None);
    }

    #[test]
    fn idle_and_stolen_time_are_not_used_time() {
        let text = "cpu  100 1 50 9999 70 2 7 40 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        let expected = (Duration::from_millis(1600), Duration::from_millis(400));
        assert_eq!(parse_machine(text), Some(expected));
        assert_eq!(parse_machine("intr 1"), None);
    }

    #[test]
    fn this_machine_can_be_read_and_a_missing_process_is_told() {
        let usage = Usage::read(&[std::process::id()]).unwrap();
        assert!(usage.machine > usage.own);
        assert!(Usage::read(&[u32::MAX]).is_err());
    }
}
