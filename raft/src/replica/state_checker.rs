//! This node's part in the comparison of states: says what its own is, and stops when that is not
//! what most members have.
//!
//! Which state is right is decided by the log alone ([`crate::domain::state_check`]), and this node
//! compares what it has in memory with that. Bytes that have changed on its disk, in its memory or
//! by a bug all show; it must answer nobody any more, and is not to come back with these data.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{LogTime, NodeId, OperationId, RequestId, Subject};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::integrity::Integrity;
use super::proposer::Proposer;
use crate::domain::command::{Command, Envelope};
use crate::domain::state_check::{StateReport, Verdict};
use crate::error::StorageError;
use crate::state::tables;
use crate::store::{DamageMark, Faults, OwnHash, StateHandle};

/// Between two looks at what the others have said.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// One try to say it may take this long; then it is tried again.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct StateChecker {
    pub(super) me: NodeId,
    pub(super) proposer: Arc<Proposer>,
    pub(super) hashes: watch::Receiver<Option<OwnHash>>,
    pub(super) state: StateHandle,
    pub(super) integrity: Arc<Integrity>,
    pub(super) damage: DamageMark,
    pub(super) faults: Faults,
}

/// Where a comparison stands for this node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The log does not have this node's report, or too few of the others'.
    Open { reported: bool },
    /// Another comparison has begun, or this one is decided and this node is right or nobody is.
    Over,
    /// This node's state is wrong.
    Wrong,
}

impl StateChecker {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            // The state machine has ended: nothing to compare, but the task ends when told to.
            () = self.compare() => stop.cancelled().await,
        }
    }

    /// Returns when the state machine has ended, or this node is wrong.
    async fn compare(&mut self) {
        while self.hashes.changed().await.is_ok() {
            let found = *self.hashes.borrow_and_update();
            let Some(own) = found else { continue };
            loop {
                match self.standing(own) {
                    Ok(Standing::Over) => break,
                    Ok(Standing::Wrong) => return self.stop_node(own),
                    Ok(Standing::Open { reported }) => {
                        if !reported {
                            self.report(own).await;
                        }
                    }
                    Err(error) => return self.faults.report(&error),
                }
                if self.hashes.has_changed().unwrap_or(true) {
                    break;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    fn standing(&self, own: OwnHash) -> Result<Standing, StorageError> {
        let read = self.state.read(|view| {
            Ok::<_, StorageError>((tables::state_check(view)?, tables::member_ids(view)?))
        });
        let (check, members) = read.and_then(std::convert::identity)?;
        let Some(check) = check.filter(|check| check.index == own.index) else {
            return Ok(Standing::Over);
        };
        if !members.contains(&self.me) {
            // Nobody counts what it says.
            return Ok(Standing::Over);
        }
        Ok(match check.verdict(&members) {
            Verdict::Agreed(hash) if hash == own.hash => {
                self.integrity.change(|status| status.agreed_index = own.index);
                Standing::Over
            }
            Verdict::Agreed(_) => Standing::Wrong,
            Verdict::Split => {
                tracing::error!(
                    index = own.index,
                    "the members' states differ, and none is that of most: compare them by hand"
                );
                self.integrity.change(|status| status.split_index = own.index);
                Standing::Over
            }
            Verdict::Open => {
                let reported = check.reports.iter().any(|report| report.node_id == self.me);
                Standing::Open { reported }
            }
        })
    }

    /// Says what this node's state was. What comes of it shows in the state.
    async fn report(&self, own: OwnHash) {
        let random = self.proposer.random.as_ref();
        let report = StateReport { node_id: self.me, hash: own.hash };
        let envelope = Envelope {
            request_id: RequestId::generate(random),
            subject: Subject::internal(),
            token: None,
            operation_id: OperationId::generate(random),
            idempotency: None,
            if_version: None,
            proposed_at: LogTime::default(),
            command: Command::ReportStateHash { index: own.index, report },
        };
        let by = Instant::now() + TRY_TIMEOUT;
        if let Err(error) = self.proposer.propose(envelope, by).await {
            tracing::debug!(%error, index = own.index, "the hash of the state is not reported yet");
        }
    }

    /// Ends the process, and keeps it from coming back with these data.
    fn stop_node(&self, own: OwnHash) {
        let error = StorageError::diverged(own.index);
        // ORDER: the mark first: whoever ends the process may start it again at once.
        self.damage.set(&error);
        self.faults.report(&error);
    }
}
