//! The frame of every call: who calls, the audit record, the answer's metadata.
//!
//! Promises: a call is answered only after its audit record is written, refusals included, unless
//! it is one of those that leave none when they are done ([`unread::RECORDED_IF_REFUSED`]), or its
//! time is over meanwhile ([`super::attended`]), and does nothing while the audit takes no
//! records; every answer says which commit sequence it reflects.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use lockbox_core::{LogTime, RequestId, ResourcePath};
use lockbox_platform::audit::record::{
    AuditFailure, Authentication, Authorization as Authorized, EventStatus, KmsRequest,
    RequestMetadata, TokenInfo,
};
use lockbox_platform::audit::{AuditDetails, AuditRecord};
use lockbox_platform::detach::{record_unfinished, unfinished};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::headers;
use lockbox_platform::rate::Counted;
use lockbox_platform::request::{Authorization, RequestContext};
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use lockbox_platform::token;
use lockbox_proto::validate::Validate;
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::attended::AtLedger;
use super::status::unrecognised;
use super::{Edge, unread};
use crate::authn::assertion::ASSERTION_METADATA;
use crate::authn::{Authenticated, Credentials};
use crate::caller::{Caller, Via};
use crate::error::KmsError;
use crate::keys::service::Answer;

/// One call.
pub(super) struct Call {
    edge: Arc<Edge>,
    context: Arc<RequestContext>,
    assertion: Option<Vec<u8>>,
    authenticated: Option<Authenticated>,
    /// Its audit record is made.
    recorded: bool,
    at_ledger: AtLedger,
}

/// What the audit says of a call.
pub(super) struct Event {
    /// The event and its details.
    pub(super) details: AuditDetails,
    /// The resource with its ancestors, as far as it is known.
    pub(super) path: ResourcePath,
}

impl Call {
    /// Takes what identifies the caller out of a request.
    pub(super) fn begin<T>(edge: &Arc<Edge>, request: &Request<T>) -> Result<Self, Status> {
        Ok(Self::of(edge, RequestContext::of(request)?, request.metadata()))
    }

    /// Takes up a request whose context is at hand; of its metadata, the assertion counts.
    pub(super) fn of(
        edge: &Arc<Edge>,
        context: Arc<RequestContext>,
        metadata: &MetadataMap,
    ) -> Self {
        let assertion = metadata.get_bin(ASSERTION_METADATA).map(|value| {
            // Bytes that do not decode must not pass for no assertion at all.
            value.to_bytes().map_or_else(|_| vec![0xff], |bytes| bytes.to_vec())
        });
        let (edge, at_ledger) = (Arc::clone(edge), AtLedger::default());
        Self { edge, context, assertion, authenticated: None, recorded: false, at_ledger }
    }

    /// Shows whether it is with the ledger.
    pub(super) fn seen_by(mut self, at_ledger: AtLedger) -> Self {
        self.at_ledger = at_ledger;
        self
    }

    /// Recognises the caller and counts the call, then checks the request against its constraints
    /// (`contract §5.2`, order of checks).
    pub(super) async fn admit<M: Validate>(
        &mut self,
        edge: &Edge,
        message: &M,
    ) -> Result<Caller, ApiError> {
        let caller = self.recognise(edge).await?;
        edge.auditor.demand_writable()?;
        count(edge, &caller)?;
        self.check(message)?;
        Ok(caller)
    }

    /// Checks the request of somebody who is known.
    fn check<M: Validate>(&self, message: &M) -> Result<(), ApiError> {
        let violations = message.validate();
        if !violations.is_empty() {
            return Err(ApiError::violations(violations));
        }
        self.context.demand_single_headers()
    }

    /// Recognises the caller.
    pub(super) async fn recognise(&mut self, edge: &Edge) -> Result<Caller, ApiError> {
        let token = match &self.context.authorization {
            Authorization::Bearer(token) => Some(token),
            Authorization::Missing => None,
            Authorization::Malformed => {
                return Err(self.context.bearer().map_or_else(
                    |error| error,
                    |_| ApiError::unauthenticated("the authorization is not a bearer token"),
                ));
            }
        };
        let names = self.context.peer_identity.as_ref().map_or(&[][..], |peer| &peer.dns_names);
        let credentials = Credentials {
            certificate_names: names,
            assertion: self.assertion.as_deref(),
            token,
            address: self.context.remote.map(|remote| remote.ip()),
            deadline: self.context.deadline,
        };
        let authenticated =
            edge.authenticator.authenticate(credentials).await.map_err(unrecognised)?;
        let caller = authenticated.caller.clone();
        self.authenticated = Some(authenticated);
        Ok(caller)
    }

