//! How many tokens the cluster is asked about at one time.
//!
//! Whoever reaches the KMS can show it tokens that nobody has signed, and each costs a node a read
//! barrier. Promises: the cluster is asked about so many at one time at most; so many more wait,
//! no longer than their callers do, and the rest is refused at once. One address has half of either
//! at most, and after a token that the cluster does not know its place stays taken for a while, so
//! that nobody alone keeps the nodes busy or the others out. Refuses to let calls share an answer:
//! a revocation may lie between the beginning of the question and the call that would join it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_platform::body_budget::network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Questions that are with the cluster at one time.
pub(super) const IN_FLIGHT_MAX: usize = 64;
/// Calls that wait for one of them to end.
pub(super) const WAITING_MAX: usize = 512;
/// What part of the calls, asked about and waiting, one address has at most.
pub(super) const ADDRESS_SHARE: usize = 2;
/// How long a place stays taken after a token that the cluster does not know.
pub(super) const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a place, whatever the caller's deadline.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// There is no place for one more question, and has not been in the caller's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tokens are being checked")]
pub struct Crowded;

/// Who comes from where; what comes from within the process counts as one address.
type Origin = Option<IpAddr>;

/// The places for questions to the cluster.
pub(super) struct Asking {
    in_flight: Semaphore,
    calls: Mutex<Calls>,
}

/// The calls that have a place or wait for one.
#[derive(Default)]
struct Calls {
    all: usize,
    /// No more than calls: an address without one is not in it.
    by_origin: HashMap<Origin, OfOrigin>,
}

/// The calls of one address.
struct OfOrigin {
    calls: usize,
    in_flight: Arc<Semaphore>,
}

/// The right to ask about one token. Given back when dropped.
pub(super) struct Place<'a> {
    // ORDER: fields are dropped from top to bottom, and the count is the last to go.
    in_flight: Option<SemaphorePermit<'a>>,
    _of_origin: OwnedSemaphorePermit,
    _counted: Counted<'a>,
}

/// One of the calls.
struct Counted<'a> {
    asking: &'a Asking,
    origin: Origin,
}

impl Default for Asking {
    fn default() -> Self {
        Self { in_flight: Semaphore::new(IN_FLIGHT_MAX), calls: Mutex::default() }
    }
}

impl Asking {
    /// Waits for a place.
    ///
    /// # Errors
    /// [`Crowded`].
    pub(super) async fn place(
        &self,
        address: Option<IpAddr>,
        deadline: Instant,
    ) -> Result<Place<'_>, Crowded> {
        let (counted, own) = self.count(address.map(network))?;
        let waited = async {
            // ORDER: the address's own first, so that nobody waits for its own calls in a place
            // that others could have.
            let of_origin = own.acquire_owned().await.map_err(|_closed| Crowded)?;
            let in_flight = self.in_flight.acquire().await.map_err(|_closed| Crowded)?;
            Ok((of_origin, in_flight))
        };
        let deadline = deadline.min(Instant::now() + WAIT_MAX);
        let (of_origin, in_flight) = timeout_at(deadline, waited).await.unwrap_or(Err(Crowded))?;
        Ok(Place { in_flight: Some(in_flight), _of_origin: of_origin, _counted: counted })
    }

    fn count(&self, origin: Origin) -> Result<(Counted<'_>, Arc<Semaphore>), Crowded> {
        const ALL: usize = IN_FLIGHT_MAX + WAITING_MAX;
        let mut calls = self.calls();
        let of_origin = calls.by_origin.get(&origin).map_or(0, |of_origin| of_origin.calls);
        if calls.all >= ALL || of_origin >= ALL / ADDRESS_SHARE {
            return Err(Crowded);
        }
        calls.all += 1;
        let of_origin = calls.by_origin.entry(origin).or_insert_with(|| OfOrigin {
            calls: 0,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX / ADDRESS_SHARE)),
        });
        of_origin.calls += 1;
        Ok((Counted { asking: self, origin }, Arc::clone(&of_origin.in_flight)))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Nothing that holds it can panic half-way through a change.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The cluster does not know the token: its address pays with time, and nobody else.
    pub(super) async fn unknown(mut self, deadline: Instant) {
        drop(self.in_flight.take());
        sleep_until(deadline.min(Instant::now() + UNKNOWN_PAUSE)).await;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut calls = self.asking.calls();
        calls.all -= 1;
        let Some(of_origin) = calls.by_origin.get_mut(&self.origin) else { return };
        of_origin.calls -= 1;
        if of_origin.calls == 0 {
            calls.by_origin.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::task::unconstrained;

    use super::*;

    const ONE: Origin = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const OTHER: Origin = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));
    const OF_ONE: usize = IN_FLIGHT_MAX / ADDRESS_SHARE;
    const CALLS_OF_ONE: usize = (IN_FLIGHT_MAX + WAITING_MAX) / ADDRESS_SHARE;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    /// As many places of an address as it gets without waiting. Without a budget for its polls,
    /// which ends after some.
    fn taken(asking: &Asking, origin: Origin) -> Vec<Place<'_>> {
        let at_once = || unconstrained(asking.place(origin, soon())).now_or_never();
        std::iter::from_fn(at_once).map_while(Result::ok).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_half_of_the_places_and_two_have_all_of_them() {
        let asking = Asking::default();
        let mut of_one = taken(&asking, ONE);
        assert_eq!(of_one.len(), OF_ONE);
        // Who waits in vain does so for as long as its caller does.
        let begun = Instant::now();
        assert_eq!(asking.place(ONE, soon()).await.err(), Some(Crowded));
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let of_other = taken(&asking, OTHER);
        assert_eq!(of_one.len() + of_other.len(), IN_FLIGHT_MAX);
        let third = asking.place(None, soon()).now_or_never();
        assert!(third.is_none(), "all places are taken");
        of_one.pop();
        assert!(asking.place(None, soon()).await.is_ok());
        drop((of_one, of_other));
        let calls = asking.calls();
        assert!(calls.by_origin.is_empty() && calls.all == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_and_the_next_one_is_refused_at_once() {
        let asking = Asking::default();
        let of_one = taken(&asking, ONE);
        let waiting = (OF_ONE..CALLS_OF_ONE).map(|_| asking.place(ONE, soon()));
        let mut waiting = Box::pin(futures::future::join_all(waiting));
        let polled = unconstrained(async { futures::poll!(waiting.as_mut()) });
        assert!(polled.await.is_pending());
        let next = asking.place(ONE, soon()).now_or_never().map(|place| place.err());
        assert_eq!(next, Some(Some(Crowded)), "not at once");
        assert!(asking.place(OTHER, soon()).await.is_ok(), "another address has its own");
        drop((of_one, waiting));
        assert_eq!(taken(&asking, ONE).len(), OF_ONE);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_unknown_token_the_place_is_free_for_others_alone() {
        let asking = Asking::default();
        let paused = taken(&asking, ONE).into_iter().map(|place| place.unknown(soon()));
        let mut paused = Box::pin(futures::future::join_all(paused));
        assert!(futures::poll!(paused.as_mut()).is_pending());
        assert_eq!(taken(&asking, ONE).len(), 0);
        assert_eq!(taken(&asking, OTHER).len(), OF_ONE);
        tokio::time::advance(UNKNOWN_PAUSE).await;
        paused.await;
        assert_eq!(taken(&asking, ONE).len(), OF_ONE);
    }
}
