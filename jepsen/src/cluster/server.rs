//! One server as a process: started, killed, stopped, paused, and each time looked at whether it
//! is so.
//!
//! Promises: a fault of a process is told as done only when the kernel says so (`/proc`), and no
//! process outlives this value.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::part::Part;
use crate::moment::until;

/// How long the kernel may take for what it does at once.
const KERNEL: Duration = Duration::from_secs(5);
/// How long a server may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(20);

/// What a server's process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// There is none.
    Down,
    /// It runs.
    Runs,
    /// It is stopped by SIGSTOP.
    Paused,
}

/// A server, running or not.
pub struct Server {
    part: Part,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    paused: bool,
    /// What the last process ended with by itself.
    exit_code: Option<i32>,
}

impl Server {
    /// One that does not run yet; what it will say is appended to the log.
    #[must_use]
    pub(crate) fn new(part: Part, log: PathBuf) -> Self {
        Self { part, log, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it says what it does.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it, and does not wait until it is ready.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub(crate) fn start(&self, mut command: Command) -> Result<()> {
        let mut state = self.lock();
        if life(&mut state)? != Life::Down {
            bail!("{} runs already", self.part);
        }
        let output = OpenOptions::new().create(true).append(true).open(&self.log);
        let output = output.with_context(|| format!("cannot open {}", self.log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", self.part))?;
        *state = State { child: Some(child), ..State::default() };
        Ok(())
    }

    /// What its process does.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn life(&self) -> Result<Life> {
        life(&mut self.lock())
    }

    /// What its last process exited with. None while it runs, when it was killed, and when a signal
    /// of its own ended it.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let mut state = self.lock();
        // When the kernel does not say whether it has ended, it is taken to run.
        life(&mut state).ok();
        state.exit_code
    }

    /// Its process id, while there is a process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.lock().child.as_ref().map(Child::id)
    }

    /// Ends it with SIGKILL. False when it did not run.
    ///
    /// # Errors
    /// When the process is still there afterwards.
    pub fn kill(&self) -> Result<bool> {
        let mut state = self.lock();
        if life(&mut state)? == Life::Down {
            return Ok(false);
        }
        let Some(mut child) = state.child.take() else { return Ok(false) };
        state.paused = false;
        child.kill().with_context(|| format!("cannot kill {}", self.part))?;
        child.wait()?;
        self.must_be_gone(child.id())?;
        Ok(true)
    }

    /// Ends it with SIGTERM, as an operator would, and with SIGKILL when that does not help.
    /// False when it did not run, or did not end by itself.
    ///
    /// # Errors
    /// When the process is still there afterwards.
    pub fn stop(&self) -> Result<bool> {
        {
            let mut state = self.lock();
            if life(&mut state)? != Life::Runs {
                return Ok(false);
            }
            let Some(child) = &state.child else { return Ok(false) };
            send(child, Signal::TERM)?;
        }
        // Not under the lock: others go on looking at it.
        let ended = until(GRACE, || matches!(self.life(), Ok(Life::Down)).then_some(()));
        self.kill()?;
        Ok(ended.is_some())
    }

    fn must_be_gone(&self, pid: u32) -> Result<()> {
        if Path::new(&format!("/proc/{pid}")).exists() {
            bail!("{} is still there as process {pid}", self.part);
        }
        Ok(())
    }

    /// Stops it with SIGSTOP. False when it did not run.
    ///
    /// # Errors
    /// When the kernel does not say that it is stopped.
    pub fn pause(&self) -> Result<bool> {
        let mut state = self.lock();
        if life(&mut state)? != Life::Runs {
            return Ok(false);
        }
        let Some(child) = &state.child else { return Ok(false) };
        send(child, Signal::STOP)?;
        let stopped = until(KERNEL, || (process_state(child.id()) == Some('T')).then_some(()));
        stopped.with_context(|| format!("{} does not stop at SIGSTOP", self.part))?;
        state.paused = true;
        Ok(true)
    }

    /// Lets it run again. False when it was not paused.
    ///
    /// # Errors
    /// When the kernel says that it is still stopped.
    pub fn resume(&self) -> Result<bool> {
        let mut state = self.lock();
        if life(&mut state)? != Life::Paused {
            return Ok(false);
        }
        let Some(child) = &state.child else { return Ok(false) };
        send(child, Signal::CONT)?;
        let runs = until(KERNEL, || (process_state(child.id()) != Some('T')).then_some(()));
        runs.with_context(|| format!("{} does not go on at SIGCONT", self.part))?;
        state.paused = false;
        Ok(true)
    }

    /// The last lines that it said.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failure leaves a process that ends with the enclosure.
        self.kill().ok();
    }
}

fn life(state: &mut State) -> Result<Life> {
    let Some(child) = &mut state.child else { return Ok(Life::Down) };
    if let Some(status) = child.try_wait()? {
        *state = State { exit_code: status.code(), ..State::default() };
        return Ok(Life::Down);
    }
    Ok(if state.paused { Life::Paused } else { Life::Runs })
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

/// The letter for what a process does.
fn process_state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    status.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_what_the_kernel_says() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::new(Part::Node(1), directory.path().join("log"));
        assert_eq!(server.life().unwrap(), Life::Down);
        assert!(!server.kill().unwrap() && !server.pause().unwrap());

        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; exec sleep 1000"]);
        server.start(command).unwrap();
        assert!(server.start(Command::new("true")).is_err(), "it runs already");
        let pid = server.pid().unwrap();
        assert!(server.pause().unwrap());
        assert_eq!((server.life().unwrap(), process_state(pid)), (Life::Paused, Some('T')));
        assert!(server.resume().unwrap() && !server.resume().unwrap());
        assert_eq!(server.life().unwrap(), Life::Runs);
        assert!(server.pause().unwrap());
        assert!(server.kill().unwrap(), "a paused process can be killed");
        assert_eq!((server.life().unwrap(), process_state(pid)), (Life::Down, None));
        assert_eq!(server.exit_code(), None, "it said nothing");

        let mut command = Command::new("sh");
        command.args(["-c", "exit 11"]);
        server.start(command).unwrap();
        let gone = || (server.life().unwrap() == Life::Down).then_some(());
        until(KERNEL, gone).expect("a process that ends by itself is down");
        assert_eq!(server.exit_code(), Some(11));
    }

    #[test]
    fn one_that_is_told_to_stop_ends() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::new(Part::Kms, directory.path().join("log"));
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]);
        server.start(command).unwrap();
        until(KERNEL, || (server.last_words() == "up").then_some(())).unwrap();
        assert!(server.stop().unwrap());
        assert_eq!(server.life().unwrap(), Life::Down);
    }
}
