//! Which operation made which version, as far as answers tell.
//!
//! An operation without an answer still shows itself: the version that it made carries its
//! description, which is unique in a run. So a page of a folder tells of secrets that no answer
//! to a creation names.

use std::collections::BTreeMap;

use super::answer::{Answer, VersionView};
use super::call::Call;
use super::ids::{OpId, SecretId, VersionId};
use super::op::Op;
use super::recorded::History;

/// The makers of versions.
#[derive(Debug, Clone, Default)]
pub struct Makers {
    made_by: BTreeMap<OpId, (SecretId, VersionId)>,
    maker_of: BTreeMap<(SecretId, VersionId), OpId>,
}

impl Makers {
    /// Finds them in a history: by the answers to the makers, and by what other answers show.
    #[must_use]
    pub fn find(history: &History) -> Self {
        let mut makers = Self::default();
        let mut by_description: BTreeMap<&str, OpId> = BTreeMap::new();
        for op in &history.ops {
            if let Some((secret, version)) = made(op) {
                makers.note(op.id, secret, version);
            }
            if op.is_uncertain()
                && let Some(description) = description(&op.asked.call)
            {
                // A repeat under an idempotency key describes the same version: whichever of them
                // had the effect, the first one stands for all.
                by_description.entry(description).or_insert(op.id);
            }
        }
        if by_description.is_empty() {
            return makers;
        }
        let mut shown = |secret: &SecretId, version: &VersionView| {
            if let Some(maker) = by_description.get(version.description.as_str()) {
                makers.note(*maker, secret.clone(), version.id.clone());
            }
        };
        for op in &history.ops {
            let Some(reply) = op.reply() else { continue };
            if let Answer::Secrets(page) = &reply.answer {
                for view in &page.secrets {
                    view.current.iter().for_each(|version| shown(&view.id, version));
                }
            } else if let Some(secret) = op.secret() {
                reply.answer.versions().for_each(|version| shown(secret, version));
            }
        }
        makers
    }

    fn note(&mut self, op: OpId, secret: SecretId, version: VersionId) {
        let place = (secret, version);
        // The first one stays: that two operations claim one version is for the laws to say.
        self.maker_of.entry(place.clone()).or_insert(op);
        self.made_by.entry(op).or_insert(place);
    }

    /// The version that an operation is known to have made.
    #[must_use]
    pub fn made_by(&self, op: OpId) -> Option<&(SecretId, VersionId)> {
        self.made_by.get(&op)
    }

    /// The operation that is known to have made a version.
    #[must_use]
    pub fn maker_of(&self, secret: &SecretId, version: &VersionId) -> Option<OpId> {
        self.maker_of.get(&(secret.clone(), version.clone())).copied()
    }
}

/// The version that the answer to its maker names.
#[must_use]
pub fn made(op: &Op) -> Option<(SecretId, VersionId)> {
    match (&op.asked.call, &op.success()?.answer) {
        (Call::CreateSecret(call), Answer::Secret(view)) if call.first.is_some() => {
            Some((view.id.clone(), view.current.as_ref()?.id.clone()))
        }
        (Call::AddVersion(call), Answer::Version(view)) => {
            Some((call.secret.clone(), view.id.clone()))
        }
        _ => None,
    }
}

/// The description that a call gives to the version that it makes.
#[must_use]
pub fn description(call: &Call) -> Option<&str> {
    match call {
        Call::CreateSecret(call) => call.first.as_ref().map(|first| first.description.as_str()),
        Call::AddVersion(call) => Some(call.description.as_str()),
        Call::SetCurrentVersion(_)
        | Call::ScheduleDestruction(_)
        | Call::CancelDestruction(_)
        | Call::Activate(_)
        | Call::Deactivate(_)
        | Call::DeleteSecret(_)
        | Call::UpdateSecret(_)
        | Call::ChangeBinding(_)
        | Call::RevokeToken(_)
        | Call::GetSecret(_)
        | Call::ListVersions(_)
        | Call::GetPayload(_)
        | Call::ListSecrets(_) => None,
    }
}
