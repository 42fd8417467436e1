//! What the generator of commands knows to exist.

use std::collections::{BTreeMap, VecDeque};

use lockbox_core::VersionId;
use lockbox_raft::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use lockbox_raft::domain::secret::PasswordSpec;
use lockbox_raft::domain::version::Destruction;

/// Accounts that are remembered; commands act for these.
const ACCOUNTS_MAX: usize = 50;
/// How long what is left of a destroyed version stays, in milliseconds.
pub(crate) const RETAINED_MS: u64 = 20_000;
/// Scheduled destructions that are remembered.
const SCHEDULED_MAX: usize = 100;

#[derive(Default)]
pub(crate) struct KnownSecret {
    pub(crate) versions: Vec<VersionId>,
    pub(crate) current: Option<VersionId>,
    pub(crate) spec: Option<PasswordSpec>,
}

/// Ids by what they name, in an order that does not depend on the process.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) secrets: BTreeMap<String, KnownSecret>,
    /// Service accounts behind the administrator, oldest first, each with its newest key.
    pub(crate) accounts: Vec<(String, Option<String>)>,
    /// Destructions that were scheduled, oldest first; some were called off since.
    pub(crate) scheduled: VecDeque<Destruction>,
    /// The largest number of a keyring key that anything was heard of.
    pub(crate) keyring_newest: u32,
}

impl World {
    /// Takes note of what took effect.
    pub(crate) fn learn(&mut self, operation: &OperationRecord) {
        match &operation.metadata {
            OperationMetadata::CreateSecret { secret_id, version_id } => {
                let known = self.secrets.entry(secret_id.as_str().to_owned()).or_default();
                known.versions.extend(version_id.clone());
                known.current.clone_from(version_id);
            }
            OperationMetadata::AddVersion { secret_id, version_id, .. } => {
                let known = self.secrets.entry(secret_id.as_str().to_owned()).or_default();
                known.versions.push(version_id.clone());
                known.current = Some(version_id.clone());
            }
            OperationMetadata::SetCurrentVersion { secret_id, version_id, .. } => {
                let known = self.secrets.entry(secret_id.as_str().to_owned()).or_default();
                known.current = Some(version_id.clone());
            }
            OperationMetadata::DeleteSecret { secret_id } => {
                self.secrets.remove(secret_id.as_str());
            }
            OperationMetadata::CreateServiceAccount { service_account_id } => {
                self.accounts.push((service_account_id.as_str().to_owned(), None));
                if self.accounts.len() > ACCOUNTS_MAX {
                    self.accounts.remove(0);
                }
            }
            OperationMetadata::CreateAuthorizedKey { key_id } => {
                let owner = operation.resource.id.as_str();
                let known = self.accounts.iter_mut().find(|(id, _)| id == owner);
                if let Some((_, key)) = known {
                    *key = Some(key_id.as_str().to_owned());
                }
            }
            OperationMetadata::DeleteServiceAccount { service_account_id } => {
                self.accounts.retain(|(id, _)| id != service_account_id.as_str());
            }
            OperationMetadata::DeleteAuthorizedKey { key_id } => {
                for (_, key) in &mut self.accounts {
                    key.take_if(|key| key == key_id.as_str());
                }
            }
            OperationMetadata::ScheduleVersionDestruction { secret_id, version_id, destroy_at } => {
                let (secret_id, version_id) = (secret_id.clone(), version_id.clone());
                let destroy_at = *destroy_at;
                let retained_ms = RETAINED_MS;
                let due = Destruction { secret_id, version_id, destroy_at, retained_ms };
                self.scheduled.push_back(due);
                if self.scheduled.len() > SCHEDULED_MAX {
                    self.scheduled.pop_front();
                }
            }
            OperationMetadata::UpdateSecret { .. }
            | OperationMetadata::CancelVersionDestruction { .. }
            | OperationMetadata::DestroyVersion { .. }
            | OperationMetadata::UpdateServiceAccount { .. }
            | OperationMetadata::SuspendServiceAccount { .. }
            | OperationMetadata::ReactivateServiceAccount { .. }
            | OperationMetadata::CreateCloud { .. }
            | OperationMetadata::UpdateCloud { .. }
            | OperationMetadata::CreateFolder { .. }
            | OperationMetadata::UpdateFolder { .. }
            | OperationMetadata::UpdateAuthorizedKey { .. }
            | OperationMetadata::RevokeToken { .. }
            | OperationMetadata::ActivateSecret { .. }
            | OperationMetadata::DeactivateSecret { .. }
            | OperationMetadata::SetAccessBindings { .. }
            | OperationMetadata::UpdateAccessBindings { .. }
            | OperationMetadata::InitCluster
            | OperationMetadata::RecoverAdmin { .. } => {}
            OperationMetadata::ChangeKeyring { keyring_key_id } => {
                self.keyring_newest = self.keyring_newest.max(*keyring_key_id);
            }
        }
        if let OperationResult::Secret(snapshot) = &operation.result
            && let Some(known) = self.secrets.get_mut(snapshot.secret.id.as_str())
        {
            known.spec.clone_from(&snapshot.secret.password_spec);
        }
    }
}
