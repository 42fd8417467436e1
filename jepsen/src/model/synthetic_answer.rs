//! The answer that a correct server gives where the specification says what it has to be.

use crate::history::answer::{
    Answer, PayloadView, Refusal, SecretView, VersionList, VersionStatus, VersionView,
};

use super::Expected;
use super::secret::Version;

/// Any time will do, as long as it is always the same for one thing.
const CREATED_AT_NS: i64 = 1_700_000_000_000_000_000;
const DESTROY_AT_NS: i64 = CREATED_AT_NS + 7 * 86_400 * 1_000_000_000;

/// The answer.
pub(super) fn answer(expected: &Expected) -> Answer {
    match expected {
        Expected::Secret(shape) => Answer::Secret(SecretView {
            id: shape.facts.id.clone(),
            folder: shape.facts.folder.clone(),
            name: shape.facts.name.clone(),
            description: shape.facts.description.clone(),
            labels: shape.facts.labels.clone(),
            kms_key: shape.facts.kms_key.clone(),
            status: shape.status,
            deletion_protection: shape.facts.deletion_protection,
            created_at_ns: CREATED_AT_NS,
            current: shape.current.as_ref().map(view),
        }),
        Expected::Version(version) => Answer::Version(view(version)),
        Expected::Versions(versions) => Answer::Versions(VersionList {
            versions: versions.iter().rev().map(view).collect(),
            complete: true,
        }),
        Expected::Payload(content) => Answer::Payload(PayloadView {
            version: content.id.clone(),
            entries: content.entries.clone(),
        }),
        Expected::Done => Answer::Done,
        Expected::Refused(codes) => {
            Answer::Refused(Refusal { code: codes[0], message: String::new() })
        }
        Expected::Impossible(_) => Answer::Refused(Refusal {
            code: crate::history::answer::Code::AlreadyExists,
            message: String::new(),
        }),
    }
}

fn view(version: &Version) -> VersionView {
    VersionView {
        id: version.content.id.clone(),
        description: version.content.description.clone(),
        status: version.status,
        keys: version.content.entries.iter().map(|entry| entry.key.clone()).collect(),
        created_at_ns: CREATED_AT_NS,
        destroy_at_ns: (version.status == VersionStatus::Scheduled).then_some(DESTROY_AT_NS),
    }
}
