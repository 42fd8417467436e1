//! What the seeded bugs of the replica do where one line does not say it
//! (`lockbox_core::mutants`).
//!
//! Unreachable without the feature `mutants`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::{Mutant, mutant};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::clock::ClusterClock;
use super::proposer::Applied;
use super::read_barrier::Confirmer;
use super::read_point::ReadPoint;
use super::{ProposeError, Replica};
use crate::apply::{EntryPosition, apply_entry};
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::domain::outcome::Outcome;
use crate::network::Raft;
use crate::state::Overlay;

/// How long a node goes on answering reads after it handed leadership over, with
/// [`Mutant::ReadIgnoresTransfer`].
const STILL_ANSWERS: Duration = Duration::from_secs(5);

/// When each replica of this process last gave a read point as leader, by its clock's address.
static LED: Mutex<BTreeMap<usize, Instant>> = Mutex::new(BTreeMap::new());

/// Takes note that this replica has just given a read point as leader.
pub(super) fn note_that_it_leads(clock: &Arc<ClusterClock>) {
    let mut led = LED.lock().unwrap_or_else(PoisonError::into_inner);
    led.insert(Arc::as_ptr(clock).addr(), Instant::now());
}

/// Whether a follower answers reads without asking its leader.
pub(super) fn answers_as_follower(clock: &Arc<ClusterClock>) -> bool {
    if mutant(Mutant::ReadIgnoresTransfer) {
        let led = LED.lock().unwrap_or_else(PoisonError::into_inner);
        let at = led.get(&Arc::as_ptr(clock).addr());
        return at.is_some_and(|at| at.elapsed() < STILL_ANSWERS);
    }
    mutant(Mutant::FollowerReadsLocally)
}

impl Confirmer {
    /// A read point that asks for no more than is applied here.
    pub(super) fn own_point(&self) -> ReadPoint {
        let applied = *self.state.applied().borrow();
        let log_time = self.clock.log_now_at(applied.log_time);
        ReadPoint { index: applied.at.index, term: applied.at.term, log_time }
    }
}

/// What this node takes for committed, without asking anybody
/// ([`Mutant::LeaderSkipsReadIndex`]).
pub(super) fn unconfirmed(raft: &Raft) -> (u64, u64) {
    let metrics = raft.metrics().borrow_watched().clone();
    (metrics.local_committed.map_or(0, |id| id.index), metrics.current_term)
}

/// Answers what a proposal would come to here and now, and proposes it afterwards
/// ([`Mutant::AckBeforeCommit`]). A node that does not lead, and a proposal that would be refused,
/// wait as they should.
pub(super) async fn answer_first(
    replica: &Replica,
    envelope: Envelope,
    deadline: Instant,
) -> Result<Applied, ProposeError> {
    let inner = &replica.0;
    if inner.leadership.current().is_leader
        && let Some(applied) = foreseen(replica, &envelope)
    {
        let proposer = Arc::clone(&inner.proposer);
        // Nobody waits for what comes of it: this is the bug.
        inner.tasks.spawn(async move { drop(proposer.propose(envelope, deadline).await) });
        return Ok(applied);
    }
    inner.proposer.propose(envelope, deadline).await
}

/// What a proposal comes to if it is the next entry of the log.
fn foreseen(replica: &Replica, envelope: &Envelope) -> Option<Applied> {
    let status = replica.status();
    let at = EntryPosition { index: status.last_log + 1, term: status.term };
    let envelope = Envelope { proposed_at: replica.0.clock.stamp(), ..envelope.clone() };
    let encoded = codec::encode(&envelope);
    let outcome = replica.0.state.read(|view| {
        let mut overlay = Overlay::new(view);
        apply_entry(&mut overlay, &encoded, at)
    });
    match outcome {
        Ok(Ok(outcome @ Outcome::Done(_))) => {
            Some(Applied { index: at.index, term: at.term, outcome })
        }
        Ok(Ok(Outcome::Rejected(_) | Outcome::Nothing) | Err(_)) | Err(_) => None,
    }
}
