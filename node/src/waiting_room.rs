//! Where calls wait for what others bring about: so many at one time, and the rest is refused.
//!
//! A call that waits costs its message and a wake-up now and then. Its caller may be gone, so
//! neither connections nor streams bound how many there are (`lockbox_platform::detach`).

use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A room with so many places. Clones share them.
#[derive(Debug, Clone)]
pub struct WaitingRoom {
    places: Arc<Semaphore>,
    full: &'static str,
    retry_after: Duration,
}

/// The right to wait. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl WaitingRoom {
    /// A room with `places`; who finds it full is told `full`, and to come back after that time.
    #[must_use]
    pub fn new(places: usize, full: &'static str, retry_after: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), full, retry_after }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED at once when all are taken.
    pub fn enter(&self) -> Result<Place, ApiError> {
        let taken = Arc::clone(&self.places).try_acquire_owned();
        taken.map(|permit| Place { _permit: permit }).map_err(|_full| {
            let busy = Exhausted::Busy { retry_after: self.retry_after };
            ApiError::new(ErrorKind::ResourceExhausted(busy), self.full, Outcome::NotProposed)
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn who_finds_it_full_is_told_when_to_come_back() {
        let room = WaitingRoom::new(2, "too many wait", Duration::from_secs(1));
        let (first, _second) = (room.enter().unwrap(), room.enter().unwrap());
        let refused = room.enter().unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, "too many wait"));
        assert_eq!(refused.outcome(), Outcome::NotProposed);
        drop(first);
        room.enter().unwrap();
    }
}
