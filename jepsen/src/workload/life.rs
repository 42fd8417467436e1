//! The life of the secret that a group asks about: made, used, and left for a fresh one.

use crate::client::request::Request;
use crate::history::answer::{Answer, SecretStatus};
use crate::history::call::Call;
use crate::history::ids::{SecretId, VersionId};
use crate::history::op::Outcome;

/// The most versions of one secret that are remembered; older ones are asked for no more.
const VERSIONS_MAX: usize = 64;

/// What answers have told of the secret. It may have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub secret: SecretId,
    /// Its versions, in the order in which they were heard of.
    pub versions: Vec<VersionId>,
    /// The version that was current in the last answer that told.
    pub current: Option<VersionId>,
    /// Whether it was active in the last answer that told.
    pub active: bool,
    /// Whether its deletion was refused at its creation, or by the last answer that told.
    pub protected: bool,
    /// Whether it is deleted.
    pub gone: bool,
}

/// Where in its life the secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// There is none, and nobody is making one.
    Absent,
    /// Somebody has asked for one of this name and has no answer.
    Creating(String),
    /// It is there, and so many operations may still be asked of it.
    Living(Known, u64),
}

/// Follows one secret after another.
#[derive(Debug, Clone)]
pub struct Life {
    /// Where it is.
    pub stage: Stage,
}

impl Life {
    /// Before the first secret.
    #[must_use]
    pub const fn new() -> Self {
        Self { stage: Stage::Absent }
    }

    /// Learns from an answer. A new secret gets `ops` operations.
    pub fn observe(&mut self, request: &Request, outcome: &Outcome, ops: u64) {
        if let Call::CreateSecret(call) = request.call() {
            // An answer to a repeat of a creation that was answered is of no use.
            if matches!(&self.stage, Stage::Creating(name) if *name == call.name) {
                self.created(outcome, ops);
            }
            return;
        }
        let Stage::Living(known, _) = &mut self.stage else { return };
        // Of a secret that was left meanwhile nothing is worth knowing.
        if request.call().secret() != Some(&known.secret) {
            return;
        }
        let Outcome::Ok(reply) = outcome else { return };
        match (&reply.answer, request.call()) {
            (Answer::Refused(_) | Answer::Done | Answer::Payload(_) | Answer::Secrets(_), _) => {}
            (Answer::Secret(_), Call::DeleteSecret(_)) => known.gone = true,
            (Answer::Secret(view), _) => {
                known.active = view.status == SecretStatus::Active;
                known.protected = view.deletion_protection;
                known.current = view.current.as_ref().map(|version| version.id.clone());
                let heard = known.current.clone();
                known.hear_of(heard.as_ref());
            }
            (Answer::Version(view), call) => {
                known.hear_of(Some(&view.id));
                if matches!(call, Call::AddVersion(_) | Call::SetCurrentVersion(_)) {
                    known.current = Some(view.id.clone());
                }
            }
            (Answer::Versions(list), _) => {
                // Newest first.
                for version in list.versions.iter().take(VERSIONS_MAX).rev() {
                    known.hear_of(Some(&version.id));
                }
            }
        }
    }

    fn created(&mut self, outcome: &Outcome, ops: u64) {
        let Outcome::Ok(reply) = outcome else {
            self.stage = Stage::Absent;
            return;
        };
        let Answer::Secret(view) = &reply.answer else {
            self.stage = Stage::Absent;
            return;
        };
        let current = view.current.as_ref().map(|version| version.id.clone());
        let known = Known {
            secret: view.id.clone(),
            versions: current.iter().cloned().collect(),
            current,
            active: true,
            protected: view.deletion_protection,
            gone: false,
        };
        self.stage = Stage::Living(known, ops);
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl Known {
    fn hear_of(&mut self, version: Option<&VersionId>) {
        let Some(version) = version.filter(|version| !self.versions.contains(version)) else {
            return;
        };
        self.versions.push(version.clone());
        if self.versions.len() > VERSIONS_MAX {
            self.versions.remove(0);
        }
    }
}
