//! File work of seconds (hashing, checkpoints, copying) beside the asynchronous tasks.

use crate::error::StorageError;

/// Where such work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// On the runtime's pool for blocking work.
    Pool,
    /// In place: for tests and simulation, where threads would make runs differ.
    Inline,
}

impl Blocking {
    /// Runs `work` and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        match self {
            Self::Inline => work(),
            Self::Pool => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(ended) => {
                    let cause = std::io::Error::other(ended.to_string());
                    Err(StorageError::io("run blocking storage work", &cause))
                }
            },
        }
    }
}
