//! The namespaces that a whole run lives in: network, processes and mounts of its own.
//!
//! Promises: whatever the harness starts ends with it, also when it is killed, because the first
//! process of the process namespace is the harness itself; no address outside is reachable; no
//! mount of a run is seen outside. The outer process passes signals on and waits.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::program::run;

/// Set for the inner process.
const VARIABLE: &str = "LOCKBOX_JEPSEN_ENCLOSED";

/// Whether this process is inside.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(VARIABLE).is_some() && getpid() == Pid::INIT
}

/// The program that runs this one inside, with the same arguments.
///
/// # Errors
/// When the path of this program is not known.
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new("setpriv");
    command
        // Dies with us …
        .args(["--pdeathsig", "KILL", "--"])
        // … and takes its child along, with which the namespaces end.
        .args(["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"])
        .arg("--")
        .arg(program)
        .args(arguments)
        .env(VARIABLE, "1")
        // Signals of the terminal come to us alone, and we pass them on once.
        .process_group(0);
    Ok(command)
}

/// Prepares the inner process: a place for the names of its network namespaces, and loopback.
///
/// # Errors
/// Outside, or when the machine refuses.
pub fn prepare() -> Result<()> {
    if !is_inside() {
        bail!("this is for the inside of the enclosure only");
    }
    fs::create_dir_all("/run/netns").context("cannot make /run/netns")?;
    run("mount", ["-t", "tmpfs", "-o", "mode=755", "lockbox-jepsen", "/run/netns"])?;
    run("ip", ["link", "set", "lo", "up"])?;
    Ok(())
}

/// Runs the inner process to its end, passing signals on to it.
///
/// # Errors
/// When it cannot be started or waited for.
pub fn supervise(mut command: Command) -> Result<ExitStatus> {
    // One thread: the inner process is told of our death when the thread that made it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut ended = signal(SignalKind::child())?;
        let mut child = command.spawn().context("cannot start setpriv and unshare")?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            tokio::select! {
                _ = interrupt.recv() => pass_on(&child, Signal::INT),
                _ = terminate.recv() => pass_on(&child, Signal::TERM),
                _ = ended.recv() => {}
            }
        }
    })
}

/// Tells the inner process, which is the one child of `unshare`.
fn pass_on(unshare: &Child, signal: Signal) {
    let id = unshare.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let inner = children
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse::<i32>().ok().and_then(Pid::from_raw));
    if let Some(inner) = inner {
        // It may have ended this moment.
        kill_process(inner, signal).ok();
    }
}

/// The exit code that says the same.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
