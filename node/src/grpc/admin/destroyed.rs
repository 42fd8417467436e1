//! Whether a destroyed payload is out of the files of this node.

use std::collections::BTreeMap;

use lockbox_core::{ResourceKind, SecretId, VersionId};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::payload_mark::PayloadMark;
use lockbox_raft::domain::version::{VersionRecord, VersionStatus};
use lockbox_raft::replica::ReadError;
use lockbox_raft::state::tables;
use lockbox_raft::store::{FileReport, Finding};

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, rejected, unread};

impl Work for wire::VerifyDestroyedRequest {
    type Answer = wire::VerifyDestroyedResponse;
    const EVENT: &'static str = "VerifyDestroyed";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("secret_id", self.secret_id.clone()),
            ("version_id", self.version_id.clone()),
        ])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let mark =
            if self.mark.is_empty() { kept_mark(&self, call).await? } else { given(&self.mark)? };
        let replica = &call.app.replica;
        let found = replica.find_payload(mark, call.context.deadline).await;
        let files = found.map_err(|error| match error {
            ReadError::Deadline => {
                ApiError::unavailable("the files are more than can be read in the call's time")
            }
            other => unread(other),
        })?;
        let erasure = replica.erasure();
        Ok(wire::VerifyDestroyedResponse {
            node_id: call.app.config.node_id,
            mark: hex::encode(mark.pattern()),
            files: files.into_iter().map(searched).collect(),
            pending: erasure.pending,
            pending_age_seconds: erasure.pending_for.as_secs(),
        })
    }
}

/// What the state keeps of the payload.
async fn kept_mark(
    request: &wire::VerifyDestroyedRequest,
    call: &mut Call<'_>,
) -> Result<PayloadMark, ApiError> {
    let secret = SecretId::parse(&request.secret_id)
        .map_err(|_| ApiError::invalid("secret_id", "is not a secret's id"))?;
    let version = VersionId::parse(&request.version_id)
        .map_err(|_| ApiError::invalid("version_id", "is not a version's id"))?;
    let reading = call
        .app
        .replica
        .read(call.context.deadline, |view, _now| tables::version(view, &secret, &version))
        .await
        .map_err(unread)?;
    let at = DecidedAt { index: reading.index, term: reading.term };
    call.observe(at);
    let found = reading.value.map_err(|error| ApiError::internal(error.to_string()))?;
    mark_of(found, &version, at)
}

fn mark_of(
    found: Option<VersionRecord>,
    id: &VersionId,
    at: DecidedAt,
) -> Result<PayloadMark, ApiError> {
    let Some(found) = found else {
        let absent = Rejection::not_found(ResourceKind::SecretVersion, id.as_str());
        return Err(rejected(&absent, at));
    };
    let refused = |description: String| {
        let (kind, subject) = ("VERSION_STATUS", id.to_string());
        let precondition = Precondition { kind, subject, description: description.clone() };
        ApiError::new(ErrorKind::FailedPrecondition(precondition), description, Outcome::from(at))
    };
    match (found.status, found.payload_mark) {
        (VersionStatus::Destroyed, Some(mark)) => Ok(mark),
        (VersionStatus::Destroyed, None) => {
            Err(refused(format!("no mark is kept of the payload of version {id}")))
        }
        (VersionStatus::Active | VersionStatus::ScheduledForDestruction, _) => {
            Err(refused(format!("version {id} is not destroyed")))
        }
    }
}

fn given(text: &str) -> Result<PayloadMark, ApiError> {
    let mut pattern = [0; PayloadMark::BYTES];
    let decoded = hex::decode_to_slice(text, &mut pattern);
    decoded.map_err(|_| ApiError::invalid("mark", "is not a mark"))?;
    Ok(PayloadMark::searching(pattern))
}

fn searched(report: FileReport) -> wire::SearchedFile {
    let (finding, reason) = match report.finding {
        Finding::Clean => ("clean", String::new()),
        Finding::Holds => ("holds", String::new()),
        Finding::Unreadable(reason) => ("unreadable", reason),
    };
    wire::SearchedFile {
        path: report.path,
        bytes: report.bytes,
        finding: finding.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::LogTime;
    use tonic::Code;

    use super::*;

    fn version(status: VersionStatus, payload_mark: Option<PayloadMark>) -> VersionRecord {
        VersionRecord {
            id: VersionId::parse("v").unwrap(),
            secret_id: SecretId::parse("s").unwrap(),
            created_at: LogTime::default(),
            destroy_at: None,
            description: String::new(),
            status,
            entry_keys: Vec::new(),
            password_spec: None,
            sequence: 1,
            payload_mark,
        }
    }

    #[test]
    fn only_what_is_destroyed_is_looked_for() {
        let mark = PayloadMark::searching([7; 16]);
        let id = VersionId::parse("v").unwrap();
        let of = |found| mark_of(found, &id, DecidedAt { index: 1, term: 1 });
        let code = |found| of(found).unwrap_err().code();
        assert_eq!(code(None), Code::NotFound);
        for status in [VersionStatus::Active, VersionStatus::ScheduledForDestruction] {
            assert_eq!(code(Some(version(status, None))), Code::FailedPrecondition);
        }
        let unmarked = version(VersionStatus::Destroyed, None);
        assert_eq!(code(Some(unmarked)), Code::FailedPrecondition);
        let destroyed = version(VersionStatus::Destroyed, Some(mark));
        assert_eq!(of(Some(destroyed)).unwrap(), mark);
    }

    #[test]
    fn a_mark_is_given_as_it_is_told() {
        let mark = PayloadMark::searching([0xab; 16]);
        assert_eq!(given(&hex::encode(mark.pattern())).unwrap(), mark);
        assert_eq!(given("ab").unwrap_err().code(), Code::InvalidArgument);
    }
}
