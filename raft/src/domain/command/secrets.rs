//! Which commands are about secrets: the payloads that they carry, the secrets that they change.

use lockbox_core::{ResourceKind, SecretId, VersionId};

use super::Command;

impl Command {
    /// The versions whose payload or wrapped data key it carries, each with its secret.
    #[must_use]
    pub fn payloads_carried(&self) -> Vec<(&SecretId, &VersionId)> {
        match self {
            Self::CreateSecret(create) => {
                create.version.iter().map(|version| (&create.id, &version.id)).collect()
            }
            Self::AddVersion(add) => vec![(&add.secret_id, &add.version.id)],
            Self::RewrapDataKeys(rewraps) => {
                rewraps.iter().map(|rewrap| (&rewrap.secret_id, &rewrap.version_id)).collect()
            }
            Self::InitCluster(_)
            | Self::SetCurrentVersion { .. }
            | Self::UpdateSecret { .. }
            | Self::DeleteSecret { .. }
            | Self::SetSecretStatus { .. }
            | Self::CreateServiceAccount(_)
            | Self::CreateAuthorizedKey(_)
            | Self::SetAccessBindings { .. }
            | Self::UpdateAccessBindings { .. }
            | Self::DeleteAuthorizedKey { .. }
            | Self::UpdateAuthorizedKey { .. }
            | Self::ScheduleVersionDestruction { .. }
            | Self::CancelVersionDestruction { .. }
            | Self::UpdateServiceAccount { .. }
            | Self::DeleteServiceAccount { .. }
            | Self::SetServiceAccountStatus { .. }
            | Self::RevokeToken(_)
            | Self::CreateCloud(_)
            | Self::UpdateCloud { .. }
            | Self::CreateFolder(_)
            | Self::UpdateFolder { .. }
            | Self::AdvanceTime
            | Self::DestroyVersion(_)
            | Self::SetRetention { .. }
            | Self::BeginStateCheck
            | Self::ReportStateHash { .. }
            | Self::AnchorAuditHead(_)
            | Self::ReportReads(_)
            | Self::AttestKms(_)
            | Self::RaiseFeatureLevel { .. }
            | Self::AddKeyringKey(_)
            | Self::ConfirmKeyringKey { .. }
            | Self::StepKeyringKey { .. }
            | Self::RewrapKeyringKey(_)
            | Self::RecoverAdmin(_) => Vec::new(),
        }
    }

    /// Whether it changes a secret that is there already: only such a one has a version that can be
    /// expected to be current.
    #[must_use]
    pub const fn changes_a_secret(&self) -> bool {
        match self {
            Self::AddVersion(_)
            | Self::SetCurrentVersion { .. }
            | Self::UpdateSecret { .. }
            | Self::DeleteSecret { .. }
            | Self::SetSecretStatus { .. }
            | Self::ScheduleVersionDestruction { .. }
            | Self::CancelVersionDestruction { .. } => true,
            Self::SetAccessBindings { resource, .. }
            | Self::UpdateAccessBindings { resource, .. } => {
                matches!(resource.kind, ResourceKind::Secret | ResourceKind::SecretVersion)
            }
            Self::InitCluster(_)
            | Self::CreateSecret(_)
            | Self::CreateServiceAccount(_)
            | Self::CreateAuthorizedKey(_)
            | Self::DeleteAuthorizedKey { .. }
            | Self::UpdateAuthorizedKey { .. }
            | Self::UpdateServiceAccount { .. }
            | Self::DeleteServiceAccount { .. }
            | Self::SetServiceAccountStatus { .. }
            | Self::RevokeToken(_)
            | Self::CreateCloud(_)
            | Self::UpdateCloud { .. }
            | Self::CreateFolder(_)
            | Self::UpdateFolder { .. }
            | Self::AdvanceTime
            | Self::DestroyVersion(_)
            | Self::RecoverAdmin(_)
            | Self::SetRetention { .. }
            | Self::BeginStateCheck
            | Self::ReportStateHash { .. }
            | Self::AnchorAuditHead(_)
            | Self::ReportReads(_)
            | Self::AttestKms(_)
            | Self::RaiseFeatureLevel { .. }
            | Self::AddKeyringKey(_)
            | Self::ConfirmKeyringKey { .. }
            | Self::StepKeyringKey { .. }
            | Self::RewrapDataKeys(_)
            | Self::RewrapKeyringKey(_) => false,
        }
    }
}
