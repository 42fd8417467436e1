//! The state of one secret, as the contract describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::history::answer::{PayloadEntry, SecretStatus, VersionStatus};
use crate::history::ids::{FolderId, KmsKeyId, SecretId, Subject, VersionId};

/// A secret id and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretState {
    /// Nothing yet.
    Absent,
    /// A secret.
    Live(Secret),
    /// Nothing any more; the id never comes back.
    Deleted,
}

/// A secret. Cheap to copy: what is large is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Secret {
    /// What only Update changes.
    pub facts: Arc<Facts>,
    /// Whether payloads can be read.
    pub status: SecretStatus,
    /// The versions, oldest first.
    pub versions: Vec<Version>,
    /// Place of the current version.
    pub current: Option<usize>,
}

/// What only Update and binding changes touch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Its id.
    pub id: SecretId,
    /// Its folder, if that is another one than the run's.
    pub folder: Option<FolderId>,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its own KMS key.
    pub kms_key: Option<KmsKeyId>,
    /// Whether its deletion is refused.
    pub deletion_protection: bool,
    /// Roles that are bound on it, each with whom it is bound to.
    pub bindings: BTreeSet<(String, Subject)>,
}

/// A version: immutable content and a status.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// What never changes.
    pub content: Arc<Content>,
    /// What does.
    pub status: VersionStatus,
}

/// The content of a version.
#[derive(Debug)]
pub struct Content {
    /// Its id.
    pub id: VersionId,
    /// Its description.
    pub description: String,
    /// Its entries in order.
    pub entries: Vec<PayloadEntry>,
    /// A hash of all that, so that states with hundreds of versions are compared quickly.
    fingerprint: u64,
}

impl Content {
    /// Content with its fingerprint.
    #[must_use]
    pub fn new(id: VersionId, description: String, entries: Vec<PayloadEntry>) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        (&id, &description, &entries).hash(&mut hasher);
        Self { id, description, entries, fingerprint: hasher.finish() }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && self.id == other.id
            && self.description == other.description
            && self.entries == other.entries
    }
}

impl Eq for Content {}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl Secret {
    /// The place of a version.
    #[must_use]
    pub fn place_of(&self, id: &VersionId) -> Option<usize> {
        // From the newest: that is what is asked for most.
        self.versions.iter().rposition(|version| version.content.id == *id)
    }

    /// The current version.
    #[must_use]
    pub fn current(&self) -> Option<&Version> {
        self.current.map(|place| &self.versions[place])
    }

    /// Versions that count against the limit of `contract §9`.
    #[must_use]
    pub fn live_versions(&self) -> usize {
        let live = |version: &&Version| version.status != VersionStatus::Destroyed;
        self.versions.iter().filter(live).count()
    }
}

impl SecretState {
    /// The secret, if there is one.
    #[must_use]
    pub const fn live(&self) -> Option<&Secret> {
        match self {
            Self::Live(secret) => Some(secret),
            Self::Absent | Self::Deleted => None,
        }
    }

    /// The state after the clock destroyed a version that was scheduled (`contract §2.3`).
    #[must_use]
    pub fn destroyed(&self, version: &VersionId) -> Option<Self> {
        let secret = self.live()?;
        let place = secret.place_of(version)?;
        if secret.versions[place].status != VersionStatus::Scheduled {
            return None;
        }
        let mut secret = secret.clone();
        secret.versions[place].status = VersionStatus::Destroyed;
        Some(Self::Live(secret))
    }
}
