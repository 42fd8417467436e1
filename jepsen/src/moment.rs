//! The harness's own clock: monotonic, never the wall clock, which faults step in the nodes.

use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// This moment.
#[must_use]
pub fn now() -> Instant {
    // The workspace reads time in one way only; outside a paused runtime this is the real clock.
    tokio::time::Instant::now().into_std()
}

/// Looks again and again until there is an answer; none when the time is over.
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
