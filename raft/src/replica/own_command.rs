//! What the cluster does by itself: proposed by the node that leads, or not at all.

use tokio::time::Instant;

use super::Replica;
use super::attempt::Attempt;
use super::error::{ProposeError, UnknownReason};
use super::proposer::Applied;
use crate::domain::command::Command;

impl Replica {
    /// Proposes a command of the cluster's own, as leader: a node that does not lead any more is
    /// refused and never hands it on, for its successor decides anew what is to be done.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether the command may take effect.
    pub async fn propose_as_leader(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Applied, ProposeError> {
        let proposer = &self.0.proposer;
        match proposer.propose_own(command, deadline).await {
            Attempt::Applied(applied) => Ok(*applied),
            Attempt::NotTaken(why) => Err(ProposeError::NotProposed(why.reason())),
            Attempt::Unknown => Err(ProposeError::Unknown(UnknownReason::Deadline)),
            Attempt::Stopped => Err(proposer.stopped()),
        }
    }
}
