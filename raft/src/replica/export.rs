//! Copying the whole state out of a replica that runs.

use tokio::time::Instant;

use super::Replica;
use super::error::ReadError;
use crate::error::StorageError;
use crate::state::tables::{self, DestroyedSince};
use crate::store::ExportSink;

impl Replica {
    /// Gives every row of one view to a sink, and the sink back. The view reflects everything that
    /// was acknowledged before this call; with `stale`, what this node has, for when nobody leads.
    /// Writes go on meanwhile.
    ///
    /// # Errors
    /// [`ReadError`] before the first row, [`ReadError::QueueFull`] while another copy is made;
    /// inside, the sink's own error.
    pub async fn export<S>(
        &self,
        mut sink: S,
        stale: bool,
        deadline: Instant,
    ) -> Result<Result<S, S::Error>, ReadError>
    where
        S: ExportSink + Send + 'static,
        S::Error: Send,
    {
        let _turn = self.0.exporting.try_lock().map_err(|_held| ReadError::QueueFull)?;
        if !stale {
            self.pass_barrier(deadline).await?;
        }
        let state = self.0.state.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let copied = state.export(&mut sink);
            copied.map(|()| sink)
        });
        match copying.await {
            Ok(copied) => Ok(copied),
            Err(panic) => Err(StorageError::io("copy the state", &panic.into()).into()),
        }
    }

    /// What was destroyed after the first `done` erasures, as everything acknowledged before this
    /// call has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn destroyed_since(
        &self,
        done: u64,
        deadline: Instant,
    ) -> Result<DestroyedSince, ReadError> {
        self.pass_barrier(deadline).await?;
        let state = self.0.state.clone();
        let looking = tokio::task::spawn_blocking(move || {
            state.read(|view| tables::destroyed_since(view, done))
        });
        match looking.await {
            Ok(found) => Ok(found??),
            Err(panic) => Err(StorageError::io("list destructions", &panic.into()).into()),
        }
    }
}
