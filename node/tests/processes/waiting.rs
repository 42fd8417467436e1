//! Waiting for what has to happen: asks until it is so, and gives up after a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The longest that anything may take on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// Between two looks, so that who looks leaves the processors to whom it waits for.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in {WAIT:?} there was no {what}");
        sleep(PAUSE).await;
    }
}
