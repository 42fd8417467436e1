//! Whether a destroyed payload is out of the files of this node.

use std::collections::BTreeMap;

use lockbox_core::{ResourceKind, SecretId, VersionId};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::payload_mark::{PayloadMark, PayloadMarks};
use lockbox_raft::domain::version::{VersionRecord, VersionStatus};
use lockbox_raft::replica::ReadError;
use lockbox_raft::state::tables;
use lockbox_raft::store::{FileReport, Finding};

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, rejected, unread};

/// What is said of a file that no purge takes away.
const STRAY_HOLDS: &str =
    "it is none of the node's files, and the purge is pending until somebody removes it";

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
        let marks =
            if self.mark.is_empty() { kept_marks(&self, call).await? } else { given(&self.mark)? };
        let told = marks.patterns().concat();
        let replica = &call.app.replica;
        let found = replica.find_payload(marks, call.context.deadline).await;
        let files = found.map_err(|error| match error {
            ReadError::Deadline => {
                ApiError::unavailable("the files are more than can be read in the call's time")
            }
            other => unread(other),
        })?;
        let erasure = replica.erasure();
        Ok(wire::VerifyDestroyedResponse {
            node_id: call.app.config.node_id,
            mark: hex::encode(told),
            files: files.into_iter().map(searched).collect(),
            pending: erasure.pending,
            pending_age_seconds: erasure.pending_for.as_secs(),
        })
    }
}

/// What the state keeps of the payload.
async fn kept_marks(
    request: &wire::VerifyDestroyedRequest,
    call: &mut Call<'_>,
) -> Result<PayloadMarks, ApiError> {
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
    marks_of(found, &version, at)
}

fn marks_of(
    found: Option<VersionRecord>,
    id: &VersionId,
    at: DecidedAt,
) -> Result<PayloadMarks, ApiError> {
    let Some(found) = found else {
        let absent = Rejection::not_found(ResourceKind::SecretVersion, id.as_str());
        return Err(rejected(&absent, at));
    };
    let refused = |description: String| {
        let (kind, subject) = ("VERSION_STATUS", id.to_string());
        let precondition = Precondition { kind, subject, description: description.clone() };
        ApiError::new(ErrorKind::FailedPrecondition(precondition), description, Outcome::from(at))
    };
    // Without a pattern every file would be clean.
    let marks = found.payload_marks.filter(|marks| !marks.patterns().is_empty());
    match (found.status, marks) {
        (VersionStatus::Destroyed, Some(marks)) => Ok(marks),
        (VersionStatus::Destroyed, None) => {
            Err(refused(format!("no mark is kept of the payload of version {id}")))
        }
        (VersionStatus::Active | VersionStatus::ScheduledForDestruction, _) => {
            Err(refused(format!("version {id} is not destroyed")))
        }
    }
}

/// Marks as an answer has told them, one behind the other.
fn given(text: &str) -> Result<PayloadMarks, ApiError> {
    let no_mark = || ApiError::invalid("mark", "is not a mark");
    let decoded = hex::decode(text).map_err(|_| no_mark())?;
    let (patterns, rest) = decoded.as_chunks::<{ PayloadMark::BYTES }>();
    if !rest.is_empty() {
        return Err(no_mark());
    }
    let marks = patterns.iter().map(|pattern| PayloadMark::searching(*pattern)).collect();
    PayloadMarks::told(marks).ok_or_else(no_mark)
}

fn searched(report: FileReport) -> wire::SearchedFile {
    let stray = |told: &str| if report.is_stray() { told.to_owned() } else { String::new() };
    let (finding, reason) = match &report.finding {
        Finding::Clean => ("clean", stray("it is none of the node's files")),
        Finding::Holds => ("holds", stray(STRAY_HOLDS)),
        Finding::Unreadable(reason) => ("unreadable", reason.clone()),
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

    fn version(status: VersionStatus, payload_marks: Option<PayloadMarks>) -> VersionRecord {
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
            payload_marks,
        }
    }

    #[test]
    fn only_what_is_destroyed_is_looked_for() {
        let marks = PayloadMarks::told(vec![PayloadMark::searching([7; 16])]);
        let id = VersionId::parse("v").unwrap();
        let of = |found| marks_of(found, &id, DecidedAt { index: 1, term: 1 });
        let code = |found| of(found).unwrap_err().code();
        assert_eq!(code(None), Code::NotFound);
        for status in [VersionStatus::Active, VersionStatus::ScheduledForDestruction] {
            assert_eq!(code(Some(version(status, None))), Code::FailedPrecondition);
        }
        for unmarked in [None, Some(PayloadMarks::default())] {
            let unmarked = version(VersionStatus::Destroyed, unmarked);
            assert_eq!(code(Some(unmarked)), Code::FailedPrecondition);
        }
        let destroyed = version(VersionStatus::Destroyed, marks.clone());
        assert_eq!(of(Some(destroyed)).unwrap(), marks.unwrap());
    }

    #[test]
    fn what_is_not_the_nodes_is_told_as_such() {
        let told = |path: &str, finding| {
            let file = searched(FileReport { path: path.into(), bytes: 9, finding });
            (file.finding, file.reason)
        };
        let of = |finding: &str, reason: &str| (finding.to_owned(), reason.to_owned());
        let (own, stray) = ("raft/000012.sst", "snapshots/notes");
        assert_eq!(told(own, Finding::Clean), of("clean", ""));
        assert_eq!(told(own, Finding::Holds), of("holds", ""));
        assert_eq!(told(stray, Finding::Clean), of("clean", "it is none of the node's files"));
        assert_eq!(told(stray, Finding::Holds), of("holds", STRAY_HOLDS));
        let unreadable = Finding::Unreadable("no such luck".into());
        assert_eq!(told(stray, unreadable), of("unreadable", "no such luck"));
    }

    #[test]
    fn marks_are_given_as_they_are_told() {
        for count in [1, PayloadMarks::MAX] {
            let told = "ab".repeat(count * PayloadMark::BYTES);
            assert_eq!(hex::encode(given(&told).unwrap().patterns().concat()), told);
        }
        let many = "ab".repeat((PayloadMarks::MAX + 1) * PayloadMark::BYTES);
        for wrong in ["", "ab", "no mark", &"ab".repeat(17), &many] {
            assert_eq!(given(wrong).unwrap_err().code(), Code::InvalidArgument, "{wrong}");
        }
    }
}
