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

/// Calls of one node that may be in one secret's queue, the one whose turn it is included. At a
/// millisecond or two for each turn, the last one waits for about half a second.
const PLACES_MAX: usize = 256;

/// The queue of a secret that somebody adds a version to at the moment.
#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    /// INVARIANT: as many as there are [`Place`]s; a queue without any is taken away.
    places: usize,
}

/// No more queues than calls under way.
type Queues = Mutex<HashMap<SecretId, Queue>>;

/// The turns of one node. Clones share them.
#[derive(Clone, Default)]
pub struct Turns(Arc<Queues>);

/// The caller's turn; the next one's begins when it is dropped.
#[derive(Debug)]
pub struct Turn {
    /// Whether others went first: what the caller knew of the secret is out of date.
    pub waited: bool,
    _place: Place,
}

/// Why there is no turn for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTurn {
    /// The queue is full: the caller does not wait at all.
    #[error("too many calls are adding versions to the secret")]
    Full,
    /// The deadline came first.
    #[error("other calls were adding versions to the secret")]
    Late,
}

/// A place in a queue. Leaves it when dropped, and takes an empty queue away.
#[derive(Debug)]
struct Place {
    queues: Arc<Queues>,
    secret: SecretId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for the caller's turn.
    ///
    /// # Errors
    /// [`NoTurn`]: at once when the queue is full.
    pub async fn take(&self, secret: &SecretId, deadline: Instant) -> Result<Turn, NoTurn> {
        let (mut place, turn) = self.enter(secret)?;
        let waited = match Arc::clone(&turn).try_acquire_owned() {
            Ok(permit) => {
                place.permit = Some(permit);
                false
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                let permit = tokio::time::timeout_at(deadline, turn.acquire_owned()).await;
                // Nobody closes a queue.
                place.permit = Some(permit.map_err(|_| NoTurn::Late)?.map_err(|_| NoTurn::Late)?);
                true
            }
        };
        Ok(Turn { waited, _place: place })
    }

    /// Takes a place at the end of the queue, and what its turn is told by.
    fn enter(&self, secret: &SecretId) -> Result<(Place, Arc<Semaphore>), NoTurn> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(secret.clone());
        let queue = queue.or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), places: 0 });
        if queue.places >= PLACES_MAX {
            return Err(NoTurn::Full);
        }
        queue.places += 1;
        let place = Place { queues: Arc::clone(&self.0), secret: secret.clone(), permit: None };
        Ok((place, Arc::clone(&queue.turn)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDER: before the queue goes, or the first one of the next queue would have its turn
        // beside this one.
        self.permit.take();
        if let Entry::Occupied(mut queue) = queues.entry(self.secret.clone()) {
            queue.get_mut().places -= 1;
            if queue.get().places == 0 {
                queue.remove();
            }
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
        assert_eq!(turns.take(&secret("a"), by).await.unwrap_err(), NoTurn::Late);
        drop(first);
        assert_eq!(queues(&turns), 0);
        assert!(!turns.take(&secret("a"), soon()).await.unwrap().waited);
    }

    /// A crowd waits; what is beyond a crowd is refused at once and keeps no message in memory.
    #[tokio::test]
    async fn a_full_queue_refuses_and_others_are_not_touched() {
        let turns = Turns::default();
        let first = turns.take(&secret("a"), soon()).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 1..PLACES_MAX {
            let turns = turns.clone();
            waiting.spawn(async move { turns.take(&secret("a"), soon()).await.map(drop) });
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(&secret("a"), soon()).await.unwrap_err(), NoTurn::Full);
        assert!(!turns.take(&secret("b"), soon()).await.unwrap().waited);
        drop(first);
        assert!(waiting.join_all().await.into_iter().all(|turn| turn == Ok(())));
        assert!(!turns.take(&secret("a"), soon()).await.unwrap().waited);
        assert_eq!(queues(&turns), 0);
    }
}
