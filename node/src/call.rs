//! One RPC from its beginning to its audit record and reply.
//!
//! A handler creates a [`Call`], walks the straight line of `design §3` with it, and ends with
//! [`Call::finish`], which writes the one audit record before the reply leaves (`design §10`) and
//! puts the index that the answer reflects into the metadata.

mod answer;

use std::sync::Arc;

use lockbox_core::{LogTime, OperationId, RequestId, ResourcePath, Subject, VersionId};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::record::{RequestParameters, ResponseSummary};
pub use lockbox_platform::detach::detached;
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::validate::Validate;
use lockbox_raft::apply::{self, Refusal, identify};
use lockbox_raft::domain::command::{Command, Envelope, IdempotencyClaim};
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::domain::outcome::Outcome as Applied;
use lockbox_raft::replica::Reading;
use lockbox_raft::state::StateRead;
use lockbox_raft::store::View;
use tonic::Status;

use crate::app::App;
use crate::authn::Caller;
use crate::consistency::Consistency;
use crate::errors::{DecidedAt, rejected, unproposed, unread};
use crate::grants::{Asserting, Grants, KmsScope, KmsStep};
use crate::refused::Refused;

/// The method that needs no token.
const LOGIN: &str = "/yandex.cloud.iam.v1.IamTokenService/Create";

/// One RPC under way.
pub struct Call<'a> {
    /// The node.
    pub app: &'a App,
    /// What came with the request beside its message.
    pub context: Arc<RequestContext>,
    /// The event's details, filled in as they become known.
    pub details: AuditDetails,
    /// Ids of the request, for the audit record.
    pub parameters: Option<RequestParameters>,
    /// What of the response the audit record shows.
    pub response: Option<ResponseSummary>,
    /// The resource that the call is about, once resolved.
    pub path: Option<ResourcePath>,
    /// The KMS's commit sequence, when the call reached it.
    pub kms_index: Option<String>,
    /// Our extension `x-if-version`, once admitted.
    pub if_version: Option<VersionId>,
    caller: Option<Caller>,
    /// The name in the caller's certificate, when that is what admitted it.
    certificate_name: Option<String>,
    /// The account that logged in with this call.
    account: Option<Subject>,
    /// The caller's name, as the state has it.
    subject_name: Option<String>,
    consistency: Consistency,
    observed: Option<DecidedAt>,
    /// Where the state last refused a proposal of this call.
    decided: Option<DecidedAt>,
    authorized: bool,
    stale: bool,
    /// Tells this request's crypto calls from those of every other one.
    nonce: [u8; 16],
}

impl<'a> Call<'a> {
    /// Takes up a request.
    ///
    /// # Errors
    /// INTERNAL when the listener did not supply the request's context.
    pub fn begin<T>(
        app: &'a App,
        request: &tonic::Request<T>,
        details: AuditDetails,
    ) -> Result<Self, Status> {
        Ok(Self::of(app, RequestContext::of(request)?, details))
    }

    /// Takes up a request whose context is at hand.
    #[must_use]
    pub fn of(app: &'a App, context: Arc<RequestContext>, details: AuditDetails) -> Self {
        let mut nonce = [0; 16];
        app.random.fill(&mut nonce);
        Self {
            nonce,
            app,
            context,
            details,
            parameters: None,
            response: None,
            path: None,
            kms_index: None,
            if_version: None,
            caller: None,
            certificate_name: None,
            account: None,
            subject_name: None,
            consistency: Consistency::default(),
            observed: None,
            decided: None,
            authorized: false,
            stale: false,
        }
    }

    /// Admits the caller whose certificate carries this name, on the listener for peers.
    pub fn admit_certificate(&mut self, name: String) {
        self.certificate_name = Some(name);
        self.authorized = true;
    }

    /// Names the account that has just proved who it is, for the audit record.
    pub fn log_in(&mut self, account: Subject, name: String) {
        self.account = Some(account);
        self.subject_name = Some(name);
    }

    /// Names the caller for the audit record, as far as its token alone tells who that is.
    pub fn recognise(&mut self) {
        let now = self.app.replica.log_time();
        let alive = |caller: &Caller| now.is_some_and(|now| now < caller.token.expires_at);
        self.caller = self.app.authenticator.caller(&self.context).ok().filter(alive);
    }

    /// Why the caller may not even be told what is wrong with its message, unless the method is
    /// the one that gives tokens out: authentication comes first (`contract §5.2`).
    #[must_use]
    pub fn unauthenticated(&self) -> Option<ApiError> {
        if self.caller.is_some() || self.context.method == LOGIN {
            return None;
        }
        let refused = self.app.authenticator.caller(&self.context).err();
        Some(refused.unwrap_or_else(|| ApiError::unauthenticated("token is not valid")))
    }

    /// The point of the log that the call has looked at last.
    #[must_use]
    pub const fn observed(&self) -> Option<DecidedAt> {
        self.observed
    }

    /// Authenticates, then checks the fields (`contract §5.2`, order of checks).
    ///
    /// # Errors
    /// UNAVAILABLE while sealed, UNAUTHENTICATED, INVALID_ARGUMENT with every wrong field, and
    /// where a stale answer is asked for: only [`Self::admit_metadata_read`] takes that.
    pub fn admit(&mut self, message: &impl Validate) -> Result<Caller, ApiError> {
        let caller = self.admit_metadata_read(message)?;
        self.consistency.demand_linearizable()?;
        Ok(caller)
    }

