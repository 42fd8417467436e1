//! The streams that are open: so many at most, told when the node stops, and joined.

use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Streams that one node keeps open. Each costs a look at the state when something was applied.
const STREAMS_MAX: usize = 512;
/// How long a client waits before it asks for one again.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The streams of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Streams {
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// The right to keep one stream open.
#[derive(Debug)]
pub struct Slot {
    /// Given back with the slot.
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// Takes a slot.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when all are taken.
    pub fn slot(&self) -> Result<Slot, ApiError> {
        let taken = Arc::clone(&self.slots).try_acquire_owned();
        taken.map(|permit| Slot { _permit: permit }).map_err(|_full| {
            let full = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: FULL_RETRY });
            ApiError::new(full, "this node keeps no more streams open", Outcome::NotProposed)
        })
    }

    /// Runs what feeds a stream, which ends when this token is cancelled.
    pub fn run<F>(&self, slot: Slot, feed: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let feed = feed(self.stop.clone());
        drop(self.tasks.spawn(async move {
            feed.await;
            drop(slot);
        }));
    }

    /// Tells all streams to end and waits until they have, but not longer than this.
    pub async fn end(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "streams did not end in time");
        }
    }
}
