//! Whether this node can serve: whether a read passes the barrier here.
//!
//! That is what clients will ask for, so it is what is tried: a leader that has lost its quorum
//! and a follower whose leader is gone both know a leader, and serve nothing. A node that comes
//! was away first takes out of its files what was destroyed meanwhile (`design §6`). Knows no
//! client.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockbox_platform::health::ReadinessComponent;
use lockbox_raft::Replica;
use lockbox_raft::replica::{PayloadStanding, ReadError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Election timeouts that a try may take: a healthy cluster finds a new leader in them.
const PATIENCE: u32 = 2;
/// A try starts this part of an election timeout after a success.
const TRIES_PER_ELECTION: u32 = 2;
/// Pause after a failure; the wait for a leader is a part of the try itself.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Whether a leader with a quorum behind it has been heard lately. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeaderHeard(Arc<AtomicBool>);

impl LeaderHeard {
    /// As the last try says.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tries the barrier again and again, and says what came of it: within two and a half election
/// timeouts after the cluster was lost, and as soon as it is found again.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn follow(
    replica: Replica,
    component: ReadinessComponent,
    heard: LeaderHeard,
    election_timeout: Duration,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        let deadline = Instant::now() + election_timeout * PATIENCE;
        let tried = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Ok(()),
            tried = replica.read(deadline, |_view, _now| ()) => tried.map(drop),
        };
        let pause = match tried {
            // Who is late without having been away serves on, and the metrics tell: the whole
            // cluster may be late at once.
            Ok(()) if replica.payload_standing() != PayloadStanding::Serves => {
                heard.0.store(true, Ordering::Relaxed);
                component.not_ready("what was destroyed while it was away is still in its files");
                RETRY_PAUSE
            }
            Ok(()) => {
                heard.0.store(true, Ordering::Relaxed);
                component.ready();
                election_timeout / TRIES_PER_ELECTION
            }
            // Says nothing about the leader: so many reads wait that this one found no place.
            Err(ReadError::QueueFull) => election_timeout / TRIES_PER_ELECTION,
            Err(error) => {
                heard.0.store(false, Ordering::Relaxed);
                component.not_ready(reason(&replica, &error));
                RETRY_PAUSE
            }
        };
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn reason(replica: &Replica, error: &ReadError) -> String {
    match error {
        ReadError::NoLeader | ReadError::Deadline if replica.leader().is_none() => {
            "no leader".to_owned()
        }
        ReadError::NoLeader => "no answer of a leader with a quorum behind it".to_owned(),
        ReadError::Deadline => "catching up, or no answer of the leader".to_owned(),
        ReadError::QueueFull | ReadError::Draining | ReadError::Storage(_) => error.to_string(),
    }
}
