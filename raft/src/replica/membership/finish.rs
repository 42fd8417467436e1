//! Finishes, as leader, a joint configuration that another leader left over.
//!
//! A leader that dies between the two steps of a change leaves both configurations in force, and
//! the cluster needs a majority of each until somebody takes the second step.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::change::Change;
use crate::replica::{Inner, Replica};

/// One try may take this long.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries, and before the first: the leader that made the change may be about to take
/// the second step itself.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until `stop`. Holds the replica only while it works: who drops the last handle ends it.
pub(in crate::replica) async fn finish_left_over(replica: Weak<Inner>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // Consensus has stopped: nothing is left to finish, but the task ends when told to.
        () = keep(replica) => stop.cancelled().await,
    }
}

async fn keep(replica: Weak<Inner>) {
    let Some(mut leadership) = replica.upgrade().map(|inner| inner.leadership.clone()) else {
        return;
    };
    loop {
        let joint = leadership.membership().membership().get_joint_config().len() > 1;
        if !(joint && leadership.current().is_leader) {
            if !leadership.changed().await {
                return;
            }
            continue;
        }
        tokio::time::sleep(PAUSE).await;
        let Some(inner) = replica.upgrade() else { return };
        let replica = Replica(inner);
        // Beginning a change finishes what is joint; a change under way does so itself.
        let begun = Change::begin(&replica, None, Instant::now() + TRY_TIMEOUT).await;
        if let Err(error) = begun.map(drop) {
            tracing::info!(%error, "a joint configuration is not finished yet");
        }
    }
}
