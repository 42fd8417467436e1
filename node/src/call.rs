//! One RPC from its beginning to its audit record and reply.
//!
//! A handler creates a [`Call`], walks the straight line of `design §3` with it, and ends with
//! [`Call::finish`], which writes the one audit record before the reply leaves (`design §10`) and
//! puts the index that the answer reflects into the metadata.

mod answer;
mod asking;
mod counting;
mod proposal;
mod reading;

use std::sync::Arc;

use lockbox_core::{ResourcePath, Subject, VersionId};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::record::{KmsRequest, RequestParameters, ResponseSummary};
pub use lockbox_platform::detach::detached;
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::validate::Validate;
use lockbox_raft::domain::operation::OperationRecord;
use tonic::Status;

pub use self::asking::KmsOperation;
pub use self::proposal::Attempt;
pub(crate) use self::reading::judge;
use crate::app::App;
use crate::authn::Caller;
use crate::consistency::{Consistency, min_index};
use crate::errors::DecidedAt;
use crate::grants::{Asserting, Grants, KmsScope, KmsStep};
use crate::keyring::KeyRing;
use crate::peer_name::{self, Peer};

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
    /// The name in the caller's certificate, on the listener for peers.
    certificate_name: Option<String>,
    /// The account that logged in with this call.
    account: Option<Subject>,
    /// The caller's name, as the state has it.
    subject_name: Option<String>,
    consistency: Consistency,
    /// What the caller has seen already: what the call reads reflects it, or is no answer.
    min_index: Option<u64>,
    observed: Option<DecidedAt>,
    /// Where the state last refused a proposal of this call.
    decided: Option<DecidedAt>,
    authorized: bool,
    stale: bool,
    /// The keys that the node had when the call was admitted. Kept until its reply, so that whoever
    /// seals the node can wait for the last reply that was made with them; the reply itself is then
    /// waited for by [`crate::keyring::Leaving`].
    ring: Option<Arc<KeyRing>>,
    /// Tells this request's crypto calls from those of every other one.
    nonce: [u8; 16],
    /// The billed requests that the call made to the KMS, the latest one last.
    kms_requests: Vec<KmsRequest>,
    /// Its audit record is made.
    recorded: bool,
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
            ring: None,
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
            min_index: None,
            observed: None,
            decided: None,
            authorized: false,
            stale: false,
            kms_requests: Vec::new(),
            recorded: false,
        }
    }

    /// Admits a caller whose certificate names one of these peers, on the listener for peers. One
    /// that is refused is in the audit by its name as well: the authority has vouched for it.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a certificate, PERMISSION_DENIED with another name, UNAVAILABLE
    /// while the audit takes no records.
    pub fn admit_certificate(&mut self, one_of: &[Peer]) -> Result<(), ApiError> {
        let admitted = peer_name::require(&self.context, one_of);
        self.authorized = admitted.is_ok();
        let first = || self.context.peer_identity.as_ref()?.dns_names.first().cloned();
        self.certificate_name = admitted.as_ref().ok().cloned().or_else(first);
        admitted?;
        self.app.auditor.demand_writable()
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

    /// Notes the point of the log that the answer reflects, where no view of the state was read.
    pub const fn observe(&mut self, at: DecidedAt) {
        self.observed = Some(at);
    }

    /// Notes the entry that made what is answered: of a repeat, not where it was looked up.
    pub(crate) const fn observe_effect(&mut self, operation: &OperationRecord) {
        self.observe(DecidedAt { index: operation.index, term: operation.term });
    }

    /// The point of the log that the call has looked at last.
    #[must_use]
    pub const fn observed(&self) -> Option<DecidedAt> {
        self.observed
    }

    /// Demands that the node is not sealed, and keeps its keys until the reply.
    ///
    /// # Errors
    /// UNAVAILABLE while sealed.
    pub fn demand_unsealed(&mut self) -> Result<(), ApiError> {
        let ring = self.app.keyring.ring();
        self.ring = Some(ring.map_err(|sealed| ApiError::unavailable(sealed.to_string()))?);
        Ok(())
    }

    /// Authenticates, then checks the fields (`contract §5.2`, order of checks).
    ///
    /// # Errors
    /// UNAVAILABLE while sealed or while the audit takes no records, UNAUTHENTICATED,
    /// INVALID_ARGUMENT with every wrong field, and where a stale answer is asked for: only [`Self::admit_metadata_read`] takes that.
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
        self.demand_unsealed()?;
        let caller = self.app.authenticator.caller(&self.context)?;
        // The view judges again; this keeps dead tokens from costing anything. Log time is a
        // lower bound: what is past its time here is so behind every barrier.
        let now = self.app.replica.log_time();
        if now.is_some_and(|now| caller.token.expires_at <= now) {
            return Err(ApiError::unauthenticated("token is not valid"));
        }
        self.caller = Some(caller.clone());
        self.app.auditor.demand_writable()?;
        self.count(&caller)?;
        validate(message)?;
        self.context.demand_single_headers()?;
        self.if_version = match self.context.if_version.as_deref() {
            None => None,
            Some(text) => Some(
                VersionId::parse(text)
                    .map_err(|_| ApiError::invalid("x-if-version", "is not a version id"))?,
            ),
        };
        self.consistency = Consistency::parse(self.context.consistency.as_deref())?;
        self.min_index = min_index(self.context.min_index.as_deref())?;
        Ok(caller)
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
}

/// Checks the fields of a message against the options of its definition.
///
/// # Errors
/// INVALID_ARGUMENT that names every wrong field.
pub fn validate(message: &impl Validate) -> Result<(), ApiError> {
    let violations = message.validate();
    if violations.is_empty() { Ok(()) } else { Err(ApiError::violations(violations)) }
}
