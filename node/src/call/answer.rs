//! The end of a call: its audit record, then its reply.

use lockbox_core::{LogTime, RequestId};
use lockbox_platform::audit::AuditRecord;
use lockbox_platform::audit::record::{
    AuditFailure, Authentication, Authorization, EventStatus, RequestMetadata, ResourceMetadata,
    TokenInfo,
};
use lockbox_platform::detach::{record_unfinished, unfinished};
use lockbox_platform::headers;
use lockbox_platform::status::{ApiError, Outcome};
use lockbox_platform::until_sent::UntilSent;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Response, Status};

use super::Call;
use crate::errors::DecidedAt;

impl Call<'_> {
    /// Writes the audit record, then lets the reply leave.
    ///
    /// # Errors
    /// The call's own error, or the audit's: a call that cannot be recorded fails.
    pub async fn finish<R>(mut self, result: Result<R, ApiError>) -> Result<Response<R>, Status> {
        let result = result.map_err(|error| placed(error, self.decided));
        if let Err(error) = &result
            && matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied)
        {
            // Whatever an earlier look said: the last word was no.
            self.authorized = false;
        }
        self.reply(result).await
    }

    async fn reply<R>(mut self, result: Result<R, ApiError>) -> Result<Response<R>, Status> {
        let record = self.record(result.as_ref().err());
        self.recorded = true;
        let recorded = self.app.auditor.record(&record, self.context.deadline).await;
        let result = match recorded {
            Ok(()) => result,
            Err(error) => {
                let error = ApiError::from(error).with_outcome(unrecorded(&result));
                Err(placed(error, self.decided))
            }
        };
        match result {
            Ok(message) => {
                let mut response = Response::new(message);
                if self.ring.is_some() {
                    // ORDER: before the call lets go of the keys; whoever seals the node waits for
                    // one of the two at any time.
                    let leaving = UntilSent::new(self.app.keyring.leaving());
                    response.extensions_mut().insert(leaving);
                }
                self.label(response.metadata_mut());
                if let Some(at) = self.observed {
                    put(response.metadata_mut(), headers::INDEX, at.index.to_string());
                    put(response.metadata_mut(), headers::TERM, at.term.to_string());
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

    /// Says who leads (`design §3`); who answers is said of every call, by the layer around all.
    ///
    /// An error's index is the error's own business: one that was not decided at an index must
    /// not carry that of some view, or it would pass for an observation.
    fn label(&self, metadata: &mut MetadataMap) {
        if let Some((_, leader)) = self.app.replica.leader() {
            put(metadata, headers::LEADER, leader.api_address);
        }
        if self.stale {
            put(metadata, headers::STALE, "true".to_owned());
        }
        // An error of the KMS brings its own, which is the later one.
        if let Some(kms_index) = &self.kms_index
            && !metadata.contains_key(headers::KMS_INDEX)
        {
            put(metadata, headers::KMS_INDEX, kms_index.clone());
        }
    }

    /// Log time, and the node's own clock while that is not known yet: a wrong hour would be worse
    /// than one that no leader has confirmed.
    fn event_time(&self) -> LogTime {
        let own = || LogTime::from_ms(self.app.clock.wall_ms());
        self.app.replica.log_time().unwrap_or_else(own)
    }

    fn authentication(&self) -> Authentication {
        match (&self.caller, &self.certificate_name, &self.account) {
            (Some(caller), _, _) => {
                let maker = caller.token.maker.as_ref();
                let token = TokenInfo {
                    masked_iam_token: caller.masked_token.clone(),
                    iam_token_id: Some(caller.token.token_id.to_string()),
                    impersonator_id: maker.map(|maker| maker.subject.id.clone()),
                    impersonator_type: maker.map(|maker| maker.subject.kind.audit_name()),
                };
                Authentication::of(&caller.subject, self.subject_name.clone(), Some(token))
            }
            (None, Some(name), _) => Authentication {
                authenticated: true,
                subject_id: Some(name.clone()),
                ..Authentication::default()
            },
            (None, None, Some(account)) => {
                Authentication::of(account, self.subject_name.clone(), None)
            }
            (None, None, None) => Authentication::default(),
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
            kms_requests: self.kms_requests.clone(),
        }
    }
}

impl Drop for Call<'_> {
    /// Records a call that did not get to its end, with what is known by then: whatever it had
    /// done is done, and what it asked the KMS may be billed.
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        let record = self.record(Some(&unfinished()));
        record_unfinished(&self.app.calls, &self.app.auditor, record, self.context.deadline);
    }
}

/// The error with what the whole call allows to conclude: when an earlier try of it was refused by
/// the state, something was handed to Raft, and its refusal is an observation.
///
/// Not where the code could pass for what was observed: a key that the KMS refuses, or a full
/// queue, is no state of the log. Nothing has happened and nothing will, so it stays so.
fn placed(error: ApiError, decided: Option<DecidedAt>) -> ApiError {
    let says_nothing = matches!(
        error.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal
    );
    match (error.outcome(), decided) {
        (Outcome::NotProposed, Some(at)) if says_nothing => error.with_outcome(at.into()),
        (Outcome::NotProposed | Outcome::DecidedAt { .. } | Outcome::Unknown, _) => error,
    }
}

/// What the caller of a call without a record may conclude: what did not happen, did not happen.
fn unrecorded<R>(result: &Result<R, ApiError>) -> Outcome {
    match result.as_ref().map_err(ApiError::outcome) {
        Err(Outcome::NotProposed) => Outcome::NotProposed,
        Ok(_) | Err(Outcome::DecidedAt { .. } | Outcome::Unknown) => Outcome::Unknown,
    }
}

/// Adds a header; a text that no header can hold is left out.
fn put(metadata: &mut MetadataMap, name: &'static str, value: String) {
    if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
        metadata.insert(MetadataKey::<Ascii>::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::status::{ErrorKind, Precondition};

    use super::*;

    #[test]
    fn what_the_kms_refuses_is_no_observation_of_the_state() {
        let decided = Some(DecidedAt { index: 7, term: 2 });
        let refused = |kind| ApiError::new(kind, "no", Outcome::NotProposed);
        let unusable = ErrorKind::FailedPrecondition(Precondition {
            kind: "KMS_KEY",
            subject: "abjkey".to_owned(),
            description: "is not active".to_owned(),
        });
        for kind in [unusable, ErrorKind::PermissionDenied, ErrorKind::DataLoss] {
            assert_eq!(placed(refused(kind), decided).outcome(), Outcome::NotProposed);
        }
        let away = || refused(ErrorKind::Unavailable { retry_after: None });
        let at = Outcome::DecidedAt { index: 7, term: 2 };
        assert_eq!(placed(away(), decided).outcome(), at);
        assert_eq!(placed(away(), None).outcome(), Outcome::NotProposed);
    }

    #[test]
    fn only_what_was_not_proposed_is_known_without_a_record() {
        let failed = |outcome| Err::<(), _>(ApiError::unavailable("no").with_outcome(outcome));
        assert_eq!(unrecorded(&failed(Outcome::NotProposed)), Outcome::NotProposed);
        assert_eq!(unrecorded(&Ok(())), Outcome::Unknown);
        let decided = Outcome::DecidedAt { index: 7, term: 2 };
        for outcome in [decided, Outcome::Unknown] {
            assert_eq!(unrecorded(&failed(outcome)), Outcome::Unknown);
        }
    }
}