    /// Recognises an operator, then checks the request.
    pub(super) fn admit_operator<M: Validate>(
        &mut self,
        edge: &Edge,
        message: &M,
    ) -> Result<Caller, ApiError> {
        let operator = self.recognise_operator(edge)?;
        edge.auditor.demand_writable()?;
        self.check(message)?;
        Ok(operator)
    }

    /// Recognises an operator by the name in the client certificate.
    pub(super) fn recognise_operator(&mut self, edge: &Edge) -> Result<Caller, ApiError> {
        let Some(peer) = &self.context.peer_identity else {
            return Err(ApiError::unauthenticated("the call needs a client certificate"));
        };
        let is_operator =
            |name: &&String| edge.operators.iter().any(|own| own.eq_ignore_ascii_case(name));
        let Some(name) = peer.dns_names.iter().find(is_operator) else {
            // For the audit alone: the authority has vouched for the name.
            self.authenticated = peer.dns_names.first().map(|name| Caller::operator(name).into());
            let message = "the client certificate does not carry a name that may call this";
            return Err(ApiError::new(ErrorKind::PermissionDenied, message, Outcome::NotProposed));
        };
        let operator = Caller::operator(name);
        self.authenticated = Some(operator.clone().into());
        Ok(operator)
    }

    /// Id of the client's request: the one that a node asserts, or this call's own.
    pub(super) fn request_id(&self) -> &str {
        let asserted = self.authenticated.as_ref().and_then(|a| a.request_id.as_deref());
        asserted.unwrap_or(&self.context.request_id)
    }

