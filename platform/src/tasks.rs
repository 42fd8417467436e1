//! Supervision of tasks: every task has a name, a kind and an owner, and is joined at the end.
//!
//! Promises: a panic or an error of a critical task stops the process through [`FatalExit`]; one
//! of a background task is logged. The message of a panic is not logged here, for it may hold
//! anything. Refuses to know what the tasks do.

use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::{ExitCode, FatalExit};

/// What the end of a task by panic or error means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// The process cannot be right without it: stop.
    Critical,
    /// Its loss is logged and nothing else.
    Background,
}

/// Tasks were still running when the time to shut down was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} tasks were still running at the end of the shutdown time")]
pub struct StillRunning {
    /// How many.
    pub count: usize,
}

/// Starts tasks and joins them. Clones share the same set.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    fatal: FatalExit,
}

impl Tasks {
    /// An empty set whose critical tasks report to `fatal`.
    #[must_use]
    pub fn new(fatal: FatalExit) -> Self {
        Self { tracker: TaskTracker::new(), stop: CancellationToken::new(), fatal }
    }

    /// Where critical tasks report.
    #[must_use]
    pub const fn fatal(&self) -> &FatalExit {
        &self.fatal
    }

    /// Cancelled when [`Tasks::shutdown`] begins. Long tasks wait on it.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task on the runtime.
    pub fn spawn<E>(
        &self,
        kind: TaskKind,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Display + Send + 'static,
    {
        let fatal = self.fatal.clone();
        let supervised = async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            judge(kind, name, ended, &fatal);
        };
        drop(self.tracker.spawn(supervised));
    }

    /// Starts a task on a thread of its own, for work that blocks.
    pub fn spawn_blocking<E>(
        &self,
        kind: TaskKind,
        name: &'static str,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) where
        E: Display + Send + 'static,
    {
        let fatal = self.fatal.clone();
        let supervised = move || {
            let ended = catch_unwind(AssertUnwindSafe(work));
            judge(kind, name, ended, &fatal);
        };
        drop(self.tracker.spawn_blocking(supervised));
    }

    /// Cancels the token and waits for every task.
    ///
    /// # Errors
    /// [`StillRunning`] when tasks are left after `grace`; the caller exits anyway.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), StillRunning> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(grace, self.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => Err(StillRunning { count: self.tracker.len() }),
        }
    }
}

/// Decides what the end of a task means.
fn judge<E: Display>(
    kind: TaskKind,
    name: &'static str,
    ended: std::thread::Result<Result<(), E>>,
    fatal: &FatalExit,
) {
    let reason = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("task {name} failed: {error}"),
        Err(_panic) => format!("task {name} panicked"),
    };
    match kind {
        TaskKind::Critical => fatal.raise(ExitCode::Internal, reason),
        TaskKind::Background => tracing::error!(task = name, %reason, "background task ended"),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_critical_error_and_a_critical_panic_stop_the_process() {
        let tasks = Tasks::new(FatalExit::new());
        tasks.spawn(TaskKind::Critical, "failing", async { Err("no disk") });
        let fatal = tasks.fatal().wait().await;
        assert_eq!(fatal.code, ExitCode::Internal);
        assert_eq!(fatal.reason, "task failing failed: no disk");

        let tasks = Tasks::new(FatalExit::new());
        tasks.spawn_blocking(TaskKind::Critical, "panicking", || -> Result<(), Infallible> {
            std::panic::resume_unwind(Box::new("canary"))
        });
        let fatal = tasks.fatal().wait().await;
        assert_eq!(fatal.reason, "task panicking panicked");
    }

    #[tokio::test]
    async fn a_background_panic_stops_nothing() {
        let tasks = Tasks::new(FatalExit::new());
        tasks.spawn(TaskKind::Background, "panicking", async {
            std::panic::resume_unwind(Box::new("canary"));
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok::<(), Infallible>(())
        });
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(tasks.fatal().raised(), None);
    }

    #[tokio::test]
    async fn shutdown_cancels_joins_and_reports_what_is_left() {
        let tasks = Tasks::new(FatalExit::new());
        let stop = tasks.token();
        tasks.spawn(TaskKind::Critical, "waiting", async move {
            stop.cancelled().await;
            Ok::<(), Infallible>(())
        });
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, Ok(()));

        tasks.spawn(TaskKind::Critical, "stuck", std::future::pending::<Result<(), Infallible>>());
        let left = tasks.shutdown(Duration::from_millis(10)).await;
        assert_eq!(left, Err(StillRunning { count: 1 }));
    }
}
