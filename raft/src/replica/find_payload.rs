//! Searches the files of this node for a payload that was destroyed.

use std::path::PathBuf;

use tokio::time::Instant;

use super::Replica;
use super::error::ReadError;
use crate::domain::payload_mark::PayloadMarks;
use crate::error::StorageError;
use crate::store::{FileReport, FileSearch};

impl Replica {
    /// Looks into every file of the data directory for the payload with these marks. Reads all of
    /// them, beside everything else; asks nobody else.
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when that takes too long, [`ReadError::QueueFull`] while another
    /// search is made.
    pub async fn find_payload(
        &self,
        marks: PayloadMarks,
        deadline: Instant,
    ) -> Result<Vec<FileReport>, ReadError> {
        let _turn = self.0.searching.try_lock().map_err(|_held| ReadError::QueueFull)?;
        let root: PathBuf = self.0.config.data_dir.clone();
        let searching = tokio::task::spawn_blocking(move || {
            FileSearch::new(&root, &marks).run(&|| Instant::now() < deadline)
        });
        match searching.await {
            Ok(found) => found.ok_or(ReadError::Deadline),
            Err(panic) => Err(StorageError::io("search the files", &panic.into()).into()),
        }
    }
}
