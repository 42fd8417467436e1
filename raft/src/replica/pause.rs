//! How long a replica waits before it tries again while the leadership is in motion.

use std::time::Duration;

use lockbox_core::Randomness;
use tokio::time::Instant;

use super::leadership::LeadershipWatch;

/// Shortest and longest wait while no leader is known; random, so that waiting callers do not
/// come back together (`openraft.md §7.2`).
const ELECTION_PAUSE_MS: std::ops::Range<u64> = 10..200;
/// Shortest and longest wait for a new leader's first quorum, which takes milliseconds
/// (`openraft.md §5.3`).
const LEASE_PAUSE_MS: std::ops::Range<u64> = 2..8;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// Another leader, or any.
    Leader,
    /// This leader's first acknowledgement by a quorum.
    Lease,
}

/// Waits a moment, less if the leadership changes; false when the deadline has come.
pub(super) async fn pause(
    awaiting: Awaiting,
    leadership: &mut LeadershipWatch,
    random: &dyn Randomness,
    deadline: Instant,
) -> bool {
    let range = match awaiting {
        Awaiting::Leader => ELECTION_PAUSE_MS,
        Awaiting::Lease => LEASE_PAUSE_MS,
    };
    let until = (Instant::now() + jitter(range, random)).min(deadline);
    match awaiting {
        Awaiting::Lease => tokio::time::sleep_until(until).await,
        Awaiting::Leader => {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                changes = leadership.changed() => {
                    // Without consensus nothing changes any more: only the deadline ends this.
                    if !changes {
                        tokio::time::sleep_until(until).await;
                    }
                }
            }
        }
    }
    Instant::now() < deadline
}

fn jitter(range: std::ops::Range<u64>, random: &dyn Randomness) -> Duration {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let span = range.end - range.start;
    Duration::from_millis(range.start + u64::from_le_bytes(bytes) % span)
}
