//! The streams that are open: so many at most, of each subject too, told when the node stops, and
//! joined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::Subject;
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Streams that one node keeps open. Each costs a look at the state when something was applied.
const STREAMS_MAX: usize = 512;
/// Those of one subject, so that nobody takes them all.
const STREAMS_OF_SUBJECT_MAX: usize = 32;
/// How long a client waits before it asks for one again.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The streams of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Streams {
    slots: Arc<Semaphore>,
    taken: Taken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How many streams each subject has open; those that have none are not in it.
type Taken = Arc<Mutex<HashMap<Subject, usize>>>;

impl Default for Streams {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(STREAMS_MAX)),
            taken: Taken::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

/// The right to keep one stream open, given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    /// Given back with the slot.
    _permit: OwnedSemaphorePermit,
    subject: Subject,
    taken: Taken,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = taken.get_mut(&self.subject) {
            *open -= 1;
            if *open == 0 {
                taken.remove(&self.subject);
            }
        }
    }
}

impl Streams {
    /// How many are open, and how many may be.
    #[must_use]
    pub fn open(&self) -> (usize, usize) {
        (STREAMS_MAX.saturating_sub(self.slots.available_permits()), STREAMS_MAX)
    }

    /// Takes a slot for a stream of this subject.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when all are taken, or as many as one subject may have.
    pub fn slot(&self, subject: &Subject) -> Result<Slot, ApiError> {
        let permit = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_full| full("this node keeps no more streams open"))?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let open = taken.entry(subject.clone()).or_default();
        if *open >= STREAMS_OF_SUBJECT_MAX {
            return Err(full("this node keeps no more streams of one subject open"));
        }
        *open += 1;
        drop(taken);
        let taken = Arc::clone(&self.taken);
        Ok(Slot { _permit: permit, subject: subject.clone(), taken })
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

fn full(message: &'static str) -> ApiError {
    let full = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: FULL_RETRY });
    ApiError::new(full, message, Outcome::NotProposed)
}

#[cfg(test)]
mod tests {
    use lockbox_core::SubjectKind;

    use super::*;

    fn robot(number: usize) -> Subject {
        Subject { kind: SubjectKind::ServiceAccount, id: format!("robot-{number}") }
    }

    #[test]
    fn one_subject_leaves_streams_to_the_others_and_gives_its_own_back() {
        let streams = Streams::default();
        let mut own: Vec<_> =
            (0..STREAMS_OF_SUBJECT_MAX).map(|_| streams.slot(&robot(0)).unwrap()).collect();
        let refused = streams.slot(&robot(0)).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::ResourceExhausted(_)), "{refused:?}");
        let other = streams.slot(&robot(1)).unwrap();
        own.pop();
        drop(streams.slot(&robot(0)).unwrap());
        // Nothing is kept of who has no stream.
        drop((own, other));
        assert!(streams.taken.lock().unwrap().is_empty());
        assert_eq!(streams.slots.available_permits(), STREAMS_MAX);
    }

    #[test]
    fn there_are_no_more_streams_than_a_node_keeps() {
        let streams = Streams::default();
        let all: Vec<_> = (0..STREAMS_MAX)
            .map(|n| streams.slot(&robot(n / STREAMS_OF_SUBJECT_MAX)).unwrap())
            .collect();
        assert!(streams.slot(&robot(STREAMS_MAX)).is_err());
        drop(all);
        assert!(streams.slot(&robot(STREAMS_MAX)).is_ok());
    }
}
