//! How the process ends: the way for a fault anywhere to choose its exit code.
//!
//! Promises: the first fault raised decides the code; later ones are logged and change nothing.

use std::sync::Arc;

pub use lockbox_core::ExitCode;
use tokio::sync::watch;

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// What the process exits with.
    pub code: ExitCode,
    /// One sentence for a person.
    pub reason: String,
}

/// Ends the process from anywhere: `main` waits on it, whoever meets a fault raises it.
#[derive(Debug, Clone)]
pub struct FatalExit {
    raised: Arc<watch::Sender<Option<Fatal>>>,
}

impl FatalExit {
    /// Nothing raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self { raised: Arc::new(watch::Sender::new(None)) }
    }

    /// Asks for the end of the process. The first call decides the code.
    pub fn raise(&self, code: ExitCode, reason: impl Into<String>) {
        let fatal = Fatal { code, reason: reason.into() };
        tracing::error!(code = code.code(), reason = %fatal.reason, "the process must stop");
        self.raised.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(fatal);
            }
            first
        });
    }

    /// What has been raised, if anything.
    #[must_use]
    pub fn raised(&self) -> Option<Fatal> {
        self.raised.borrow().clone()
    }

    /// Waits until something is raised.
    pub async fn wait(&self) -> Fatal {
        let mut receiver = self.raised.subscribe();
        loop {
            if let Some(fatal) = receiver.borrow_and_update().clone() {
                return fatal;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`, which outlives this call.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for FatalExit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_fault_decides() {
        let fatal = FatalExit::new();
        assert_eq!(fatal.raised(), None);
        fatal.raise(ExitCode::DiskFull, "disk full");
        fatal.raise(ExitCode::Internal, "later");
        assert_eq!(fatal.wait().await.code, ExitCode::DiskFull);
        assert_eq!(fatal.raised().map(|f| f.reason), Some("disk full".to_owned()));
    }
}
