//! How a call looks at the state: linearizably, as fresh as its caller asks for, or at a glance.

use lockbox_core::{LogTime, Mutant, mutant};
use lockbox_platform::status::ApiError;
use lockbox_raft::apply::{self, Refusal, identify};
use lockbox_raft::domain::command::IdempotencyClaim;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::replica::{ReadError, Reading};
use lockbox_raft::state::{StateRead, TimedView};
use lockbox_raft::store::View;
use tokio::time::Instant;

use super::Call;
use crate::authn::Caller;
use crate::consistency::{CATCHING_UP_MAX, Consistency, min_index, within_log};
use crate::errors::{DecidedAt, rejected, unread};
use crate::refused::Refused;
use crate::seeded;

impl Call<'_> {
    /// Waits a little until this node has applied what the caller has seen (`lockbox-min-index`),
    /// so that a stale read reflects it. No other read waits: behind the barrier it is there.
    async fn catch_up(&self) -> Result<(), ApiError> {
        let replica = &self.app.replica;
        let Some(index) = self.min_index.filter(|index| !replica.has_applied(*index)) else {
            return Ok(());
        };
        let _place = self.app.catching_up.enter()?;
        let by = self.context.deadline.min(Instant::now() + CATCHING_UP_MAX);
        replica.wait_applied(index, by).await.map_err(|error| match error {
            ReadError::Deadline => {
                ApiError::unavailable(format!("this node has not applied index {index} in time"))
            }
            error @ (ReadError::NoLeader
            | ReadError::QueueFull
            | ReadError::Draining
            | ReadError::Storage(_)) => unread(error),
        })
    }

    /// Reads linearizably: authenticates the caller in the view, then runs `read` in it.
    ///
    /// # Errors
    /// What `read` refuses, decided at the view's index, and a `lockbox-min-index` that is ahead of
    /// it; UNAVAILABLE without a leader in time.
    pub async fn read<R>(
        &mut self,
        caller: &Caller,
        read: impl FnOnce(&TimedView<'_>) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        let min_index = self.min_index;
        let judged = |view: &View<'_>, now: LogTime| {
            judge(view, caller, now, |state| {
                within_log(min_index, view.applied().index)?;
                read(state)
            })
        };
        let reading = self.app.replica.read(self.context.deadline, judged).await;
        let value = self.settle(reading.map_err(unread)?)?;
        self.authorized = true;
        Ok(value)
    }

    /// Reads metadata as fresh as the caller asks for: [`Self::read`], or this node's own view.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_metadata<R>(
        &mut self,
        caller: &Caller,
        read: impl FnOnce(&TimedView<'_>) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        match self.consistency {
            Consistency::Linearizable => self.read(caller, read).await,
            Consistency::Stale => {
                let replica = &self.app.replica;
                // While log time is unknown nobody's token can be judged on the local view.
                let Some(known) = replica.log_time() else {
                    return self.read(caller, read).await;
                };
                self.catch_up().await?;
                self.stale = true;
                // By the view's own time: an earlier one may lie before what it has forgotten.
                let reading =
                    replica.read_stale(|view, now| judge(view, caller, now.unwrap_or(known), read));
                let reading = reading.map_err(|error| ApiError::internal(error.to_string()))?;
                let value = self.settle(reading)?;
                self.authorized = true;
                Ok(value)
            }
        }
    }

    /// What an earlier request under the same `idempotency-key` made, if there was one: its
    /// repeat is answered here, before any billed KMS call (`design §3`).
    ///
    /// Behind a barrier, so that a retry on another node never pays again for what is done.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when that was another request, RESOURCE_EXHAUSTED when the key could not
    /// be remembered; as [`Call::read`].
    pub async fn recall(
        &mut self,
        caller: &Caller,
        claim: Option<&IdempotencyClaim>,
    ) -> Result<Option<OperationRecord>, ApiError> {
        let Some(claim) = claim else { return Ok(None) };
        let min_index = self.min_index;
        let judged = |view: &View<'_>, now: LogTime| {
            judge(view, caller, now, |state| {
                within_log(min_index, view.applied().index)?;
                apply::recall_or_room(state, &caller.subject, claim).map_err(Refused::from)
            })
        };
        let reading = self.app.replica.read(self.context.deadline, judged).await;
        let operation = self.settle(reading.map_err(unread)?)?;
        self.authorized = operation.is_some();
        if let Some(operation) = &operation {
            self.observe_effect(operation);
        }
        Ok(operation)
    }

    /// Reads linearizably for a caller who has no token yet; `read` gets the time to judge by.
    /// Nobody is known yet, so nothing is said of the caller's `lockbox-min-index` before
    /// [`Self::demand_min_index`].
    ///
    /// # Errors
    /// As [`Call::read`]; INVALID_ARGUMENT where a stale answer is asked for, or a header that
    /// decides is there twice.
    pub async fn look<R>(
        &mut self,
        read: impl FnOnce(&dyn StateRead, LogTime) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        self.context.demand_single_headers()?;
        Consistency::parse(self.context.consistency.as_deref())?.demand_linearizable()?;
        self.min_index = min_index(self.context.min_index.as_deref())?;
        let deadline = self.context.deadline;
        let nameless = |view: &View<'_>, now: LogTime| {
            (None::<String>, read(view, now).map_err(Refused::from))
        };
        let reading = self.app.replica.read(deadline, nameless).await;
        let reading = reading.map_err(unread)?;
        let value = self.settle(reading)?;
        self.authorized = true;
        Ok(value)
    }

    /// Judges the `lockbox-min-index` of a caller who was looked up by [`Self::look`], once it has
    /// shown who it is: how long the log is, is not for everybody.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an index that is ahead of the view that was looked at.
    pub fn demand_min_index(&self) -> Result<(), ApiError> {
        let Some(at) = self.observed else { return Ok(()) };
        within_log(self.min_index, at.index).map_err(|rejection| rejected(&rejection, at))
    }

    /// Prepares a mutation: reads the local view, and again behind a barrier if that refuses or
    /// lags behind what the caller has seen.
    ///
    /// What comes back only has to be plausible, for `apply` decides again; but a refusal is an
    /// answer, and an answer must reflect everything acknowledged before. Until this process has
    /// learnt the time behind a barrier, the local view cannot judge a token and is not asked.
    ///
    /// # Errors
    /// As [`Call::read`].
    pub async fn prepare<R>(
        &mut self,
        caller: &Caller,
        read: impl Fn(&TimedView<'_>) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        let glance = self
            .app
            .replica
            .read_stale(|view, now| Some(judge(view, caller, now?, &read)))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        if within_log(self.min_index, glance.index).is_err() {
            return self.read(caller, read).await;
        }
        let Some((subject_name, result)) = glance.value else {
            return self.read(caller, read).await;
        };
        match result {
            Ok(value) => {
                self.subject_name = subject_name;
                self.authorized = true;
                Ok(value)
            }
            Err(Refused { refusal: Refusal::Rejected(_), .. }) => self.read(caller, read).await,
            Err(Refused { refusal: Refusal::Storage(error), .. }) => {
                Err(ApiError::internal(error.to_string()))
            }
        }
    }

    /// Takes what a view said: to the caller the answer, to the audit what it has to know.
    fn settle<R>(&mut self, reading: Reading<Judged<R>>) -> Result<R, ApiError> {
        let at = DecidedAt { index: reading.index, term: reading.term };
        self.observed = Some(at);
        let (subject_name, result) = reading.value;
        self.subject_name = subject_name.or_else(|| self.subject_name.take());
        let refused = match result {
            Ok(value) => return Ok(value),
            Err(refused) => refused,
        };
        self.authorized = refused.was_authorized();
        if refused.path.is_some() {
            self.path.clone_from(&refused.path);
        }
        match refused.refusal {
            Refusal::Rejected(rejection) => Err(rejected(&rejection, at)),
            Refusal::Storage(error) => Err(ApiError::internal(error.to_string())),
        }
    }
}

/// The caller's name, and what a read in its name came to.
pub(crate) type Judged<R> = (Option<String>, Result<R, Refused>);

/// Authenticates the caller in a view, by this time, then runs `read` in it, by the same.
pub(crate) fn judge<R>(
    view: &dyn StateRead,
    caller: &Caller,
    now: LogTime,
    read: impl FnOnce(&TimedView<'_>) -> Result<R, Refused>,
) -> Judged<R> {
    let mut identified = identify(view, &caller.subject, Some(&caller.token), now);
    if mutant(Mutant::RevokedTokenCached) {
        identified = seeded::or_accepted_before(identified, caller);
    }
    match identified {
        Ok(account) => (account.map(|account| account.name), read(&TimedView::new(view, now))),
        Err(refusal) => (None, Err(refusal.into())),
    }
}
