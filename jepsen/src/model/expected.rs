//! What the specification answers, and whether a server's answer is that.
//!
//! Times are left out: the specification has no clock. That they never change is judged by law
//! L3, that destruction waits for its time by L8.

use std::fmt;
use std::sync::Arc;

use crate::history::answer::{
    Answer, Code, PayloadView, SecretStatus, SecretView, VersionList, VersionStatus, VersionView,
};

use super::secret::{Content, Facts, Secret, Version};

/// The one answer, or the few answers, that the contract allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A secret in this state.
    Secret(SecretShape),
    /// This version.
    Version(Version),
    /// These versions, oldest first.
    Versions(Vec<Version>),
    /// The payload of this content.
    Payload(Arc<Content>),
    /// Success without content.
    Done,
    /// A refusal with one of these codes: several where two rules apply and the contract does not
    /// say which comes first.
    Refused(&'static [Code]),
    /// No success is possible with the ids that the server chose, and why.
    Impossible(&'static str),
}

/// A secret without its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretShape {
    /// Name, description and the like.
    pub facts: Arc<Facts>,
    /// Its status.
    pub status: SecretStatus,
    /// Its current version.
    pub current: Option<Version>,
}

impl From<&Secret> for SecretShape {
    fn from(secret: &Secret) -> Self {
        Self {
            facts: Arc::clone(&secret.facts),
            status: secret.status,
            current: secret.current().cloned(),
        }
    }
}

impl Expected {
    /// Whether a server's answer is this one.
    #[must_use]
    pub fn agrees(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Secret(shape), Answer::Secret(view)) => secret_agrees(shape, view),
            (Self::Version(version), Answer::Version(view)) => version_agrees(version, view),
            (Self::Versions(versions), Answer::Versions(list)) => list_agrees(versions, list),
            (Self::Payload(content), Answer::Payload(view)) => payload_agrees(content, view),
            (Self::Done, Answer::Done) => true,
            (Self::Refused(codes), Answer::Refused(refusal)) => codes.contains(&refusal.code),
            (
                Self::Secret(_)
                | Self::Version(_)
                | Self::Versions(_)
                | Self::Payload(_)
                | Self::Done
                | Self::Refused(_)
                | Self::Impossible(_),
                _,
            ) => false,
        }
    }
}

fn secret_agrees(shape: &SecretShape, view: &SecretView) -> bool {
    let facts = &shape.facts;
    let current = match (&shape.current, &view.current) {
        (Some(version), Some(view)) => version_agrees(version, view),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    current
        && facts.id == view.id
        && facts.folder == view.folder
        && facts.name == view.name
        && facts.description == view.description
        && facts.labels == view.labels
        && facts.kms_key == view.kms_key
        && facts.deletion_protection == view.deletion_protection
        && shape.status == view.status
}

fn version_agrees(version: &Version, view: &VersionView) -> bool {
    let content = &version.content;
    let keys = content.entries.iter().map(|entry| &entry.key);
    content.id == view.id
        && content.description == view.description
        && version.status == view.status
        && keys.eq(&view.keys)
        // `contract §2.3`: set while destruction is scheduled, and only then.
        && view.destroy_at_ns.is_some() == (version.status == VersionStatus::Scheduled)
}

/// A page that is not the whole list shows the newest versions.
fn list_agrees(versions: &[Version], list: &VersionList) -> bool {
    let fits = match list.complete {
        true => versions.len() == list.versions.len(),
        false => versions.len() > list.versions.len(),
    };
    let newest_first = versions.iter().rev();
    fits && newest_first.zip(&list.versions).all(|(version, view)| version_agrees(version, view))
}

fn payload_agrees(content: &Content, view: &PayloadView) -> bool {
    content.id == view.version && content.entries == view.entries
}

/// For the one sentence of a violation: short, with ids and without hashes.
impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(shape) => {
                let status = status_name(shape.status);
                match &shape.current {
                    Some(version) => {
                        write!(f, "{status} secret with current version {}", version.content.id)
                    }
                    None => write!(f, "{status} secret without a current version"),
                }
            }
            Self::Version(version) => write!(f, "version {}", version.content.id),
            Self::Versions(versions) => {
                let ids = versions.iter().rev().map(|version| version.content.id.as_str());
                f.write_str(&listed(ids))
            }
            Self::Payload(content) => {
                write!(f, "{} entries of version {}", content.entries.len(), content.id)
            }
            Self::Done => f.write_str("success"),
            Self::Refused(codes) => write!(f, "{codes:?}"),
            Self::Impossible(why) => write!(f, "no success, for {why}"),
        }
    }
}

/// An answer in the same words.
#[must_use]
pub fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Secret(view) => {
            let status = status_name(view.status);
            match &view.current {
                Some(version) => format!("{status} secret with current version {}", version.id),
                None => format!("{status} secret without a current version"),
            }
        }
        Answer::Version(view) => format!("version {}", view.id),
        Answer::Versions(list) => listed(list.versions.iter().map(|version| version.id.as_str())),
        Answer::Payload(view) => {
            format!("{} entries of version {}", view.entries.len(), view.version)
        }
        Answer::Secrets(page) => format!("{} secrets", page.secrets.len()),
        Answer::Done => "success".to_owned(),
        Answer::Refused(refusal) => format!("{:?}", refusal.code),
    }
}

const fn status_name(status: SecretStatus) -> &'static str {
    match status {
        SecretStatus::Active => "an active",
        SecretStatus::Inactive => "an inactive",
    }
}

/// Names the newest three, so that a sentence stays one.
fn listed<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.collect();
    let shown = ids.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match ids.len() {
        0 => "no versions".to_owned(),
        count @ 1..=3 => format!("{count} versions ({shown})"),
        count => format!("{count} versions ({shown} and older ones)"),
    }
}
