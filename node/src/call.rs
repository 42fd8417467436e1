//! One RPC from its beginning to its audit record and reply.
//!
//! A handler creates a [`Call`], walks the straight line of `design §3` with it, and ends with
//! [`Call::finish`], which writes the one audit record before the reply leaves (`design §10`) and
//! puts the index that the answer reflects into the metadata.

use std::sync::Arc;

use lockbox_core::{LogTime, OperationId, RequestId, ResourcePath, VersionId};
use lockbox_platform::audit::record::{
    AuditFailure, Authentication, Authorization, EventStatus, RequestMetadata, RequestParameters,
    ResourceMetadata, ResponseSummary, TokenInfo,
};
use lockbox_platform::audit::{AuditDetails, AuditRecord};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::validate::Validate;
use lockbox_raft::apply::{self, Refusal, authenticate};
use lockbox_raft::domain::command::{Command, Envelope, IdempotencyClaim};
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::domain::outcome::Outcome as Applied;
use lockbox_raft::replica::{NotProposedReason, ProposalOutcome, ProposeError, ReadError, Reading};
use lockbox_raft::state::StateRead;
use lockbox_raft::store::View;
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Response, Status};

use crate::app::App;
use crate::authn::Caller;
use crate::errors::{DecidedAt, rejected};
use crate::grants::{Grants, KmsScope, KmsStep};

/// How long a caller waits before trying again what was refused for lack of room.
const BUSY_RETRY: std::time::Duration = std::time::Duration::from_millis(200);

