//! What a run needs of whoever breaks its cluster.

use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::history::recorder::Recorder;

/// Breaks a cluster and mends it. Works on a thread of its own and may block.
pub trait Trouble: Send {
    /// Breaks one thing after another until there is nothing left to do or it is told to stop, and
    /// mends everything before it returns, whatever happens. Records what it does.
    ///
    /// # Errors
    /// When the harness fails, or the cluster does not come back.
    fn rage(self: Box<Self>, recorder: &Arc<Recorder>, stop: &CancellationToken) -> Result<()>;
}
