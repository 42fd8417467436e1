//! How a server process waits and ends: a signal or a fault, then an orderly way down.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::confinement::{confine_directory, confine_process, lock_memory};
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::file_limit::raise_file_limit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::failure::{Exit, Failure};
use crate::server::NodeDeps;

/// How long the tasks that are left may take at the end.
const TASKS_GRACE: Duration = Duration::from_secs(1);
/// How long their threads may take after that: one that a broken disk holds would never end.
const THREADS_GRACE: Duration = Duration::from_secs(1);

/// How long an orderly end may take. What it waits for has bounds of its own that come to less;
/// only a disk that does not answer has none, and nobody is to wait for that.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A server process: its tasks, its signals and the fault that may end it.
pub(crate) struct Process {
    /// Runs and joins the tasks.
    pub(crate) tasks: Tasks,
    fatal: FatalExit,
    terminate: Signal,
    interrupt: Signal,
}

impl Process {
    /// Takes over the process's signals.
    pub(crate) fn new() -> Result<Self, Failure> {
        let fatal = FatalExit::new();
        let on = |kind| signal(kind).map_err(|error| Failure::new(Exit::Internal, error));
        Ok(Self {
            tasks: Tasks::new(fatal.clone()),
            fatal,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    /// What a node takes from this process.
    pub(crate) fn node_deps(&self) -> Result<NodeDeps, Failure> {
        let metrics = Metrics::new(Prefix::Lockbox);
        Ok(NodeDeps {
            tasks: self.tasks.clone(),
            metrics: metrics.map_err(|error| Failure::new(Exit::Internal, error))?,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
        })
    }

    /// Waits for a signal or a fault.
    pub(crate) async fn until_told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("asked to stop"),
            _ = self.interrupt.recv() => tracing::info!("asked to stop"),
            _ = self.fatal.wait() => {}
        }
    }

    /// Joins the tasks; the first fault, if there was one, is what the process exits with.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        if let Err(left) = self.tasks.shutdown(TASKS_GRACE).await {
            tracing::warn!(%left, "the end was not orderly");
        }
        match self.fatal.raised() {
            None => Ok(()),
            Some(fatal) => Err(Failure::server(fatal.code, fatal.reason)),
        }
    }
}

/// Stops a server, and gives up when it takes too long: what was acknowledged is on the disk, and
/// the next start finds it there, as after a crash.
pub(crate) async fn in_time(stop: impl Future<Output = ()>) -> Result<(), Failure> {
    tokio::time::timeout(STOP_MAX, stop).await.map_err(|_elapsed| {
        let seconds = STOP_MAX.as_secs();
        let sentence = format_args!(
            "it did not stop within {seconds} seconds, so it ends as it is: the disk does not \
             answer"
        );
        Failure::server(ExitCode::Stalled, sentence)
    })
}

/// Keeps others on the machine out of this process and of what it will write.
pub(crate) fn confine() -> Result<(), Failure> {
    confine_process().map_err(|error| {
        Failure::server(ExitCode::Internal, format_args!("cannot forbid core files: {error}"))
    })
}

/// Keeps this process's memory out of the swap, which its configuration asks for.
pub(crate) fn lock() -> Result<(), Failure> {
    lock_memory().map_err(|error| {
        let sentence = format_args!("cannot lock the memory, as lock_memory asks for: {error}");
        Failure::server(ExitCode::Usage, sentence)
    })
}

/// Takes as many open files as the system gives: each client's connection is one.
pub(crate) fn raise_files() -> Result<(), Failure> {
    raise_file_limit().map_err(|error| {
        let sentence = format_args!("cannot raise the limit on open files: {error}");
        Failure::server(ExitCode::Internal, sentence)
    })
}

/// Closes a server's data to other users.
pub(crate) fn confine_data(directory: &Path) -> Result<(), Failure> {
    confine_directory(directory).map_err(|error| {
        let sentence = format_args!("cannot close {} to other users: {error}", directory.display());
        Failure::server(ExitCode::Storage, sentence)
    })
}

/// Runs a server to its end. Threads that a disk holds, as that of the audit, are left to the end
/// of the process.
pub(crate) fn run<R>(server: impl Future<Output = R>) -> Result<R, Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_timeout(THREADS_GRACE);
    Ok(ended)
}

/// The runtime of a server.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::server(ExitCode::Internal, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_never_ends_is_given_up() {
        assert_eq!(in_time(tokio::time::sleep(STOP_MAX / 2)).await, Ok(()));
        let given_up = in_time(std::future::pending()).await.unwrap_err();
        assert_eq!(given_up.exit().code(), ExitCode::Stalled.code());
        assert!(given_up.to_string().contains("the disk does not answer"), "{given_up}");
    }
}
