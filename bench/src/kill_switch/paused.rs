//! A server that is stopped by SIGSTOP for as long as a value lives.
//!
//! To `kill` a number can be more than one process: 0 is its own group, -1 is everybody, any other
//! negative one is a group; and 1 is the parent of all. [`Pid`] can hold none of them, and nothing
//! else is sent a signal here.

use std::fmt;
use std::fs;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// How long the kernel may take.
const KERNEL: Duration = Duration::from_secs(5);
/// The greatest id that Linux gives (`PID_MAX_LIMIT`).
const PID_MAX: u32 = 1 << 22;
/// Where `/proc/<pid>/stat` has the beginning of the process, counted from the field behind the
/// state.
const STAT_BEGAN: usize = 18;

/// The id of one process that may be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(u32);

impl FromStr for Pid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Who stops itself does not go on by itself.
        let is_one = |id: &u32| (2..=PID_MAX).contains(id) && *id != std::process::id();
        let id = text.parse::<u32>().ok().filter(is_one);
        id.map(Self).ok_or_else(|| format!("{text:?} is the id of no server"))
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A running server, which is another one than whoever gets its id later.
#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    began: u64,
}

impl Server {
    /// Finds the process of this id.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(pid: Pid) -> Result<Self> {
        Ok(Self { pid, began: look(pid)?.began })
    }

    fn is_stopped(&self) -> Result<bool> {
        Ok(look(self.pid)?.state == 'T')
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid;
        ensure!(look(pid)?.began == self.began, "process {pid} is another one by now");
        let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        let status = status.context("cannot run kill")?;
        ensure!(status.success(), "kill -s {name} {pid}: {status}");
        Ok(())
    }
}

/// See the file.
pub(super) struct Paused<'a> {
    server: &'a Server,
}

impl<'a> Paused<'a> {
    /// Stops a server; it stands still when this returns.
    ///
    /// # Errors
    /// When it is gone, or the kernel does not say that it is stopped.
    pub(super) fn stop(server: &'a Server) -> Result<Self> {
        server.signal("STOP")?;
        let paused = Self { server };
        let deadline = Instant::now() + KERNEL;
        while !server.is_stopped()? {
            ensure!(Instant::now() < deadline, "process {} does not stop", server.pid);
            std::thread::yield_now();
        }
        Ok(paused)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // A process that is gone needs no signal; one that stays stopped fails what comes next.
        self.server.signal("CONT").ok();
    }
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    state: char,
    /// When it began, in ticks since boot.
    began: u64,
}

fn look(pid: Pid) -> Result<Look> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("process {pid} is not there"))?;
    parse(&text).with_context(|| format!("{path} has another form"))
}

fn parse(text: &str) -> Option<Look> {
    // The name before it is in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let began = fields.nth(STAT_BEGAN)?.parse().ok()?;
    Some(Look { state, began })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_still_and_goes_on() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let server = Server::find(child.id().to_string().parse().unwrap()).unwrap();
        let paused = Paused::stop(&server).unwrap();
        assert!(server.is_stopped().unwrap());
        drop(paused);
        let deadline = Instant::now() + KERNEL;
        while server.is_stopped().unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Paused::stop(&server).is_err(), "it is gone");
    }

    /// Asks the type alone: whoever signals such an id stops the machine.
    #[test]
    fn what_names_more_than_one_process_is_refused() {
        let own = std::process::id().to_string();
        let beyond = (PID_MAX + 1).to_string();
        for text in ["", "0", "1", "-1", "-2", "4294967295", "2 3", "x", &own, &beyond] {
            assert!(text.parse::<Pid>().is_err(), "{text:?}");
        }
        assert_eq!("2".parse::<Pid>(), Ok(Pid(2)));
        assert_eq!(PID_MAX.to_string().parse::<Pid>(), Ok(Pid(PID_MAX)));
    }

    /// Nothing is sent: it is told apart before.
    #[test]
    fn a_process_that_has_got_the_id_of_another_one_is_left_alone() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut server = Server::find(child.id().to_string().parse().unwrap()).unwrap();
        server.began += 1;
        let refused = Paused::stop(&server).err().unwrap().to_string();
        assert!(refused.ends_with("is another one by now"), "{refused}");
        server.began -= 1;
        assert!(!server.is_stopped().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_is_skipped() {
        let text = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse(text), Some(Look { state: 'S', began: 5 }));
        assert_eq!(parse("7 (a) S 1"), None);
    }
}
