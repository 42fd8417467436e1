//! What a run needs of whoever breaks its cluster.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::history::recorder::Recorder;

/// Breaks a cluster and mends it. Works on a thread of its own and may block.
pub trait Trouble: Send {
    /// Breaks one thing after another, and mends each when its time is over, until there is nothing
    /// left to do or it is told to stop. Records what it does.
    ///
    /// # Errors
    /// When the harness fails; what is broken stays so until [`Self::heal`].
    fn rage(&mut self, recorder: &Recorder, stop: &CancellationToken) -> Result<()>;

    /// Mends whatever is still broken. Called at least once, also after a failure.
    ///
    /// # Errors
    /// When something cannot be mended.
    fn heal(&mut self, recorder: &Recorder) -> Result<()>;
}
