//! How a call changes the state: one command, proposed once.

use lockbox_core::{LogTime, OperationId, RequestId};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, Envelope, IdempotencyClaim};
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::domain::outcome::Outcome as Applied;
use lockbox_raft::replica::{NotProposedReason, ProposeError};

use super::Call;
use crate::authn::Caller;
use crate::errors::{DecidedAt, rejected, unproposed};

impl Call<'_> {
    /// Proposes a command and waits for its outcome.
    ///
    /// # Errors
    /// [`Attempt::Rejected`] when the state refuses; [`Attempt::Failed`] otherwise.
    pub async fn propose(
        &mut self,
        caller: &Caller,
        claim: Option<IdempotencyClaim>,
        command: Command,
    ) -> Result<OperationRecord, Attempt> {
        if self.if_version.is_some() && !command.changes_a_secret() {
            // A condition that nobody looks at must not be believed to hold.
            let description = "is for changes of a secret that is there already";
            return Err(Attempt::Failed(ApiError::invalid("x-if-version", description)));
        }
        let envelope = self.envelope(caller, claim, command);
        let applied = self.app.replica.propose(envelope, self.context.deadline).await;
        let applied = applied.map_err(|error| Attempt::Failed(unproposed(&error)))?;
        let at = DecidedAt { index: applied.index, term: applied.term };
        self.observed = Some(at);
        match applied.outcome {
            Applied::Done(operation) => {
                self.authorized = true;
                self.observe_effect(&operation);
                Ok(*operation)
            }
            Applied::Rejected(rejection) => {
                self.decided = Some(at);
                Err(Attempt::Rejected(rejection, at))
            }
            Applied::Nothing => {
                Err(Attempt::Failed(ApiError::internal("a command was applied as nothing")))
            }
        }
    }

    /// Refuses what makes the data grow where this node leads and has no room for it: before the
    /// KMS is asked for a key, and bills it.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED.
    pub fn require_room(&self) -> Result<(), ApiError> {
        let replica = &self.app.replica;
        if replica.watch_leadership().current().is_leader && replica.refuses_growth() {
            return Err(unproposed(&ProposeError::NotProposed(NotProposedReason::NoRoom)));
        }
        Ok(())
    }

    fn envelope(
        &self,
        caller: &Caller,
        idempotency: Option<IdempotencyClaim>,
        command: Command,
    ) -> Envelope {
        let random = self.app.random.as_ref();
        Envelope {
            // Never the client's request id: two clients could choose the same.
            request_id: RequestId::generate(random),
            subject: caller.subject.clone(),
            token: Some(caller.token.clone()),
            operation_id: OperationId::generate(random),
            idempotency,
            if_version: self.if_version.clone(),
            proposed_at: LogTime::default(),
            command,
        }
    }
}

/// Why a proposal has no operation.
#[derive(Debug)]
pub enum Attempt {
    /// The state refused it, at this point of the log; a handler may merge again.
    Rejected(Rejection, DecidedAt),
    /// It was not proposed, or what became of it is unknown.
    Failed(ApiError),
}

impl From<Attempt> for ApiError {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Rejected(rejection, at) => rejected(&rejection, at),
            Attempt::Failed(error) => error,
        }
    }
}