    /// The idempotency key of a mutation.
    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.context.idempotency_key.as_deref()
    }

    /// Does what is committed and perhaps billed, unless the caller has stopped waiting by now.
    ///
    /// Once begun it is not given up: what the ledger holds has to reach the audit as done.
    pub(super) async fn commit<T>(
        &self,
        work: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, ApiError> {
        if self.context.expired() {
            let message = "the deadline of the call has passed";
            return Err(ApiError::new(ErrorKind::DeadlineExceeded, message, Outcome::NotProposed));
        }
        let _stay = self.at_ledger.enter();
        work.await.map_err(ApiError::from)
    }

    /// Until when the caller waits.
    pub(super) fn deadline(&self) -> Instant {
        self.context.deadline
    }

    /// Gives the answer of a call that is done and leaves no record. [`unread::RECORDED_IF_REFUSED`]
    /// names their methods.
    pub(super) fn answer_unrecorded<T>(mut self, answer: Answer<T>) -> Response<T> {
        debug_assert!(unread::RECORDED_IF_REFUSED.contains(&self.context.method.as_str()));
        self.recorded = true;
        with_index(answer)
    }

    /// Writes the audit record and, only then, gives the answer.
    pub(super) async fn finish<T>(
        mut self,
        edge: &Edge,
        event: Event,
        result: Result<Answer<T>, ApiError>,
    ) -> Result<Response<T>, Status> {
        let record = self.record(edge, event, result.as_ref().err());
        self.recorded = true;
        let request_id = self.context.request_id.as_str();
        if let Err(error) = edge.auditor.record(&record, self.context.deadline).await {
            // The call may have been done: without its record it must not be answered.
            let nothing = |error: &ApiError| error.outcome() == Outcome::NotProposed;
            let was_done = !result.as_ref().err().is_some_and(nothing);
            let outcome = if was_done { Outcome::Unknown } else { Outcome::NotProposed };
            return Err(ApiError::from(error).with_outcome(outcome).into_status(request_id));
        }
        match result {
            Ok(answer) => Ok(with_index(answer)),
            Err(error) => {
                if *error.kind() == ErrorKind::Internal {
                    edge.fatal.raise(ExitCode::Storage, "the store failed during a call");
                }
                Err(error.into_status(request_id))
            }
        }
    }

    fn record(&self, edge: &Edge, event: Event, error: Option<&ApiError>) -> AuditRecord {
        AuditRecord {
            event_id: RequestId::generate(edge.random.as_ref()).to_string(),
            event_time: LogTime::from_ms(edge.clock.wall_ms()).into(),
            authentication: self.authentication(),
            authorization: Authorized { authorized: self.was_authorized(&event, error) },
            resource_metadata: (&event.path).into(),
            request_metadata: self.request_metadata(),
            event_status: if error.is_some() { EventStatus::Error } else { EventStatus::Done },
            error: error.map(|error| AuditFailure {
                code: i32::from(error.code()),
                message: error.message().to_owned(),
            }),
            kms_requests: self.kms_request(&event.details, error.is_none()).into_iter().collect(),
            details: event.details,
            request_parameters: None,
            response: None,
        }
    }

    /// Whether the caller was allowed what it asked for: rights are judged right behind the look at
    /// the resource, and states and quotas behind them (`contract §5.2`, order of checks).
    fn was_authorized(&self, event: &Event, error: Option<&ApiError>) -> bool {
        let Some(authenticated) = &self.authenticated else { return false };
        match error.map(ApiError::kind) {
            Some(ErrorKind::Unauthenticated | ErrorKind::PermissionDenied) => false,
            None
            | Some(
                ErrorKind::FailedPrecondition(_)
                | ErrorKind::ResourceExhausted(Exhausted::Quota { .. }),
            ) => true,
            // Of an operator the certificate says all there is to say.
            Some(_) => {
                let is_operator = authenticated.caller.via == Via::Operator;
                is_operator || !event.path.resources().is_empty()
            }
        }
    }

    /// The call as the node that made it names it: a crypto call on behalf of somebody.
    fn kms_request(&self, details: &AuditDetails, answered: bool) -> Option<KmsRequest> {
        let via = self.authenticated.as_ref().map(|authenticated| &authenticated.caller.via);
        let Some(Via::Assertion { kms_request_id: Some(id), .. }) = via else { return None };
        Some(KmsRequest {
            kms_request_id: hex::encode(id.as_bytes()),
            key_id: details.crypto()?.key_id.clone(),
            operation: details.event_name(),
            answered,
        })
    }

    fn authentication(&self) -> Authentication {
        let Some(authenticated) = &self.authenticated else { return Authentication::default() };
        let caller = &authenticated.caller;
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        let masked = match (&self.context.authorization, &self.assertion) {
            (Authorization::Bearer(token), None) => token::mask(token.expose()),
            (Authorization::Bearer(_) | Authorization::Missing | Authorization::Malformed, _) => {
                String::new()
            }
        };
        let token_info = TokenInfo {
            masked_iam_token: masked,
            iam_token_id: given(&caller.token_id),
            impersonator_id: None,
            impersonator_type: None,
        };
        let known = token_info != TokenInfo::default();
        let token_info = known.then_some(token_info);
        Authentication::of(&caller.subject, given(&caller.subject_name), token_info)
    }

    fn request_metadata(&self) -> RequestMetadata {
        let authenticated = self.authenticated.as_ref();
        let asserted_agent = authenticated.and_then(|a| a.user_agent.clone());
        let asserted_address = authenticated.and_then(|a| a.remote_address.clone());
        let split = |remote: SocketAddr| (remote.ip().to_string(), Some(remote.port().to_string()));
        let (remote_address, remote_port) = match asserted_address {
            // A node gives the client's address with its port, or without.
            Some(text) => text.parse().map_or((text, None), split),
            None => self.context.remote.map(split).unwrap_or_default(),
        };
        RequestMetadata {
            remote_address,
            user_agent: asserted_agent.unwrap_or_else(|| self.context.user_agent.clone()),
            request_id: self.request_id().to_owned(),
            remote_port,
        }
    }
}

/// The answer with the commit sequence that it reflects.
fn with_index<T>(Answer { value, index }: Answer<T>) -> Response<T> {
    let mut response = Response::new(value);
    response.metadata_mut().insert(headers::KMS_INDEX, MetadataValue::from(index));
    response
}

impl Drop for Call {
    /// Records a call that did not get to its end: whatever it had done by then is done.
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        // What it was about went with its handler: the method says what was asked for.
        let Some(event) = unread::event(&self.context.method) else { return };
        let Edge { calls, auditor, .. } = &*self.edge;
        let record = self.record(&self.edge, event, Some(&unfinished()));
        record_unfinished(calls, auditor, record, self.context.deadline);
    }
}

/// Counts the call of a subject, whether it calls itself or a node does for it: its bill is the
/// same. What nodes do in their own name keeps their cluster unsealed, and is not counted.
fn count(edge: &Edge, caller: &Caller) -> Result<(), ApiError> {
    let of_subject = match caller.via {
        Via::Token | Via::Assertion { .. } => true,
        Via::Node { .. } | Via::Operator => false,
    };
    if !of_subject || !edge.rate.is_limited() {
        return Ok(());
    }
    edge.rate.admit(&Counted::Subject(caller.subject.clone()))
}

#[cfg(test)]
mod tests;