/// Runs a call to its end even when its caller hangs up.
///
/// A handler's future is dropped with its connection: a mutation would then be committed without
/// an audit record, and a caller could bring that about at will. The number of calls is bounded
/// by the listener's connections and streams.
///
/// # Errors
/// The call's own, or INTERNAL when it panicked.
pub async fn detached<T: Send + 'static>(
    calls: &TaskTracker,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Response<T>, Status> {
    let ended = calls.spawn(call).await;
    ended.unwrap_or_else(|_panicked| Err(Status::internal("the call ended unexpectedly")))
}

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
    observed: Option<DecidedAt>,
    authorized: bool,
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
            observed: None,
            authorized: false,
        }
    }

    /// Admits the caller whose certificate carries this name, on the listener for peers.
    pub fn admit_certificate(&mut self, name: String) {
        self.certificate_name = Some(name);
        self.authorized = true;
    }

    /// Names the caller for the audit record, as far as its token alone tells who that is.
    pub fn recognise(&mut self) {
        let now = self.app.replica.log_time();
        let alive = |caller: &Caller| now.is_some_and(|now| now < caller.token.expires_at);
        self.caller = self.app.authenticator.caller(&self.context).ok().filter(alive);
    }

    /// The point of the log that the call has looked at last.
    #[must_use]
    pub const fn observed(&self) -> Option<DecidedAt> {
        self.observed
    }

    /// Authenticates, then checks the fields (`contract §5.2`, order of checks).
    ///
    /// # Errors
    /// UNAVAILABLE while sealed, UNAUTHENTICATED, INVALID_ARGUMENT with every wrong field.
    pub fn admit(&mut self, message: &impl Validate) -> Result<Caller, ApiError> {
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
        Ok(caller)
    }

    /// Reads linearizably: authenticates the caller in the view, then runs `read` in it.
    ///
    /// # Errors
    /// What `read` refuses, decided at the view's index; UNAVAILABLE without a leader in time.
    pub async fn read<R>(
        &mut self,
        caller: &Caller,
        read: impl FnOnce(&dyn StateRead) -> Result<R, Refusal>,
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

    /// What an earlier request under the same `idempotency-key` made, if there was one: its
    /// repeat is answered here, before any billed KMS call (`design §3`).
    ///
    /// Behind a barrier, so that a retry on another node never pays again for what is done.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when that was another request; as [`Call::read`].
    pub async fn recall(
        &mut self,
        caller: &Caller,
        claim: Option<&IdempotencyClaim>,
    ) -> Result<Option<OperationRecord>, ApiError> {
        let Some(claim) = claim else { return Ok(None) };
        let look = |view: &dyn StateRead| apply::recall(view, &caller.subject, claim);
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
    /// As [`Call::read`].
    pub async fn look<R>(
        &mut self,
        read: impl FnOnce(&dyn StateRead, LogTime) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        let deadline = self.context.deadline;
        let reading = self.app.replica.read(deadline, |view, now| read(view, now)).await;
        let reading = reading.map_err(unread)?;
        let value = self.settle(reading)?;
        self.authorized = true;
        Ok(value)
    }

    /// What the KMS is told about the caller for one crypto call.
    #[must_use]
    pub fn assertion(
        &self,
        caller: &Caller,
        grants: &Grants,
        step: KmsStep<'_>,
    ) -> CallerAssertion {
        grants.assertion(caller, &self.context, step, self.app.clock.wall_ms())
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
        read: impl Fn(&dyn StateRead) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        let glance = self
            .app
            .replica
            .read_stale(|view, now| Some(judge(view, caller, now?, &read)))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        match glance.value {
            Some(Ok(value)) => {
                self.authorized = true;
                Ok(value)
            }
            None | Some(Err(Refusal::Rejected(_))) => self.read(caller, read).await,
            Some(Err(Refusal::Storage(error))) => Err(ApiError::internal(error.to_string())),
        }
    }

    fn settle<R>(&mut self, reading: Reading<Result<R, Refusal>>) -> Result<R, ApiError> {
        let at = DecidedAt { index: reading.index, term: reading.term };
        self.observed = Some(at);
        match reading.value {
            Ok(value) => Ok(value),
            Err(Refusal::Rejected(rejection)) => Err(rejected(&rejection, at)),
            Err(Refusal::Storage(error)) => Err(ApiError::internal(error.to_string())),
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
            Applied::Rejected(rejection) => Err(Attempt::Rejected(rejection, at)),
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

    /// Writes the audit record, then lets the reply leave.
    ///
    /// # Errors
    /// The call's own error, or the audit's: a call that cannot be recorded fails.
    pub async fn finish<R>(mut self, result: Result<R, ApiError>) -> Result<Response<R>, Status> {
        if let Err(error) = &result
            && matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied)
        {
            // Whatever an earlier look said: the last word was no.
            self.authorized = false;
        }
        self.reply(result).await
    }

    async fn reply<R>(self, result: Result<R, ApiError>) -> Result<Response<R>, Status> {
        let record = self.record(result.as_ref().err());
        let recorded = self.app.auditor.record(&record).await;
        let result = match recorded {
            Ok(()) => result,
            Err(error) => Err(ApiError::from(error)),
        };
        match result {
            Ok(message) => {
                let mut response = Response::new(message);
                self.label(response.metadata_mut());
                if let Some(at) = self.observed {
                    put(response.metadata_mut(), "lockbox-index", at.index.to_string());
                    put(response.metadata_mut(), "lockbox-term", at.term.to_string());
                }
                Ok(response)
            }
            Err(error) => {
                let mut status = error.into_status(&self.context.request_id);
                self.label(status.metadata_mut());
                Err(status)
            }
        }
    }

    /// Says who answers and who leads (`design §3`).
    ///
    /// An error's index is the error's own business: one that was not decided at an index must
    /// not carry that of some view, or it would pass for an observation.
    fn label(&self, metadata: &mut MetadataMap) {
        put(metadata, "lockbox-served-by", self.app.config.node_id.to_string());
        if let Some((_, leader)) = self.app.replica.leader() {
            put(metadata, "lockbox-leader", leader.api_address);
        }
        if let Some(kms_index) = &self.kms_index {
            put(metadata, "kms-index", kms_index.clone());
        }
    }

    /// Log time, and the node's own clock while that is not known yet: a wrong hour would be worse
    /// than one that no leader has confirmed.
    fn event_time(&self) -> LogTime {
        let own = || LogTime::from_ms(self.app.clock.wall_ms());
        self.app.replica.log_time().unwrap_or_else(own)
    }

    fn authentication(&self) -> Authentication {
        match (&self.caller, &self.certificate_name) {
            (Some(caller), _) => {
                let token = TokenInfo {
                    masked_iam_token: caller.masked_token.clone(),
                    iam_token_id: Some(caller.token.token_id.to_string()),
                    impersonator_id: None,
                };
                Authentication::of(&caller.subject, None, Some(token))
            }
            (None, Some(name)) => Authentication {
                authenticated: true,
                subject_id: Some(name.clone()),
                ..Authentication::default()
            },
            (None, None) => Authentication::default(),
        }
    }

    fn record(&self, error: Option<&ApiError>) -> AuditRecord {
        AuditRecord {
            event_id: RequestId::generate(self.app.random.as_ref()).to_string(),
            event_time: self.event_time().into(),
            authentication: self.authentication(),
            authorization: Authorization { authorized: self.authorized },
            resource_metadata: self.path.as_ref().map(ResourceMetadata::from).unwrap_or_default(),
            request_metadata: RequestMetadata {
                remote_address: self.context.remote.map(|a| a.ip().to_string()).unwrap_or_default(),
                user_agent: self.context.user_agent.clone(),
                request_id: self.context.request_id.clone(),
                remote_port: self.context.remote.map(|a| a.port().to_string()),
            },
            event_status: if error.is_some() { EventStatus::Error } else { EventStatus::Done },
            error: error.map(|error| AuditFailure {
                code: error.code().into(),
                message: error.message().to_owned(),
            }),
            details: self.details.clone(),
            request_parameters: self.parameters.clone(),
            response: self.response.clone(),
        }
    }
}

/// Adds a header; a text that no header can hold is left out.
fn put(metadata: &mut MetadataMap, name: &'static str, value: String) {
    if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
        metadata.insert(MetadataKey::<Ascii>::from_static(name), value);
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

fn judge<R>(
    view: &dyn StateRead,
    caller: &Caller,
    now: LogTime,
    read: impl FnOnce(&dyn StateRead) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    authenticate(view, &caller.subject, Some(&caller.token), now)?;
    read(view)
}

/// Maps a read that has no view.
pub(crate) fn unread(error: ReadError) -> ApiError {
    match error {
        ReadError::NoLeader => ApiError::unavailable("no leader"),
        ReadError::Deadline => ApiError::unavailable("no leader confirmed the read in time"),
        ReadError::Draining => ApiError::unavailable("the node is shutting down"),
        ReadError::QueueFull => busy(),
        ReadError::Storage(error) => ApiError::internal(error.to_string()),
    }
}

/// Maps a proposal without an outcome.
pub(crate) fn unproposed(error: &ProposeError) -> ApiError {
    let outcome = match error.outcome() {
        ProposalOutcome::NotProposed => Outcome::NotProposed,
        ProposalOutcome::Unknown => Outcome::Unknown,
    };
    match error {
        ProposeError::NotProposed(NotProposedReason::QueueFull) => busy(),
        ProposeError::NotProposed(
            NotProposedReason::NoLeader | NotProposedReason::Draining | NotProposedReason::Refused,
        )
        | ProposeError::Unknown(_) => {
            let kind = ErrorKind::Unavailable { retry_after: None };
            ApiError::new(kind, error.to_string(), outcome)
        }
        ProposeError::Storage(error) => ApiError::internal(error.to_string()),
    }
}

fn busy() -> ApiError {
    let exhausted = Exhausted::Busy { retry_after: BUSY_RETRY };
    let kind = ErrorKind::ResourceExhausted(exhausted);
    ApiError::new(kind, "too many requests are under way", Outcome::NotProposed)
}
