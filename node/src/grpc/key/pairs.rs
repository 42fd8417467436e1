//! Making key pairs: off the runtime, few at one time, and few that wait.
//!
//! A pair of 4096 bits takes a core for a second or more, and every account may have some for
//! itself.

use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::authorized_key::{GeneratedKeyPair, KeyAlgorithm, generate_key_pair};
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::waiting_room::WaitingRoom;

/// Pairs that are made at one time: each takes a core for tenths of a second.
const PAIRS_AT_ONCE: usize = 2;
/// Calls that wait for their turn.
const WAITING_MAX: usize = 32;
/// When to come back while others make theirs.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// What who does not get a pair is told.
const BUSY: &str = "other keys are being made";

/// Makes the pairs of a node. Clones share its turns.
#[derive(Debug, Clone)]
pub(super) struct PairMaker {
    making: Arc<Semaphore>,
    waiting: WaitingRoom,
}

impl Default for PairMaker {
    fn default() -> Self {
        Self {
            making: Arc::new(Semaphore::new(PAIRS_AT_ONCE)),
            waiting: WaitingRoom::new(WAITING_MAX, BUSY, BUSY_RETRY),
        }
    }
}

impl PairMaker {
    /// Makes a pair.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many wait, or others had their turns until the deadline.
    pub(super) async fn make(
        &self,
        algorithm: KeyAlgorithm,
        deadline: Instant,
    ) -> Result<GeneratedKeyPair, ApiError> {
        let turn = match Arc::clone(&self.making).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_none_left) => {
                let _place = self.waiting.enter()?;
                let turn = Arc::clone(&self.making).acquire_owned();
                let waited = tokio::time::timeout_at(deadline, turn).await;
                waited.map_err(|_late| busy())?.map_err(|_closed| busy())?
            }
        };
        let made = tokio::task::spawn_blocking(move || {
            let pair = generate_key_pair(algorithm);
            drop(turn);
            pair
        });
        let made = made.await.map_err(|_panicked| ApiError::internal("no key pair was made"))?;
        made.map_err(|error| ApiError::internal(error.to_string()))
    }
}

fn busy() -> ApiError {
    let exhausted = Exhausted::Busy { retry_after: BUSY_RETRY };
    ApiError::new(ErrorKind::ResourceExhausted(exhausted), BUSY, Outcome::NotProposed)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;
    use tonic::Code;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_crowd_waits_and_more_is_refused_at_once() {
        let maker = PairMaker::default();
        let make = || maker.make(KeyAlgorithm::Rsa2048, soon());
        let others = Arc::clone(&maker.making).acquire_many_owned(2).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(make())).collect();
        for one in &mut waiting {
            assert!(futures::poll!(one.as_mut()).is_pending());
        }
        let refused = make().now_or_never().unwrap().err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let come_back = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: BUSY_RETRY });
        assert_eq!(refused.kind(), &come_back);
        // Whoever gives up leaves a place.
        waiting.truncate(2);
        drop(others);
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
        assert!(make().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_its_deadline() {
        let maker = PairMaker::default();
        let _others = Arc::clone(&maker.making).acquire_many_owned(2).await.unwrap();
        let refused = maker.make(KeyAlgorithm::Rsa2048, soon()).await.err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    }
}
