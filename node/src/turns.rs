//! Whose turn it is: on one node, merges onto the newest version of a secret go one after another,
//! in the order in which they were asked for (`contract §2.6`: serialising is better than
//! ABORTED).
//!
//! Callers of other nodes still race with the one whose turn it is, and `apply` decides. Nothing
//! rests on this for correctness; it keeps a crowd from merging what only one of them can store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use lockbox_core::SecretId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

/// A queue for each secret that somebody adds a version to at the moment: no more queues than
/// calls under way.
type Queues = Mutex<HashMap<SecretId, Arc<Semaphore>>>;

/// The turns of one node. Clones share them.
#[derive(Clone, Default)]
pub struct Turns(Arc<Queues>);

/// The caller's turn; the next one's begins when it is dropped.
pub struct Turn {
    /// Whether others went first: what the caller knew of the secret is out of date.
    pub waited: bool,
    _place: Place,
}

/// A place in a queue. Leaves it when dropped, and takes an empty queue away.
struct Place {
    queues: Arc<Queues>,
    secret: SecretId,
    queue: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for the caller's turn; `None` when the deadline passed before it.
    pub async fn take(&self, secret: &SecretId, deadline: Instant) -> Option<Turn> {
        let queue = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = queues.entry(secret.clone());
            Arc::clone(queue.or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let mut place = Place {
            queues: Arc::clone(&self.0),
            secret: secret.clone(),
            queue: Some(Arc::clone(&queue)),
            permit: None,
        };
        let waited = match Arc::clone(&queue).try_acquire_owned() {
            Ok(permit) => {
                place.permit = Some(permit);
                false
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                let turn = tokio::time::timeout_at(deadline, queue.acquire_owned()).await;
                // Nobody closes a queue.
                place.permit = Some(turn.ok()?.ok()?);
                true
            }
        };
        Some(Turn { waited, _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDER: behind the lock, under which places are made: what is counted then is only the
        // map's own and those of places that are still held.
        self.permit.take();
        self.queue.take();
        if let Entry::Occupied(queue) = queues.entry(self.secret.clone())
            && Arc::strong_count(queue.get()) == 1
        {
            queue.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn secret(id: &str) -> SecretId {
        SecretId::parse(id).unwrap()
    }

    fn queues(turns: &Turns) -> usize {
        turns.0.lock().unwrap().len()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn turns_come_in_order_and_leave_nothing() {
        let turns = Turns::default();
        let first = turns.take(&secret("a"), soon()).await.unwrap();
        assert!(!first.waited);
        let other = turns.take(&secret("b"), soon()).await.unwrap();
        assert!(!other.waited);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..3 {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            waiting.spawn(async move {
                let turn = turns.take(&secret("a"), soon()).await.unwrap();
                assert!(turn.waited);
                order.lock().unwrap().push(number);
            });
            // One thread: it runs until it waits.
            tokio::task::yield_now().await;
        }
        assert!(order.lock().unwrap().is_empty());
        drop(first);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert_eq!(queues(&turns), 1);
        drop(other);
        assert_eq!(queues(&turns), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_leaves_the_queue() {
        let turns = Turns::default();
        let first = turns.take(&secret("a"), soon()).await.unwrap();
        let by = Instant::now() + Duration::from_secs(1);
        assert!(turns.take(&secret("a"), by).await.is_none());
        drop(first);
        assert_eq!(queues(&turns), 0);
        assert!(!turns.take(&secret("a"), soon()).await.unwrap().waited);
    }
}