    /// As [`Self::admit`], for a method that ends in [`Self::read_metadata`].
    ///
    /// # Errors
    /// As [`Self::admit`], but for the stale answer.
    pub fn admit_metadata_read(&mut self, message: &impl Validate) -> Result<Caller, ApiError> {
        self.app.keyring.ring().map_err(|sealed| ApiError::unavailable(sealed.to_string()))?;
        let caller = self.app.authenticator.caller(&self.context)?;
        // The view judges again; this keeps dead tokens from costing anything. Log time is a
        // lower bound: what is past its time here is so behind every barrier.
        let now = self.app.replica.log_time();
        if now.is_some_and(|now| caller.token.expires_at <= now) {
            return Err(ApiError::unauthenticated("token is not valid"));
        }
        self.caller = Some(caller.clone());
        validate(message)?;
        self.if_version = match self.context.if_version.as_deref() {
            None => None,
            Some(text) => Some(
                VersionId::parse(text)
                    .map_err(|_| ApiError::invalid("x-if-version", "is not a version id"))?,
            ),
        };
        self.consistency = Consistency::parse(self.context.consistency.as_deref())?;
        Ok(caller)
    }

    /// Reads linearizably: authenticates the caller in the view, then runs `read` in it.
    ///
    /// # Errors
    /// What `read` refuses, decided at the view's index; UNAVAILABLE without a leader in time.
    pub async fn read<R>(
        &mut self,
        caller: &Caller,
        read: impl FnOnce(&dyn StateRead) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        let reading = self
            .app
            .replica
            .read(self.context.deadline, |view, now| judge(view, caller, now, read))
            .await
            .map_err(unread)?;
        let value = self.settle(reading)?;
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
        read: impl FnOnce(&dyn StateRead) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        match self.consistency {
            Consistency::Linearizable => self.read(caller, read).await,
            Consistency::Stale => {
                let replica = &self.app.replica;
                // While log time is unknown nobody's token can be judged on the local view.
                let Some(now) = replica.log_time() else { return self.read(caller, read).await };
                self.stale = true;
                let reading = replica.read_stale(|view, _| judge(view, caller, now, read));
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
        let look = |view: &dyn StateRead| {
            apply::recall_or_room(view, &caller.subject, claim).map_err(Refused::from)
        };
        let judged = |view: &View<'_>, now: LogTime| judge(view, caller, now, look);
        let reading = self.app.replica.read(self.context.deadline, judged).await;
        let operation = self.settle(reading.map_err(unread)?)?;
        self.authorized = operation.is_some();
        Ok(operation)
    }

    /// The attempt that a mutation's crypto calls belong to: all requests under one key.
    #[must_use]
    pub fn mutation_scope(&self) -> KmsScope<'_> {
        match self.context.idempotency_key.as_deref() {
            Some(key) if !key.is_empty() => KmsScope::Key(key),
            Some(_) | None => self.read_scope(),
        }
    }

    /// The attempt that a read's crypto call belongs to: this request, for each retry of a read
    /// is a new access (`design §9`).
    #[must_use]
    pub const fn read_scope(&self) -> KmsScope<'_> {
        KmsScope::Request(&self.nonce)
    }

    /// Reads linearizably for a caller who has no token yet; `read` gets the time to judge by.
    ///
    /// # Errors
    /// As [`Call::read`]; INVALID_ARGUMENT where a stale answer is asked for.
    pub async fn look<R>(
        &mut self,
        read: impl FnOnce(&dyn StateRead, LogTime) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        Consistency::parse(self.context.consistency.as_deref())?.demand_linearizable()?;
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

    /// What the KMS is told about the caller for one call; without a step when it is not billed.
    #[must_use]
    pub fn assertion(
        &self,
        caller: &Caller,
        grants: &Grants,
        step: Option<KmsStep<'_>>,
    ) -> CallerAssertion {
        let asserting = Asserting {
            caller,
            caller_name: self.subject_name.as_deref().unwrap_or_default(),
            context: &self.context,
            index: self.observed.map_or(0, |at| at.index),
            wall_ms: self.app.clock.wall_ms(),
        };
        grants.assertion(&asserting, step)
    }

    /// Prepares a mutation: reads the local view, and again behind a barrier if that refuses.
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
        read: impl Fn(&dyn StateRead) -> Result<R, Refused>,
    ) -> Result<R, ApiError> {
        let glance = self
            .app
            .replica
            .read_stale(|view, now| Some(judge(view, caller, now?, &read)))
            .map_err(|error| ApiError::internal(error.to_string()))?;
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
        let envelope = self.envelope(caller, claim, command);
        let applied = self.app.replica.propose(envelope, self.context.deadline).await;
        let applied = applied.map_err(|error| Attempt::Failed(unproposed(&error)))?;
        let at = DecidedAt { index: applied.index, term: applied.term };
        self.observed = Some(at);
        match applied.outcome {
            Applied::Done(operation) => {
                self.authorized = true;
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
    Rejected(lockbox_raft::domain::Rejection, DecidedAt),
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

/// Checks the fields of a message against the options of its definition.
///
/// # Errors
/// INVALID_ARGUMENT that names every wrong field.
pub fn validate(message: &impl Validate) -> Result<(), ApiError> {
    let violations = message.validate();
    if violations.is_empty() { Ok(()) } else { Err(ApiError::violations(violations)) }
}

/// The caller's name, and what a read in its name came to.
type Judged<R> = (Option<String>, Result<R, Refused>);

fn judge<R>(
    view: &dyn StateRead,
    caller: &Caller,
    now: LogTime,
    read: impl FnOnce(&dyn StateRead) -> Result<R, Refused>,
) -> Judged<R> {
    match identify(view, &caller.subject, Some(&caller.token), now) {
        Ok(account) => (account.map(|account| account.name), read(view)),
        Err(refusal) => (None, Err(refusal.into())),
    }
}
